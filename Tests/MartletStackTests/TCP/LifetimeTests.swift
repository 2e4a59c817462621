import Testing

@testable import MartletStack

/// Opening and ending, with a peer and without one.
@Suite struct LifetimeTests {
    static let patience = Instant.zero.advanced(by: .seconds(600))

    /// Two stacks with an established connection.
    static func established(_ limits: TCPLimits = TCPLimits(), seed: UInt64 = 1) throws -> Pair {
        var pair = Pair(limits: limits, seed: seed)
        let listener = pair.server.listen(port: 7, backlog: 4)
        let opened = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        pair.clientID = opened
        var accepted: ConnectionID?
        while accepted == nil, pair.step(until: patience) { accepted = pair.server.accept(listener) }
        pair.serverID = accepted
        #expect(opened != nil && accepted != nil)
        return pair
    }

    /// What has happened to a connection until nothing more does, or `limit`.
    static func events(_ pair: inout Pair, _ side: Side, until limit: Instant = patience) -> ConnectionEvents {
        var all = ConnectionEvents(rawValue: 0)
        repeat {
            while let (_, events) = pair.client.nextConnectionEvent() { if side == .client { all.formUnion(events) } }
            while let (_, events) = pair.server.nextConnectionEvent() { if side == .server { all.formUnion(events) } }
        } while pair.step(until: limit)
        return all
    }

