// A small DHCP server, and a link with loss between it and a client, in virtual time. The server reads and writes messages by
// itself, so that a mistake of the stack does not hide in it.

import Testing

@testable import MartletStack

/// The options and fields of a message, read by the letter of RFC 2132.
struct PlainDHCPMessage {
    var bytes: [UInt8]
    var options: [UInt8: [UInt8]] = [:]
    var order: [UInt8] = []

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        var offset = 240
        while bytes[offset] != 255 {
            if bytes[offset] != 0 {
                let length = Int(bytes[offset + 1])
                options[bytes[offset], default: []] += bytes[(offset + 2)..<(offset + 2 + length)]
                order.append(bytes[offset])
                offset += 1 + length
            }
            offset += 1
        }
    }

    var type: UInt8 { options[53]?.first ?? 0 }
    var xid: [UInt8] { Array(bytes[4..<8]) }
    var secs: Int { Int(bytes[8]) << 8 | Int(bytes[9]) }
    var ciaddr: IPv4Address { Self.address(bytes[12..<16]) }
    var requested: IPv4Address? { options[50].map { Self.address($0[...]) } }
    var server: IPv4Address? { options[54].map { Self.address($0[...]) } }

    static func address(_ bytes: ArraySlice<UInt8>) -> IPv4Address {
        IPv4Address(bits: bytes.reduce(0) { $0 << 8 | UInt32($1) })
    }
}

struct ModelDHCPServer {
    var id = IPv4Address(192, 0, 2, 1)
    var offered = IPv4Address(192, 0, 2, 50)
    var leaseTime: UInt32 = 3600
    var extra: [(UInt8, [UInt8])] = []
    var isSilent = false
    /// Refuses what it is asked for.
    var refuses = false
    /// Until when somebody may use the address, as far as this server knows.
    var promisedUntil = Instant(nanoseconds: .min)
    var declined: [IPv4Address] = []

    static func octets(_ address: IPv4Address) -> [UInt8] { (0..<4).map { address.octets[$0] } }

    static func octets(_ number: UInt32) -> [UInt8] { octets(IPv4Address(bits: number)) }

    static func reply(
        to request: [UInt8], yiaddr: IPv4Address, options: [(UInt8, [UInt8])]
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 240)
        bytes.replaceSubrange(0..<8, with: [2, 1, 6, 0] + request[4..<8])
        bytes.replaceSubrange(10..<12, with: request[10..<12])
        bytes.replaceSubrange(16..<20, with: octets(yiaddr))
        bytes.replaceSubrange(28..<44, with: request[28..<44])
        bytes.replaceSubrange(236..<240, with: [99, 130, 83, 99])
        for (code, value) in options { bytes += [code, UInt8(value.count)] + value }
        return bytes + [255]
    }

    /// An OFFER (2) or ACK (5) with all that belongs into one.
    func grant(_ type: UInt8, to request: [UInt8]) -> [UInt8] {
        Self.reply(
            to: request, yiaddr: offered,
            options: [
                (53, [type]), (54, Self.octets(id)), (51, Self.octets(leaseTime)), (1, [255, 255, 255, 0]),
                (3, Self.octets(id)), (6, [192, 0, 2, 2, 192, 0, 2, 3]), (15, Array("example.com".utf8)),
                (26, [0x05, 0xDC]),
            ] + extra)
    }

    func nak(_ request: [UInt8]) -> [UInt8] {
        Self.reply(to: request, yiaddr: .any, options: [(53, [6]), (54, Self.octets(id))])
    }

    /// What the server answers; nil if nothing. `server` is the address that it was sent to, if not to all.
    mutating func answer(_ bytes: [UInt8], to server: IPv4Address?, at now: Instant) -> [UInt8]? {
        let message = PlainDHCPMessage(bytes)
        if isSilent || server != nil && server != id { return nil }
        switch message.type {
        case 1: return grant(2, to: bytes)
        case 3:
            if let chosen = message.server, chosen != id { return nil }
            let wanted = message.requested ?? message.ciaddr
            if refuses || wanted != offered { return nak(bytes) }
            let until = leaseTime == .max ? Instant.distantFuture : now + .seconds(Int64(leaseTime))
            promisedUntil = max(promisedUntil, until)
            return grant(5, to: bytes)
        case 4:
            declined.append(message.requested ?? .any)
            offered = IPv4Address(bits: offered.bits + 1)
            return nil
        default: return nil
        }
    }
}

/// A client, its servers, and what has happened.
struct DHCPScene {
    enum Event: Hashable {
        case discover, request, decline
        /// A request to one server.
        case renew(IPv4Address)
        case configure(IPv4Address), deconfigure
    }

    static let mac = MACAddress(2, 0, 0, 0, 0, 7)
    static let second: Int64 = 1_000_000_000

