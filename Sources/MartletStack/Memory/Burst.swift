// Frames that go together: what a link receives in one call, and transmits in one.
//
//     descriptors │ gone │ frame │ frame │ frame │ room …
//                 0      first                   end     capacity

/// A queue of frames of one pool, with room for as many as was said when it was made. One owner; frames in it that are
/// dropped with it go back to their pool.
@safe
public struct Burst: ~Copyable {
    /// Frames that a burst has room for unless something else is said.
    @inlinable
    public static var defaultCapacity: Int { 64 }

    // SAFETY: `descriptors` is allocated here with `capacity` places and freed in the deinit; those of `first ..< end` are
    // initialised, and each is a frame that this burst owns. `pool` is kept alive by `join` and `leave`.
    @usableFromInline let pool: FramePool.Storage
    @usableFromInline let descriptors: UnsafeMutablePointer<FrameDescriptor>
    /// Frames that the burst has room for.
    public let capacity: Int
    @usableFromInline var first = 0
    @usableFromInline var end = 0

    @inlinable
    init(pool: FramePool.Storage, capacity: Int) {
        precondition(capacity > 0 && capacity <= 65_536, "a burst has room for 1 ... 65,536 frames")
        self.pool = pool
        self.capacity = capacity
        unsafe descriptors = pool.takeDescriptors(capacity)
        pool.join()
    }

    @inlinable
    deinit {
        unsafe pool.release(descriptors + first, count: end &- first)
        unsafe pool.giveDescriptors(descriptors, capacity)
        pool.leave()
    }

    /// Frames in the burst.
    @inlinable
    public var count: Int { end &- first }

    /// Whether there is none.
    @inlinable
    public var isEmpty: Bool { first == end }

    /// Whether there is no room for another frame.
    @inlinable
    public var isFull: Bool { count == capacity }

    /// Frames that there is room for.
    @inlinable
    public var room: Int { capacity &- count }

    /// Bytes of the frames in the burst.
    @inlinable
    public var byteCount: Int {
        var sum = 0
        for index in first..<end { sum &+= unsafe Int(descriptors[index].length) }
        return sum
    }

    // MARK: Frame by frame

    /// Adds a frame at the end.
    ///
    /// - Precondition: the burst is not full, and the frame is of the burst's pool.
    @inlinable
    public mutating func append(_ frame: consuming Frame) {
        precondition(unsafe frame.pool.header == pool.header, "the frame is of another pool")
        makeRoom(1)
        unsafe descriptors[end] = frame.relinquish()
        end &+= 1
    }

    /// Takes the first frame out; `nil` if there is none.
    @inlinable
    public mutating func popFirst(file: StaticString = #fileID, line: UInt = #line) -> Frame? {
        guard first < end else { return nil }
        let frame = unsafe Frame(pool: pool, descriptor: descriptors[first])
        assert(pool.note(frame.descriptor.slot, file, line))
        first &+= 1
        if first == end { (first, end) = (0, 0) }
        return frame
    }

    /// Shows `body` the first frame where it lies, and gives it back to the pool if `body` returns true. Returns whether it has; false if
    /// there is none.
    @inline(__always)
    mutating func consumeFirst(if body: (borrowing Frame) -> Bool) -> Bool {
        guard first < end else { return false }
        let frame = unsafe Frame(pool: pool, descriptor: descriptors[first])
        let isDone = body(frame)
        // It was the burst's all along.
        let slot = frame.relinquish().slot
        guard isDone else { return false }
        pool.release(slot)
        dropFirst(1)
        return true
    }

    /// Bytes that a frame of the burst's pool has room for, behind its headroom.
    @inlinable
    public var frameRoom: Int { pool.frameCapacity &- pool.frameHeadroom }

    /// Frames that the burst's pool has left.
    @inlinable
    public var freeFrames: Int { pool.freeCount }

    /// Another burst of the same pool, which is empty.
    @inlinable
    public func makeBurst(capacity: Int = Burst.defaultCapacity) -> Burst { Burst(pool: pool, capacity: capacity) }

    /// An empty frame of the burst's pool; `nil` if all are taken.
    @inlinable
    public func takeFrame(file: StaticString = #fileID, line: UInt = #line) -> Frame? {
        guard let descriptor = pool.take() else { return nil }
        assert(pool.note(descriptor.slot, file, line))
        return Frame(pool: pool, descriptor: descriptor)
    }

    /// Shows `body` each frame where it lies. Whatever `body` makes of it stays in the burst.
    @inlinable
    public mutating func changeEach<Failure>(_ body: (inout Frame) throws(Failure) -> Void) throws(Failure) {
        for index in first..<end {
            // The frame is the burst's and the closure's one after the other, and goes back even if the closure throws.
            var frame = unsafe Frame(pool: pool, descriptor: descriptors[index])
            do throws(Failure) {
                try body(&frame)
            } catch {
                unsafe descriptors[index] = frame.relinquish()
                throw error
            }
            unsafe descriptors[index] = frame.relinquish()
        }
    }

    /// Gives back the frames for which `shouldRemove` is true; the others stay, in their order. Returns how many went.
    @inlinable
    @discardableResult
    public mutating func removeAll(where shouldRemove: (inout Frame) -> Bool) -> Int {
        var kept = first
        for index in first..<end {
            var frame = unsafe Frame(pool: pool, descriptor: descriptors[index])
            if shouldRemove(&frame) { continue }
            unsafe descriptors[kept] = frame.relinquish()
            kept &+= 1
        }
        let removed = end &- kept
        end = kept
        if first == end { (first, end) = (0, 0) }
        return removed
    }

