// BBR's steps one at a time; the whole of it runs over a bottleneck in BottleneckTests.

import Testing

@testable import MartletStack

@Suite struct BBRTests {
    private let mss: UInt32 = 1_000

    private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

    private func established(random: UInt64 = 0) -> BBR {
        var bbr = BBR()
        bbr.established(mss: mss, initialWindow: 10_000, smoothedRTT: 100_000, at: .zero, random: random)
        return bbr
    }

    private func ack(
        at now: Instant, bytes: UInt32 = 1_000, lost: UInt32 = 0, pipe: UInt32, rate: UInt64, starts: Bool = true,
        isAppLimited: Bool = false, rtt: UInt32 = 100_000
    ) -> Acknowledgement {
        let sample = RateSample(rate: rate, delivered: bytes, isAppLimited: isAppLimited, isRoundStart: starts)
        return Acknowledgement(
            now: now, bytes: bytes, lost: lost, pipe: pipe, sampleRTT: rtt, smoothedRTT: rtt, isCwndLimited: true,
            rate: sample)
    }

    /// In probeBandwidth, on a path of 1 MB/s and 100 ms.
    private func probing(random: UInt64 = 0) -> BBR {
        var bbr = established(random: random)
        for round in 1...4 as ClosedRange<Int64> {
            bbr.acknowledged(ack(at: at(round * 100), pipe: 200_000, rate: 1_000_000))
        }
        #expect(bbr.mode == .drain)
        bbr.acknowledged(ack(at: at(500), pipe: 90_000, rate: 1_000_000))
        #expect(bbr.mode == .probeBandwidth)
        return bbr
    }

    @Test func `It starts at 2.89 initial windows a round trip, or a millisecond if that is unknown`() {
        #expect(established().pacingRate == 100_000 * 739 / 256)
        var unknown = BBR()
        unknown.established(mss: mss)
        #expect(unknown.pacingRate == 10_000_000 * 739 / 256)
        unknown.acknowledged(ack(at: at(100), pipe: 10_000, rate: 0))
        #expect(unknown.pacingRate == 100_000 * 739 / 256)
    }

    @Test func `Startup goes on while each third round brings a quarter more, and then drains`() {
        var bbr = established()
        var rate: UInt64 = 100_000
        for round in 1...8 as ClosedRange<Int64> {
            bbr.acknowledged(ack(at: at(round * 100), pipe: 1_000_000, rate: rate))
            rate = rate * 5 / 4
        }
        #expect(bbr.mode == .startup)
        for round in 9...10 as ClosedRange<Int64> {
            bbr.acknowledged(ack(at: at(round * 100), pipe: 1_000_000, rate: rate / 2))
        }
        #expect(bbr.mode == .startup)
        #expect(bbr.pacingRate == bbr.bandwidth * 739 / 256)
        bbr.acknowledged(ack(at: at(1_100), pipe: 1_000_000, rate: rate / 2))
        #expect(bbr.mode == .drain)
        #expect(bbr.pacingRate == bbr.bandwidth * 88 / 256)
    }

    @Test func `Rounds that the application limited do not end startup, and lower no estimate`() {
        var bbr = established()
        bbr.acknowledged(ack(at: at(100), pipe: 10_000, rate: 500_000))
        for round in 2...50 as ClosedRange<Int64> {
            bbr.acknowledged(ack(at: at(round * 100), pipe: 10_000, rate: 1_000, isAppLimited: true))
        }
        #expect(bbr.mode == .startup && bbr.bandwidth == 500_000)
        bbr.acknowledged(ack(at: at(5_100), pipe: 10_000, rate: 600_000, isAppLimited: true))
        #expect(bbr.bandwidth == 600_000)
    }

    @Test func `The rate is forgotten after ten rounds`() {
        var bbr = probing()
        for round in 0..<9 as Range<Int64> {
            bbr.acknowledged(ack(at: at(600 + round * 100), pipe: 90_000, rate: 400_000))
        }
        #expect(bbr.bandwidth == 1_000_000)
        for round in 9..<12 as Range<Int64> {
            bbr.acknowledged(ack(at: at(600 + round * 100), pipe: 90_000, rate: 400_000))
        }
        #expect(bbr.bandwidth == 400_000)
    }

    @Test func `The cycle is 1.25, 0.75 and six times 1, each for a round trip`() {
        var bbr = probing()
        var gains: [UInt64] = []
        for step in 0..<24 as Range<Int64> {
            // Enough in flight to end the probing phase, and too much to end the draining one early.
            bbr.acknowledged(ack(at: at(601 + step * 101), pipe: 200_000, rate: 1_000_000))
            gains.append(bbr.pacingRate)
        }
        let start = gains.firstIndex(of: 1_250_000)!
        #expect(start < 8)
        let cycle: [UInt64] = [1_250_000, 750_000] + [UInt64](repeating: 1_000_000, count: 6)
        #expect(Array(gains[start..<(start + 8)]) == cycle)
        #expect(Array(gains[(start + 8)..<(start + 16)]) == cycle)
    }

