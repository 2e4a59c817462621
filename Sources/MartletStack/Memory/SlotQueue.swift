// First in, first out, each slot at most once: who owes something, whose events wait.

/// A queue of slot numbers `0 ..< capacity`, linked through a table of its own, so that adding and taking are O(1) and a slot
/// that is in already is not added again.
@usableFromInline
struct SlotQueue: ~Copyable {
    @inlinable static var absent: UInt32 { .max }
    @inlinable static var last: UInt32 { .max - 1 }

    @usableFromInline var next: PlainTable<UInt32>
    @usableFromInline var head = SlotQueue.last
    @usableFromInline var tail = SlotQueue.last

    @inlinable
    init(capacity: Int) { next = PlainTable(repeating: SlotQueue.absent, count: capacity) }

    @inlinable
    var isEmpty: Bool { head == SlotQueue.last }

    /// Adds `slot` at the end, unless it is in. Returns whether it was not.
    @inlinable
    @discardableResult
    mutating func append(_ slot: UInt32) -> Bool {
        guard next[Int(slot)] == SlotQueue.absent else { return false }
        next[Int(slot)] = SlotQueue.last
        if isEmpty { head = slot } else { next[Int(tail)] = slot }
        tail = slot
        return true
    }

    /// Takes the first slot out.
    @inlinable
    mutating func popFirst() -> UInt32? {
        guard head != SlotQueue.last else { return nil }
        let slot = head
        head = next[Int(slot)]
        next[Int(slot)] = SlotQueue.absent
        return slot
    }
}
