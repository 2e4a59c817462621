// The retransmission timeout against numbers computed by hand from RFC 6298, and the shortest round trip against a history.

import Testing

@testable import MartletStack

@Suite struct RTTTests {
    @Test func `Before any sample the timeout is one second, and after a lost SYN three`() {
        var rtt = RTT()
        #expect(rtt.rto == 1_000_000)
        #expect(!rtt.isMeasured && rtt.srtt == 0 && rtt.rttvar == 0)
        rtt.backOff()
        #expect(rtt.rto == 2_000_000)
        rtt.established(afterLostSYN: true)
        #expect(rtt.rto == 3_000_000)
        rtt.sample(100_000)
        #expect(rtt.rto == 100_000 + 200_000)
    }

    @Test func `After a lost SYN data starts with three seconds even if the handshake was measured`() {
        var rtt = RTT()
        rtt.sample(10_000)
        rtt.established(afterLostSYN: false)
        #expect(rtt.rto == 210_000)
        rtt.established(afterLostSYN: true)
        #expect(rtt.rto == 3_000_000)
        rtt.sample(10_000)
        #expect(rtt.rto == 210_000)
    }

    @Test func `Samples are taken in as the RFC's formulas say`() {
        var rtt = RTT()
        rtt.sample(1_000_000)
        // SRTT = R, RTTVAR = R / 2, RTO = SRTT + 4 RTTVAR
        #expect(rtt.srtt == 1_000_000 && rtt.rttvar == 500_000 && rtt.timeout(leastMargin: 1) == 3_000_000)
        rtt.sample(600_000)
        // RTTVAR = 3/4 · 500 + 1/4 · |1000 − 600| = 475, SRTT = 7/8 · 1000 + 1/8 · 600 = 950
        #expect(rtt.srtt == 950_000 && rtt.rttvar == 475_000 && rtt.timeout(leastMargin: 1) == 2_850_000)
        rtt.sample(950_000)
        // RTTVAR = 3/4 · 475 = 356.25, SRTT stays
        #expect(rtt.srtt == 950_000 && rtt.rttvar == 356_250 && rtt.timeout(leastMargin: 1) == 2_375_000)
    }

    @Test(arguments: UInt64(1)...8)
    func `The fixed-point filters stay within a few microseconds of exact ones`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var rtt = RTT()
        let first = UInt32.random(in: 1...1_000_000, using: &random)
        rtt.sample(first)
        var (srtt, rttvar) = (Double(first), Double(first) / 2)
        for _ in 0..<2_000 {
            let sample = UInt32.random(in: 1...1_000_000, using: &random)
            rtt.sample(sample)
            rttvar = 0.75 * rttvar + 0.25 * abs(srtt - Double(sample))
            srtt = 0.875 * srtt + 0.125 * Double(sample)
            try #require(abs(Double(rtt.srtt) - srtt) < 3, "seed \(seed)")
            try #require(abs(Double(rtt.rttvar) - rttvar) < 5, "seed \(seed)")
        }
    }

    @Test func `The variation's share is never below the least margin`() {
        var rtt = RTT()
        #expect(rtt.timeout(leastMargin: 1_500_000) == 1_500_000)
        for _ in 0..<100 { rtt.sample(50_000) }
        #expect(rtt.rto == 250_000)
        #expect(rtt.timeout(leastMargin: 10_000) == 60_000)
    }

    @Test func `Each expiry doubles the timeout up to two minutes, and a sample ends that`() {
        var rtt = RTT()
        rtt.sample(100_000)
        var expected: UInt64 = 300_000
        for _ in 0..<300 {
            #expect(rtt.rto == UInt32(min(expected, 120_000_000)))
            rtt.backOff()
            expected = min(expected * 2, 1 << 40)
        }
        rtt.sample(100_000)
        #expect(rtt.rto <= 300_000)
    }

    @Test func `No sample makes it overflow, or its timeout exceed two minutes`() {
        for extreme: [UInt32] in [[0, .max, 0, .max], [.max, .max, 0, 0], [1, 1, 1, .max], [.max, 0, .max, 0]] {
            var rtt = RTT()
            for _ in 0..<100 {
                for sample in extreme { rtt.sample(sample) }
                #expect(rtt.rto <= 120_000_000 && rtt.rto > 0 && rtt.isMeasured)
                #expect(rtt.timeout(leastMargin: .max / 2) <= 120_000_000)
            }
        }
    }

    @Test func `It is small enough for the first cache lines of a TCB`() {
        #expect(MemoryLayout<RTT>.size <= 16)
        #expect(MemoryLayout<MinimumRTT>.size <= 24)
    }
}

@Suite struct MinimumRTTTests {
    private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

    @Test func `The shortest counts for ten seconds, and then the next shortest`() {
        var minimum = MinimumRTT()
        #expect(minimum.value == .max)
        minimum.sample(50_000, at: at(0))
        minimum.sample(20_000, at: at(1_000))
        minimum.sample(40_000, at: at(6_000))
        #expect(minimum.value == 20_000)
        minimum.sample(60_000, at: at(10_900))
        #expect(minimum.value == 20_000)
        minimum.sample(60_000, at: at(11_100))
        #expect(minimum.value == 40_000)
        minimum.sample(70_000, at: at(40_000))
        #expect(minimum.value == 70_000)
    }

    @Test func `The longest time possible is a sample like others`() {
        var minimum = MinimumRTT()
        minimum.sample(.max, at: at(0))
        #expect(minimum.value == UInt32.max - 1)
        minimum.sample(0, at: at(1))
        #expect(minimum.value == 0)
    }

    @Test(arguments: UInt64(1)...16)
    func `It is a value of the window, at most the latest, and the least of the youngest quarter`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var minimum = MinimumRTT()
        var history: [(time: Int64, value: UInt32)] = []
        // Across the wrap of the millisecond clock.
        var time = Int64(UInt32.max) - 20_000
        for _ in 0..<2_000 {
            time += Int64.random(in: 0...200, using: &random)
            let value = UInt32.random(in: 10_000...100_000, using: &random)
            minimum.sample(value, at: at(time))
            history.append((time, value))
            let window = history.filter { time - $0.time <= 10_000 }
            try #require(window.contains { $0.value == minimum.value }, "seed \(seed)")
            let least = window.map(\.value).min()!
            let leastOfQuarter = window.filter { time - $0.time <= 2_500 }.map(\.value).min()!
            try #require((least...leastOfQuarter).contains(minimum.value), "seed \(seed)")
        }
    }
}
