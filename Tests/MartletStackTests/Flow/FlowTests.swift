// Whose a frame is, of several stacks that are one host.

import Testing

@testable import MartletStack

@Suite("Flows")
struct FlowTests {
    private typealias Flow = MartletStack.Flow

    private static func flow(_ local: String, _ localPort: UInt16, _ remote: String, _ remotePort: UInt16) -> Flow {
        Flow(
            local: Endpoint(IPAddress(local)!, port: localPort), remote: Endpoint(IPAddress(remote)!, port: remotePort))
    }

    @Test("both directions of a flow have one place, and another secret another", arguments: [2, 3, 7, 64])
    func symmetry(_ places: Int) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let spread = FlowSpread(over: places, secret: StackSecret(using: &random))
        let other = FlowSpread(over: places, secret: StackSecret(using: &random))
        var moved = 0
        for _ in 0..<1000 {
            let isIPv4 = Bool.random(using: &random)
            let ends: [IPAddress] = (0..<2).map { _ in
                isIPv4
                    ? .v4(IPv4Address(bits: random.next()))
                    : .v6(
                        IPv6Address(
                            high: 0x2001_0DB8_0000_0000 | UInt64(UInt8.random(in: 0...3, using: &random)),
                            low: random.next()))
            }
            let (one, two): (UInt16, UInt16) = (random.next(), random.next())
            let there = Flow(local: Endpoint(ends[0], port: one), remote: Endpoint(ends[1], port: two))
            let back = Flow(local: Endpoint(ends[1], port: two), remote: Endpoint(ends[0], port: one))
            let place = spread.place(of: there)
            #expect(place >= 0 && place < places && place == spread.place(of: back), "seed \(seed)")
            #expect(FlowSpread(over: 1, secret: StackSecret(low: 1, high: 2)).over(places).places == places)
            if other.place(of: there) != place { moved += 1 }
        }
        // A thousand times 1 - 1/places, give or take six deviations.
        let expected = 1000.0 * (1 - 1 / Double(places))
        #expect(abs(Double(moved) - expected) < 100, "seed \(seed): \(moved)")
    }

    @Test("the ports of one pair of hosts, in order, are spread evenly")
    func even() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let spread = FlowSpread(over: 4, secret: StackSecret(using: &random))
        for (client, server) in [("10.0.0.1", "10.0.0.2"), ("127.0.0.1", "127.0.0.1"), ("fd00::1", "fd00::2")] {
            var counts = [0, 0, 0, 0]
            for port in UInt16(49_152)..<65_535 { counts[spread.place(of: Self.flow(server, 80, client, port))] += 1 }
            #expect(counts.allSatisfy { $0 > 3600 && $0 < 4600 }, "seed \(seed): \(counts)")
        }
    }

    // MARK: Frames

    private static func ethernet(_ type: [UInt8], _ packet: [UInt8], group: Bool = false) -> [UInt8] {
        [group ? 0x33 : 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2] + type + packet
    }

    /// An IPv4 packet from 10.0.0.2 to 10.0.0.1, or where it is said.
    private static func ipv4(
        _ next: UInt8, fragment: [UInt8] = [0, 0], options: Int = 0, to: [UInt8] = [10, 0, 0, 1], _ payload: [UInt8]
    ) -> [UInt8] {
        [0x45 + UInt8(options), 0, 0, UInt8(20 + 4 * options + payload.count), 0, 1] + fragment + [
            64, next, 0, 0, 10, 0, 0, 2,
        ]
            + to + [UInt8](repeating: 1, count: 4 * options) + payload
    }

    private static func ipv6(_ next: UInt8, to: [UInt8] = [0xFD], _ payload: [UInt8]) -> [UInt8] {
        let source = [0xFD] + [UInt8](repeating: 0, count: 14) + [2]
        return [0x60, 0, 0, 0, 0, UInt8(payload.count), next, 64] + source + to
            + [UInt8](repeating: 0, count: 15 - to.count) + [1] + payload
    }

    /// TCP from port 1000 to 80.
    private static func tcp(_ flags: UInt8 = 0x10) -> [UInt8] {
        [3, 0xE8, 0, 80] + [UInt8](repeating: 0, count: 8) + [0x50, flags] + [UInt8](repeating: 0, count: 6)
    }

    private static let udp: [UInt8] = [3, 0xE8, 0, 53, 0, 8, 0, 0]

    private static func destination(_ bytes: [UInt8], isEthernet: Bool = true) -> FlowDestination {
        FlowDestination(of: unsafe bytes.span.bytes, isEthernet: isEthernet)
    }

    private static func isFlow(_ bytes: [UInt8], isEthernet: Bool = true, _ flow: Flow, opens: Bool = false) -> Bool {
        guard case .flow(let found, let foundOpens) = destination(bytes, isEthernet: isEthernet) else { return false }
        return found == flow && foundOpens == opens
    }

    private static func isForAll(_ bytes: [UInt8]) -> Bool {
        if case .everybody = destination(bytes) { true } else { false }
    }

    private static func isForFirst(_ bytes: [UInt8]) -> Bool {
        if case .first = destination(bytes) { true } else { false }
    }

    @Test("segments and datagrams are of their flows, behind tags, options and extension headers")
    func flows() {
        let four = Self.flow("10.0.0.1", 80, "10.0.0.2", 1000)
        let six = Self.flow("fd00::1", 80, "fd00::2", 1000)
        let (v4, v6): ([UInt8], [UInt8]) = ([8, 0], [0x86, 0xDD])
        #expect(Self.isFlow(Self.ethernet(v4, Self.ipv4(6, Self.tcp())), four))
        #expect(Self.isFlow(Self.ipv4(6, Self.tcp()), isEthernet: false, four))
        #expect(Self.isFlow(Self.ethernet(v4, Self.ipv4(6, Self.tcp(0x02))), four, opens: true))
        #expect(Self.isFlow(Self.ethernet(v4, Self.ipv4(6, Self.tcp(0x12))), four))
        #expect(Self.isFlow(Self.ethernet(v4, Self.ipv4(6, options: 2, Self.tcp())), four))
        #expect(Self.isFlow(Self.ethernet([0x81, 0, 0, 5] + v4, Self.ipv4(6, Self.tcp())), four))
        // "Do not fragment" is no fragment.
        #expect(Self.isFlow(Self.ethernet(v4, Self.ipv4(6, fragment: [0x40, 0], Self.tcp())), four))
        #expect(Self.isFlow(Self.ethernet(v6, Self.ipv6(6, Self.tcp())), six))
        #expect(Self.isFlow(Self.ipv6(6, Self.tcp(0x02)), isEthernet: false, six, opens: true))
        let options: [UInt8] = [6, 0, 1, 4, 0, 0, 0, 0]
        #expect(Self.isFlow(Self.ethernet(v6, Self.ipv6(60, options + Self.tcp())), six))
        // A fragment that is all of its packet.
        #expect(Self.isFlow(Self.ethernet(v6, Self.ipv6(44, [6, 0, 0, 0, 0, 0, 0, 1] + Self.tcp())), six))
        var datagrams = Self.flow("10.0.0.1", 53, "10.0.0.2", 1000)
        datagrams.isDatagrams = true
        #expect(Self.isFlow(Self.ethernet(v4, Self.ipv4(17, Self.udp)), datagrams))
    }

    @Test("what is said of neighbours and ways, to groups, and in pieces is for all")
    func everybody() {
        let (v4, v6): ([UInt8], [UInt8]) = ([8, 0], [0x86, 0xDD])
        #expect(Self.isForAll(Self.ethernet([8, 6], [UInt8](repeating: 0, count: 28))))
        #expect(Self.isForAll(Self.ethernet(v4, Self.ipv4(17, fragment: [0x20, 0], Self.udp))))
        #expect(Self.isForAll(Self.ethernet(v4, Self.ipv4(17, fragment: [0, 9], Self.udp))))
        #expect(Self.isForAll(Self.ethernet(v6, Self.ipv6(44, [17, 0, 0, 1, 0, 0, 0, 1] + Self.udp))))
        #expect(Self.isForAll(Self.ethernet(v6, Self.ipv6(44, [17, 0, 0, 8, 0, 0, 0, 1] + Self.udp))))
        #expect(Self.isForAll(Self.ethernet(v4, Self.ipv4(1, [3, 4, 0, 0, 0, 0, 0, 0]))))
        #expect(Self.isForAll(Self.ethernet(v6, Self.ipv6(58, [2, 0, 0, 0, 0, 0, 0, 0]))))
        #expect(Self.isForAll(Self.ethernet(v6, Self.ipv6(58, to: [0xFF, 2], [135, 0, 0, 0]))))
        #expect(Self.isForAll(Self.ethernet(v4, Self.ipv4(17, to: [224, 0, 0, 251], Self.udp))))
        #expect(Self.isForAll(Self.ethernet(v4, Self.ipv4(17, Self.udp), group: true)))
        #expect(Self.isForAll(Self.ethernet(v6, Self.ipv6(17, to: [0xFF, 2], Self.udp), group: true)))
    }

    @Test("what is to be answered once, and what nobody understands, is for the first")
    func first() {
        let (v4, v6): ([UInt8], [UInt8]) = ([8, 0], [0x86, 0xDD])
        #expect(Self.isForFirst(Self.ethernet(v4, Self.ipv4(1, [8, 0, 0, 0, 0, 0, 0, 0]))))
        #expect(Self.isForFirst(Self.ethernet(v6, Self.ipv6(58, [128, 0, 0, 0]))))
        #expect(Self.isForFirst(Self.ethernet(v6, Self.ipv6(58, to: [0xFF, 2], [128, 0, 0, 0]), group: true)))
        #expect(Self.isForFirst(Self.ethernet(v4, Self.ipv4(99, [0, 0, 0, 0]))))
        #expect(Self.isForFirst(Self.ethernet([0x88, 0xCC], [1, 2, 3])))
        #expect(Self.isForFirst([]) && Self.isForFirst([1, 2, 3]))
        // Cut short anywhere, a frame is somebody's.
        for whole in [
            Self.ethernet(v4, Self.ipv4(6, Self.tcp())),
            Self.ethernet(v6, Self.ipv6(44, [6, 0, 0, 0, 0, 0, 0, 1] + Self.tcp())),
        ] {
            for length in 0..<whole.count { _ = Self.destination(Array(whole.prefix(length))) }
        }
    }
}
