// Where the byte rings of a core come from: one arena, cut in halves and joined again (Knuth, TAOCP 1, §2.5, the buddy system).
//
// Rings differ by a factor of thousands: an interactive connection has a block waiting, a long fat pipe has megabytes. Lists of
// fixed sizes would have to guess how many of each; halving and joining lets the same memory serve either. A ring is taken
// when bytes begin to wait and given back when none do, so that it is sized by bytes that wait, not by connections.

/// One arena of byte rings, whose sizes are powers of two. Taking and giving back are O(log of the arena's blocks).
@safe
@usableFromInline
struct RingMemory: ~Copyable {
    /// Bytes of the smallest ring.
    @inlinable
    static var blockSize: Int { 2048 }

    /// A block is free, taken, or inside of a larger one; the free ones of an order are linked.
    @usableFromInline
    struct Block: BitwiseCopyable {
        @usableFromInline var next: UInt32 = .max
        @usableFromInline var previous: UInt32 = .max
        /// The order of the free or taken run that starts here.
        @usableFromInline var order: UInt8 = 0
        @usableFromInline var isFree = false

        @inlinable
        init() {}
    }

    // SAFETY: `arena`, `blocks`, `free` and `spare` are allocated here and freed in the deinit. Rings name blocks by index; `take`
    // gives a run of blocks to one owner, and `release` checks that it is taken. `free` has a place for each order, 0 ..< 32;
    // `spare` has `spareLimit` places, of which the first `spareCount` are in use.
    @usableFromInline let arena: UnsafeMutableRawPointer
    @usableFromInline let blocks: UnsafeMutablePointer<Block>
    @usableFromInline let blockCount: Int
    /// For each order, the first free run; `.max` if there is none. Not inline: what is copied to find a ring's address
    /// stays small.
    @usableFromInline let free: UnsafeMutablePointer<UInt32>
    /// The orders that have a free run.
    @usableFromInline var orders: UInt32 = 0
    /// Single blocks that were given back last. Most connections take one for a message and give it back at once, so these are
    /// not joined with their neighbours before a longer run is wanted than there is.
    @usableFromInline let spare: UnsafeMutablePointer<UInt32>
    private var spareCount = 0
    private static var spareLimit: Int { 64 }
    /// The order of a block that is neither taken nor free, but spare.
    private static var spareOrder: UInt8 { 254 }

    /// Bytes of all rings that are taken.
    private(set) var bytesTaken = 0

    /// Bytes of the arena.
    @inlinable
    var byteCount: Int { blockCount &* RingMemory.blockSize }

    /// An arena of `byteCount` bytes, rounded down to blocks of 2 KiB. It is not touched before it is used.
    ///
    /// - Precondition: it is 2 KiB ... 4 TiB.
    init(byteCount: Int) {
        blockCount = byteCount / RingMemory.blockSize
        precondition(blockCount > 0 && blockCount < Int(Int32.max), "ring memory has 2 KiB ... 4 TiB")
        unsafe arena = .allocate(byteCount: blockCount * RingMemory.blockSize, alignment: 64)
        unsafe blocks = .allocate(capacity: blockCount)
        unsafe blocks.initialize(repeating: Block(), count: blockCount)
        unsafe free = .allocate(capacity: 32)
        unsafe free.initialize(repeating: .max, count: 32)
        unsafe spare = .allocate(capacity: Self.spareLimit)
        // The largest runs that fit, from the start: each is aligned to its own size.
        var block = 0
        while block < blockCount {
            let alignment = block == 0 ? 31 : block.trailingZeroBitCount
            let order = min(alignment, Int.bitWidth - 1 - (blockCount - block).leadingZeroBitCount)
            link(UInt32(block), order: UInt8(order))
            block += 1 << order
        }
    }

    @inlinable
    deinit {
        unsafe arena.deallocate()
        unsafe blocks.deallocate()
        unsafe free.deallocate()
        unsafe spare.deallocate()
    }

    /// The order of the smallest ring that holds so many bytes.
    @inline(__always)
    static func order(ofBytes count: Int) -> UInt8 {
        let wanted = (max(count, 1) &- 1) / RingMemory.blockSize
        return UInt8(truncatingIfNeeded: Int.bitWidth &- wanted.leadingZeroBitCount)
    }

