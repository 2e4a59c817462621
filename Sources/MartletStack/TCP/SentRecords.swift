// What is in flight: which bytes were sent together and when (RFC 8985 §5.1), and what the peer has said of them.
//
// One record stands for a run of bytes that left at the same instant, so a burst of 16 segments is one record, and is split only
// when a SACK or a loss divides it. Records are linked per connection, in the order of their sequence numbers, and taken
// from one table that all connections share: a connection with nothing in flight has none.
//
//      SND.UNA                                                          SND.NXT
//        │  record        record (sacked)     record (lost)   record      │
//        ├──────────────┼───────────────────┼───────────────┼─────────────┤
//
// Besides, each is in one of two rings, unless it is SACKed: those under way in the order in which they were last sent, so that
// what is lost next is in front (RFC 8985 §6.1), and those lost in the order of their numbers, so that what goes again next is.

/// A run of bytes in flight.
@usableFromInline
struct SentRecord: BitwiseCopyable {
    @usableFromInline var start = SequenceNumber(0)
    /// Behind the last byte. A SYN or FIN counts as one.
    @usableFromInline var end = SequenceNumber(0)
    /// When it was last sent.
    @usableFromInline var sentAt = Instant.zero
    /// In the order of sequence numbers.
    @usableFromInline var next = SentRecords.none
    @usableFromInline var previous = SentRecords.none
    /// In its ring.
    var later = SentRecords.none
    var earlier = SentRecords.none
    @usableFromInline var flags = Flags()
    /// What had been delivered when it was sent (delivery-rate estimation).
    var snapshot: RateSnapshot?

    @usableFromInline
    struct Flags: OptionSet, BitwiseCopyable {
        @usableFromInline var rawValue: UInt8
        @usableFromInline init(rawValue: UInt8) { self.rawValue = rawValue }
        /// The peer has reported it received.
        @usableFromInline static var sacked: Flags { Flags(rawValue: 1) }
        /// Deemed lost, and not sent again since.
        @usableFromInline static var lost: Flags { Flags(rawValue: 2) }
        /// Sent more than once: an ACK of it does not tell which time (Karn).
        @usableFromInline static var retransmitted: Flags { Flags(rawValue: 4) }
    }

    @usableFromInline init() {}

    @inlinable var count: Int { end - start }
}

/// All records of a stack.
@usableFromInline
struct SentRecords: ~Copyable {
    @inlinable static var none: UInt32 { .max }

    @usableFromInline var table: PlainTable<SentRecord>
    @usableFromInline var firstFree: UInt32
    @usableFromInline var freeCount: Int

    init(capacity: Int) {
        table = PlainTable(repeating: SentRecord(), count: capacity)
        for index in 0..<capacity { table[index].next = index + 1 < capacity ? UInt32(index + 1) : SentRecords.none }
        firstFree = capacity > 0 ? 0 : SentRecords.none
        freeCount = capacity
    }

    @inlinable
    subscript(index: UInt32) -> SentRecord {
        get { table[Int(index)] }
        _modify { yield &table[Int(index)] }
    }

    @inlinable
    mutating func take() -> UInt32? {
        guard firstFree != SentRecords.none else { return nil }
        let index = firstFree
        firstFree = table[Int(index)].next
        table[Int(index)] = SentRecord()
        freeCount &-= 1
        return index
    }

    @inlinable
    mutating func release(_ index: UInt32) {
        table[Int(index)].next = firstFree
        firstFree = index
        freeCount &+= 1
    }

    /// Cuts the record at `index` in two at `number`, which lies inside of it. Returns whether there was a record for the rest.
    mutating func split(_ index: UInt32, at number: SequenceNumber, tail: inout UInt32) -> Bool {
        guard let rest = take() else { return false }
        var record = table[Int(index)]
        let next = record.next
        record.start = number
        record.previous = index
        table[Int(rest)] = record
        table[Int(index)].end = number
        table[Int(index)].next = rest
        if tail == index { tail = rest } else { table[Int(next)].previous = rest }
        if !record.flags.contains(.sacked) { link(rest, before: record.later) }
        return true
    }

    /// Makes one of a SACKed record and a SACKed one behind it, which is given back.
    mutating func join(_ index: UInt32, tail: inout UInt32) {
        let rest = table[Int(index)].next
        let next = table[Int(rest)].next
        table[Int(index)].end = table[Int(rest)].end
        table[Int(index)].next = next
        if tail == rest { tail = index } else { table[Int(next)].previous = index }
        release(rest)
    }

