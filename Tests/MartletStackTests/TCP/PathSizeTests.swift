import Testing

@testable import MartletStack

/// Paths that turn out to be narrower than the link, and what ICMP says of them and of peers.
@Suite struct PathSizeTests {
    /// A transfer over a path that takes no packet above 1,200 bytes. `messages` says whether routers tell.
    private static func transfer(messages: Bool, seed: UInt64 = 1) throws -> (
        counters: TCPCounters, dropped: Int, cwnd: Int64, seconds: Double, blackHoles: UInt64
    ) {
        var pair = Pair(WireConditions(latency: 10_000_000), seed: seed)
        let listener = pair.server.listen(port: 7, backlog: 8)
        let opened = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        let client = try #require(opened)
        var dropped = 0
        var quoted: SequenceNumber?
        pair.filter = { side, bytes in
            guard side == .client, bytes.count > 1200 else { return true }
            dropped += 1
            quoted = SequenceNumber(
                UInt32(bytes[24]) << 24 | UInt32(bytes[25]) << 16 | UInt32(bytes[26]) << 8 | UInt32(bytes[27]))
            return false
        }
        let data = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 251) }
        var received: [UInt8] = []
        var sent = 0
        var server: ConnectionID?
        let limit = Instant.zero.advanced(by: .seconds(60))
        while received.count < data.count, pair.step(until: limit) {
            while pair.client.nextEvent() != nil {}
            while pair.server.nextEvent() != nil {}
            if server == nil { server = pair.server.accept(listener) }
            if pair.client.state(of: client) == .established, sent < data.count {
                sent += pair.client.send(client, data, from: sent)
            }
            if let server { received += pair.server.receiveAll(server) }
            let numbers = pair.client.tcp.numbers(of: client)
            let (tuple, _) = try #require(numbers)
            if messages, let sequence = quoted, pair.now > Instant(nanoseconds: 30_000_000) {
                quoted = nil
                if pair.client.tcp.icmpError(.tooBig, of: tuple, quoted: sequence, at: pair.now) {
                    pair.client.tcp.pathMTUChanged(to: 1200, of: tuple, at: pair.now)
                }
            }
        }
        let isIntact = received == data
        #expect(isIntact)
        return (
            pair.client.counters.tcp, dropped, pair.client.tcp.number("cwnd", of: client) ?? 0,
            Double(pair.now.nanoseconds) / 1e9,
            pair.client.network.paths.blackHoles
        )
    }

    @Test("RFC 1191 §6.4: what was too big goes again at once, in smaller segments, and cwnd stays")
    func tooBig() throws {
        let (counters, dropped, cwnd, seconds, _) = try Self.transfer(messages: true)
        #expect(dropped <= 10)
        #expect(counters.timeouts == 0 && counters.fastRecoveries == 0, "\(counters)")
        #expect(cwnd >= 10 * 1148)
        #expect(seconds < 1)
    }

    @Test("RFC 8899 §4.6: a path that drops full-size packets in silence is found out, and used as it is")
    func blackHole() throws {
        let (counters, _, _, seconds, blackHoles) = try Self.transfer(messages: false)
        #expect(blackHoles == 1)
        #expect(counters.timeouts >= 3)
        #expect(seconds < 20)
    }

    @Test("a path that widens again gets larger segments, but none larger than the peer takes")
    func widens() {
        var connections = Connections(limits: TCPLimits(), secret: .init(low: 1, high: 2), now: .zero)
        var tcb = TCB()
        tcb.state = .established
        tcb.tuple = ConnectionTableTests.tuple(1)
        (tcb.peerMSS, tcb.mss) = (1460, 1460)
        for (bytes, mss) in [(1200, 1160), (576, 536), (9000, 1460), (0, 64), (-1, 64), (1_000_000, 1460)] {
            tcb.pathMTUChanged(to: bytes, &connections)
            #expect(Int(tcb.mss) == mss)
        }
    }

    // MARK: ICMP

    /// Connects, and establishes the connection if told to; else the SYN is lost. Returns the connection, its ends and SND.NXT.
    private static func connect(
        _ pair: inout Pair, isEstablished: Bool
    ) throws -> (ConnectionID, FourTuple, SequenceNumber) {
        _ = pair.server.listen(port: 7, backlog: 8)
        let opened = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        let client = try #require(opened)
        if !isEstablished { pair.filter = { _, _ in false } }
        pair.flush()
        if isEstablished {
            let limit = pair.now + .seconds(1)
            while pair.step(until: limit) {}
        }
        let numbers = pair.client.tcp.numbers(of: client)
        let (tuple, next) = try #require(numbers)
        return (client, tuple, next)
    }

    @Test("RFC 1122 §4.2.3.9, RFC 5927 §5: a hard error ends a connection that is not yet one, and no other")
    func hardErrors() throws {
        var pair = Pair()
        let (client, tuple, next) = try Self.connect(&pair, isEstablished: false)
        // What is not in flight, and soft errors, end nothing.
        for (error, quoted) in [
            (ICMPError.hard, next), (.hard, next - 2), (.soft(.unreachable), next - 1), (.tooBig, next - 1),
        ] {
            let isBelieved = pair.client.tcp.icmpError(error, of: tuple, quoted: quoted, at: pair.now)
            #expect(isBelieved == (quoted == next - 1))
            #expect(pair.client.state(of: client) == .synSent)
        }
        #expect(pair.client.counters.tcp.strangeICMP == 2)
        let isBelieved = pair.client.tcp.icmpError(.hard, of: tuple, quoted: next - 1, at: pair.now)
        #expect(isBelieved)
        #expect(pair.client.state(of: client) == .closed)
        #expect(pair.client.error(of: client) == .refused)

        var other = Pair()
        let (established, ends, number) = try Self.connect(&other, isEstablished: true)
        other.filter = { _, _ in false }
        _ = other.client.send(established, [1, 2, 3])
        other.flush()
        let isHeard = other.client.tcp.icmpError(.hard, of: ends, quoted: number, at: other.now)
        #expect(isHeard)
        #expect(other.client.state(of: established) == .established)
    }

    @Test("a connection that dies of silence says so, or why: the network has told", arguments: [false, true])
    func unreachable(isTold: Bool) throws {
        var limits = TCPLimits()
        limits.retries = 3
        var pair = Pair(limits: limits)
        let (client, tuple, next) = try Self.connect(&pair, isEstablished: true)
        pair.filter = { _, _ in false }
        _ = pair.client.send(client, [1, 2, 3])
        pair.flush()
        if isTold {
            let isBelieved = pair.client.tcp.icmpError(.soft(.unreachable), of: tuple, quoted: next, at: pair.now)
            #expect(isBelieved)
        }
        let limit = pair.now + .seconds(600)
        while pair.step(until: limit) {}
        #expect(pair.client.error(of: client) == (isTold ? .unreachable : .timedOut))
    }

    @Test("what was told is forgotten when the peer answers")
    func reachedAgain() throws {
        var limits = TCPLimits()
        limits.retries = 3
        var pair = Pair(limits: limits)
        let (client, tuple, next) = try Self.connect(&pair, isEstablished: true)
        _ = pair.client.send(client, [1, 2, 3])
        pair.flush()
        _ = pair.client.tcp.icmpError(.soft(.unreachable), of: tuple, quoted: next, at: pair.now)
        var limit = pair.now + .seconds(1)
        while pair.step(until: limit) {}
        pair.filter = { _, _ in false }
        _ = pair.client.send(client, [4])
        limit = pair.now + .seconds(600)
        while pair.step(until: limit) {}
        #expect(pair.client.error(of: client) == .timedOut)
    }
}
