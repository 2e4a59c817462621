import Testing

@testable import MartletStack

/// Scripts of what time brings: keep-alive, user timeout, lingering, cork.
@Suite struct TimerScriptTests {
    static let keptAlive =
        ScriptTests.accepted + """
            +0 setsockopt(SO_KEEPALIVE, 1) = 0
            +0 setsockopt(TCP_KEEPIDLE, 60) = 0
            +0 setsockopt(TCP_KEEPINTVL, 10) = 0
            +0 setsockopt(TCP_KEEPCNT, 3) = 0

            """

    @Test("MUST-25: without being told to, an idle connection asks nothing, for ever")
    func noKeepAlive() throws {
        try ScriptRunner.play(ScriptTests.accepted + "+999999 %{ state == ESTABLISHED }%")
    }

    @Test("MUST-28: the default is to ask after two hours")
    func defaultKeepAlive() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 setsockopt(SO_KEEPALIVE, 1) = 0
                +7200 > . 0:0(0) ack 1
                +0 < . 1:1(0) ack 1 win 65535
                +7199 setsockopt(SO_KEEPALIVE, 0) = 0
                +99999 %{ state == ESTABLISHED }%
                """)
    }

    @Test(
        "MUST-24, MUST-26, MUST-27, MUST-29: asked after the interval, again if need be, and lost when nothing answers")
    func keepAlive() throws {
        try ScriptRunner.play(
            Self.keptAlive + """
                +60 > . 0:0(0) ack 1
                +.1 < . 1:1(0) ack 1 win 65535
                +60 > . 0:0(0) ack 1
                +10 > . 0:0(0) ack 1
                +0 < . 1:1(0) ack 1 win 65535
                +30 < P. 1:101(100) ack 1 win 65535
                +0 > . 1:1(0) ack 101
                +60~+60.01 > . 0:0(0) ack 101
                +10 > . 0:0(0) ack 101
                +10 > . 0:0(0) ack 101
                +9 %{ state == ESTABLISHED }%
                +2 %{ state == CLOSED, error == timedOut }%
                """)
    }

    @Test("MUST-26: what is in flight asks by itself")
    func keepAliveWithData() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 setsockopt(SO_KEEPALIVE, 1) = 0
                +0 setsockopt(TCP_KEEPIDLE, 1) = 0
                +0 write(100) = 100
                +0 > P. 1:101(100) ack 1
                +.2~+.5 > P. 1:101(100) ack 1
                +.4~+1 > P. 1:101(100) ack 1
                +.8~+2 > P. 1:101(100) ack 1
                +.1 < . 1:1(0) ack 101 win 65535
                +1~+2.2 > . 100:100(0) ack 1
                """)
    }

    @Test("a clock that jumps is no proof that the peer is gone: it is asked first")
    func keepAliveAfterJump() throws {
        var pair = try LifetimeTests.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        var settings = TCPSettings()
        settings.keepAlive = TCPKeepAlive(idleSeconds: 10, intervalSeconds: 1, count: 2)
        #expect(pair.client.set(settings, of: client) == true)
        pair.jump(to: pair.now.advanced(by: .seconds(3600)))
        pair.client.advance(to: pair.now)
        while pair.step(until: pair.now.advanced(by: .milliseconds(900))) {}
        #expect(pair.client.counters.tcp.keepAliveProbes == 1)
        #expect(pair.client.state(of: client) == .established)
        #expect(pair.server.state(of: server) == .established)
    }

    @Test("MUST-21, RFC 9293 §3.8.3: the user says how long bytes may wait for an ACK")
    func userTimeout() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 setsockopt(TCP_USER_TIMEOUT, 5000) = 0
                +0 write(100) = 100
                +0 > P. 1:101(100) ack 1
                +.3 > P. 1:101(100) ack 1
                +.6 > P. 1:101(100) ack 1
                +1.2 > P. 1:101(100) ack 1
                +2.4 > P. 1:101(100) ack 1
                +.45 %{ state == ESTABLISHED }%
                +.1 %{ state == CLOSED, error == timedOut }%
                """)
    }

    @Test("RFC 5482 §3.1: the peer hears of the user timeout in the SYN-ACK and once more, and its own is adapted to")
    func userTimeoutOption() throws {
        try ScriptRunner.play(
            """
            0 setsockopt(TCP_UTO, 1) = 0
            +0 listen() = 0
            +0 < S 0:0(0) win 65535 <kind 28 03e8>
            +0 > S. 0:0(0) ack 1 <mss 1460,kind 28 012c>
            +.1 < . 1:1(0) ack 1 win 65535
            +0 accept() = 0
            +0 %{ user_timeout == 1000 }%
            +0 write(10) = 10
            +0 > P. 1:11(10) ack 1 <kind 28 012c>
            +.1 < . 1:1(0) ack 11 win 65535 <kind 28 0001>
            +0 %{ user_timeout == 300 }%
            +0 < . 1:1(0) ack 11 win 65535 <kind 28 ffff>
            +0 %{ user_timeout == 3600 }%
            +0 < . 1:1(0) ack 11 win 65535 <kind 28 0000>
            +0 %{ user_timeout == 3600 }%
            +0 write(10) = 10
            +0 > P. 11:21(10) ack 1
            +.1 < . 1:1(0) ack 21 win 65535
            +0 setsockopt(TCP_USER_TIMEOUT, 70000) = 0
            +0 < . 1:1(0) ack 21 win 65535 <kind 28 03e8>
            +0 %{ user_timeout == 70 }%
            +0 write(10) = 10
            +0 > P. 21:31(10) ack 1 <kind 28 0046>
            +.1 < . 1:1(0) ack 31 win 65535
            """)
    }

    @Test("RFC 5482: who does not exchange user timeouts neither tells nor hears")
    func noUserTimeoutOption() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 65535 <kind 28 03e8>
            +0 > S. 0:0(0) ack 1 <mss 1460>
            +.1 < . 1:1(0) ack 1 win 65535 <kind 28 03e8>
            +0 accept() = 0
            +0 %{ user_timeout == 0 }%
            """)
    }

    @Test("lingering for no time at all drops everything and resets")
    func noLinger() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 setsockopt(SO_LINGER, 0) = 0
                +0 write(100) = 100
                +0 > P. 1:101(100) ack 1
                +0 close() = 0
                +0 > R. 101:101(0) ack 1
                +0 %{ state == CLOSED }%
                """)
    }

    @Test("lingering has the end that was set, and an ACK of everything ends it before")
    func linger() throws {
        let closed =
            ScriptTests.accepted + """
                +0 setsockopt(SO_LINGER, 2) = 0
                +0 close() = 0
                +0 > F. 1:1(0) ack 1
                +.3 > F. 1:1(0) ack 1
                +.6 > F. 1:1(0) ack 1

                """
        try ScriptRunner.play(
            closed + """
                +1.1 > R. 2:2(0) ack 1
                +0 %{ state == CLOSED }%
                """)
        try ScriptRunner.play(
            closed + """
                +.1 < . 1:1(0) ack 2 win 65535
                +59.9 %{ state == FIN_WAIT_2 }%
                +.2 %{ state == CLOSED }%
                """)
    }

    @Test("FIN-WAIT-2 of a connection that nobody holds ends after a minute, and of one that somebody holds never")
    func finWait2() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 shutdown(SHUT_WR) = 0
                +0 > F. 1:1(0) ack 1
                +.1 < . 1:1(0) ack 2 win 65535
                +9999 %{ state == FIN_WAIT_2 }%
                +0 < P. 1:101(100) ack 2 win 65535
                +0 > . 2:2(0) ack 101
                +0 read(100) = 100
                +0 close() = 0
                +59 %{ state == FIN_WAIT_2 }%
                +2 %{ state == CLOSED }%
                """)
    }

    @Test("corked: partial segments wait until the cork is off, a FIN comes, or nothing has been in flight for 200 ms")
    func cork() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 setsockopt(TCP_CORK, 1) = 0
                +0 write(1000) = 1000
                +0 > . 1:537(536) ack 1
                +.1 < . 1:1(0) ack 537 win 65535
                +.2 > P. 537:1001(464) ack 1
                +.1 < . 1:1(0) ack 1001 win 65535
                +1 write(10) = 10
                +.1 write(10) = 10
                +.05 setsockopt(TCP_CORK, 0) = 0
                +0 > P. 1001:1021(20) ack 1
                +.1 < . 1:1(0) ack 1021 win 65535
                +0 setsockopt(TCP_CORK, 1) = 0
                +0 write(10) = 10
                +.1 write(526) = 526
                +0 > P. 1021:1557(536) ack 1
                +.1 < . 1:1(0) ack 1557 win 65535
                +0 write(10) = 10
                +.1 shutdown(SHUT_WR) = 0
                +0 > FP. 1557:1567(10) ack 1
                +.1 < . 1:1(0) ack 1568 win 65535
                """)
    }

    @Test("quick ACKs, if wanted, do not end with the start")
    func quickAck() throws {
        let twenty = (0..<20).map {
            "+0 < P. \(1 + $0 * 10):\(11 + $0 * 10)(10) ack 1 win 65535\n+0 > . 1:1(0) ack \(11 + $0 * 10)\n"
        }
        try ScriptRunner.play(ScriptTests.accepted + "+0 setsockopt(TCP_QUICKACK, 1) = 0\n" + twenty.joined())
    }
}
