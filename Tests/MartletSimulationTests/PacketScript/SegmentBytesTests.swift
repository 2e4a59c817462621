// Packets built from scripts, and scripts read from packets, against bytes that were computed elsewhere.

import Glibc
import MartletSimulation
import MartletStack
import Testing

@Suite struct SegmentBytesTests {
    static func flow(isIPv4: Bool, source: UInt32 = 1000, destination: UInt32 = 5000) -> SegmentBytes.Flow {
        let addresses =
            isIPv4
            ? (IPAddress.v4(IPv4Address(192, 0, 2, 1)), IPAddress.v4(IPv4Address(198, 51, 100, 2)))
            : (.v6(IPv6Address("2001:db8::1")!), .v6(IPv6Address("2001:db8::2")!))
        return SegmentBytes.Flow(
            from: SegmentBytes.Endpoint(address: addresses.0, port: 8080, initialSequence: source),
            to: SegmentBytes.Endpoint(address: addresses.1, port: 49_152, initialSequence: destination))
    }

    static func segment(_ text: String) throws -> PacketScript.Segment {
        guard case .expect(.tcp(let segment)) = try PacketScript("+0 > \(text)").lines[0].event else {
            throw SegmentOnWire.Problem.notTCP
        }
        return segment
    }

    static func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = hexadecimal.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    @Test func `An IPv4 segment with options is these bytes`() throws {
        let segment = try Self.segment("S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 7>")
        #expect(
            SegmentBytes.packet(segment, on: Self.flow(isIPv4: true))
                == Self.bytes(
                    """
                    4500003c 00004000 40064e85 c0000201 c6336402 1f90c000 000003e8 00001389 a012ffff 64b40000
                    020405b4 0402080a 00000001 00000002 01030307
                    """))
    }

    @Test func `An IPv6 segment with data and ECT is these bytes`() throws {
        let segment = try Self.segment("[ect0] P. 1:4(3) ack 1 win 100")
        #expect(
            SegmentBytes.packet(segment, on: Self.flow(isIPv4: false))
                == Self.bytes(
                    """
                    60200000 00170640 20010db8 00000000 00000000 00000001 20010db8 00000000 00000000 00000002
                    1f90c000 000003e9 00001389 50180064 58ec0000 010203
                    """))
    }

    @Test func `Data tells its place in the stream`() {
        #expect(SegmentBytes.data(from: 1, count: 3) == [1, 2, 3])
        #expect(SegmentBytes.data(from: 249, count: 4) == [249, 250, 0, 1])
        #expect(SegmentBytes.data(from: .max, count: 2) == [UInt8(UInt32.max % 251), 0])
    }

    @Test(arguments: [true, false], UInt64(1)...10)
    func `Any segment comes back from its bytes, whatever the initial numbers`(isIPv4: Bool, seed: UInt64) throws {
        var generator = ScriptGenerator(seed: seed)
        for _ in 0..<50 {
            let flow = Self.flow(isIPv4: isIPv4, source: generator.number(), destination: generator.number())
            var segment = generator.segment(isExpected: false)
            if case .exactly(let options) = segment.options, options.contains(where: { $0.byteCount > 34 }) { continue }
            let wire = try SegmentOnWire(SegmentBytes.packet(segment, on: flow))
            let found = try #require(wire.relative(to: flow), "seed \(seed)")
            segment.ecn = segment.ecn ?? .notECT
            segment.window = segment.window ?? 65_535
            if segment.flags.contains(.urg) { segment.urgent = segment.urgent ?? 0 }
            #expect(found == segment, "seed \(seed)")
            #expect(segment.differences(from: found) == [], "seed \(seed)")
            let first = segment.sequence &+ (segment.flags.contains(.syn) ? 1 : 0)
            #expect(wire.data == SegmentBytes.data(from: first, count: segment.length), "seed \(seed)")
            #expect(wire.hopLimit == 64)
            #expect(wire.relative(to: flow.reversed) == nil)
        }
    }

    @Test(arguments: [true, false])
    func `Padding behind a packet is ignored, and every truncation is noticed`(isIPv4: Bool) throws {
        let flow = Self.flow(isIPv4: isIPv4)
        let packet = SegmentBytes.packet(try Self.segment("P. 1:11(10) ack 1 <mss 1460>"), on: flow)
        #expect(try SegmentOnWire(packet + [0, 0, 1]) == SegmentOnWire(packet))
        for length in packet.indices {
            #expect(throws: SegmentOnWire.Problem.length, "\(length)") { try SegmentOnWire(Array(packet[..<length])) }
        }
    }

    @Test(arguments: [true, false])
    func `Every single wrong bit is noticed, but for those that no checksum covers`(isIPv4: Bool) throws {
        let flow = Self.flow(isIPv4: isIPv4)
        let packet = SegmentBytes.packet(try Self.segment("P. 1:11(10) ack 1 <mss 1460>"), on: flow)
        for bit in 0..<packet.count * 8 {
            var wrong = packet
            wrong[bit / 8] ^= 0x80 >> UInt8(bit % 8)
            let isFound = (try? SegmentOnWire(wrong)) == nil
            // IPv6 does not protect its traffic class, flow label and hop limit.
            let isCovered = isIPv4 || !(4..<32).contains(bit) && !(56..<64).contains(bit)
            #expect(isFound == isCovered, "bit \(bit)")
        }
    }

    /// A packet with bytes changed, and its checksums set right again.
    static func mended(_ packet: [UInt8], _ change: (inout [UInt8]) -> Void) -> [UInt8] {
        var packet = packet
        change(&packet)
        let header = Int(packet[0] & 0xF) * 4
        func sum(_ bytes: [UInt8]) -> Int {
            let padded = bytes.count % 2 == 0 ? bytes : bytes + [0]
            var sum = stride(from: 0, to: padded.count, by: 2).map { Int(padded[$0]) << 8 | Int(padded[$0 + 1]) }
                .reduce(0, +)
            while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
            return ~sum & 0xFFFF
        }
        func set(_ offset: Int, _ value: Int) {
            (packet[offset], packet[offset + 1]) = (UInt8(value >> 8), UInt8(value & 0xFF))
        }
        set(10, 0)
        if header <= packet.count && header >= 12 { set(10, sum(Array(packet[..<header]))) }
        if header + 20 <= packet.count && header >= 20 {
            set(header + 16, 0)
            let tcp = Array(packet[header...])
            set(header + 16, sum(packet[12..<20] + [0, 6, UInt8(tcp.count >> 8), UInt8(tcp.count & 0xFF)] + tcp))
        }
        return packet
    }

    @Test func `What a stack must not send is named`() throws {
        let flow = Self.flow(isIPv4: true)
        let packet = SegmentBytes.packet(try Self.segment("P. 1:11(10) ack 1 <mss 1460,nop,nop,sackOK>"), on: flow)
        #expect(Self.mended(packet) { _ in } == packet)
        let cases: [(SegmentOnWire.Problem, (inout [UInt8]) -> Void)] = [
            (.ipVersion, { $0[0] = 0x55 }), (.ipHeaderLength, { $0[0] = 0x44 }), (.length, { $0[3] += 1 }),
            (.length, { $0[3] = 19 }), (.fragment, { $0[6] = 0x20 }), (.fragment, { $0[7] = 1 }),
            (.notTCP, { $0[9] = 17 }),
            (.reservedBits, { $0[6] = 0x80 }), (.reservedBits, { $0[32] |= 1 }), (.dataOffset, { $0[32] = 0x40 }),
            (.dataOffset, { $0[32] = 0xF0 }), (.options, { $0[41] = 3 }), (.options, { $0[41] = 0 }),
            (.options, { $0[41] = 1 }), (.options, { $0[41] = 255 }), (.options, { $0[44] = 0 }),
            (.options, { $0[45] = 0 }),
            (.options, { $0[46] = 3 }),
            (.options, { $0[46] = 5 }), (.options, { $0[47] = 3 }),
            (
                .options,
                {
                    $0[46] = 1
                    $0[47] = 9
                }
            ),
        ]
        for (index, (problem, change)) in cases.enumerated() {
            #expect(throws: problem, "case \(index)") { try SegmentOnWire(Self.mended(packet, change)) }
        }
        // Without mending, the checksums are what is wrong.
        var wrong = packet
        wrong[8] = 63
        #expect(throws: SegmentOnWire.Problem.ipChecksum) { try SegmentOnWire(wrong) }
        wrong = packet
        wrong[57] ^= 1
        #expect(throws: SegmentOnWire.Problem.checksum) { try SegmentOnWire(wrong) }
        #expect(throws: SegmentOnWire.Problem.length) { try SegmentOnWire([]) }
        // IP options are no mistake.
        let withOptions = Self.mended([0x46] + packet[1..<20] + [1, 1, 1, 1] + packet[20...]) { $0[3] += 4 }
        #expect(try SegmentOnWire(withOptions).absolute == SegmentOnWire(packet).absolute)
    }

    @Test func `A packet of another connection is not compared`() throws {
        let flow = Self.flow(isIPv4: true)
        let wire = try SegmentOnWire(SegmentBytes.packet(try Self.segment("R 1:1(0)"), on: flow))
        #expect(wire.relative(to: flow) != nil)
        let changes: [(inout SegmentBytes.Flow) -> Void] = [
            { $0.source.port += 1 }, { $0.destination.port += 1 },
            { $0.source.address = .v4(.loopback) }, { $0.destination.address = .v4(.loopback) },
        ]
        for change in changes {
            var other = flow
            change(&other)
            #expect(wire.relative(to: other) == nil)
        }
    }

    @Test(arguments: [
        ("[ce] . 1:1(0) ack 1", ["ECN: expected [ce], was [noecn]"]),
        ("P. 1:1(0) ack 1", ["flags: expected P., was ."]),
        (". 2:2(0) ack 1", ["sequence number: expected 2, was 1"]), (". 1:2(1) ack 1", ["length: expected 1, was 0"]),
        (". 1:1(0) ack 2", ["acknowledgment number: expected 2, was 1"]),
        (". 1:1(0) ack 1 win 6", ["window: expected 6, was 5"]),
        ("U. 1:1(0) ack 1 urg 3", ["flags: expected U., was .", "urgent pointer: expected 3, was none"]),
        (". 1:1(0) ack 1 <mss 1>", ["options: expected <mss 1>, was none"]),
        ("R 1:1(0)", ["flags: expected R, was .", "acknowledgment number: expected none, was 1"]),
        (". 1:1(0) ack 1", []), (". 1:1(0) ack 1 win 5", []), (". 1:1(0) ack 1 <...>", []),
        ("[noecn] . 1:1(0) ack 1", []),
    ])
    func `Each difference is said, and what a pattern leaves out is none`(pattern: String, differences: [String]) throws
    {
        let flow = Self.flow(isIPv4: true)
        let wire = try SegmentOnWire(SegmentBytes.packet(try Self.segment(". 1:1(0) ack 1 win 5"), on: flow))
        let actual = try #require(wire.relative(to: flow))
        #expect(try Self.segment(pattern).differences(from: actual) == differences)
    }

    @Test func `Options that are not expected are a difference`() throws {
        let actual = try Self.segment("S 0:0(0) <mss 1>")
        #expect(try Self.segment("S 0:0(0)").differences(from: actual) == ["options: expected none, was <mss 1>"])
    }
}

