// Every timer of a core: a hierarchical wheel over nodes that are allocated once and linked by index.
//
// The idea is Varghese and Lauck's ("Hashed and Hierarchical Timing Wheels", 1987), in the form where a timer's
// place follows from its deadline and the current tick alone. Read both ticks (1,024 ns) as nine digits in
// base 64. The highest digit in which they differ is the level; the deadline's digit there is the slot:
//
//     level  a slot is   slots 0 … 63                  now = … 2·41·07
//       8    9.1 years   ──────────────────────
//       ⋮                                              deadline      differs first at    filed in
//       2    4.2 ms      ──n─────B─────────────        A  … 2·45·60  level 1             slot 45
//       1    66 µs       ──────────n──A────────        B  … 4·00·13  level 2             slot  4
//       0    1 µs        ───nC─────────────D───        C  … 2·41·08  level 0             slot  8
//                           └ now's own digits         D  … 2·41·50  level 0             slot 50
//
// So everything at a level is due before anything at the level above, and within a level the slots follow in
// order: the lowest bit of the lowest bitmap that is not empty is what comes next, however far away. When time
// enters a slot above level 0, its timers are filed again: now that digit agrees, and they go to a lower level.
// Nine digits hold every tick an Instant has, so nothing wraps and nothing overflows.
//
// A slot is a ring of nodes through a head that is a node too, so that unlinking needs no search and no
// case for the ends, and a slot moves to the expired ring in one step. Must not know what a timer is for.

/// Up to 2³¹ − 1 timers, each named by a small index that the owner chooses and gives a meaning.
///
/// Time moves only in ``advance(to:)``, which lists what is due; ``popExpired()`` takes it off the list:
///
///     wheel.advance(to: now)
///     while let timer = wheel.popExpired() { … }   // may arm and cancel any timer, this one too
///
/// A timer expires in the first `advance` to an instant not before its deadline: never early, and late only by
/// the distance between two calls. It stays armed until it is popped; so a timer that is cancelled is never
/// popped, even if it had expired. Timers come out in the order of their deadlines, to the tick of 1,024 ns.
/// One that is armed for the past, or for this very instant, counts as due at ``now`` and expires in the next
/// advance, not in the one being drained: a loop that drains ends even if it arms each timer again at once.
///
/// Arming and cancelling are O(1). Between arming and expiry a timer is filed again at most eight times, and an
/// advance pays nothing for empty slots, whatever the jump. Only `init` and ``grow(to:)`` allocate. A timer's
/// 16 bytes are first written when its index or a higher one is first armed: a large wheel costs address
/// space, not memory, until it is used.
public struct TimerWheel: ~Copyable {
    // Positions in `nodes`. The first row of 64 holds "nowhere" and the heads of two rings; nine rows of slot heads
    // follow, so that a slot's position is its level plus one, and its digit; then come the timers.
    @inlinable static var nowhere: UInt32 { 0 }
    @inlinable static var due: UInt32 { 1 }
    @inlinable static var expired: UInt32 { 2 }
    @inlinable static var firstSlot: UInt32 { 64 }
    @inlinable static var firstTimer: UInt32 { 64 + 9 * 64 }

    /// The heads, then the timers up to the highest index armed so far.
    @usableFromInline var nodes: TimerNodes
    /// For each level, the slots whose rings are not empty. Not inline: the compiler copies a wheel to compute a place in it.
    @usableFromInline var slots = PlainTable<UInt64>(repeating: 0, count: 9)
    /// The levels whose slots are not all empty.
    @usableFromInline var levels: UInt64 = 0
    /// The tick that places are relative to: that of `now`, except in the middle of an advance.
    @usableFromInline var tick: UInt64
    @usableFromInline var latest: Instant
    @usableFromInline var armed = 0

    /// Timer indices are `0 ..< capacity`.
    public private(set) var capacity: Int

    /// The instant of the last advance.
    @inlinable
    public var now: Instant { latest }

    /// How many timers are armed, those included that have expired and are not yet popped.
    @inlinable
    public var count: Int { armed }

    /// A wheel standing at `now`, for timers `0 ..< capacity`, none of them armed.
    ///
    /// - Precondition: `capacity` is in `0 ... Int32.max`.
    public init(capacity: Int, now: Instant) {
        self.capacity = capacity
        latest = now
        tick = Self.tick(of: now)
        nodes = TimerNodes(capacity: Self.nodeCount(forTimers: capacity))
        nodes.extend(to: Self.firstTimer)
        for head in 0..<Self.firstTimer { makeEmpty(head) }
    }

    /// Makes room for timers `0 ..< capacity`; those armed stay armed. A wheel never shrinks: less than
    /// the present capacity does nothing.
    ///
    /// Allocates, and copies the nodes used so far.
    ///
    /// - Precondition: `capacity` is at most `Int32.max`.
    public mutating func grow(to capacity: Int) {
        guard capacity > self.capacity else { return }
        nodes.move(toCapacity: Self.nodeCount(forTimers: capacity))
        self.capacity = capacity
    }

    private static func nodeCount(forTimers capacity: Int) -> Int {
        precondition(capacity >= 0 && capacity <= Int(Int32.max), "a wheel has 0 ... Int32.max timers")
        return Int(firstTimer) + capacity
    }
}

// MARK: - Arming