    /// Shows `body` the burst as if it had its first `count` frames only. `body` takes frames out, and adds none.
    ///
    /// - Precondition: there are so many.
    @inlinable
    public mutating func withFirst<Result>(_ count: Int, _ body: (inout Burst) -> Result) -> Result {
        precondition(count >= 0 && count <= self.count, "more frames than the burst has")
        let (rest, last) = (first &+ count, end)
        end = rest
        let result = body(&self)
        precondition(isEmpty || end == rest, "frames were added in front of others")
        if isEmpty { first = rest }
        end = last
        if first == end { (first, end) = (0, 0) }
        return result
    }

    // MARK: Many at once

    /// Takes up to `count` frames of `length` bytes from the pool and appends them, as far as there is room and the pool has
    /// some. What they hold is unspecified. Returns how many.
    ///
    /// - Precondition: `length` is at most ``frameRoom``.
    @inlinable
    @discardableResult
    public mutating func appendFrames(
        _ count: Int, length: Int, file: StaticString = #fileID, line: UInt = #line
    ) -> Int {
        precondition(count >= 0 && length >= 0 && length <= frameRoom, "a frame does not have so much room")
        let wanted = min(count, room)
        makeRoom(wanted)
        let taken = unsafe pool.take(wanted, length: UInt32(truncatingIfNeeded: length), into: descriptors + end)
        unsafe assert(pool.note(descriptors + end, count: taken, file, line))
        end &+= taken
        return taken
    }

    /// Moves up to `count` frames from the beginning of `other` to the end of this burst, as far as there is room. Returns how
    /// many.
    ///
    /// - Precondition: both are of one pool.
    @inlinable
    @discardableResult
    public mutating func moveFrames(_ count: Int = .max, from other: inout Burst) -> Int {
        precondition(unsafe other.pool.header == pool.header, "the frames are of another pool")
        let moved = min(count, room, other.count)
        makeRoom(moved)
        unsafe (descriptors + end).update(from: other.descriptors + other.first, count: moved)
        end &+= moved
        other.dropFirst(moved)
        return moved
    }

    /// Moves the first frame to the end of `other`.
    ///
    /// - Precondition: there is one, `other` has room for it, and both are of one pool.
    @inlinable
    public mutating func moveFirst(to other: inout Burst) {
        precondition(unsafe first < end && other.pool.header == pool.header, "no frame, or one of another pool")
        other.makeRoom(1)
        unsafe (other.descriptors + other.end).update(from: descriptors + first, count: 1)
        other.end &+= 1
        dropFirst(1)
    }

    /// A copy of `frame`, which may be of any pool, in a frame of this burst's; `nil` if all are taken or it is too long.
    public func copy(
        of frame: borrowing Frame, file: StaticString = #fileID, line: UInt = #line
    ) -> Frame? {
        guard frame.length <= frameRoom, var copy = takeFrame(file: file, line: line) else { return nil }
        copy.descriptor.length = frame.descriptor.length
        copy.descriptor.segmentSize = frame.descriptor.segmentSize
        copy.descriptor.mark = frame.descriptor.mark
        copy.descriptor.interface = frame.descriptor.interface
        copy.descriptor.offload = frame.descriptor.offload.subtracting(.timestamped)
        // SAFETY: both have so many bytes, and are different slots.
        unsafe pool.address(of: copy.descriptor).copyMemory(
            from: frame.pool.address(of: frame.descriptor), byteCount: frame.length)
        return copy
    }

    /// Copies frames of any pool to frames of this burst's, as far as there is room and its pool has some, and gives those of
    /// `other` back. Returns how many.
    ///
    /// It is for links that do not share an arena. A frame that is too long for this pool stays, and ends the copying.
    public mutating func copyFrames(from other: inout Burst) -> Int {
        var copied = 0
        while !isFull, let frame = other.popFirst() {
            guard let copy = copy(of: frame) else {
                other.putBack(frame)
                break
            }
            append(copy)
            copied += 1
        }
        return copied
    }

    /// Puts the frame that was taken out last back to where it was.
    mutating func putBack(_ frame: consuming Frame) {
        // It was the last one, so that the burst began anew; otherwise its place is still there.
        if first == 0 { (first, end) = (1, 1 + end) }
        first &-= 1
        unsafe descriptors[first] = frame.relinquish()
    }

    /// Gives the first `count` frames back to the pool.
    ///
    /// - Precondition: there are so many.
    @inlinable
    public mutating func removeFirst(_ count: Int) {
        precondition(count >= 0 && count <= self.count, "more frames than the burst has")
        unsafe pool.release(descriptors + first, count: count)
        dropFirst(count)
    }

    /// Gives all frames back to the pool.
    @inlinable
    public mutating func removeAll() { removeFirst(count) }

    /// Whether the frames of both are of one pool.
    @inlinable
    public func sharesPool(with other: borrowing Burst) -> Bool { unsafe pool.header == other.pool.header }

    /// Whether the frames of both lie in one arena, so that a slot of one means the same to the other.
    @inlinable
    public func sharesArena(with other: borrowing Burst) -> Bool {
        unsafe pool.header.pointee.arena == other.pool.header.pointee.arena
    }

    /// Sees to room for `count` frames behind the last one.
    @inlinable
    mutating func makeRoom(_ count: Int) {
        if count > capacity &- end { moveToStart(count) }
    }

    @usableFromInline
    mutating func moveToStart(_ count: Int) {
        precondition(count <= room, "a burst takes no more frames than it was made for")
        unsafe descriptors.update(from: descriptors + first, count: end - first)
        (first, end) = (0, end - first)
    }

    /// Forgets the first `count` frames, which belong to somebody else now.
    @inlinable
    mutating func dropFirst(_ count: Int) {
        first &+= count
        if first == end { (first, end) = (0, 0) }
    }
}
