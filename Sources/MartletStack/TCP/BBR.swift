// BBR, version 1: the window and the rate follow a model of the path, which is what it delivers at most and how short its
// round trip is at least. The product of both is what the path holds without a queue.
//
// Hold draft-cardwell-iccrg-bbr-congestion-control-00 §4 beside it; the names are its. Left out: the long-term sampling
// that finds policers, which is in Linux and not in the draft. Congestion marks are not looked at, as the draft does not.
//
//     startup ── three rounds without a quarter more ──▶ drain ── the queue is gone ──▶ probeBandwidth
//        ▲                                                                              │      ▲
//        └──────── the pipe was never full ──── probeRTT ◀── RTprop is 10 s old ────────┘      │
//                                                  └───────────────────────────────────────────┘

/// BBRv1. Wants delivery rates with its ACKs, and wants its pacing rate kept.
struct BBR: CongestionController {
    // Gains, in 1/256. Startup's is 2/ln 2: the least that doubles the rate each round.
    static var highGain: UInt64 { 739 }
    static var drainGain: UInt64 { 88 }
    static var unit: UInt64 { 256 }
    static var windowGain: UInt64 { 512 }
    /// Rounds that BtlBw is remembered.
    static var bandwidthRounds: UInt32 { 10 }
    static var minimumSegments: UInt32 { 4 }
    static var roundTripLifetime: Int64 { 10_000_000_000 }
    static var probeRTTDuration: Int64 { 200_000_000 }

    enum Mode: UInt8, BitwiseCopyable, Sendable {
        case startup, drain, probeBandwidth, probeRTT
    }

    /// BtlBw, in bytes a second, over rounds.
    private var bandwidths = WindowedMaximum<UInt64>()
    private(set) var cwnd: UInt32 = 1
    private var priorCwnd: UInt32 = 0
    private var mss: UInt32 = 1
    /// RTprop in microseconds; the largest number if unknown.
    private(set) var roundTrip: UInt32 = .max
    private var roundCount: UInt32 = 0
    private var initialWindow: UInt32 = 1
    /// Bytes delivered so far, as far as the first window needs to know.
    private var delivered: UInt32 = 0
    private(set) var pacingRate: UInt64 = 0
    private var fullBandwidth: UInt64 = 0
    private var roundTripTime = Instant.zero
    /// When probeRTT may end; the distant future while its pipe is not yet small.
    private var probeRTTDone = Instant.distantFuture
    private var cycleTime = Instant.zero
    private(set) var mode = Mode.startup
    private var cycleIndex: UInt8 = 0
    private var fullBandwidthCount: UInt8 = 0
    private var phaseSeed: UInt8 = 0
    private var flags: Flags = []

    private struct Flags: OptionSet, BitwiseCopyable, Sendable {
        let rawValue: UInt8
        static let hasFilledPipe = Flags(rawValue: 1)
        static let isInRecovery = Flags(rawValue: 2)
        static let conservesPackets = Flags(rawValue: 4)
        static let isRestarting = Flags(rawValue: 8)
        static let isProbeRTTRoundDone = Flags(rawValue: 16)
        static let hasRoundTrip = Flags(rawValue: 32)
    }

    /// BBR has none: losses do not end its startup.
    var ssthresh: UInt32 { .max }

    /// Whether this window is kept small to measure, so that what is delivered meanwhile is application-limited.
    var marksAppLimited: Bool { mode == .probeRTT }

    /// BtlBw in bytes a second; 0 if unknown.
    var bandwidth: UInt64 { bandwidths.value }

    mutating func established(mss: UInt32, initialWindow: UInt32, smoothedRTT: UInt32, at now: Instant, random: UInt64)
    {
        self = BBR()
        self.mss = CongestionLimits.segment(mss)
        self.initialWindow = CongestionLimits.window(UInt64(initialWindow), mss: self.mss)
        cwnd = self.initialWindow
        roundTripTime = now
        cycleTime = now
        phaseSeed = UInt8(truncatingIfNeeded: random >> 32)
        if smoothedRTT > 0 { flags.insert(.hasRoundTrip) }
        // §4.2.1: a millisecond, for want of better.
        setInitialRate(roundTrip: smoothedRTT > 0 ? smoothedRTT : 1_000)
    }

    mutating func mssChanged(to mss: UInt32) {
        self.mss = CongestionLimits.segment(mss)
        cwnd = max(cwnd, self.mss)
        initialWindow = max(initialWindow, self.mss)
    }

    mutating func sent(_ bytes: UInt32, pipe: UInt32, at now: Instant) {
        if pipe == 0 { idleRestarted(at: now) }
    }

    /// §4.3.4.4: at the rate of the path, for there is no queue; and RTprop need not be probed for what idleness showed.
    mutating func idleRestarted(at now: Instant) {
        flags.insert(.isRestarting)
        if mode == .probeBandwidth { setPacingRate(gain: Self.unit) }
    }

