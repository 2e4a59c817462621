// IPv6 headers, and the walk over extension headers: every kind, every truncation, every limit, and noise.

import Testing

@testable import MartletStack

@Suite struct IPv6HeaderTests {
    static let source = IPv6Address("2001:db8::1")!
    static let destination = IPv6Address("fe80::ffff:1234:5678")!

    /// An IPv6 packet with these bytes behind its header.
    static func packet(_ next: IPProtocol, _ payload: [UInt8]) -> [UInt8] {
        let header = IPv6Header(
            source: source, destination: destination, nextHeader: next, payloadLength: payload.count)
        return [UInt8](count: 40) { header.write(to: &$0) } + payload
    }

    static func walk(_ packet: [UInt8]) -> IPv6Extensions.Outcome? {
        guard let header = IPv6Header(bytes: packet) else { return nil }
        return IPv6Extensions.walk(header, packet.raw)
    }

    static func walk(_ next: IPProtocol, _ hex: String) -> IPv6Extensions.Outcome? {
        walk(packet(next, [UInt8](hex: hex)))
    }

    static func arrived(_ outcome: IPv6Extensions.Outcome?) -> IPv6Extensions? {
        if case .arrived(let extensions) = outcome { return extensions }
        return nil
    }

    static func problem(
        _ code: ICMPv6Message.ParameterProblem, at pointer: UInt16, isForMulticastToo: Bool = false
    ) -> IPv6Extensions.Outcome {
        .problem(IPv6Extensions.Problem(code: code, pointer: pointer, isForMulticastToo: isForMulticastToo))
    }

    // MARK: The header

    @Test func `A header is read field by field, and written the same`() throws {
        let bytes = [UInt8](
            hex: """
                6b9 abcde 0004 063f
                20010db8 00000000 00000000 00000001
                fe800000 00000000 0000ffff 12345678
                01020304 ffff
                """)
        let header = try #require(IPv6Header(bytes: bytes))
        #expect(header.dscp == 46 && header.ecn == .capable1)
        #expect(header.flowLabel == 0xABCDE)
        #expect(header.payloadLength == 4 && header.totalLength == 44)
        #expect(header.nextHeader == .tcp && header.hopLimit == 63)
        #expect(header.source == Self.source && header.destination == Self.destination)
        #expect([UInt8](count: 42) { header.write(to: &$0) } == bytes.prefix(40) + [0xEE, 0xEE])
    }

    @Test func `The version and the length are checked`() {
        let bytes = Self.packet(.udp, [UInt8](repeating: 0, count: 8))
        for length in 0...48 {
            #expect((IPv6Header(bytes: Array(bytes.prefix(length))) != nil) == (length == 48))
        }
        for version in UInt8.min...15 {
            var other = bytes
            other[0] = version << 4
            #expect((IPv6Header(bytes: other) != nil) == (version == 6))
        }
    }

    @Test(
        arguments: [(0, ECN.notCapable), (1, .capable1), (2, .capable0), (3, .congestionExperienced)] as [(UInt8, ECN)])
    func `The ECN codepoints are the two lowest bits of the traffic class`(bits: UInt8, ecn: ECN) {
        #expect(ECN(trafficClass: 0xFC | bits) == ecn)
        #expect(ecn.rawValue == bits)
    }

    // MARK: The walk

    @Test func `Without extension headers the walk is none`() throws {
        for next: IPProtocol in [.tcp, .udp, .icmpv6, .noNextHeader, IPProtocol(rawValue: 253)] {
            let extensions = try #require(Self.arrived(Self.walk(next, "")))
            #expect(extensions == IPv6Extensions(protocol: next, offset: 40, protocolOffset: 6))
        }
    }

    @Test func `Every kind of extension header is walked over`() throws {
        let hex = """
            3c00 0502 0000 0100
            2b01 0104 00000000 0000 0000 0000 0000
            2c00 0400 00000000
            3c00 0001 01020304
            0600 0104 00000000
            aaaa
            """
        // Hop-by-hop with a router alert, destination options, routing with no segments left, a first fragment,
        // destination options, TCP.
        let bytes = Self.packet(.hopByHop, [UInt8](hex: hex) + [UInt8](repeating: 0, count: 22))
        let extensions = try #require(Self.arrived(Self.walk(bytes)))
        #expect(extensions.protocol == .tcp && extensions.count == 5)
        #expect(extensions.offset == 40 + 8 + 16 + 8 + 8 + 8)
        #expect(extensions.protocolOffset == extensions.offset - 8)
        let fragment = try #require(extensions.fragment)
        #expect(fragment.identification == 0x0102_0304 && fragment.offset == 0 && fragment.moreFragments)
        #expect(fragment.nextHeader == .destinationOptions)
        #expect(fragment.headerOffset == 72 && fragment.namedAt == 64)
        #expect(!fragment.isAtomic)
    }

