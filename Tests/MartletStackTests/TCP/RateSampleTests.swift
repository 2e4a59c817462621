// Delivery rates of segments whose sending and delivery are laid out by hand.

import Testing

@testable import MartletStack

@Suite struct RateSampleTests {
    private func at(_ microseconds: Int64) -> Instant { Instant(nanoseconds: microseconds * 1_000) }

    /// A path that delivers a segment of 1000 bytes each millisecond, 10 ms away.
    @Test func `A steady flow's rate is the path's`() {
        var rate = RateMeter(now: at(0))
        var records: [RateSnapshot] = []
        var last = RateSample()
        for millisecond in 0..<200 as Range<Int64> {
            if millisecond >= 10 {
                rate.delivered(records[Int(millisecond) - 10], bytes: 1_000, at: at(millisecond * 1_000))
                last = rate.sample(minRTT: 10_000)
            }
            records.append(
                rate.sent(pipe: UInt32(min(millisecond, 9)) * 1_000, at: at(millisecond * 1_000)))
        }
        #expect((990_000...1_010_000).contains(last.rate))
        #expect(!last.isAppLimited)
        #expect(rate.delivered == 190_000)
    }

    @Test func `The longer of sending and acknowledging counts`() {
        var rate = RateMeter(now: at(0))
        // Two segments leave at once, and their ACKs arrive together 10 ms later: 2000 bytes in 10 ms.
        let first = rate.sent(pipe: 0, at: at(0))
        let second = rate.sent(pipe: 1_000, at: at(0))
        rate.delivered(first, bytes: 1_000, at: at(10_000))
        rate.delivered(second, bytes: 1_000, at: at(10_000))
        let together = rate.sample(minRTT: 10_000)
        #expect(together.delivered == 2_000)
        #expect((199_000...201_000).contains(together.rate))
        // One leaves now and one 20 ms later, and both are acknowledged at 35 ms: sent over 20 ms, delivered over 25.
        let third = rate.sent(pipe: 0, at: at(10_000))
        let fourth = rate.sent(pipe: 1_000, at: at(30_000))
        rate.delivered(third, bytes: 1_000, at: at(35_000))
        rate.delivered(fourth, bytes: 1_000, at: at(35_000))
        let spread = rate.sample(minRTT: 5_000)
        #expect((79_000...81_000).contains(spread.rate))
    }

    @Test func `ACKs that were held back do not make the path look faster than it was sent to`() {
        var rate = RateMeter(now: at(0))
        let first = rate.sent(pipe: 0, at: at(0))
        let other = rate.sent(pipe: 1_000, at: at(0))
        rate.delivered(first, bytes: 1_000, at: at(30_000))
        _ = rate.sample(minRTT: 10_000)
        // Sent 30 ms after `first`, and delivered 10 ms after it.
        let second = rate.sent(pipe: 1_000, at: at(30_000))
        rate.delivered(other, bytes: 1_000, at: at(40_000))
        rate.delivered(second, bytes: 1_000, at: at(40_000))
        #expect((66_000...67_000).contains(rate.sample(minRTT: 10_000).rate))
    }

    @Test func `A pause before sending is not held against the path`() {
        var rate = RateMeter(now: at(0))
        let record = rate.sent(pipe: 0, at: at(5_000_000))
        rate.delivered(record, bytes: 1_000, at: at(5_010_000))
        let sample = rate.sample(minRTT: 10_000)
        #expect((99_000...101_000).contains(sample.rate))
    }

    @Test func `A sample faster than any round trip is none`() {
        var rate = RateMeter(now: at(0))
        let record = rate.sent(pipe: 0, at: at(0))
        rate.delivered(record, bytes: 1_000, at: at(10))
        #expect(rate.sample(minRTT: 10_000).rate == 0)
        // An ACK that delivers nothing, neither.
        #expect(rate.sample(minRTT: 10_000).rate == 0)
        let other = rate.sent(pipe: 0, at: at(20))
        rate.delivered(other, bytes: .max, at: at(20))
        #expect(rate.sample(minRTT: .max).rate == 0)
    }

