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

/// What a connection makes of its rate.
@Suite struct ConnectionPacingTests {
    private static let now = Instant(nanoseconds: 1_000_000_000)

    private static func connections(pacesAll: Bool = false) -> Connections {
        var limits = TCPLimits()
        (limits.connections, limits.pacesAll) = (1, pacesAll)
        return Connections(limits: limits, secret: .init(low: 1, high: 2), now: now)
    }

    /// A connection with this window in a round trip of so many microseconds.
    private static func tcb(
        _ algorithm: CongestionAlgorithm, window: UInt32 = 100_000, roundTrip: UInt32 = 100_000
    ) -> TCB {
        var tcb = TCB()
        tcb.slot = 0
        tcb.state = .established
        tcb.congestion = CongestionControl(algorithm)
        tcb.congestion.established(
            mss: 1000, initialWindow: window, smoothedRTT: roundTrip, at: now, random: 1)
        tcb.rtt.sample(roundTrip)
        return tcb
    }

    @Test("who has no rate sends at once whatever the windows allow, unless the stack paces all")
    func rates() {
        for algorithm in [CongestionAlgorithm.newReno, .cubic] {
            let unpaced = Self.tcb(algorithm).bytesAtOnce(Self.connections())
            #expect(unpaced == nil)
            // Twice the window in a round trip is 2 MB/s, of which a millisecond's worth leaves at once.
            let paced = Self.tcb(algorithm).bytesAtOnce(Self.connections(pacesAll: true))
            #expect(paced == 2_000)
        }
        let bbr = Self.tcb(.bbr)
        let own = bbr.congestion.pacingRate
        // 4 ln 2 times the window in a round trip.
        #expect((2_769_000...2_770_000).contains(own))
        for pacesAll in [false, true] {
            let atOnce = bbr.bytesAtOnce(Self.connections(pacesAll: pacesAll))
            #expect(atOnce == Int(own / 1000))
        }
    }

    @Test("without a rate nothing waits, and no timer is armed")
    func unpaced() {
        var stack = Self.connections()
        var tcb = Self.tcb(.cubic)
        for _ in 0..<3 {
            tcb.depart(100_000, stack)
            let mayDepart = tcb.mayDepart(&stack)
            #expect(mayDepart)
        }
        let isArmed = stack.isArmed(.pacing, of: 0)
        #expect(!isArmed)
    }

    @Test("of a pause a millisecond's worth is made up for, and then bytes wait for as long as they take")
    func savings() {
        var stack = Self.connections()
        var tcb = Self.tcb(.bbr)
        let rate = tcb.congestion.pacingRate
        let millisecond = UInt32(rate / 1000)
        stack.now = Self.now + .seconds(5)
        tcb.depart(millisecond, stack)
        let second = tcb.mayDepart(&stack)
        #expect(second)
        tcb.depart(3 * millisecond, stack)
        let third = tcb.mayDepart(&stack)
        #expect(!third)
        let expected = Pacing.nanoseconds(for: 3 * millisecond, rate: rate)
        let wait = tcb.pacing.nextDeparture.nanoseconds - stack.now.nanoseconds
        #expect(abs(wait - expected) < 2_000)
        let deadline = stack.timers.nextDeadline
        #expect(deadline == tcb.pacing.nextDeparture)
        // Asked again, it waits for the same instant; and then it may go on.
        stack.now = stack.now + .milliseconds(1)
        let early = tcb.mayDepart(&stack)
        let same = stack.timers.nextDeadline
        #expect(!early && same == deadline)
        stack.now = deadline!
        let late = tcb.mayDepart(&stack)
        #expect(late)
    }

    @Test("who is held back for an instant waits for half a millisecond, so that rounds are not for single segments")
    func leastWait() {
        var stack = Self.connections()
        // Some 280 MB/s: a segment takes 4 µs.
        var tcb = Self.tcb(.bbr, window: 1_000_000, roundTrip: 10_000)
        let millisecond = UInt32(tcb.congestion.pacingRate / 1000)
        tcb.depart(millisecond + 1000, stack)
        let mayDepart = tcb.mayDepart(&stack)
        #expect(!mayDepart)
        let deadline = stack.timers.nextDeadline
        #expect(deadline == Self.now.advanced(byNanoseconds: 500_000))
    }
}
