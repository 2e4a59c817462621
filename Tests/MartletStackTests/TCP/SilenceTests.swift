import Testing

@testable import MartletStack

/// Peers that do not answer, take nothing, or answer too much.
@Suite struct SilenceTests {
    static let hour = Instant.zero.advanced(by: .seconds(3600))

    @Test(
        "MUST-20, SHLD-9, SHLD-11: after three retransmissions user and IP layer hear of it, and the end comes not before 100 s",
        arguments: [2, 15] as [UInt8])
    func unreachable(retries: UInt8) throws {
        var limits = TCPLimits()
        limits.retries = retries
        var pair = try LifetimeTests.established(limits)
        let client = pair.clientID!
        while pair.client.nextEvent() != nil {}
        let start = pair.now
        var packets = 0
        pair.filter = { side, _ in
            if side == .client { packets += 1 }
            return false
        }
        #expect(pair.client.send(client, [1, 2, 3]) == 3)
        var suspectedAfter: Int?
        while pair.client.state(of: client) == .established, pair.step(until: Self.hour) {
            while let (_, events) = pair.client.nextConnectionEvent() {
                guard events.contains(.suspect) else { continue }
                #expect(suspectedAfter == nil, "told twice")
                suspectedAfter = packets
                // What the IP layer makes of it: see NetworkRequirementTests.
                #expect(pair.client.counters.tcp.suspectPaths == 1)
            }
        }
        // The tail-loss probe is one of them.
        #expect(suspectedAfter == 4)
        #expect(pair.client.counters.tcp.suspectPaths == 1)
        #expect(pair.client.error(of: client) == .timedOut)
        let waited = (pair.now - start).components.seconds
        #expect(retries == 2 ? (100...230).contains(waited) : (500...1500).contains(waited), "\(waited) s")
    }

    @Test("bytes that nobody holds any more, and that are not acknowledged, are given up earlier")
    func orphan() throws {
        var pair = try LifetimeTests.established()
        let client = pair.clientID!
        pair.filter = { _, _ in false }
        #expect(pair.client.send(client, [1, 2, 3]) == 3)
        pair.client.release(client)
        Self.pass(99, &pair)
        #expect(pair.client.connectionCount == 1)
        Self.pass(2, &pair)
        #expect(pair.client.connectionCount == 0)
    }

    /// Lets so many seconds go by.
    static func pass(_ seconds: Int64, _ pair: inout Pair) {
        let end = pair.now.advanced(byNanoseconds: seconds * 1_000_000_000)
        _ = LifetimeTests.events(&pair, .client, until: end)
        pair.rest(until: end)
        pair.client.advance(to: end)
        pair.server.advance(to: end)
        while pair.client.nextEvent() != nil {}
    }

    /// A connection whose client has more to send than the server, who reads nothing, has room for.
    static func stuffed(_ settings: TCPSettings = TCPSettings()) throws -> Pair {
        var limits = TCPLimits()
        limits.receiveLimit = 8192
        var pair = try LifetimeTests.established(limits)
        let client = pair.clientID!
        #expect(pair.client.set(settings, of: client) == true)
        #expect(pair.client.send(client, [UInt8](repeating: 1, count: 50_000)) == 50_000)
        pass(60, &pair)
        #expect(pair.client.state(of: client) == .established)
        return pair
    }

    @Test(
        "MUST-37: a window may be closed for a day, as long as probes are answered; a peer that is gone is noticed (MUST-36)"
    )
    func closedForADay() throws {
        var pair = try Self.stuffed()
        let client = pair.clientID!
        Self.pass(86_400, &pair)
        #expect(pair.client.state(of: client) == .established)
        pair.filter = { _, _ in false }
        Self.pass(99, &pair)
        #expect(pair.client.state(of: client) == .established)
        Self.pass(7200, &pair)
        #expect(pair.client.error(of: client) == .timedOut)
    }

