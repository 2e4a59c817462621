// Frames as descriptors: for links that keep them in rings, where the kernel or another core sees them.
//
// The compiler follows frames and bursts. It does not follow descriptors, so everything here says `unsafe`: what was
// relinquished must come back once, to the same arena.

extension FramePool {
    /// The arena: `slotCount * frameCapacity` bytes.
    @unsafe
    public var arena: UnsafeMutableRawPointer { unsafe storage.header.pointee.arena }

    /// Slots of the arena, of this pool and of others that share it.
    public var slotCount: Int { unsafe storage.header.pointee.slotCount }
}

extension Burst {
    /// The arena of the burst's pool.
    @unsafe
    @inlinable
    public var arena: UnsafeMutableRawPointer { unsafe pool.header.pointee.arena }

    /// Slots of the arena.
    @inlinable
    public var slotCount: Int { unsafe pool.header.pointee.slotCount }

    /// Bytes of a slot, headroom included.
    @inlinable
    public var frameCapacity: Int { pool.frameCapacity }

    /// Bytes of a slot before the packet of a frame that is taken.
    @inlinable
    public var frameHeadroom: Int { pool.frameHeadroom }

    /// The descriptors of the frames in the burst. They may be changed, as long as each stays within its slot and none is
    /// there twice.
    @unsafe
    @inlinable
    public mutating func withDescriptors<Result>(_ body: (UnsafeMutableBufferPointer<FrameDescriptor>) -> Result)
        -> Result
    {
        unsafe body(UnsafeMutableBufferPointer(start: descriptors + first, count: count))
    }

    /// Shows `body` room for up to `wanted` descriptors behind the last frame. The first ones, as many as it returns, then are
    /// frames of the burst: `body` has initialised them, and owned the slots.
    @unsafe
    @inlinable
    public mutating func appendDescriptors(
        _ wanted: Int, file: StaticString = #fileID, line: UInt = #line,
        _ body: (UnsafeMutableBufferPointer<FrameDescriptor>) -> Int
    ) -> Int {
        let places = min(wanted, room)
        makeRoom(places)
        let count = unsafe body(UnsafeMutableBufferPointer(start: descriptors + end, count: places))
        precondition(count >= 0 && count <= places, "more descriptors than there was room for")
        unsafe assert(pool.note(descriptors + end, count: count, file, line))
        end &+= count
        return count
    }

    /// Gives up the first `count` frames: whoever has copied their descriptors owes them to the pool now.
    @unsafe
    @inlinable
    public mutating func relinquishFirst(_ count: Int) {
        precondition(count >= 0 && count <= self.count, "more frames than the burst has")
        dropFirst(count)
    }

    /// Takes up to `target.count` frames from the pool as descriptors, which the caller owes to it. Returns how many.
    @unsafe
    @inlinable
    public func takeDescriptors(
        into target: UnsafeMutableBufferPointer<FrameDescriptor>, file: StaticString = #fileID, line: UInt = #line
    ) -> Int {
        guard let base = target.baseAddress else { return 0 }
        let count = unsafe pool.take(target.count, length: 0, into: base)
        unsafe assert(pool.note(base, count: count, file, line))
        return count
    }

    /// Takes a slot from the pool, which the caller owes to it; nil if all are taken.
    @unsafe
    @inlinable
    public func takeSlot(file: StaticString = #fileID, line: UInt = #line) -> UInt32? {
        guard let descriptor = pool.take() else { return nil }
        assert(pool.note(descriptor.slot, file, line))
        return descriptor.slot
    }

    /// Gives a slot that was taken, or that came with a relinquished frame, back to the pool.
    @unsafe
    @inlinable
    public func releaseSlot(_ slot: UInt32) { pool.release(slot) }

    /// Takes a slot that came from another pool over the same arena, and is nobody's, into this one.
    @unsafe
    public func adoptSlot(_ slot: UInt32) {
        precondition(slot < slotCount, "a slot beyond the arena")
        unsafe pool.header.pointee.count += 1
        unsafe pool.header.pointee.free[pool.freeCount] = slot
        unsafe pool.header.pointee.freeCount += 1
    }

    /// Puts a free slot of the pool into a ring's position that has none. Returns false if all are taken.
    @unsafe
    public func stock(_ position: UnsafeMutablePointer<FrameDescriptor>) -> Bool {
        guard let descriptor = pool.take() else { return false }
        unsafe position.pointee = descriptor
        unsafe pool.header.pointee.count -= 1
        return true
    }

    /// Shows `body` the frame in a ring's position. What `body` leaves there, which may be another frame of the pool, is the ring's.
    @unsafe
    public func withFrame<Result>(
        at position: UnsafeMutablePointer<FrameDescriptor>, file: StaticString = #fileID, line: UInt = #line,
        _ body: (inout Frame) -> Result
    ) -> Result {
        unsafe assert(pool.note(position.pointee.slot, file, line))
        var frame = unsafe Frame(pool: pool, descriptor: position.pointee)
        let result = body(&frame)
        precondition(unsafe frame.pool.header == pool.header, "the frame is of another pool")
        unsafe position.pointee = frame.relinquish()
        unsafe assert(pool.lend(position.pointee.slot))
        return result
    }

