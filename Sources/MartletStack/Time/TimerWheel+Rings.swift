// The wheel's arithmetic and its rings: from a deadline to the head of a slot, and linking through heads.
//
// `TimerWheel.swift` says what the levels and slots are. Nothing here knows what expiring means.

extension TimerWheel {
    /// A slot whose ring is not empty.
    @usableFromInline
    struct Slot: BitwiseCopyable {
        @usableFromInline var level: Int
        /// The position of the ring's head.
        @usableFromInline var head: UInt32
        /// The first tick of the slot. At level 0 it is the only one.
        @usableFromInline var start: UInt64

        @inlinable
        init(level: Int, head: UInt32, start: UInt64) {
            self.level = level
            self.head = head
            self.start = start
        }
    }

    /// The tick that `instant` is in, 0 ..< 2⁵⁴ over the whole range of instants, in their order.
    @inlinable
    static func tick(of instant: Instant) -> UInt64 {
        (UInt64(bitPattern: instant.nanoseconds) ^ 1 << 63) >> 10
    }

    @inlinable
    static func instant(startingTick tick: UInt64) -> Instant {
        Instant(nanoseconds: Int64(bitPattern: tick << 10 ^ 1 << 63))
    }

    /// The head of the ring that a timer with `deadline` belongs to.
    @inlinable
    func place(for deadline: Instant) -> UInt32 {
        deadline > latest ? slotHead(for: deadline) : Self.due
    }

    /// The head of the slot for `deadline`, which is not before `tick`.
    @inlinable
    func slotHead(for deadline: Instant) -> UInt32 {
        let deadlineTick = Self.tick(of: deadline)
        let highestDifferingBit = 63 &- ((deadlineTick ^ tick) | 1).leadingZeroBitCount
        let level = highestDifferingBit / 6
        let digit = UInt32(truncatingIfNeeded: deadlineTick &>> UInt64(6 &* level)) & 63
        return UInt32(truncatingIfNeeded: level &+ 1) &<< 6 | digit
    }

    /// The slot that comes next. All its timers are due before those of any other.
    @inlinable
    var earliestSlot: Slot? {
        if levels == 0 { return nil }
        let level = levels.trailingZeroBitCount
        let digit = UInt64(slots[level].trailingZeroBitCount)
        let shift = UInt64(6 * level)
        let higherDigits = (tick &>> (shift &+ 6)) &<< (shift &+ 6)
        return Slot(
            level: level, head: UInt32(truncatingIfNeeded: level &+ 1) &<< 6 | UInt32(truncatingIfNeeded: digit),
            start: higherDigits | digit &<< shift)
    }

    @inlinable
    func isEmpty(_ head: UInt32) -> Bool {
        nodes[head].next == head
    }

    @inlinable
    mutating func makeEmpty(_ head: UInt32) {
        nodes[head].next = head
        nodes[head].previous = head
    }

    /// Links the node at `position`, which is in no ring, at the end of a ring.
    @inlinable
    mutating func append(_ position: UInt32, to head: UInt32) {
        let last = nodes[head].previous
        nodes[position].previous = last
        nodes[position].next = head
        nodes[last].next = position
        nodes[head].previous = position
        if head >= Self.firstSlot {
            let level = Int(head &>> 6) &- 1
            slots[level] |= 1 &<< UInt64(head & 63)
            levels |= 1 &<< UInt64(level)
        }
    }

    /// Takes the node at `position` out of its ring, and leaves its own links as they were.
    @inlinable
    mutating func unlink(_ position: UInt32) {
        let next = nodes[position].next
        let previous = nodes[position].previous
        nodes[previous].next = next
        nodes[next].previous = previous
        // Neighbours that are one and the same are the head, alone now.
        if next == previous && next >= Self.firstSlot { clearBit(ofSlot: next) }
    }

    @inlinable
    mutating func clearBit(ofSlot head: UInt32) {
        let level = Int(head &>> 6) &- 1
        slots[level] &= ~(1 &<< UInt64(head & 63))
        if slots[level] == 0 { levels &= ~(1 &<< UInt64(level)) }
    }

    /// Moves all nodes of the ring at `source` to the end of the ring at `destination`.
    @inlinable
    mutating func moveRing(_ source: UInt32, behind destination: UInt32) {
        if isEmpty(source) { return }
        let first = nodes[source].next
        let last = nodes[source].previous
        let end = nodes[destination].previous
        nodes[end].next = first
        nodes[first].previous = end
        nodes[last].next = destination
        nodes[destination].previous = last
        makeEmpty(source)
    }
}
