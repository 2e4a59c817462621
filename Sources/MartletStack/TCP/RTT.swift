// How long a segment and its ACK take, and how long to wait before giving up on them.
//
// Hold RFC 6298 beside it; the sections are cited. Times are microseconds in 32 bits. Must not know segments: whoever
// calls keeps Karn's rule (§3), so no sample is ever offered for a segment that was sent twice, unless a
// timestamp says which of the two was answered.

/// The estimator of RFC 6298: smoothed round-trip time, its variation, and the retransmission timeout.
struct RTT: BitwiseCopyable, Sendable {
    /// §2.1: the timeout before the first sample.
    static var initialRTO: UInt32 { 1_000_000 }
    /// §5.7: and if even the SYN timed out.
    static var lostSYNRTO: UInt32 { 3_000_000 }
    /// §2.5 asks for no less than a minute; segments live for two.
    static var maximumRTO: UInt32 { 120_000_000 }
    /// The least time to wait beyond the smoothed round trip. §2.4 SHOULD: an RTO of one second at least. Hosts have used
    /// a fifth of that for decades; set a second to follow the letter.
    static var defaultMinimumRTO: UInt32 { 200_000 }

    /// SRTT in eighths and RTTVAR in quarters of a microsecond, so that their filters lose nothing: α = 1/8, β = 1/4.
    private var eighthsOfSRTT: UInt32 = 0
    private var quartersOfRTTVAR: UInt32 = 0
    private var backoffs: UInt8 = 0
    private var isAfterLostSYN = false

    /// An estimator without samples.
    init() {}

    /// Whether there has been a sample.
    var isMeasured: Bool { eighthsOfSRTT > 0 }

    /// Microseconds; 0 before the first sample.
    var srtt: UInt32 { eighthsOfSRTT / 8 }

    /// Microseconds; 0 before the first sample.
    var rttvar: UInt32 { quartersOfRTTVAR / 4 }

    /// Takes in a round-trip time in microseconds, and ends a backoff (§5.7 leaves it in force until then).
    ///
    /// One of 0 counts as 1, and one longer than the longest timeout as that.
    mutating func sample(_ microseconds: UInt32) {
        let sample = min(max(microseconds, 1), Self.maximumRTO)
        backoffs = 0
        isAfterLostSYN = false
        guard isMeasured else {
            // §2.2: RTTVAR = R / 2
            (eighthsOfSRTT, quartersOfRTTVAR) = (sample * 8, sample * 2)
            return
        }
        // §2.3: RTTVAR first, because it takes the SRTT from before this sample.
        let error = sample > srtt ? sample - srtt : srtt - sample
        quartersOfRTTVAR = quartersOfRTTVAR - quartersOfRTTVAR / 4 + error
        eighthsOfSRTT = eighthsOfSRTT - eighthsOfSRTT / 8 + sample
    }

    /// A timeout was spurious: the segment it was for took `microseconds`, and so may others (RFC 4015 §3.2, step 10).
    mutating func timeoutWasSpurious(_ microseconds: UInt32) {
        let sample = min(max(microseconds, 1), Self.maximumRTO)
        eighthsOfSRTT = max(eighthsOfSRTT, sample * 8)
        quartersOfRTTVAR = max(quartersOfRTTVAR, sample * 2)
        backoffs = 0
    }

    /// The retransmission timeout in microseconds, backed off as often as it expired.
    @inline(__always)
    var rto: UInt32 { timeout(leastMargin: Self.defaultMinimumRTO) }

    /// The same with another least margin, in microseconds, which bounds K·RTTVAR rather than the sum: a peer may delay its ACK by up
    /// to that much on a path of any length. So the timeout is never below it either. It is no less than G of §2.3.
    @inline(__always)
    func timeout(leastMargin: UInt32) -> UInt32 {
        var base = isMeasured ? srtt + max(quartersOfRTTVAR, leastMargin) : max(Self.initialRTO, leastMargin)
        if isAfterLostSYN { base = max(base, Self.lostSYNRTO) }
        return UInt32(truncatingIfNeeded: min(UInt64(base) &<< UInt64(backoffs), UInt64(Self.maximumRTO)))
    }

    /// §5.5: the timer expired, and the next timeout is twice as long.
    mutating func backOff() {
        // One microsecond, doubled 27 times, is the maximum.
        backoffs = min(backoffs + 1, 27)
    }

    /// §5.7: the handshake is over. If its SYN timed out, data starts with 3 s, whatever the handshake measured.
    mutating func established(afterLostSYN isLost: Bool) {
        guard isLost else { return }
        backoffs = 0
        isAfterLostSYN = true
    }
}

/// The shortest round trip of the last seconds: the path without its queues, as RACK (RFC 8985 §6.2) and BBR want it.
struct MinimumRTT: BitwiseCopyable, Sendable {
    /// Of complements, so that the largest is of the shortest.
    private var complements = WindowedMaximum<UInt32>()

    /// Microseconds; `UInt32.max` before the first sample.
    var value: UInt32 { ~complements.value }

    /// Takes in a round-trip time in microseconds, and forgets what is older than `window` milliseconds.
    mutating func sample(_ microseconds: UInt32, at now: Instant, window: UInt32 = 10_000) {
        // The clock wraps after 49 days; then a sample would seem young again, to be forgotten 10 s later.
        let milliseconds = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000)
        complements.offer(~min(microseconds, .max - 1), at: milliseconds, window: window)
    }
}