    mutating func acknowledged(_ ack: Acknowledgement) {
        guard ack.bytes > 0 || ack.lost > 0 else { return }
        let pipe = ack.pipe - min(ack.pipe, ack.bytes.addingSaturated(ack.lost))
        delivered = delivered.addingSaturated(ack.bytes)
        updateBandwidth(ack)
        if mode == .probeBandwidth && isNextPhase(ack) { advancePhase(at: ack.now) }
        checkFullPipe(ack.rate)
        checkDrain(pipe: pipe, at: ack.now)
        let isExpired = updateRoundTrip(ack)
        checkProbeRTT(isExpired: isExpired, pipe: pipe, ack)
        setPacingRate(gain: pacingGain)
        setWindow(pipe: pipe, ack)
    }

    /// §4.2.3.4: for a round, what leaves is what arrives; then the model again.
    mutating func congestionEvent(
        _ reason: CongestionReason, flightSize: UInt32, pipe: UInt32, at now: Instant
    ) -> UInt32 {
        guard reason == .loss, !flags.contains(.isInRecovery) else { return ssthresh }
        saveWindow()
        flags.insert([.isInRecovery, .conservesPackets])
        cwnd = CongestionLimits.window(UInt64(pipe) + UInt64(mss), mss: mss)
        return ssthresh
    }

    mutating func retransmissionTimeout(flightSize: UInt32, isRepeated: Bool, at now: Instant) {
        saveWindow()
        flags.insert(.isInRecovery)
        flags.remove(.conservesPackets)
        cwnd = mss
    }

    mutating func recoveryEnded(at now: Instant) {
        guard flags.contains(.isInRecovery) else { return }
        flags.remove([.isInRecovery, .conservesPackets])
        restoreWindow()
    }

    mutating func undo() {
        guard flags.contains(.isInRecovery) else { return }
        // The loss that was none may have slowed the rounds that took the pipe for full.
        fullBandwidth = 0
        fullBandwidthCount = 0
        recoveryEnded(at: .zero)
    }
}

// MARK: - The model

extension BBR {
    private mutating func updateBandwidth(_ ack: Acknowledgement) {
        if ack.rate.isRoundStart {
            roundCount &+= 1
            flags.remove(.conservesPackets)
        }
        guard ack.rate.rate > 0 else { return }
        let rate = min(ack.rate.rate, DeliveryRate.maximum)
        // What the application held back is no less than the path does, unless it is more than we knew.
        if rate >= bandwidth || !ack.rate.isAppLimited {
            bandwidths.offer(rate, at: roundCount, window: Self.bandwidthRounds)
        }
    }

    /// Returns whether RTprop had been too old.
    private mutating func updateRoundTrip(_ ack: Acknowledgement) -> Bool {
        let isExpired = ack.now > roundTripTime.advanced(byNanoseconds: Self.roundTripLifetime)
        guard ack.sampleRTT > 0 else { return isExpired }
        if ack.sampleRTT <= roundTrip || isExpired {
            roundTrip = min(ack.sampleRTT, RTT.maximumRTO)
            roundTripTime = ack.now
        }
        if !flags.contains(.hasRoundTrip) {
            flags.insert(.hasRoundTrip)
            setInitialRate(roundTrip: ack.sampleRTT)
        }
        return isExpired
    }

    private mutating func checkFullPipe(_ sample: RateSample) {
        if flags.contains(.hasFilledPipe) || !sample.isRoundStart || sample.isAppLimited { return }
        if bandwidth >= fullBandwidth + fullBandwidth / 4 {
            fullBandwidth = bandwidth
            fullBandwidthCount = 0
            return
        }
        fullBandwidthCount += 1
        if fullBandwidthCount >= 3 { flags.insert(.hasFilledPipe) }
    }

    /// What `gain` times the path holds, and what the ends hold back: three bursts, of the sender, the receiver, and ACKs.
    func inflight(gain: UInt64) -> UInt64 {
        guard roundTrip != .max, bandwidth > 0 else { return UInt64(initialWindow) * gain / Self.unit }
        // 2³⁶ bytes a second and 2²⁷ µs at most.
        return bandwidth * UInt64(roundTrip) / 1_000_000 * gain / Self.unit + 3 * sendQuantum
    }

    /// §4.2.2: what leaves at once: a millisecond's worth, 64 KiB at most.
    private var sendQuantum: UInt64 {
        if pacingRate < 150_000 { return UInt64(mss) }
        if pacingRate < 3_000_000 { return 2 * UInt64(mss) }
        return min(pacingRate / 1_000, 65_536)
    }
}

// MARK: - The modes

extension BBR {
    private var pacingGain: UInt64 {
        switch mode {
        case .startup: Self.highGain
        case .drain: Self.drainGain
        case .probeRTT: Self.unit
        case .probeBandwidth: Self.gain(ofPhase: cycleIndex)
        }
    }

