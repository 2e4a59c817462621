// What routers and switches hear of groups: IGMP (RFC 3376, RFC 2236), MLD (RFC 3810, RFC 2710), frame by frame.

import Testing

@testable import MartletStack

@Suite struct GroupReportsTests {
    /// A message to routers, as a router reads it.
    struct Message: Equatable {
        var to: String
        var from: String
        var type: UInt8
        /// Each is a record's type and group; of older versions, the group alone, with 0.
        var records: [Record] = []
    }

    struct Record: Equatable {
        var type: UInt8
        var group: String

        init(_ type: UInt8, _ group: String) { (self.type, self.group) = (type, group) }
    }

    /// Reads an IGMP or MLD message, and sees that everything around it is right; nil if the frame is something else.
    static func message(_ frame: [UInt8]) -> Message? {
        let packet = Array(frame.dropFirst(14))
        if frame[12] == 8, packet[9] == 2 {
            #expect(packet[0] == 0x46 && packet[8] == 1 && packet[1] == 0xC0, "one hop, and an option")
            #expect(Array(packet[20..<24]) == [0x94, 4, 0, 0], "Router Alert")
            #expect(FrameBytes.sum(Array(packet[0..<24])) == 0, "header checksum")
            #expect(FrameBytes.sum(Array(packet[24...])) == 0, "checksum")
            let body = Array(packet[24...])
            let to = address(packet[16..<20])
            #expect(Array(frame[0..<6]) == FrameBytes.octets(.multicast(v4(packet[16..<20]))))
            var message = Message(to: to, from: address(packet[12..<16]), type: body[0])
            if body[0] == 0x22 {
                let count = Int(body[6]) << 8 | Int(body[7])
                #expect(body.count == 8 + 8 * count)
                for number in 0..<count {
                    let start = 8 + 8 * number
                    message.records.append(Record(body[start], address(body[start + 4..<start + 8])))
                }
            } else {
                #expect(body.count == 8)
                message.records = [Record(0, address(body[4..<8]))]
            }
            return message
        }
        guard frame[12] == 0x86, packet[6] == 0, packet[40] == 58 else { return nil }
        #expect(packet[7] == 1 && Array(packet[41..<48]) == [0, 5, 2, 0, 0, 1, 0], "one hop, and an option")
        let body = Array(packet[48...])
        let pseudo = Array(packet[8..<40]) + [0, 0, UInt8(body.count >> 8), UInt8(body.count & 255), 0, 0, 0, 58]
        #expect(FrameBytes.sum(pseudo + body) == 0, "checksum")
        #expect(Array(frame[0..<2]) == [0x33, 0x33] && Array(frame[2..<6]) == Array(packet[36..<40]))
        var message = Message(to: address(packet[24..<40]), from: address(packet[8..<24]), type: body[0])
        if body[0] == 143 {
            let count = Int(body[6]) << 8 | Int(body[7])
            #expect(body.count == 8 + 20 * count)
            for number in 0..<count {
                let start = 8 + 20 * number
                message.records.append(Record(body[start], address(body[start + 4..<start + 20])))
            }
        } else {
            #expect(body.count == 24)
            message.records = [Record(0, address(body[8..<24]))]
        }
        return message
    }

    private static func v4(_ bytes: ArraySlice<UInt8>) -> IPv4Address {
        IPv4Address(bits: bytes.reduce(0) { $0 << 8 | UInt32($1) })
    }

