// The congestion control of RFC 5681: additive increase, multiplicative decrease.
//
// Hold RFC 5681 §3.1 and §3.2 beside it, and RFC 3465 §2.1 for counting bytes rather than ACKs. What NewReno adds to
// Reno, going on with a recovery at partial ACKs (RFC 6582), is the business of whoever retransmits.

/// RFC 5681, with HyStart++ in the first slow start.
struct NewReno: CongestionController {
    private var slowStart = SlowStart()
    /// Bytes acknowledged since the window last grew.
    private var bytesAcked: UInt32 = 0

    var cwnd: UInt32 { slowStart.cwnd }
    var ssthresh: UInt32 { slowStart.ssthresh }
    var pacingRate: UInt64 { 0 }

    mutating func established(mss: UInt32, initialWindow: UInt32, smoothedRTT: UInt32, at now: Instant, random: UInt64)
    {
        slowStart.established(mss: mss, initialWindow: initialWindow)
        bytesAcked = 0
    }

    /// Goes on from another algorithm's windows.
    mutating func resume(window: UInt32, threshold: UInt32) { slowStart.resume(window: window, threshold: threshold) }

    mutating func mssChanged(to mss: UInt32) { slowStart.mssChanged(to: mss) }

    mutating func sent(_ bytes: UInt32, pipe: UInt32, at now: Instant) {}

    mutating func acknowledged(_ ack: Acknowledgement) {
        guard slowStart.phase != .recovery else { return }
        if slowStart.isActive { return slowStart.grow(ack) }
        guard ack.isCwndLimited else { return }
        // RFC 3465 §2.1: one segment for each window of bytes, and no more than one for an ACK.
        bytesAcked = min(bytesAcked.addingSaturated(ack.bytes), 2 * CongestionLimits.maximumWindow)
        guard bytesAcked >= cwnd else { return }
        bytesAcked = min(bytesAcked - cwnd, cwnd)
        slowStart.setWindow(UInt64(cwnd) + UInt64(slowStart.mss))
    }

    mutating func congestionEvent(
        _ reason: CongestionReason, flightSize: UInt32, pipe: UInt32, at now: Instant
    ) -> UInt32 {
        guard slowStart.phase != .recovery else { return ssthresh }
        slowStart.reduce(to: threshold(flightSize))
        bytesAcked = 0
        return ssthresh
    }

    mutating func retransmissionTimeout(flightSize: UInt32, isRepeated: Bool, at now: Instant) {
        bytesAcked = 0
        if slowStart.phase == .recovery {
            // This window of data has paid already, and taking the timeout back must not take that back.
            slowStart.remember()
            slowStart.collapse(threshold: nil)
        } else {
            slowStart.collapse(threshold: isRepeated ? nil : threshold(flightSize))
        }
    }

    mutating func recoveryEnded(at now: Instant) { slowStart.recoveryEnded() }

    mutating func undo() { _ = slowStart.undo() }

    mutating func idleRestarted(at now: Instant) {
        slowStart.restart()
        bytesAcked = 0
    }

    /// RFC 5681 (4): half of the FlightSize, which limited transmit (RFC 3042) may have raised above the window.
    private func threshold(_ flightSize: UInt32) -> UInt64 { UInt64(min(flightSize, cwnd)) / 2 }
}