    @Test func `A packet cut at any byte of its extension headers is dropped`() {
        let hex = "3c00 0104 00000000 2b01 0104 00000000 0000 0000 0000 0000 1100 0400 00000000 00350035 00080000"
        let whole = [UInt8](hex: hex)
        for length in 0..<32 {
            let outcome = Self.walk(Self.packet(.hopByHop, Array(whole.prefix(length))))
            #expect(outcome == .dropped(.truncated), "\(length)")
        }
        for length in 32...40 {
            let outcome = Self.walk(Self.packet(.hopByHop, Array(whole.prefix(length))))
            #expect(Self.arrived(outcome)?.offset == 72, "\(length)")
        }
    }

    @Test func `Padding behind a packet is not walked`() {
        var bytes = Self.packet(.destinationOptions, [])
        bytes += [UInt8](hex: "0600 0104 00000000")
        #expect(Self.walk(bytes) == .dropped(.truncated))
    }

    @Test func `Hop-by-hop options stand first or are unknown`() {
        #expect(
            Self.walk(.destinationOptions, "0000 0104 00000000 0600 0104 00000000")
                == Self.problem(.unknownNextHeader, at: 40))
        #expect(
            Self.walk(.hopByHop, "0000 0104 00000000 0600 0104 00000000") == Self.problem(.unknownNextHeader, at: 40))
    }

    @Test func `Unknown options are treated as their highest bits say`() {
        for type in UInt8.min...UInt8.max {
            for next: IPProtocol in [.hopByHop, .destinationOptions] {
                let bytes = Self.packet(next, [6, 0, 1, 0, type, 2, 0, 0])
                let expected: IPv6Extensions.Outcome? =
                    switch type >> 6 {
                    case 0: nil
                    case 1: .dropped(.unknownOption)
                    case 2: Self.problem(.unknownOption, at: 44, isForMulticastToo: true)
                    default: Self.problem(.unknownOption, at: 44)
                    }
                let outcome = Self.walk(bytes)
                if type == 0 {
                    // Pad1, so that the next option is of type 2 and has no bytes.
                    #expect(Self.arrived(outcome)?.offset == 48)
                } else if let expected {
                    #expect(outcome == expected, "type \(type)")
                } else {
                    #expect(Self.arrived(outcome)?.protocol == .tcp, "type \(type)")
                }
            }
        }
    }

    @Test func `An option that is longer than its header is malformed`() {
        for length in UInt8.min...UInt8.max {
            let outcome = Self.walk(Self.packet(.hopByHop, [6, 0, 1, length, 0, 0, 0, 0] + [0, 0, 0, 0, 0, 0, 0, 0]))
            if length <= 4 {
                #expect(Self.arrived(outcome)?.offset == 48)
            } else {
                #expect(outcome == .dropped(.malformedOption))
            }
        }
        #expect(Self.walk(.hopByHop, "0600 0103 000000 01") == .dropped(.malformedOption))
    }

    // RFC 5095, RFC 8200 §4.4
    @Test func `A routing header of any type is refused if it has segments left, and skipped if not`() {
        for type in UInt8.min...UInt8.max {
            let refused = Self.walk(Self.packet(.routing, [6, 0, type, 1, 0, 0, 0, 0]))
            #expect(refused == Self.problem(.erroneousField, at: 42))
            let skipped = Self.walk(Self.packet(.routing, [6, 0, type, 0, 0, 0, 0, 0]))
            #expect(Self.arrived(skipped)?.protocol == .tcp)
        }
    }

    @Test func `Eight headers are walked over, and nine are not`() {
        for count in 1...12 {
            var payload: [UInt8] = []
            for index in 1...count { payload += [index == count ? 6 : 60, 0, 1, 4, 0, 0, 0, 0] }
            let outcome = Self.walk(Self.packet(.destinationOptions, payload))
            if count <= 8 {
                #expect(Self.arrived(outcome)?.count == UInt8(count))
            } else {
                #expect(outcome == .dropped(.limit))
            }
        }
    }

    @Test func `256 bytes of headers are walked over, and more are not`() {
        for units in UInt8.min...UInt8.max {
            var payload = [UInt8](repeating: 0, count: (Int(units) + 1) * 8)
            (payload[0], payload[1]) = (6, units)
            let outcome = Self.walk(Self.packet(.hopByHop, payload))
            if units < 32 {
                #expect(Self.arrived(outcome)?.offset == 40 + (UInt16(units) + 1) * 8)
            } else {
                #expect(outcome == .dropped(.limit))
            }
        }
        let two = [60, 15] + [UInt8](repeating: 0, count: 126)
        #expect(Self.arrived(Self.walk(Self.packet(.hopByHop, two + [6, 15] + two.dropFirst(2))))?.offset == 296)
        let outcome = Self.walk(Self.packet(.hopByHop, two + [6, 16] + [UInt8](repeating: 0, count: 134)))
        #expect(outcome == .dropped(.limit))
    }

    // MARK: Fragments

    // RFC 6946
    @Test func `An atomic fragment is walked over like a whole packet`() throws {
        let extensions = try #require(Self.arrived(Self.walk(.fragment, "0600 0000 0000002a 0102030405")))
        #expect(extensions.fragment?.isAtomic == true && extensions.fragment?.identification == 42)
        #expect(extensions.protocol == .tcp && extensions.offset == 48)
    }

    @Test func `The walk ends behind the header of a later fragment`() throws {
        // What stands there may look like anything.
        let extensions = try #require(Self.arrived(Self.walk(.fragment, "2c00 0008 0000002a 2c2c2c2c 2c2c2c")))
        #expect(extensions.protocol == .fragment && extensions.offset == 48)
        let fragment = try #require(extensions.fragment)
        #expect(fragment.offset == 8 && !fragment.moreFragments && !fragment.isAtomic)
        #expect(fragment.headerOffset == 40 && fragment.namedAt == 6 && fragment.nextHeader == .fragment)
    }

    // RFC 7112
    @Test func `A first fragment has the whole chain in it`() {
        let incomplete = Self.problem(.incompleteFirstFragment, at: 0)
        for (next, needed) in [(IPProtocol.tcp, 20), (.udp, 8), (.icmpv6, 8), (.noNextHeader, 0)] {
            for length in stride(from: 0, through: 32, by: 8) {
                let head: [UInt8] = [next.rawValue, 0, 0, 1, 0, 0, 0, 1]
                let outcome = Self.walk(Self.packet(.fragment, head + [UInt8](repeating: 0, count: length)))
                if length >= needed {
                    #expect(Self.arrived(outcome)?.protocol == next)
                } else {
                    #expect(outcome == incomplete)
                }
            }
        }
        #expect(Self.walk(.fragment, "3c00 0001 00000001 0602 0104 00000000") == incomplete)
        #expect(Self.walk(.fragment, "3c00 0001 00000001") == incomplete)
        // The same, and no more fragments: merely cut short.
        #expect(Self.walk(.fragment, "3c00 0000 00000001 0602 0104 00000000") == .dropped(.truncated))
    }

    @Test func `A fragment that is not the last has a multiple of eight bytes`() {
        for length in 0...32 {
            let head: [UInt8] = [59, 0, 0, 9, 0, 0, 0, 1]
            let outcome = Self.walk(Self.packet(.fragment, head + [UInt8](repeating: 0, count: length)))
            if length % 8 == 0 {
                #expect(Self.arrived(outcome)?.fragment?.offset == 8)
            } else {
                #expect(outcome == Self.problem(.erroneousField, at: 4))
            }
        }
    }

    @Test func `A fragment ends within what a packet can have`() {
        for length in 0...16 {
            let head: [UInt8] = [59, 0, 0xFF, 0xF8, 0, 0, 0, 1]
            let outcome = Self.walk(Self.packet(.fragment, head + [UInt8](repeating: 0, count: length)))
            if length <= 7 {
                #expect(Self.arrived(outcome)?.fragment?.offset == 65_528)
            } else {
                #expect(outcome == Self.problem(.erroneousField, at: 42))
            }
        }
    }

    @Test func `A fragment of a fragment is dropped`() {
        #expect(Self.walk(.fragment, "2c00 0000 00000001 0600 0000 00000002") == .dropped(.nestedFragment))
    }

    @Test func `No noise traps, and what is found lies within it`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let kinds: [UInt8] = [0, 43, 44, 60, 60, 6, 58]
        var arrived = 0
        for _ in 0..<100_000 {
            var payload = [UInt8].random(count: Int(generator.next() % 120), using: &generator)
            for index in stride(from: 0, to: payload.count, by: 8) where index + 1 < payload.count {
                payload[index] = kinds.randomElement(using: &generator)!
                payload[index + 1] &= 1
            }
            let packet = Self.packet(IPProtocol(rawValue: kinds.randomElement(using: &generator)!), payload)
            guard case .arrived(let extensions) = Self.walk(packet) else { continue }
            arrived += 1
            if Int(extensions.offset) > packet.count || extensions.protocolOffset >= extensions.offset {
                Issue.record("seed \(seed): \(packet)")
            }
        }
        #expect(arrived > 10_000, "seed \(seed)")
    }
}
