// What a link is: one queue pair of something that carries frames, used by one core, in bursts.
//
//          receive(into:)                                transmit(_:)
//     wire ───────▶ ring ───────▶ burst ───────▶ burst ───────▶ ring ───────▶ wire
//                                                                  │
//                                     pool ◀───────────────────────┘ reclaim()
//
// From DPDK it has the burst calls that never wait; from netmap the wish with which a core sleeps ("wake me when there are n
// frames"); from both that everything is allocated before the first frame.
//
// How a call finds its link was decided by a measurement: 64-byte frames allocated, forwarded and freed between two null links
// on one pinned core, in nanoseconds a frame (testpmd's null ports beside it: 17 at burst 32).
//
//     burst                    1      8     32    256
//     generic, specialised    6.5    2.7    1.7    1.7
//     class with a generic    7.5    2.7    1.9    1.6      one indirect call a burst
//     enum of the kinds      11.7    2.8    1.9    1.6      the payload moves out and in
//     existential            18.3    3.7    2.5    1.7      the box is looked into by a call
//
// So `Link` is a protocol that loops are generic over, and `AnyLink` a class around a generic for whoever has many links of
// kinds not known before: the switch, the runtime. An enum would also have shut out links of other packages.

public import MartletStack

/// One queue pair of something that carries frames: a network interface, a TAP, a pipe.
///
/// A link belongs to one core: nothing about it may be called from two threads at once. No call ever waits: waiting is what
/// a core does between ``prepareToSleep(for:)`` and ``wokeUp()``. None of them throws: a link that does not work any more
/// says so by its ``state``, and a frame that cannot be had or passed on is counted in ``counters``.
///
/// Dropping a link closes it.
public protocol Link: ~Copyable {
    /// What the link is called, as on a command line: `memory:a`, `tap:tap0`, `xdp:eth0/1`.
    var name: String { get }

    /// What it carries and can do. It is read once, and again when ``refresh()`` says that it changed.
    var properties: LinkProperties { get }

    /// Whether frames can pass.
    var state: LinkState { get }

    /// What has passed and what was dropped. A program that measures an interval may set it to zero.
    var counters: LinkCounters { get set }

    /// Appends frames that have arrived to `burst`, as many as it has room for. Returns how many.
    ///
    /// Frames are taken from the burst's pool, or, by links that received them into an arena of their own, are of that arena.
    /// If the pool is empty the frames stay where they are, or are dropped and counted (``LinkDrop/arenaEmpty``).
    ///
    /// - Precondition: the burst's pool is over the arena that the link was made with, if the link has one
    ///   (``LinkCapabilities/zeroCopy``).
    mutating func receive(into burst: inout Burst) -> Int

    /// Transmits frames from the beginning of `burst`, as many as there is room for. Returns how many; the rest stays in the
    /// burst. On return they are on their way, without any other call.
    ///
    /// Frames that cannot leave at all (too long, malformed) are counted as drops, go back to their pool, and count as taken.
    ///
    /// - Precondition: as for ``receive(into:)``.
    mutating func transmit(_ burst: inout Burst) -> Int

    /// Transmits what there is room for, and drops and counts the rest (``LinkDrop/ringFull``). The burst is empty then.
    /// Returns how many frames were taken.
    @discardableResult
    mutating func transmitOrDrop(_ burst: inout Burst) -> Int

    /// Gives frames back to their pool whose transmission has been completed. Returns how many.
    ///
    /// Receiving and transmitting do this by themselves when they run short. It is for a core that is about to be idle, and
    /// for one that waits for its frames.
    mutating func reclaim() -> Int

    /// Says what a core can sleep on until what it wishes may be there.
    ///
    /// What comes between this call and the sleep ends the sleep: no wake-up is lost.
    ///
    /// - Returns: what to poll, and until when; or that there is no need to sleep. After it, whether the core slept or not,
    ///   ``wokeUp()`` is called before it is called again. Frames may be received and transmitted in between, as other tasks of the
    ///   core do.
    mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep

    /// The core is awake again.
    mutating func wokeUp()

    /// Asks the kernel again for what only it knows: state, MTU, addresses, and the drops that it counts. Returns whether
    /// ``properties`` or ``state`` changed. It makes system calls: it is for once a second, or after an error.
    mutating func refresh() -> Bool
}

extension Link where Self: ~Copyable {
    public mutating func reclaim() -> Int { 0 }
    public mutating func wokeUp() {}
    public mutating func refresh() -> Bool { false }

    @inlinable
    @discardableResult
    public mutating func transmitOrDrop(_ burst: inout Burst) -> Int {
        let taken = transmit(&burst)
        if !burst.isEmpty {
            counters.transmitted.drops[.ringFull] &+= UInt64(burst.count)
            burst.removeAll()
        }
        return taken
    }
}

/// Whether frames can pass a link.
public enum LinkState: UInt8, Sendable, BitwiseCopyable {
    /// Frames pass.
    case up
    /// The interface is down, or has no carrier. It may come up again.
    case down
    /// The interface, or the other end, is gone for good. What was received before can still be had.
    case gone
}

/// What a core waits for on a link.
public struct LinkWish: Sendable, BitwiseCopyable, Hashable {
    /// Wake up when there are so many frames to be received. 0 does not wait for frames. A link that cannot count them without
    /// receiving them wakes up at the first.
    public var frames: Int
    /// Wake up when there is room for so many frames to be transmitted. 0 does not wait for room. A link that cannot count
    /// wakes up at the first.
    public var room: Int

    @inlinable
    public init(frames: Int = 1, room: Int = 0) {
        self.frames = frames
        self.room = room
    }
}

/// What a core sleeps on for a link: poll(2)'s words, so that io_uring, epoll and poll can all do it.
public struct LinkSleep: Sendable, BitwiseCopyable, Hashable {
    /// What was wished is there already: the core is not to sleep.
    public var isReady: Bool
    /// The descriptor to poll; -1 if there is none, and only the deadline ends the sleep. It stays the same while the link lives.
    public var descriptor: Int32
    /// Poll for `POLLIN`.
    public var forInput: Bool
    /// Poll for `POLLOUT`.
    public var forOutput: Bool
    /// When to wake up in any case, in nanoseconds of `CLOCK_MONOTONIC`; `.max` for never.
    public var deadline: Int64

    @inlinable
    public init(descriptor: Int32, forInput: Bool = true, forOutput: Bool = false, deadline: Int64 = .max) {
        isReady = false
        self.descriptor = descriptor
        self.forInput = forInput
        self.forOutput = forOutput
        self.deadline = deadline
    }

    /// There is no need to sleep.
    @inlinable
    public static var ready: LinkSleep {
        var sleep = LinkSleep(descriptor: -1, forInput: false)
        sleep.isReady = true
        return sleep
    }
}
