// The memory that frames lie in, mapped from the kernel: huge pages where there are any, locked if the limit allows.

internal import CMartlet
internal import Glibc
public import MartletStack
internal import Synchronization

/// Memory for frames, cut into slots, of which one pool or several are made.
///
/// A core has a pool of its own. Cores that are to exchange frames by swapping indices have pools over one arena: each gets a
/// share of the slots to begin with.
///
/// The memory is unmapped when the arena, its pools and their bursts are gone.
@safe public final class FrameArena: @unchecked Sendable {
    /// Which pages to try, from the best to what there always is.
    public enum Preference: Sendable {
        /// The machine's huge pages, then transparent ones, then plain ones.
        case huge
        /// Transparent huge pages, then plain ones.
        case transparentHuge
        case plain
    }

    // SAFETY: the memory is mapped here and unmapped in the deinit; each pool retains the arena until its last burst is gone.
    private let mapped: martlet_arena
    private let nextSlot = Atomic<Int>(0)

    /// Slots in all.
    public let count: Int
    /// Bytes of a slot, headroom included.
    public let frameCapacity: Int
    /// Bytes of a slot before the packet of a frame that is taken.
    public let headroom: Int
    /// What the memory became.
    public let memory: ArenaMemory

    /// Maps memory for `count` frames of `capacity` bytes each, headroom included.
    ///
    /// - Parameters:
    ///   - pages: The pages to try first.
    ///   - locked: Whether to lock them as far as `RLIMIT_MEMLOCK` allows. Locked memory is there from the start.
    /// - Throws: ``LinkError/outOfMemory(bytes:)``.
    public init(
        count: Int, capacity: Int = 2048, headroom: Int = FramePool.defaultHeadroom, pages: Preference = .huge,
        locked: Bool = true
    ) throws(LinkError) {
        precondition(
            count > 0 && count <= Int(Int32.max) && capacity >= 256, "an arena has frames of 256 bytes or more")
        let wanted =
            switch pages {
            case .huge: MARTLET_PAGES_HUGE
            case .transparentHuge: MARTLET_PAGES_TRANSPARENT_HUGE
            case .plain: MARTLET_PAGES_PLAIN
            }
        var mapped = unsafe martlet_arena()
        guard unsafe martlet_arena_map(count * capacity, wanted, locked, &mapped) == 0 else {
            throw .outOfMemory(bytes: count * capacity)
        }
        unsafe self.mapped = mapped
        self.count = count
        frameCapacity = capacity
        self.headroom = headroom
        let became: ArenaMemory.Pages =
            switch unsafe mapped.pages {
            case MARTLET_PAGES_HUGE: .huge
            case MARTLET_PAGES_TRANSPARENT_HUGE: .transparentHuge
            default: .plain
            }
        memory = unsafe ArenaMemory(pages: became, isLocked: mapped.locked)
    }

    deinit { unsafe martlet_arena_unmap(mapped.address, mapped.size) }

    /// A pool that begins with `share` of the slots that no pool has been given yet; with all of them if nil.
    ///
    /// It may be called on any thread, and each pool belongs to one.
    ///
    /// - Precondition: there are so many slots left.
    public func makePool(share: Int? = nil) -> FramePool {
        let wanted = share ?? count - nextSlot.load(ordering: .relaxed)
        let first = nextSlot.add(wanted, ordering: .relaxed).oldValue
        let end = first + wanted
        precondition(wanted >= 0 && end <= count, "more slots than the arena has left")
        return unsafe FramePool(
            arena: mapped.address, count: count, capacity: frameCapacity, headroom: headroom, slots: first..<end,
            memory: memory, owner: Unmanaged.passRetained(self).toOpaque()
        ) { unsafe Unmanaged<FrameArena>.fromOpaque($0!).release() }
    }
}

extension FramePool {
    /// A pool over an arena of its own, which is mapped as ``FrameArena`` says.
    ///
    /// - Throws: ``LinkError/outOfMemory(bytes:)``.
    public static func mapped(
        count: Int, capacity: Int = 2048, headroom: Int = FramePool.defaultHeadroom,
        pages: FrameArena.Preference = .huge,
        locked: Bool = true
    ) throws(LinkError) -> FramePool {
        try FrameArena(count: count, capacity: capacity, headroom: headroom, pages: pages, locked: locked).makePool()
    }
}
