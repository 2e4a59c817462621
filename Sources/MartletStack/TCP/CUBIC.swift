// The congestion control of RFC 9438: after a loss the window follows a cubic function of time, steeply back towards where
// the loss was, flat around it, and steeply away again if there is no other.
//
// Hold RFC 9438 §4 beside it. Integers throughout: bytes, milliseconds for the curve, 1/1024 bytes for W_est.
//
//     cwnd │                                ╱     convex: t > K
//     W_max├ ─ ─ ─ ─ ─ ─ ─ ─ ─ ______,.---´─ ─
//          │           _,.--´´´                   concave: t < K
//          │       ,-´
//     0.7  ├ ─ ─ ╱
//          └─────┴───────────────────┴────────▶ t
//                0                   K            W_cubic(t) = C·(t − K)³ + W_max

/// RFC 9438 with fast convergence, and HyStart++ in the first slow start.
struct CUBIC: CongestionController {
    private var epoch = Epoch()
    /// The epoch before the last reduction, for ``undo()``.
    private var priorEpoch = Epoch()
    /// Up to when ``Epoch/elapsed`` has counted: microseconds, which wrap after 71 minutes. Nothing is in flight for so long.
    private var countedUntil: UInt32 = 0
    private var slowStart = SlowStart()
    /// What was left over when the growth was last rounded down to bytes, in 65,536ths of a byte.
    private var growthRemainder: UInt16 = 0

    /// One congestion avoidance: the curve, and where on it we are.
    struct Epoch: BitwiseCopyable, Sendable {
        /// W_est in 1/1024 bytes; 0 before the epoch has begun.
        var wEst: UInt64 = 0
        /// W_max in bytes; 0 if no loss has set it since the connection began, or since a timeout.
        var wMax: UInt32 = 0
        /// cwnd_prior: the window at the last reduction.
        var cwndPrior: UInt32 = 0
        /// K in milliseconds.
        var k: UInt32 = 0
        /// t in microseconds: since the epoch began, without the time in which the window was not what limited (§4.2).
        /// Saturates after 71 minutes, when the curve is far beyond every limit.
        var elapsed: UInt32 = 0
    }

    var cwnd: UInt32 { slowStart.cwnd }
    var ssthresh: UInt32 { slowStart.ssthresh }
    var pacingRate: UInt64 { 0 }

    mutating func established(mss: UInt32, initialWindow: UInt32, smoothedRTT: UInt32, at now: Instant, random: UInt64)
    {
        self = CUBIC()
        slowStart.established(mss: mss, initialWindow: initialWindow)
        countedUntil = Self.clock(now)
    }

    private static func clock(_ now: Instant) -> UInt32 { UInt32(truncatingIfNeeded: now.nanoseconds / 1_000) }

    /// Goes on from another algorithm's windows.
    mutating func resume(window: UInt32, threshold: UInt32) { slowStart.resume(window: window, threshold: threshold) }

    mutating func mssChanged(to mss: UInt32) { slowStart.mssChanged(to: mss) }

    mutating func sent(_ bytes: UInt32, pipe: UInt32, at now: Instant) {
        // Idle until now.
        if pipe == 0 { countedUntil = Self.clock(now) }
    }

    /// The window was not what limited until now.
    mutating func wasUnlimited(at now: Instant) { countedUntil = Self.clock(now) }

    mutating func acknowledged(_ ack: Acknowledgement) {
        guard slowStart.phase != .recovery, !slowStart.isActive, ack.isCwndLimited else {
            wasUnlimited(at: ack.now)
            if slowStart.phase != .recovery && slowStart.isActive { slowStart.grow(ack) }
            return
        }
        if epoch.wEst == 0 { beginEpoch(at: ack.now) } else { count(until: ack.now) }
        grow(bytes: min(ack.bytes, cwnd), smoothedRTT: ack.smoothedRTT)
    }

    mutating func congestionEvent(
        _ reason: CongestionReason, flightSize: UInt32, pipe: UInt32, at now: Instant
    ) -> UInt32 {
        guard slowStart.phase != .recovery else { return ssthresh }
        priorEpoch = epoch
        // §4.7, fast convergence: a window smaller than at the last loss makes room for somebody new. (1 + β) / 2
        let wMax = cwnd < epoch.wMax ? UInt32(UInt64(cwnd) * 17 / 20) : cwnd
        epoch = Epoch(wMax: wMax, cwndPrior: cwnd)
        slowStart.reduce(to: threshold(flightSize))
        return ssthresh
    }

    mutating func retransmissionTimeout(flightSize: UInt32, isRepeated: Bool, at now: Instant) {
        if slowStart.phase == .recovery {
            // This window of data has paid already, and taking the timeout back must not take that back.
            priorEpoch = epoch
            epoch.wMax = 0
            slowStart.remember()
            slowStart.collapse(threshold: nil)
        } else if isRepeated {
            slowStart.collapse(threshold: nil)
        } else {
            // §4.8: the next epoch starts flat, from wherever slow start ends.
            priorEpoch = epoch
            epoch = Epoch(cwndPrior: cwnd)
            slowStart.collapse(threshold: threshold(flightSize))
        }
        epoch.wEst = 0
    }

