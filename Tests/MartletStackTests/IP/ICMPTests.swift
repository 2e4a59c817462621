import Testing

@testable import MartletStack

@Suite struct ICMPTests {
    /// A host without link addresses, so that packets are all there is.
    static func host(_ addresses: String...) -> Host {
        Host([InterfaceConfiguration(.ip, addresses: addresses.map { InterfaceAddress($0)! })])
    }

    @Test(arguments: [0, 1, 2, 56, 1472])
    func `An echo comes back as it was sent`(count: Int) {
        var host = Self.host("10.0.0.1/24")
        let data = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        host.receive(FrameBytes.icmp([8, 0, 0, 0, 0x12, 0x34, 0, 5] + data, from: "10.0.0.9", to: "10.0.0.1"))
        let packets = host.take()
        let expected = FrameBytes.icmp([0, 0, 0, 0, 0x12, 0x34, 0, 5] + data, from: "10.0.0.1", to: "10.0.0.9")
        #expect(packets.count == 1 && Array(packets[0].dropFirst(20)) == Array(expected.dropFirst(20)))
        #expect(packets.first.map { FrameBytes.sum(Array($0.prefix(20))) } == 0)
    }

    @Test(arguments: [0, 1, 2, 56, 1452], ["2001:db8::1", "ff02::1"])
    func `An echo over IPv6 comes back, also if everybody was asked`(count: Int, destination: String) {
        var host = Self.host("2001:db8::1/64")
        let data = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        host.receive(FrameBytes.icmp([128, 0, 0, 0, 0x12, 0x34, 0, 5] + data, from: "2001:db8::9", to: destination))
        let packets = host.take()
        let expected = FrameBytes.icmp(
            [129, 0, 0, 0, 0x12, 0x34, 0, 5] + data, from: "2001:db8::1", to: "2001:db8::9")
        #expect(packets.count == 1 && Array(packets[0].dropFirst(8)) == Array(expected.dropFirst(8)))
    }

    /// An echo request of both versions in two pieces.
    private static func pieces(_ message: [UInt8], from source: String, to destination: String, at cut: Int)
        -> [[UInt8]]
    {
        if case .v4 = IPAddress(source)! {
            let whole = FrameBytes.icmp(message, from: source, to: destination)
            return [20..<20 + cut, 20 + cut..<whole.count].map { range in
                var packet = FrameBytes.ip(Array(whole[range]), from: source, to: destination, 1)
                let offset = (range.lowerBound - 20) / 8 | (range.upperBound < whole.count ? 0x2000 : 0)
                (packet[6], packet[7], packet[10], packet[11]) = (UInt8(offset >> 8), UInt8(offset & 0xFF), 0, 0)
                let sum = FrameBytes.sum(Array(packet[..<20]))
                (packet[10], packet[11]) = (UInt8(sum >> 8), UInt8(sum & 0xFF))
                return FrameBytes.ethernet(packet, 0x0800)
            }
        }
        let whole = FrameBytes.icmp(message, from: source, to: destination)
        return [40..<40 + cut, 40 + cut..<whole.count].map { range in
            let offset = range.lowerBound - 40 | (range.upperBound < whole.count ? 1 : 0)
            let header: [UInt8] = [58, 0, UInt8(offset >> 8), UInt8(offset & 0xFF), 0, 0, 0, 7]
            return FrameBytes.ethernet(
                FrameBytes.ip(header + whole[range], from: source, to: destination, 44), 0x86DD)
        }
    }

    @Test(arguments: [("192.0.2.9", "192.0.2.1"), ("2001:db8::9", "2001:db8::1")])
    func `An echo that came in pieces goes back in pieces, every byte of it`(_ ends: (String, String)) throws {
        var host = Host("192.0.2.1/24", "2001:db8::1/64")
        let isIPv4 = !ends.0.contains(":")
        // Who asks is known.
        if isIPv4 {
            host.receive(FrameBytes.ethernet(FrameBytes.arp(1, from: ends.0, to: ends.1), 0x0806))
        } else {
            let solicitation: [UInt8] =
                [135, 0, 0, 0, 0, 0, 0, 0] + FrameBytes.octets(IPAddress(ends.1)!) + [1, 1]
                + FrameBytes.octets(Host.peerMAC)
            host.receive(
                FrameBytes.ethernet(FrameBytes.icmp(solicitation, from: ends.0, to: ends.1), 0x86DD))
        }
        _ = host.take()
        let data = (0..<1600).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let request = [isIPv4 ? 8 : 128, 0, 0, 0, 1, 2, 3, 4] + data
        for piece in Self.pieces(request, from: ends.0, to: ends.1, at: 800) { host.receive(piece) }
        let replies = host.take()
        #expect(replies.count == 2)
        let start = isIPv4 ? 34 : 62
        let whole = replies.flatMap { $0[start...] }
        #expect(whole.count == request.count && Array(whole[4...]) == Array(request[4...]))
        #expect(whole[0] == (isIPv4 ? 0 : 129))
        let expected = FrameBytes.icmp([isIPv4 ? 0 : 129] + request[1...], from: ends.1, to: ends.0)
        #expect(whole == Array(expected[(isIPv4 ? 20 : 40)...]))
        #expect(replies.allSatisfy { $0.count <= 1514 })
        let counters = host.stack.counters.network
        #expect(counters.echoReplies == 1)
    }

