import Testing

@testable import MartletStack

/// What RFC 9293 demands, by the numbers of its appendix B, where packets tell. The rest is in RequirementTests.
@Suite struct RequirementScriptTests {
    private static let accepted = ScriptTests.accepted

    private static func accepted(_ options: String) -> String {
        """
        0 listen() = 0
        +0 < S 0:0(0) win 65535 <\(options)>
        +0 > S. 0:0(0) ack 1 <...>
        +.1 < . 1:1(0) ack 1 win 65535
        +0 accept() = 0

        """
    }

    // MARK: Windows

    @Test("MUST-1: a window field of 32,768 and more is large, not negative", arguments: [32_768, 40_000, 65_535])
    func windowIsUnsigned(window: Int) throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win \(window)
            +0 > S. 0:0(0) ack 1 <...>
            +.1 < . 1:1(0) ack 1 win \(window)
            +0 accept() = 0
            +0 write(536) = 536
            +0 > P. 1:537(536) ack 1
            """)
    }

    @Test("MUST-34: a window whose right edge moves left stops new data, and nothing else")
    func shrinkingWindow() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 setsockopt(TCP_NODELAY, 1) = 0
                +0 write(1608) = 1608
                +0 > . 1:537(536) ack 1
                +0 > . 537:1073(536) ack 1
                +0 > P. 1073:1609(536) ack 1
                +.1 < . 1:1(0) ack 537 win 100
                +0 write(1072) = 1072
                +.1 < . 1:1(0) ack 1073 win 10
                +0 < . 1:1(0) ack 1609 win 65535
                +0 > . 1609:2145(536) ack 1
                +0 > P. 2145:2681(536) ack 1
                +0 %{ state == ESTABLISHED, retransmits == 0 }%
                """)
    }

    @Test("MUST-35, MUST-36: a closed window is probed, first after an RTO, then each time after twice as long")
    func probes() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < . 1:1(0) ack 1 win 0
                +0 write(100) = 100
                +.3 > . 1:2(1) ack 1
                +0 < . 1:1(0) ack 1 win 0
                +.6 > . 1:2(1) ack 1
                +0 < . 1:1(0) ack 1 win 0
                +1.2 > . 1:2(1) ack 1
                +0 < . 1:1(0) ack 2 win 65535
                +0 > P. 2:101(99) ack 1
                """)
    }

    @Test("MUST-37: the window may stay closed for hours, as long as probes are answered")
    func closedForHours() throws {
        let hours = (0..<200).map { _ in "* > . 1:2(1) ack 1\n+0 < . 1:1(0) ack 1 win 0\n" }
        try ScriptRunner.play(
            Self.accepted + "+0 < . 1:1(0) ack 1 win 0\n+0 write(100) = 100\n" + hours.joined() + """
                +0 %{ state == ESTABLISHED }%
                +1 < . 1:1(0) ack 1 win 65535
                +0 > P. 1:101(100) ack 1
                """)
    }

    @Test("MUST-38: a window that is small beside what it was is used when half of that is free, or after an RTO")
    func sillyWindowOfTheSender() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 setsockopt(TCP_NODELAY, 1) = 0
                +0 < . 1:1(0) ack 1 win 100
                +0 write(1172) = 1172
                +.3 > P. 1:101(100) ack 1
                +.1 < . 1:1(0) ack 101 win 200
                +.1 < . 1:1(0) ack 101 win 65535
                +0 > . 101:637(536) ack 1
                +0 > P. 637:1173(536) ack 1
                """)
        // Nothing larger has ever been offered.
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 200
            +0 > S. 0:0(0) ack 1 <...>
            +.1 < . 1:1(0) ack 1 win 200
            +0 accept() = 0
            +0 write(1000) = 1000
            +0 > . 1:201(200) ack 1
            +.1 < . 1:1(0) ack 201 win 100
            +0 > . 201:301(100) ack 1
            """)
    }

    @Test("MUST-39: a window that was closed opens by a segment at least")
    func sillyWindowOfTheReceiver() throws {
        var limits = TCPLimits()
        limits.receiveLimit = 4000
        try ScriptRunner.play(
            Self.accepted + """
                +0 < . 1:1001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1001 win 3000
                +0 < . 1001:2001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 2001 win 2000
                +0 < . 2001:3001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 3001 win 1000
                +0 < . 3001:4001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 4001 win 0
                +0 read(100) = 100
                +0 read(800) = 800
                +0 read(100) = 100
                +0 > . 1:1(0) ack 4001 win 1000
                """, limits)
    }

    @Test("MUST-66: a reset counts although the window is closed")
    func resetIntoClosedWindow() throws {
        var limits = TCPLimits()
        limits.receiveLimit = 1000
        try ScriptRunner.play(
            Self.accepted + """
                +0 < P. 1:1001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1001 win 0
                +0 < P. 1001:1101(100) ack 1 win 65535
                +0 > . 1:1(0) ack 1001 win 0
                +0 < R 1001:1001(0) win 0
                +0 %{ state == CLOSED, error == reset }%
                """, limits)
    }

    // MARK: Options

    @Test("MUST-4: end of list, no-operation and maximum segment size are understood; what follows the end is not read")
    func mandatoryOptions() throws {
        try ScriptRunner.play(
            Self.accepted("nop,nop,nop,nop,mss 1000,eol,nop,nop,nop,mss 700") + "+0 %{ mss == 1000 }%")
    }

    @Test("MUST-5, MUST-6: an unknown option in any segment is skipped, and the segment counts")
    func unknownOptions() throws {
        try ScriptRunner.play(
            Self.accepted("kind 253 0102,kind 77 010203040506,mss 1000,kind 254 0102") + """
                +0 %{ mss == 1000 }%
                +0 < P. 1:101(100) ack 1 win 65535 <kind 253 0102>
                +0 > . 1:1(0) ack 101
                +0 write(100) = 100
                +0 > P. 1:101(100) ack 101
                +.1 < . 101:101(0) ack 101 win 65535 <kind 77 0102>
                +0 %{ snd_una == 101 }%
                +0 < F. 101:101(0) ack 101 win 65535 <kind 254 0102>
                +0 > . 101:101(0) ack 102
                +0 < R 102:102(0) win 0 <kind 253 0102>
                +0 %{ state == CLOSED, error == reset }%
                """)
    }

    @Test(
        "MUST-64: an option counts wherever it begins",
        arguments: ["mss 1000", "nop,mss 1000,nop,nop,nop", "nop,nop,mss 1000,nop,nop", "nop,nop,nop,mss 1000,nop"])
    func alignment(options: String) throws {
        try ScriptRunner.play(Self.accepted(options) + "+0 %{ mss == 1000 }%")
    }

    @Test("MUST-15: who offers no segment size takes 536 bytes over IPv4, and 1,220 over IPv6")
    func defaultMSS() throws {
        try ScriptRunner.play(Self.accepted + "+0 %{ mss == 536 }%")
        try ScriptRunner.play(Self.accepted + "+0 %{ mss == 1220 }%", isIPv6: true)
    }

    @Test("MUST-16: segments are as large as the peer takes and the interface holds, less the options of each")
    func effectiveMSS() throws {
        try ScriptRunner.play(Self.accepted("mss 9000") + "+0 %{ mss == 1460 }%")
        try ScriptRunner.play(Self.accepted("mss 1000") + "+0 %{ mss == 1000 }%")
        try ScriptRunner.play(
            OptionScriptTests.accepted + """
                +0 write(1449) = 1449
                +0 > . 1:1449(1448) ack 1 <...>
                """)
    }

    @Test("MUST-65: segments without SYN offer no segment size, and one that they offer does not count")
    func sizeInOtherSegments() throws {
        try ScriptRunner.play(
            Self.accepted("mss 1000") + """
                +0 < P. 1:101(100) ack 1 win 65535 <mss 600>
                +0 > . 1:1(0) ack 101
                +0 write(1000) = 1000
                +0 > P. 1:1001(1000) ack 101
                +.1 < . 101:101(0) ack 1001 win 65535
                +0 shutdown(SHUT_WR) = 0
                +0 > F. 1001:1001(0) ack 101
                """)
    }

    // MARK: Opening and ending

    @Test("MUST-2: every segment has a right checksum: SYN, data of odd length, FIN and RST", arguments: [false, true])
    func checksums(isIPv6: Bool) throws {
        // The runner reads nothing whose checksum is wrong.
        try ScriptRunner.play(
            """
            0 connect() = 0
            +0 > S 0:0(0) <...>
            +.1 < S. 0:0(0) ack 1 win 65535
            +0 > . 1:1(0) ack 1
            +0 write(101) = 101
            +0 > P. 1:102(101) ack 1
            +.1 < . 1:1(0) ack 102 win 65535
            +0 shutdown(SHUT_WR) = 0
            +0 > F. 102:102(0) ack 1
            +.1 < . 1:1(0) ack 103 win 65535
            +0 abort() = 0
            +0 > R. 103:103(0) ack 1
            """, isIPv6: isIPv6)
    }

    @Test("MUST-10: two SYNs that cross open one connection, whether an ACK or a SYN,ACK follows (§3.5, figure 7)")
    func simultaneousOpen() throws {
        try ScriptRunner.play(
            """
            0 connect() = 0
            +0 > S 0:0(0) <...>
            +.1 < S 0:0(0) win 65535 <mss 1000>
            +0 > S. 0:0(0) ack 1 <...>
            +.1 < S. 0:0(0) ack 1 win 65535 <mss 1000>
            +0 > . 1:1(0) ack 1
            +0 < . 1:1(0) ack 1 win 65535
            +0 %{ state == ESTABLISHED }%
            +0 < P. 1:101(100) ack 1 win 65535
            +0 > . 1:1(0) ack 101
            """)
    }

    @Test("MUST-11: a reset in SYN-RECEIVED returns to LISTEN who came from there, and refuses who called")
    func remembersItsOrigin() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 65535
            +0 > S. 0:0(0) ack 1 <...>
            +0 < R 1:1(0) win 0
            +1 < S 9000:9000(0) win 65535
            +0 > S. 0:0(0) ack 9001 <...>
            """)
        try ScriptRunner.play(
            """
            0 connect() = 0
            +0 > S 0:0(0) <...>
            +.1 < S 0:0(0) win 65535
            +0 > S. 0:0(0) ack 1 <...>
            +0 < R 1:1(0) win 0
            +0 %{ state == CLOSED, error == refused }%
            """)
    }

    @Test("MUST-12: the user can tell a normal end from an abort")
    func howItEnded() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 < F. 1:1(0) ack 1 win 65535
                +0 > . 1:1(0) ack 2
                +0 shutdown(SHUT_WR) = 0
                +0 > F. 1:1(0) ack 2
                +.1 < . 2:2(0) ack 2 win 65535
                +0 %{ state == CLOSED, error == none }%
                """)
        try ScriptRunner.play(
            Self.accepted + """
                +0 < F. 1:1(0) ack 1 win 65535
                +0 > . 1:1(0) ack 2
                +0 shutdown(SHUT_WR) = 0
                +0 > F. 1:1(0) ack 2
                +.1 < R 2:2(0) win 0
                +0 %{ state == CLOSED, error == reset }%
                """)
    }

    @Test("MUST-13: TIME-WAIT lasts two MSL", arguments: [60, 240])
    func timeWait(seconds: Int) throws {
        var limits = TCPLimits()
        limits.timeWait = .seconds(seconds)
        try ScriptRunner.play(
            Self.accepted + """
                +0 shutdown(SHUT_WR) = 0
                +0 > F. 1:1(0) ack 1
                +.1 < F. 1:1(0) ack 2 win 65535
                +0 > . 2:2(0) ack 2
                +\(seconds - 1) %{ state == TIME_WAIT }%
                +2 %{ state == CLOSED }%
                """, limits)
    }

    // MARK: Sending and receiving

    @Test("MUST-17: the user can turn Nagle's algorithm off, of one connection")
    func noDelay() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 setsockopt(TCP_NODELAY, 1) = 0
                +0 write(10) = 10
                +0 > P. 1:11(10) ack 1
                +0 write(10) = 10
                +0 > P. 11:21(10) ack 1
                """)
    }

    @Test("MUST-18: the ACK of a segment that went twice is no sample, and the timeout stays backed off (Karn)")
    func karn() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 %{ srtt == 100000 }%
                +0 write(100) = 100
                +0 > P. 1:101(100) ack 1
                * > P. 1:101(100) ack 1
                +.25 < . 1:1(0) ack 101 win 65535
                +0 %{ srtt == 100000, rto == 600000 }%
                """)
    }

    @Test("MUST-19: ten segments at first, two for each acknowledged, and one after a timeout")
    func slowStart() throws {
        func segments(_ range: Range<Int>) -> String {
            range.map { "+0 > . \(1 + $0 * 536):\(537 + $0 * 536)(536) ack 1\n" }.joined()
        }
        try ScriptRunner.play(
            Self.accepted + "+0 write(53600) = 53600\n" + segments(0..<10) + "+.1 < . 1:1(0) ack 537 win 65535\n"
                + segments(10..<12) + "+.1 < . 1:1(0) ack 1073 win 65535\n" + segments(12..<14) + """
                    +.3~+.6 > P. 1073:1609(536) ack 1
                    +0 %{ cwnd == 536 }%
                    """)
    }

    @Test("MUST-60, MUST-61: nothing waits for a push, and the last segment of what is there says so itself")
    func push() throws {
        try ScriptRunner.play(
            Self.accepted + """
                +0 write(1082) = 1082
                +0 > . 1:537(536) ack 1
                +0 > . 537:1073(536) ack 1
                +.1 < . 1:1(0) ack 1073 win 65535
                +0 > P. 1073:1083(10) ack 1
                """)
    }
}
