// The neighbors of all interfaces: who is at which link address, and whether they were heard of lately.
//
// One table for Neighbor Discovery (RFC 4861 §5 and §7.3) and ARP (RFC 826). It sends nothing: it says what is to be
// sent. Its enemy is a stranger who makes us ask for, or hear of, more neighbors than exist (RFC 6583). Therefore:
//
//  - INCOMPLETE entries are at most a quarter of the table; one more replaces the oldest of them, not the newest,
//    because a neighbor that exists answers within a millisecond.
//  - a full table gives up the entry that has been STALE longest; only what we ask for ourselves may, within its
//    quarter, take the place of one that is in use, and then of the one confirmed least recently;
//  - an entry made by a message that we did not ask for takes a free place or that of a STALE one.
//
// Frames that were given up are counted. Must not know headers.

/// A bounded table of neighbors by (interface, address). Lookups are O(1). Allocates in `init` only.
struct Neighbors: ~Copyable {
    /// The rings that entries are in; an entry is in one. All but `free` and `pinned` are ordered: the first is given up first.
    enum Ring: UInt8, BitwiseCopyable {
        case free, incomplete, stale, live, pinned
    }

    struct Entry: BitwiseCopyable {
        var address = IPAddress.v4(.any)
        var linkAddress = MACAddress.zero
        var reachableUntil = Instant.zero
        var confirmedAt = Instant.zero
        var pending = PendingFrames.Queue()
        var hash: UInt64 = 0
        var generation: UInt32 = 0
        var next: UInt32 = .max
        var previous: UInt32 = .max
        var pins: UInt16 = 0
        var interface: UInt8 = 0
        var state = NeighborState.incomplete
        var solicitations: UInt8 = 0
        var isRouter = false
        var ring = Ring.free
    }

    private struct Ends: BitwiseCopyable {
        var first: UInt32 = .max
        var last: UInt32 = .max
        var count = 0
    }

    let limits: NeighborLimits
    let times: NeighborTimes
    private let key: SipHash.Key
    private var index: HashIndex
    private var rings = InlineArray<5, Ends>(repeating: Ends())
    var entries: [Entry]
    var pending: PendingFrames
    var timers: TimerWheel
    var baseReachableTime: Duration
    var reachableTime: Duration
    var redrawAt: Instant
    var counters = NeighborCounters()

    /// A table without neighbors, whose pending frames are of `pool`, which is to outlive it.
    ///
    /// - Precondition: there is room for 4 entries or more and for a frame.
    init(
        pool: borrowing FramePool, limits: NeighborLimits = NeighborLimits(), times: NeighborTimes = NeighborTimes(),
        now: Instant, using random: inout some RandomNumberGenerator
    ) {
        precondition(limits.entries >= 4 && limits.frames > 0 && limits.framesPerNeighbor > 0, "a table without room")
        self.limits = limits
        self.times = times
        key = SipHash.Key(using: &random)
        index = HashIndex(capacity: limits.entries)
        entries = Array(repeating: Entry(), count: limits.entries)
        pending = PendingFrames(pool: pool, capacity: limits.frames)
        timers = TimerWheel(capacity: limits.entries, now: now)
        baseReachableTime = times.baseReachableTime
        reachableTime = Self.drawReachableTime(base: times.baseReachableTime, using: &random)
        redrawAt = now + times.redrawTime
        for slot in 0..<limits.entries { link(slot, to: .free) }
    }

    /// Entries in use.
    var count: Int { limits.entries - self[.free] }

    /// Entries in a ring.
    subscript(ring: Ring) -> Int { rings[Int(ring.rawValue)].count }

    /// INCOMPLETE entries at most.
    var incompleteLimit: Int { limits.entries / 4 }

    // MARK: Sending

    /// The link address of the next hop `address`. If it is not known, `frame` is taken and kept until it is.
    ///
    /// - Precondition: the frame is of the table's pool.
    mutating func resolve(
        _ address: IPAddress, on interface: UInt8, holding frame: inout Frame?, at now: Instant
    ) -> NeighborOutcome {
        if let slot = find(address, on: interface) {
            if entries[slot].state == .incomplete { return hold(&frame, in: slot, isNew: false) }
            use(slot, at: now)
            return .ready(entries[slot].linkAddress, name(slot))
        }
        // Without room for the frame there is no use in asking; whoever sent it will send it again.
        guard pending.room > 0 else { return drop(&frame, .pendingFull) }
        guard let slot = slotForSolicitation() else { return drop(&frame, .tableFull) }
        fill(slot, address, on: interface, state: .incomplete)
        entries[slot].solicitations = 1
        timers.arm(Int32(slot), at: now + times.retransTimer)
        return hold(&frame, in: slot, isNew: true)
    }