    @Test func `Connections start the cycle in different phases, but none by draining`() {
        var rates: Set<UInt64> = []
        var untilProbe: Set<Int> = []
        for random in 0..<64 as Range<UInt64> {
            var bbr = probing(random: random << 32)
            rates.insert(bbr.pacingRate)
            var count = 0
            while bbr.pacingRate != 1_250_000 && count < 20 {
                bbr.acknowledged(ack(at: at(601 + Int64(count) * 101), pipe: 200_000, rate: 1_000_000))
                count += 1
            }
            untilProbe.insert(count)
        }
        #expect(rates == [1_250_000, 1_000_000])
        #expect(untilProbe == [0, 1, 2, 3, 4, 5, 6])
    }

    @Test func `The window grows to twice the product and three bursts, and no further`() {
        var bbr = probing()
        for _ in 0..<1_000 { bbr.acknowledged(ack(at: at(501), pipe: 150_000, rate: 1_000_000, starts: false)) }
        // 2 · 1 MB/s · 100 ms, and 3 · 2 segments for less than 24 Mb/s.
        #expect(bbr.cwnd == 206_000)
    }

    @Test func `In a recovery's first round as much leaves as arrives, and then the window is restored`() {
        var bbr = probing()
        for _ in 0..<1_000 { bbr.acknowledged(ack(at: at(501), pipe: 150_000, rate: 1_000_000, starts: false)) }
        #expect(bbr.congestionEvent(.loss, flightSize: 100_000, pipe: 90_000, at: at(502)) == .max)
        #expect(bbr.cwnd == 91_000)
        bbr.acknowledged(ack(at: at(503), bytes: 1_000, lost: 2_000, pipe: 90_000, rate: 1_000_000, starts: false))
        // Less by what was lost, but not less than what is in flight, and one more for the one that came.
        #expect(bbr.cwnd == 89_000)
        bbr.recoveryEnded(at: at(700))
        #expect(bbr.cwnd == 206_000)
        bbr.retransmissionTimeout(flightSize: 100_000, isRepeated: false, at: at(800))
        #expect(bbr.cwnd == 1_000)
        bbr.undo()
        #expect(bbr.cwnd == 206_000)
    }

    @Test func `Congestion marks are not looked at`() {
        var bbr = probing()
        let before = bbr.cwnd
        #expect(bbr.congestionEvent(.ecn, flightSize: 1_000, pipe: 1_000, at: at(600)) == .max)
        #expect(bbr.cwnd == before)
    }

    @Test func `A round trip ten seconds old is probed for a fifth of a second and a round`() {
        var bbr = probing()
        for _ in 0..<200 { bbr.acknowledged(ack(at: at(501), pipe: 150_000, rate: 1_000_000, starts: false)) }
        let before = bbr.cwnd
        bbr.acknowledged(ack(at: at(10_500), pipe: 150_000, rate: 1_000_000, rtt: 120_000))
        #expect(bbr.mode == .probeBandwidth)
        bbr.acknowledged(ack(at: at(10_502), pipe: 150_000, rate: 1_000_000, rtt: 120_000))
        #expect(bbr.mode == .probeRTT && bbr.cwnd == 4_000 && bbr.marksAppLimited && bbr.roundTrip == 120_000)
        // Four segments left: now the time counts.
        bbr.acknowledged(ack(at: at(10_600), pipe: 5_000, rate: 1_000_000, rtt: 101_000))
        bbr.acknowledged(ack(at: at(10_700), pipe: 4_000, rate: 1_000_000, starts: false, rtt: 101_000))
        bbr.acknowledged(ack(at: at(10_801), pipe: 4_000, rate: 1_000_000, starts: false, rtt: 101_000))
        #expect(bbr.mode == .probeRTT)
        bbr.acknowledged(ack(at: at(10_802), pipe: 4_000, rate: 1_000_000, rtt: 101_000))
        #expect(bbr.mode == .probeBandwidth && bbr.cwnd >= before && bbr.roundTrip == 101_000)
    }

    @Test func `After idleness it need not probe, and leaves at the rate of the path`() {
        var bbr = probing()
        bbr.sent(1_000, pipe: 0, at: at(60_000))
        #expect(bbr.pacingRate == 1_000_000)
        bbr.acknowledged(ack(at: at(60_100), pipe: 1_000, rate: 10_000, isAppLimited: true))
        #expect(bbr.mode == .probeBandwidth)
    }
}
