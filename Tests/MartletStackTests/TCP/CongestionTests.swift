// What holds for every algorithm: the size of the choice, and that no sequence of events, however senseless, takes the
// window out of its limits.

import Testing

@testable import MartletStack

@Suite struct CongestionTests {
    @Test func `The algorithm of a connection fits into 112 bytes of its TCB`() {
        #expect(MemoryLayout<CongestionControl>.size <= 112)
        #expect(MemoryLayout<CongestionControl>.stride <= 112)
    }

    @Test(
        arguments: [(1_460, 0, 14_600), (1_448, 1, 14_480), (536, 0, 5_360), (9_000, 0, 18_000), (1_460, 2, 1_460)]
            as [(UInt32, Int, UInt32)])
    func `The initial window is that of RFC 6928`(mss: UInt32, lostSYNs: Int, expected: UInt32) {
        #expect(CongestionLimits.initialWindow(mss: mss, lostSYNs: lostSYNs) == expected)
    }

    @Test func `A peer's absurd segment size gives an initial window within bounds`() {
        #expect(CongestionLimits.initialWindow(mss: 0) == 10)
        #expect(CongestionLimits.initialWindow(mss: .max) == 131_070)
    }

    @Test func `Only BBR sets a rate and does without PRR`() {
        for algorithm in CongestionAlgorithm.allCases {
            var control = CongestionControl(algorithm)
            control.established(mss: 1_460, initialWindow: 14_600, smoothedRTT: 10_000, at: .zero, random: 1)
            #expect((control.pacingRate > 0) == (algorithm == .bbr))
            #expect(control.usesPRR == (algorithm != .bbr))
            #expect(control.cwnd == 14_600 && control.ssthresh == .max)
        }
    }

    @Test func `The choice does what the algorithm chosen does`() {
        var reno = CongestionControl(.newReno)
        var cubic = CongestionControl(.cubic)
        reno.established(mss: 1_000)
        cubic.established(mss: 1_000)
        #expect(reno.lose() == 5_000 && reno.cwnd == 5_000)
        #expect(cubic.lose() == 7_000 && cubic.cwnd == 7_000)
        reno.undo()
        cubic.undo()
        #expect(reno.cwnd == 10_000 && cubic.cwnd == 10_000)
        reno.retransmissionTimeout(flightSize: 10_000, isRepeated: false, at: .zero)
        cubic.retransmissionTimeout(flightSize: 10_000, isRepeated: false, at: .zero)
        #expect(reno.cwnd == 1_000 && reno.ssthresh == 5_000)
        #expect(cubic.cwnd == 1_000 && cubic.ssthresh == 7_000)
        var bbr = CongestionControl(.bbr)
        bbr.established(mss: 1_000)
        #expect(bbr.lose() == .max && bbr.cwnd == 10_000)
    }

    @Test(arguments: CongestionAlgorithm.allCases, UInt64(1)...12)
    func `No sequence of events takes the window out of its limits`(algorithm: CongestionAlgorithm, seed: UInt64) throws
    {
        var random = SeededGenerator(seed: seed)
        var control = CongestionControl(algorithm)
        var now = Instant(nanoseconds: random.anyMagnitude(below: 62))
        var mss = any(&random)
        control.established(
            mss: mss, initialWindow: any(&random), smoothedRTT: any(&random), at: now, random: random.next())
        for step in 0..<3_000 {
            switch Int.random(in: 0..<24, using: &random) {
            case 0: _ = control.congestionEvent(.loss, flightSize: any(&random), pipe: any(&random), at: now)
            case 1: _ = control.congestionEvent(.ecn, flightSize: any(&random), pipe: any(&random), at: now)
            case 2:
                control.retransmissionTimeout(flightSize: any(&random), isRepeated: .random(using: &random), at: now)
            case 3: control.undo()
            case 4: control.idleRestarted(at: now)
            case 5, 6: control.recoveryEnded(at: now)
            case 7: now = Instant(nanoseconds: random.anyMagnitude(below: 63))
            case 8:
                mss = any(&random)
                control.mssChanged(to: mss)
            case 9: control.sent(any(&random), pipe: any(&random), at: now)
            default: control.acknowledged(anyAcknowledgement(&random, at: now))
            }
            now = now.advanced(byNanoseconds: random.anyMagnitude(below: 34))
            let least = CongestionLimits.segment(mss)
            try #require(
                control.cwnd >= least && control.cwnd <= 1 << 30, "seed \(seed), step \(step): \(control)")
            try #require(control.ssthresh >= 2, "seed \(seed), step \(step): \(control)")
        }
    }

    @Test(arguments: CongestionAlgorithm.allCases)
    func `The largest numbers that exist overflow nothing`(algorithm: CongestionAlgorithm) {
        var control = CongestionControl(algorithm)
        control.established(mss: .max, initialWindow: .max, smoothedRTT: .max, at: .distantFuture, random: .max)
        for _ in 0..<4 {
            for isRoundStart in [true, false] {
                for now in [Instant(nanoseconds: .min), .distantFuture, .zero] {
                    let rate = RateSample(
                        rate: .max, delivered: .max, isAppLimited: isRoundStart, isRoundStart: isRoundStart)
                    control.acknowledged(
                        Acknowledgement(
                            now: now, bytes: .max, lost: .max, pipe: .max, sampleRTT: .max, smoothedRTT: .max,
                            isCwndLimited: true, rate: rate))
                    control.sent(.max, pipe: 0, at: now)
                }
            }
            _ = control.congestionEvent(.loss, flightSize: .max, pipe: .max, at: .distantFuture)
            control.recoveryEnded(at: .distantFuture)
        }
        #expect(control.cwnd >= 65_535 && control.cwnd <= 1 << 30)
    }

    private func any(_ random: inout SeededGenerator) -> UInt32 {
        UInt32(random.anyMagnitude(below: 32))
    }

    private func anyAcknowledgement(_ random: inout SeededGenerator, at now: Instant) -> Acknowledgement {
        let rate = RateSample(
            rate: UInt64(random.anyMagnitude(below: 60)), delivered: any(&random),
            isAppLimited: .random(using: &random), isRoundStart: .random(using: &random))
        return Acknowledgement(
            now: now, bytes: any(&random), lost: Bool.random(using: &random) ? 0 : any(&random), pipe: any(&random),
            sampleRTT: any(&random), smoothedRTT: any(&random), isCwndLimited: .random(using: &random), rate: rate)
    }
}
