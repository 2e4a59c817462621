import Testing

@testable import MartletStack

/// Repairs that were for nothing, between two stacks.
@Suite struct SpuriousTests {
    /// Sends `count` bytes from the client, and changes the wire as time goes on.
    static func transfer(
        _ pair: inout Pair, count: Int, _ change: (Instant, inout WireConditions) -> Void
    ) throws -> TCPCounters {
        let listener = pair.server.listen(port: 7, backlog: 8)
        let opened = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        let client = try #require(opened)
        let data = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 251) }
        var sent = 0
        var received: [UInt8] = []
        var server: ConnectionID?
        let limit = Instant.zero.advanced(by: .seconds(600))
        for _ in 0..<1_000_000 {
            guard received.count < count, pair.step(until: limit) else { break }
            change(pair.now, &pair.conditions)
            while pair.client.nextEvent() != nil {}
            while pair.server.nextEvent() != nil {}
            if server == nil { server = pair.server.accept(listener) }
            if pair.client.state(of: client) == .established, sent < count {
                sent += pair.client.send(client, data, from: sent)
            }
            if let server { received += pair.server.receiveAll(server) }
        }
        let isIntact = received == data
        #expect(isIntact)
        return pair.client.counters.tcp
    }

    @Test(
        "RFC 3522, RFC 4015: after a delay spike the timestamps show that nothing was lost, and nothing else goes again"
    )
    func delaySpike() throws {
        var pair = Pair(WireConditions(latency: 10_000_000))
        let counters = try Self.transfer(&pair, count: 3_000_000) { now, conditions in
            let seconds = Double(now.nanoseconds) / 1e9
            // Whatever leaves within the spike arrives at its end.
            conditions.latency = seconds > 0.3 && seconds < 1 ? Int64((1.01 - seconds) * 1e9) : 10_000_000
        }
        #expect(counters.timeouts >= 1)
        #expect(counters.spuriousTimeouts >= 1)
        // The first segment, once a timeout, and not the window.
        #expect(counters.retransmits <= 2 * counters.timeouts + counters.tailProbes, "\(counters)")
    }

    @Test("where a whole window is lost, a timeout is not taken back", arguments: 0..<4 as Range<UInt64>)
    func outage(seed: UInt64) throws {
        var pair = Pair(WireConditions(latency: 10_000_000), seed: seed)
        let counters = try Self.transfer(&pair, count: 3_000_000) { now, conditions in
            let seconds = Double(now.nanoseconds) / 1e9
            conditions.lost = seconds > 0.3 && seconds < 0.8 ? 1000 : 0
        }
        #expect(counters.timeouts >= 1)
        #expect(counters.spuriousTimeouts == 0, "seed \(seed)")
        #expect(counters.spuriousRecoveries == 0, "seed \(seed)")
    }

    @Test(
        "reordering is learnt: recoveries it has caused are taken back, and come to be few",
        arguments: 0..<4 as Range<UInt64>)
    func reordering(seed: UInt64) throws {
        var pair = Pair(WireConditions(latency: 10_000_000, late: 30), seed: seed)
        let counters = try Self.transfer(&pair, count: 2_000_000) { _, _ in }
        #expect(counters.timeouts == 0, "seed \(seed): \(counters)")
        if counters.fastRecoveries > 0 {
            #expect(counters.spuriousRecoveries * 2 >= counters.fastRecoveries, "seed \(seed): \(counters)")
        }
        #expect(pair.server.counters.tcp.duplicateReportsOut > 0 || counters.retransmits == 0)
        #expect(counters.duplicateReportsIn <= pair.server.counters.tcp.duplicateReportsOut)
    }

    @Test("RFC 4015 §3.2: after a spurious timeout SRTT and RTO are not below what the segment took")
    func adaptedTimeout() {
        var rtt = RTT()
        rtt.sample(10_000)
        rtt.timeoutWasSpurious(900_000)
        #expect(rtt.srtt == 900_000 && rtt.rttvar == 450_000)
        rtt.timeoutWasSpurious(1_000)
        #expect(rtt.srtt == 900_000 && rtt.rttvar == 450_000)
    }
}