    @Test("a user timeout bounds a closed window too, answered or not; and so does letting go, with a reset")
    func closedTooLong() throws {
        var settings = TCPSettings()
        settings.userTimeoutSeconds = 300
        var pair = try Self.stuffed(settings)
        Self.pass(239, &pair)
        #expect(pair.client.state(of: pair.clientID!) == .established)
        Self.pass(2, &pair)
        #expect(pair.client.error(of: pair.clientID!) == .timedOut)

        pair = try Self.stuffed()
        let (client, server) = (pair.clientID!, pair.serverID!)
        Self.pass(1000, &pair)
        pair.client.release(client)
        Self.pass(50, &pair)
        #expect(pair.client.connectionCount == 1, "what was before counts against an orphan")
        Self.pass(120, &pair)
        #expect(pair.client.connectionCount == 0)
        #expect(pair.server.error(of: server) == .reset)
    }

    @Test("writing more and more to a closed window does not put the probes off")
    func busyWriter() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 < . 1:1(0) ack 1 win 0
                +0 write(10) = 10
                +.1 write(10) = 10
                +.1 write(10) = 10
                +.05~+.15 > . 1:2(1) ack 1
                +0 < . 1:1(0) ack 1 win 0
                +.3 write(10) = 10
                +.2~+.4 > . 1:2(1) ack 1
                +.1 < . 1:1(0) ack 1 win 65535
                +0 > P. 1:41(40) ack 1
                """)
    }

    @Test(
        "MUST-34, SHLD-17: a window that shrinks to nothing under bytes in flight ends nothing while there are answers")
    func shrunk() throws {
        let answered = (0..<25).map { _ in
            // The timeout, an answer that lets one segment more go, and no answer to that.
            """
            +0~+125 > P. 1:537(536) ack 1
            +0 < . 1:1(0) ack 1 win 0
            +0 > P. 537:1073(536) ack 1

            """
        }
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 write(1072) = 1072
                +0 > . 1:537(536) ack 1
                +0 > P. 537:1073(536) ack 1
                +.1 < . 1:1(0) ack 1 win 0
                +0 write(100) = 100

                """ + answered.joined() + """
                    +0 %{ state == ESTABLISHED }%
                    +1 < . 1:1(0) ack 1073 win 65535
                    +0 > P. 1073:1173(100) ack 1
                    """)
    }

    @Test("RFC 5961 §7: at most ten challenge ACKs at once, and then one each half second")
    func challenges() throws {
        let reset = "+0 < R 1001:1001(0) win 0\n"
        let answer = "+0 > . 1:1(0) ack 1\n"
        try ScriptRunner.play(
            ScriptTests.accepted + String(repeating: reset + answer, count: 10) + reset + reset
                + "+.51 < R 1001:1001(0) win 0\n" + answer + reset
                + "+9999999 < R 1001:1001(0) win 0\n" + answer + reset + answer)
    }

    @Test("ACKs from outside the window are answered once each half second: two who disagree do not go on for ever")
    func strays() throws {
        let stray = "+0 < . 400001:400001(0) ack 1 win 65535\n"
        let answer = "+0 > . 1:1(0) ack 1\n"
        let data = "+0 < . 400001:400101(100) ack 1 win 65535\n"
        try ScriptRunner.play(
            ScriptTests.accepted + stray + answer + stray + stray + data + answer + data + answer
                + "+.51 < . 400001:400001(0) ack 1 win 65535\n" + answer)
    }

    @Test("MUST-66: with a closed window the ACK and the reset of a segment still count, and its bytes do not")
    func closedWindow() throws {
        let full =
            """
            0 setsockopt(SO_RCVBUF, 536) = 0
            +0 listen() = 0
            +0 < S 0:0(0) win 65535
            +0 > S. 0:0(0) ack 1 win 536 <...>
            +.1 < . 1:1(0) ack 1 win 65535
            +0 accept() = 0
            +0 write(10) = 10
            +0 > P. 1:11(10) ack 1
            +0 < P. 1:537(536) ack 1 win 65535
            +0 > . 11:11(0) ack 537 win 0

            """
        try ScriptRunner.play(
            full + """
                +0 < . 537:538(1) ack 11 win 65535
                +0 > . 11:11(0) ack 537 win 0
                +0 %{ snd_una == 11 }%
                +0 read(1000) = 536
                +0 > . 11:11(0) ack 537 win 536
                """)
        try ScriptRunner.play(
            full + """
                +0 < R. 537:547(10) ack 11 win 65535
                +0 %{ state == CLOSED, error == reset }%
                """)
    }
}
