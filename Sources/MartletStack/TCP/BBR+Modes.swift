// BBR's walk through its modes: when it probes for bandwidth or for the round trip, and when it stops.
//
// Hold draft-ietf-ccwg-bbr §5.3 beside it.

extension BBR {
    private static var probeRTTDuration: Int64 { 200_000_000 }
    /// A Reno flow of this path would have won its window back by then (§5.3.3.5.1); in rounds, at most.
    private static var mostRounds: UInt32 { 63 }

    var pacingGain: UInt64 {
        switch mode {
        case .startup: Self.startupGain
        case .drain: Self.drainGain
        case .down: Self.unit * 9 / 10
        case .up: Self.unit * 5 / 4
        case .cruise, .refill, .probeRTT: Self.unit
        }
    }

    /// As the draft has it but in its bandwidth probing, where it is 2, and 2.25 in `up`. That is for ACKs that come in lumps; but flows of a
    /// few segments each, whose estimates add up to more than there is, fill the queue with it: a seventh of all segments is lost, and
    /// who has lost finds no room. The least of Jain's indices of eight seeds (100 Mb/s, 20 ms, a queue of one product) by the gains:
    ///
    ///     down, cruise   refill   up       2 flows   8 flows   32 flows   sent again, of 32
    ///     1.5            2        2.25     0.954     0.991     0.943      54,000
    ///     1.25           1.5      1.875    0.951     0.965     0.981      32,000
    ///
    /// Less in `up` does not probe any more, and leaves eight flows as they are.
    var windowGain: UInt64 {
        switch mode {
        case .up: Self.unit * 15 / 8
        case .refill: Self.unit * 3 / 2
        case .down, .cruise: Self.unit * 5 / 4
        case .probeRTT: Self.unit / 2
        case .startup, .drain: Self.windowGain
        }
    }

    mutating func advanceMode(_ ack: Acknowledgement, pipe: UInt32) {
        checkFullBandwidth(ack.rate)
        checkStartupLoss(ack)
        if mode == .startup, flags.contains(.hasFilledPipe) { mode = .drain }
        if mode == .drain, UInt64(pipe) <= inflight(gain: Self.unit) { startDown(at: ack.now) }
        if flags.contains(.hasFilledPipe) { advancePhase(ack, pipe: pipe) }
        let isDue = updateRoundTrip(ack)
        checkProbeRTT(isDue: isDue, pipe: pipe, ack)
        if ack.bytes > 0 { flags.remove(.isRestarting) }
    }

    // MARK: Probing for bandwidth

    private mutating func advancePhase(_ ack: Acknowledgement, pipe: UInt32) {
        if ack.rate.isRoundStart { roundsSinceProbe = min(roundsSinceProbe + 1, 254) }
        let isTooHigh = adaptUpperBound(ack)
        switch mode {
        case .startup, .drain, .probeRTT: break
        case .down:
            if isTimeToProbe(at: ack.now) { return startRefill() }
            if pipe <= inflightWithHeadroom, UInt64(pipe) <= inflight(gain: Self.unit) { mode = .cruise }
        case .cruise:
            if isTimeToProbe(at: ack.now) { startRefill() }
        case .refill:
            if ack.rate.isRoundStart { startUp(ack) }
        case .up:
            if isTooHigh || isTimeToGoDown(ack) { startDown(at: ack.now) }
        }
    }

    private func isTimeToProbe(at now: Instant) -> Bool {
        if phaseAt.elapsed(at: now) > Int64(probeWait) * 1_000_000 { return true }
        return UInt32(roundsSinceProbe) >= min(targetInflight / UInt32(mss), Self.mostRounds)
    }

    private mutating func isTimeToGoDown(_ ack: Acknowledgement) -> Bool {
        if ack.isCwndLimited, cwnd >= inflightHigh {
            resetFullBandwidth()
            fullBandwidth = Rate(ack.rate.rate)
            return false
        }
        return flags.contains(.isFullNow)
    }

    private mutating func startDown(at now: Instant) {
        mode = .down
        probeRounds = 0
        roundsSinceProbe = UInt8(draw(2))
        probeWait = 2_000 + draw(1_000)
        phaseAt = Ticks(now)
        ackPhase = .stopping
        // What the probe has lost is judged already.
        flags.remove(.hasLostInRound)
    }

    private mutating func startRefill() {
        mode = .refill
        resetShortTerm()
        probeRounds = 0
        ackPhase = .refilling
    }

    private mutating func startUp(_ ack: Acknowledgement) {
        mode = .up
        flags.insert(.isProbeSample)
        ackPhase = .starting
        resetFullBandwidth()
        fullBandwidth = Rate(ack.rate.rate)
    }

    // MARK: Probing for the round trip

    private mutating func checkProbeRTT(isDue: Bool, pipe: UInt32, _ ack: Acknowledgement) {
        if mode != .probeRTT, isDue, !flags.contains(.isRestarting) {
            saveWindow()
            mode = .probeRTT
            flags.remove(.isProbeRTTTimed)
            ackPhase = .stopping
        }
        guard mode == .probeRTT else { return }
        if !flags.contains(.isProbeRTTTimed) {
            if UInt64(pipe) <= probeRTTWindow {
                phaseAt = Ticks(ack.now)
                flags.insert(.isProbeRTTTimed)
                flags.remove(.isProbeRTTRoundDone)
            }
            return
        }
        if ack.rate.isRoundStart { flags.insert(.isProbeRTTRoundDone) }
        guard flags.contains(.isProbeRTTRoundDone), phaseAt.elapsed(at: ack.now) > Self.probeRTTDuration else { return }
        probedRoundTripAt = Ticks(ack.now)
        restoreWindow()
        resetShortTerm()
        guard flags.contains(.hasFilledPipe) else {
            mode = .startup
            return
        }
        startDown(at: ack.now)
        mode = .cruise
    }
}
