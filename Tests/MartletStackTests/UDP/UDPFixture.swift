// A UDP room beside datagrams that are written by hand, so that a mistake of the stack does not hide in them.

import Testing

@testable import MartletStack

/// What a socket has received, as plain values that can be compared.
struct Received: Equatable {
    var bytes: [UInt8]
    var envelope: DatagramEnvelope
}

struct UDPFixture: ~Copyable {
    static let ours = IPAddress("192.0.2.1")!
    static let theirs = IPAddress("198.51.100.7")!
    static let ours6 = IPAddress("2001:db8::1")!
    static let theirs6 = IPAddress("2001:db8::7")!
    static let any = IPAddress("0.0.0.0")!
    static let any6 = IPAddress("::")!

    var udp: UDP
    var random: SeededGenerator
    var identifications: IPIdentification
    let pool: FramePool
    var now = Instant.zero

    init(_ limits: UDPLimits = UDPLimits(), frames: Int = 128, capacity: Int = 2048, seed: UInt64 = 1) {
        random = SeededGenerator(seed: seed)
        udp = UDP(limits: limits, using: &random)
        identifications = IPIdentification(using: &random)
        pool = FramePool(count: frames, capacity: capacity)
    }

    /// A datagram from its UDP header on, with its checksum by the letter of RFC 768.
    static func datagram(
        _ payload: [UInt8], from source: IPAddress, port: UInt16, to destination: IPAddress,
        port destinationPort: UInt16
    ) -> [UInt8] {
        let length = UInt16(8 + payload.count)
        var bytes = [UInt8](repeating: 0, count: 8) + payload
        bytes.put(port, at: 0)
        bytes.put(destinationPort, at: 2)
        bytes.put(length, at: 4)
        let sum = ~(pseudo(source, destination, bytes.count) + bytes).naiveSum
        bytes.put(sum == 0 ? 0xFFFF : sum, at: 6)
        return bytes
    }

    /// The pseudo-header of RFC 768, or that of RFC 8200 §8.1.
    static func pseudo(_ source: IPAddress, _ destination: IPAddress, _ length: Int) -> [UInt8] {
        var bytes = octets(source) + octets(destination)
        if case .v4 = source {
            bytes += [0, 17, UInt8(length >> 8), UInt8(length & 255)]
        } else {
            bytes += [0, 0, UInt8(length >> 8), UInt8(length & 255), 0, 0, 0, 17]
        }
        return bytes
    }

    static func octets(_ address: IPAddress) -> [UInt8] {
        switch address {
        case .v4(let address): (0..<4).map { address.octets[$0] }
        case .v6(let address): (0..<16).map { address.octets[$0] }
        }
    }

    mutating func arrive(
        _ packet: [UInt8], from source: IPAddress = UDPFixture.theirs, to destination: IPAddress = UDPFixture.ours,
        on interface: UInt8 = 1, ce: Bool = false, isVerified: Bool = false
    ) -> UDPOutcome {
        udp.datagramArrives(
            packet.raw, from: source, to: destination, on: interface, isCongestionExperienced: ce,
            isVerified: isVerified)
    }

    /// A good datagram arrives.
    mutating func arrive(
        _ payload: [UInt8], from source: IPAddress = UDPFixture.theirs, fromPort: UInt16 = 53,
        to destination: IPAddress = UDPFixture.ours, port destinationPort: UInt16, on interface: UInt8 = 1
    ) -> UDPOutcome {
        arrive(
            Self.datagram(payload, from: source, port: fromPort, to: destination, port: destinationPort), from: source,
            to: destination, on: interface)
    }

    mutating func receive(_ id: SocketID) -> Received? {
        var received: Received?
        let isThere = udp.receive(id) { bytes, envelope in
            received = Received(bytes: (0..<bytes.byteCount).map { bytes.byte(at: $0) }, envelope: envelope)
        }
        #expect(isThere == (received != nil))
        return received
    }

    mutating func bind(_ address: IPAddress = UDPFixture.any, _ port: UInt16) throws -> SocketID {
        try udp.bind(address, port: port, using: &random)
    }

    mutating func events() -> [SocketID: SocketEvents] {
        var events: [SocketID: SocketEvents] = [:]
        while let (id, what) = udp.nextEvent() {
            #expect(events[id] == nil, "all news of a socket at once")
            events[id] = what
        }
        return events
    }

    mutating func send(
        _ id: SocketID, _ payload: [UInt8], from source: IPAddress = UDPFixture.ours,
        to destination: IPAddress = UDPFixture.theirs, port: UInt16 = 53, mtu: Int = 1500, into burst: inout Burst
    ) -> UDPSent {
        udp.send(
            id, payload.raw, from: source, to: destination, port: port, mtu: mtu, identifications: &identifications,
            into: &burst, at: now, using: &random)
    }
}

/// The packets of a burst, which is empty then.
func packets(of burst: inout Burst) -> [[UInt8]] {
    var packets: [[UInt8]] = []
    while let frame = burst.popFirst() {
        let bytes = frame.bytes
        packets.append((0..<bytes.byteCount).map { bytes.byte(at: $0) })
    }
    return packets
}