extension TimerWheel {
    /// Arms `timer` for `deadline`; if it is armed already, moves it there.
    ///
    /// O(1). Moving a timer within its slot, as a retransmission timer does for most ACKs, touches its node alone.
    ///
    /// - Precondition: `timer` is in `0 ..< capacity`.
    @inlinable
    public mutating func arm(_ timer: Int32, at deadline: Instant) {
        let position = position(of: timer)
        if position >= nodes.count { nodes.extend(to: position + 1) }
        let place = place(for: deadline)
        if nodes[position].next == Self.nowhere {
            armed += 1
        } else if place >= Self.firstSlot && place == self.place(for: nodes[position].deadline) {
            // A deadline still ahead says where its timer is filed, so this one is there already.
            nodes[position].deadline = deadline
            return
        } else {
            unlink(position)
        }
        nodes[position].deadline = deadline
        append(position, to: place)
    }

    /// Disarms `timer`: it will not be popped, even if it has expired. Does nothing if it is not armed.
    ///
    /// O(1).
    ///
    /// - Precondition: `timer` is in `0 ..< capacity`.
    @inlinable
    public mutating func cancel(_ timer: Int32) {
        let position = position(of: timer)
        if position >= nodes.count || nodes[position].next == Self.nowhere { return }
        unlink(position)
        nodes[position].next = Self.nowhere
        armed -= 1
    }

    /// Whether `timer` has been armed and neither popped nor cancelled since.
    ///
    /// - Precondition: `timer` is in `0 ..< capacity`.
    @inlinable
    public func isArmed(_ timer: Int32) -> Bool {
        let position = position(of: timer)
        return position < nodes.count && nodes[position].next != Self.nowhere
    }

    /// The instant that `timer` is armed for, as given to ``arm(_:at:)``; `nil` if it is not armed.
    ///
    /// - Precondition: `timer` is in `0 ..< capacity`.
    @inlinable
    public func deadline(of timer: Int32) -> Instant? {
        isArmed(timer) ? nodes[position(of: timer)].deadline : nil
    }

    @inlinable
    func position(of timer: Int32) -> UInt32 {
        precondition(timer >= 0 && Int(timer) < capacity, "timer index out of range")
        return Self.firstTimer &+ UInt32(bitPattern: timer)
    }
}

// MARK: - Time

extension TimerWheel {
    /// Moves time forward to `instant`, and every timer due by then to the list that ``popExpired()`` drains.
    ///
    /// An earlier instant than ``now`` does not move time back; it still expires what was armed for the past.
    /// What an earlier advance left undrained stays at the front of the list.
    ///
    /// O(timers that expire, are filed again, or are due later within the present tick); a few nanoseconds if none.
    @inlinable
    public mutating func advance(to instant: Instant) {
        moveRing(Self.due, behind: Self.expired)
        guard instant > latest else { return }
        latest = instant
        let target = Self.tick(of: instant)
        while let slot = earliestSlot, slot.start <= target {
            assert(!isEmpty(slot.head), "each turn takes timers out of a slot, or this would not end")
            if slot.level > 0 {
                tick = slot.start
                fileAgain(slot)
            } else if slot.start < target {
                moveRing(slot.head, behind: Self.expired)
                clearBit(ofSlot: slot.head)
            } else {
                expireWhatIsDue(in: slot)
                break
            }
        }
        // What remains is due later than `target`, and so differs from it first where it differed from `tick`.
        tick = target
    }

    /// The next timer that has expired, which is then no longer armed; `nil` when there are no more.
    ///
    /// O(1).
    @inlinable
    public mutating func popExpired() -> Int32? {
        let first = nodes[Self.expired].next
        if first == Self.expired { return nil }
        unlink(first)
        nodes[first].next = Self.nowhere
        armed -= 1
        return Int32(first - Self.firstTimer)
    }

    /// An instant to sleep until: never later than the earliest deadline, and `nil` if nothing is armed.
    ///
    /// It is ``now`` while timers wait to be popped or were armed for the past. Otherwise it is later than `now`: the
    /// earliest deadline itself if the slot that holds it holds at most 8 timers, else the start of that slot. An
    /// advance to that start files the slot's timers lower, so a core that sleeps from here to here wakes
    /// for nothing at most eight times before a timer expires, and is less than a tick away from it then.
    ///
    /// O(1), but reads up to 8 nodes: to be asked before sleeping rather than in each round.
    public var nextDeadline: Instant? {
        guard armed > 0 else { return nil }
        guard let slot = earliestSlot, isEmpty(Self.due), isEmpty(Self.expired) else { return latest }
        var earliest = Instant.distantFuture
        var position = nodes[slot.head].next
        for _ in 0..<8 {
            earliest = min(earliest, nodes[position].deadline)
            position = nodes[position].next
            if position == slot.head { return earliest }
        }
        return max(Self.instant(startingTick: slot.start), latest.advanced(byNanoseconds: 1))
    }

    /// Files the timers of a slot that `tick` has just entered: each goes to a lower level.
    @usableFromInline
    mutating func fileAgain(_ slot: Slot) {
        var position = nodes[slot.head].next
        makeEmpty(slot.head)
        clearBit(ofSlot: slot.head)
        while position != slot.head {
            let next = nodes[position].next
            let lower = slotHead(for: nodes[position].deadline)
            assert(lower >> 6 < slot.head >> 6, "filed again means filed on a lower level, or advance would not end")
            append(position, to: lower)
            position = next
        }
    }

    /// The slot of the very tick that `latest` is in: some of its timers are due, others not for a moment yet.
    @usableFromInline
    mutating func expireWhatIsDue(in slot: Slot) {
        var position = nodes[slot.head].next
        while position != slot.head {
            let next = nodes[position].next
            if nodes[position].deadline <= latest {
                unlink(position)
                append(position, to: Self.expired)
            }
            position = next
        }
    }
}
