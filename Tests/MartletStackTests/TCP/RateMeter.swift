// A delivery-rate estimator and the newest segment of the ACK that is being told to it, which a connection does not keep.

@testable import MartletStack

struct RateMeter {
    private var rate: DeliveryRate
    private var newest: RateSnapshot?

    init(now: Instant) { rate = DeliveryRate(now: now) }

    var delivered: UInt32 { rate.delivered }

    mutating func sent(pipe: UInt32, at now: Instant) -> RateSnapshot { rate.sent(pipe: pipe, at: now) }

    mutating func becameAppLimited(pipe: UInt32) { rate.becameAppLimited(pipe: pipe) }

    mutating func delivered(_ record: RateSnapshot, bytes: UInt32, at now: Instant) {
        rate.delivered(record, bytes: bytes, at: now, newest: &newest)
    }

    mutating func sample(minRTT: UInt32) -> RateSample {
        defer { newest = nil }
        return rate.sample(of: newest, minRTT: minRTT)
    }
}
