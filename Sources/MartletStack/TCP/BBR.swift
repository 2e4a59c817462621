// BBR, version 3: the window and the rate follow a model of the path, which is what it delivers at most, how short its round trip is
// at least, and how much it has been seen to hold without losing more than a little.
//
// Hold draft-ietf-ccwg-bbr beside it; the names are its, and what each ACK does is in its order. The model is in BBR+Model, the walk
// through the modes in BBR+Modes. Left out: the allowance for ACKs that come in lumps, and the draft's exact bookkeeping of losses a
// packet, for which a round's stand here. Congestion marks are not looked at.
//
//     startup ── three rounds without a quarter more, or many losses ──▶ drain ── the queue is gone ──▶ ┌─▶ down ──▶ cruise ─┐
//                                                                                                       │                    │
//     probeRTT: every five seconds, from each of them, and back to down                                 └── up ◀── refill ◀──┘

/// BBRv3. Wants delivery rates with its ACKs, and wants its pacing rate kept.
struct BBR: CongestionController {
    // Gains, in 1/256. Startup's is 4 ln 2: the least that doubles the rate each round.
    static var unit: UInt64 { 256 }
    static var startupGain: UInt64 { 709 }
    static var drainGain: UInt64 { 128 }
    static var windowGain: UInt64 { 512 }
    static var minimumSegments: UInt32 { 4 }
    /// What is not known: no bound.
    static var unbounded: UInt32 { .max }

    enum Mode: UInt8, BitwiseCopyable, Sendable {
        case startup, drain, probeRTT
        // ProbeBW's phases: below the rate until the queue is gone, at it with room for others, at it with the pipe full, and above it.
        case down, cruise, refill, up

        var isProbingBandwidth: Bool { self == .down || self == .cruise || self == .refill || self == .up }
    }

    /// What the ACKs that come now can tell of the last probe for bandwidth.
    enum AckPhase: UInt8, BitwiseCopyable, Sendable {
        case none, refilling, starting, feedback, stopping
    }

    struct Flags: OptionSet, BitwiseCopyable, Sendable {
        let rawValue: UInt16
        static let hasFilledPipe = Flags(rawValue: 1)
        /// The same of the rate since the last probe began.
        static let isFullNow = Flags(rawValue: 2)
        static let isInRecovery = Flags(rawValue: 4)
        static let isRestarting = Flags(rawValue: 8)
        static let isProbeRTTTimed = Flags(rawValue: 16)
        static let isProbeRTTRoundDone = Flags(rawValue: 32)
        static let hasRoundTrip = Flags(rawValue: 64)
        /// What is in flight results from a probe that has not yet been judged.
        static let isProbeSample = Flags(rawValue: 128)
        static let hasLostInRound = Flags(rawValue: 256)
        /// More than the first window has been delivered.
        static let isBeyondFirstWindow = Flags(rawValue: 512)
    }

    /// Bytes a second, in units of 16: 2³⁶ at most.
    struct Rate: BitwiseCopyable, Sendable, Comparable {
        private var units: UInt32
        init(_ bytes: UInt64) { units = UInt32(min(bytes >> 4, UInt64(UInt32.max - 1))) }
        private init(units: UInt32) { self.units = units }
        static var none: Rate { Rate(units: 0) }
        static var unbounded: Rate { Rate(units: .max) }
        var bytes: UInt64 { UInt64(units) << 4 }
        static func < (left: Rate, right: Rate) -> Bool { left.units < right.units }
        func times(_ gain: UInt64) -> Rate { Rate(bytes * gain / BBR.unit) }
    }

    /// Microseconds and a fiftieth, of 32 bits: for times that are compared within minutes.
    struct Ticks: BitwiseCopyable, Sendable {
        private var count: UInt32
        init(_ instant: Instant) { count = UInt32(truncatingIfNeeded: instant.nanoseconds >> 10) }
        /// Nanoseconds from this time on.
        func elapsed(at now: Instant) -> Int64 { Int64(Ticks(now).count &- count) << 10 }
    }

