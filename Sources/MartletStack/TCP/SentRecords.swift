// What is in flight: which bytes were sent together and when (RFC 8985 §5.1), and what the peer has said of them.
//
// One record stands for a run of bytes that left at the same instant, so a burst of 16 segments is one record, and is split only
// when a SACK or a loss divides it. Records are linked per connection, in the order of their sequence numbers, and taken
// from one table that all connections share: a connection with nothing in flight has none.
//
//      SND.UNA                                                          SND.NXT
//        │  record        record (sacked)     record (lost)   record      │
//        ├──────────────┼───────────────────┼───────────────┼─────────────┤

/// A run of bytes in flight.
@usableFromInline
struct SentRecord: BitwiseCopyable {
    @usableFromInline var start = SequenceNumber(0)
    /// Behind the last byte. A SYN or FIN counts as one.
    @usableFromInline var end = SequenceNumber(0)
    /// When it was last sent.
    @usableFromInline var sentAt = Instant.zero
    @usableFromInline var next = SentRecords.none
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
        record.start = number
        table[Int(rest)] = record
        table[Int(index)].end = number
        table[Int(index)].next = rest
        if tail == index { tail = rest }
        return true
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
}
