// A link that receives only what a filter wants, for links whose kernel cannot leave the rest out.

public import MartletStack

/// Wraps a link: frames that the filter does not want are given back to their pool and counted (``LinkDrop/filtered``).
///
/// A ``PacketLink`` takes the filter itself (``PacketLink/Options/filter``), which is cheaper: the kernel runs it.
public struct FilterLink<Inner: Link & ~Copyable>: Link, ~Copyable {
    private var inner: Inner
    private let filter: Filter.Program
    private var burst: Burst

    /// Takes a link over. Frames are of `pool`.
    public init(_ inner: consuming Inner, filter: Filter.Program, pool: borrowing FramePool) {
        self.inner = inner
        self.filter = filter
        burst = pool.makeBurst()
    }

    public var name: String { inner.name }
    public var properties: LinkProperties { inner.properties }
    public var state: LinkState { inner.state }
    public var counters: LinkCounters {
        get { inner.counters }
        set { inner.counters = newValue }
    }

    public mutating func receive(into target: inout Burst) -> Int {
        // What is not wanted must not keep a caller waiting for ever: a few times, then it looks after other things.
        for _ in 0..<8 where burst.isEmpty {
            guard inner.receive(into: &burst) > 0 else { return 0 }
            var bytes = 0
            let removed = burst.removeAll { frame in
                if filter.matches(frame.bytes) { return false }
                bytes &+= frame.length
                return true
            }
            // The inner link has counted them as received, and what is dropped is not.
            inner.counters.received.count(-removed, bytes: -bytes)
            inner.counters.received.drops[.filtered] &+= UInt64(removed)
        }
        return target.moveFrames(from: &burst)
    }

    public mutating func transmit(_ burst: inout Burst) -> Int { inner.transmit(&burst) }
    public mutating func reclaim() -> Int { inner.reclaim() }
    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        burst.isEmpty || wish.frames == 0 ? inner.prepareToSleep(for: wish) : .ready
    }
    public mutating func wokeUp() { inner.wokeUp() }
    public mutating func refresh() -> Bool { inner.refresh() }
}
