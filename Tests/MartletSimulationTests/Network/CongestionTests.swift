// ECN marks: which packets get them, and that the checksum follows.

import MartletSimulation
import MartletStack
import Testing

@Suite struct CongestionTests {
    /// A header of 20 bytes or more with a right checksum, computed here.
    static func ipv4(typeOfService: UInt8, identification: UInt16 = 0x1234, options: Int = 0) -> [UInt8] {
        var header: [UInt8] = [0x45 + UInt8(options), typeOfService, 0, UInt8(20 + 4 * options)]
        header += [
            UInt8(identification >> 8), UInt8(identification & 0xFF), 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ]
        header += [UInt8](repeating: 1, count: 4 * options)
        let checksum = ~sum(header)
        header[10] = UInt8(checksum >> 8)
        header[11] = UInt8(checksum & 0xFF)
        return header
    }

    static func sum(_ bytes: [UInt8]) -> UInt16 {
        var sum = stride(from: 0, to: bytes.count, by: 2).map { UInt32(bytes[$0]) << 8 | UInt32(bytes[$0 + 1]) }
            .reduce(0, +)
        while sum > 0xFFFF { sum = sum % 0x10000 + sum / 0x10000 }
        return UInt16(sum)
    }

    /// What arrives over a link that marks all it can.
    static func marked(_ frame: [UInt8], framing: Framing) -> (frame: [UInt8], count: Int) {
        var conditions = LinkConditions.perfect
        conditions.markingThreshold = 0
        var network = VirtualLinkTests.pair(conditions, framing: framing)
        network.send(frame, from: 0, to: 1, at: .zero)
        return (network.deliveries(until: .zero)[0].frame, network.counters(from: 0, to: 1).marked)
    }

    static let ethernetHeader = [UInt8](repeating: 2, count: 12)

    @Test(arguments: UInt8(0)...255)
    func `IPv4 packets that are ECT become CE with a right checksum, the others stay as they are`(service: UInt8) {
        for identification: UInt16 in [0, 1, 0x1234, 0xFFFE, 0xFFFF] {
            let packet = Self.ipv4(typeOfService: service, identification: identification)
            let isECT = service & 3 == 1 || service & 3 == 2
            let (arrived, count) = Self.marked(packet, framing: .ip)
            #expect(count == (isECT ? 1 : 0))
            #expect(arrived[1] == (isECT ? service | 3 : service))
            #expect(Self.sum(arrived) == 0xFFFF)
            #expect(
                arrived[..<1] == packet[..<1] && arrived[2..<10] == packet[2..<10] && arrived[12...] == packet[12...])
        }
    }

    @Test(arguments: UInt8(0)...255)
    func `IPv6 packets that are ECT become CE`(trafficClass: UInt8) {
        var packet = [UInt8](repeating: 0x11, count: 40)
        packet[0] = 0x60 | trafficClass >> 4
        packet[1] = trafficClass << 4 | 0xA
        let isECT = trafficClass & 3 == 1 || trafficClass & 3 == 2
        var expected = packet
        if isECT { expected[1] |= 0x30 }
        let (arrived, count) = Self.marked(packet, framing: .ip)
        #expect(arrived == expected)
        #expect(count == (isECT ? 1 : 0))
    }

    @Test func `The header is found behind an Ethernet header and up to two tags`() {
        let packet = Self.ipv4(typeOfService: 1)
        let marked = Self.marked(packet, framing: .ip).frame
        for tags: [UInt8] in [[], [0x81, 0, 0, 5], [0x88, 0xA8, 0, 5, 0x81, 0, 0, 6]] {
            let header = Self.ethernetHeader + tags + [8, 0]
            #expect(Self.marked(header + packet, framing: .ethernet).frame == header + marked)
        }
        let ipv6 = [0x60, 0x20] + [UInt8](repeating: 0, count: 38)
        #expect(Self.marked(Self.ethernetHeader + [0x86, 0xDD] + ipv6, framing: .ethernet).frame[15] == 0x30)
        let withOptions = Self.marked(Self.ipv4(typeOfService: 2, options: 10), framing: .ip)
        #expect(withOptions.count == 1 && Self.sum(withOptions.frame) == 0xFFFF)
    }

    @Test func `What is no IP packet, or is cut off, is left alone`() {
        let packet = Self.ipv4(typeOfService: 1, options: 2)
        for length in 0..<28 {
            let cut = Array(packet[..<length])
            #expect(Self.marked(cut, framing: .ip) == (cut, 0))
            let frame = Self.ethernetHeader + [8, 0] + cut
            #expect(Self.marked(frame, framing: .ethernet) == (frame, 0))
        }
        for length in 0..<40 {
            let cut = [0x60, 0x20] + [UInt8](repeating: 0, count: 38)
            #expect(Self.marked(Array(cut[..<length]), framing: .ip).count == 0)
        }
        for length in 0..<14 {
            #expect(Self.marked(Array((Self.ethernetHeader + [8, 0])[..<length]), framing: .ethernet).count == 0)
        }
        let others: [[UInt8]] = [
            Self.ethernetHeader + [8, 6] + packet, Self.ethernetHeader + [0x86, 0xDD] + packet,
            Self.ethernetHeader + [0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x81, 0, 0, 1, 8, 0] + packet,
        ]
        for frame in others { #expect(Self.marked(frame, framing: .ethernet) == (frame, 0)) }
        // Version 5, and a header length below 20.
        for first: UInt8 in [0x55, 0x44, 0x40, 0x00, 0xF5] {
            let strange = [first] + packet[1...]
            #expect(Self.marked(strange, framing: .ip) == (strange, 0))
        }
    }

    @Test func `A wrong checksum stays wrong`() {
        var packet = Self.ipv4(typeOfService: 2)
        packet[10] ^= 0x40
        let arrived = Self.marked(packet, framing: .ip).frame
        #expect(arrived[1] == 3)
        #expect(Self.sum(arrived) != 0xFFFF)
    }

    @Test func `Packets are marked from the threshold of waiting bytes on`() {
        var conditions = LinkConditions(latency: .zero, bandwidth: 8_000_000_000)
        conditions.markingThreshold = 40
        var network = VirtualLinkTests.pair(conditions)
        for _ in 0..<6 { network.send(Self.ipv4(typeOfService: 2), from: 0, to: 1, at: .zero) }
        // The first is sent, two wait below the threshold, and those behind them find 40, 60 and 80 bytes.
        let marks = network.deliveries(until: .distantFuture).map { $0.frame[1] }
        #expect(marks == [2, 2, 2, 3, 3, 3])
        #expect(network.counters(from: 0, to: 1).marked == 3)
    }
}
