// When the next bytes may leave, if they are to leave at a given rate: one instant, and no bucket of tokens to refill.

/// The earliest departure times of a connection whose sending is spread over time.
struct Pacing: BitwiseCopyable, Sendable {
    /// When the next bytes may leave. Of an instant in the past only little is saved up.
    private(set) var nextDeparture = Instant(nanoseconds: .min)

    /// Whether bytes may leave now.
    func mayDepart(at now: Instant) -> Bool { nextDeparture <= now }

    /// Notes that bytes leave at `now`, or as soon after as the rate allows, and says when they do.
    ///
    /// The rate is bytes a second, and 0 means none: everything leaves at once. Of the time before `now` in which nothing left,
    /// `saved` nanoseconds can be made up for.
    mutating func depart(_ bytes: UInt32, at now: Instant, rate: UInt64, saved: Int64 = 0) -> Instant {
        guard rate > 0 else { return now }
        let departure = max(now.advanced(byNanoseconds: -saved), nextDeparture)
        nextDeparture = departure.advanced(byNanoseconds: Self.nanoseconds(for: bytes, rate: rate))
        return departure
    }

    /// How long so many bytes take at a rate, in bytes a second and not 0: rounded up, so that the rate is not exceeded.
    static func nanoseconds(for bytes: UInt32, rate: UInt64) -> Int64 {
        // 2³² bytes times 10⁹ is just below 2⁶², and adding what is below 10¹⁹ to round up would overflow.
        let product = UInt64(bytes) * 1_000_000_000
        let (quotient, remainder) = product.quotientAndRemainder(dividingBy: rate)
        return Int64(quotient + (remainder > 0 ? 1 : 0))
    }

    /// A rate in bytes a second for an algorithm that has none of its own: the window in a smoothed round trip of
    /// `srtt` microseconds, and more by the gain in percent, so that the window and not the rate is the limit.
    ///
    /// Twice the window in slow start, which doubles in a round trip, and 1.2 times after. 0, for no pacing, before
    /// there is an SRTT.
    static func rate(cwnd: UInt32, ssthresh: UInt32, srtt: UInt32) -> UInt64 {
        guard srtt > 0 else { return 0 }
        let percent: UInt64 = cwnd < ssthresh ? 200 : 120
        return max(UInt64(cwnd) * 10_000 * percent / UInt64(srtt), 1)
    }
}

// MARK: - A connection's pacing

extension TCB {
    /// At most what the rate gives in so many nanoseconds leaves at once. A sender that is held back waits until half of that may
    /// leave, so that a round that comes late costs nothing.
    private static var burst: Int64 { 1_000_000 }

    /// Bytes a second at which data may leave; 0 for at once.
    @inline(__always)
    private func departureRate(_ stack: borrowing Connections) -> UInt64 {
        let rate = congestion.pacingRate
        if rate > 0 || !stack.limits.pacesAll { return rate }
        return Pacing.rate(cwnd: congestion.cwnd, ssthresh: congestion.ssthresh, srtt: rtt.srtt)
    }

    /// Bytes that may leave at once; nil for any number.
    @inline(__always)
    func bytesAtOnce(_ stack: borrowing Connections) -> Int? {
        let rate = departureRate(stack)
        return rate == 0 ? nil : Int(rate / (1_000_000_000 / UInt64(Self.burst)))
    }

    /// Whether data may leave now. If not, a timer brings the connection back.
    @inline(__always)
    mutating func mayDepart(_ stack: inout Connections) -> Bool {
        guard !pacing.mayDepart(at: stack.now) else { return true }
        guard !stack.isArmed(.pacing, of: slot) else { return false }
        let wait = pacing.nextDeparture.nanoseconds - stack.now.nanoseconds
        stack.arm(.pacing, of: slot, in: max(wait, Self.burst / 2))
        return false
    }

    @inline(__always)
    mutating func depart(_ bytes: UInt32, _ stack: borrowing Connections) {
        _ = pacing.depart(bytes, at: stack.now, rate: departureRate(stack), saved: Self.burst)
    }
}
