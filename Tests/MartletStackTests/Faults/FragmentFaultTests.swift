// Fragments that overlap, are too small, or never end: RFC 1858, RFC 3128, RFC 5722, RFC 6946. How the table decides is tested in
// IP/ReassemblyTests; here frames come, and an honest peer's datagrams have to get through.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct FragmentFaultTests {
    /// The stage with a socket that hears what gets through.
    struct Room: ~Copyable {
        var stage: FaultStage
        let socket: SocketID

        init(_ family: Family, limits: StackLimits = StackLimits(network: .few)) throws {
            stage = FaultStage(family, limits: limits)
            socket = try stage.host.stack.bind(IPAddress(family == .v4 ? "0.0.0.0" : "::")!, port: 53)
        }

        /// A datagram of `count` bytes, from its UDP header on.
        func datagram(_ count: Int, from source: IPAddress) -> [UInt8] {
            let payload = (0..<count - 8).map { UInt8(truncatingIfNeeded: $0) }
            var bytes = FrameBytes.udp(payload, from: 9, to: 53)
            let family = stage.family
            FuzzEnds(
                isIPv4: family == .v4, local: FrameBytes.octets(family.local), remote: FrameBytes.octets(source)
            ).complete(&bytes, 17)
            return bytes
        }

        /// A piece of a datagram arrives.
        mutating func piece(
            _ bytes: [UInt8], _ range: Range<Int>, more: Bool, _ identification: UInt16 = 1, from source: IPAddress,
            transport: UInt8 = 17
        ) {
            let family = stage.family
            let ends = FuzzEnds(
                isIPv4: family == .v4, local: FrameBytes.octets(family.local), remote: FrameBytes.octets(source))
            let part = Array(bytes[range])
            if family == .v4 {
                stage.arrives(
                    ends.packet(
                        part, transport, fragment: UInt16(range.lowerBound / 8) | (more ? 0x2000 : 0),
                        identification: identification))
            } else {
                var header: [UInt8] = [transport, 0]
                header.append(number: UInt16(range.lowerBound) | (more ? 1 : 0))
                header.append(number: UInt32(identification))
                stage.arrives(ends.packet(header + part, 44))
            }
        }

        /// An honest datagram comes in two pieces. Returns whether it was whole.
        mutating func isServed(_ identification: UInt16) -> Bool {
            let peer = stage.family.peer(10)
            let bytes = datagram(2000, from: peer)
            piece(bytes, 0..<1200, more: true, identification, from: peer)
            piece(bytes, 1200..<2000, more: false, identification, from: peer)
            return received() == [Array(bytes.dropFirst(8))]
        }

        mutating func received() -> [[UInt8]] {
            var list: [[UInt8]] = []
            while stage.host.stack.receive(socket, { span, _ in list.append(span.array) }) {}
            return list
        }

        func drops(_ reason: FragmentDrop) -> UInt64 { stage.host.stack.counters.fragments[reason] }
    }

    @Test(
        "RFC 5722: an overlap, by a byte or in whole, discards the datagram, what follows of it too",
        arguments: Family.allCases)
    func overlaps(family: Family) throws {
        var room = try Room(family)
        let enemy = family.peer(66)
        let bytes = room.datagram(2000, from: enemy)
        var (overlaps, after): (UInt64, UInt64) = (0, 0)
        for (number, range) in [8..<808, 0..<808, 792..<1600, 0..<1600, 400..<408, 0..<8].enumerated() {
            let identification = UInt16(number + 1)
            room.piece(bytes, 0..<800, more: true, identification, from: enemy)
            room.piece(bytes, range, more: true, identification, from: enemy)
            overlaps += 1
            #expect(room.drops(.overlap) == overlaps, "\(range)")
            // The rest would make it whole.
            room.piece(bytes, 800..<2000, more: false, identification, from: enemy)
            after += 1
            #expect(room.drops(.afterOverlap) == after, "\(range)")
            #expect(room.received() == [], "\(range)")
        }
        #expect(room.stage.host.stack.network.reassembly.bytesTaken == 0)
        #expect(room.isServed(100) == true)
        room.stage.goesOn()
    }

    @Test(
        "RFC 1858, RFC 3128: fragments that hide ports or flags are dropped, and no segment of them is looked at",
        arguments: Family.allCases)
    func tiny(family: Family) throws {
        var room = try Room(family)
        let enemy = family.peer(66)
        let segment = [UInt8](repeating: 0, count: 64)
        room.piece(segment, 0..<8, more: true, 1, from: enemy, transport: 6)
        room.piece(segment, 0..<16, more: true, 2, from: enemy, transport: 6)
        // RFC 7112: over IPv6 the walk of the headers has seen it before.
        #expect(room.drops(.tiny) + room.stage.host.dropped(.malformed) == 2)
        room.piece(segment, 8..<64, more: false, 1, from: enemy, transport: 6)
        #expect(room.drops(.overTCPFlags) == (family == .v4 ? 1 : 0))
        let segments = room.stage.host.stack.counters.tcp.segmentsIn
        #expect(room.isServed(100) == true)
        #expect(room.stage.host.stack.counters.tcp.segmentsIn == segments)
        room.stage.goesOn()
    }

    @Test(
        "first fragments of ten thousand datagrams take no more than the table, and the newest are whole",
        arguments: Family.allCases)
    func exhaustion(family: Family) throws {
        var limits = StackLimits(network: .few)
        limits.network.reassembly.datagrams = 16
        limits.network.reassembly.byteCount = 256 << 10
        var room = try Room(family, limits: limits)
        let bytes = room.datagram(1480, from: family.peer(66))
        for number in 0..<10_000 {
            let enemy = family.peer(30 + number % 200)
            room.piece(bytes, 0..<1000, more: true, UInt16(number), from: enemy)
            guard number % 1000 == 999 else { continue }
            #expect(room.stage.host.stack.network.reassembly.count <= 16)
            #expect(room.stage.host.stack.network.reassembly.bytesTaken <= 256 << 10)
            #expect(room.isServed(UInt16(20_000 + number)) == true, "after \(number)")
            room.stage.goesOn(.honest, "after \(number)")
        }
        #expect(room.stage.host.stack.network.reassembly.counters.evicted > 9900)
        // Those that were not whole are told so, and are neighbors that do not answer.
        room.stage.wait(.seconds(90))
        #expect(room.stage.host.stack.network.reassembly.count == 0)
        #expect(room.stage.host.stack.network.reassembly.bytesTaken == 0)
        #expect(room.stage.host.pool.freeCount == room.stage.host.pool.count)
    }

    @Test(
        "one source that sends last fragments, each of which makes room for 64 KiB, leaves the others three quarters",
        arguments: Family.allCases)
    func memory(family: Family) throws {
        var limits = StackLimits(network: .few)
        limits.network.reassembly.datagrams = 16
        limits.network.reassembly.byteCount = 512 << 10
        var room = try Room(family, limits: limits)
        let bytes = [UInt8](repeating: 0, count: 65_000)
        for number in 0..<1000 as Range<UInt16> {
            room.piece(bytes, 64_000..<64_100, more: false, number, from: family.peer(66))
            #expect(room.stage.host.stack.network.reassembly.bytesTaken <= 128 << 10)
        }
        #expect(room.drops(.noMemory) > 0)
        #expect(room.isServed(2000) == true)
        room.stage.goesOn()
    }

    @Test(
        "fragments of no bytes, misaligned, or ending beyond 65,535 are dropped by their reasons",
        arguments: Family.allCases)
    func impossible(family: Family) throws {
        var room = try Room(family)
        let enemy = family.peer(66)
        let bytes = [UInt8](repeating: 0, count: 65_600)
        let malformed = room.stage.host.dropped(.malformed)
        room.piece(bytes, 65_528..<65_560, more: false, 1, from: enemy)
        room.piece(bytes, 0..<13, more: true, 2, from: enemy)
        let reasons = room.drops(.tooLong) + room.drops(.misaligned) + room.stage.host.dropped(.malformed) - malformed
        #expect(reasons == 2)
        room.piece(bytes, 8..<8, more: true, 3, from: enemy)
        #expect(room.drops(.empty) == 1)
        #expect(room.stage.host.stack.network.reassembly.count == 0)
        #expect(room.isServed(100) == true)
        room.stage.goesOn()
    }
}