    @Test("a port that nobody listens on refuses")
    func refused() throws {
        var pair = Pair()
        let opened = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 9)
        let client = try #require(opened)
        let events = Self.events(&pair, .client)
        #expect(events.contains(.ended) && !events.contains(.established))
        #expect(pair.client.error(of: client) == .refused)
        #expect(pair.server.counters.tcp.resetsOut == 1)
    }

    @Test(
        "a peer that never answers is given up after three minutes and eight SYNs, ever less often (MUST-22, MUST-23)")
    func unanswered() throws {
        var pair = Pair()
        var times: [Int64] = []
        var packets = 0
        pair.filter = { _, _ in
            packets += 1
            return false
        }
        let opened = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        let client = try #require(opened)
        var seen = 0
        while pair.client.state(of: client) == .synSent, pair.step(until: Self.patience) {
            if packets > seen {
                seen = packets
                times.append(pair.now.nanoseconds)
            }
        }
        #expect(pair.client.error(of: client) == .timedOut)
        #expect(packets == 8)
        #expect(pair.now.nanoseconds >= 180_000_000_000)
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
        for (gap, next) in zip(gaps, gaps.dropFirst()) { #expect(next >= gap) }
    }

    @Test("a lost SYN, SYN-ACK or ACK of the handshake is made good", arguments: 0..<3 as Range<Int>)
    func lostHandshake(which: Int) throws {
        var pair = Pair()
        var number = 0
        pair.filter = { _, _ in
            defer { number += 1 }
            return number != which
        }
        let listener = pair.server.listen(port: 7, backlog: 4)
        let opened = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        let client = try #require(opened)
        var server: ConnectionID?
        while server == nil, pair.step(until: Self.patience) {
            while pair.client.nextEvent() != nil {}
            server = pair.server.accept(listener)
        }
        #expect(server != nil)
        #expect(pair.client.state(of: client) == .established)
    }

    @Test("half-close: the peer of a finished side may go on sending")
    func halfClose() throws {
        var pair = try Self.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        pair.client.finish(client)
        let events = Self.events(&pair, .server, until: pair.now.advanced(by: .seconds(1)))
        #expect(events.contains(.finished))
        #expect(pair.client.state(of: client) == .finWait2)
        #expect(pair.server.state(of: server) == .closeWait)
        #expect(pair.client.send(client, [1]) == 0, "nothing is sent behind a FIN")
        #expect(pair.server.send(server, [1, 2, 3]) == 3)
        pair.server.finish(server)
        while pair.step(until: pair.now.advanced(by: .seconds(1))) {}
        #expect(pair.client.receiveAll(client) == [1, 2, 3])
        #expect(pair.client.state(of: client) == .timeWait)
        #expect(pair.server.state(of: server) == .closed)
        #expect(pair.server.error(of: server) == nil)
    }

    @Test("both sides finish at once: both are CLOSING, then TIME-WAIT")
    func simultaneousClose() throws {
        var pair = try Self.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        pair.client.finish(client)
        pair.server.finish(server)
        var states: Set<TCPState> = []
        while pair.step(until: pair.now.advanced(by: .seconds(1))) {
            states.insert(pair.client.state(of: client))
            states.insert(pair.server.state(of: server))
        }
        #expect(states.contains(.closing))
        #expect(pair.client.state(of: client) == .timeWait)
        #expect(pair.server.state(of: server) == .timeWait)
    }

    @Test("an abort resets the peer, who hears of it")
    func abort() throws {
        var pair = try Self.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        pair.client.abort(client)
        let events = Self.events(&pair, .server)
        #expect(events.contains(.ended))
        #expect(pair.server.error(of: server) == .reset)
        #expect(pair.client.state(of: client) == .closed)
    }

    @Test("closing with bytes unread resets (RFC 1122 §4.2.2.13)")
    func unread() throws {
        var pair = try Self.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        #expect(pair.client.send(client, [1, 2, 3]) == 3)
        while pair.step(until: pair.now.advanced(by: .seconds(1))) {}
        pair.server.release(server)
        _ = Self.events(&pair, .client)
        #expect(pair.client.error(of: client) == .reset)
        #expect(pair.server.connectionCount == 0)
    }

    @Test("a backlog that is full takes no more, and is counted; those in it are served")
    func backlog() throws {
        var pair = Pair()
        let listener = pair.server.listen(port: 7, backlog: 2)
        for _ in 0..<5 { _ = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7) }
        while pair.step(until: pair.now.advanced(by: .milliseconds(500))) {}
        #expect(pair.server.counters.tcp.listenOverflows == 3)
        #expect(pair.server.connectionCount == 2)
        #expect(pair.server.accept(listener) != nil)
        #expect(pair.server.accept(listener) != nil)
        #expect(pair.server.accept(listener) == nil)
    }

    @Test("a reader that stops closes the window, is asked now and then, and gets everything when it goes on")
    func zeroWindow() throws {
        var limits = TCPLimits()
        limits.receiveLimit = 8192
        var pair = try Self.established(limits)
        let (client, server) = (pair.clientID!, pair.serverID!)
        let data = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 * 31 >> 3) }
        var sent = pair.client.send(client, data)
        // Nobody reads for a minute: no more than the window goes, and probes keep asking.
        let stop = pair.now.advanced(by: .seconds(60))
        while pair.step(until: stop) {
            while pair.client.nextEvent() != nil {}
            while pair.server.nextEvent() != nil {}
        }
        #expect(pair.client.state(of: client) == .established, "a closed window is no reason to give up (MUST-37)")
        let waiting = pair.server.receiveAll(server)
        #expect(waiting.count <= 8192 && waiting.count > 8192 - 1448)
        var received = waiting
        while received.count < data.count, pair.step(until: Self.patience) {
            if sent < data.count { sent += pair.client.send(client, data, from: sent) }
            received += pair.server.receiveAll(server)
        }
        #expect(received == data)
    }

    @Test("data in order and plain ACKs take the fast path")
    func fastPath() throws {
        var pair = try Self.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        let data = [UInt8](repeating: 7, count: 500_000)
        var sent = pair.client.send(client, data)
        var received = 0
        while received < data.count, pair.step(until: Self.patience) {
            if sent < data.count { sent += pair.client.send(client, data, from: sent) }
            received += pair.server.receiveAll(server).count
        }
        #expect(pair.server.counters.tcp.fastPath > 340)
        #expect(pair.server.counters.tcp.slowPath < 10, "\(pair.server.counters.tcp)")
        #expect(pair.client.counters.tcp.slowPath < 8, "\(pair.client.counters.tcp)")
    }

    @Test("a blind reset in the window does not end the connection, and is challenged (RFC 5961 §3.2)")
    func blindReset() throws {
        var pair = try Self.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        // The client's next packet becomes a reset whose number is in the window, but not the next.
        let before = pair.server.counters.tcp.challengeAcks
        pair.inject(to: .server, from: client, offset: 100, flags: [.rst])
        while pair.step(until: pair.now.advanced(by: .seconds(1))) {}
        #expect(pair.server.state(of: server) == .established)
        #expect(pair.server.counters.tcp.challengeAcks == before + 1)
        pair.inject(to: .server, from: client, offset: 0, flags: [.rst])
        while pair.step(until: pair.now.advanced(by: .seconds(1))) {}
        #expect(pair.server.state(of: server) == .closed)
        #expect(pair.server.error(of: server) == .reset)
    }

    @Test("a SYN in the window does not end the connection (RFC 5961 §4.2)")
    func blindSYN() throws {
        var pair = try Self.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        pair.inject(to: .server, from: client, offset: 0, flags: [.syn])
        while pair.step(until: pair.now.advanced(by: .seconds(1))) {}
        #expect(pair.server.state(of: server) == .established)
        #expect(pair.server.counters.tcp.challengeAcks == 1)
    }
}
