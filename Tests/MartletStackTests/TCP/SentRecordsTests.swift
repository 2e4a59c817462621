// The records of what is in flight: their list, their two rings, and the search in them, against plain arrays.

import Testing

@testable import MartletStack

@Suite struct SentRecordsTests {
    /// A list of adjacent records, each from its number to the next one's.
    private struct List {
        var head = SentRecords.none
        var tail = SentRecords.none

        init(_ ends: [Int], from start: SequenceNumber, _ records: inout SentRecords) {
            var place = start
            for end in ends {
                let index = records.take()!
                records[index].start = place
                place = start + end
                records[index].end = place
                if head == SentRecords.none {
                    head = index
                } else {
                    records[tail].next = index
                    records[index].previous = tail
                }
                tail = index
            }
        }

        func indices(_ records: borrowing SentRecords) -> [UInt32] {
            var found: [UInt32] = []
            var index = head
            while index != SentRecords.none {
                found.append(index)
                index = records[index].next
            }
            return found
        }

        func indicesBackward(_ records: borrowing SentRecords) -> [UInt32] {
            var found: [UInt32] = []
            var index = tail
            while index != SentRecords.none {
                found.append(index)
                index = records[index].previous
            }
            return found
        }
    }

    private static func ring(_ ring: UInt32, _ records: borrowing SentRecords) -> [UInt32] {
        var found: [UInt32] = []
        var index = ring
        while index != SentRecords.none {
            found.append(index)
            index = records.later(than: index, in: ring)
        }
        return found
    }

    @Test("a number is found from every record that the search may begin at", arguments: [0, 0xffff_ffe0] as [UInt32])
    func search(start: UInt32) {
        var records = SentRecords(capacity: 16)
        let ends = [3, 4, 9, 10, 20, 21, 30]
        let start = SequenceNumber(start)
        let list = List(ends, from: start, &records)
        let indices = list.indices(records)
        for number in 0...30 {
            let expected = ends.firstIndex { $0 > number }.map { indices[$0] } ?? SentRecords.none
            for finger in indices + [SentRecords.none] {
                let found = records.first(behind: start + number, near: finger, head: list.head, tail: list.tail)
                #expect(found == expected, "\(number) from \(finger)")
            }
        }
    }

    @Test("rings keep the order of numbers and of times, whatever goes in and out", arguments: 0..<20 as Range<UInt64>)
    func rings(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var records = SentRecords(capacity: 64)
        let list = List(Array(1...40), from: SequenceNumber(0xffff_fff0), &records)
        var outside = list.indices(records)
        for index in outside { records[index].sentAt = Instant(nanoseconds: Int64.random(in: 0..<20, using: &random)) }
        var (byNumber, byTime) = (SentRecords.none, SentRecords.none)
        var (numbers, times): ([UInt32], [UInt32]) = ([], [])
        for _ in 0..<500 {
            switch Int.random(in: 0..<4, using: &random) {
            case 0 where !outside.isEmpty:
                let index = outside.remove(at: Int.random(in: 0..<outside.count, using: &random))
                records.insertByNumber(index, into: &byNumber)
                numbers.append(index)
            case 1 where !outside.isEmpty:
                let index = outside.remove(at: Int.random(in: 0..<outside.count, using: &random))
                var place = times.randomElement(using: &random) ?? SentRecords.none
                if Bool.random(using: &random) { place = SentRecords.none }
                records.insertByTime(index, into: &byTime, near: &place)
                times.append(index)
            case 2 where !numbers.isEmpty:
                let index = numbers.remove(at: Int.random(in: 0..<numbers.count, using: &random))
                records.remove(index, from: &byNumber)
                outside.append(index)
            case 3 where !times.isEmpty:
                let index = times.remove(at: Int.random(in: 0..<times.count, using: &random))
                records.remove(index, from: &byTime)
                outside.append(index)
            default: break
            }
            let found = Self.ring(byNumber, records)
            #expect(Set(found) == Set(numbers) && found.count == numbers.count, "seed \(seed)")
            let starts = found.map { records[$0].start }
            #expect(zip(starts, starts.dropFirst()).allSatisfy { $0 < $1 }, "seed \(seed)")
            let timed = Self.ring(byTime, records)
            #expect(Set(timed) == Set(times) && timed.count == times.count, "seed \(seed)")
            let instants = timed.map { records[$0].sentAt }
            #expect(zip(instants, instants.dropFirst()).allSatisfy { $0 <= $1 }, "seed \(seed)")
        }
    }

    @Test("a record that is cut has its rest beside it, in the list and in the ring; joined, it is as it was")
    func cutAndJoin() {
        var records = SentRecords(capacity: 8)
        var list = List([10, 20, 30], from: SequenceNumber(0), &records)
        let before = list.indices(records)
        var ring = SentRecords.none
        for index in before { records.append(index, to: &ring) }
        for index in before {
            let middle = records[index].start + 4
            #expect(records.split(index, at: middle, tail: &list.tail))
            let rest = records[index].next
            #expect(records[index].end == middle && records[rest].start == middle)
            #expect(records.later(than: index, in: ring) == (rest == ring ? SentRecords.none : rest))
        }
        #expect(list.indices(records).count == 6)
        #expect(Self.ring(ring, records) == list.indices(records))
        #expect(list.indicesBackward(records) == list.indices(records).reversed())
        // What is joined has been SACKed, and is in no ring.
        for index in before {
            records.remove(records[index].next, from: &ring)
            records.join(index, tail: &list.tail)
        }
        #expect(list.indices(records) == before && list.indicesBackward(records) == before.reversed())
        #expect(records[list.tail].end == SequenceNumber(30) && records.freeCount == 5)
    }
}
