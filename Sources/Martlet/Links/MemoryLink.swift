// A pipe of frames: what one end transmits the other receives, and nothing is copied. Within one core, or between two.

internal import CMartlet
public import MartletStack
internal import Synchronization

/// One end of a pipe.
///
/// Frames pass from one end to the other by their descriptors alone. The ends of a pipe within one core take frames of one
/// pool. The ends of a pipe between two cores have a pool each over one ``FrameArena``, and swap: for each frame that an end
/// receives it leaves a free slot of its pool, which the other end takes when the ring has come round. A pool that is empty
/// receives nothing.
///
/// When an end is dropped, the other's ``state`` becomes ``LinkState/gone``. It can still receive what was transmitted before;
/// what it transmits is dropped and counted (``LinkDrop/linkDown``).
public struct MemoryLink: Link, ~Copyable {
    public let name: String
    public let properties: LinkProperties
    public var counters = LinkCounters()

    let incoming: FrameRing
    let outgoing: FrameRing
    private let ends: PipeEnds
    private let isLeft: Bool
    /// Empty. It keeps the pool's memory, to which the last end gives what is left in the rings.
    let pool: Burst
    /// What this end has said it sleeps for.
    private var asleep: LinkWish?

    private init(
        _ name: String, isLeft: Bool, incoming: FrameRing, outgoing: FrameRing, ends: PipeEnds, pool: consuming Burst,
        mtu: Int
    ) {
        self.name = "memory:" + name
        self.isLeft = isLeft
        self.incoming = incoming
        self.outgoing = outgoing
        self.ends = ends
        self.pool = pool
        properties = LinkProperties(mtu: mtu, capabilities: .zeroCopy)
    }

    deinit {
        incoming.leaveAsConsumer()
        outgoing.leaveAsProducer()
        guard ends.leave() else { return }
        incoming.empty(into: pool)
        outgoing.empty(into: pool)
    }

    // MARK: Frames

    public var state: LinkState { outgoing.isConsumerGone ? .gone : .up }

    public mutating func receive(into burst: inout Burst) -> Int {
        assert(burst.sharesPool(with: pool), "an end of a pipe is for frames of the pool that it was made with")
        let before = burst.byteCount
        let count = incoming.take(into: &burst)
        counters.received.count(count, bytes: burst.byteCount &- before)
        return count
    }

    public mutating func transmit(_ burst: inout Burst) -> Int {
        precondition(burst.sharesPool(with: pool), "an end of a pipe is for frames of the pool that it was made with")
        if outgoing.isConsumerGone { return dropForGood(&burst) }
        let before = burst.byteCount
        let count = outgoing.put(&burst)
        counters.transmitted.count(count, bytes: before &- burst.byteCount)
        return count
    }

    private mutating func dropForGood(_ burst: inout Burst) -> Int {
        let count = burst.count
        counters.transmitted.drops[.linkDown] &+= UInt64(count)
        burst.removeAll()
        return count
    }

    // MARK: Sleeping

    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        let descriptor = ends.eventDescriptor(isLeft: isLeft)
        guard descriptor >= 0 else { return .ready }
        asleep = wish
        if wish.frames > 0, !incoming.prepareConsumer(frames: wish.frames, eventDescriptor: descriptor) {
            return .ready
        }
        if wish.room > 0, !outgoing.prepareProducer(room: wish.room, eventDescriptor: descriptor) { return .ready }
        return LinkSleep(descriptor: descriptor)
    }

    public mutating func wokeUp() {
        guard let wish = asleep else { return }
        asleep = nil
        if wish.frames > 0 { incoming.wokeConsumer() }
        if wish.room > 0 { outgoing.wokeProducer() }
        // Also if nobody seems to have signalled: a signal may be late, and would then end the next sleep for nothing once.
        martlet_eventfd_drain(ends.eventDescriptor(isLeft: isLeft))
    }
}

/// Both ends of a pipe, which part when they are taken out.
@frozen
public struct MemoryPipe: ~Copyable {
    public var left: MemoryLink
    public var right: MemoryLink
}

/// What both ends of a pipe keep until the last of them is gone.
final class PipeEnds: Sendable {
    private let count: Atomic<Int>
    // The descriptors live as long as both ends: the other one may be about to signal when one is dropped.
    private let left = Atomic<Int32>(-1)
    private let right = Atomic<Int32>(-1)

    init(count: Int) { self.count = Atomic(count) }

    /// An end is gone. Returns whether it was the last.
    func leave() -> Bool { count.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 }

