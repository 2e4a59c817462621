import Testing

@testable import MartletStack

@Suite struct RangesTests {
    /// All ranges of a list, checked to be sorted and apart.
    static func list(_ ranges: borrowing Ranges, _ head: UInt32) -> [Range<Int>] {
        var all: [Range<Int>] = []
        var index = head
        while index != Ranges.none {
            let range = ranges.table[Int(index)]
            all.append(Int(Int32(bitPattern: range.start.bits))..<Int(Int32(bitPattern: range.end.bits)))
            index = range.next
        }
        return all
    }

    @Test(
        "ranges put in at random are those of a set of numbers, also where sequence numbers wrap",
        arguments: 0..<20 as Range<UInt64>)
    func random(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var ranges = Ranges(capacity: 500)
        var head = Ranges.none
        var count: UInt8 = 0
        var model: Set<Int> = []
        for _ in 0..<300 {
            // Around 0, so that numbers below it are near the end of the circle.
            let start = Int.random(in: -500..<500, using: &random)
            let end = start + Int.random(in: 1...20, using: &random)
            let first = SequenceNumber(UInt32(bitPattern: Int32(start)))
            let outcome = ranges.insert(first, first + (end - start), head: &head, count: &count, limit: 200)
            #expect(outcome != .full)
            model.formUnion(start..<end)
        }
        let found = Self.list(ranges, head)
        #expect(Set(found.flatMap { Array($0) }) == model, "seed \(seed)")
        #expect(found.count == Int(count), "seed \(seed)")
        for (one, next) in zip(found, found.dropFirst()) { #expect(one.upperBound < next.lowerBound, "seed \(seed)") }
        ranges.releaseAll(from: &head, count: &count)
        #expect(ranges.freeCount == 500)
    }

    @Test("a range is refused at the limit of its connection, and at that of the stack, unless it touches another")
    func limits() {
        var ranges = Ranges(capacity: 3)
        var head = Ranges.none
        var count: UInt8 = 0
        for start in [10, 20] as [UInt32] {
            let outcome = ranges.insert(
                SequenceNumber(start), SequenceNumber(start + 1), head: &head, count: &count, limit: 2)
            #expect(outcome == .noted(duplicate: false))
        }
        #expect(ranges.insert(SequenceNumber(30), SequenceNumber(31), head: &head, count: &count, limit: 2) == .full)
        #expect(
            ranges.insert(SequenceNumber(21), SequenceNumber(25), head: &head, count: &count, limit: 2)
                == .noted(duplicate: false))
        #expect(
            ranges.insert(SequenceNumber(5), SequenceNumber(30), head: &head, count: &count, limit: 2)
                == .noted(duplicate: true))
        #expect(Self.list(ranges, head) == [5..<30])
        #expect(ranges.freeCount == 2)
    }

    @Test("what RCV.NXT reaches is taken out, and what it does not stays")
    func reaching() {
        var ranges = Ranges(capacity: 3)
        var head = Ranges.none
        var count: UInt8 = 0
        for start in [10, 20] as [UInt32] {
            _ = ranges.insert(SequenceNumber(start), SequenceNumber(start + 5), head: &head, count: &count, limit: 9)
        }
        #expect(ranges.take(reaching: SequenceNumber(9), head: &head, count: &count) == nil)
        #expect(ranges.take(reaching: SequenceNumber(12), head: &head, count: &count) == SequenceNumber(15))
        #expect(ranges.take(reaching: SequenceNumber(40), head: &head, count: &count) == SequenceNumber(40))
        #expect(count == 0 && head == Ranges.none && ranges.freeCount == 3)
    }
}
