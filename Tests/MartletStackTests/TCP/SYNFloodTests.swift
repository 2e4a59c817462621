// Strangers who call and never answer, as many as fit into the bursts.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct SYNFloodTests {
    private static func settings(backlog: Int = 16, cookies: SYNCookieUse = .whenFull) -> ListenerSettings {
        var settings = ListenerSettings()
        (settings.backlog, settings.cookies) = (backlog, cookies)
        return settings
    }

    /// Sends 64 SYNs of one burst, from everywhere.
    private static func flood(
        _ stack: inout Stack, _ pool: borrowing FramePool, _ random: inout SeededGenerator, at now: Instant
    ) {
        var burst = pool.makeBurst()
        for _ in 0..<64 {
            guard var frame = burst.takeFrame() else { break }
            let ends = FourTuple(
                localAddress: .v4(IPv4Address(bits: 0x0B00_0000 | UInt32.random(in: 0..<1 << 24, using: &random))),
                localPort: UInt16.random(in: 1...65_535, using: &random), remoteAddress: Pair.serverAddress,
                remotePort: 7)
            let header = TCPHeader(
                sourcePort: ends.localPort, destinationPort: 7,
                sequence: SequenceNumber(UInt32.random(in: 0...UInt32.max, using: &random)), flags: [.syn],
                window: 65_535)
            frame.setLength(0)
            SegmentOut.prepend(header, Strangers.usualOptions, ends, &frame)
            burst.append(frame)
        }
        stack.ingress(&burst, at: now)
    }

    /// Bytes that one established connection delivers in two seconds over 50 Mb/s, beside a burst of SYNs each half millisecond or not.
    private static func delivered(isFlooded: Bool, seed: UInt64) throws -> (
        bytes: Int, counters: TCPCounters, halfOpen: Int
    ) {
        var link = LinkConditions(latency: .milliseconds(5), bandwidth: 50_000_000)
        link.queueLimit = 256 << 10
        let pool = FramePool(count: 128)
        var hosts = Hosts(link, limits: TCPLimits(), seed: seed)
        // What answers the strangers takes its way over the wire, and is nobody's there.
        hosts.filter = { _, packet in packet[16] == 10 }
        var random = SeededGenerator(seed: seed)
        let listener = try hosts[1].listen(on: nil, port: 7, settings())
        let client = try hosts[0].connect(to: Hosts.address(1), port: 7)
        var accepted: ConnectionID?
        try hosts.drive(for: .seconds(1)) {
            accepted = $0[1].accept(listener)
            return accepted != nil
        }
        let server = try #require(accepted)
        let data = [UInt8](repeating: 7, count: 1 << 20)
        let end = hosts.now + .seconds(2)
        var next = hosts.now
        var bytes = 0
        while hosts.now < end {
            if isFlooded, hosts.now >= next {
                flood(&hosts[1], pool, &random, at: hosts.now)
                next = hosts.now + .microseconds(500)
            }
            _ = hosts[0].send(client, data)
            while case let count = hosts[1].receive(server, { $0.byteCount }), count > 0 { bytes += count }
            if !hosts.step(until: isFlooded ? min(next, end) : end) {
                hosts.rest(until: isFlooded ? min(next, end) : end)
            }
        }
        return (bytes, hosts[1].counters.tcp, hosts[1].tcp.halfOpenCount)
    }

    @Test("a flood of 128,000 SYNs a second leaves established connections nine tenths of their goodput at least")
    func goodput() throws {
        let seed: UInt64 = 21
        let alone = try Self.delivered(isFlooded: false, seed: seed)
        let beside = try Self.delivered(isFlooded: true, seed: seed)
        #expect(alone.bytes > 50_000_000 / 8, "seed \(seed): the link is not used")
        #expect(beside.counters.synCookiesOut > 100_000, "seed \(seed): \(beside.counters.synCookiesOut) cookies")
        #expect(beside.bytes * 10 >= alone.bytes * 9, "seed \(seed): \(beside.bytes) of \(alone.bytes)")
        #expect(beside.halfOpen <= 16)
    }

    /// All that a stack keeps.
    private static func state(_ stack: borrowing Stack) -> [Int] {
        [
            stack.connectionCount, stack.tcp.halfOpenCount, stack.tcp.timeWaitCount, stack.tcp.ringBytesTaken,
            stack.tcp.sentRecordsFree, stack.tcp.rangesFree, stack.tcp.settingsCount,
            stack.tcp.connections.timers.nextDeadline == nil ? 0 : 1,
        ]
    }

    @Test(
        "spoofed SYNs leave tables, memory and timers as they were: a million of them, or a twentieth in a debug build")
    func million() throws {
        let count = isFullSimulation ? 1_000_000 : 50_000
        var host = Strangers(seed: 3)
        let listener = try host.stack.listen(on: nil, port: Strangers.port, Self.settings())
        host.handshake(on: Strangers.ends(1))
        let accepted = host.stack.accept(listener)
        #expect(accepted != nil)
        while host.stack.nextEvent() != nil {}
        host.wait(.seconds(1))
        let before = Self.state(host.stack)
        host.keepsSent = false
        var random = SeededGenerator(seed: 3)
        for _ in 0..<count {
            host.add(
                .syn, on: Strangers.ends(UInt32.random(in: 2..<1 << 24, using: &random)),
                sequence: UInt32.random(in: 0...UInt32.max, using: &random), options: Strangers.usualOptions)
        }
        host.arrive()
        // While it lasts, the backlog is all that is kept.
        var during = before
        during[1] = 16
        #expect(Self.state(host.stack) == during)
        #expect(host.stack.counters.tcp.synCookiesOut == UInt64(count - 16))
        #expect(host.sentCount >= count)
        // And after it, nothing.
        host.wait(.seconds(200))
        #expect(Self.state(host.stack) == before)
        #expect(host.stack.counters.tcp.handshakesExpired == 16)
        #expect(host.stack.nextDeadline == nil)
    }

    @Test(
        "who calls honestly in a flood gets through by a cookie, and is served; with cookies always, nothing is kept at all",
        arguments: [SYNCookieUse.whenFull, .always])
    func honest(use: SYNCookieUse) throws {
        var host = Strangers(seed: 4)
        let listener = try host.stack.listen(on: nil, port: Strangers.port, Self.settings(cookies: use))
        host.keepsSent = false
        for number in 100..<1000 as Range<UInt32> { host.add(.syn, on: Strangers.ends(number), sequence: number) }
        host.arrive()
        #expect(host.stack.tcp.halfOpenCount == (use == .always ? 0 : 16))
        host.keepsSent = true
        for number in 1...8 as ClosedRange<UInt32> { host.handshake(on: Strangers.ends(number), text: [UInt8(number)]) }
        for number in 1...8 as ClosedRange<UInt8> {
            let accepted = host.stack.accept(listener)
            let id = try #require(accepted)
            #expect(host.stack.receiveAll(id) == [number])
            #expect(host.stack.info(of: id)?.sndWscale == 7)
        }
        #expect(host.stack.counters.tcp.synCookiesIn == 8)
    }

    @Test("a flood while the accept queue is full keeps nothing more, and those who wait are all there")
    func fullAcceptQueue() throws {
        var host = Strangers(seed: 5)
        let listener = try host.stack.listen(on: nil, port: Strangers.port, Self.settings(backlog: 4))
        for number in 1...4 as ClosedRange<UInt32> { host.handshake(on: Strangers.ends(number), text: [UInt8(number)]) }
        host.keepsSent = false
        let sent = host.sentCount
        for number in 100..<2000 as Range<UInt32> { host.add(.syn, on: Strangers.ends(number), sequence: number) }
        host.arrive()
        #expect(host.stack.tcp.halfOpenCount == 0)
        #expect(host.stack.counters.tcp.listenOverflows == 1900 && host.sentCount == sent)
        for number in 1...4 as ClosedRange<UInt8> {
            let accepted = host.stack.accept(listener)
            let id = try #require(accepted)
            #expect(host.stack.receiveAll(id) == [number])
        }
    }

    @Test("a full table of connections refuses calls and keeps their handshakes, until one has gone")
    func fullTable() throws {
        var limits = TCPLimits()
        limits.connections = 2
        var host = Strangers(limits, seed: 6)
        let listener = try host.stack.listen(on: nil, port: Strangers.port, Self.settings())
        for number in 1...3 as ClosedRange<UInt32> { host.handshake(on: Strangers.ends(number)) }
        #expect(host.stack.connectionCount == 2 && host.stack.tcp.halfOpenCount == 1)
        #expect(host.stack.counters.tcp.listenOverflows == 1)
        #expect(throws: ConnectError.noConnection) {
            try host.stack.connect(to: Strangers.ends(9).remoteAddress, port: 80)
        }
        let accepted = host.stack.accept(listener)
        let first = try #require(accepted)
        host.stack.abort(first)
        host.stack.release(first)
        host.settle()
        while host.stack.nextEvent() != nil {}
        #expect(host.stack.connectionCount == 1)
        // The SYN-ACK goes again after a second, and the peer's ACK to that completes it.
        host.sent = []
        host.wait(.seconds(1))
        let again = try #require(host.sent.first { $0.segment.flags == [.syn, .ack] })
        #expect(again.tuple.remoteAddress == Strangers.ends(3).remoteAddress)
        var options = TCPOptions()
        options.hasTimestamps = true
        options.timestampValue = 1002
        options.timestampEcho = again.segment.options.timestampValue
        host.send(
            [.ack], on: Strangers.ends(3), sequence: 1001, acknowledgment: again.segment.sequence.bits &+ 1,
            options: options, text: [9])
        #expect(host.stack.connectionCount == 2 && host.stack.tcp.halfOpenCount == 0)
        _ = host.stack.accept(listener)
        let last = host.stack.accept(listener)
        let third = try #require(last)
        #expect(host.stack.receiveAll(third) == [9])
    }
}
