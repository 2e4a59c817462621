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
        at now: Instant, bytes: UInt32 = 1_000, lost: UInt32 = 0, pipe: UInt32, rate: UInt64,
        delivered: UInt32 = 100_000,
        starts: Bool = true, isAppLimited: Bool = false, rtt: UInt32 = 100_000
    ) -> Acknowledgement {
        let sample = RateSample(rate: rate, delivered: delivered, isAppLimited: isAppLimited, isRoundStart: starts)
        return Acknowledgement(
            now: now, bytes: bytes, lost: lost, pipe: pipe, sampleRTT: rtt, smoothedRTT: rtt, isCwndLimited: true,
            rate: sample)
    }

    /// A rate is kept in units of 16 bytes a second, and leaves out a hundredth.
    private func isPaced(_ bbr: BBR, at rate: UInt64) -> Bool {
        let expected = rate * 99 / 100
        return bbr.pacingRate <= expected && bbr.pacingRate + 32 > expected
    }

    /// Past startup, on a path of 1 MB/s and 100 ms, at 500 ms.
    private func probing(random: UInt64 = 0) -> BBR {
        var bbr = established(random: random)
        for round in 1...4 as ClosedRange<Int64> {
            bbr.acknowledged(ack(at: at(round * 100), pipe: 200_000, rate: 1_000_000))
        }
        #expect(bbr.mode == .drain)
        bbr.acknowledged(ack(at: at(500), pipe: 90_000, rate: 1_000_000))
        #expect(bbr.mode == .cruise)
        return bbr
    }

    /// The same with a window that has grown to its bound.
    private func cruising(random: UInt64 = 0) -> BBR {
        var bbr = probing(random: random)
        for _ in 0..<1_000 { bbr.acknowledged(ack(at: at(501), pipe: 150_000, rate: 1_000_000, starts: false)) }
        return bbr
    }

    /// Rounds of 100 ms from an instant on, until a mode is reached. Returns when.
    @discardableResult
    private func run(
        _ bbr: inout BBR, from start: Int64, to mode: BBR.Mode, pipe: UInt32 = 100_000, rate: UInt64 = 1_000_000
    ) -> Int64 {
        var now = start
        while bbr.mode != mode, now < start + 20_000 {
            now += 100
            // Always a little shorter, so that the round trip need not be probed for.
            bbr.acknowledged(ack(at: at(now), pipe: pipe, rate: rate, rtt: 100_000 - UInt32(now / 100)))
        }
        #expect(bbr.mode == mode)
        return now
    }

    @Test func `It starts at 2.77 initial windows a round trip, or a millisecond if that is unknown`() {
        #expect(established().pacingRate == 100_000 * 709 / 256 / 16 * 16)
        var unknown = BBR()
        unknown.established(mss: mss)
        #expect(unknown.pacingRate == 10_000_000 * 709 / 256 / 16 * 16)
        unknown.acknowledged(ack(at: at(100), pipe: 10_000, rate: 0))
        #expect(unknown.pacingRate == 100_000 * 709 / 256 / 16 * 16)
    }

    @Test func `Startup goes on while each third round brings a quarter more, and then drains`() {
        var bbr = established()
        var rate: UInt64 = 102_400
        for round in 1...8 as ClosedRange<Int64> {
            bbr.acknowledged(ack(at: at(round * 100), pipe: 1_000_000, rate: rate))
            rate = rate * 4 / 3
        }
        for round in 9...10 as ClosedRange<Int64> {
            bbr.acknowledged(ack(at: at(round * 100), pipe: 1_000_000, rate: rate / 2))
        }
        #expect(bbr.mode == .startup)
        #expect(isPaced(bbr, at: bbr.bandwidth * 709 / 256))
        bbr.acknowledged(ack(at: at(1_100), pipe: 1_000_000, rate: rate / 2))
        #expect(bbr.mode == .drain)
        #expect(isPaced(bbr, at: bbr.bandwidth / 2))
    }

    @Test
    func `Startup ends with a round of six losses that are more than a fiftieth, and what was borne is the bound`() {
        var bbr = established()
        bbr.acknowledged(ack(at: at(100), pipe: 100_000, rate: 500_000))
        for _ in 0..<6 {
            bbr.acknowledged(ack(at: at(150), lost: 1_000, pipe: 100_000, rate: 700_000, starts: false))
        }
        #expect(bbr.mode == .startup)
        bbr.acknowledged(ack(at: at(200), pipe: 100_000, rate: 900_000))
        #expect(bbr.mode != .startup && bbr.inflightHigh >= 90_000 && bbr.inflightHigh <= 106_000)
        // Five are none of it, nor are six in a thousand.
        for (losses, bytes) in [(5, 1_000), (6, 100)] as [(Int, UInt32)] {
            var other = established()
            other.acknowledged(ack(at: at(100), pipe: 100_000, rate: 500_000))
            for _ in 0..<losses {
                other.acknowledged(ack(at: at(150), lost: bytes, pipe: 100_000, rate: 700_000, starts: false))
            }
            other.acknowledged(ack(at: at(200), pipe: 100_000, rate: 900_000))
            #expect(other.mode == .startup)
        }
    }

    @Test func `Rounds that the application limited do not end startup, and lower no estimate`() {
        var bbr = established()
        bbr.acknowledged(ack(at: at(100), pipe: 10_000, rate: 500_000))
        for round in 2...40 as ClosedRange<Int64> {
            bbr.acknowledged(ack(at: at(round * 100), pipe: 10_000, rate: 1_000, isAppLimited: true))
        }
        #expect(bbr.mode == .startup && bbr.bandwidth == 500_000)
        bbr.acknowledged(ack(at: at(4_100), pipe: 10_000, rate: 600_000, isAppLimited: true))
        #expect(bbr.bandwidth == 600_000)
    }

    @Test func `A probe for bandwidth fills the pipe for a round, exceeds it, and then drains what that has queued`() {
        var bbr = cruising()
        #expect(isPaced(bbr, at: 1_000_000))
        let refilledAt = run(&bbr, from: 600, to: .refill)
        #expect((2_500...3_600).contains(refilledAt), "\(refilledAt)")
        #expect(isPaced(bbr, at: 1_000_000))
        let upAt = run(&bbr, from: refilledAt, to: .up)
        #expect(upAt == refilledAt + 100 && isPaced(bbr, at: 1_250_000))
        // Three rounds without a quarter more.
        let downAt = run(&bbr, from: upAt, to: .down, pipe: 125_000)
        #expect(downAt == upAt + 300 && isPaced(bbr, at: 1_000_000 * 230 / 256))
        bbr.acknowledged(ack(at: at(downAt + 50), pipe: 120_000, rate: 1_000_000, starts: false))
        #expect(bbr.mode == .down)
        bbr.acknowledged(ack(at: at(downAt + 90), pipe: 100_000, rate: 1_000_000, starts: false))
        #expect(bbr.mode == .cruise)
    }

    @Test func `A rate is remembered for the probe after the one that found it, and no longer`() {
        var bbr = cruising()
        var now = run(&bbr, from: 600, to: .up)
        now = run(&bbr, from: now, to: .cruise, pipe: 90_000, rate: 400_000)
        now = run(&bbr, from: now, to: .up, pipe: 90_000, rate: 400_000)
        #expect(bbr.bandwidth == 1_000_000)
        now = run(&bbr, from: now, to: .cruise, pipe: 30_000, rate: 400_000)
        now = run(&bbr, from: now, to: .up, pipe: 30_000, rate: 400_000)
        #expect(bbr.bandwidth == 400_000)
    }

    @Test func `Connections probe at different times, two to three seconds apart`() {
        var times: Set<Int64> = []
        for random in 0..<64 as Range<UInt64> {
            var bbr = probing(random: random &* 0x9e37_79b9_7f4a_7c15)
            times.insert(run(&bbr, from: 600, to: .refill))
        }
        #expect(times.allSatisfy { $0 >= 2_500 && $0 <= 3_600 } && times.count > 5, "\(times.sorted())")
    }

    @Test func `A connection with little in flight probes as often as a Reno flow wins its window back`() {
        var bbr = established()
        for round in 1...4 as ClosedRange<Int64> {
            bbr.acknowledged(ack(at: at(round * 100), pipe: 20_000, rate: 100_000))
        }
        bbr.acknowledged(ack(at: at(500), pipe: 9_000, rate: 100_000))
        #expect(bbr.mode == .cruise)
        // Ten segments: ten rounds, or one less by chance.
        let probedAt = run(&bbr, from: 500, to: .refill, pipe: 9_000, rate: 100_000)
        #expect((1_300...1_600).contains(probedAt), "\(probedAt)")
    }

    @Test func `The window grows to one and a quarter of the product between probes, and no further`() {
        #expect(cruising().cwnd == 125_000)
    }

    @Test func `A round with losses lowers what the next may use by three tenths, until the next probe`() {
        var bbr = cruising()
        bbr.acknowledged(ack(at: at(600), pipe: 100_000, rate: 500_000, delivered: 50_000))
        bbr.acknowledged(ack(at: at(650), lost: 1_000, pipe: 100_000, rate: 500_000, delivered: 50_000, starts: false))
        #expect(bbr.bandwidth == 1_000_000 && bbr.inflightLow == BBR.unbounded)
        bbr.acknowledged(ack(at: at(700), pipe: 100_000, rate: 500_000, delivered: 50_000))
        #expect(bbr.bandwidth == 700_000 && bbr.inflightLow == 87_500 && bbr.cwnd == 87_500)
        // Not below what the round has shown.
        bbr.acknowledged(ack(at: at(750), lost: 1_000, pipe: 100_000, rate: 690_000, delivered: 104_000, starts: false))
        bbr.acknowledged(ack(at: at(800), pipe: 100_000, rate: 500_000, delivered: 50_000))
        #expect(bbr.bandwidth == 690_000 / 16 * 16 && bbr.inflightLow == 104_000)
        run(&bbr, from: 800, to: .refill)
        #expect(bbr.bandwidth == 1_000_000 && bbr.inflightLow == BBR.unbounded)
    }

    @Test func `A probe that loses more than a fiftieth is over, and what was in flight is the bound from then on`() {
        var bbr = cruising()
        let now = run(&bbr, from: 600, to: .up)
        // One in a hundred is borne.
        bbr.acknowledged(
            ack(at: at(now + 50), lost: 1_000, pipe: 125_000, rate: 1_000_000, delivered: 120_000, starts: false))
        #expect(bbr.mode == .up && bbr.inflightHigh == BBR.unbounded)
        bbr.acknowledged(
            ack(at: at(now + 60), lost: 2_000, pipe: 125_000, rate: 1_000_000, delivered: 120_000, starts: false))
        #expect(bbr.mode == .down && bbr.inflightHigh == 123_000 && bbr.cwnd == 123_000)
        // Cruising leaves 15 % of it to others.
        run(&bbr, from: now + 60, to: .cruise, pipe: 90_000)
        #expect(bbr.cwnd <= 123_000 - 123_000 / 20 * 3)
    }

    @Test func `A recovery and a timeout give the window back when they end, and the bounds if they were for nothing`()
    {
        var bbr = cruising()
        #expect(bbr.congestionEvent(.loss, flightSize: 100_000, pipe: 90_000, at: at(502)) == .max)
        #expect(bbr.cwnd == 125_000)
        bbr.retransmissionTimeout(flightSize: 100_000, isRepeated: false, at: at(800))
        #expect(bbr.cwnd == 1_000)
        bbr.recoveryEnded(at: at(900))
        #expect(bbr.cwnd == 125_000)
        let now = run(&bbr, from: 900, to: .up)
        _ = bbr.congestionEvent(.loss, flightSize: 100_000, pipe: 90_000, at: at(now))
        bbr.acknowledged(ack(at: at(now + 10), lost: 20_000, pipe: 125_000, rate: 1_000_000, starts: false))
        #expect(bbr.inflightHigh < BBR.unbounded)
        bbr.undo()
        #expect(bbr.inflightHigh == BBR.unbounded && bbr.cwnd >= 125_000)
    }

    @Test func `Congestion marks are not looked at`() {
        var bbr = probing()
        let before = bbr.cwnd
        #expect(bbr.congestionEvent(.ecn, flightSize: 1_000, pipe: 1_000, at: at(600)) == .max)
        #expect(bbr.cwnd == before)
    }

    @Test func `A round trip five seconds old is probed for a fifth of a second and a round, with half of the product`()
    {
        var bbr = cruising()
        let before = bbr.cwnd
        // No ACK for a while, so that no probe for bandwidth comes between.
        bbr.acknowledged(ack(at: at(5_500), pipe: 150_000, rate: 1_000_000, starts: false, rtt: 120_000))
        #expect(bbr.mode == .probeRTT && bbr.cwnd == 50_000 && bbr.marksAppLimited)
        // Half is left: now the time counts.
        bbr.acknowledged(ack(at: at(5_600), pipe: 52_000, rate: 1_000_000, rtt: 101_000))
        bbr.acknowledged(ack(at: at(5_700), pipe: 50_000, rate: 1_000_000, starts: false, rtt: 101_000))
        bbr.acknowledged(ack(at: at(5_901), pipe: 50_000, rate: 1_000_000, starts: false, rtt: 101_000))
        #expect(bbr.mode == .probeRTT)
        bbr.acknowledged(ack(at: at(5_902), pipe: 50_000, rate: 1_000_000, rtt: 101_000))
        #expect(bbr.mode == .cruise && bbr.cwnd >= before / 2)
        // The shortest of ten seconds counts, not the last.
        #expect(bbr.roundTrip == 100_000)
        var now: Int64 = 6_000
        while now < 16_000 {
            bbr.acknowledged(ack(at: at(now), pipe: 40_000, rate: 1_000_000, rtt: 101_000))
            now += 100
        }
        #expect(bbr.roundTrip == 101_000)
    }

    @Test func `After idleness it need not probe, and leaves at the rate of the path`() {
        var bbr = probing()
        bbr.sent(1_000, pipe: 0, at: at(60_000))
        #expect(isPaced(bbr, at: 1_000_000))
        bbr.acknowledged(ack(at: at(60_100), pipe: 1_000, rate: 10_000, isAppLimited: true))
        #expect(bbr.mode.isProbingBandwidth)
    }
}
