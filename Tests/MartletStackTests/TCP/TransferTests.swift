import Testing

@testable import MartletStack

@Suite struct TransferTests {
    /// Opens a connection, sends `count` bytes from the client, has the server echo them, closes, and looks for leaks.
    static func echo(_ conditions: WireConditions, count: Int, seed: UInt64, limits: TCPLimits = TCPLimits()) throws
        -> (
            seconds: Double, client: TCPCounters
        )
    {
        var random = SeededGenerator(seed: seed)
        let data = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        var pair = Pair(conditions, limits: limits, seed: seed)
        let listener = pair.server.listen(port: 7, backlog: 8)
        let opened = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        let client = try #require(opened)
        var server: ConnectionID?
        var sent = 0
        var echoed = 0
        var received: [UInt8] = []
        var pending: [UInt8] = []
        var isFinished = false
        let limit = Instant.zero.advanced(by: .seconds(3600))
        while pair.step(until: limit) {
            if server == nil { server = pair.server.accept(listener) }
            while let (id, events) = pair.client.nextConnectionEvent() {
                #expect(id == client)
                if events.contains(.ended), pair.client.error(of: client) != nil {
                    Issue.record("seed \(seed): \(events)")
                }
            }
            while pair.server.nextEvent() != nil {}
            if pair.client.state(of: client) == .established {
                if sent < count { sent += pair.client.send(client, data, from: sent) }
                if sent == count { pair.client.finish(client) }
            }
            if let server {
                pending += pair.server.receiveAll(server)
                if echoed < pending.count { echoed += pair.server.send(server, pending, from: echoed) }
                if pair.server.state(of: server) == .closeWait, echoed == count, !isFinished {
                    pair.server.finish(server)
                    isFinished = true
                }
            }
            received += pair.client.receiveAll(client)
            if pair.client.state(of: client) == .timeWait { break }
        }
        #expect(received.count == count, "seed \(seed)")
        // Comparing within the macro would print both, and how they differ, which takes minutes.
        let isIntact = received == data
        #expect(isIntact, "seed \(seed)")
        #expect(pair.client.state(of: client) == .timeWait, "seed \(seed)")
        let took = Double(pair.now.nanoseconds) / 1e9
        // After TIME-WAIT nothing is left of either.
        if let server { pair.server.release(server) }
        pair.client.release(client)
        while pair.step(until: limit) {
            while pair.client.nextEvent() != nil {}
            while pair.server.nextEvent() != nil {}
        }
        while pair.client.nextEvent() != nil {}
        while pair.server.nextEvent() != nil {}
        #expect(
            pair.client.connectionCount == 0 && pair.server.connectionCount == 0, "seed \(seed): connections are left")
        #expect(
            pair.client.tcp.ringBytesTaken == 0 && pair.server.tcp.ringBytesTaken == 0, "seed \(seed): buffers are left"
        )
        #expect(pair.client.tcp.sentRecordsFree == limits.sentRecords, "seed \(seed): records are left")
        #expect(pair.server.tcp.rangesFree == limits.ranges, "seed \(seed): ranges are left")
        #expect(pair.pool.freeCount == 512)
        return (took, pair.client.counters.tcp)
    }

    @Test(
        "bytes arrive as they were sent, whatever their number",
        arguments: [0, 1, 2, 1447, 1448, 1449, 65_535, 65_536, 1_000_000])
    func clean(count: Int) throws {
        let (seconds, counters) = try Self.echo(WireConditions(), count: count, seed: 1)
        #expect(counters.retransmits == 0)
        #expect(counters.timeouts == 0)
        #expect(seconds < 5)
    }

    @Test("bytes arrive intact over a wire that loses, delays and doubles", arguments: 0..<40 as Range<UInt64>)
    func rough(seed: UInt64) throws {
        let conditions = WireConditions(
            lost: Int(seed % 5) * 20, late: Int(seed % 3) * 50, doubled: Int(seed % 4) * 20)
        _ = try Self.echo(conditions, count: 200_000, seed: seed)
    }

    @Test("bytes arrive intact when three of ten packets are lost", arguments: 100..<106 as Range<UInt64>)
    func terrible(seed: UInt64) throws {
        // One handshake in a hundred needs more SYNs than the usual seven.
        var limits = TCPLimits()
        limits.synRetries = 12
        _ = try Self.echo(WireConditions(lost: 300), count: 20_000, seed: seed, limits: limits)
    }

    @Test("one lost segment among many is repaired without a timeout")
    func fastRetransmit() throws {
        let (_, counters) = try Self.echo(WireConditions(lost: 5), count: 2_000_000, seed: 7)
        #expect(counters.fastRecoveries > 0)
        #expect(counters.timeouts <= 2)
    }
}
