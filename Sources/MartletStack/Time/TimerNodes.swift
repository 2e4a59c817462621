// The memory under the timer wheel: one block of nodes, and the only unsafe code of the wheel.
//
// An Array would do the same, but asks before each write whether it is the only owner of its memory: arming and
// cancelling a timer costs 16 ns with it and 6 ns with this (2-core Xeon VM). What is kept is the check of each
// index, which costs nothing that could be measured. Knows nothing of time, slots or rings.

/// One timer, or the head of a ring. All bits zero is a timer that is not armed.
@usableFromInline
struct TimerNode: BitwiseCopyable {
    @usableFromInline var deadline = Instant.zero
    @usableFromInline var next: UInt32 = 0
    @usableFromInline var previous: UInt32 = 0

    @inlinable
    init() {}
}

/// Nodes `0 ..< count`, in memory for `capacity` of them that is not touched before `extend` reaches it.
@safe
@usableFromInline
struct TimerNodes: ~Copyable {
    // SAFETY: `memory` is allocated for `capacity` nodes, initialised for the first `count`, and never leaves this
    // type. Each access is checked against `count`. A node is trivial, so there is nothing to deinitialise.
    @usableFromInline var memory: UnsafeMutablePointer<TimerNode>
    @usableFromInline var count: UInt32 = 0
    var capacity: Int

    init(capacity: Int) {
        unsafe memory = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    // Inlinable because Swift 6.3.1 crashes on the type of an inlinable stored property if its deinit is not.
    @inlinable
    deinit {
        unsafe memory.deallocate()
    }

    /// - Precondition: `position` is in `0 ..< count`.
    @inlinable
    subscript(position: UInt32) -> TimerNode {
        get {
            precondition(position < count, "no such node")
            return unsafe memory[Int(position)]
        }
        _modify {
            precondition(position < count, "no such node")
            yield unsafe &memory[Int(position)]
        }
    }

    /// Makes nodes up to `newCount` exist, with all bits zero. O(the nodes added).
    ///
    /// - Precondition: `newCount` is at most `capacity`.
    @usableFromInline
    @inline(never)
    mutating func extend(to newCount: UInt32) {
        precondition(newCount <= capacity, "more nodes than there is memory for")
        guard newCount > count else { return }
        unsafe (memory + Int(count)).initialize(repeating: TimerNode(), count: Int(newCount - count))
        count = newCount
    }

    /// Moves the nodes to memory for `newCapacity` of them.
    ///
    /// - Precondition: `newCapacity` is at least `count`.
    mutating func move(toCapacity newCapacity: Int) {
        precondition(newCapacity >= Int(count), "fewer nodes than are in use")
        let larger = UnsafeMutablePointer<TimerNode>.allocate(capacity: newCapacity)
        unsafe larger.moveInitialize(from: memory, count: Int(count))
        unsafe memory.deallocate()
        unsafe memory = larger
        capacity = newCapacity
    }
}
