// The algorithm of a connection, chosen when it opens: the one place that switches.

/// One of the algorithms, with its state.
enum CongestionControl: BitwiseCopyable, Sendable {
    case newReno(NewReno)
    case cubic(CUBIC)
    case bbr(BBR)

    init(_ algorithm: CongestionAlgorithm) {
        switch algorithm {
        case .newReno: self = .newReno(NewReno())
        case .cubic: self = .cubic(CUBIC())
        case .bbr: self = .bbr(BBR())
        }
    }

    var algorithm: CongestionAlgorithm {
        switch self {
        case .newReno: .newReno
        case .cubic: .cubic
        case .bbr: .bbr
        }
    }

    /// Another algorithm takes over, and goes on from the windows as they are.
    mutating func change(
        to algorithm: CongestionAlgorithm, mss: UInt32, smoothedRTT: UInt32, at now: Instant, random: UInt64
    ) {
        let (window, threshold) = (cwnd, ssthresh)
        self = CongestionControl(algorithm)
        established(
            mss: mss, initialWindow: CongestionLimits.initialWindow(mss: mss), smoothedRTT: smoothedRTT, at: now,
            random: random)
        switch self {
        case .newReno(var control):
            control.resume(window: window, threshold: threshold)
            self = .newReno(control)
        case .cubic(var control):
            control.resume(window: window, threshold: threshold)
            self = .cubic(control)
        case .bbr(var control):
            control.resume(window: window, smoothedRTT: smoothedRTT)
            self = .bbr(control)
        }
    }

    /// Whether PRR paces a recovery. If not, `cwnd` itself is what may be in the pipe, then as always.
    var usesPRR: Bool {
        if case .bbr = self { return false }
        return true
    }

    /// Whether an ACK means nothing to the algorithm because the application or the peer is what limits. The window does not grow then
    /// (RFC 7661 §4.3, RFC 9438 §5.8), and round trips under another load than the window's tell HyStart++ nothing of it.
    @inline(__always)
    mutating func passesOverUnlimited(at now: Instant) -> Bool {
        switch self {
        case .newReno: return true
        case .cubic(var control):
            control.wasUnlimited(at: now)
            self = .cubic(control)
            return true
        case .bbr: return false
        }
    }

    /// Whether the window is kept small to measure: what is delivered meanwhile shows less than the path could do.
    var marksAppLimited: Bool {
        if case .bbr(let control) = self { return control.marksAppLimited }
        return false
    }
}

extension CongestionControl: CongestionController {
    var cwnd: UInt32 {
        switch self {
        case .newReno(let control): control.cwnd
        case .cubic(let control): control.cwnd
        case .bbr(let control): control.cwnd
        }
    }

    var ssthresh: UInt32 {
        switch self {
        case .newReno(let control): control.ssthresh
        case .cubic(let control): control.ssthresh
        case .bbr(let control): control.ssthresh
        }
    }

    var pacingRate: UInt64 {
        switch self {
        case .newReno(let control): control.pacingRate
        case .cubic(let control): control.pacingRate
        case .bbr(let control): control.pacingRate
        }
    }

    mutating func established(mss: UInt32, initialWindow: UInt32, smoothedRTT: UInt32, at now: Instant, random: UInt64)
    {
        switch self {
        case .newReno(var control):
            control.established(
                mss: mss, initialWindow: initialWindow, smoothedRTT: smoothedRTT, at: now, random: random)
            self = .newReno(control)
        case .cubic(var control):
            control.established(
                mss: mss, initialWindow: initialWindow, smoothedRTT: smoothedRTT, at: now, random: random)
            self = .cubic(control)
        case .bbr(var control):
            control.established(
                mss: mss, initialWindow: initialWindow, smoothedRTT: smoothedRTT, at: now, random: random)
            self = .bbr(control)
        }
    }

    mutating func mssChanged(to mss: UInt32) {
        switch self {
        case .newReno(var control):
            control.mssChanged(to: mss)
            self = .newReno(control)
        case .cubic(var control):
            control.mssChanged(to: mss)
            self = .cubic(control)
        case .bbr(var control):
            control.mssChanged(to: mss)
            self = .bbr(control)
        }
    }

    mutating func sent(_ bytes: UInt32, pipe: UInt32, at now: Instant) {
        switch self {
        case .newReno:
            break
        case .cubic(var control):
            control.sent(bytes, pipe: pipe, at: now)
            self = .cubic(control)
        case .bbr(var control):
            control.sent(bytes, pipe: pipe, at: now)
            self = .bbr(control)
        }
    }

    mutating func acknowledged(_ acknowledgement: Acknowledgement) {
        switch self {
        case .newReno(var control):
            control.acknowledged(acknowledgement)
            self = .newReno(control)
        case .cubic(var control):
            control.acknowledged(acknowledgement)
            self = .cubic(control)
        case .bbr(var control):
            control.acknowledged(acknowledgement)
            self = .bbr(control)
        }
    }

    mutating func congestionEvent(
        _ reason: CongestionReason, flightSize: UInt32, pipe: UInt32, at now: Instant
    ) -> UInt32 {
        switch self {
        case .newReno(var control):
            defer { self = .newReno(control) }
            return control.congestionEvent(reason, flightSize: flightSize, pipe: pipe, at: now)
        case .cubic(var control):
            defer { self = .cubic(control) }
            return control.congestionEvent(reason, flightSize: flightSize, pipe: pipe, at: now)
        case .bbr(var control):
            defer { self = .bbr(control) }
            return control.congestionEvent(reason, flightSize: flightSize, pipe: pipe, at: now)
        }
    }

    mutating func retransmissionTimeout(flightSize: UInt32, isRepeated: Bool, at now: Instant) {
        switch self {
        case .newReno(var control):
            control.retransmissionTimeout(flightSize: flightSize, isRepeated: isRepeated, at: now)
            self = .newReno(control)
        case .cubic(var control):
            control.retransmissionTimeout(flightSize: flightSize, isRepeated: isRepeated, at: now)
            self = .cubic(control)
        case .bbr(var control):
            control.retransmissionTimeout(flightSize: flightSize, isRepeated: isRepeated, at: now)
            self = .bbr(control)
        }
    }

    mutating func recoveryEnded(at now: Instant) {
        switch self {
        case .newReno(var control):
            control.recoveryEnded(at: now)
            self = .newReno(control)
        case .cubic(var control):
            control.recoveryEnded(at: now)
            self = .cubic(control)
        case .bbr(var control):
            control.recoveryEnded(at: now)
            self = .bbr(control)
        }
    }

    mutating func undo() {
        switch self {
        case .newReno(var control):
            control.undo()
            self = .newReno(control)
        case .cubic(var control):
            control.undo()
            self = .cubic(control)
        case .bbr(var control):
            control.undo()
            self = .bbr(control)
        }
    }

    mutating func idleRestarted(at now: Instant) {
        switch self {
        case .newReno(var control):
            control.idleRestarted(at: now)
            self = .newReno(control)
        case .cubic(var control):
            control.idleRestarted(at: now)
            self = .cubic(control)
        case .bbr(var control):
            control.idleRestarted(at: now)
            self = .bbr(control)
        }
    }
}
