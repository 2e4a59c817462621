// What BBR believes of its path: the rate and the round trip, and how much in flight it bears.
//
// Hold draft-ietf-ccwg-bbr §5.5 beside it. Two bounds of what is in flight: `inflightHigh` from probes, for as long as nothing else is
// learned, and `inflightLow` from the last rounds with losses, until the next probe.

extension BBR {
    /// A loss of more than a fiftieth is congestion (LossThresh).
    private static var lossDivisor: UInt64 { 50 }
    /// β: what a bound keeps for a round of congestion, in tenths.
    private static var keptTenths: UInt64 { 7 }
    private static var roundTripLifetime: Int64 { 10_000_000_000 }
    private static var probeRTTInterval: Int64 { 5_000_000_000 }
    /// Losses in a round that end startup, if they are more than a fiftieth besides (StartupFullLossCnt).
    private static var startupLosses: UInt8 { 6 }

    /// Bytes a second that the model allows; 0 if unknown.
    var bandwidth: UInt64 { min(max(maximum, priorMaximum), shortTerm).bytes }

    mutating func updateModel(_ ack: Acknowledgement) {
        let rate = Rate(min(ack.rate.rate, DeliveryRate.maximum))
        latest = max(latest, rate)
        inflightLatest = max(inflightLatest, ack.rate.delivered)
        // What the application held back is no less than the path does, unless it is more than we knew.
        if rate >= max(maximum, priorMaximum) || !ack.rate.isAppLimited { maximum = max(maximum, rate) }
        if ack.lost > 0 {
            lostInRound = lostInRound.addingSaturated(ack.lost)
            lossesInRound = min(lossesInRound + 1, 254)
            flags.insert(.hasLostInRound)
        }
        if ack.rate.isRoundStart { adaptLowerBounds() }
    }

    /// §5.5.10.3: a round with losses that was no probe lowers what the next rounds may use.
    private mutating func adaptLowerBounds() {
        guard flags.contains(.hasLostInRound), mode != .startup, mode != .refill, mode != .up else { return }
        if shortTerm == .unbounded { shortTerm = max(maximum, priorMaximum) }
        if inflightLow == Self.unbounded { inflightLow = cwnd }
        shortTerm = max(latest, Rate(shortTerm.bytes * Self.keptTenths / 10))
        inflightLow = max(inflightLatest, UInt32(UInt64(inflightLow) * Self.keptTenths / 10))
    }

    /// The round that this ACK starts has seen nothing but this ACK.
    mutating func startRound(_ ack: Acknowledgement) {
        latest = Rate(min(ack.rate.rate, DeliveryRate.maximum))
        inflightLatest = ack.rate.delivered
        lostInRound = 0
        lossesInRound = 0
        flags.remove(.hasLostInRound)
        flags.insert(.isBeyondFirstWindow)
    }

    mutating func resetShortTerm() {
        shortTerm = .unbounded
        inflightLow = Self.unbounded
    }

    mutating func resetFullBandwidth() {
        fullBandwidth = .none
        fullBandwidthCount = 0
        flags.remove(.isFullNow)
    }

    /// §5.5.5: a probe is over, and what was delivered before the one before it is forgotten.
    mutating func advanceMaximum() {
        priorMaximum = maximum
        maximum = .none
    }

    /// §5.3.1.2: three rounds without a quarter more.
    mutating func checkFullBandwidth(_ sample: RateSample) {
        if flags.contains(.isFullNow) || sample.isAppLimited { return }
        let rate = Rate(min(sample.rate, DeliveryRate.maximum))
        if rate.bytes >= fullBandwidth.bytes * 5 / 4, rate > fullBandwidth {
            resetFullBandwidth()
            fullBandwidth = rate
            return
        }
        guard sample.isRoundStart else { return }
        fullBandwidthCount = min(fullBandwidthCount + 1, 254)
        if fullBandwidthCount >= 3 { flags.insert([.isFullNow, .hasFilledPipe]) }
    }

    /// §5.3.1.3: startup has filled the path and its buffer, though the rate may still grow.
    mutating func checkStartupLoss(_ ack: Acknowledgement) {
        guard mode == .startup, !flags.contains(.hasFilledPipe), ack.rate.isRoundStart,
            lossesInRound >= Self.startupLosses, isInflightTooHigh(ack.rate)
        else { return }
        flags.insert(.hasFilledPipe)
        inflightHigh = UInt32(clamping: max(inflight(gain: Self.unit), UInt64(inflightLatest)))
    }