    private static func address(_ bytes: ArraySlice<UInt8>) -> String {
        if bytes.count == 4 { return "\(IPAddress.v4(v4(bytes)))" }
        let high = bytes.prefix(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        return "\(IPAddress.v6(IPv6Address(high: high, low: bytes.suffix(8).reduce(0) { $0 << 8 | UInt64($1) })))"
    }

    /// A host that has said all that it has to say of its addresses.
    static func host(seed: UInt64 = 1) -> Host {
        var host = Host("10.0.0.1/24", "fd00::1/64", seed: seed)
        host.wait(.seconds(3))
        _ = host.take()
        return host
    }

    static func messages(_ host: inout Host) -> [Message] { host.take().compactMap { message($0) } }

    /// A query in a frame: its bytes from the type on, without a checksum.
    static func igmp(_ body: [UInt8], to destination: String = "224.0.0.1", hops: UInt8 = 1) -> [UInt8] {
        var body = body
        let sum = FrameBytes.sum(body)
        (body[2], body[3]) = (UInt8(sum >> 8), UInt8(sum & 255))
        let packet = FrameBytes.ip(body, from: "10.0.0.254", to: destination, 2, hops: hops)
        return FrameBytes.ethernet(packet, 0x0800, to: MACAddress(bits: 0x0100_5E00_0001))
    }

    static func mld(
        _ body: [UInt8], from source: String = "fe80::254", to destination: String = "ff02::1", hops: UInt8 = 1,
        isAlerting: Bool = true
    ) -> [UInt8] {
        var packet = FrameBytes.icmp(body, from: source, to: destination)
        packet[7] = hops
        packet[6] = 0
        packet[5] += 8
        packet.insert(contentsOf: [58, 0] + (isAlerting ? [5, 2, 0, 0, 1, 0] : [1, 4, 0, 0, 0, 0]), at: 40)
        return FrameBytes.ethernet(packet, 0x86DD, to: MACAddress(bits: 0x3333_0000_0001))
    }

    static func octets(_ address: String) -> [UInt8] { FrameBytes.octets(IPAddress(address)!) }

    // MARK: Changes

    struct Case: Sendable, CustomTestStringConvertible {
        let group: String
        let routers: String
        let from: String
        let type: UInt8
        var testDescription: String { group }
    }

    static let cases = [
        Case(group: "239.1.2.3", routers: "224.0.0.22", from: "10.0.0.1", type: 0x22),
        Case(group: "ff05::1234", routers: "ff02::16", from: "::", type: 143),
    ]

    @Test(
        "RFC 3376 §5.1, RFC 3810 §6.1: joining and leaving are reported at once, and once more within a second",
        arguments: cases)
    func changes(of expected: Case) {
        var host = Self.host()
        let group = IPAddress(expected.group)!
        #expect(host.stack.join(group, on: 0) == true)
        #expect(host.stack.join(group, on: 0) == true)
        for record in [4, 3] as [UInt8] {
            let report = Message(
                to: expected.routers, from: expected.from, type: expected.type,
                records: [Record(record, expected.group)])
            host.wait(.zero)
            #expect(Self.messages(&host) == [report])
            host.wait(.seconds(1))
            #expect(Self.messages(&host) == [report])
            host.wait(.seconds(100))
            #expect(Self.messages(&host) == [])
            #expect(host.stack.leave(group, on: 0) == (record == 4))
            // The second leaving is the one that counts.
            if record == 4 {
                host.wait(.seconds(3))
                #expect(Self.messages(&host) == [])
                #expect(host.stack.leave(group, on: 0) == true)
            }
        }
        #expect(host.stack.network.groups.contains(group, on: 0) == false)
    }

    @Test("who joins again while leaving is still being told is a member, and says so")
    func rejoin() {
        var host = Self.host()
        let group = IPAddress("239.1.2.3")!
        _ = host.stack.join(group, on: 0)
        host.wait(.seconds(3))
        _ = host.stack.leave(group, on: 0)
        host.wait(.zero)
        _ = host.stack.join(group, on: 0)
        host.wait(.seconds(3))
        let records = Self.messages(&host).flatMap { $0.records.map(\.type) }
        #expect(records == [4, 4, 3, 4, 4])
        #expect(host.stack.network.groups.contains(group, on: 0) == true)
    }

    @Test(
        "groups that end in the host or that all are in are joined without a word", arguments: ["224.0.0.1", "ff01::5"])
    func unreported(group: String) {
        var host = Self.host()
        #expect(host.stack.join(IPAddress(group)!, on: 0) == true)
        host.receive(Self.igmp([0x11, 10, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]))
        host.receive(Self.mld([130, 0, 0, 0, 3, 232, 0, 0] + Self.octets("::") + [2, 125, 0, 0]))
        host.wait(.seconds(5))
        // The IPv6 address has its solicited nodes, whose answer is due.
        #expect(Self.messages(&host).flatMap(\.records) == [Record(2, "ff02::1:ff00:1")])
    }

    // MARK: Addresses

    @Test(
        "RFC 4862 §5.4.2: the group of an address's solicited nodes is reported before the address is asked for in it")
    func solicitedNodes() throws {
        for seed in 1...20 as ClosedRange<UInt64> {
            var interface = InterfaceConfiguration(
                .ethernet(Host.mac), addresses: [InterfaceAddress("fe80::1:2:3/64")!])
            interface.usesAutoconfiguration = false
            var host = Host([interface], seed: seed)
            host.wait(.seconds(4))
            let frames = host.take()
            let report = try #require(frames.firstIndex { Self.message($0)?.type == 143 }, "seed \(seed)")
            let probe = try #require(frames.firstIndex { $0[20] == 58 && $0[54] == 135 }, "seed \(seed)")
            #expect(report < probe, "seed \(seed)")
            let first = Self.message(frames[report])
            #expect(first?.from == "::" && first?.records == [Record(4, "ff02::1:ff02:3")], "seed \(seed)")
            #expect(host.stack.removeAddress(IPAddress("fe80::1:2:3")!) == true)
            host.wait(.seconds(4))
            let last = Self.messages(&host)
            #expect(last.map(\.records) == [[Record(3, "ff02::1:ff02:3")], [Record(3, "ff02::1:ff02:3")]])
        }
    }

    @Test("RFC 3810 §5.2.13: once the link-local address may be used, reports come from it")
    func linkLocalSource() {
        var host = Host("fe80::1/64", "fd00::1/64")
        host.wait(.seconds(3))
        #expect(Self.messages(&host).allSatisfy { $0.from == "fe80::1" } == true)
    }

    // MARK: Questions

    @Test(
        "RFC 3376 §5.2, RFC 3810 §6.2: a question for all groups is answered for all of them, in its time",
        arguments: 1...8)
    func generalQuery(seed: UInt64) {
        var host = Self.host(seed: seed)
        for group in ["239.1.2.3", "239.1.2.4", "ff05::1234"] { _ = host.stack.join(IPAddress(group)!, on: 0) }
        host.wait(.seconds(3))
        _ = host.take()
        // 0x8A is (16 + 10) << 3 tenths of a second.
        host.receive(Self.igmp([0x11, 0x8A, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]))
        host.receive(Self.mld([130, 0, 0, 0, 0x27, 0x10, 0, 0] + Self.octets("::") + [2, 125, 0, 0]))
        #expect(Self.messages(&host) == [], "not all at once")
        host.wait(.seconds(21))
        let messages = Self.messages(&host)
        #expect(messages.count == 2)
        let records = messages.flatMap { $0.records.map { "\($0.type) \($0.group)" } }
        #expect(Set(records) == ["2 239.1.2.3", "2 239.1.2.4", "2 ff05::1234", "2 ff02::1:ff00:1"])
    }

    @Test("a question for one group is answered by its members alone", arguments: cases)
    func specificQuery(expected: Case) {
        var host = Self.host()
        func query(_ group: String) -> [UInt8] {
            expected.type == 143
                ? Self.mld([130, 0, 0, 0, 3, 232, 0, 0] + Self.octets(group) + [2, 125, 0, 0], to: group)
                : Self.igmp([0x11, 10, 0, 0] + Self.octets(group) + [2, 125, 0, 0], to: group)
        }
        _ = host.stack.join(IPAddress(expected.group)!, on: 0)
        host.wait(.seconds(3))
        _ = host.take()
        host.receive(query(expected.group))
        host.receive(query(expected.group))
        host.receive(query(expected.type == 143 ? "ff05::1235" : "239.1.2.5"))
        host.wait(.seconds(2))
        let answer = Message(
            to: expected.routers, from: expected.from, type: expected.type, records: [Record(2, expected.group)])
        #expect(Self.messages(&host) == [answer])
    }

    @Test("the router says how often changes are told")
    func robustness() {
        var host = Self.host()
        host.receive(Self.igmp([0x11, 10, 0, 0, 0, 0, 0, 0, 5, 125, 0, 0]))
        _ = host.stack.join(IPAddress("239.1.2.3")!, on: 0)
        host.wait(.seconds(10))
        #expect(Self.messages(&host).filter { $0.records == [Record(4, "239.1.2.3")] }.count == 5)
    }

    @Test("more groups than a message holds are reported in several")
    func manyGroups() {
        var host = Host(
            [InterfaceConfiguration(.ethernet(Host.mac), addresses: [])].map {
                var interface = $0
                (interface.mtu, interface.usesAutoconfiguration) = (576, false)
                return interface
            })
        for number in 1...32 { #expect(host.stack.join(IPAddress("ff05::\(number)")!, on: 0) == true) }
        host.wait(.zero)
        let messages = Self.messages(&host)
        #expect(messages.count == 2)
        #expect(Set(messages.flatMap { $0.records.map(\.group) }).count == 32)
    }

    @Test("what a stranger could have sent from afar is not believed, and counted")
    func fromAfar() {
        var host = Self.host()
        _ = host.stack.join(IPAddress("239.1.2.3")!, on: 0)
        host.wait(.seconds(3))
        _ = host.take()
        let general: [UInt8] = [130, 0, 0, 0, 3, 232, 0, 0] + Self.octets("::") + [2, 125, 0, 0]
        let frames = [
            Self.igmp([0x11, 10, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0], hops: 2),
            Self.igmp([0x11, 10, 0, 0, 10, 0, 0, 1, 2, 125, 0, 0]),
            Self.igmp([0x11, 10, 0, 0, 0, 0, 0, 0, 2, 125]),
            Self.mld(general, hops: 2), Self.mld(general, from: "fd00::254"), Self.mld(general, isAlerting: false),
        ]
        for (number, frame) in frames.enumerated() {
            host.receive(frame)
            #expect(host.dropped(.ignoredMembership) == UInt64(number + 1))
        }
        host.wait(.seconds(5))
        #expect(Self.messages(&host) == [])
    }

    // MARK: Older versions

    @Test("RFC 3376 §7.2.1: to a router of version 2, version 2 is spoken, until none has been heard for 260 s")
    func secondVersion() {
        var host = Self.host()
        _ = host.stack.join(IPAddress("239.1.2.3")!, on: 0)
        host.wait(.seconds(3))
        _ = host.take()
        host.receive(Self.igmp([0x11, 10, 0, 0, 0, 0, 0, 0]))
        host.wait(.seconds(1))
        let report = Message(to: "239.1.2.3", from: "10.0.0.1", type: 0x16, records: [Record(0, "239.1.2.3")])
        #expect(Self.messages(&host) == [report])
        // Another member is faster.
        host.receive(Self.igmp([0x11, 100, 0, 0, 0, 0, 0, 0]))
        host.receive(Self.igmp([0x16, 0, 0, 0] + Self.octets("239.1.2.3"), to: "239.1.2.3"))
        host.wait(.seconds(11))
        #expect(Self.messages(&host) == [])
        _ = host.stack.leave(IPAddress("239.1.2.3")!, on: 0)
        host.wait(.zero)
        #expect(
            Self.messages(&host)
                == [Message(to: "224.0.0.2", from: "10.0.0.1", type: 0x17, records: [Record(0, "239.1.2.3")])])
        host.wait(.seconds(260))
        _ = host.take()
        _ = host.stack.join(IPAddress("239.1.2.3")!, on: 0)
        host.wait(.zero)
        #expect(Self.messages(&host).map(\.type) == [0x22])
    }

    @Test("to a router of version 1, its reports are sent, and no farewell")
    func firstVersion() {
        var host = Self.host()
        host.receive(Self.igmp([0x11, 0, 0, 0, 0, 0, 0, 0]))
        _ = host.stack.join(IPAddress("239.1.2.3")!, on: 0)
        host.wait(.zero)
        #expect(Self.messages(&host).map(\.type) == [0x12])
        host.wait(.seconds(3))
        _ = host.take()
        _ = host.stack.leave(IPAddress("239.1.2.3")!, on: 0)
        host.wait(.seconds(3))
        #expect(Self.messages(&host) == [])
    }

    @Test("RFC 3810 §8.2.1: to a router of MLDv1, MLDv1 is spoken")
    func olderMLD() {
        var host = Self.host()
        host.receive(Self.mld([130, 0, 0, 0, 3, 232, 0, 0] + Self.octets("::")))
        host.wait(.seconds(2))
        let answers = Self.messages(&host)
        #expect(
            answers == [
                Message(to: "ff02::1:ff00:1", from: "::", type: 131, records: [Record(0, "ff02::1:ff00:1")])
            ])
        _ = host.stack.join(IPAddress("ff05::1234")!, on: 0)
        host.wait(.seconds(3))
        #expect(Self.messages(&host).map(\.type) == [131, 131])
        _ = host.stack.leave(IPAddress("ff05::1234")!, on: 0)
        host.wait(.zero)
        #expect(
            Self.messages(&host)
                == [Message(to: "ff02::2", from: "::", type: 132, records: [Record(0, "ff05::1234")])])
    }
}
