import Testing

@testable import MartletStack

/// Scripts of when and how much a sender sends.
@Suite struct SendingScriptTests {
    @Test("RFC 6298 §5.7: if the SYN timed out, the data starts with a timeout of three seconds")
    func lostSYN() throws {
        try ScriptRunner.play(
            """
            0 connect() = 0
            +0 > S 0:0(0) <...>
            +1 > S 0:0(0) <...>
            +.1 < S. 0:0(0) ack 1 win 65535 <mss 1000>
            +0 > . 1:1(0) ack 1
            +0 %{ rto == 3000000 }%
            +0 write(100) = 100
            +0 > P. 1:101(100) ack 1
            +3 > P. 1:101(100) ack 1
            """)
    }

    @Test("RFC 6298 §5.7: also with timestamps, which measure that handshake")
    func lostSYNWithTimestamps() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1000 ecr 0,nop,wscale 7>
            +0 > S. 0:0(0) ack 1 <...>
            +1 > S. 0:0(0) ack 1 <...>
            +.1 < . 1:1(0) ack 1 win 512 <nop,nop,TS val 1100 ecr 1000>
            +0 accept() = 0
            +0 %{ rto == 3000000 }%
            """)
    }

    /// Ten segments acknowledged at once: the window has grown to 18,000 bytes.
    private static let grown =
        OptionScriptTests.withSACK + "+0 write(10000) = 10000\n"
        + SpuriousScriptTests.segments(0..<10, size: 1000, pushesLast: true) + """
            +0 write(8000) = 8000
            +.1 < . 1:1(0) ack 10001 win 65535

            """ + SpuriousScriptTests.segments(10..<18, size: 1000, pushesLast: true) + """
            +.1 < . 1:1(0) ack 18001 win 65535
            +0 %{ cwnd == 18000 }%

            """

    @Test("RFC 5681 §4.1: after a pause longer than the timeout the window begins again; before, it does not")
    func idle() throws {
        for (pause, size) in [(".1", 18), ("10", 10)] {
            try ScriptRunner.play(
                Self.grown + "+\(pause) write(30000) = 30000\n"
                    + SpuriousScriptTests.segments(18..<18 + size, size: 1000)
                    + "+0 %{ cwnd == \(size * 1000) }%\n")
        }
    }

    @Test("RFC 7661 §4.1: a window that the application, or the peer's window, does not let be used does not grow")
    func notLimitedByWindow() throws {
        try ScriptRunner.play(
            OptionScriptTests.withSACK + """
                +0 write(3000) = 3000
                """ + "\n" + SpuriousScriptTests.segments(0..<3, size: 1000, pushesLast: true) + """
                    +.1 < . 1:1(0) ack 3001 win 5000
                    +0 %{ cwnd == 10000 }%
                    +0 write(20000) = 20000
                    """ + "\n" + SpuriousScriptTests.segments(3..<8, size: 1000) + """
                    +.1 < . 1:1(0) ack 8001 win 5000
                    +0 %{ cwnd == 10000 }%
                    """ + "\n" + SpuriousScriptTests.segments(8..<13, size: 1000))
    }

    @Test("RFC 5681 §3.1: after a timeout slow start takes more with each ACK, also when no new data waits")
    func slowStartAfterTimeout() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + "+0 write(5360) = 5360\n"
                + SpuriousScriptTests.segments(0..<10, size: 536, pushesLast: true) + """
                    +.2~+.4 > P. 1:537(536) ack 1
                    +.1 < . 1:1(0) ack 537 win 65535
                    +0 > P. 537:1073(536) ack 1
                    +0 > P. 1073:1609(536) ack 1
                    +.1 < . 1:1(0) ack 1609 win 65535
                    +0 > P. 1609:2145(536) ack 1
                    +0 > P. 2145:2681(536) ack 1
                    +0 > P. 2681:3217(536) ack 1
                    +.1 < . 1:1(0) ack 5361 win 65535
                    """)
    }

    @Test(
        "RFC 9293 §3.10.7.4: a window counts only if its segment is not older than that of the window there is (SND.WL1)"
    )
    func olderWindow() throws {
        // The other way round the larger window is the newer one.
        let (narrow, wide) = ("+0 < . 1001:1001(0) ack 1 win 2100\n", "+0 < . 1:1001(1000) ack 1 win 65535\n")
        let ack = "+0 > . 101:101(0) ack 1001\n"
        let both = "+0 write(3000) = 3000\n+0 > . 101:1101(1000) ack 1001\n+0 > . 1101:2101(1000) ack 1001\n"
        for (arrivals, rest) in [
            (narrow + wide + ack, ""), (wide + ack + narrow, ""),
            (wide + ack, "+0 > P. 2101:3101(1000) ack 1001\n"),
        ] {
            try ScriptRunner.play(
                OptionScriptTests.withSACK + "+0 write(100) = 100\n+0 > P. 1:101(100) ack 1\n" + arrivals + both + rest)
        }
    }
}
