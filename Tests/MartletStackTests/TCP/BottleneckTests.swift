// Whole flows over a modelled bottleneck: that each algorithm fills it, that equals share it, and that BBR leaves the queue
// alone.

import Testing

@testable import MartletStack

@Suite struct BottleneckTests {
    /// 16 Mb/s and 40 ms: 55 segments.
    private func link(buffers: Double, lossInterval: Int = 0) -> Bottleneck {
        Bottleneck(rate: 2e6, roundTrip: 0.04, buffer: buffers * 2e6 * 0.04, lossInterval: lossInterval)
    }

    private func delivered(_ path: Path) -> [Double] { path.flows.map { Double($0.delivered) } }

    @Test(arguments: CongestionAlgorithm.allCases)
    func `A single flow fills the pipe, with a buffer as large as the pipe`(algorithm: CongestionAlgorithm) {
        var path = Path(link(buffers: 1), [Flow(algorithm)])
        path.run(to: 5)
        let before = delivered(path)[0]
        path.run(to: 25)
        let share = (delivered(path)[0] - before) / (20 * 2e6)
        #expect(share > 0.95 && share <= 1.001, "\(share)")
        #expect(path.flows[0].timeouts == 0)
    }

    @Test(arguments: [(.newReno, 0.70), (.cubic, 0.78), (.bbr, 0.90)] as [(CongestionAlgorithm, Double)])
    func `With a buffer a fifth of the pipe most of it is still used`(algorithm: CongestionAlgorithm, least: Double) {
        var path = Path(link(buffers: 0.2), [Flow(algorithm)])
        path.run(to: 5)
        let before = delivered(path)[0]
        path.run(to: 25)
        let share = (delivered(path)[0] - before) / (20 * 2e6)
        #expect(share > least && share <= 1.001, "\(share)")
    }

    @Test(arguments: CongestionAlgorithm.allCases)
    func `Two flows that start apart come to share evenly`(algorithm: CongestionAlgorithm) {
        var path = Path(link(buffers: 1), [Flow(algorithm)])
        path.run(to: 5)
        path.flows.append(Flow(algorithm))
        path.run(to: 35)
        let before = delivered(path)
        path.run(to: 75)
        let gains = zip(delivered(path), before).map { $0 - $1 }
        #expect(gains.reduce(0, +) > 0.93 * 40 * 2e6)
        #expect((0.6...1.67).contains(gains[0] / gains[1]), "\(gains)")
    }

    @Test func `BBR finds rate and round trip, and its window and pacing stay near their product`() throws {
        var path = Path(link(buffers: 4), [Flow(.bbr, random: 7)])
        path.run(to: 3)
        var windows: [Double] = []
        var rates: [Double] = []
        var pipes: [Double] = []
        path.run(to: 13, watchEach: 0.01) { path in
            guard case .bbr(let bbr) = path.flows[0].control, bbr.mode != .probeRTT else { return }
            #expect(bbr.mode.isProbingBandwidth)
            windows.append(Double(bbr.cwnd) / path.link.product)
            rates.append(Double(bbr.pacingRate) / path.link.rate)
            pipes.append(Double(path.flows[0].pipe) / path.link.product)
        }
        guard case .bbr(let bbr) = path.flows[0].control else { return }
        #expect(abs(Double(bbr.bandwidth) / 2e6 - 1) < 0.03, "\(bbr.bandwidth)")
        #expect(bbr.roundTrip >= 40_000 && bbr.roundTrip < 42_000)
        // Twice the product and a quarter while it probes, and half of it when it has just measured the round trip.
        #expect(windows.allSatisfy { $0 > 0.45 && $0 < 2.4 }, "\(windows.min()!) … \(windows.max()!)")
        #expect(rates.allSatisfy { $0 > 0.85 && $0 < 1.3 }, "\(rates.min()!) … \(rates.max()!)")
        let mean = rates.reduce(0, +) / Double(rates.count)
        #expect(abs(mean - 1) < 0.05, "\(mean)")
        // What is in flight is the product and little of a queue, though four times as much would fit.
        let meanPipe = pipes.reduce(0, +) / Double(pipes.count)
        #expect(meanPipe > 0.9 && meanPipe < 1.3, "\(meanPipe)")
        #expect(path.flows[0].timeouts == 0)
    }

    @Test func `BBR measures the round trip anew every five seconds, with half of the product in flight`() {
        var path = Path(link(buffers: 4), [Flow(.bbr)])
        var least = UInt32.max
        var modes: Set<BBR.Mode> = []
        path.run(to: 22, watchEach: 0.005) { path in
            guard case .bbr(let bbr) = path.flows[0].control else { return }
            modes.insert(bbr.mode)
            if bbr.mode == .probeRTT {
                least = min(least, path.flows[0].pipe)
                #expect(Double(bbr.cwnd) < 0.55 * path.link.product)
            }
        }
        #expect(modes == [.startup, .drain, .down, .cruise, .refill, .up, .probeRTT])
        #expect(Double(least) < 0.52 * path.link.product, "\(least)")
        // It costs half of a fifth of a second each time.
        #expect(delivered(path)[0] > 0.93 * 22 * 2e6)
    }

    @Test func `One loss in a hundred hardly slows BBR, and slows the others a lot`() {
        var shares: [CongestionAlgorithm: Double] = [:]
        for algorithm in CongestionAlgorithm.allCases {
            var path = Path(link(buffers: 1, lossInterval: 100), [Flow(algorithm)])
            path.run(to: 20)
            shares[algorithm] = delivered(path)[0] / (20 * 2e6)
        }
        #expect(shares[.bbr]! > 0.8, "\(shares)")
        #expect(shares[.newReno]! < 0.4 && shares[.cubic]! < 0.5, "\(shares)")
        // 1.22 / √0.01 segments a round trip, for the one with a formula: 12.2 of 55.
        #expect(abs(shares[.newReno]! - 12.2 / 55) < 0.08, "\(shares)")
    }

    @Test func `A path that grows slower is noticed with the second probe from then on`() {
        var path = Path(link(buffers: 2), [Flow(.bbr)])
        path.run(to: 3)
        path.link = Bottleneck(rate: 1e6, roundTrip: 0.04, buffer: 160_000)
        path.run(to: 14)
        guard case .bbr(let bbr) = path.flows[0].control else { return }
        #expect(abs(Double(bbr.bandwidth) / 1e6 - 1) < 0.05, "\(bbr.bandwidth)")
    }

    @Test func `HyStart++ leaves slow start before a deep buffer overflows`() {
        var path = Path(link(buffers: 16), [Flow(.cubic)])
        path.run(to: 3)
        #expect(path.link.drops == 0)
        #expect(path.flows[0].control.ssthresh < .max)
        #expect(Double(path.flows[0].control.cwnd) > path.link.product)
    }
}
