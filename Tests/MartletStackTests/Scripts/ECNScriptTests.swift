import Testing

@testable import MartletStack

/// Scripts of explicit congestion notification, by clause of RFC 3168.
@Suite struct ECNScriptTests {
    static let accepted = """
        0 listen() = 0
        +0 < SEW 0:0(0) win 65535 <mss 1000,sackOK,nop,nop>
        +0 > [noecn] SE. 0:0(0) ack 1 <...>
        +.1 < . 1:1(0) ack 1 win 65535
        +0 accept() = 0
        +0 setsockopt(TCP_NODELAY, 1) = 0

        """

    static func limits(_ use: ECNUse, _ congestion: CongestionAlgorithm = .cubic) -> TCPLimits {
        var limits = TCPLimits()
        limits.ecn = use
        limits.congestion = congestion
        return limits
    }

    // MARK: Negotiation

    @Test("§6.1.1: a SYN that does not ask for it, or asks in half, is not answered so", arguments: ["S", "SE", "SW"])
    func notAsked(flags: String) throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < \(flags) 0:0(0) win 65535 <mss 1000>
            +0 > [noecn] S. 0:0(0) ack 1 <...>
            +.1 < . 1:1(0) ack 1 win 65535
            +0 accept() = 0
            +0 write(100) = 100
            +0 > [noecn] P. 1:101(100) ack 1
            """)
    }

    @Test("§6.1.1: a SYN-ACK that goes again does not agree, and no data is marked, but the peer's marks are echoed")
    func answeredAgain() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < SEW 0:0(0) win 65535 <mss 1000>
            +0 > [noecn] SE. 0:0(0) ack 1 <...>
            +.9~+1.1 > [noecn] S. 0:0(0) ack 1 <...>
            +.1 < . 1:1(0) ack 1 win 65535
            +0 accept() = 0
            +0 write(100) = 100
            +0 > [noecn] P. 1:101(100) ack 1
            +0 < [ce] . 1:1001(1000) ack 101 win 65535
            +0 > [noecn] E. 101:101(0) ack 1001
            """)
    }

    @Test("who never wants it, and who does not slow down for marks, says no")
    func refused() throws {
        for limits in [Self.limits(.never), Self.limits(.always, .bbr)] {
            try ScriptRunner.play(
                """
                0 listen() = 0
                +0 < SEW 0:0(0) win 65535 <mss 1000>
                +0 > [noecn] S. 0:0(0) ack 1 <...>
                """, limits)
            try ScriptRunner.play("0 connect() = 0\n+0 > [noecn] S 0:0(0) <...>", limits)
        }
        try ScriptRunner.play("0 connect() = 0\n+0 > [noecn] S 0:0(0) <...>", Self.limits(.whenAsked))
    }

    @Test("§6.1.1: our SYN asks if it is to; a SYN-ACK that echoes both flags, or none, is no yes")
    func active() throws {
        for (answer, mark) in [("SE.", "[ect0]"), ("SEW.", "[noecn]"), ("S.", "[noecn]"), ("SW.", "[noecn]")] {
            try ScriptRunner.play(
                """
                0 connect() = 0
                +0 > [noecn] SEW 0:0(0) <...>
                +.1 < \(answer) 0:0(0) ack 1 win 65535 <mss 1000>
                +0 > [noecn] . 1:1(0) ack 1
                +0 write(100) = 100
                +0 > \(mark) P. 1:101(100) ack 1
                """, Self.limits(.always))
        }
    }

    @Test("§6.1.1.1: a SYN without an answer is sent again without asking, and an answer to the first one still holds")
    func fallback() throws {
        for (answer, mark) in [("SE.", "[ect0]"), ("S.", "[noecn]")] {
            try ScriptRunner.play(
                """
                0 connect() = 0
                +0 > [noecn] SEW 0:0(0) <...>
                +1 > [noecn] S 0:0(0) <...>
                +.1 < \(answer) 0:0(0) ack 1 win 65535 <mss 1000>
                +0 > . 1:1(0) ack 1
                +0 write(100) = 100
                +0 > \(mark) P. 1:101(100) ack 1
                """, Self.limits(.always))
        }
    }

    @Test("§6.1.1: simultaneous open agrees if both have asked")
    func simultaneousOpen() throws {
        for (syn, answer, mark) in [("SEW", "SE.", "[ect0]"), ("S", "S.", "[noecn]")] {
            try ScriptRunner.play(
                """
                0 connect() = 0
                +0 > [noecn] SEW 0:0(0) <...>
                +.1 < \(syn) 0:0(0) win 65535 <mss 1000>
                +0 > [noecn] \(answer) 0:0(0) ack 1 <...>
                +.1 < . 1:1(0) ack 1 win 65535
                +0 write(100) = 100
                +0 > \(mark) P. 1:101(100) ack 1
                """, Self.limits(.always))
        }
    }

    // MARK: The receiver

    @Test("§6.1.3: a mark is echoed by each ACK until CWR comes, and CWR with a mark begins anew")
    func echo() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < [ce] . 1:1001(1000) ack 1 win 65535
                +0 > [noecn] E. 1:1(0) ack 1001
                +0 < [ect0] . 1001:2001(1000) ack 1 win 65535
                +0 > E. 1:1(0) ack 2001
                +0 write(100) = 100
                +0 > [ect0] EP. 1:101(100) ack 2001
                +0 < [ect0] W. 2001:3001(1000) ack 101 win 65535
                +0 > . 101:101(0) ack 3001
                +0 < [ce] W. 3001:4001(1000) ack 101 win 65535
                +0 > E. 101:101(0) ack 4001
                +0 %{ marks_in == 2 }%
                """)
    }

    @Test(
        "§6.1.4, §6.1.5: marks on ACKs, on what lies outside of the window, and where nothing was agreed, say nothing")
    func ignoredMarks() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < [ce] . 1:1(0) ack 1 win 65535
                +0 < [ce] . 400001:401001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1
                +0 %{ marks_in == 0 }%
                """)
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 < [ce] . 1:1001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1001
                +0 %{ marks_in == 0 }%
                """)
    }

    // MARK: The sender

    @Test("§6.1.2: an echo reduces the window once a window of data, and the first new data says so")
    func reduction() throws {
        let first = (0..<10).map { "+0 > [ect0] . \(1 + $0 * 1000):\(1001 + $0 * 1000)(1000) ack 1\n" }.joined()
        try ScriptRunner.play(
            Self.accepted + "+0 write(40000) = 40000\n" + first + """
                +.1 < E. 1:1(0) ack 2001 win 65535
                +0 > [ect0] W. 10001:11001(1000) ack 1
                +0 %{ cwnd == 7000, echoes_in == 1 }%
                +0 < E. 1:1(0) ack 4001 win 65535
                +.1 < E. 1:1(0) ack 10001 win 65535
                +0 %{ cwnd >= 7000, echoes_in == 1 }%
                +0 > [ect0] . 11001:12001(1000) ack 1
                +0 > [ect0] . 12001:13001(1000) ack 1
                +0 > [ect0] . 13001:14001(1000) ack 1
                +0 > [ect0] . 14001:15001(1000) ack 1
                +0 > [ect0] . 15001:16001(1000) ack 1
                +0 > [ect0] . 16001:17001(1000) ack 1
                +0 < E. 1:1(0) ack 10001 win 65000
                +0 %{ cwnd >= 7000, echoes_in == 1 }%
                +.1 < E. 1:1(0) ack 12001 win 65535
                +0 > [ect0] W. 17001:18001(1000) ack 1
                +0 %{ echoes_in == 2, cwnd < 7000 }%
                +0 abort() = 0
                * > R. 18001:18001(0) ack 1
                """)
    }

    @Test("§6.1.5, §6.1.6: what goes again is not marked, nor is a probe; new data after a loss carries CWR")
    func unmarked() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 write(5000) = 5000
                +0 > [ect0] . 1:1001(1000) ack 1
                +0 > [ect0] . 1001:2001(1000) ack 1
                +0 > [ect0] . 2001:3001(1000) ack 1
                +0 > [ect0] . 3001:4001(1000) ack 1
                +0 > [ect0] P. 4001:5001(1000) ack 1
                +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>
                +0 > [noecn] P. 1:1001(1000) ack 1
                +.1 < . 1:1(0) ack 5001 win 0
                +0 write(100) = 100
                * > [noecn] . 5001:5002(1) ack 1
                +.1 < . 1:1(0) ack 5001 win 65535
                +0 > [ect0] WP. 5001:5101(100) ack 1
                +.1 < . 1:1(0) ack 5101 win 65535
                +0 write(100) = 100
                +0 > [ect0] P. 5101:5201(100) ack 1
                """)
    }

    @Test("a reduction that is taken back before anything new has left is not told: no CWR (RFC 3168 §6.1.2)")
    func undone() throws {
        for (report, mark) in [("<nop,nop,sack 1:1001>", ""), ("", "W")] {
            try ScriptRunner.play(
                Self.accepted + """
                    +0 write(5000) = 5000
                    +0 > [ect0] . 1:1001(1000) ack 1
                    +0 > [ect0] . 1001:2001(1000) ack 1
                    +0 > [ect0] . 2001:3001(1000) ack 1
                    +0 > [ect0] . 3001:4001(1000) ack 1
                    +0 > [ect0] P. 4001:5001(1000) ack 1
                    +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>
                    +0 > [noecn] P. 1:1001(1000) ack 1
                    +.02 < . 1:1(0) ack 5001 win 65535
                    +.08 < . 1:1(0) ack 5001 win 65535 \(report)
                    +0 %{ spurious_recoveries == \(report.isEmpty ? 0 : 1) }%
                    +0 write(100) = 100
                    +0 > [ect0] \(mark)P. 5001:5101(100) ack 1
                    """)
        }
    }

    @Test("an echo where nothing was agreed is no echo")
    func strangeEcho() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 write(100) = 100
                +0 > P. 1:101(100) ack 1
                +.1 < E. 1:1(0) ack 101 win 65535
                +0 %{ cwnd == 5360, echoes_in == 0 }%
                """)
    }
}