    private(set) var cwnd: UInt32 = 1
    private var priorCwnd: UInt32 = 0
    var initialWindow: UInt32 = 1
    /// RTprop in microseconds; the largest number if unknown. And since when; and the same since the last probe for it.
    var roundTrip: UInt32 = .max
    var probedRoundTrip: UInt32 = .max
    var roundTripAt = Ticks(.zero)
    var probedRoundTripAt = Ticks(.zero)
    /// The most delivered, in this cycle of probing and in the one before; what the last round bears; and of this round.
    var maximum = Rate.none
    var priorMaximum = Rate.none
    var shortTerm = Rate.unbounded
    var latest = Rate.none
    /// The rate that the pipe's being full is judged by.
    var fullBandwidth = Rate.none
    private var pacing = Rate.none
    /// The most in flight that was borne, what the last round bears, and of this round.
    var inflightHigh = BBR.unbounded
    var inflightLow = BBR.unbounded
    var inflightLatest: UInt32 = 0
    /// What was lost in this round, and ``inflightHigh`` before the last loss that lowered it.
    var lostInRound: UInt32 = 0
    var priorInflightHigh = BBR.unbounded
    /// When the phase began, or from when on enough was out of flight to measure the round trip.
    var phaseAt = Ticks(.zero)
    /// Milliseconds until the next probe for bandwidth.
    var probeWait: UInt16 = 0
    var mss: UInt16 = 1
    private var random: UInt16 = 0
    var flags: Flags = []
    var mode = Mode.startup
    var ackPhase = AckPhase.none
    var fullBandwidthCount: UInt8 = 0
    var lossesInRound: UInt8 = 0
    var roundsSinceProbe: UInt8 = 0
    var probeRounds: UInt8 = 0

    /// BBR has none: losses end its startup in a way of their own.
    var ssthresh: UInt32 { .max }
    var pacingRate: UInt64 { max(pacing.bytes, 1) }

    /// Whether this window is kept small to measure, so that what is delivered meanwhile is application-limited.
    var marksAppLimited: Bool { mode == .probeRTT }

    mutating func established(mss: UInt32, initialWindow: UInt32, smoothedRTT: UInt32, at now: Instant, random: UInt64)
    {
        self = BBR()
        self.mss = UInt16(CongestionLimits.segment(mss))
        self.initialWindow = CongestionLimits.window(UInt64(initialWindow), mss: UInt32(self.mss))
        cwnd = self.initialWindow
        (roundTripAt, probedRoundTripAt, phaseAt) = (Ticks(now), Ticks(now), Ticks(now))
        self.random = UInt16(truncatingIfNeeded: random ^ random >> 16 ^ random >> 32)
        if smoothedRTT > 0 { flags.insert(.hasRoundTrip) }
        // §5.6.2: a millisecond, for want of better.
        setInitialRate(roundTrip: smoothedRTT > 0 ? smoothedRTT : 1_000)
    }

    /// Goes on from another algorithm's window, and at its rate.
    mutating func resume(window: UInt32, smoothedRTT: UInt32) {
        cwnd = max(window, minimumWindow)
        if smoothedRTT > 0 { pacing = Rate(UInt64(cwnd) * 1_000_000 / UInt64(smoothedRTT)) }
    }

    mutating func mssChanged(to mss: UInt32) {
        self.mss = UInt16(CongestionLimits.segment(mss))
        cwnd = max(cwnd, UInt32(self.mss))
        initialWindow = max(initialWindow, UInt32(self.mss))
    }

    mutating func sent(_ bytes: UInt32, pipe: UInt32, at now: Instant) {
        if pipe == 0 { idleRestarted(at: now) }
    }

    /// §5.4.1: at the rate of the path, for there is no queue; and RTprop need not be probed for what idleness showed.
    mutating func idleRestarted(at now: Instant) {
        flags.insert(.isRestarting)
        if mode.isProbingBandwidth { setPacingRate(gain: Self.unit) }
    }

    mutating func acknowledged(_ ack: Acknowledgement) {
        guard ack.bytes > 0 || ack.lost > 0 else { return }
        let pipe = ack.pipe - min(ack.pipe, ack.bytes.addingSaturated(ack.lost))
        updateModel(ack)
        advanceMode(ack, pipe: pipe)
        if ack.rate.isRoundStart { startRound(ack) }
        setPacingRate(gain: pacingGain)
        setWindow(ack)
    }

