// What a congestion control algorithm is told, and what it answers: how much may be in flight, and how fast it may leave.
//
// Hold RFC 5681 and RFC 9743 beside it. An algorithm is a plain value in the TCB that knows no segments, timers or
// tables. Whoever calls counts bytes, in two ways that are not the same after a loss:
//
//     flightSize   snd.nxt − snd.una: sent and not cumulatively acknowledged
//     pipe         what is thought to be in the network still: without what was SACKed or lost (RFC 6675, RFC 8985)

/// Which congestion control a connection uses.
public enum CongestionAlgorithm: UInt8, BitwiseCopyable, Sendable, CaseIterable {
    /// RFC 5681: half the window for a loss, one segment more each round trip.
    case newReno
    /// RFC 9438: the window follows a cubic function of the time since the last loss.
    case cubic
    /// BBR version 3: the window and the pacing rate follow a model of the path; losses hardly matter.
    case bbr
}

/// Why the network is thought to be congested.
enum CongestionReason: UInt8, BitwiseCopyable, Sendable {
    /// A segment is lost, and it was not a timeout that told.
    case loss
    /// The peer echoed a congestion mark (RFC 3168).
    case ecn
}

/// What an ACK that delivered something tells the congestion control.
struct Acknowledgement: BitwiseCopyable, Sendable {
    var now: Instant
    /// Bytes newly delivered, by cumulative acknowledgement or SACK.
    var bytes: UInt32
    /// Bytes that this ACK revealed to be lost.
    var lost: UInt32 = 0
    /// Bytes in the network before this ACK.
    var pipe: UInt32
    /// This ACK's own round-trip time in microseconds; 0 if Karn's rule allows none.
    var sampleRTT: UInt32 = 0
    /// SRTT in microseconds; 0 if there is none yet.
    var smoothedRTT: UInt32 = 0
    /// Whether the window was what limited the sender, rather than the application or the peer's window: a window that
    /// was not used says nothing about the path, and does not grow (RFC 7661 §4.3).
    var isCwndLimited: Bool
    /// The delivery rate, and whether a round starts.
    var rate = RateSample()
}

/// The verbs of a congestion control algorithm. Numbers are bytes; each call takes O(1) and none can fail.
protocol CongestionController: BitwiseCopyable, Sendable {
    /// The congestion window: how much may be in the pipe. Never less than one segment once established.
    var cwnd: UInt32 { get }

    /// The slow start threshold; `UInt32.max` while nothing is known.
    var ssthresh: UInt32 { get }

    /// Bytes a second; 0 if the algorithm sets no rate.
    var pacingRate: UInt64 { get }

    /// The handshake is over. `smoothedRTT` is in microseconds, 0 if it was not measured; `random` is any number.
    mutating func established(mss: UInt32, initialWindow: UInt32, smoothedRTT: UInt32, at now: Instant, random: UInt64)

    /// The path takes segments of another size from now on.
    mutating func mssChanged(to mss: UInt32)

    /// Bytes leave, with `pipe` in flight before them.
    mutating func sent(_ bytes: UInt32, pipe: UInt32, at now: Instant)

    /// An ACK delivered something, in recovery or not.
    mutating func acknowledged(_ acknowledgement: Acknowledgement)

    /// Congestion, to be told once a window of data: a recovery begins, and until it ends further events are of it.
    ///
    /// Returns the new ssthresh, which the window is to be led to by PRR.
    mutating func congestionEvent(
        _ reason: CongestionReason, flightSize: UInt32, pipe: UInt32, at now: Instant
    ) -> UInt32

    /// The retransmission timer expired; `isRepeated` if it did for the same segment before.
    mutating func retransmissionTimeout(flightSize: UInt32, isRepeated: Bool, at now: Instant)

    /// Everything that was outstanding when the recovery began is acknowledged.
    mutating func recoveryEnded(at now: Instant)

    /// The last event or timeout was spurious, as DSACK, Eifel (RFC 3522) or F-RTO (RFC 5682) found out: the windows are
    /// again what they were. Does nothing if there is nothing to take back.
    mutating func undo()

    /// Data is to be sent after nothing was for longer than the retransmission timeout (RFC 5681 §4.1).
    mutating func idleRestarted(at now: Instant)
}

/// The limits that all algorithms keep.
enum CongestionLimits {
    /// Window scaling allows a peer's window of 2³⁰ at most (RFC 7323 §2.3), so more can never be used.
    static var maximumWindow: UInt32 { 1 << 30 }

    /// RFC 6928 §2: ten segments. After more than one lost SYN one segment (there, and RFC 5681 §3.1).
    static func initialWindow(mss: UInt32, lostSYNs: Int = 0) -> UInt32 {
        let mss = segment(mss)
        return lostSYNs > 1 ? mss : min(10 * mss, max(2 * mss, 14_600))
    }

    /// A segment size to compute with: the peer chooses, and must not make us divide by 0.
    static func segment(_ mss: UInt32) -> UInt32 { min(max(mss, 1), 65_535) }

    /// A window within the limits, of a number that may be beyond them.
    static func window(_ bytes: UInt64, mss: UInt32, segments: UInt32 = 1) -> UInt32 {
        UInt32(min(max(bytes, UInt64(mss) * UInt64(segments)), UInt64(maximumWindow)))
    }
}
