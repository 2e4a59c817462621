// Departure times at every rate from a byte a second to more than any wire carries.

import Testing

@testable import MartletStack

@Suite struct PacingTests {
    private let now = Instant(nanoseconds: 1_000_000)

    @Test func `Without a rate everything leaves at once`() {
        var pacing = Pacing()
        for _ in 0..<3 {
            #expect(pacing.mayDepart(at: .zero))
            #expect(pacing.depart(.max, at: now, rate: 0) == now)
        }
    }

    @Test func `Bytes leave one after the other, as far apart as the rate says`() {
        var pacing = Pacing()
        // 1500 bytes at 1.5 MB/s take a millisecond.
        #expect(pacing.depart(1_500, at: now, rate: 1_500_000) == now)
        #expect(!pacing.mayDepart(at: now))
        #expect(!pacing.mayDepart(at: now.advanced(byNanoseconds: 999_999)))
        #expect(pacing.mayDepart(at: now.advanced(byNanoseconds: 1_000_000)))
        #expect(pacing.depart(1_500, at: now, rate: 1_500_000) == now.advanced(byNanoseconds: 1_000_000))
        #expect(pacing.nextDeparture == now.advanced(byNanoseconds: 2_000_000))
    }

    @Test func `Time not used is not saved up`() {
        var pacing = Pacing()
        _ = pacing.depart(1_500, at: now, rate: 1_500_000)
        let later = now.advanced(byNanoseconds: 1_000_000_000)
        #expect(pacing.depart(1_500, at: later, rate: 1_500_000) == later)
        #expect(pacing.depart(1_500, at: later, rate: 1_500_000) == later.advanced(byNanoseconds: 1_000_000))
    }

    @Test(
        arguments: [
            (1_500, 12_500_000_000, 120), (1, 12_500_000_000, 1), (65_536, 12_500_000_000, 5_243), (0, 1, 0),
            (1, 1, 1_000_000_000), (.max, 1, 4_294_967_295_000_000_000), (.max, .max, 1), (0, .max, 0),
            (3, 2, 1_500_000_000),
        ] as [(UInt32, UInt64, Int64)])
    func `The time is rounded up, and overflows at no rate`(bytes: UInt32, rate: UInt64, nanoseconds: Int64) {
        #expect(Pacing.nanoseconds(for: bytes, rate: rate) == nanoseconds)
    }

    @Test func `At a byte a second the next departure saturates at never`() {
        var pacing = Pacing()
        for _ in 0..<4 { _ = pacing.depart(.max, at: now, rate: 1) }
        #expect(pacing.nextDeparture == .distantFuture)
    }

    @Test func `A window's rate is twice the window a round trip in slow start, and 1.2 times after`() {
        #expect(Pacing.rate(cwnd: 100_000, ssthresh: .max, srtt: 100_000) == 2_000_000)
        #expect(Pacing.rate(cwnd: 100_000, ssthresh: 100_000, srtt: 100_000) == 1_200_000)
        #expect(Pacing.rate(cwnd: 100_000, ssthresh: 100_000, srtt: 0) == 0)
        #expect(Pacing.rate(cwnd: 1, ssthresh: 1, srtt: .max) == 1)
        #expect(Pacing.rate(cwnd: .max, ssthresh: .max, srtt: 1) > 0)
    }
}
