// Reassembly: what comes in pieces comes out whole, and what an enemy sends costs no more than the bounds say.

import Testing

@testable import MartletStack

@Suite struct ReassemblyTests {
    static let v4 = FragmentKey(
        source: .v4(IPv4Address(192, 0, 2, 1)), destination: .v4(IPv4Address(192, 0, 2, 2)), identification: 7,
        transportProtocol: 17)
    static let v6 = FragmentKey(
        source: .v6(IPv6Address(high: 0x2001_0db8 << 32, low: 1)), destination: .v6(.loopback), identification: 7,
        transportProtocol: 0)

    struct Fixture: ~Copyable {
        var now = Instant.zero
        var table: Reassembly

        init(datagrams: Int = 8, byteCount: Int = 1 << 20, fragments: Int = 64) {
            var limits = ReassemblyLimits()
            (limits.datagrams, limits.byteCount, limits.fragments) = (datagrams, byteCount, fragments)
            var random = SeededGenerator(seed: 3)
            table = Reassembly(limits: limits, now: .zero, using: &random)
        }

        /// Bytes of a datagram in which each says where it belongs.
        mutating func send(
            _ range: Range<Int>, more: Bool = true, key: FragmentKey = ReassemblyTests.v4, next: UInt8 = 17,
            ce: Bool = false, ect: Bool = true
        ) -> ReassemblyOutcome {
            let bytes = range.map(ReassemblyTests.byte)
            let fragment = Fragment(
                offset: range.lowerBound, hasMore: more, nextHeader: next, isCongestionExperienced: ce,
                isECNCapable: ect)
            return table.receive(fragment, of: key, bytes: unsafe bytes.span.bytes, at: now)
        }

        /// A datagram of two fragments.
        mutating func sendBoth(_ byteCount: Int, key: FragmentKey = ReassemblyTests.v4) -> ReassemblyOutcome {
            _ = send(0..<8, key: key)
            return send(8..<byteCount, more: false, key: key)
        }

        /// Reads a whole datagram, gives it back, and says whether each byte is in its place.
        mutating func isRight(_ outcome: ReassemblyOutcome, byteCount: Int, nextHeader: UInt8 = 17) -> Bool {
            guard case .complete(let datagram) = outcome else { return false }
            let ring = table.ring(of: datagram)
            let isRight = table.memory.withRun(of: ring, at: 0, count: datagram.byteCount) { bytes in
                guard bytes.byteCount == byteCount else { return false }
                for index in 0..<byteCount where bytes.byte(at: index) != ReassemblyTests.byte(index) { return false }
                return true
            }
            table.release(datagram)
            return isRight && datagram.byteCount == byteCount && datagram.nextHeader == nextHeader
        }

        mutating func timeouts(after duration: Duration) -> [ReassemblyTimeout] {
            now = now + duration
            table.advance(to: now)
            var list: [ReassemblyTimeout] = []
            while let timeout = table.nextTimeout() { list.append(timeout) }
            return list
        }

        /// Nothing is held: all that was taken has been given back.
        mutating func expectEmpty(_ comment: Comment? = nil) {
            expect(table.count, is: 0, comment)
            expect(table.bytesTaken, is: 0, comment)
        }
    }

