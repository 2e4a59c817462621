// What NewReno and CUBIC have in common: the two windows, slow start, and what a timeout, idleness and an error of
// judgement do to them.
//
// Hold RFC 5681 §3.1 and §4.1, RFC 3465 §2.3 and RFC 9406 §4.3 beside it. Must not know how the window grows above ssthresh.

/// The windows of a sender that slows down for losses.
struct SlowStart: BitwiseCopyable, Sendable {
    enum Phase: UInt8, BitwiseCopyable, Sendable {
        case open
        /// PRR leads the window down; ACKs do not change it.
        case recovery
        /// After a timeout: the window grows again, from one segment.
        case timeout
    }

    private(set) var initialWindow: UInt32 = 1
    private(set) var cwnd: UInt32 = 1
    private(set) var ssthresh: UInt32 = .max
    /// The windows before the last reduction; 0 if there is nothing to undo.
    private var priorCwnd: UInt32 = 0
    private var priorSsthresh: UInt32 = 0
    private var hyStart = HyStart()
    private(set) var phase = Phase.open
    private var segment: UInt16 = 1

    var mss: UInt32 { UInt32(segment) }

    /// Below ssthresh; at it, congestion avoidance begins.
    var isActive: Bool { cwnd < ssthresh }

    mutating func established(mss: UInt32, initialWindow: UInt32) {
        self = SlowStart()
        segment = UInt16(CongestionLimits.segment(mss))
        self.initialWindow = CongestionLimits.window(UInt64(initialWindow), mss: self.mss)
        cwnd = self.initialWindow
    }

    /// Goes on from another algorithm's windows.
    mutating func resume(window: UInt32, threshold: UInt32) {
        setWindow(UInt64(window))
        ssthresh = max(threshold, 2 * mss)
    }

    mutating func mssChanged(to mss: UInt32) {
        segment = UInt16(CongestionLimits.segment(mss))
        cwnd = max(cwnd, self.mss)
        ssthresh = max(ssthresh, 2 * self.mss)
        initialWindow = max(initialWindow, self.mss)
    }

    /// Grows the window by what an ACK in slow start allows.
    mutating func grow(_ ack: Acknowledgement) {
        var growth: UInt32
        if ssthresh == .max {
            // RFC 9406 §4.3 SHOULD: the first slow start only. Later ones know where to end.
            growth = hyStart.growth(
                for: ack.bytes, mss: mss, sampleRTT: ack.sampleRTT, isRoundStart: ack.rate.isRoundStart)
            if hyStart.phase == .finished {
                ssthresh = cwnd
                return
            }
        } else {
            // RFC 3465: L is 2, and 1 after a timeout, when one ACK may cover what arrived long before.
            growth = min(ack.bytes, phase == .timeout ? mss : 2 * mss)
        }
        if !ack.isCwndLimited { growth = 0 }
        cwnd = min(cwnd.addingSaturated(growth), ssthresh, CongestionLimits.maximumWindow)
    }

    /// Sets the window, as congestion avoidance computes it.
    mutating func setWindow(_ bytes: UInt64) {
        cwnd = CongestionLimits.window(bytes, mss: mss)
    }

    /// Congestion: both windows go down to `threshold`, but not below two segments.
    mutating func reduce(to threshold: UInt64) {
        remember()
        ssthresh = CongestionLimits.window(threshold, mss: mss, segments: 2)
        cwnd = ssthresh
        phase = .recovery
    }

    /// A timeout: the window is one segment (RFC 5681's LW), and ssthresh is `threshold`, or what it is if `nil`.
    mutating func collapse(threshold: UInt64?) {
        if let threshold {
            remember()
            ssthresh = CongestionLimits.window(threshold, mss: mss, segments: 2)
        }
        cwnd = mss
        phase = .timeout
    }

    /// Remembers the windows, for ``undo()``.
    mutating func remember() {
        priorCwnd = cwnd
        priorSsthresh = ssthresh
    }

    mutating func recoveryEnded() {
        phase = .open
    }

    /// Takes the last reduction back; `false` if there is none.
    mutating func undo() -> Bool {
        guard priorCwnd > 0 else { return false }
        // What has grown since then was allowed to.
        cwnd = max(cwnd, priorCwnd)
        ssthresh = max(ssthresh, priorSsthresh)
        priorCwnd = 0
        phase = .open
        return true
    }

    /// RFC 5681 §4.1: begins again with the restart window. RFC 7661 §4.4.3 says how far slow start may then go: to
    /// three quarters of a window that worked once.
    mutating func restart() {
        if ssthresh != .max { ssthresh = max(ssthresh, cwnd - cwnd / 4) }
        cwnd = min(cwnd, initialWindow)
    }
}
