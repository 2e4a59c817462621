import Testing

@testable import MartletStack

/// Scripts by clause of the RFCs. The labels are those of RFC 9293's summary of requirements.
@Suite struct ScriptTests {
    /// A handshake as a server, without any option: segments of 536 bytes, and no timestamps in the way of reading.
    static let accepted = """
        0 listen() = 0
        +0 < S 0:0(0) win 65535
        +0 > S. 0:0(0) ack 1 <...>
        +.1 < . 1:1(0) ack 1 win 65535
        +0 accept() = 0
        +0 %{ state == ESTABLISHED }%

        """

    @Test("§3.5: a handshake, bytes both ways, and the end from either side")
    func echo() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < P. 1:101(100) ack 1 win 65535
                +0 > . 1:1(0) ack 101
                +0 read(1000) = 100
                +0 write(200) = 200
                +0 > P. 1:201(200) ack 101
                +.1 < . 101:101(0) ack 201 win 65535
                +0 < F. 101:101(0) ack 201 win 65535
                +0 > . 201:201(0) ack 102
                +0 %{ state == CLOSE_WAIT }%
                +0 shutdown(SHUT_WR) = 0
                +0 > F. 201:201(0) ack 102
                +0 %{ state == LAST_ACK }%
                +.1 < . 102:102(0) ack 202 win 65535
                +0 %{ state == CLOSED, error == none }%
                """)
    }

    @Test("§3.5, figure 7: simultaneous open")
    func simultaneousOpen() throws {
        try ScriptRunner.play(
            """
            0 connect() = 0
            +0 > S 0:0(0) <...>
            +.1 < S 0:0(0) win 65535 <mss 1000>
            +0 > S. 0:0(0) ack 1 <...>
            +0 %{ state == SYN_RECEIVED }%
            +.1 < . 1:1(0) ack 1 win 65535
            +0 %{ state == ESTABLISHED }%
            """)
    }

    @Test("§3.6, figure 13: simultaneous close")
    func simultaneousClose() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 shutdown(SHUT_WR) = 0
                +0 > F. 1:1(0) ack 1
                +0 < F. 1:1(0) ack 1 win 65535
                +0 > . 2:2(0) ack 2
                +0 %{ state == CLOSING }%
                +.1 < . 2:2(0) ack 2 win 65535
                +0 %{ state == TIME_WAIT }%
                """)
    }

    @Test("§3.10.7.1, .2: what belongs to no connection is reset, but a reset never is")
    func strangers() throws {
        try ScriptRunner.play(
            """
            0 < S 0:0(0) win 100
            +0 > R. 0:0(0) ack 1
            """, remoteSequence: 5)
        try ScriptRunner.play("0 < R 0:0(0) win 100")
    }

    @Test("MUST-15: without an MSS option the peer gets segments of 536 bytes")
    func defaultMSS() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 write(1000) = 1000
                +0 > . 1:537(536) ack 1
                +.1 < . 1:1(0) ack 537 win 65535
                +0 > P. 537:1001(464) ack 1
                """)
    }

    @Test(
        "§3.8.1, MUST-19; RFC 6298 §5.5: a segment that is not acknowledged goes again, each time after twice as long")
    func retransmission() throws {
        // The handshake took 100 ms, so SRTT is 100 ms and the RTO 300 ms.
        try ScriptRunner.play(
            Self.accepted + """
                +0 write(100) = 100
                +0 > P. 1:101(100) ack 1
                +.2~+.5 > P. 1:101(100) ack 1
                +.4~+1 > P. 1:101(100) ack 1
                +.8~+2 > P. 1:101(100) ack 1
                +.1 < . 1:1(0) ack 101 win 65535
                +10 write(100) = 100
                +0 > P. 101:201(100) ack 1
                """)
    }

    @Test("RFC 5681 §3.2, RFC 6582: three duplicate ACKs, without SACK, resend the first segment")
    func fastRetransmit() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 setsockopt(TCP_NODELAY, 1) = 0
                +0 write(3216) = 3216
                +0 > . 1:537(536) ack 1
                +0 > . 537:1073(536) ack 1
                +0 > . 1073:1609(536) ack 1
                +0 > . 1609:2145(536) ack 1
                +0 > . 2145:2681(536) ack 1
                +0 > P. 2681:3217(536) ack 1
                +.1 < . 1:1(0) ack 537 win 65535
                +0 < . 1:1(0) ack 537 win 65535
                +0 < . 1:1(0) ack 537 win 65535
                +0 < . 1:1(0) ack 537 win 65535
                +0 > P. 537:1073(536) ack 1
                +.1 < . 1:1(0) ack 3217 win 65535
                +0 %{ retransmits == 1 }%
                """)
    }

    @Test("MUST-36, MUST-37: a closed window is probed, and the connection stays while probes are answered")
    func zeroWindow() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < . 1:1(0) ack 1 win 0
                +0 write(100) = 100
                +.2~+.6 > . 1:2(1) ack 1
                +0 < . 1:1(0) ack 1 win 0
                +.4~+1.2 > . 1:2(1) ack 1
                +0 < . 1:1(0) ack 1 win 0
                +.5 < . 1:1(0) ack 1 win 1000
                +0 > P. 1:101(100) ack 1
                """)
    }

    @Test("RFC 5961 §3.2: a reset counts only at exactly RCV.NXT; in the window it is challenged, elsewhere dropped")
    func resets() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < R 1001:1001(0) win 0
                +0 > . 1:1(0) ack 1
                +0 %{ state == ESTABLISHED }%
                +0 < R 400001:400001(0) win 0
                +0 %{ state == ESTABLISHED }%
                +0 < R 1:1(0) win 0
                +0 %{ state == CLOSED, error == reset }%
                """)
    }

    @Test("§3.10.7.4, first: what lies outside the window is answered by an ACK and not taken")
    func outsideTheWindow() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < P. 400001:400101(100) ack 1 win 65535
                +0 > . 1:1(0) ack 1
                +0 read(1000) = 0
                """)
    }

    @Test("RFC 5681 §4.2: what comes out of order waits, is acknowledged at once, and is read in order")
    func outOfOrder() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < . 537:1073(536) ack 1 win 65535
                +0 > . 1:1(0) ack 1
                +0 read(5000) = 0
                +0 < . 1:537(536) ack 1 win 65535
                +0 > . 1:1(0) ack 1073
                +0 read(5000) = 1072
                """)
    }

    @Test("RFC 1122 §4.2.3.4: of small writes only the first goes at once; the rest waits for its ACK (Nagle)")
    func nagle() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 write(10) = 10
                +0 > P. 1:11(10) ack 1
                +0 write(10) = 10
                +0 write(10) = 10
                +.1 < . 1:1(0) ack 11 win 65535
                +0 > P. 11:31(20) ack 1
                """)
    }

    @Test("RFC 5681 §4.2, MUST-40: after the start, a lone segment is acknowledged within 40 ms, and two at once")
    func delayedAck() throws {
        // The first 16 segments are acknowledged at once.
        let quick = (0..<16).map {
            "+0 < P. \(1 + $0 * 536):\(537 + $0 * 536)(536) ack 1 win 65535\n+0 > . 1:1(0) ack \(537 + $0 * 536)\n"
        }
        try ScriptRunner.play(
            Self.accepted + quick.joined() + """
                +0 < P. 8577:9113(536) ack 1 win 65535
                +.04 > . 1:1(0) ack 9113
                +1 < . 9113:9649(536) ack 1 win 65535
                +0 < . 9649:10185(536) ack 1 win 65535
                +0 > . 1:1(0) ack 10185
                """)
    }

    @Test("§3.10.7.4, fifth: an ACK of what was never sent is answered and changes nothing")
    func acknowledgesTheUnsent() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < . 1:1(0) ack 1000 win 65535
                +0 > . 1:1(0) ack 1
                +0 %{ state == ESTABLISHED, snd_una == 1 }%
                """)
    }

    @Test("§3.10.7.3: in SYN-SENT an ACK of something else does nothing, and a reset without the right ACK neither")
    func synSent() throws {
        try ScriptRunner.play(
            """
            0 connect() = 0
            +0 > S 0:0(0) <...>
            +0 < R 0:0(0) win 0
            +0 %{ state == SYN_SENT }%
            +0 < R. 0:0(0) ack 77 win 0
            +0 %{ state == SYN_SENT }%
            +0 < R. 0:0(0) ack 1 win 0
            +0 %{ state == CLOSED, error == refused }%
            """)
    }

    @Test("§3.10.7.4, eighth: a FIN beyond a hole waits for its turn, and one with data ends behind it")
    func fins() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < F. 101:101(0) ack 1 win 65535
                +0 > . 1:1(0) ack 1
                +0 %{ state == ESTABLISHED }%
                +0 < FP. 1:101(100) ack 1 win 65535
                +0 > . 1:1(0) ack 102
                +0 %{ state == CLOSE_WAIT }%
                +0 read(1000) = 100
                """)
    }

    @Test("§3.6.1: TIME-WAIT answers a FIN that comes again, and lasts two MSL from then")
    func timeWait() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 shutdown(SHUT_WR) = 0
                +0 > F. 1:1(0) ack 1
                +.1 < F. 1:1(0) ack 2 win 65535
                +0 > . 2:2(0) ack 2
                +0 %{ state == TIME_WAIT }%
                +30 < F. 1:1(0) ack 2 win 65535
                +0 > . 2:2(0) ack 2
                +59 %{ state == TIME_WAIT }%
                +2 %{ state == CLOSED }%
                """)
    }

    @Test("a lost FIN goes again")
    func lostFIN() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 write(10) = 10
                +0 shutdown(SHUT_WR) = 0
                +0 > P. 1:11(10) ack 1
                +.1 < . 1:1(0) ack 11 win 65535
                * > F. 11:11(0) ack 1
                +.2~+.6 > F. 11:11(0) ack 1
                +.1 < . 1:1(0) ack 12 win 65535
                +0 %{ state == FIN_WAIT_2 }%
                """)
    }

    @Test("RFC 1122 §4.2.2.13: bytes for a user who has closed reset the connection")
    func bytesAfterClose() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 close() = 0
                +0 > F. 1:1(0) ack 1
                +.1 < P. 1:101(100) ack 2 win 65535
                +0 > R. 2:2(0) ack 1
                +0 %{ state == CLOSED }%
                """)
    }

    @Test(
        "sequence numbers wrap in the middle of the data",
        arguments: [0xffff_ffff, 0xffff_fe00, 0x7fff_fff0] as [UInt32])
    func wraps(remoteSequence: UInt32) throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < P. 1:537(536) ack 1 win 65535
                +0 > . 1:1(0) ack 537
                +0 < P. 537:1073(536) ack 1 win 65535
                +0 > . 1:1(0) ack 1073
                +0 read(5000) = 1072
                """, remoteSequence: remoteSequence)
    }
}
