// Small values by the ends of a connection, for those that are no connection yet or none any more: handshakes, TIME-WAIT,
// peers that are remembered.
//
// All of a queue wait equally long, so a queue is in the order of its deadlines by itself, and no timer is needed: what is due
// is at a head. Each entry is in one queue. Knows nothing of TCP.

/// Up to `capacity` values, each with its ends, a deadline and a place in one of eight queues. Allocates in `init` only, and
/// touches an entry's memory when it is first used.
struct TupleTable<Value: BitwiseCopyable>: ~Copyable {
    struct Entry: BitwiseCopyable {
        var deadline: Instant
        var tuple: FourTuple
        var hash: UInt32
        /// The entries before and behind it in its queue; `next` also links what is free.
        var previous: UInt32
        var next: UInt32
        /// `.max` while it is free.
        var queue: UInt8
        var value: Value
    }

    private struct Queue: BitwiseCopyable {
        var head = UInt32.max
        var tail = UInt32.max
    }

    static var queueCount: Int { 8 }

    private var entries: PlainTable<Entry>
    private var index: HashIndex
    private var queues = InlineArray<8, Queue>(repeating: Queue())
    private var firstFree = UInt32.max
    private var touched: UInt32 = 0
    private(set) var count = 0

    /// - Precondition: `capacity` is in 0 ... 2³⁰.
    init(capacity: Int) {
        entries = PlainTable(capacity: capacity)
        index = HashIndex(capacity: max(capacity, 1))
    }

    var capacity: Int { entries.count }
    var isFull: Bool { count == entries.count }

    subscript(place: UInt32) -> Value {
        _read { yield entries[Int(place)].value }
        _modify { yield &entries[Int(place)].value }
    }

    func tuple(at place: UInt32) -> FourTuple { entries[Int(place)].tuple }
    func deadline(at place: UInt32) -> Instant { entries[Int(place)].deadline }
    func queue(at place: UInt32) -> UInt8 { entries[Int(place)].queue }
    func isTaken(_ place: UInt32) -> Bool { place < touched && entries[Int(place)].queue != .max }

    /// Where the value of these ends is. `hash` is theirs, always by the same function.
    func find(_ tuple: FourTuple, hash: UInt32) -> UInt32? {
        if count == 0 { return nil }
        var probe = index.probe(UInt64(hash))
        while let place = index.next(&probe) {
            if entries[place].tuple == tuple { return UInt32(place) }
        }
        return nil
    }

    /// Adds a value at the end of a queue. Nil if the table is full.
    ///
    /// - Precondition: there is none of these ends, and nothing in the queue has a later deadline.
    mutating func insert(
        _ value: Value, _ tuple: FourTuple, hash: UInt32, deadline: Instant, in queue: UInt8 = 0
    ) -> UInt32? {
        guard !isFull else { return nil }
        let place: UInt32
        if firstFree != .max {
            place = firstFree
            firstFree = entries[Int(place)].next
        } else {
            place = touched
            touched += 1
        }
        entries[Int(place)] = Entry(
            deadline: deadline, tuple: tuple, hash: hash, previous: .max, next: .max, queue: queue, value: value)
        link(place)
        index.insert(Int(place), hash: UInt64(hash))
        count += 1
        return place
    }

    /// Gives an entry a new deadline, and its place at the end of a queue.
    ///
    /// - Precondition: as of ``insert(_:_:hash:deadline:in:)``.
    mutating func move(_ place: UInt32, deadline: Instant, to queue: UInt8 = 0) {
        unlink(place)
        entries[Int(place)].deadline = deadline
        entries[Int(place)].queue = queue
        link(place)
    }

    mutating func remove(_ place: UInt32) {
        precondition(isTaken(place), "a value is removed once")
        unlink(place)
        index.remove(Int(place), hash: UInt64(entries[Int(place)].hash))
        entries[Int(place)].queue = .max
        entries[Int(place)].next = firstFree
        firstFree = place
        count -= 1
    }

    // MARK: Time

    /// The first deadline of all; `distantFuture` if there is none.
    var nextDeadline: Instant {
        var next = Instant.distantFuture
        if count == 0 { return next }
        for number in queues.indices where queues[number].head != .max {
            next = min(next, entries[Int(queues[number].head)].deadline)
        }
        return next
    }

    /// An entry whose deadline is not after `now`; nil if there is none.
    func firstDue(at now: Instant) -> UInt32? {
        if count == 0 { return nil }
        for number in queues.indices {
            let head = queues[number].head
            if head != .max, entries[Int(head)].deadline <= now { return head }
        }
        return nil
    }

    /// The entry that has waited longest in a queue.
    func oldest(in queue: UInt8 = 0) -> UInt32? {
        let head = queues[Int(queue)].head
        return head == .max ? nil : head
    }

    /// The first entry at or behind a place of which `condition` holds: for walks over all of them.
    func first(from place: UInt32, where condition: (Value) -> Bool) -> UInt32? {
        var place = place
        while place < touched {
            if entries[Int(place)].queue != .max, condition(entries[Int(place)].value) { return place }
            place += 1
        }
        return nil
    }

    // MARK: Queues

    private mutating func link(_ place: UInt32) {
        let queue = Int(entries[Int(place)].queue)
        let tail = queues[queue].tail
        entries[Int(place)].previous = tail
        entries[Int(place)].next = .max
        if tail == .max {
            queues[queue].head = place
        } else {
            assert(entries[Int(tail)].deadline <= entries[Int(place)].deadline, "a queue is in the order of deadlines")
            entries[Int(tail)].next = place
        }
        queues[queue].tail = place
    }

    private mutating func unlink(_ place: UInt32) {
        let entry = entries[Int(place)]
        if entry.previous == .max {
            queues[Int(entry.queue)].head = entry.next
        } else {
            entries[Int(entry.previous)].next = entry.next
        }
        if entry.next == .max {
            queues[Int(entry.queue)].tail = entry.previous
        } else {
            entries[Int(entry.next)].previous = entry.previous
        }
    }
}
