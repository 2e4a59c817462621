// What time does to neighbors: ask again, ask them alone, stop believing, give up. RFC 4861 §7.2.2 and §7.3.3.

extension Neighbors {
    /// Moves time forward. Then ``nextAction()`` is to be called until it has no more.
    mutating func advance(to now: Instant, using random: inout some RandomNumberGenerator) {
        timers.advance(to: now)
        if now >= redrawAt { setBaseReachableTime(nil, at: now, using: &random) }
    }

    /// The next thing that is to be sent or told; `nil` if time has nothing more to say.
    mutating func nextAction() -> NeighborAction? {
        while let timer = timers.popExpired() {
            if let action = expire(Int(timer), at: timers.now) { return action }
        }
        return nil
    }

    /// An instant to sleep until; `nil` if no neighbor waits for anything.
    var nextDeadline: Instant? { timers.nextDeadline }

    /// Takes over a router's Reachable Time (RFC 4861 §6.3.4), or with `nil` draws anew from the one in force.
    mutating func setBaseReachableTime(
        _ base: Duration?, at now: Instant, using random: inout some RandomNumberGenerator
    ) {
        if let base { baseReachableTime = base }
        reachableTime = Self.drawReachableTime(base: baseReachableTime, using: &random)
        redrawAt = now + times.redrawTime
    }

    /// MIN_RANDOM_FACTOR is 0.5 and MAX_RANDOM_FACTOR 1.5: hosts that heard of each other at once do not ask at once.
    static func drawReachableTime(base: Duration, using random: inout some RandomNumberGenerator) -> Duration {
        let base = max(base.saturatedNanoseconds, 2)
        return .nanoseconds(base / 2 + Int64.random(in: 0...base, using: &random))
    }

    private mutating func expire(_ slot: Int, at now: Instant) -> NeighborAction? {
        let entry = entries[slot]
        switch entry.state {
        case .incomplete:
            guard entry.solicitations < times.maxMulticastSolicit else { return giveUp(slot) }
            solicitAgain(slot, at: now)
            return .solicitMulticast(entry.address, interface: entry.interface)
        case .reachable:
            if entry.reachableUntil > now {
                timers.arm(Int32(slot), at: entry.reachableUntil)
            } else {
                change(slot, to: .stale)
            }
            return nil
        case .stale:
            return nil
        case .delay:
            entries[slot].solicitations = 0
            change(slot, to: .probe)
        case .probe:
            guard entry.solicitations < times.maxUnicastSolicit else { return giveUp(slot) }
        }
        solicitAgain(slot, at: now)
        return .solicitUnicast(entry.address, interface: entry.interface, to: entry.linkAddress)
    }

    private mutating func solicitAgain(_ slot: Int, at now: Instant) {
        entries[slot].solicitations += 1
        timers.arm(Int32(slot), at: now + times.retransTimer)
    }

    private mutating func giveUp(_ slot: Int) -> NeighborAction {
        let entry = entries[slot]
        let dropped = pending.giveUp(&entries[slot].pending)
        _ = remove(slot)
        counters.unreachable += 1
        counters.unreachableFrames += UInt64(dropped)
        return .unreachable(entry.address, interface: entry.interface, dropped: dropped)
    }
}
