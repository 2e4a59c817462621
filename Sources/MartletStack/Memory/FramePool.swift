// The frames of a core: one arena cut into slots of one size, and a stack of those that are free.
//
// The slot that was released last is the one taken next, because it is the one still in the cache.

/// Fixed slots for frames, allocated once. Taking and releasing are O(1) and never allocate.
///
/// A pool belongs to one thread at a time, with its frames. It must outlive them: a pool that goes away while frames are out
/// traps, says how many, and in a debug build also who took them. Bursts may outlive it as long as they are empty.
public struct FramePool: ~Copyable {
    /// Bytes before a received or taken packet: room for Ethernet with a VLAN tag, IPv6 and TCP with all options, rounded up.
    public static var defaultHeadroom: Int { 128 }

    @usableFromInline let storage: Storage

    /// A pool of `count` frames with `capacity` bytes each, headroom included, in memory of its own.
    ///
    /// - Precondition: there are 1 ... 2³¹ frames, of 256 bytes or more each.
    public init(count: Int, capacity: Int = 2048, headroom: Int = FramePool.defaultHeadroom) {
        storage = unsafe Storage(
            arena: .allocate(byteCount: count * capacity, alignment: 64), slots: 0..<count, of: count,
            capacity: capacity, headroom: headroom, memory: ArenaMemory(pages: .heap), owner: nil,
            release: nil)
    }

    /// A pool in memory that somebody else has mapped: huge pages, or what the kernel shares.
    ///
    /// `release` is called with `owner` when the pool and its last burst are gone.
    ///
    /// - Parameters:
    ///   - slots: The slots that are the pool's at first; all of them if nil. Two threads that exchange frames have a pool each
    ///     over one arena, and share its slots out between them.
    /// - Precondition: `arena` has `count * capacity` bytes, and lives until `release` is called.
    @unsafe
    public init(
        arena: UnsafeMutableRawPointer, count: Int, capacity: Int, headroom: Int = FramePool.defaultHeadroom,
        slots: Range<Int>? = nil, memory: ArenaMemory = ArenaMemory(pages: .plain),
        owner: UnsafeMutableRawPointer? = nil,
        release: @escaping @convention(c) (UnsafeMutableRawPointer?) -> Void = { _ in }
    ) {
        storage = unsafe Storage(
            arena: arena, slots: slots ?? 0..<count, of: count, capacity: capacity, headroom: headroom, memory: memory,
            owner: owner, release: release)
    }

    deinit { storage.poolIsGone() }

    /// Frames that are not taken.
    @inlinable
    public var freeCount: Int { storage.freeCount }

    /// Frames in all. Where pools share an arena: those that are this pool's, in it or out of it.
    @inlinable
    public var count: Int { storage.count }

    /// Bytes of a slot, headroom included.
    @inlinable
    public var frameCapacity: Int { storage.frameCapacity }

    /// Bytes of a slot before the packet of a frame that is taken.
    @inlinable
    public var headroom: Int { storage.frameHeadroom }

    /// What the arena's memory is.
    public var memory: ArenaMemory { unsafe storage.header.pointee.memory }

    /// An empty frame behind the pool's headroom; `nil` if all are taken. What its memory holds is unspecified.
    @inlinable
    public func take(file: StaticString = #fileID, line: UInt = #line) -> Frame? {
        guard let descriptor = storage.take() else { return nil }
        assert(storage.note(descriptor.slot, file, line))
        return Frame(pool: storage, descriptor: descriptor)
    }

    /// An empty burst whose frames are of this pool, with room for `capacity` of them. It allocates,
    /// unless the capacity is the usual one and a burst of that capacity has been dropped before.
    ///
    /// - Precondition: the capacity is 1 ... 65,536.
    @inlinable
    public func makeBurst(capacity: Int = Burst.defaultCapacity) -> Burst { Burst(pool: storage, capacity: capacity) }

    /// Who took the frames that are out, by line of source, the most first; empty if none are. Only debug builds know it: in
    /// others it says how many they are.
    ///
    /// A frame's taker is who took it from the pool, or out of a burst after that.
    public var framesOut: String { storage.framesOut }
}

/// What memory an arena is made of.
public struct ArenaMemory: Sendable, Hashable, CustomStringConvertible {
    /// Kinds of memory.
    public enum Pages: Sendable, Hashable {
        /// The allocator's.
        case heap
        /// Mapped, in pages of the usual size.
        case plain
        /// Mapped, and the kernel was asked to use huge pages where it can.
        case transparentHuge
        /// Huge pages, from the machine's reserve of them.
        case huge
    }

    /// Where the memory comes from.
    public var pages: Pages
    /// Whether it is locked: it is never paged out.
    public var isLocked: Bool

    /// Memory of these pages.
    public init(pages: Pages, isLocked: Bool = false) {
        self.pages = pages
        self.isLocked = isLocked
    }

    /// In words, for logs.
    public var description: String {
        let name =
            switch pages {
            case .heap: "heap memory"
            case .plain: "plain pages"
            case .transparentHuge: "transparent huge pages"
            case .huge: "huge pages"
            }
        return isLocked ? name + ", locked" : name
    }
}
