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

    /// Moves `count` slots of the arena into this pool's account, or out of it if negative: they are out, and come from, or
    /// are on their way to, another pool over the same arena.
    @unsafe
    @inlinable
    public func adoptSlots(_ count: Int) { unsafe pool.header.pointee.count &+= count }
}
