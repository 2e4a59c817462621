// Instants: plain arithmetic, and what happens at the ends of the range.

import MartletStack
import Testing

@Suite struct InstantTests {
    let now = Instant(nanoseconds: 1_000)
    let distantPast = Instant(nanoseconds: .min)

    @Test func `Adding a duration moves an instant by its nanoseconds`() {
        #expect(now + .microseconds(3) == Instant(nanoseconds: 4_000))
        #expect(now + .nanoseconds(-2_500) == Instant(nanoseconds: -1_500))
        #expect(now.advanced(by: .seconds(2)) == Instant(nanoseconds: 2_000_001_000))
        #expect(now.advanced(byNanoseconds: -1) == Instant(nanoseconds: 999))
        #expect(now + .zero == now)
    }

    @Test func `Fractions of a nanosecond are cut off towards zero`() {
        #expect(now + Duration(secondsComponent: 0, attosecondsComponent: 1_999_999_999) == now + .nanoseconds(1))
        #expect(now + Duration(secondsComponent: 0, attosecondsComponent: -1_999_999_999) == now + .nanoseconds(-1))
    }

    @Test func `The difference of two instants is what has to be added to the earlier one`() {
        let later = Instant(nanoseconds: 5_000_000_123)
        #expect(later - now == .nanoseconds(4_999_999_123))
        #expect(now - later == .nanoseconds(-4_999_999_123))
        #expect(now + (later - now) == later)
        #expect(now - now == .zero)
    }

    @Test func `A difference wider than 64 bits is exact`() {
        #expect(.distantFuture - distantPast == .nanoseconds(Int128(UInt64.max)))
        #expect(distantPast - .distantFuture == .nanoseconds(-Int128(UInt64.max)))
    }

    @Test(arguments: [1, 1_000, Int64.max - 1, Int64.max])
    func `Sums past the end of the range saturate`(excess: Int64) {
        let nearTheEnd = Instant(nanoseconds: .max - 1)
        let nearTheStart = Instant(nanoseconds: .min + 1)
        #expect(nearTheEnd + .nanoseconds(excess) == .distantFuture)
        #expect(nearTheStart + .nanoseconds(-excess) == distantPast)
        #expect(distantPast + .nanoseconds(-excess) == distantPast)
        #expect(nearTheEnd.advanced(byNanoseconds: excess) == .distantFuture)
        #expect(nearTheStart.advanced(byNanoseconds: .min) == distantPast)
    }

    @Test func `A duration too long for 64 bits of nanoseconds saturates`() {
        #expect(now + .seconds(Int64.max) == .distantFuture)
        #expect(Instant.zero + .seconds(Int64.max) == .distantFuture)
        #expect(distantPast + .seconds(Int64.max) == Instant(nanoseconds: -1))
        #expect(Instant.zero + .seconds(Int64.min) == distantPast)
    }

    @Test func `The distant future stays whatever is added`() {
        #expect(Instant.distantFuture + .seconds(-1) == .distantFuture)
        #expect(Instant.distantFuture + .seconds(Int64.min) == .distantFuture)
        #expect(Instant.distantFuture.advanced(byNanoseconds: .min) == .distantFuture)
    }

    @Test func `Instants order by time`() {
        #expect(distantPast < .zero)
        #expect(Instant.zero < now)
        #expect(now < .distantFuture)
        #expect(!(now < now))
    }
}
