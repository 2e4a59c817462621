import MartletSimulation
import Testing

@testable import MartletStack

/// Whole connections over a bottleneck with a queue, in virtual time: paced, and marked instead of dropped.
@Suite struct PacedTests {
    /// 20 Mb/s and 40 ms: 100,000 bytes.
    static let rate = 2_500_000.0
    static let product = 100_000

    /// What a transfer without end did between two instants.
    struct Outcome {
        var bytes = 0
        /// The longest smoothed round trip, in microseconds: what it is above 40,000 was spent in the queue.
        var longestRoundTrip: Int64 = 0
        var largestBurst = 0
        var steps = 0
        var packets = 0
        var counters = TCPCounters()
    }

    static func run(
        queue: Int, markingThreshold: Int? = nil, _ limits: TCPLimits, from start: Double, to end: Double
    ) throws -> Outcome {
        var there = LinkConditions(latency: .milliseconds(20), bandwidth: Int64(rate * 8))
        there.queueLimit = queue
        there.markingThreshold = markingThreshold
        var hosts = Hosts(there, back: LinkConditions(latency: .milliseconds(20)), limits: limits, seed: 1)
        let listener = hosts[1].listen(port: 7, backlog: 8)
        let opened = try? hosts[0].connect(to: Hosts.address(1), port: 7)
        let client = try #require(opened)
        let data = [UInt8](repeating: 7, count: 100_000)
        var server: ConnectionID?
        var outcome = Outcome()
        var packets = 0
        var burst = 0
        hosts.filter = { host, packet in
            if host == 0 {
                packets += 1
                burst += packet.count
            }
            return true
        }
        let limit = Instant(nanoseconds: Int64(end * 1e9))
        var hasStarted = false
        // More than a virtual second of any of these takes.
        for _ in 0..<1_000_000 {
            burst = 0
            guard hosts.step(until: limit) else { break }
            outcome.largestBurst = max(outcome.largestBurst, burst)
            if !hasStarted, hosts.now.seconds >= start {
                hasStarted = true
                outcome = Outcome()
                packets = 0
            }
            outcome.steps += 1
            while hosts[0].nextEvent() != nil {}
            while hosts[1].nextEvent() != nil {}
            if server == nil { server = hosts[1].accept(listener) }
            if hosts[0].state(of: client) == .established { while hosts[0].send(client, data) == data.count {} }
            if let server { outcome.bytes += hosts[1].receiveAll(server).count }
            let roundTrip = hosts[0].tcp.number("srtt", of: client) ?? 0
            outcome.longestRoundTrip = max(outcome.longestRoundTrip, roundTrip)
        }
        outcome.packets = packets
        outcome.counters = hosts[0].counters.tcp
        return outcome
    }

    @Test("BBR reaches the rate of a bottleneck, with a small queue, small bursts and no busy loop")
    func bbr() throws {
        var limits = TCPLimits()
        limits.congestion = .bbr
        let outcome = try Self.run(
            queue: 4 * Self.product, limits, from: 1.5, to: 4)
        // Of what the wire carries a thirtieth is headers.
        #expect(Double(outcome.bytes) > 0.9 * 2.5 * Self.rate, "\(outcome)")
        // A probe sends a quarter too much, and is over when three rounds have not shown more: the product waits at most.
        #expect(outcome.longestRoundTrip < 80_000, "\(outcome)")
        // A millisecond of 5/4 of the rate, or two segments.
        #expect(outcome.largestBurst <= 3 * 1500 + 1500, "\(outcome)")
        #expect(outcome.counters.retransmits == 0, "\(outcome)")
        #expect(outcome.steps < 5 * outcome.packets, "\(outcome)")
    }

    @Test("CUBIC is paced if its stack is told to, and then needs no less of the rate")
    func cubic() throws {
        for (paces, largest) in [(true, 6 * 1500), (false, Int.max)] {
            var limits = TCPLimits()
            limits.pacesAll = paces
            let outcome = try Self.run(
                queue: 2 * Self.product, limits, from: 1, to: 3)
            #expect(Double(outcome.bytes) > 0.9 * 2 * Self.rate, "\(outcome)")
            #expect(outcome.largestBurst <= largest, "\(outcome)")
            #expect(outcome.steps < 5 * outcome.packets, "\(outcome)")
        }
    }

    @Test(
        "RFC 3168: where the queue marks, nothing is lost, and the rate is kept",
        arguments: [CongestionAlgorithm.cubic, .newReno])
    func marked(algorithm: CongestionAlgorithm) throws {
        var limits = TCPLimits()
        limits.ecn = .always
        limits.congestion = algorithm
        let outcome = try Self.run(
            queue: 4 * Self.product, markingThreshold: Self.product / 2, limits, from: 1, to: 4)
        #expect(Double(outcome.bytes) > 0.85 * 3 * Self.rate, "\(outcome)")
        #expect(outcome.counters.echoesIn > 1, "\(outcome)")
        #expect(outcome.counters.retransmits == 0, "\(outcome)")
        #expect(outcome.longestRoundTrip < 120_000, "\(outcome)")
    }
}
