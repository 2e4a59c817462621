// Receive buffers. A slab is one buffer; the pool numbers them, and a number is what the drivers and the connections pass
// around. A slab is with the driver (to be filled), held by a connection (unread bytes), or lent to the program as `Bytes`.
//
//         ┌────────── free ◀──────────┐
//         ▼                           │
//     driver ── filled ──▶ unread ── lent
//
// A lent slab comes back when the program's last `Bytes` over it is gone. Nobody is told: the pool looks, once a round, at
// the reference counts of what is lent, so lending costs no allocation. Nor does it count: the pool takes references in
// advance, many in one step, and lends them one by one. That saves 80 of 600 cycles a message.

internal import CMartlet
internal import Synchronization

/// One buffer of raw memory that lives as long as somebody refers to it.
@safe final class Slab: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let capacity: Int

    init(capacity: Int) {
        unsafe base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
        self.capacity = capacity
    }

    deinit { unsafe base.deallocate() }
}

/// A slab's place in the pool.
private struct SlabState: BitwiseCopyable {
    /// The next slab of the same connection's unread queue.
    var next: Int32 = -1
    var start: Int32 = 0
    var end: Int32 = 0
    /// Rounds that the slab has been lent for, saturating.
    var age: Int32 = 0
    /// References to the slab that the pool has taken in advance and not yet lent.
    var spare: Int32 = 0
}

@safe struct SlabPool: ~Copyable {
    /// Slabs have numbers of 16 bits (IORING_CQE_BUFFER_SHIFT).
    static let hardLimit = 65_536
    /// References that the pool takes at a time.
    private static let referencesInAdvance: Int32 = 256

    // First, or the thread sanitizer crashes Swift 6.3's compiler on accesses in place.
    private let slabs: UnsafeMutablePointer<Slab>
    let slabCapacity: Int
    let maximum: Int
    private(set) var count: Int
    /// Slabs taken out of circulation because the program held on to their bytes, and replaced by new ones.
    private(set) var replaced: UInt64 = 0
    /// Deliveries that copied a small message out because free slabs were short.
    private(set) var copied: UInt64 = 0

    private let states: UnsafeMutablePointer<SlabState>
    private let free: UnsafeMutablePointer<Int32>
    private(set) var freeCount: Int
    private let lent: UnsafeMutablePointer<Int32>
    private var lentCount = 0
    /// Slabs that the io_uring driver has given to the kernel.
    private(set) var provided = 0
    /// How many of them it filled in this round, and in the busiest of the last rounds.
    private var filled = 0
    private var recentPeak = 0

    init(initial: Int, maximum: Int, slabCapacity: Int) {
        self.slabCapacity = slabCapacity
        self.maximum = maximum
        unsafe slabs = .allocate(capacity: Self.hardLimit)
        unsafe states = .allocate(capacity: Self.hardLimit)
        unsafe free = .allocate(capacity: Self.hardLimit)
        unsafe lent = .allocate(capacity: Self.hardLimit)
        count = 0
        freeCount = 0
        grow(to: min(initial, maximum))
    }

    deinit {
        for index in 0..<count { unsafe martlet_release(object(index), UInt32(states[index].spare)) }
        unsafe slabs.deinitialize(count: count)
        unsafe slabs.deallocate()
        unsafe states.deallocate()
        unsafe free.deallocate()
        unsafe lent.deallocate()
    }

    /// Slabs that could be filled now.
    var available: Int { freeCount + provided }

    /// Whether so few slabs can be filled that connections nobody reads from must not take any.
    var isUnderPressure: Bool { count >= maximum && available < maximum / 4 }

    /// Doubles the pool, up to its maximum. Returns whether it grew.
    mutating func grow() -> Bool {
        guard count < maximum else { return false }
        grow(to: min(count * 2, maximum))
        return true
    }

    /// Adds an eighth although the maximum is reached: all slabs hold bytes that nobody reads, and those who do read must go
    /// on. How far this goes is bounded by what connections may leave unread. Returns whether there was room for any.
    mutating func exceedMaximum() -> Bool {
        guard count < Self.hardLimit else { return false }
        grow(to: min(count + max(1, maximum / 8), Self.hardLimit))
        return true
    }

    private mutating func grow(to target: Int) {
        for index in count..<target {
            unsafe (slabs + index).initialize(to: Slab(capacity: slabCapacity))
            unsafe states[index] = SlabState()
            unsafe free[freeCount] = Int32(index)
            freeCount += 1
        }
        count = target
    }

    // MARK: Filling

    mutating func popFree() -> Int32? {
        guard freeCount > 0 else { return nil }
        freeCount -= 1
        return unsafe free[freeCount]
    }

    /// Takes a free slab to give it to the kernel, unless it has twice as many as it lately used in a round. The kernel fills
    /// them in turn: the fewer there are, the more of them are still in the CPU's cache.
    mutating func popFreeToProvide() -> Int32? {
        guard provided < min(maximum, max(32, 2 * recentPeak)), let index = popFree() else { return nil }
        provided += 1
        return index
    }

    /// The kernel has filled a slab that was provided.
    mutating func takeBack() {
        provided -= 1
        filled += 1
    }

    /// The kernel had no slab left: it gets more.
    mutating func provideMore() { recentPeak = min(maximum, max(32, 2 * recentPeak)) }