    var client: DHCPClient
    var servers = [ModelDHCPServer()]
    var now = Instant.zero
    var random: SeededGenerator
    /// Of 1,000 messages, how many are lost, and come twice or late.
    var lost = 0
    var doubled = 0
    /// The next so many addresses are used by somebody else.
    var conflicts = 0
    var log: [(at: Int64, event: Event)] = []
    var sent: [PlainDHCPMessage] = []
    var isConfigured = false
    private var flying: [(at: Instant, bytes: [UInt8])] = []
    private var checkedAt: Instant?

    init(seed: UInt64 = 1, remembers: IPv4Address? = nil, _ change: (inout DHCPConfiguration) -> Void = { _ in }) {
        random = SeededGenerator(seed: seed)
        var configuration = DHCPConfiguration(Self.mac)
        change(&configuration)
        client = DHCPClient(configuration, remembers: remembers, now: .zero)
    }

    static func bytes(of message: DHCPTransmission) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: 320)
        bytes.change { message.write(to: &$0) }
        #expect(Array(bytes[300...]) == [UInt8](repeating: 0xEE, count: 20))
        return Array(bytes.prefix(300))
    }

    var events: [Event] { log.map(\.event) }

    mutating func note(_ event: Event) { log.append((now.nanoseconds, event)) }

    mutating func perform(_ action: DHCPAction) {
        switch action {
        case .broadcast(let message): transmit(Self.bytes(of: message), to: nil)
        case .send(let message, let server): transmit(Self.bytes(of: message), to: server)
        case .configure(let lease):
            note(.configure(lease.address))
            isConfigured = true
            if client.state == .checking { checkedAt = now + .seconds(6) }
        case .deconfigure:
            #expect(isConfigured)
            note(.deconfigure)
            isConfigured = false
            checkedAt = nil
        }
    }

    private mutating func transmit(_ bytes: [UInt8], to server: IPv4Address?) {
        let message = PlainDHCPMessage(bytes)
        sent.append(message)
        switch (message.type, server) {
        case (1, nil): note(.discover)
        case (3, nil): note(.request)
        case (3, let server?): note(.renew(server))
        case (4, nil): note(.decline)
        default: Issue.record("a message of type \(message.type)")
        }
        if happens(lost) { return }
        for index in servers.indices {
            guard let answer = servers[index].answer(bytes, to: server, at: now) else { continue }
            if happens(lost) { continue }
            for _ in 0..<(happens(doubled) ? 2 : 1) {
                let delay = happens(doubled) ? Int64.random(in: 0...20 * Self.second, using: &random) : 1_000_000
                flying.append((now.advanced(byNanoseconds: delay + Int64(index)), answer))
            }
        }
    }

    private mutating func happens(_ perMille: Int) -> Bool { Int.random(in: 0..<1000, using: &random) < perMille }

    /// Does all that is to be done now.
    mutating func settle() {
        var turns = 0
        while let action = client.nextAction(at: now, using: &random) {
            perform(action)
            turns += 1
            precondition(turns < 10, "a client that never rests")
        }
    }

    mutating func receive(_ bytes: [UInt8]) -> DHCPDrop? {
        let drop = client.receive(bytes.raw, at: now, using: &random)
        settle()
        return drop
    }

    /// Lets time pass until `seconds`, and looks at each step whether the client uses what nobody has granted.
    mutating func run(until seconds: Double) {
        let end = Instant(nanoseconds: Int64(seconds * 1e9))
        var turns = 0
        settle()
        while true {
            let next = min(client.deadline, flying.map(\.at).min() ?? .distantFuture, checkedAt ?? .distantFuture)
            guard next <= end else { break }
            now = max(now, next)
            if let index = flying.firstIndex(where: { $0.at <= now }) {
                _ = receive(flying.remove(at: index).bytes)
            } else if let at = checkedAt, at <= now {
                checkedAt = nil
                if conflicts > 0 {
                    conflicts -= 1
                    client.conflict(at: now, using: &random)
                } else {
                    client.assigned()
                }
            }
            settle()
            checkPromises()
            turns += 1
            precondition(turns < 100_000, "a client that never rests")
        }
        now = max(now, end)
    }

    /// The clock jumps, and what was on its way is lost.
    mutating func jump(_ seconds: Int64) {
        flying = []
        now = now + .seconds(seconds)
        settle()
        checkPromises()
    }

    func checkPromises() {
        guard isConfigured else { return }
        let until = servers.map(\.promisedUntil).max()!
        #expect(now < until, "an address is used that is not ours any more")
        #expect(client.lease.map { $0.expiry <= until } == true)
    }

    /// A client that is bound at 6 s and a bit.
    static func bound(seed: UInt64 = 1, leaseTime: UInt32 = 3600) -> DHCPScene {
        var scene = DHCPScene(seed: seed)
        scene.servers[0].leaseTime = leaseTime
        scene.run(until: 7)
        #expect(scene.client.state == .bound)
        return scene
    }
}
