// How fast the network delivers: for every ACK, the bytes it delivered since the newest segment it covers was sent,
// over the time that took to send or to acknowledge, whichever is longer.
//
// Hold draft-cheng-iccrg-delivery-rate-estimation §3 beside it: C is `DeliveryRate`, P is `RateSnapshot`, rs is
// `RateSample`. Must not know sequence numbers: the scoreboard keeps a record with each segment, and hands it back.

/// What is remembered with a segment each time it is sent: 16 bytes.
struct RateSnapshot: BitwiseCopyable, Sendable {
    /// When it was sent (P.sent_time), when the newest segment that had been delivered by then was sent
    /// (P.first_sent_time), and when that was delivered (P.delivered_time); see ``Ticks``.
    fileprivate(set) var sentTime: Ticks
    fileprivate(set) var firstSentTime: Ticks
    fileprivate(set) var deliveredTime: Ticks
    /// P.delivered modulo 2³¹, and P.is_app_limited in the lowest bit.
    fileprivate var deliveredAndLimit: UInt32

    /// Time in units of 256 ns, which wrap after 18 minutes. A segment not delivered for that long has been sent again
    /// many times, each time with a new record.
    struct Ticks: BitwiseCopyable, Sendable {
        fileprivate var count: UInt32

        init(_ instant: Instant) {
            count = UInt32(truncatingIfNeeded: instant.nanoseconds >> 8)
        }

        /// Nanoseconds from an earlier time to this one.
        func since(_ earlier: Ticks) -> UInt64 { UInt64(count &- earlier.count) << 8 }
    }
}

/// What one ACK tells of the path.
struct RateSample: BitwiseCopyable, Sendable {
    /// Bytes a second; 0 if the ACK allows no estimate.
    var rate: UInt64 = 0
    /// Bytes delivered within the sample's interval.
    var delivered: UInt32 = 0
    /// Whether the sender had nothing to send, so that the path may well deliver faster.
    var isAppLimited = false
    /// Whether this ACK covers a segment sent after the last round started, and so starts one (BBR §4.1.1.3).
    var isRoundStart = false
}

/// The estimator of a connection.
///
/// With each ACK: ``delivered(_:bytes:at:newest:)`` for every segment that it newly acknowledges or SACKs, then
/// ``sample(of:minRTT:)`` once with the newest of them. Counts of bytes are modulo 2³², of which less than half is ever
/// in flight.
struct DeliveryRate: BitwiseCopyable, Sendable {
    /// More is no estimate but a clock that stood still: half a terabit a second.
    static var maximum: UInt64 { 1 << 36 }

    /// Bytes delivered since the connection began.
    private(set) var delivered: UInt32 = 0
    private var deliveredTime: RateSnapshot.Ticks
    private var firstSentTime: RateSnapshot.Ticks
    /// The value of `delivered` at which what was sent while application-limited will have been delivered; 0 for never.
    private var appLimitedUntil: UInt32 = 0
    private var nextRoundDelivered: UInt32 = 0

    init(now: Instant) {
        deliveredTime = RateSnapshot.Ticks(now)
        firstSentTime = deliveredTime
    }

    /// A segment is sent, for the first time or again; `pipe` is what is in flight without it.
    mutating func sent(pipe: UInt32, at now: Instant) -> RateSnapshot {
        if pipe == 0 {
            // Nothing has been on its way: the time before says nothing of the path.
            firstSentTime = RateSnapshot.Ticks(now)
            deliveredTime = firstSentTime
        }
        let limit: UInt32 = appLimitedUntil > 0 ? 1 : 0
        return RateSnapshot(
            sentTime: RateSnapshot.Ticks(now), firstSentTime: firstSentTime, deliveredTime: deliveredTime,
            deliveredAndLimit: delivered << 1 | limit)
    }

    /// The application gave less than could be sent, or a probe keeps the window small: what is in flight now, and what
    /// follows until it is delivered, shows less than the path could do.
    mutating func becameAppLimited(pipe: UInt32) {
        appLimitedUntil = max(delivered &+ pipe, 1)
    }

    /// A segment arrived, as a cumulative ACK or a SACK told for the first time. `newest` is that of this ACK so far.
    mutating func delivered(_ record: RateSnapshot, bytes: UInt32, at now: Instant, newest: inout RateSnapshot?) {
        delivered &+= bytes
        deliveredTime = RateSnapshot.Ticks(now)
        // The segment sent last makes the sample; of those sent with as much delivered, the one sent later.
        if let newest {
            let before = deliveredSince(newest)
            let after = deliveredSince(record)
            if after > before { return }
            if after == before && Int32(bitPattern: record.sentTime.count &- newest.sentTime.count) < 0 { return }
        }
        newest = record
        firstSentTime = record.sentTime
    }

    /// The sample of the ACK whose segments have been told; `minRTT` is in microseconds, `UInt32.max` if unknown.
    mutating func sample(of newest: RateSnapshot?, minRTT: UInt32) -> RateSample {
        var sample = RateSample()
        if appLimitedUntil > 0 && Int32(bitPattern: delivered &- appLimitedUntil) > 0 { appLimitedUntil = 0 }
        guard let newest else { return sample }
        sample.isAppLimited = newest.deliveredAndLimit & 1 == 1
        sample.delivered = deliveredSince(newest)
        if Int32(bitPattern: delivered &- sample.delivered &- nextRoundDelivered) >= 0 {
            nextRoundDelivered = delivered
            sample.isRoundStart = true
        }
        // A burst that was acknowledged late, or ACKs that were held back and arrive together, both look faster than
        // the path is; the longer interval does not.
        let interval = max(newest.sentTime.since(newest.firstSentTime), deliveredTime.since(newest.deliveredTime))
        // Shorter than any round trip: a SACK that was wrong, or a segment taken for the one sent again.
        if interval == 0 || (minRTT != .max && interval + 256 < UInt64(minRTT) * 1_000) { return sample }
        sample.rate = min(Self.rate(bytes: sample.delivered, nanoseconds: interval), Self.maximum)
        return sample
    }

    private static func rate(bytes: UInt32, nanoseconds: UInt64) -> UInt64 {
        UInt64(bytes) * 1_000_000_000 / nanoseconds
    }

    /// Bytes delivered since the segment was sent, P.delivered being known modulo 2³¹.
    private func deliveredSince(_ record: RateSnapshot) -> UInt32 {
        ((delivered << 1) &- (record.deliveredAndLimit & ~1)) >> 1
    }
}
