// Datagrams that have come and are not read yet: their bytes in rings, and what else is known of them in records.
//
// A ring is taken when the first datagram comes and given back when the last is read, so an idle socket owns no memory. Each
// datagram takes a multiple of 64 bytes of its socket's ring, an empty one too: so the bytes bound the number. It lies in one
// run, to be shown as one span: where it would wrap, it starts behind the wrap instead.
//
//     head ──▶ ┌──────┬────────────┬──── ─ ─ ─ ─ ┐ ◀── wraps here
//              │  1   │     2      │   left out  │
//              └──────┴────────────┴──── ─ ─ ─ ─ ┘
//              ┌─────────────────┐
//              │       3         │ ◀── tail

/// What is known of a received datagram besides its bytes.
public struct DatagramEnvelope: BitwiseCopyable, Hashable, Sendable {
    /// Who has sent it.
    public var source: IPAddress
    /// The port that it was sent from.
    public var sourcePort: UInt16
    /// The address it was sent to: one of this host's, a group's, or a broadcast address.
    public var destination: IPAddress
    /// The number of the interface it came in on.
    public var interface: UInt8
    /// A router on the way was congested, and has said so (RFC 3168 §5).
    public var isCongestionExperienced: Bool
}

/// The datagrams of one socket: a place in ``WaitingDatagrams``, and nothing that is owned while there are none.
struct DatagramQueue: BitwiseCopyable {
    fileprivate var ring = ByteRing.none
    /// Where the first datagram starts and where the last ends, as positions in the ring.
    fileprivate var head: UInt32 = 0
    fileprivate var tail: UInt32 = 0
    fileprivate var first: UInt32 = .max
    fileprivate var last: UInt32 = .max

    var isEmpty: Bool { first == .max }
}

/// The memory of all sockets' datagrams. Allocates in `init` only.
struct WaitingDatagrams: ~Copyable {
    struct Record: BitwiseCopyable {
        var envelope: DatagramEnvelope
        var start: UInt32
        var byteCount: UInt32
        var next: UInt32
    }

    enum Outcome: BitwiseCopyable, Equatable {
        case kept
        /// The socket has as much as it may.
        case full
        /// There is no memory, or no record, for anybody.
        case noMemory
    }

    /// Datagrams take memory in units of so many bytes.
    static var unit: Int { 64 }

    private var rings: RingMemory
    private var records: PlainTable<Record>
    private var firstFree: UInt32 = .max
    private var touched = 0

    /// Room for `datagrams` with `byteCount` bytes in all.
    init(datagrams: Int, byteCount: Int) {
        rings = RingMemory(byteCount: byteCount)
        records = PlainTable(capacity: datagrams)
    }

    /// Bytes of memory taken by all sockets.
    var bytesTaken: Int { rings.bytesTaken }

    /// Keeps a copy of `bytes` at the end of `queue`, whose ring may be `limit` bytes long.
    mutating func append(
        _ bytes: RawSpan, _ envelope: DatagramEnvelope, to queue: inout DatagramQueue, limit: Int
    ) -> Outcome {
        let size = max(1, (bytes.byteCount + Self.unit - 1) / Self.unit) * Self.unit
        // Twice as long until it fits, at most 32 turns. Positions stay as they are: what did not wrap does not wrap then.
        var capacity = max(queue.ring.capacity, RingMemory.blockSize)
        var start = Self.start(queue.tail, size, capacity)
        while Int(start &- queue.head) + size > capacity {
            capacity *= 2
            guard capacity <= limit else { return .full }
            start = Self.start(queue.tail, size, capacity)
        }
        guard capacity <= limit else { return .full }
        guard let record = takeRecord() else { return .noMemory }
        guard isRing(of: &queue, atLeast: capacity) else {
            releaseRecord(record)
            return .noMemory
        }
        rings.write(bytes, to: queue.ring, at: start)
        records[Int(record)] = Record(
            envelope: envelope, start: start, byteCount: UInt32(bytes.byteCount), next: .max)
        if queue.isEmpty { queue.first = record } else { records[Int(queue.last)].next = record }
        queue.last = record
        queue.tail = start &+ UInt32(size)
        return .kept
    }

    /// Shows the first datagram to `body`, and takes it out. Returns false if there is none.
    mutating func removeFirst(of queue: inout DatagramQueue, _ body: (RawSpan, DatagramEnvelope) -> Void) -> Bool {
        guard !queue.isEmpty else { return false }
        let first = records[Int(queue.first)]
        rings.withRun(of: queue.ring, at: first.start, count: Int(first.byteCount)) { body($0, first.envelope) }
        releaseRecord(queue.first)
        if first.next == .max {
            rings.release(queue.ring)
            queue = DatagramQueue()
        } else {
            queue.first = first.next
            queue.head = records[Int(first.next)].start
        }
        return true
    }

    /// Drops all datagrams of a queue.
    mutating func removeAll(of queue: inout DatagramQueue) {
        while removeFirst(of: &queue, { _, _ in }) {}
    }

    /// The first position from `tail` on from which `size` bytes do not wrap.
    private static func start(_ tail: UInt32, _ size: Int, _ capacity: Int) -> UInt32 {
        let offset = Int(tail) & (capacity - 1)
        return offset + size <= capacity ? tail : tail &+ UInt32(capacity - offset)
    }

    private mutating func isRing(of queue: inout DatagramQueue, atLeast capacity: Int) -> Bool {
        if capacity <= queue.ring.capacity { return true }
        guard let larger = rings.take(atLeast: capacity) else { return false }
        rings.copy(from: queue.ring, to: larger, at: queue.head, count: Int(queue.tail &- queue.head))
        rings.release(queue.ring)
        queue.ring = larger
        return true
    }

    private mutating func takeRecord() -> UInt32? {
        if firstFree != .max {
            let record = firstFree
            firstFree = records[Int(record)].next
            return record
        }
        guard touched < records.count else { return nil }
        touched += 1
        return UInt32(touched - 1)
    }

    private mutating func releaseRecord(_ record: UInt32) {
        // A record that was never used is written whole, as the table leaves its memory to its owner.
        records[Int(record)] = Record(
            envelope: DatagramEnvelope(
                source: .v4(.any), sourcePort: 0, destination: .v4(.any), interface: 0, isCongestionExperienced: false),
            start: 0, byteCount: 0, next: firstFree)
        firstFree = record
    }
}