    /// A ring of at least `capacity` bytes, rounded up to a power of two; `nil` if no free run is so long.
    @inline(__always)
    mutating func take(atLeast capacity: Int) -> ByteRing? {
        capacity <= RingMemory.blockSize && spareCount > 0 ? takeSpare() : takeRun(atLeast: capacity)
    }

    private mutating func takeRun(atLeast capacity: Int) -> ByteRing? {
        let order = Int(Self.order(ofBytes: capacity))
        guard order < 32 else { return nil }
        if orders >> UInt32(order) == 0 { joinSpare() }
        let fitting = orders & (UInt32.max << UInt32(order))
        guard fitting != 0 else { return nil }
        var found = fitting.trailingZeroBitCount
        let block = unsafe free[found]
        unlink(block)
        while found > order {
            found &-= 1
            link(block &+ 1 &<< UInt32(found), order: UInt8(found))
        }
        unsafe blocks[Int(block)].order = UInt8(order)
        bytesTaken += RingMemory.blockSize << order
        return ByteRing(block: block, order: UInt8(order))
    }

    /// Takes back a ring.
    ///
    /// - Precondition: the ring is taken.
    @usableFromInline
    mutating func release(_ ring: ByteRing) {
        guard !ring.isNone else { return }
        unsafe precondition(
            Int(ring.block) < blockCount && !blocks[Int(ring.block)].isFree
                && blocks[Int(ring.block)].order == ring.order,
            "a ring given back twice")
        bytesTaken -= RingMemory.blockSize << Int(ring.order)
        if ring.order == 0, spareCount < Self.spareLimit {
            unsafe blocks[Int(ring.block)].order = Self.spareOrder
            unsafe spare[spareCount] = ring.block
            spareCount += 1
        } else {
            join(ring.block, order: ring.order)
        }
    }

    @inline(__always)
    private mutating func takeSpare() -> ByteRing {
        spareCount -= 1
        let block = unsafe spare[spareCount]
        unsafe blocks[Int(block)].order = 0
        bytesTaken += RingMemory.blockSize
        return ByteRing(block: block, order: 0)
    }

    private mutating func joinSpare() {
        while spareCount > 0 {
            spareCount -= 1
            unsafe join(spare[spareCount], order: 0)
        }
    }

    /// Makes a run free, and joins it with its neighbour as often as that is free and as long.
    private mutating func join(_ first: UInt32, order ofFirst: UInt8) {
        var block = first
        var order = ofFirst
        while order < 31 {
            let neighbour = block ^ (1 &<< UInt32(order))
            guard Int(neighbour) + 1 << Int(order) <= blockCount else { break }
            let other = unsafe blocks[Int(neighbour)]
            guard other.isFree, other.order == order else { break }
            unlink(neighbour)
            block = min(block, neighbour)
            order &+= 1
        }
        link(block, order: order)
    }

    @inlinable
    func address(of ring: ByteRing) -> UnsafeMutableRawPointer {
        unsafe arena + Int(ring.block) &* RingMemory.blockSize
    }

    private mutating func link(_ block: UInt32, order: UInt8) {
        let next = unsafe free[Int(order)]
        var entry = Block()
        (entry.next, entry.order, entry.isFree) = (next, order, true)
        unsafe blocks[Int(block)] = entry
        if next != .max { unsafe blocks[Int(next)].previous = block }
        unsafe free[Int(order)] = block
        orders |= 1 &<< UInt32(order)
    }

    private mutating func unlink(_ block: UInt32) {
        let entry = unsafe blocks[Int(block)]
        unsafe blocks[Int(block)].isFree = false
        if entry.previous != .max {
            unsafe blocks[Int(entry.previous)].next = entry.next
        } else {
            unsafe free[Int(entry.order)] = entry.next
            if entry.next == .max { orders &= ~(1 &<< UInt32(entry.order)) }
        }
        if entry.next != .max { unsafe blocks[Int(entry.next)].previous = entry.previous }
    }
}