    @Test func `Being application-limited marks what is sent until what was in flight is delivered`() {
        var rate = RateMeter(now: at(0))
        let before = rate.sent(pipe: 0, at: at(0))
        rate.becameAppLimited(pipe: 1_000)
        let during = rate.sent(pipe: 1_000, at: at(1_000))
        rate.delivered(before, bytes: 1_000, at: at(10_000))
        #expect(!rate.sample(minRTT: 10_000).isAppLimited)
        rate.delivered(during, bytes: 1_000, at: at(11_000))
        #expect(rate.sample(minRTT: 10_000).isAppLimited)
        let after = rate.sent(pipe: 0, at: at(12_000))
        rate.delivered(after, bytes: 1_000, at: at(22_000))
        #expect(!rate.sample(minRTT: 10_000).isAppLimited)
    }

    @Test func `Being application-limited with nothing sent yet counts as well`() {
        var rate = RateMeter(now: at(0))
        rate.becameAppLimited(pipe: 0)
        let record = rate.sent(pipe: 0, at: at(0))
        rate.delivered(record, bytes: 1_000, at: at(10_000))
        #expect(rate.sample(minRTT: 10_000).isAppLimited)
    }

    @Test func `A round starts with the first segment that was sent after the last one started`() {
        var rate = RateMeter(now: at(0))
        let flight = (0..<4).map { rate.sent(pipe: UInt32($0) * 1_000, at: at(0)) }
        var starts: [Bool] = []
        var next: [RateSnapshot] = []
        for (index, record) in flight.enumerated() {
            let now = at(10_000 + Int64(index) * 1_000)
            rate.delivered(record, bytes: 1_000, at: now)
            starts.append(rate.sample(minRTT: 10_000).isRoundStart)
            next.append(rate.sent(pipe: 3_000, at: now))
        }
        for (index, record) in next.enumerated() {
            rate.delivered(record, bytes: 1_000, at: at(20_000 + Int64(index) * 1_000))
            starts.append(rate.sample(minRTT: 10_000).isRoundStart)
        }
        #expect(starts == [true, false, false, false, true, false, false, false])
    }

    @Test func `Of several segments the one sent last makes the sample, in whatever order they are told`() {
        for isReversed in [false, true] {
            var rate = RateMeter(now: at(0))
            let first = rate.sent(pipe: 0, at: at(0))
            let old = rate.sent(pipe: 1_000, at: at(1_000))
            rate.delivered(first, bytes: 1_000, at: at(10_000))
            _ = rate.sample(minRTT: .max)
            let new = rate.sent(pipe: 1_000, at: at(10_000))
            for record in isReversed ? [new, old] : [old, new] { rate.delivered(record, bytes: 1_000, at: at(20_000)) }
            let sample = rate.sample(minRTT: .max)
            // From the delivery of `first`, which `new` remembers.
            #expect(sample.delivered == 2_000)
            #expect((199_000...201_000).contains(sample.rate))
        }
    }

    @Test func `Counters and clocks wrap unnoticed`() {
        var rate = RateMeter(now: at(0))
        // 300 rounds of 100 MB: past 2³¹ and 2³²; and 10 s apart: past 2³² units of 256 ns twice.
        for round in 0..<300 as Range<Int64> {
            let start = round * 10_000_000
            let record = rate.sent(pipe: 0, at: at(start))
            rate.delivered(record, bytes: 100_000_000, at: at(start + 1_000_000))
            let sample = rate.sample(minRTT: 1_000_000)
            #expect(sample.delivered == 100_000_000 && sample.isRoundStart)
            #expect((99_900_000...100_100_000).contains(sample.rate))
        }
    }

    @Test func `A record is 16 bytes, and no rate exceeds the maximum`() {
        #expect(MemoryLayout<RateSnapshot>.size == 16)
        var rate = RateMeter(now: .zero)
        let record = rate.sent(pipe: 0, at: .zero)
        rate.delivered(record, bytes: .max, at: Instant(nanoseconds: 512))
        #expect(rate.sample(minRTT: .max).rate == DeliveryRate.maximum)
    }
}