    /// A round has ended.
    private mutating func noteRound() {
        guard filled > 0 else { return }
        recentPeak = max(filled, recentPeak - recentPeak / 64)
        filled = 0
    }

    func base(of index: Int32) -> UnsafeMutableRawPointer { unsafe slabs[Int(index)].base }

    mutating func setFilled(_ index: Int32, count: Int) {
        let spare = unsafe states[Int(index)].spare
        unsafe states[Int(index)] = SlabState(next: -1, start: 0, end: Int32(count), age: 0, spare: spare)
    }

    mutating func release(_ index: Int32) {
        unsafe free[freeCount] = index
        freeCount += 1
    }

    // MARK: A connection's unread queue

    func next(after index: Int32) -> Int32 { unsafe states[Int(index)].next }

    mutating func link(_ index: Int32, after previous: Int32) { unsafe states[Int(previous)].next = index }

    func unreadCount(of index: Int32) -> Int {
        let state = unsafe states[Int(index)]
        return Int(state.end - state.start)
    }

    func unread(of index: Int32) -> UnsafeRawBufferPointer {
        let state = unsafe states[Int(index)]
        return unsafe UnsafeRawBufferPointer(
            start: slabs[Int(index)].base + Int(state.start), count: Int(state.end - state.start))
    }

    mutating func consume(_ count: Int, of index: Int32) { unsafe states[Int(index)].start += Int32(count) }

    /// Moves the bytes of a filled slab behind those of another, if they fit. Returns whether they did.
    mutating func merge(_ index: Int32, into tail: Int32) -> Bool {
        let source = unsafe states[Int(index)]
        let end = unsafe states[Int(tail)].end
        guard Int(end + source.end) <= slabCapacity else { return false }
        unsafe slabs[Int(tail)].base.advanced(by: Int(end)).copyMemory(
            from: slabs[Int(index)].base, byteCount: Int(source.end))
        unsafe states[Int(tail)].end = end + source.end
        release(index)
        return true
    }

    // MARK: Lending

    /// The unread bytes of a slab as a value that the program may keep. The slab no longer belongs to the connection.
    mutating func lend(_ index: Int32) -> Bytes {
        let state = unsafe states[Int(index)]
        let size = Int(state.end - state.start)
        if size * 8 <= slabCapacity && available * 2 < count {
            copied += 1
            let bytes = unsafe Bytes(copying: unread(of: index))
            release(index)
            return bytes
        }
        if state.spare == 0 {
            unsafe martlet_retain(object(Int(index)), UInt32(Self.referencesInAdvance))
            unsafe states[Int(index)].spare = Self.referencesInAdvance
        }
        unsafe states[Int(index)].spare -= 1
        unsafe states[Int(index)].age = 0
        unsafe lent[lentCount] = index
        lentCount += 1
        let slab = unsafe Unmanaged<Slab>.fromOpaque(object(Int(index))).takeRetainedValue()
        return Bytes(slab: slab, start: Int(state.start), end: Int(state.end))
    }

    /// The slab's object, as the functions that count references want it.
    private func object(_ index: Int) -> UnsafeMutableRawPointer {
        unsafe (slabs + index).withMemoryRebound(to: UnsafeMutableRawPointer.self, capacity: 1) { unsafe $0.pointee }
    }

    /// Whether nobody but the pool refers to a slab.
    private func isBack(_ index: Int32) -> Bool {
        unsafe martlet_reference_count(object(Int(index))) == 1 + Int(states[Int(index)].spare)
    }

    /// Leaves a slab to those who hold its bytes, and puts a new one in its place.
    private mutating func replace(_ index: Int32) {
        unsafe martlet_release(object(Int(index)), UInt32(states[Int(index)].spare))
        unsafe states[Int(index)].spare = 0
        unsafe slabs[Int(index)] = Slab(capacity: slabCapacity)
        replaced += 1
        release(index)
    }

    /// The unread bytes of a slab that stays with its connection.
    func peek(_ index: Int32) -> Bytes {
        let state = unsafe states[Int(index)]
        return unsafe Bytes(slab: slabs[Int(index)], start: Int(state.start), end: Int(state.end))
    }

    /// Gives up the oldest lent slabs, a quarter of the pool at most: their bytes are the program's own now, and new slabs take
    /// their places. Returns whether there were any.
    mutating func replaceLent() -> Bool {
        let count = min(lentCount, max(1, maximum / 4))
        guard count > 0 else { return false }
        for position in 0..<count {
            unsafe replace(lent[position])
        }
        lentCount -= count
        for position in 0..<lentCount { unsafe lent[position] = lent[position + count] }
        return true
    }

    /// Takes back the lent slabs that the program has let go. Once a round.
    mutating func reclaim() {
        noteRound()
        guard lentCount > 0 else { return }
        let isShort = available * 4 < count && count >= maximum
        var kept = 0
        for position in 0..<lentCount {
            let index = unsafe lent[position]
            if isBack(index) {
                release(index)
            } else if isShort, unsafe states[Int(index)].age > 8 {
                // The program keeps these bytes: they are its own now, and the pool gets a new slab.
                replace(index)
            } else {
                if unsafe states[Int(index)].age < 1 << 20 { unsafe states[Int(index)].age += 1 }
                unsafe lent[kept] = index
                kept += 1
            }
        }
        lentCount = kept
        // Another thread's last read of a slab happened before its release of it; the kernel's next write comes after this.
        atomicMemoryFence(ordering: .acquiring)
    }
}