    /// The link address of a neighbor that ``resolve(_:on:holding:at:)`` has named; `nil` if it is to be asked again.
    mutating func linkAddress(of neighbor: Neighbor, at now: Instant) -> MACAddress? {
        guard isCurrent(neighbor), entries[Int(neighbor.slot)].state != .incomplete else { return nil }
        use(Int(neighbor.slot), at: now)
        return entries[Int(neighbor.slot)].linkAddress
    }

    /// A frame whose next hop was resolved since; `nil` if there is none.
    mutating func popReady() -> ReadyFrame? { pending.popReady() }

    /// A frame of a neighbor that did not answer, to be told of to whoever sent it; `nil` if there is none.
    mutating func popUndeliverable() -> Frame? { pending.popUndeliverable() }

    private mutating func hold(_ frame: inout Frame?, in slot: Int, isNew: Bool) -> NeighborOutcome {
        guard let frame = frame.take() else { return .queued(solicit: isNew) }
        if entries[slot].pending.count >= limits.framesPerNeighbor || pending.room == 0 {
            guard let oldest = pending.popFirst(&entries[slot].pending) else {
                counters.pendingFull += 1
                return .dropped(.pendingFull)
            }
            _ = consume oldest
            counters.displacedFrames += 1
        }
        pending.append(frame, to: &entries[slot].pending)
        return .queued(solicit: isNew)
    }

    private mutating func drop(_ frame: inout Frame?, _ reason: NeighborDrop) -> NeighborOutcome {
        frame = nil
        switch reason {
        case .tableFull: counters.tableFull += 1
        case .pendingFull: counters.pendingFull += 1
        }
        return .dropped(reason)
    }

    /// A STALE neighbor that is sent to is to be asked, but only if nothing else tells that it is there (§7.3.3).
    private mutating func use(_ slot: Int, at now: Instant) {
        guard entries[slot].state == .stale else { return }
        change(slot, to: .delay)
        timers.arm(Int32(slot), at: now + times.delayFirstProbeTime)
    }

    // MARK: Reachability

    /// The neighbor forwards what we send: TCP has seen data acknowledged that went there (RFC 4861 §7.3.1).
    mutating func confirmReachability(of neighbor: Neighbor, at now: Instant) {
        guard isCurrent(neighbor), entries[Int(neighbor.slot)].state != .incomplete else { return }
        let entry = entries[Int(neighbor.slot)]
        // Each ACK could confirm. Once a second is enough, and leaves the timer and the order of eviction in peace.
        if entry.state == .reachable && now < entry.confirmedAt + .seconds(1) { return }
        confirm(Int(neighbor.slot), at: now)
    }

    mutating func confirm(_ slot: Int, at now: Instant) {
        let wasReachable = entries[slot].state == .reachable
        entries[slot].confirmedAt = now
        entries[slot].reachableUntil = now + reachableTime
        change(slot, to: .reachable)
        // The timer of one that is REACHABLE already looks at `reachableUntil` when it expires.
        if !wasReachable { timers.arm(Int32(slot), at: entries[slot].reachableUntil) }
    }

    /// What is sent by way of this neighbor is not acknowledged: it is asked at once whether it is there (RFC 1122 §3.3.1.4), unless
    /// it is being asked.
    mutating func doubt(_ address: IPAddress, on interface: UInt8, at now: Instant) {
        guard let slot = find(address, on: interface) else { return }
        guard entries[slot].state != .incomplete, entries[slot].state != .probe else { return }
        change(slot, to: .delay)
        timers.arm(Int32(slot), at: now)
    }

    /// Keeps the neighbor from being evicted, as a default router is, until it is unpinned as often.
    mutating func pin(_ neighbor: Neighbor) {
        guard isCurrent(neighbor), entries[Int(neighbor.slot)].pins < .max else { return }
        entries[Int(neighbor.slot)].pins += 1
        file(Int(neighbor.slot))
    }

    mutating func unpin(_ neighbor: Neighbor) {
        guard isCurrent(neighbor), entries[Int(neighbor.slot)].pins > 0 else { return }
        entries[Int(neighbor.slot)].pins -= 1
        file(Int(neighbor.slot))
    }

    // MARK: Entries

    func isCurrent(_ neighbor: Neighbor) -> Bool {
        guard Int(neighbor.slot) < entries.count else { return false }
        let entry = entries[Int(neighbor.slot)]
        return entry.generation == neighbor.generation && entry.ring != .free
    }