    static func byte(_ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: index &* 31 &+ index >> 8) }

    static func key(_ number: Int) -> FragmentKey {
        var key = v4
        key.identification = UInt32(number)
        key.source = .v4(IPv4Address(bits: 0x0a00_0000 + UInt32(number)))
        return key
    }

    // MARK: Whole

    @Test(arguments: [v4, v6])
    func `Three fragments in any order make the datagram`(key: FragmentKey) {
        let pieces = [(0..<1480, true), (1480..<2960, true), (2960..<3001, false)]
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            var fixture = Fixture()
            let first = fixture.send(pieces[order[0]].0, more: pieces[order[0]].1, key: key)
            let second = fixture.send(pieces[order[1]].0, more: pieces[order[1]].1, key: key)
            let third = fixture.send(pieces[order[2]].0, more: pieces[order[2]].1, key: key)
            #expect(first == .kept && second == .kept)
            let isRight = fixture.isRight(third, byteCount: 3001)
            #expect(isRight, "order \(order)")
            fixture.expectEmpty()
        }
    }

    @Test func `A fragment that is first and last is whole, and leaves others with its key alone`() {
        var fixture = Fixture()
        expect(fixture.send(0..<1, more: false, key: Self.v6), is: .atomic)
        fixture.expectEmpty()
        expect(fixture.send(0..<16, key: Self.v6), is: .kept)
        expect(fixture.send(0..<1480, more: false, key: Self.v6), is: .atomic)
        let isRight = fixture.isRight(fixture.send(16..<20, more: false, key: Self.v6), byteCount: 20)
        #expect(isRight)
        fixture.expectEmpty()
    }

    @Test func `The longest datagrams fit, and a byte more does not`() {
        var fixture = Fixture()
        expect(fixture.send(0..<65_528, key: Self.v6), is: .kept)
        expect(fixture.send(65_528..<65_536, more: false, key: Self.v6), is: .dropped(.tooLong))
        let outcome = fixture.send(65_528..<65_535, more: false, key: Self.v6)
        let isRight = fixture.isRight(outcome, byteCount: 65_535)
        #expect(isRight)
        expect(fixture.send(65_512..<65_516, more: false), is: .dropped(.tooLong))
        expect(fixture.send(65_512..<65_515, more: false), is: .kept)
    }

    @Test func `Datagrams that differ in one part of the key are apart`() {
        var fixture = Fixture()
        var keys = [Self.v4, Self.v4, Self.v4, Self.v4, Self.v4]
        keys[1].identification = 8
        keys[2].transportProtocol = 6
        keys[3].source = .v4(.loopback)
        keys[4].destination = .v4(.loopback)
        for key in keys { expect(fixture.send(0..<1480, key: key), is: .kept) }
        expect(fixture.table.count, is: 5)
        for key in keys {
            let outcome = fixture.send(1480..<1500, more: false, key: key)
            let isRight = fixture.isRight(outcome, byteCount: 1500)
            #expect(isRight)
        }
        fixture.expectEmpty()
    }

    @Test func `Two whole datagrams can be held while others come`() {
        var fixture = Fixture(datagrams: 3)
        guard case .complete(let first) = fixture.sendBoth(80, key: Self.key(1)),
            case .complete(let second) = fixture.sendBoth(90, key: Self.key(1))
        else {
            Issue.record("not whole")
            return
        }
        expect(fixture.send(0..<1000, key: Self.key(1)), is: .kept)
        // A table of whole and young ones gives up the young one, and never one that is being read.
        expect(fixture.send(0..<1000, key: Self.key(2)), is: .kept)
        expect(fixture.table.counters.evicted, is: 1)
        expect(fixture.timeouts(after: .seconds(100)).count, is: 1)
        let isHeld = [first, second].map { fixture.table.ring(of: $0).capacity >= $0.byteCount }
        #expect(isHeld == [true, true] && first.byteCount == 80 && second.byteCount == 90)
        fixture.table.release(first)
        fixture.table.release(second)
        fixture.expectEmpty()
    }

    @Test func `Giving back twice traps`() async {
        await #expect(processExitsWith: .failure) {
            var fixture = ReassemblyTests.Fixture()
            guard case .complete(let datagram) = fixture.sendBoth(80) else { return }
            fixture.table.release(datagram)
            fixture.table.release(datagram)
        }
    }

    // MARK: Attacks

    @Test func `Any overlap discards the datagram and what is still to come of it`() {
        let overlaps = [
            (8..<24, true), (0..<32, true), (16..<24, true), (0..<8, true), (24..<40, true), (24..<33, false),
        ]
        for key in [Self.v4, Self.v6] {
            for (range, more) in overlaps {
                var fixture = Fixture()
                expect(fixture.send(0..<16, key: key, next: 99), is: .kept)
                expect(fixture.send(16..<32, key: key, next: 99), is: .kept)
                if range == 24..<40 { expect(fixture.send(48..<56, more: false, key: key), is: .kept) }
                let comment: Comment = "\(range)"
                expect(fixture.send(range, more: more, key: key, next: 99), is: .dropped(.overlap), comment)
                expect(fixture.table.bytesTaken, is: 0)
                expect(fixture.send(0..<16, key: key, next: 99), is: .dropped(.afterOverlap))
                expect(fixture.send(32..<40, more: false, key: key, next: 99), is: .dropped(.afterOverlap))
                // Nothing is said about it, and then the key may be used again.
                expect(fixture.timeouts(after: .seconds(60)).count, is: 0)
                fixture.expectEmpty()
                expect(fixture.send(0..<16, key: key, next: 99), is: .kept)
            }
        }
    }

    @Test func `Fragments beyond the end, and two different ends, discard the datagram`() {
        for wrong in [(40..<48, true), (40..<48, false), (24..<32, false), (32..<48, false)] {
            var fixture = Fixture()
            expect(fixture.send(32..<40, more: false), is: .kept)
            expect(fixture.send(wrong.0, more: wrong.1), is: .dropped(.overlap), "\(wrong)")
        }
        var fixture = Fixture()
        expect(fixture.send(32..<40), is: .kept)
        expect(fixture.send(32..<40, more: false), is: .dropped(.overlap))
        var other = Fixture()
        expect(other.send(32..<40, more: false), is: .kept)
        expect(other.send(32..<40, more: true), is: .dropped(.overlap))
        var third = Fixture()
        expect(third.send(32..<40), is: .kept)
        expect(third.send(16..<24, more: false), is: .dropped(.overlap))
    }

    @Test func `Exact duplicates are ignored, first, middle and last`() {
        var fixture = Fixture()
        for range in [16..<32, 0..<16, 16..<32, 0..<16] { _ = fixture.send(range, next: 99) }
        expect(fixture.table.counters[.duplicate], is: 2)
        expect(fixture.send(48..<50, more: false), is: .kept)
        expect(fixture.send(48..<50, more: false), is: .dropped(.duplicate))
        let isRight = fixture.isRight(fixture.send(32..<48), byteCount: 50, nextHeader: 99)
        #expect(isRight)
    }

    @Test func `A fragment that is empty, misaligned or before the datagram is dropped alone`() {
        var fixture = Fixture()
        expect(fixture.send(0..<0), is: .dropped(.empty))
        expect(fixture.send(0..<0, more: false), is: .dropped(.empty))
        expect(fixture.send(8..<17), is: .dropped(.misaligned))
        expect(fixture.send(4..<12), is: .dropped(.misaligned))
        let negative = Fragment(offset: -8, hasMore: true, nextHeader: 17)
        let bytes = [UInt8](repeating: 0, count: 8)
        let outcome = fixture.table.receive(negative, of: Self.v4, bytes: unsafe bytes.span.bytes, at: .zero)
        #expect(outcome == .dropped(.misaligned))
        fixture.expectEmpty()
    }

    @Test(arguments: [(6, 16, 24), (58, 0, 8), (132, 8, 16)] as [(UInt8, Int, Int)])
    func `The first fragment holds the transport header`(header: UInt8, tooFew: Int, enough: Int) {
        var fixture = Fixture()
        let small = tooFew == 0 ? FragmentDrop.empty : .tiny
        expect(fixture.send(0..<tooFew, key: Self.v6, next: header), is: .dropped(small))
        expect(fixture.send(0..<enough, key: Self.v6, next: header), is: .kept)
    }

    @Test func `A fragment that begins at the eighth byte of TCP is dropped`() {
        var fixture = Fixture()
        expect(fixture.send(8..<80, next: 6), is: .dropped(.overTCPFlags))
        expect(fixture.send(8..<80, next: 17), is: .kept)
        // In IPv6 the header of later fragments says nothing, and the first rule suffices.
        expect(fixture.send(8..<80, key: Self.v6, next: 6), is: .kept)
    }

    @Test func `More fragments than may be discard the datagram`() {
        var fixture = Fixture(fragments: 4)
        for number in 0..<4 { expect(fixture.send(number * 8..<number * 8 + 8), is: .kept) }
        expect(fixture.send(32..<40), is: .dropped(.tooManyFragments))
        expect(fixture.table.bytesTaken, is: 0)
        var other = Fixture(fragments: 4)
        for number in 0..<3 { expect(other.send(number * 8..<number * 8 + 8), is: .kept) }
        let isRight = other.isRight(other.send(24..<32, more: false), byteCount: 32)
        #expect(isRight)
    }

    @Test func `A newer datagram displaces the oldest when the table is full`() {
        var fixture = Fixture(datagrams: 4)
        for number in 0..<10 { expect(fixture.send(0..<1480, key: Self.key(number)), is: .kept) }
        expect(fixture.table.counters.evicted, is: 6)
        let isRight = fixture.isRight(fixture.send(1480..<1488, more: false, key: Self.key(6)), byteCount: 1488)
        #expect(isRight)
        expect(fixture.send(1480..<1488, more: false, key: Self.key(5)), is: .kept)
    }

    @Test func `One source has a quarter of the memory, and many sources have all of it`() {
        var fixture = Fixture(datagrams: 64, byteCount: 1 << 20)
        var key = Self.v4
        for number in 0..<40 {
            key.identification = UInt32(number)
            _ = fixture.send(65_000..<65_008, key: key)
        }
        expect(fixture.table.bytesTaken, is: 1 << 18)
        expect(fixture.table.counters[.noMemory], is: 36)
        expect(fixture.table.count, is: 4)
        for number in 0..<40 { expect(fixture.send(65_000..<65_008, key: Self.key(number)), is: .kept) }
        expect(fixture.table.bytesTaken, is: 1 << 20)
        _ = fixture.timeouts(after: .seconds(30))
        fixture.expectEmpty()
    }

    @Test func `CE anywhere marks the datagram, and CE beside not-ECT drops it`() {
        var fixture = Fixture()
        _ = fixture.send(0..<16, next: 99)
        guard case .complete(let datagram) = fixture.send(16..<20, more: false, ce: true) else {
            Issue.record("not whole")
            return
        }
        #expect(datagram.isCongestionExperienced)
        fixture.table.release(datagram)
        _ = fixture.send(0..<16, next: 99, ect: false)
        expect(fixture.send(16..<20, more: false, ce: true), is: .dropped(.mixedECN))
    }

    // MARK: Time

    @Test func `A datagram has 30 seconds in IPv4 and 60 in IPv6, from its first fragment on`() {
        var fixture = Fixture()
        _ = fixture.send(1480..<2960)
        _ = fixture.send(0..<1480, key: Self.v6)
        let early = fixture.timeouts(after: .seconds(29))
        #expect(early.isEmpty)
        _ = fixture.send(2960..<2968)
        let first = fixture.timeouts(after: .seconds(1))
        #expect(first.map(\.key) == [Self.v4])
        #expect(first.map(\.hadFirst) == [false])
        let second = fixture.timeouts(after: .seconds(30))
        #expect(second.map(\.key) == [Self.v6])
        #expect(second.map(\.hadFirst) == [true])
        fixture.expectEmpty()
    }

    // MARK: At random

    @Test func `Whole datagrams cut, shuffled and doubled at random all come out`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        var fixture = Fixture()
        for round in 0..<150 {
            var count = Int(random.anyMagnitude(below: 16)) + 8
            count = min(count, 65_515)
            var pieces: [(Range<Int>, Bool)] = []
            var start = 0
            while start < count {
                let left = pieces.count >= 40 ? count : Int.random(in: 3...2_000, using: &random) * 8
                let end = min(count, start + left)
                pieces.append((start..<end, end < count))
                start = end
            }
            let whole = pieces
            for piece in whole where whole.count > 1 && Int.random(in: 0..<4, using: &random) == 0 {
                pieces.append(piece)
            }
            pieces.shuffle(using: &random)
            var last = ReassemblyOutcome.kept
            for (range, more) in pieces {
                let outcome = fixture.send(range, more: more, key: Self.key(round))
                if case .complete = outcome {
                    last = outcome
                    break
                }
            }
            let isRight = whole.count == 1 || fixture.isRight(last, byteCount: count)
            guard isRight else {
                Issue.record("seed \(seed), round \(round): \(count) bytes in \(pieces)")
                return
            }
        }
        fixture.expectEmpty("seed \(seed)")
    }

    @Test func `Whatever fragments come, the bounds hold and all memory comes back`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        var fixture = Fixture(datagrams: 4, byteCount: 1 << 17, fragments: 5)
        for step in 0..<10_000 {
            let start = Int.random(in: 0..<5, using: &random) * 8
            let place = Int.random(in: 0..<40, using: &random) == 0 ? start + 60_000 : start
            let count = Int.random(in: 0..<4, using: &random) * 8 + (Int.random(in: 0..<8, using: &random) == 0 ? 3 : 0)
            var key = Self.key(Int.random(in: 0..<7, using: &random))
            if Bool.random(using: &random) { key.source = Self.v4.source }
            // Mostly what a host would send, or nothing would ever be whole.
            let isFair = Int.random(in: 0..<8, using: &random) > 0
            let third = Int.random(in: 0..<3, using: &random)
            let range = isFair ? third * 16..<third * 16 + 16 : place..<place + count
            let hasMore = isFair ? third < 2 : Bool.random(using: &random)
            let outcome = fixture.send(range, more: hasMore, key: key, next: 99)
            if case .complete(let datagram) = outcome {
                let isRight = fixture.isRight(outcome, byteCount: datagram.byteCount, nextHeader: 99)
                guard isRight else {
                    Issue.record("seed \(seed), step \(step): a wrong byte")
                    return
                }
            }
            if Int.random(in: 0..<20, using: &random) == 0 { _ = fixture.timeouts(after: .seconds(20)) }
            let (datagrams, bytes) = (fixture.table.count, fixture.table.bytesTaken)
            guard datagrams <= 4, bytes <= 1 << 17 else {
                Issue.record("seed \(seed), step \(step): \(datagrams) datagrams, \(bytes) bytes")
                return
            }
        }
        _ = fixture.timeouts(after: .seconds(100))
        fixture.expectEmpty("seed \(seed)")
        let completed = fixture.table.counters.completed
        #expect(completed > 20, "seed \(seed): nothing was tested")
    }
}
