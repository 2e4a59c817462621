// CUBIC's integers against RFC 9438's formulas in floating point.

import Testing

@testable import MartletStack

@Suite struct CUBICTests {
    private let mss: UInt32 = 1_448

    private func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }

    /// Established with a window of so many segments, reduced by one loss, and at the start of congestion avoidance.
    private func afterLoss(segments: UInt32) -> CUBIC {
        var cubic = CUBIC()
        cubic.established(mss: mss, segments: segments)
        _ = cubic.lose()
        cubic.recoveryEnded(at: .zero)
        return cubic
    }

    /// Acknowledges a window each round trip, segment by segment or by so many, until the time has come.
    private func run(
        _ cubic: inout CUBIC, from start: Double = 0, to end: Double, rtt: Double,
        each: (Double, CUBIC) -> Void = { _, _ in }
    ) {
        var time = start
        while time < end {
            let acks = max(1, min(cubic.cwnd / mss, 50))
            let bytes = cubic.cwnd / acks
            for ack in 0..<acks {
                let now = time + rtt * Double(ack) / Double(acks)
                cubic.acknowledged(.of(bytes, at: at(now), rtt: UInt32(rtt * 1e6)))
                each(now, cubic)
            }
            time += rtt
        }
    }

    @Test func `A loss reduces the window to 0.7, and not below two segments`() {
        var cubic = CUBIC()
        cubic.established(mss: 1_000)
        #expect(cubic.lose() == 7_000)
        #expect(cubic.cwnd == 7_000 && cubic.ssthresh == 7_000 && cubic.pacingRate == 0)
        cubic.recoveryEnded(at: .zero)
        #expect(cubic.lose(flightSize: 1_000) == 2_000)
        #expect(cubic.cwnd == 2_000)
    }

    @Test func `In slow start the window grows by what is acknowledged`() {
        var cubic = CUBIC()
        cubic.established(mss: 1_000)
        for _ in 0..<10 { cubic.acknowledged(.of(1_000)) }
        #expect(cubic.cwnd == 20_000)
    }

    @Test(arguments: [(500, 0.1), (5_000, 0.1), (50_000, 0.05), (2_000, 0.2), (20_000, 0.01)] as [(UInt32, Double)])
    func `The window follows the cubic function within one percent`(segments: UInt32, rtt: Double) {
        var cubic = afterLoss(segments: segments)
        let wMax = Double(segments * mss)
        let k = ((wMax - 0.7 * wMax) / (0.4 * Double(mss)))
        let kSeconds = cubeRoot(k)
        var compared = 0
        run(&cubic, to: kSeconds * 1.5, rtt: rtt) { time, cubic in
            let distance = time - kSeconds
            let curve = 0.4 * Double(mss) * distance * distance * distance + wMax
            // §4.4: an ACK at t heads for W_cubic(t + RTT), and is there a round trip later; so at the first, not yet.
            let wEst = 0.7 * wMax + 9 / 17 * Double(mss) * time / rtt
            guard time > rtt, curve > wEst else { return }
            compared += 1
            let next = 0.4 * Double(mss) * pow3(distance + rtt) + wMax
            #expect(
                Double(cubic.cwnd) > curve * 0.99 && Double(cubic.cwnd) < next * 1.01,
                "at \(time): \(cubic.cwnd), but the curve says \(curve)")
        }
        #expect(compared > 100)
    }

    @Test(arguments: [(20, 0.02), (10, 0.01), (40, 0.001)] as [(UInt32, Double)])
    func `With a short round trip or a small window it grows as Reno would`(segments: UInt32, rtt: Double) {
        var cubic = afterLoss(segments: segments)
        let start = Double(cubic.cwnd)
        let rounds = 5.0
        run(&cubic, to: rtt * rounds, rtt: rtt)
        // 9/17 of a segment a round trip.
        let expected = start + rounds * 9 / 17 * Double(mss)
        #expect(abs(Double(cubic.cwnd) - expected) < Double(mss))
        // And a whole one from where the loss was.
        run(&cubic, from: rtt * rounds, to: rtt * 40, rtt: rtt)
        let there = Double(cubic.cwnd)
        guard there >= Double(segments * mss) else { return }
        run(&cubic, from: rtt * 40, to: rtt * 50, rtt: rtt)
        #expect(Double(cubic.cwnd) - there > 9 * Double(mss))
    }

    @Test func `A second loss at a smaller window makes room: fast convergence`() {
        // W_max is 1000 segments, then (1 + 0.7) / 2 of 700: K is the time for 595 − 490 segments.
        var cubic = afterLoss(segments: 1_000)
        _ = cubic.lose()
        cubic.recoveryEnded(at: .zero)
        #expect(abs(Int(cubic.cwnd) - 490 * 1_448) < 1_448)
        let k = cubeRoot(105 / 0.4)
        run(&cubic, to: k, rtt: 0.1)
        // At the plateau, before the curve turns up.
        #expect(abs(Double(cubic.cwnd) / (595 * 1_448) - 1) < 0.01)
    }

    @Test func `A loss at a larger window does not`() {
        var cubic = afterLoss(segments: 1_000)
        run(&cubic, to: 12, rtt: 0.1)
        let larger = cubic.cwnd
        #expect(larger > 1_000 * mss)
        _ = cubic.lose()
        cubic.recoveryEnded(at: at(12))
        let k = cubeRoot(0.3 * Double(larger) / Double(mss) / 0.4)
        run(&cubic, from: 12, to: 12 + k, rtt: 0.1)
        #expect(abs(Double(cubic.cwnd) / Double(larger) - 1) < 0.01)
    }

    @Test func `Time in which the window was not used does not move it along the curve`() {
        var steady = afterLoss(segments: 1_000)
        var paused = steady
        run(&steady, to: 4, rtt: 0.1)
        run(&paused, to: 2, rtt: 0.1)
        // A minute of trickling, then a minute of silence.
        for second in 2..<62 {
            paused.acknowledged(.of(mss, at: at(Double(second)), rtt: 100_000, isCwndLimited: false))
        }
        paused.sent(mss, pipe: 0, at: at(122))
        run(&paused, from: 122, to: 124, rtt: 0.1)
        #expect(abs(Double(paused.cwnd) / Double(steady.cwnd) - 1) < 0.01)
    }

    @Test func `After a timeout the curve starts flat where slow start ends`() {
        var cubic = CUBIC()
        cubic.established(mss: 1_000, segments: 1_000)
        cubic.retransmissionTimeout(flightSize: 1_000_000, isRepeated: false, at: .zero)
        #expect(cubic.cwnd == 1_000 && cubic.ssthresh == 700_000)
        cubic.recoveryEnded(at: .zero)
        for _ in 0..<699 { cubic.acknowledged(.of(1_000, rtt: 100_000)) }
        #expect(cubic.cwnd == 700_000)
        // K is 0, so two seconds later it is 0.4 · 2³ = 3.2 segments above; but a Reno would be 20 · 9/17 = 10.6.
        var time = 0.0
        while time < 2 {
            for ack in 0..<100 {
                cubic.acknowledged(.of(cubic.cwnd / 100, at: at(time + Double(ack) / 1_000), rtt: 100_000))
            }
            time += 0.1
        }
        #expect(abs(Int(cubic.cwnd) - 710_600) < 600)
    }

    @Test func `A spurious loss is taken back, and the curve goes on`() {
        var steady = afterLoss(segments: 1_000)
        var disturbed = steady
        run(&steady, to: 6, rtt: 0.1)
        run(&disturbed, to: 3, rtt: 0.1)
        _ = disturbed.congestionEvent(.loss, flightSize: disturbed.cwnd, pipe: 0, at: at(3))
        #expect(disturbed.cwnd < steady.cwnd * 8 / 10)
        disturbed.undo()
        run(&disturbed, from: 3, to: 6, rtt: 0.1)
        #expect(disturbed.cwnd == steady.cwnd)
        disturbed.retransmissionTimeout(flightSize: disturbed.cwnd, isRepeated: false, at: at(6))
        #expect(disturbed.cwnd == mss)
        disturbed.undo()
        #expect(disturbed.cwnd == steady.cwnd)
        run(&steady, from: 6, to: 9, rtt: 0.1)
        run(&disturbed, from: 6, to: 9, rtt: 0.1)
        #expect(disturbed.cwnd == steady.cwnd)
    }

    @Test func `A spurious timeout in a recovery takes back no more than itself`() {
        var cubic = CUBIC()
        cubic.established(mss: 1_000, segments: 100)
        #expect(cubic.lose() == 70_000)
        cubic.retransmissionTimeout(flightSize: 100_000, isRepeated: false, at: .zero)
        #expect(cubic.cwnd == 1_000 && cubic.ssthresh == 70_000)
        cubic.undo()
        #expect(cubic.cwnd == 70_000 && cubic.ssthresh == 70_000)
    }

    @Test(arguments: [0, 1, 7, 8, 9, 26, 27, 28, 999_999_999, 1_000_000_000, .max, 1 << 63, 1 << 63 - 1] as [UInt64])
    func `The integer cube root is exact`(number: UInt64) {
        check(number)
    }

    @Test(arguments: UInt64(1)...4)
    func `The integer cube root is exact for any number`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<500 { check(UInt64(bitPattern: random.anyMagnitude(below: 63))) }
        for _ in 0..<100 {
            let root = UInt64.random(in: 1...2_642_245, using: &random)
            #expect(CUBIC.cubeRoot(root * root * root) == root)
            #expect(CUBIC.cubeRoot(root * root * root - 1) == root - 1)
        }
    }

    private func check(_ number: UInt64) {
        let root = UInt128(CUBIC.cubeRoot(number))
        #expect(root * root * root <= UInt128(number), "\(number)")
        #expect((root + 1) * (root + 1) * (root + 1) > UInt128(number), "\(number)")
    }

    private func pow3(_ number: Double) -> Double { number * number * number }

    /// By Newton's method: the tests import no mathematics.
    private func cubeRoot(_ number: Double) -> Double {
        var root = max(number, 1)
        for _ in 0..<200 { root = (2 * root + number / (root * root)) / 3 }
        return root
    }
}