    /// §4.3.4: probe for more, drain the queue that made, and then cruise for six.
    private static func gain(ofPhase index: UInt8) -> UInt64 {
        switch index {
        case 0: unit * 5 / 4
        case 1: unit * 3 / 4
        default: unit
        }
    }

    private func isNextPhase(_ ack: Acknowledgement) -> Bool {
        let length = roundTrip == .max ? 0 : Int64(roundTrip) * 1_000
        let isFullLength = ack.now > cycleTime.advanced(byNanoseconds: length)
        return switch cycleIndex {
        case 0: isFullLength && (ack.lost > 0 || UInt64(ack.pipe) >= inflight(gain: pacingGain))
        case 1: isFullLength || UInt64(ack.pipe) <= inflight(gain: Self.unit)
        default: isFullLength
        }
    }

    private mutating func advancePhase(at now: Instant) {
        cycleTime = now
        cycleIndex = (cycleIndex + 1) & 7
    }

    private mutating func checkDrain(pipe: UInt32, at now: Instant) {
        if mode == .startup && flags.contains(.hasFilledPipe) { mode = .drain }
        if mode == .drain && UInt64(pipe) <= inflight(gain: Self.unit) { enterProbeBandwidth(at: now) }
    }

    private mutating func enterProbeBandwidth(at now: Instant) {
        mode = .probeBandwidth
        // Any phase but the one that drains, so that connections do not probe in step.
        let random = (UInt32(phaseSeed) &+ roundCount) &* 0x9E37_79B1
        cycleIndex = UInt8(7 - random >> 16 % 7)
        advancePhase(at: now)
    }

    private mutating func checkProbeRTT(isExpired: Bool, pipe: UInt32, _ ack: Acknowledgement) {
        if mode != .probeRTT && isExpired && !flags.contains(.isRestarting) {
            saveWindow()
            mode = .probeRTT
            probeRTTDone = .distantFuture
        }
        if mode == .probeRTT { handleProbeRTT(pipe: pipe, ack) }
        if ack.bytes > 0 { flags.remove(.isRestarting) }
    }

    private mutating func handleProbeRTT(pipe: UInt32, _ ack: Acknowledgement) {
        if probeRTTDone == .distantFuture {
            if pipe <= Self.minimumSegments * mss {
                probeRTTDone = ack.now.advanced(byNanoseconds: Self.probeRTTDuration)
                flags.remove(.isProbeRTTRoundDone)
            }
            return
        }
        if ack.rate.isRoundStart { flags.insert(.isProbeRTTRoundDone) }
        guard flags.contains(.isProbeRTTRoundDone), ack.now > probeRTTDone else { return }
        roundTripTime = ack.now
        restoreWindow()
        if flags.contains(.hasFilledPipe) { enterProbeBandwidth(at: ack.now) } else { mode = .startup }
    }
}

// MARK: - What it answers

extension BBR {
    private mutating func setInitialRate(roundTrip: UInt32) {
        pacingRate = UInt64(initialWindow) * 1_000_000 / UInt64(roundTrip) * Self.highGain / Self.unit
        pacingRate = max(pacingRate, 1)
    }

    private mutating func setPacingRate(gain: UInt64) {
        let rate = bandwidth * gain / Self.unit
        // Until the pipe is full the estimate only follows, and must not slow us down.
        if flags.contains(.hasFilledPipe) || rate > pacingRate { pacingRate = max(rate, 1) }
    }

    private mutating func setWindow(pipe: UInt32, _ ack: Acknowledgement) {
        var window = UInt64(cwnd)
        if flags.contains(.isInRecovery) {
            window -= min(window, UInt64(ack.lost))
            window = max(window, UInt64(mss))
        }
        if flags.contains(.conservesPackets) {
            window = max(window, UInt64(pipe) + UInt64(ack.bytes))
        } else {
            let gain = mode == .startup || mode == .drain ? Self.highGain : Self.windowGain
            let target = inflight(gain: mode == .probeRTT ? Self.unit : gain)
            if flags.contains(.hasFilledPipe) {
                window = min(window + UInt64(ack.bytes), target)
            } else if window < target || delivered < initialWindow {
                window += UInt64(ack.bytes)
            }
            window = max(window, UInt64(Self.minimumSegments * mss))
        }
        if mode == .probeRTT { window = min(window, UInt64(Self.minimumSegments * mss)) }
        cwnd = CongestionLimits.window(window, mss: mss)
    }

    private mutating func saveWindow() {
        // In recovery and while probing the window is small on purpose.
        let isSmall = flags.contains(.isInRecovery) || mode == .probeRTT
        priorCwnd = isSmall ? max(priorCwnd, cwnd) : cwnd
    }

    private mutating func restoreWindow() {
        cwnd = max(cwnd, priorCwnd)
    }
}
