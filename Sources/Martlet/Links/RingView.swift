// A pipe's ring as netmap shows its rings (Rizzo, USENIX ATC 2012; netmap(4)): slots that always hold a buffer, and three marks.
//
//     │ the other side's │ head │ slot │ slot │ cur │ slot │ tail │ the other side's
//                          ▲ the program's from here      up to here ▲
//
// `head` is what the program has given back, and `tail` how far the other side has come. `cur` is apart from both: the program is
// woken when the tail has passed it, so that it may keep what it has and wait for more.
//
// Nothing is copied and no frame is taken from a pool: a program reads or writes the buffer in the slot, or exchanges it for
// another, which may be a slot's of another ring or a spare one from the pool.

public import MartletStack

/// One side of a pipe's ring, while a closure has it: the consumer's in ``MemoryLink/withReceiveRing(_:)``, the producer's in
/// ``MemoryLink/withTransmitRing(_:)``.
///
/// Marks count slots since the ring was made; slot n of them lies at n modulo the ring's size.
public struct RingView: ~Copyable {
    private let ring: FrameRing
    private let pool: Burst
    private let isProducer: Bool
    /// The first slot that the program has.
    public private(set) var head: UInt
    /// The first slot that it does not have: what there is to be received, or filled, is `head ..< tail`.
    public private(set) var tail: UInt
    /// The program wants to be woken when the tail has passed this mark: see ``wish``.
    public var cur: UInt

    fileprivate init(_ ring: FrameRing, isProducer: Bool, pool: consuming Burst) {
        precondition(ring.isShared, "a ring is looked at only if it keeps its buffers")
        self.ring = ring
        self.pool = pool
        self.isProducer = isProducer
        (head, tail) = isProducer ? ring.producerMarks() : ring.consumerMarks()
        cur = head
    }

    /// Slots of the ring.
    public var size: Int { ring.capacity }

    /// Slots that the program has.
    public var count: Int { Int(tail &- head) }

    /// What to wait for: that the tail passes ``cur``.
    public var wish: LinkWish {
        let slots = max(1, Int(bitPattern: cur &- head) + 1)
        return isProducer ? LinkWish(frames: 0, room: slots) : LinkWish(frames: slots)
    }

    /// Shows `body` the buffer in a slot. In a receive ring it is the frame that has come; in a transmit ring it is an empty one,
    /// whose length is to be set. `body` may exchange it, `swap(&frame, &other)`, for any frame of the core's pool.
    ///
    /// - Returns: what `body` returns; nil if the slot never had a buffer and the pool has none left for it.
    /// - Precondition: `index` is in `head ..< tail`.
    public mutating func withSlot<Result>(_ index: UInt, _ body: (inout Frame) -> Result) -> Result? {
        precondition(index &- head < tail &- head, "that slot is the other side's")
        return unsafe ring.withPosition(index) { position in
            if isProducer {
                unsafe position.pointee = FrameDescriptor(
                    slot: position.pointee.slot, start: UInt16(pool.frameHeadroom), length: 0)
                if unsafe position.pointee.slot == FrameDescriptor.noSlot {
                    guard unsafe pool.stock(position) else { return nil }
                }
            }
            return unsafe pool.withFrame(at: position, body)
        }
    }

    /// Gives the slots in front of `index` to the other side: read, or filled and to be transmitted.
    ///
    /// - Precondition: `index` is in `head ... tail`; in a transmit ring, each slot has been shown to a ``withSlot(_:_:)``.
    public mutating func advance(to index: UInt) {
        precondition(index &- head <= tail &- head, "that slot is the other side's")
        if isProducer { ring.publishProducer(index) } else { ring.publishConsumer(index) }
        if Int(bitPattern: cur &- index) < 0 { cur = index }
        head = index
    }

    /// Looks how far the other side has come.
    public mutating func sync() { tail = isProducer ? ring.producerMarks().tail : ring.consumerMarks().tail }
}

extension MemoryLink {
    /// Shows `body` the ring of what has arrived.
    ///
    /// - Precondition: the pipe's rings keep their buffers, as those between two cores do.
    public mutating func withReceiveRing<Result>(_ body: (inout RingView) -> Result) -> Result {
        var view = RingView(incoming, isProducer: false, pool: pool.makeBurst(capacity: 1))
        let before = view.head
        defer { counters.received.count(Int(bitPattern: view.head &- before), bytes: 0) }
        return body(&view)
    }

    /// Shows `body` the ring of what is to be transmitted.
    ///
    /// - Precondition: as for ``withReceiveRing(_:)``.
    public mutating func withTransmitRing<Result>(_ body: (inout RingView) -> Result) -> Result {
        var view = RingView(outgoing, isProducer: true, pool: pool.makeBurst(capacity: 1))
        let before = view.head
        defer { counters.transmitted.count(Int(bitPattern: view.head &- before), bytes: 0) }
        return body(&view)
    }

    /// Shows `body` the frames that wait at this end and that `monitor` has not seen, without copying or taking them.
    ///
    /// Frames that were received before the monitor looked are counted in ``RingMonitor/missed``.
    public func look(_ monitor: inout RingMonitor, _ body: (RawSpan) -> Void) {
        let (head, tail) = incoming.consumerMarks()
        if Int(bitPattern: head &- monitor.position) > 0 {
            monitor.missed &+= UInt64(head &- monitor.position)
            monitor.position = head
        }
        while monitor.position != tail {
            unsafe incoming.withPosition(monitor.position) { position in
                unsafe pool.withBytes(at: position, body)
            }
            monitor.position &+= 1
        }
    }
}

/// What somebody who watches a pipe has seen of it.
public struct RingMonitor: Sendable {
    /// The first frame that was not seen yet.
    public internal(set) var position: UInt = 0
    /// Frames that were gone before the monitor looked.
    public internal(set) var missed: UInt64 = 0

    public init() {}
}