    /// What an end sleeps on, made when it is asked for first, by that end's thread; -1 if there are no descriptors left.
    func eventDescriptor(isLeft: Bool) -> Int32 { isLeft ? Self.descriptor(left) : Self.descriptor(right) }

    private static func descriptor(_ place: borrowing Atomic<Int32>) -> Int32 {
        let known = place.load(ordering: .relaxed)
        if known >= 0 { return known }
        let made = martlet_eventfd()
        if made >= 0 { place.store(made, ordering: .relaxed) }
        return made
    }

    deinit {
        for descriptor in [left.load(ordering: .relaxed), right.load(ordering: .relaxed)] where descriptor >= 0 {
            _ = martlet_close(descriptor)
        }
    }
}

// MARK: - Making pipes

extension MemoryLink {
    /// Two ends that belong to one core. Their frames are of `pool`.
    ///
    /// - Parameters:
    ///   - frames: Frames that can be under way in each direction, rounded up to a power of two.
    ///   - mtu: As ``LinkProperties/mtu``. Frames of any length pass.
    ///   - keepsBuffers: The rings keep frames of the pool in all their slots, as those between two cores do, and can be looked
    ///     at with ``withReceiveRing(_:)`` and ``withTransmitRing(_:)``.
    public static func pipe(
        _ name: String = "pipe", pool: borrowing FramePool, frames: Int = 1024, mtu: Int = 1500,
        keepsBuffers: Bool = false
    ) -> MemoryPipe {
        let (left, right) = PipeEnd.pair(name, frames: frames, mtu: mtu, isShared: keepsBuffers)
        return MemoryPipe(left: MemoryLink(left, pool: pool), right: MemoryLink(right, pool: pool))
    }

    /// Two ends that belong to two cores: the left end's frames are of `left`, the right end's of `right`.
    ///
    /// The rings keep slots: `frames` of each pool are in them after they have come round once.
    ///
    /// - Precondition: the pools are two over one arena, and have not gone to their threads yet.
    public static func pipe(
        _ name: String = "pipe", between left: borrowing FramePool, and right: borrowing FramePool, frames: Int = 1024,
        mtu: Int = 1500
    ) -> MemoryPipe {
        let (leftEnd, rightEnd) = PipeEnd.pair(name, frames: frames, mtu: mtu)
        let pipe = MemoryPipe(left: MemoryLink(leftEnd, pool: left), right: MemoryLink(rightEnd, pool: right))
        precondition(
            pipe.left.pool.sharesArena(with: pipe.right.pool) && !pipe.left.pool.sharesPool(with: pipe.right.pool),
            "a pipe between two cores needs two pools over one arena")
        return pipe
    }

    /// An end that a core has come to, for frames of that core's pool.
    init(_ end: PipeEnd, pool: borrowing FramePool) {
        self.init(
            end.name, isLeft: end.isLeft, incoming: end.incoming, outgoing: end.outgoing, ends: end.ends,
            pool: pool.makeBurst(capacity: 1), mtu: end.mtu)
    }

    /// A link that receives what it transmits.
    public static func loopback(
        _ name: String = "loopback", pool: borrowing FramePool, frames: Int = 1024, mtu: Int = 1500
    ) -> MemoryLink {
        let ring = FrameRing(capacity: frames, isShared: false)
        return MemoryLink(
            name, isLeft: true, incoming: ring, outgoing: ring, ends: PipeEnds(count: 1),
            pool: pool.makeBurst(capacity: 1),
            mtu: mtu)
    }
}

/// An end of a pipe between two pools that no core has come to yet.
struct PipeEnd: Sendable {
    let name: String
    let isLeft: Bool
    let incoming: FrameRing
    let outgoing: FrameRing
    let ends: PipeEnds
    let mtu: Int

    static func pair(_ name: String, frames: Int, mtu: Int, isShared: Bool = true) -> (PipeEnd, PipeEnd) {
        let there = FrameRing(capacity: frames, isShared: isShared)
        let back = FrameRing(capacity: frames, isShared: isShared)
        let ends = PipeEnds(count: 2)
        return (
            PipeEnd(name: name, isLeft: true, incoming: back, outgoing: there, ends: ends, mtu: mtu),
            PipeEnd(name: name, isLeft: false, incoming: there, outgoing: back, ends: ends, mtu: mtu)
        )
    }

    /// Nobody will come to this end. The other is told that it is alone.
    func abandon() {
        incoming.leaveAsConsumer()
        outgoing.leaveAsProducer()
        _ = ends.leave()
    }
}