    /// Shows `body` the bytes of the frame in a ring's position.
    @unsafe
    public func withBytes<Result>(
        at position: UnsafeMutablePointer<FrameDescriptor>, _ body: (RawSpan) -> Result
    ) -> Result {
        let start = unsafe pool.address(of: position.pointee)
        let bytes = unsafe RawSpan(_unsafeStart: start, byteCount: Int(position.pointee.length))
        return body(bytes)
    }

    // MARK: Swapping with a ring's positions

    /// Puts the first `count` frames into `positions`, and takes the free slots that lay there into the pool instead. A
    /// position that has none yet holds ``FrameDescriptor/noSlot``: the pool has one slot less then.
    @unsafe
    @inlinable
    public mutating func swapFirst(_ count: Int, into positions: UnsafeMutablePointer<FrameDescriptor>) {
        precondition(count >= 0 && count <= self.count, "more frames than the burst has")
        let header = unsafe pool.header
        let source = unsafe descriptors + first
        var free = unsafe header.pointee.freeCount
        for index in 0..<count {
            let slot = unsafe positions[index].slot
            unsafe positions[index] = source[index]
            unsafe assert(pool.lend(source[index].slot))
            guard slot != FrameDescriptor.noSlot else {
                unsafe header.pointee.count &-= 1
                continue
            }
            unsafe header.pointee.free[free] = slot
            free &+= 1
        }
        unsafe header.pointee.freeCount = free
        dropFirst(count)
    }

    /// Appends the frames in `positions`, up to `count` of them, and leaves a free slot of the pool in the place of each. It is
    /// fewer if there is no room for them, or the pool has fewer to give. Returns how many.
    @unsafe
    @inlinable
    public mutating func appendSwapping(
        _ count: Int, from positions: UnsafeMutablePointer<FrameDescriptor>, file: StaticString = #fileID,
        line: UInt = #line
    ) -> Int {
        let header = unsafe pool.header
        let count = unsafe min(count, room, header.pointee.freeCount)
        makeRoom(count)
        let target = unsafe descriptors + end
        let left = unsafe header.pointee.freeCount &- count
        let free = unsafe header.pointee.free + left
        for index in 0..<count {
            unsafe target[index] = positions[index]
            unsafe positions[index].slot = free[index]
        }
        unsafe header.pointee.freeCount = left
        unsafe assert(pool.note(target, count: count, file, line))
        end &+= count
        return count
    }
}

/// Where the slots of an arena lie: for those who copy frames into it from another.
@safe
public struct FrameSlots: BitwiseCopyable, Sendable {
    // SAFETY: whoever copies keeps the arena alive, and owns the slots that it copies to.
    fileprivate let arena: UInt
    fileprivate let capacity: Int
    fileprivate let headroom: Int

    /// Bytes of the longest frame that a slot has room for, behind its headroom.
    public var frameRoom: Int { capacity - headroom }
}

extension Burst {
    /// Where the slots of the burst's pool lie.
    public var slots: FrameSlots {
        FrameSlots(
            arena: unsafe UInt(bitPattern: pool.header.pointee.arena), capacity: pool.frameCapacity,
            headroom: pool.frameHeadroom)
    }

    /// Copies the first `count` frames, which may be of any arena, into the slots that lie in `positions`, and gives the frames back to
    /// their pool. What was left to a link is done with: the checksum of a frame that has been in this machine's memory
    /// alone counts as verified.
    ///
    /// - Precondition: there are so many, and none is longer than ``FrameSlots/frameRoom``.
    @unsafe
    public mutating func copyFirst(
        _ count: Int, into positions: UnsafeMutablePointer<FrameDescriptor>, of slots: FrameSlots
    ) {
        precondition(count >= 0 && count <= self.count, "more frames than the burst has")
        guard let arena = unsafe UnsafeMutableRawPointer(bitPattern: slots.arena) else { return }
        for index in 0..<count {
            var frame = unsafe descriptors[first &+ index]
            precondition(Int(frame.length) <= slots.frameRoom, "a frame that is longer than a slot")
            let slot = unsafe positions[index].slot
            unsafe (arena + (Int(slot) &* slots.capacity &+ slots.headroom)).copyMemory(
                from: pool.address(of: frame), byteCount: Int(frame.length))
            (frame.slot, frame.start, frame.mark, frame.interface) = (slot, UInt16(slots.headroom), 0, 0)
            let isTrusted = !frame.offload.isDisjoint(with: [.checksumPartial, .checksumVerified])
            frame.offload = isTrusted ? .checksumVerified : []
            unsafe positions[index] = frame
        }
        removeFirst(count)
    }
}

extension FrameDescriptor {
    /// The slot of a ring's position that no slot has come to yet.
    @inlinable
    public static var noSlot: UInt32 { .max }
}