// MARK: - ICMP

extension SegmentBytesTests {
    static func message(_ text: String) throws -> PacketScript.ICMPMessage {
        guard case .inject(.icmp(let message)) = try PacketScript("+0 < icmp \(text)").lines[0].event else {
            throw SegmentOnWire.Problem.notTCP
        }
        return message
    }

    @Test func `Fragmentation needed quotes the IPv4 header and eight bytes`() throws {
        let flow = Self.flow(isIPv4: true)
        let message = try Self.message("unreachable frag_needed mtu 1200 [1:1461(1460)]")
        let packet = SegmentBytes.packet(message, on: flow, from: .v4(IPv4Address(203, 0, 113, 9)))
        #expect(packet.count == 20 + 8 + 28)
        #expect(Array(packet[8..<10]) == [64, 1] && Array(packet[12..<20]) == [203, 0, 113, 9, 198, 51, 100, 2])
        #expect(Array(packet[20..<22]) == [3, 4] && Array(packet[24..<28]) == [0, 0, 0x04, 0xB0])
        #expect(CongestionTests.sum(Array(packet[..<20])) == 0xFFFF)
        #expect(CongestionTests.sum(Array(packet[20...])) == 0xFFFF)
        let quoted = Array(packet[28...])
        // From the destination of the flow, to its source; 1,500 bytes long.
        #expect(
            Array(quoted[2..<4]) == [0x05, 0xDC]
                && Array(quoted[12..<20]) == [198, 51, 100, 2, 192, 0, 2, 1])
        #expect(CongestionTests.sum(Array(quoted[..<20])) == 0xFFFF)
        #expect(Array(quoted[20...]) == [0xC0, 0, 0x1F, 0x90, 0, 0, 0x13, 0x89])
    }

    @Test func `Packet too big quotes as much as 1,280 bytes hold`() throws {
        let flow = Self.flow(isIPv4: false)
        let packet = SegmentBytes.packet(try Self.message("unreachable frag_needed mtu 1300 [1:1441(1440)]"), on: flow)
        #expect(packet.count == 1280)
        #expect(packet[6] == 58 && Array(packet[40..<42]) == [2, 0] && Array(packet[44..<48]) == [0, 0, 5, 20])
        let pseudo = Array(packet[8..<40]) + [0, 0, 0x04, 0xD8, 0, 0, 0, 58]
        #expect(CongestionTests.sum(pseudo + packet[40...]) == 0xFFFF)
        #expect(Array(packet[48 + 8..<48 + 24]) == Array(packet[24..<40]))
        #expect(SegmentBytes.packet(try Self.message("time_exceeded ttl"), on: flow).count == 40 + 8 + 60)
    }

    @Test(.enabled(if: OtherPrograms.has("tshark"), "tshark is not installed"), arguments: UInt64(1)...2)
    func `tshark finds nothing wrong in what is built here, and sees the same numbers`(seed: UInt64) throws {
        var generator = ScriptGenerator(seed: seed)
        var capture = Capture()
        let interface = capture.addInterface("a", framing: .ip)
        var expected: [String] = []
        for index in 0..<40 {
            let flow = Self.flow(isIPv4: index % 2 == 0)
            let segment = generator.segment(isExpected: false)
            capture.append(SegmentBytes.packet(segment, on: flow), at: .zero, interface: interface)
            expected.append(
                "\(1000 &+ segment.sequence) \(segment.length) \(segment.window ?? 65_535) \(segment.flags.rawValue) 1 "
            )
        }
        for reason in PacketScript.ICMPMessage.Reason.allCases {
            let message = PacketScript.ICMPMessage(reason, mtu: reason == .fragmentationNeeded ? 1300 : nil)
            for isIPv4 in [true, false] {
                capture.append(
                    SegmentBytes.packet(message, on: Self.flow(isIPv4: isIPv4)), at: .zero, interface: interface)
                expected.append("icmp 1")
            }
        }
        let path = OtherPrograms.temporaryPath("segments\(seed)")
        defer { unsafe unlink(path) }
        try capture.write(toFile: path)
        let text = OtherPrograms.output(
            of: "tshark -r \(path) -o tcp.check_checksum:TRUE -o tcp.analyze_sequence_numbers:FALSE "
                + "-o tcp.relative_sequence_numbers:FALSE "
                + "-T fields -E separator=/t -e tcp.seq_raw -e tcp.len -e tcp.window_size_value -e tcp.flags "
                + "-e tcp.checksum.status -e icmp.checksum.status -e icmpv6.checksum.status")
        let found = text.split(separator: "\n").map { line in
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            if let status = fields.dropFirst(5).first(where: { !$0.isEmpty }) { return "icmp \(status)" }
            let flags = Int(fields[3].dropFirst(2), radix: 16).map(String.init) ?? fields[3]
            return "\(fields[0]) \(fields[1]) \(fields[2]) \(flags) \(fields[4]) "
        }
        #expect(found == expected, "seed \(seed)")
    }
}