    mutating func congestionEvent(
        _ reason: CongestionReason, flightSize: UInt32, pipe: UInt32, at now: Instant
    ) -> UInt32 {
        guard reason == .loss, !flags.contains(.isInRecovery) else { return ssthresh }
        // What is lost is told with the ACKs; here a recovery begins, and the bounds are to be what they were if it was for nothing.
        saveWindow()
        priorInflightHigh = inflightHigh
        flags.insert(.isInRecovery)
        return ssthresh
    }

    mutating func retransmissionTimeout(flightSize: UInt32, isRepeated: Bool, at now: Instant) {
        saveWindow()
        if !flags.contains(.isInRecovery) { priorInflightHigh = inflightHigh }
        flags.insert(.isInRecovery)
        fullBandwidth = .none
        cwnd = UInt32(mss)
    }

    mutating func recoveryEnded(at now: Instant) {
        guard flags.contains(.isInRecovery) else { return }
        flags.remove(.isInRecovery)
        restoreWindow()
    }

    mutating func undo() {
        guard flags.contains(.isInRecovery) else { return }
        // The loss that was none may have slowed the rounds that took the pipe for full, and has lowered the bounds.
        resetFullBandwidth()
        resetShortTerm()
        inflightHigh = max(inflightHigh, priorInflightHigh)
        recoveryEnded(at: .zero)
    }
}

// MARK: - What it answers

extension BBR {
    private mutating func setInitialRate(roundTrip: UInt32) {
        pacing = Rate(UInt64(initialWindow) * 1_000_000 / UInt64(roundTrip) * Self.startupGain / Self.unit)
    }

    /// The handshake gave no round trip, and this ACK does.
    mutating func firstRoundTrip(_ microseconds: UInt32) {
        flags.insert(.hasRoundTrip)
        setInitialRate(roundTrip: microseconds)
    }

    private mutating func setPacingRate(gain: UInt64) {
        // §5.6.2: a hundredth below what is delivered, so that no queue lasts.
        let rate = Rate(bandwidth * gain / Self.unit * 99 / 100)
        // Until the pipe is full the estimate only follows, and must not slow us down.
        if flags.contains(.hasFilledPipe) || rate > pacing { pacing = rate }
    }

    private mutating func setWindow(_ ack: Acknowledgement) {
        var window = UInt64(cwnd)
        let most = inflight(gain: windowGain)
        if flags.contains(.hasFilledPipe) {
            window = min(window + UInt64(ack.bytes), most)
        } else if window < most || !flags.contains(.isBeyondFirstWindow) {
            window += UInt64(ack.bytes)
        }
        window = max(window, UInt64(minimumWindow))
        if mode == .probeRTT { window = min(window, probeRTTWindow) }
        cwnd = CongestionLimits.window(min(window, bound), mss: UInt32(mss))
    }

    /// §5.6.4.7: what the model allows, whatever the gain.
    private var bound: UInt64 {
        let high = mode == .probeRTT || mode == .cruise ? inflightWithHeadroom : inflightHigh
        let most = mode.isProbingBandwidth || mode == .probeRTT ? high : Self.unbounded
        return UInt64(max(min(most, inflightLow), minimumWindow))
    }

    var minimumWindow: UInt32 { Self.minimumSegments * UInt32(mss) }

    /// §5.6.4.5: half of what the path holds.
    var probeRTTWindow: UInt64 { max(product(gain: Self.unit / 2), UInt64(minimumWindow)) }

    mutating func saveWindow() {
        // In recovery and while probing the window is small on purpose.
        let isSmall = flags.contains(.isInRecovery) || mode == .probeRTT
        priorCwnd = isSmall ? max(priorCwnd, cwnd) : cwnd
    }

    mutating func restoreWindow() { cwnd = max(cwnd, priorCwnd) }

    /// One of `count` numbers, each as likely as the others.
    mutating func draw(_ count: UInt16) -> UInt16 {
        // Of Knuth's linear congruences; its upper bits are good enough to keep flows from probing in step.
        random = random &* 25_173 &+ 13_849
        return UInt16((UInt32(random) * UInt32(count)) >> 16)
    }
}