    mutating func recoveryEnded(at now: Instant) {
        slowStart.recoveryEnded()
        countedUntil = Self.clock(now)
    }

    /// §4.9: the curve goes on as if nothing had been, but for the time it took to find out.
    mutating func undo() {
        if slowStart.undo() { epoch = priorEpoch }
    }

    mutating func idleRestarted(at now: Instant) {
        slowStart.restart()
        epoch.wEst = 0
    }

    /// §4.6, with β = 0.7, of the FlightSize, which limited transmit (RFC 3042) may have raised above the window.
    private func threshold(_ flightSize: UInt32) -> UInt64 { UInt64(min(flightSize, cwnd)) * 7 / 10 }
}

// MARK: - Congestion avoidance

extension CUBIC {
    private mutating func beginEpoch(at now: Instant) {
        if cwnd < epoch.wMax {
            epoch.k = Self.timeToClimb(epoch.wMax - cwnd, mss: slowStart.mss)
        } else {
            // §4.8 and §4.10: slow start ended without a loss, and the plateau is here.
            epoch.wMax = cwnd
            epoch.k = 0
            if epoch.cwndPrior == 0 { epoch.cwndPrior = cwnd }
        }
        epoch.wEst = UInt64(cwnd) << 10
        epoch.elapsed = 0
        growthRemainder = 0
        countedUntil = Self.clock(now)
    }

    private mutating func count(until now: Instant) {
        let clock = Self.clock(now)
        epoch.elapsed = epoch.elapsed.addingSaturated(clock &- countedUntil)
        countedUntil = clock
    }

    private mutating func grow(bytes: UInt32, smoothedRTT: UInt32) {
        let mss = slowStart.mss
        // §4.3: α = 3 (1 − β) / (1 + β) = 9/17, which makes up for β's being more than a half; 1 once it has.
        let hasCaughtUp = epoch.wEst >> 10 >= UInt64(epoch.cwndPrior)
        let share = UInt64(mss) * UInt64(bytes) << 10
        epoch.wEst += hasCaughtUp ? share / UInt64(cwnd) : share * 9 / (17 * UInt64(cwnd))
        epoch.wEst = min(epoch.wEst, UInt64(CongestionLimits.maximumWindow) << 10)
        if Self.curve(at: epoch.elapsed, of: epoch, mss: mss) < epoch.wEst >> 10 {
            // §4.3: a Reno would have more, so take as much.
            return slowStart.setWindow(max(UInt64(cwnd), epoch.wEst >> 10))
        }
        // §4.4 and §4.5: the target a round trip from here, to be reached by then.
        let target = min(
            Self.curve(at: epoch.elapsed.addingSaturated(smoothedRTT), of: epoch, mss: mss),
            UInt64(cwnd) + UInt64(cwnd) / 2)
        guard target > UInt64(cwnd) else { return }
        let (growth, rest) = ((target - UInt64(cwnd)) * UInt64(bytes)).quotientAndRemainder(dividingBy: UInt64(cwnd))
        let fraction = (rest << 16) / UInt64(cwnd) + UInt64(growthRemainder)
        growthRemainder = UInt16(truncatingIfNeeded: fraction)
        slowStart.setWindow(UInt64(cwnd) + growth + fraction >> 16)
    }

    /// W_cubic in bytes, at `elapsed` microseconds of an epoch; not below 0.
    static func curve(at elapsed: UInt32, of epoch: Epoch, mss: UInt32) -> UInt64 {
        // Nine minutes from the plateau every window is beyond the limits, and the cube has still room.
        let distance = min(max(Int64(elapsed / 1_000) - Int64(epoch.k), -(1 << 19)), 1 << 19)
        // C = 0.4 segments/s³. The cube, of milliseconds, is cut to where it is 4 millionths of a segment.
        let cube = distance * distance * distance / 10_000
        let height = cube * 2 * Int64(mss) / 500_000
        return UInt64(max(height + Int64(epoch.wMax), 0))
    }

    /// K in milliseconds: how long the curve takes for so many bytes up to its plateau.
    static func timeToClimb(_ bytes: UInt32, mss: UInt32) -> UInt32 {
        // bytes / (0.4 · mss) seconds cubed, of which there are 10⁹ cubed milliseconds.
        cubeRoot(UInt64(bytes) * 2_500_000_000 / UInt64(mss))
    }

    /// The integer cube root, rounded down: three bits of the number at a time give one of the root.
    static func cubeRoot(_ number: UInt64) -> UInt32 {
        var root: UInt64 = 0
        for bit in stride(from: 21, through: 0, by: -1) {
            let candidate = root | 1 << UInt64(bit)
            // 2642245 is the largest root, and its successor's cube overflows.
            if candidate <= 2_642_245 && candidate * candidate * candidate <= number { root = candidate }
        }
        return UInt32(root)
    }
}