    @Test func `An echo to everybody, or with a wrong checksum, is not answered`() {
        var host = Self.host("10.0.0.1/24")
        for destination in ["255.255.255.255", "10.0.0.255", "224.0.0.1"] {
            host.receive(FrameBytes.icmp([8, 0, 0, 0, 0, 1, 0, 1], from: "10.0.0.9", to: destination))
        }
        var wrong = FrameBytes.icmp([8, 0, 0, 0, 0, 1, 0, 1], from: "10.0.0.9", to: "10.0.0.1")
        wrong[27] ^= 1
        host.receive(wrong)
        let packets = host.take()
        #expect(packets.isEmpty)
        #expect(host.dropped(.ignoredICMP) == 3 && host.dropped(.badChecksum) == 1)
    }

    @Test func `A datagram for nobody is answered with what it was, but not if everybody was meant`() throws {
        var host = Self.host("10.0.0.1/24")
        let packet = FrameBytes.ip(
            FrameBytes.udp([1, 2, 3], from: 1000, to: 2000), from: "10.0.0.9", to: "10.0.0.1", 17)
        host.receive(packet)
        var packets = host.take()
        try #require(packets.count == 1)
        #expect(Array(packets[0][20..<28]).prefix(2) == [3, 3])
        #expect(Array(packets[0].dropFirst(28)) == packet)
        #expect(FrameBytes.sum(Array(packets[0].dropFirst(20))) == 0)
        host.receive(
            FrameBytes.ip(FrameBytes.udp([1], from: 1000, to: 2000), from: "10.0.0.9", to: "10.0.0.255", 17))
        packets = host.take()
        #expect(packets.isEmpty)
    }

    @Test func `A protocol that nobody speaks is answered in the words of each version`() throws {
        var host = Self.host("10.0.0.1/24", "2001:db8::1/64")
        host.receive(FrameBytes.ip([1, 2, 3, 4], from: "10.0.0.9", to: "10.0.0.1", 132))
        var packets = host.take()
        try #require(packets.count == 1)
        #expect(Array(packets[0][20..<22]) == [3, 2])
        host.receive(FrameBytes.ip([1, 2, 3, 4], from: "2001:db8::9", to: "2001:db8::1", 132))
        packets = host.take()
        try #require(packets.count == 1)
        // Parameter Problem, unrecognized next header, at byte 6.
        #expect(
            Array(packets[0][40..<48]).enumerated().allSatisfy {
                $0.offset == 2 || $0.offset == 3 || $0.element == [4, 1, 0, 0, 0, 0, 0, 6][$0.offset]
            })
    }

    @Test func `No error answers an error, and a flood of errors is limited`() {
        var host = Self.host("10.0.0.1/24")
        let quoted = FrameBytes.ip(FrameBytes.udp([], from: 2000, to: 9), from: "10.0.0.1", to: "10.0.0.9", 17)
        host.receive(FrameBytes.icmp([3, 3, 0, 0, 0, 0, 0, 0] + quoted, from: "10.0.0.9", to: "10.0.0.1"))
        var packets = host.take()
        #expect(packets.isEmpty)
        for _ in 0..<1000 {
            host.receive(
                FrameBytes.ip(FrameBytes.udp([], from: 1000, to: 2000), from: "10.0.0.9", to: "10.0.0.1", 17))
        }
        packets = host.take()
        #expect(packets.count >= 40 && packets.count <= 50)
    }

    @Test func `A connected socket hears that nobody is there`() throws {
        var host = Self.host("10.0.0.1/24")
        let socket = try host.stack.bind(IPAddress("10.0.0.1")!, port: 5000)
        try host.stack.udp.connect(socket, from: IPAddress("10.0.0.1")!, to: IPAddress("10.0.0.9")!, port: 7)
        _ = host.send(socket, [1], to: "10.0.0.9", 7)
        host.flush()
        let packets = host.take()
        try #require(packets.count == 1)
        host.receive(
            FrameBytes.icmp([3, 3, 0, 0, 0, 0, 0, 0] + packets[0].prefix(28), from: "10.0.0.9", to: "10.0.0.1"))
        let error = host.stack.udp.takeError(of: socket)
        #expect(error == .refused)
    }

    @Test func `A large datagram goes in pieces and is whole again on the other side`() throws {
        var sender = Self.host("10.0.0.1/24", "2001:db8::1/64")
        var receiver = Self.host("10.0.0.2/24", "2001:db8::2/64")
        let data = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
        for (any, to) in [("0.0.0.0", "10.0.0.2"), ("::", "2001:db8::2")] {
            let from = try sender.stack.bind(IPAddress(any)!, port: 5000)
            let at = try receiver.stack.bind(IPAddress(any)!, port: 7)
            let outcome = sender.send(from, data, to: to, 7)
            #expect(outcome == .sent)
            sender.flush()
            let packets = sender.take()
            #expect(packets.count == 14 && packets.allSatisfy { $0.count <= 1500 })
            for packet in packets.reversed() { receiver.receive(packet) }
            var received: [UInt8] = []
            let hadOne = receiver.stack.udp.receive(at) { bytes, _ in
                received = (0..<bytes.byteCount).map { bytes.byte(at: $0) }
            }
            let isIntact = received == data
            #expect(hadOne && isIntact)
        }
    }
}