    func name(_ slot: Int) -> Neighbor {
        Neighbor(slot: UInt32(slot), generation: entries[slot].generation)
    }

    /// The state of a neighbor; `nil` if there is no entry.
    func state(of address: IPAddress, on interface: UInt8) -> NeighborState? {
        find(address, on: interface).map { entries[$0].state }
    }

    func find(_ address: IPAddress, on interface: UInt8) -> Int? {
        var probe = index.probe(hash(address, interface))
        while let slot = index.next(&probe) {
            if entries[slot].address == address && entries[slot].interface == interface { return slot }
        }
        return nil
    }

    private func hash(_ address: IPAddress, _ interface: UInt8) -> UInt64 {
        var hash = KeyedHash(key: key)
        hash.absorb(UInt64(interface))
        hash.absorb(address)
        return hash.finish()
    }

    mutating func fill(_ slot: Int, _ address: IPAddress, on interface: UInt8, state: NeighborState) {
        let hash = hash(address, interface)
        var entry = Entry()
        entry.generation = entries[slot].generation
        (entry.next, entry.previous, entry.ring) = (entries[slot].next, entries[slot].previous, entries[slot].ring)
        (entry.address, entry.interface, entry.hash, entry.state) = (address, interface, hash, state)
        entries[slot] = entry
        index.insert(slot, hash: hash)
        file(slot)
    }

    /// Forgets the neighbor and drops its frames; says how many. Names of it are names of nobody from now on.
    mutating func remove(_ slot: Int) -> Int {
        let dropped = pending.removeAll(&entries[slot].pending)
        timers.cancel(Int32(slot))
        index.remove(slot, hash: entries[slot].hash)
        entries[slot].generation &+= 1
        unlink(slot)
        link(slot, to: .free)
        return dropped
    }

    /// Forgets all neighbors of an interface that went down. O(entries).
    mutating func removeAll(on interface: UInt8) {
        for slot in entries.indices where entries[slot].ring != .free && entries[slot].interface == interface {
            counters.evictedFrames += UInt64(remove(slot))
        }
    }

    mutating func change(_ slot: Int, to state: NeighborState) {
        entries[slot].state = state
        file(slot)
    }

    // MARK: Eviction

    private mutating func slotForSolicitation() -> Int? {
        if self[.incomplete] >= incompleteLimit { return evict(first: .incomplete) }
        return slotWithoutLoss() ?? evict(first: .live) ?? evict(first: .incomplete)
    }

    /// A free slot, or that of the neighbor which has been STALE longest.
    mutating func slotWithoutLoss() -> Int? {
        let free = rings[Int(Ring.free.rawValue)].first
        return free != .max ? Int(free) : evict(first: .stale)
    }

    private mutating func evict(first ring: Ring) -> Int? {
        let first = rings[Int(ring.rawValue)].first
        guard first != .max else { return nil }
        counters.evictedFrames += UInt64(remove(Int(first)))
        switch ring {
        case .incomplete: counters.evictedIncomplete += 1
        case .stale: counters.evictedStale += 1
        case .live, .free, .pinned: counters.evictedReachable += 1
        }
        return Int(first)
    }

    // MARK: Rings

    /// Moves the entry to the end of the ring that it belongs in.
    private mutating func file(_ slot: Int) {
        let entry = entries[slot]
        let ring: Ring =
            if entry.pins > 0 {
                .pinned
            } else {
                switch entry.state {
                case .incomplete: .incomplete
                case .stale: .stale
                case .reachable, .delay, .probe: .live
                }
            }
        unlink(slot)
        link(slot, to: ring)
    }

    private mutating func link(_ slot: Int, to ring: Ring) {
        let number = Int(ring.rawValue)
        let last = rings[number].last
        entries[slot].ring = ring
        entries[slot].next = .max
        entries[slot].previous = last
        if last == .max {
            rings[number].first = UInt32(slot)
        } else {
            entries[Int(last)].next = UInt32(slot)
        }
        rings[number].last = UInt32(slot)
        rings[number].count += 1
    }

    private mutating func unlink(_ slot: Int) {
        let number = Int(entries[slot].ring.rawValue)
        let (next, previous) = (entries[slot].next, entries[slot].previous)
        if previous == .max { rings[number].first = next } else { entries[Int(previous)].next = next }
        if next == .max { rings[number].last = previous } else { entries[Int(next)].previous = previous }
        rings[number].count -= 1
    }
}
