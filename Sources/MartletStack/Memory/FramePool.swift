// The frames of a core: one arena cut into slots of one size, and a stack of those that are free.
//
// The slot that was released last is the one taken next, because it is the one still in the cache.

/// Fixed slots for frames, allocated once. Taking and releasing are O(1) and never allocate.
///
/// A pool belongs to one thread at a time, with its frames. It must outlive them: a pool that goes away while frames are out
/// traps, and says how many.
public struct FramePool: ~Copyable {
    /// Bytes before a received or taken packet: room for Ethernet with a VLAN tag, IPv6 and TCP with all options, rounded up.
    public static var defaultHeadroom: Int { 128 }

    @usableFromInline let storage: Storage

    /// A pool of `count` frames with `capacity` bytes each, headroom included, in memory of its own.
    ///
    /// - Precondition: there are 1 ... 2³¹ frames, of 256 bytes or more each.
    public init(count: Int, capacity: Int = 2048, headroom: Int = FramePool.defaultHeadroom) {
        precondition(count > 0 && count <= Int(Int32.max), "a pool has 1 ... 2³¹ frames")
        precondition(
            capacity >= 256 && headroom >= 0 && headroom < capacity && headroom <= Int(UInt16.max),
            "a slot has 256 bytes or more, and its headroom fits in")
        storage = unsafe Storage(
            arena: .allocate(byteCount: count * capacity, alignment: 64), ownsArena: true,
            count: count, capacity: capacity, headroom: headroom)
    }

    /// A pool in memory that somebody else maps and unmaps: huge pages, or what the kernel shares.
    ///
    /// - Precondition: `arena` has `count * capacity` bytes and outlives the pool.
    @unsafe
    public init(arena: UnsafeMutableRawPointer, count: Int, capacity: Int, headroom: Int = FramePool.defaultHeadroom) {
        precondition(count > 0 && capacity >= 256 && headroom < capacity && headroom <= Int(UInt16.max))
        storage = unsafe Storage(
            arena: arena, ownsArena: false, count: count, capacity: capacity, headroom: headroom)
    }

    @inlinable
    deinit { storage.free() }

    /// Frames that are not taken.
    @inlinable
    public var freeCount: Int { storage.freeCount }

    /// Frames in all.
    @inlinable
    public var count: Int { storage.count }

    /// Bytes of a slot, headroom included.
    @inlinable
    public var frameCapacity: Int { storage.frameCapacity }

    /// An empty frame behind the pool's headroom; `nil` if all are taken. What its memory holds is unspecified.
    @inlinable
    public func take() -> Frame? {
        guard let descriptor = storage.take() else { return nil }
        return Frame(pool: storage, descriptor: descriptor)
    }

    /// An empty burst whose frames are of this pool.
    @inlinable
    public func makeBurst() -> Burst { Burst(pool: storage) }

    /// The pool's memory, as frames see it: a pointer that owns nothing.
    @safe
    @usableFromInline
    struct Storage: BitwiseCopyable {
        // SAFETY: `header` is allocated by the pool and freed by it alone, after the last frame has come back. Slots are
        // taken from the free stack and put back once each, because a Frame is consumed once.
        @usableFromInline let header: UnsafeMutablePointer<Header>

        @safe
        @usableFromInline
        struct Header {
            @usableFromInline let arena: UnsafeMutableRawPointer
            @usableFromInline let free: UnsafeMutablePointer<UInt32>
            @usableFromInline var freeCount: Int
            @usableFromInline let count: Int
            @usableFromInline let capacity: Int
            @usableFromInline let headroom: UInt16
            @usableFromInline let ownsArena: Bool
        }

        init(arena: UnsafeMutableRawPointer, ownsArena: Bool, count: Int, capacity: Int, headroom: Int) {
            let free = UnsafeMutablePointer<UInt32>.allocate(capacity: count)
            for index in 0..<count { unsafe (free + index).initialize(to: UInt32(count - 1 - index)) }
            unsafe header = .allocate(capacity: 1)
            unsafe header.initialize(
                to: Header(
                    arena: arena, free: free, freeCount: count, count: count, capacity: capacity,
                    headroom: UInt16(headroom), ownsArena: ownsArena))
        }

        @usableFromInline
        func free() {
            let out = count - freeCount
            precondition(out == 0, "a frame pool goes away while \(out) of its frames are still out")
            if unsafe header.pointee.ownsArena { unsafe header.pointee.arena.deallocate() }
            unsafe header.pointee.free.deallocate()
            unsafe header.deallocate()
        }

        @inlinable var freeCount: Int { unsafe header.pointee.freeCount }
        @inlinable var count: Int { unsafe header.pointee.count }
        @inlinable var frameCapacity: Int { unsafe header.pointee.capacity }
        @inlinable var frameHeadroom: Int { unsafe Int(header.pointee.headroom) }

        @inlinable
        func take() -> FrameDescriptor? {
            let left = unsafe header.pointee.freeCount &- 1
            guard left >= 0 else { return nil }
            unsafe header.pointee.freeCount = left
            var descriptor = FrameDescriptor()
            descriptor.slot = unsafe header.pointee.free[left]
            descriptor.start = unsafe header.pointee.headroom
            return descriptor
        }

        @inlinable
        func release(_ slot: UInt32) {
            let position = unsafe header.pointee.freeCount
            assert(position < count, "a frame released twice")
            unsafe header.pointee.free[position] = slot
            unsafe header.pointee.freeCount = position &+ 1
        }

        @inlinable
        func address(of descriptor: FrameDescriptor) -> UnsafeMutableRawPointer {
            unsafe header.pointee.arena + (Int(descriptor.slot) &* header.pointee.capacity &+ Int(descriptor.start))
        }
    }
}
