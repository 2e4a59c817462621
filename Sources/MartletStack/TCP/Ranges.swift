// Bytes that came before their turn (RFC 9293 §3.10.7.4): where they lie between RCV.NXT and the window's edge.
//
// The bytes themselves are in the receive ring already, at their own sequence numbers. A connection's ranges are a sorted list
// that neither touch nor overlap. Slow start that overruns a long fat path leaves thousands of them, every second segment
// being lost. What comes then is either new, at the end, or fills the first hole, at the start: so the list is searched
// from both ends, and no further than a fixed number of steps. A flood of single bytes with holes between runs into that,
// or into the limits on ranges, and costs no more than other segments.

/// From a sequence number up to, and without, another.
@usableFromInline
struct SequenceRange: BitwiseCopyable {
    @usableFromInline var start = SequenceNumber(0)
    @usableFromInline var end = SequenceNumber(0)
    @usableFromInline var next = Ranges.none
    @usableFromInline var previous = Ranges.none

    @usableFromInline init() {}
}

/// The ranges of a connection: a list in ``Ranges``.
@usableFromInline
struct RangeList: BitwiseCopyable {
    @usableFromInline var head = Ranges.none
    @usableFromInline var tail = Ranges.none
    @usableFromInline var count: UInt16 = 0

    @usableFromInline init() {}

    @inlinable var isEmpty: Bool { count == 0 }
}

/// All ranges of a stack, in lists that the connections hold.
@usableFromInline
struct Ranges: ~Copyable {
    @inlinable static var none: UInt32 { .max }

    /// How far a list is searched from each end.
    static var searchLimit: Int { 128 }

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

    /// What became of a range that was to be noted.
    enum Insertion: Equatable {
        /// It is in. `duplicate` is the first part, if any, that had come before (RFC 2883).
        case noted(duplicate: SACKBlock?)
        /// There is no room for another range, or its place is too far from both ends.
        case full
    }

    /// Notes that `start ..< end` has come, and joins it with what it touches.
    ///
    /// - Precondition: the range is not empty.
    mutating func insert(_ start: SequenceNumber, _ end: SequenceNumber, in list: inout RangeList, limit: UInt16)
        -> Insertion
    {
        assert(start < end, "an empty range")
        guard let index = first(reaching: start, in: list) else { return .full }
        guard index != Ranges.none, self[index].start <= end else {
            guard list.count < limit, link(start, end, before: index, in: &list) else { return .full }
            return .noted(duplicate: nil)
        }
        // It touches the range at `index`, and perhaps others behind it.
        let (from, to) = (SequenceNumber.max(start, self[index].start), SequenceNumber.min(end, self[index].end))
        self[index].start = .min(self[index].start, start)
        self[index].end = .max(self[index].end, end)
        while self[index].next != Ranges.none, self[self[index].next].start <= self[index].end {
            let joined = self[index].next
            self[index].end = .max(self[index].end, self[joined].end)
            unlink(joined, from: &list)
        }
        return .noted(duplicate: from < to ? SACKBlock(start: from, end: to) : nil)
    }

    /// The range that `number` is in; `none` if there is none, or if it is too far from both ends.
    func range(with number: SequenceNumber, in list: RangeList) -> UInt32 {
        guard let index = first(reaching: number, in: list), index != Ranges.none,
            self[index].start <= number, number < self[index].end
        else { return Ranges.none }
        return index
    }

    /// The first range's end if it begins at or before `number`, which is then taken out: RCV.NXT moves over it.
    mutating func take(reaching number: SequenceNumber, from list: inout RangeList) -> SequenceNumber? {
        guard list.head != Ranges.none, self[list.head].start <= number else { return nil }
        let end = self[list.head].end
        unlink(list.head, from: &list)
        return .max(end, number)
    }

    mutating func releaseAll(from list: inout RangeList) {
        while list.head != Ranges.none { unlink(list.head, from: &list) }
    }

    /// Adds a range to those that an ACK reports, and returns it.
    func report(_ index: UInt32, in options: inout TCPOptions) -> SequenceRange {
        let range = self[index]
        options.sackBlocks[Int(options.sackCount)] = SACKBlock(start: range.start, end: range.end)
        options.sackCount += 1
        return range
    }

    // MARK: The list

    /// The first range that does not end before `number`, `none` if all do; nil if it was not found within the limit.
    private func first(reaching number: SequenceNumber, in list: RangeList) -> UInt32? {
        var front = list.head
        var back = list.tail
        for _ in 0..<Ranges.searchLimit {
            if front == Ranges.none || self[front].end >= number { return front }
            // One ends before it, so the search from the back meets that at the latest.
            if self[back].end < number { return self[back].next }
            front = self[front].next
            back = self[back].previous
        }
        return nil
    }

    private mutating func link(
        _ start: SequenceNumber, _ end: SequenceNumber, before next: UInt32, in list: inout RangeList
    ) -> Bool {
        guard firstFree != Ranges.none else { return false }
        let index = firstFree
        firstFree = table[Int(index)].next
        freeCount -= 1
        var range = SequenceRange()
        (range.start, range.end, range.next) = (start, end, next)
        range.previous = next == Ranges.none ? list.tail : self[next].previous
        self[index] = range
        if range.previous == Ranges.none { list.head = index } else { self[range.previous].next = index }
        if next == Ranges.none { list.tail = index } else { self[next].previous = index }
        list.count += 1
        return true
    }

    private mutating func unlink(_ index: UInt32, from list: inout RangeList) {
        let range = self[index]
        if range.previous == Ranges.none { list.head = range.next } else { self[range.previous].next = range.next }
        if range.next == Ranges.none { list.tail = range.previous } else { self[range.next].previous = range.previous }
        list.count -= 1
        table[Int(index)].next = firstFree
        firstFree = index
        freeCount += 1
    }
}