    /// The last of the records at the head of a list that end at or before `number`, have been sent once and in this order, and are neither
    /// SACKed nor lost; and how many these are. Nil if the first is not such a one.
    ///
    /// `ring` is that of what is under way.
    @inline(__always)
    func plainRun(from head: UInt32, upTo number: SequenceNumber, ring: UInt32) -> (last: UInt32, count: Int)? {
        var (last, count, index, place) = (SentRecords.none, 0, head, ring)
        while index != SentRecords.none, index == place, table[Int(index)].flags.isEmpty,
            table[Int(index)].end <= number
        {
            last = index
            count &+= 1
            place = table[Int(index)].later
            index = table[Int(index)].next
        }
        return count > 0 ? (last, count) : nil
    }

    /// Gives such records back at once, and takes them out of the ring. `head` is then the one behind them.
    @inline(__always)
    mutating func releaseRun(_ run: (last: UInt32, count: Int), head: inout UInt32, ring: inout UInt32) {
        let next = table[Int(run.last)].next
        let latest = table[Int(head)].earlier
        if run.last == latest {
            ring = SentRecords.none
        } else {
            ring = table[Int(run.last)].later
            table[Int(ring)].earlier = latest
            table[Int(latest)].later = ring
        }
        table[Int(run.last)].next = firstFree
        firstFree = head
        freeCount &+= run.count
        head = next
        if next != SentRecords.none { table[Int(next)].previous = SentRecords.none }
    }

    /// Gives back all records of a list.
    mutating func releaseAll(from head: inout UInt32, tail: inout UInt32) {
        while head != SentRecords.none {
            let next = table[Int(head)].next
            release(head)
            head = next
        }
        tail = SentRecords.none
    }

    /// The first record that ends behind `number`: sought from whichever is nearest to it of both ends and `finger`, for reports of the
    /// peer are mostly about what is near to the last one. There must be records.
    func first(behind number: SequenceNumber, near finger: UInt32, head: UInt32, tail: UInt32) -> UInt32 {
        var index = finger == SentRecords.none ? head : finger
        let place = table[Int(index)].start
        if number < place, number - table[Int(head)].start < place - number { index = head }
        if number > place, table[Int(tail)].end - number < number - place { index = tail }
        while index != head, table[Int(table[Int(index)].previous)].end > number { index = table[Int(index)].previous }
        while index != SentRecords.none, table[Int(index)].end <= number { index = table[Int(index)].next }
        return index
    }
}

// MARK: - Rings

/// A ring is named by its first record; ``SentRecords/none`` is one without any.
extension SentRecords {
    private mutating func link(_ index: UInt32, before next: UInt32) {
        let previous = table[Int(next)].earlier
        table[Int(index)].earlier = previous
        table[Int(index)].later = next
        table[Int(previous)].later = index
        table[Int(next)].earlier = index
    }

    /// Which comes after a record; none if it is the last.
    func later(than index: UInt32, in ring: UInt32) -> UInt32 {
        let next = table[Int(index)].later
        return next == ring ? SentRecords.none : next
    }

    mutating func append(_ index: UInt32, to ring: inout UInt32) {
        if ring == SentRecords.none {
            table[Int(index)].earlier = index
            table[Int(index)].later = index
            ring = index
        } else {
            link(index, before: ring)
        }
    }

    mutating func remove(_ index: UInt32, from ring: inout UInt32) {
        let (previous, next) = (table[Int(index)].earlier, table[Int(index)].later)
        if next == index {
            ring = SentRecords.none
            return
        }
        table[Int(previous)].later = next
        table[Int(next)].earlier = previous
        if ring == index { ring = next }
    }

    /// Puts a record where its number is. Most are behind all others; what is lost for the second time is near the front.
    mutating func insertByNumber(_ index: UInt32, into ring: inout UInt32) {
        let number = table[Int(index)].start
        if ring == SentRecords.none || table[Int(table[Int(ring)].earlier)].start < number {
            return append(index, to: &ring)
        }
        var next = ring
        while table[Int(next)].start < number { next = table[Int(next)].later }
        link(index, before: next)
        if next == ring { ring = index }
    }

    /// Puts a record where the time is at which it was sent. `place` is a record of the ring that is near, or none, and is left at the
    /// one behind: so a row of records that were sent one after the other is put in with one walk.
    mutating func insertByTime(_ index: UInt32, into ring: inout UInt32, near place: inout UInt32) {
        let sentAt = table[Int(index)].sentAt
        if place == SentRecords.none, ring != SentRecords.none, table[Int(table[Int(ring)].earlier)].sentAt > sentAt {
            place = table[Int(ring)].earlier
        }
        while place != SentRecords.none, place != ring, table[Int(table[Int(place)].earlier)].sentAt > sentAt {
            place = table[Int(place)].earlier
        }
        while place != SentRecords.none, table[Int(place)].sentAt <= sentAt { place = later(than: place, in: ring) }
        if place == SentRecords.none { return append(index, to: &ring) }
        link(index, before: place)
        if place == ring { ring = index }
    }
}
