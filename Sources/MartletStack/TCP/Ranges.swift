// Bytes that came before their turn (RFC 9293 §3.10.7.4): where they lie between RCV.NXT and the window's edge.
//
// The bytes themselves are in the receive ring already, at their own sequence numbers. A connection's ranges are a sorted list
// that neither touch nor overlap, bounded by the stack's limits: a flood of single bytes with holes between runs into that.

/// From a sequence number up to, and without, another.
@usableFromInline
struct SequenceRange: BitwiseCopyable {
    @usableFromInline var start = SequenceNumber(0)
    @usableFromInline var end = SequenceNumber(0)
    @usableFromInline var next = Ranges.none

    @usableFromInline init() {}
}

/// All ranges of a stack, in lists whose heads the connections hold.
@usableFromInline
struct Ranges: ~Copyable {
    @inlinable static var none: UInt32 { .max }

    @usableFromInline var table: PlainTable<SequenceRange>
    @usableFromInline var firstFree: UInt32
    @usableFromInline var freeCount: Int

    init(capacity: Int) {
        table = PlainTable(repeating: SequenceRange(), count: capacity)
        for index in 0..<capacity { table[index].next = index + 1 < capacity ? UInt32(index + 1) : Ranges.none }
        firstFree = capacity > 0 ? 0 : Ranges.none
        freeCount = capacity
    }

    subscript(index: UInt32) -> SequenceRange {
        get { table[Int(index)] }
        _modify { yield &table[Int(index)] }
    }

    private mutating func take(_ start: SequenceNumber, _ end: SequenceNumber, next: UInt32) -> UInt32? {
        guard firstFree != Ranges.none else { return nil }
        let index = firstFree
        firstFree = table[Int(index)].next
        table[Int(index)].start = start
        table[Int(index)].end = end
        table[Int(index)].next = next
        freeCount -= 1
        return index
    }

    private mutating func release(_ index: UInt32) {
        table[Int(index)].next = firstFree
        firstFree = index
        freeCount += 1
    }

    /// What became of a range that was to be noted.
    enum Insertion: Equatable {
        /// It is in. `duplicate` is the part, if any, that had come before (RFC 2883).
        case noted(duplicate: Bool)
        /// There is no room for another range.
        case full
    }

    /// Notes that `start ..< end` has come, and joins it with what it touches.
    ///
    /// - Precondition: the range is not empty.
    mutating func insert(
        _ start: SequenceNumber, _ end: SequenceNumber, head: inout UInt32, count: inout UInt8, limit: UInt8
    ) -> Insertion {
        assert(start < end, "an empty range")
        var previous = Ranges.none
        var index = head
        while index != Ranges.none, self[index].end < start {
            previous = index
            index = self[index].next
        }
        guard index != Ranges.none, self[index].start <= end else {
            guard count < limit, let new = take(start, end, next: index) else { return .full }
            if previous == Ranges.none { head = new } else { self[previous].next = new }
            count += 1
            return .noted(duplicate: false)
        }
        // It touches the range at `index`, and perhaps others behind it.
        let isDuplicate = start < self[index].end && self[index].start < end
        self[index].start = .min(self[index].start, start)
        self[index].end = .max(self[index].end, end)
        while self[index].next != Ranges.none, self[self[index].next].start <= self[index].end {
            let joined = self[index].next
            self[index].end = .max(self[index].end, self[joined].end)
            self[index].next = self[joined].next
            release(joined)
            count -= 1
        }
        return .noted(duplicate: isDuplicate)
    }

    /// The first range's end if it begins at or before `number`, which is then taken out: RCV.NXT moves over it.
    mutating func take(reaching number: SequenceNumber, head: inout UInt32, count: inout UInt8) -> SequenceNumber? {
        guard head != Ranges.none, self[head].start <= number else { return nil }
        let index = head
        let end = self[index].end
        head = self[index].next
        release(index)
        count -= 1
        return .max(end, number)
    }

    mutating func releaseAll(from head: inout UInt32, count: inout UInt8) {
        while head != Ranges.none {
            let next = self[head].next
            release(head)
            head = next
        }
        count = 0
    }
}
