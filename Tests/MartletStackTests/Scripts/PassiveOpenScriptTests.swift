import Testing

@testable import MartletStack

/// SYN-RECEIVED of a listener: RFC 9293 §3.10.7.2 and §3.10.7.4, RFC 6298, RFC 5961.
@Suite struct PassiveOpenScriptTests {
    private static let called = """
        0 listen() = 0
        +1 < S 0:0(0) win 65535 <mss 1000,sackOK,TS val 100 ecr 0,nop,wscale 7>
        +0 > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 1000 ecr 100,nop,wscale 7>

        """

    @Test("RFC 6298 §5.5: a SYN-ACK goes again after 1, 2, 4 … seconds, six times, and then the call is forgotten")
    func retransmission() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 65535 <mss 1000>
            +0 > S. 0:0(0) ack 1 <...>
            +1 > S. 0:0(0) ack 1 <...>
            +2 > S. 0:0(0) ack 1 <...>
            +4 > S. 0:0(0) ack 1 <...>
            +8 > S. 0:0(0) ack 1 <...>
            +16 > S. 0:0(0) ack 1 <...>
            +32 > S. 0:0(0) ack 1 <...>
            +65 < . 1:1(0) ack 1 win 65535
            +0 > R 1:1(0) <...>
            """)
    }

    @Test("a SYN that comes again is answered again, and does not move the timer")
    func duplicateSYN() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 65535 <mss 1000>
            +0 > S. 0:0(0) ack 1 <...>
            +.5 < S 0:0(0) win 65535 <mss 1000>
            +0 > S. 0:0(0) ack 1 <...>
            +.5 > S. 0:0(0) ack 1 <...>
            +.1 < . 1:1(0) ack 1 win 65535
            +0 accept() = 0
            +0 %{ state == ESTABLISHED }%
            """)
    }

    @Test("§3.5.1, figure 9: an old SYN is answered, the peer resets that, and its true SYN is served")
    func oldDuplicateSYN() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 4000000000:4000000000(0) win 65535
            +0 > S. 0:0(0) ack 4000000001 <...>
            +.1 < S 0:0(0) win 65535
            +0 > . 1:1(0) ack 4000000001
            +.1 < R 4000000001:4000000001(0) win 0
            +.1 < S 0:0(0) win 65535
            +0 > S. 0:0(0) ack 1 <...>
            +.1 < . 1:1(0) ack 1 win 65535
            +0 accept() = 0
            +0 %{ state == ESTABLISHED }%
            """)
    }

    @Test("RFC 5961 §3.2, §4.2: a reset or SYN that only lies in the window is challenged, once each half second")
    func challenges() throws {
        for stranger in ["R 2:2(0) win 0", "S 10:10(0) win 100 <mss 1000>"] {
            try ScriptRunner.play(
                """
                0 listen() = 0
                +0 < S 0:0(0) win 65535 <mss 1000>
                +0 > S. 0:0(0) ack 1 <...>
                +.1 < \(stranger)
                +0 > . 1:1(0) ack 1
                +.1 < \(stranger)
                +.1 < \(stranger)
                +.4 < \(stranger)
                +0 > . 1:1(0) ack 1
                +.1 < . 1:1(0) ack 1 win 65535
                +0 accept() = 0
                +0 %{ state == ESTABLISHED }%
                """)
        }
    }

    @Test("the ACK that completes a handshake may bring data, a FIN, or both, and none of it is lost")
    func lastACK() throws {
        let options = "<nop,nop,TS val 101 ecr 1000>"
        try ScriptRunner.play(
            Self.called + """
                +.1 < P. 1:501(500) ack 1 win 512 \(options)
                +0 > . 1:1(0) ack 501 <...>
                +0 accept() = 0
                +0 read(1000) = 500
                +0 %{ state == ESTABLISHED }%
                """)
        try ScriptRunner.play(
            Self.called + """
                +.1 < FP. 1:501(500) ack 1 win 512 \(options)
                +0 > . 1:1(0) ack 502 <...>
                +0 accept() = 0
                +0 read(1000) = 500
                +0 %{ state == CLOSE_WAIT }%
                """)
        // Bytes ahead of their turn complete it as well.
        try ScriptRunner.play(
            Self.called + """
                +.1 < P. 501:1001(500) ack 1 win 512 \(options)
                +0 > . 1:1(0) ack 1 <...>
                +0 accept() = 0
                +0 < P. 1:501(500) ack 1 win 512 \(options)
                +0 > . 1:1(0) ack 1001 <...>
                +0 read(2000) = 1000
                """)
    }

    @Test("what the SYN offered holds for the connection, and its round trip is measured")
    func agreed() throws {
        try ScriptRunner.play(
            Self.called + """
                +.1 < . 1:1(0) ack 1 win 512 <nop,nop,TS val 101 ecr 1000>
                +0 accept() = 0
                +0 %{ options == 7, snd_wscale == 7, snd_wnd == 65536, snd_mss == 988, rtt == 100000 }%
                +0 write(3000) = 3000
                +0 > . 1:989(988) ack 1 <...>
                +0 > . 989:1977(988) ack 1 <...>
                +0 > . 1977:2965(988) ack 1 <...>
                """)
        // Without timestamps the SYN-ACK itself is timed, unless it went twice.
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 65535
            +0 > S. 0:0(0) ack 1 <...>
            +.2 < . 1:1(0) ack 1 win 65535
            +0 accept() = 0
            +0 %{ options == 0, rtt == 200000, snd_mss == 536 }%
            """)
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 65535
            +0 > S. 0:0(0) ack 1 <...>
            +1 > S. 0:0(0) ack 1 <...>
            +.2 < . 1:1(0) ack 1 win 65535
            +0 accept() = 0
            +0 %{ rtt == 0, rto == 3000000 }%
            """)
    }

    @Test("data on a SYN is not taken, not acknowledged, and comes again behind the handshake")
    func dataOnSYN() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:100(100) win 65535 <mss 1000>
            +0 > S. 0:0(0) ack 1 <...>
            +.1 < P. 1:101(100) ack 1 win 65535
            +0 > . 1:1(0) ack 101
            +0 accept() = 0
            +0 read(1000) = 100
            """)
    }

    @Test("PAWS holds in a handshake, too (RFC 7323 §5.3)")
    func oldTimestamp() throws {
        try ScriptRunner.play(
            Self.called + """
                +.1 < . 1:1(0) ack 1 win 512 <nop,nop,TS val 99 ecr 1000>
                +0 > . 1:1(0) ack 1 <...>
                +.1 < . 1:1(0) ack 1 win 512 <nop,nop,TS val 100 ecr 1000>
                +0 accept() = 0
                +0 %{ state == ESTABLISHED }%
                """)
    }

    @Test("a user timeout of the listener ends a handshake sooner (RFC 9293 §3.8.3)")
    func userTimeout() throws {
        try ScriptRunner.play(
            """
            0 setsockopt(TCP_USER_TIMEOUT, 5000) = 0
            +0 listen() = 0
            +0 < S 0:0(0) win 65535 <mss 1000>
            +0 > S. 0:0(0) ack 1 <...>
            +1 > S. 0:0(0) ack 1 <...>
            +2 > S. 0:0(0) ack 1 <...>
            +5 < . 1:1(0) ack 1 win 65535
            +0 > R 1:1(0) <...>
            """)
    }

    // MARK: Cookies

    @Test("RFC 4987 §3.6: a SYN-ACK with a cookie is sent once, and its ACK makes the connection")
    func cookie() throws {
        try ScriptRunner.play(
            """
            0 setsockopt(TCP_SYNCOOKIES, 2) = 0
            +0 listen() = 0
            +0 < S 0:0(0) win 65535 <mss 1000,sackOK,TS val 100 ecr 0,nop,wscale 7>
            +0 > S. 0:0(0) ack 1 <...>
            +50 < P. 1:501(500) ack 1 win 512 <nop,nop,TS val 101 ecr \(ScriptRunner.cookieClock)>
            +0 > . 1:1(0) ack 501 <...>
            +0 accept() = 0
            +0 %{ options == 7, snd_wscale == 7, snd_mss == 524, rtt == 0 }%
            +0 read(1000) = 500
            """)
    }

    @Test("without timestamps a cookie carries the MSS alone, and the SYN-ACK offers nothing that would be forgotten")
    func cookieWithoutTimestamps() throws {
        try ScriptRunner.play(
            """
            0 setsockopt(TCP_SYNCOOKIES, 2) = 0
            +0 listen() = 0
            +0 < S 0:0(0) win 65535 <mss 1400,nop,nop,sackOK,nop,wscale 7>
            +0 > S. 0:0(0) ack 1 <mss 1460>
            +.1 < . 1:1(0) ack 1 win 512
            +0 accept() = 0
            +0 %{ options == 0, snd_mss == 1400, snd_wnd == 512 }%
            """)
    }
}