    /// What was in flight when what is acknowledged now was sent: that has been delivered since, or lost.
    private func inflightWhenSent(_ sample: RateSample) -> UInt32 { sample.delivered.addingSaturated(lostInRound) }

    private func isInflightTooHigh(_ sample: RateSample) -> Bool {
        UInt64(lostInRound) * Self.lossDivisor > UInt64(inflightWhenSent(sample))
    }

    /// §5.5.10.2: what a probe has shown raises or lowers the bound. Returns whether it was too much.
    mutating func adaptUpperBound(_ ack: Acknowledgement) -> Bool {
        if ackPhase == .starting, ack.rate.isRoundStart { ackPhase = .feedback }
        if ackPhase == .stopping, ack.rate.isRoundStart {
            flags.remove(.isProbeSample)
            ackPhase = .none
            if mode.isProbingBandwidth, !ack.rate.isAppLimited { advanceMaximum() }
        }
        if isInflightTooHigh(ack.rate) {
            guard flags.contains(.isProbeSample) else { return false }
            flags.remove(.isProbeSample)
            if !ack.rate.isAppLimited {
                let target = UInt64(targetInflight) * Self.keptTenths / 10
                inflightHigh = max(inflightWhenSent(ack.rate), UInt32(clamping: target), minimumWindow)
            }
            return true
        }
        guard inflightHigh != Self.unbounded else { return false }
        inflightHigh = max(inflightHigh, inflightWhenSent(ack.rate))
        if mode == .up { raiseBound(ack) }
        return false
    }

    /// §5.3.3.6: while the bound is what limits, it grows by one segment a round trip, then two, four and so on.
    private mutating func raiseBound(_ ack: Acknowledgement) {
        guard ack.isCwndLimited, cwnd >= inflightHigh else { return }
        let growth = UInt64(mss) << UInt64(probeRounds)
        let share = UInt64(ack.bytes) * growth / UInt64(cwnd)
        inflightHigh = inflightHigh.addingSaturated(UInt32(clamping: max(share, 1)))
        if ack.rate.isRoundStart { probeRounds = min(probeRounds + 1, 30) }
    }

    /// §5.5.9: the shortest round trip of ten seconds, probed for every five. Returns whether it is time to.
    mutating func updateRoundTrip(_ ack: Acknowledgement) -> Bool {
        let isDue = probedRoundTripAt.elapsed(at: ack.now) > Self.probeRTTInterval
        guard ack.sampleRTT > 0 else { return isDue }
        if ack.sampleRTT < probedRoundTrip || isDue {
            probedRoundTrip = min(ack.sampleRTT, RTT.maximumRTO)
            probedRoundTripAt = Ticks(ack.now)
        }
        if probedRoundTrip <= roundTrip || roundTripAt.elapsed(at: ack.now) > Self.roundTripLifetime {
            roundTrip = probedRoundTrip
            roundTripAt = probedRoundTripAt
        }
        if !flags.contains(.hasRoundTrip) { firstRoundTrip(ack.sampleRTT) }
        return isDue
    }

    // MARK: What the path holds

    /// Bytes that leave in `gain` times a round trip.
    func product(gain: UInt64) -> UInt64 {
        guard roundTrip != .max, bandwidth > 0 else { return UInt64(initialWindow) * gain / Self.unit }
        // 2³⁶ bytes a second and 2²⁷ µs at most.
        return bandwidth * UInt64(roundTrip) / 1_000_000 * gain / Self.unit
    }

    /// §5.6.4.2: the same, and enough for what the ends send and hold back in bursts.
    func inflight(gain: UInt64) -> UInt64 {
        let bytes = max(product(gain: gain), 3 * sendQuantum, UInt64(minimumWindow))
        return mode == .up ? bytes + 2 * UInt64(mss) : bytes
    }

    /// §5.6.3: what leaves at once: a millisecond's worth, two segments at least and 64 KiB at most.
    private var sendQuantum: UInt64 {
        max(min(pacingRate / 1_000, 65_536), UInt64(mss) * (pacingRate < 150_000 ? 1 : 2))
    }

    var targetInflight: UInt32 { UInt32(clamping: min(product(gain: Self.unit), UInt64(cwnd))) }

    /// §5.3.3.3: a part of what is borne is left for others to find.
    var inflightWithHeadroom: UInt32 {
        guard inflightHigh != Self.unbounded else { return Self.unbounded }
        let headroom = max(UInt32(mss), inflightHigh / 20 * 3)
        return max(inflightHigh - min(headroom, inflightHigh), minimumWindow)
    }
}
