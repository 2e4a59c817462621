// Which frames of an arena the kernel has from a link, and what for.

internal import MartletStack

/// A byte a slot of the arena.
@safe struct LentFrames: ~Copyable {
    enum Use: UInt8, BitwiseCopyable {
        case none
        case receiving
        case transmitting
    }

    // SAFETY: allocated here for every slot of the arena, freed in the deinit; each access is within `slotCount`.
    private let uses: UnsafeMutablePointer<Use>
    private let slotCount: Int

    init(slotCount: Int) {
        self.slotCount = slotCount
        unsafe uses = .allocate(capacity: slotCount)
        unsafe uses.initialize(repeating: .none, count: slotCount)
    }

    deinit { unsafe uses.deallocate() }

    /// The kernel has the slot from now on.
    @inline(__always)
    func lend(_ slot: UInt32, for use: Use) {
        unsafe assert(Int(slot) < slotCount && uses[Int(slot)] == .none, "a frame is lent twice")
        unsafe uses[Int(slot)] = use
    }

    /// The slot has come back, if the kernel had it for that.
    @inline(__always)
    func takeBack(_ slot: UInt64, from use: Use) -> Bool {
        guard slot < UInt64(slotCount), unsafe uses[Int(slot)] == use else { return false }
        unsafe uses[Int(slot)] = .none
        return true
    }

    /// All that the kernel has goes back to the pool.
    func giveBack(to pool: borrowing Burst) {
        for slot in 0..<slotCount where unsafe uses[slot] != .none {
            unsafe uses[slot] = .none
            unsafe pool.releaseSlot(UInt32(slot))
        }
    }
}
