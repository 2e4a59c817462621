import Testing

@testable import MartletStack

/// Scripts of what options bring: timestamps, window scaling and SACK.
@Suite struct OptionScriptTests {
    static let accepted = """
        0 listen() = 0
        +0 < S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1000 ecr 0,nop,wscale 7>
        +0 > S. 0:0(0) ack 1 <...>
        +.1 < . 1:1(0) ack 1 win 512 <nop,nop,TS val 1100 ecr 0>
        +0 accept() = 0
        +0 %{ state == ESTABLISHED, mss == 1448 }%

        """
    static let withSACK = """
        0 listen() = 0
        +0 < S 0:0(0) win 65535 <mss 1000,sackOK,nop,nop>
        +0 > S. 0:0(0) ack 1 <...>
        +.1 < . 1:1(0) ack 1 win 65535
        +0 accept() = 0
        +0 setsockopt(TCP_NODELAY, 1) = 0

        """

    @Test("RFC 7323 §5.3: a segment with an older timestamp is answered and not taken (PAWS)")
    func paws() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < P. 1:101(100) ack 1 win 512 <nop,nop,TS val 1101 ecr 0>
                +0 > . 1:1(0) ack 101 <...>
                +0 < P. 101:201(100) ack 1 win 512 <nop,nop,TS val 1100 ecr 0>
                +0 > . 1:1(0) ack 101 <...>
                +0 < P. 101:201(100) ack 1 win 512 <nop,nop,TS val 1102 ecr 0>
                +0 > . 1:1(0) ack 201 <...>
                +0 read(1000) = 200
                """)
    }

    @Test("RFC 7323 §2.3: the peer's window counts in its scale")
    func scaledWindow() throws {
        // 2 << 7 is 256 bytes: less than a segment, and so a part goes only because it is all there is room for.
        try ScriptRunner.play(
            Self.accepted + """
                +0 < . 1:1(0) ack 1 win 23 <nop,nop,TS val 1101 ecr 0>
                +0 write(10000) = 10000
                +0 > . 1:1449(1448) ack 1 <...>
                +0 > . 1449:2897(1448) ack 1 <...>
                +0 %{ snd_nxt == 2897 }%
                +0 abort() = 0
                +0 > R. 2897:2897(0) ack 1
                """)
    }

    @Test("RFC 7323 §2.2: the window of a SYN,ACK is not scaled, and those behind it are")
    func unscaledWindow() throws {
        try ScriptRunner.play(
            """
            0 connect() = 0
            +0 > S 0:0(0) <...>
            +.1 < S. 0:0(0) ack 1 win 1000 <mss 500,nop,wscale 7>
            +0 > . 1:1(0) ack 1
            +0 write(3000) = 3000
            +0 > . 1:501(500) ack 1
            +0 > . 501:1001(500) ack 1
            +.1 < . 1:1(0) ack 1001 win 1000
            +0 > . 1001:1501(500) ack 1
            +0 > . 1501:2001(500) ack 1
            +0 > . 2001:2501(500) ack 1
            +0 > P. 2501:3001(500) ack 1
            """)
    }

    @Test("RFC 2018 §4: the block that came last is reported first")
    func blocks() throws {
        try ScriptRunner.play(
            Self.withSACK + """
                +0 < . 1001:2001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1 <nop,nop,sack 1001:2001>
                +0 < . 5001:6001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1 <nop,nop,sack 5001:6001 1001:2001>
                +0 < . 3001:4001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1 <nop,nop,sack 3001:4001 1001:2001 5001:6001>
                +0 < . 2001:3001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1 <nop,nop,sack 1001:4001 5001:6001>
                +0 < . 1:1001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 4001 <nop,nop,sack 5001:6001>
                +0 read(9000) = 4000
                """)
    }

    @Test(
        "RFC 8985 §6: what was sent before a segment that is reported, and is missing a quarter of a round trip later, goes again"
    )
    func rack() throws {
        try ScriptRunner.play(
            Self.withSACK + """
                +0 write(5000) = 5000
                +0 > . 1:1001(1000) ack 1
                +0 > . 1001:2001(1000) ack 1
                +0 > . 2001:3001(1000) ack 1
                +0 > . 3001:4001(1000) ack 1
                +0 > P. 4001:5001(1000) ack 1
                +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>
                +.025 > P. 1:1001(1000) ack 1
                +.1 < . 1:1(0) ack 5001 win 65535
                +0 %{ retransmits == 1, snd_una == 5001 }%
                """)
    }

    @Test("RFC 8985 §6.2: three reported segments need no waiting")
    func threeReported() throws {
        try ScriptRunner.play(
            Self.withSACK + """
                +0 write(5000) = 5000
                +0 > . 1:1001(1000) ack 1
                +0 > . 1001:2001(1000) ack 1
                +0 > . 2001:3001(1000) ack 1
                +0 > . 3001:4001(1000) ack 1
                +0 > P. 4001:5001(1000) ack 1
                +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>
                +0 > P. 1:1001(1000) ack 1
                +.1 < . 1:1(0) ack 5001 win 65535
                +0 %{ retransmits == 1 }%
                """)
    }

    @Test("RFC 8985 §7: a lost tail is probed for after two round trips, and then repaired without a timeout")
    func tailLoss() throws {
        try ScriptRunner.play(
            Self.withSACK + """
                +0 write(3000) = 3000
                +0 > . 1:1001(1000) ack 1
                +0 > . 1001:2001(1000) ack 1
                +0 > P. 2001:3001(1000) ack 1
                +.1 < . 1:1(0) ack 1001 win 65535
                +.15~+.3 > P. 2001:3001(1000) ack 1
                +.1 < . 1:1(0) ack 1001 win 65535 <nop,nop,sack 2001:3001>
                +0~+.05 > P. 1001:2001(1000) ack 1
                +.1 < . 1:1(0) ack 3001 win 65535
                """)
    }

    @Test("RFC 2018 §8, RFC 6675: reports of what was never sent, or below SND.UNA, change nothing")
    func lies() throws {
        try ScriptRunner.play(
            Self.withSACK + """
                +0 write(2000) = 2000
                +0 > . 1:1001(1000) ack 1
                +0 > P. 1001:2001(1000) ack 1
                +.01 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 2001:9001>
                +0 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 9001:1001>
                +0 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 4294960000:1>
                +0 < . 1:1(0) ack 2001 win 65535
                +0 %{ retransmits == 0, snd_una == 2001 }%
                """)
    }
}
