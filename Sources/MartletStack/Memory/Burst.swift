// Frames that go together: what a link receives in one call, and transmits in one.

/// A queue of up to 64 frames of one pool. One owner; frames in it that are dropped with it go back to their pool.
public struct Burst: ~Copyable {
    /// Frames that a burst has room for.
    @inlinable
    public static var capacity: Int { 64 }

    @usableFromInline let pool: FramePool.Storage
    @usableFromInline var descriptors = InlineArray<64, FrameDescriptor>(repeating: FrameDescriptor())
    @usableFromInline var first = 0
    @usableFromInline var end = 0

    @inlinable
    init(pool: FramePool.Storage) { self.pool = pool }

    @inlinable
    deinit {
        for index in first..<end { pool.release(descriptors[index].slot) }
    }

    /// Frames in the burst.
    @inlinable
    public var count: Int { end &- first }

    @inlinable
    public var isEmpty: Bool { first == end }

    /// Whether there is no room behind the last frame. Room comes back only when the burst has been emptied.
    @inlinable
    public var isFull: Bool { end == Burst.capacity }

    /// Frames that can be taken and appended now.
    @inlinable
    var room: Int { min(Burst.capacity &- end, pool.freeCount) }

    /// Adds a frame at the end.
    ///
    /// - Precondition: the burst is not full, and the frame is of the burst's pool.
    @inlinable
    public mutating func append(_ frame: consuming Frame) {
        precondition(!isFull, "a burst has 64 frames at most")
        precondition(unsafe frame.pool.header == pool.header, "the frame is of another pool")
        descriptors[end] = frame.relinquish()
        end &+= 1
    }

    /// Takes the first frame out; `nil` if there is none.
    @inlinable
    public mutating func popFirst() -> Frame? {
        guard first < end else { return nil }
        let frame = Frame(pool: pool, descriptor: descriptors[first])
        first &+= 1
        if first == end { (first, end) = (0, 0) }
        return frame
    }

    /// Bytes that a frame of the burst's pool has room for, behind its headroom.
    @inlinable
    var frameRoom: Int { pool.frameCapacity &- pool.frameHeadroom }

    /// An empty frame of the burst's pool; `nil` if all are taken.
    @inlinable
    public func takeFrame() -> Frame? {
        guard let descriptor = pool.take() else { return nil }
        return Frame(pool: pool, descriptor: descriptor)
    }

    /// Gives all frames back to the pool.
    @inlinable
    public mutating func removeAll() {
        for index in first..<end { pool.release(descriptors[index].slot) }
        (first, end) = (0, 0)
    }
}
