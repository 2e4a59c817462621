import Testing

@testable import MartletStack

@Suite struct RangesTests {
    /// All ranges of a list, checked to be sorted and apart.
    static func list(_ ranges: borrowing Ranges, _ list: RangeList) -> [Range<Int>] {
        var all: [Range<Int>] = []
        var index = list.head
        var previous = Ranges.none
        while index != Ranges.none {
            let range = ranges.table[Int(index)]
            all.append(Int(Int32(bitPattern: range.start.bits))..<Int(Int32(bitPattern: range.end.bits)))
            #expect(range.previous == previous)
            previous = index
            index = range.next
        }
        #expect(list.tail == previous)
        return all
    }

    @Test(
        "ranges put in at random are those of a set of numbers, also where sequence numbers wrap",
        arguments: 0..<20 as Range<UInt64>)
    func random(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var ranges = Ranges(capacity: 500)
        var list = RangeList()
        var model: Set<Int> = []
        for _ in 0..<300 {
            // Around 0, so that numbers below it are near the end of the circle.
            let start = Int.random(in: -500..<500, using: &random)
            let end = start + Int.random(in: 1...20, using: &random)
            let first = SequenceNumber(UInt32(bitPattern: Int32(start)))
            let outcome = ranges.insert(first, first + (end - start), in: &list, limit: 200)
            #expect(outcome != .full)
            model.formUnion(start..<end)
        }
        let found = Self.list(ranges, list)
        #expect(Set(found.flatMap { Array($0) }) == model, "seed \(seed)")
        #expect(found.count == Int(list.count), "seed \(seed)")
        for (one, next) in zip(found, found.dropFirst()) { #expect(one.upperBound < next.lowerBound, "seed \(seed)") }
        ranges.releaseAll(from: &list)
        #expect(ranges.freeCount == 500)
    }

    @Test("a range is refused at the limit of its connection, and at that of the stack, unless it touches another")
    func limits() {
        var ranges = Ranges(capacity: 3)
        var list = RangeList()
        for start in [10, 20] as [UInt32] {
            let outcome = ranges.insert(
                SequenceNumber(start), SequenceNumber(start + 1), in: &list, limit: 2)
            #expect(outcome == .noted(duplicate: nil))
        }
        #expect(ranges.insert(SequenceNumber(30), SequenceNumber(31), in: &list, limit: 2) == .full)
        #expect(
            ranges.insert(SequenceNumber(21), SequenceNumber(25), in: &list, limit: 2)
                == .noted(duplicate: nil))
        #expect(
            ranges.insert(SequenceNumber(5), SequenceNumber(30), in: &list, limit: 2)
                == .noted(duplicate: SACKBlock(start: SequenceNumber(10), end: SequenceNumber(11))))
        #expect(Self.list(ranges, list) == [5..<30])
        #expect(ranges.freeCount == 2)
    }

    @Test("thousands of ranges grow at the end and are filled from the start; one far from both ends is refused")
    func many() {
        var ranges = Ranges(capacity: 5_000)
        var list = RangeList()
        func number(_ hole: Int) -> SequenceNumber { SequenceNumber(0xffff_f000) + 10 * hole }
        for hole in 0..<4_000 {
            #expect(ranges.insert(number(hole), number(hole) + 5, in: &list, limit: 4_000) == .noted(duplicate: nil))
        }
        #expect(ranges.insert(number(4_000), number(4_000) + 5, in: &list, limit: 4_000) == .full)
        #expect(ranges.insert(number(2_000) + 6, number(2_000) + 8, in: &list, limit: 5_000) == .full)
        #expect(ranges.range(with: number(2_000), in: list) == Ranges.none)
        for hole in [0, 1, 100, 3_900, 3_998, 3_999] {
            let index = ranges.range(with: number(hole) + 4, in: list)
            let start = index == Ranges.none ? nil : ranges[index].start
            #expect(start == number(hole))
            #expect(ranges.range(with: number(hole) + 5, in: list) == Ranges.none)
        }
        // Holes that are filled one after the other, with more data at the end all the while.
        var next = number(0) + 5
        for hole in 1..<4_000 {
            #expect(ranges.insert(next, number(hole), in: &list, limit: 4_000) == .noted(duplicate: nil))
            let new = number(4_000 + hole)
            #expect(ranges.insert(new, new + 5, in: &list, limit: 4_000) == .noted(duplicate: nil))
            next = number(hole) + 5
        }
        #expect(ranges.take(reaching: number(0), from: &list) == next)
        #expect(list.count == 3_999)
        ranges.releaseAll(from: &list)
        #expect(list.isEmpty && ranges.freeCount == 5_000)
    }

    @Test("what RCV.NXT reaches is taken out, and what it does not stays")
    func reaching() {
        var ranges = Ranges(capacity: 3)
        var list = RangeList()
        for start in [10, 20] as [UInt32] {
            _ = ranges.insert(SequenceNumber(start), SequenceNumber(start + 5), in: &list, limit: 9)
        }
        #expect(ranges.take(reaching: SequenceNumber(9), from: &list) == nil)
        #expect(ranges.take(reaching: SequenceNumber(12), from: &list) == SequenceNumber(15))
        #expect(ranges.take(reaching: SequenceNumber(40), from: &list) == SequenceNumber(40))
        #expect(list.isEmpty && list.head == Ranges.none && list.tail == Ranges.none && ranges.freeCount == 3)
    }
}
