// The handshakes that listeners wait for: bounded, found by a keyed hash, and each in the queue of those whose SYN-ACK has been
// sent as often (RFC 4987 §3.5, RFC 6298 §5).
//
//     queue   0      1      2      3       …       a SYN-ACK goes, and its entry moves one to the right
//     waits   1 s    2 s    4 s    8 s     …

struct SYNQueue: ~Copyable {
    private var table: TupleTable<HalfOpen>
    /// Those whose SYN-ACK is to be sent.
    private var owing: SlotQueue

    init(capacity: Int) {
        table = TupleTable(capacity: capacity)
        owing = SlotQueue(capacity: capacity)
    }

    var count: Int { table.count }
    var isFull: Bool { table.isFull }
    var nextDeadline: Instant { table.nextDeadline }
    var isOwing: Bool { !owing.isEmpty }

    subscript(place: UInt32) -> HalfOpen {
        _read { yield table[place] }
        _modify { yield &table[place] }
    }

    func tuple(at place: UInt32) -> FourTuple { table.tuple(at: place) }
    func find(_ tuple: FourTuple, hash: UInt32) -> UInt32? { table.find(tuple, hash: hash) }
    func first(from place: UInt32 = 0, of listener: UInt16) -> UInt32? {
        table.first(from: place) { $0.listener == listener }
    }

    /// How often a SYN-ACK has been sent again.
    func retransmissions(at place: UInt32) -> UInt8 { table.queue(at: place) }

    /// Nanoseconds from the `number`th retransmission to the next, 0 being the SYN-ACK itself: RTO, and twice as much each time (§5.5).
    private static func wait(_ number: UInt8) -> Int64 {
        min(Int64(RTT.initialRTO) << Int64(number), Int64(RTT.maximumRTO)) * 1000
    }

    /// Nanoseconds from the first SYN-ACK to the end of the wait after the `number`th retransmission.
    static func waited(_ number: UInt8) -> Int64 {
        var sum: Int64 = 0
        for earlier in 0...number { sum += wait(earlier) }
        return sum
    }

    /// When the SYN-ACK of an entry went last.
    func sentAt(_ place: UInt32) -> Instant {
        table.deadline(at: place).advanced(byNanoseconds: -Self.wait(table.queue(at: place)))
    }

    /// Adds a handshake whose SYN-ACK is to be sent. Returns false if the queue is full.
    mutating func insert(_ halfOpen: HalfOpen, _ tuple: FourTuple, hash: UInt32, at now: Instant) -> Bool {
        let deadline = now.advanced(byNanoseconds: Self.wait(0))
        guard let place = table.insert(halfOpen, tuple, hash: hash, deadline: deadline) else { return false }
        owing.append(place)
        return true
    }

    /// Adds what counts a Fast Open request. It goes with its handshake, or after a minute.
    mutating func insertFastOpen(_ halfOpen: HalfOpen, _ tuple: FourTuple, hash: UInt32, at now: Instant) -> Bool {
        let last = UInt8(TupleTable<HalfOpen>.queueCount - 1)
        return table.insert(
            halfOpen, tuple, hash: hash, deadline: now.advanced(byNanoseconds: Self.wait(last)), in: last) != nil
    }

    mutating func remove(_ place: UInt32) { table.remove(place) }

    /// The SYN-ACK of an entry is to be sent again, without a change to its timer.
    mutating func owe(_ place: UInt32) { owing.append(place) }

    func firstDue(at now: Instant) -> UInt32? { table.firstDue(at: now) }

    /// The timer of an entry has expired: its SYN-ACK goes again, and it waits twice as long.
    mutating func retransmit(_ place: UInt32, at now: Instant) {
        let number = min(table.queue(at: place) + 1, UInt8(TupleTable<HalfOpen>.queueCount - 1))
        table.move(place, deadline: now.advanced(byNanoseconds: Self.wait(number)), to: number)
        owing.append(place)
    }

    /// Takes out an entry that owes a SYN-ACK.
    mutating func popOwing() -> UInt32? {
        while let place = owing.popFirst() {
            // It may have gone, and its place may be another's, who owes as well.
            if table.isTaken(place), !table[place].flags.contains(.fastOpen) { return place }
        }
        return nil
    }
}
