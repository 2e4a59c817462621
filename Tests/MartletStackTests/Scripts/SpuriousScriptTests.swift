import Testing

@testable import MartletStack

/// Scripts of repairs that were for nothing, and of what peers report to have twice.
@Suite struct SpuriousScriptTests {
    /// So many full segments of `size` go, the last of them with PSH.
    static func segments(_ range: Range<Int>, size: Int, pushesLast: Bool = false) -> String {
        range.map { number in
            let flags = pushesLast && number == range.upperBound - 1 ? "P." : "."
            return "+0 > \(flags) \(1 + number * size):\(1 + (number + 1) * size)(\(size)) ack 1\n"
        }.joined()
    }

    // MARK: What comes twice

    @Test("RFC 2883 §4: what comes twice is reported once, before the ranges that are held")
    func duplicates() throws {
        try ScriptRunner.play(
            OptionScriptTests.withSACK + """
                +0 < . 1:1001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1001
                +0 < . 1:1001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1001 <nop,nop,sack 1:1001>
                +0 < . 501:1501(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1501 <nop,nop,sack 501:1001>
                +0 < . 2501:3501(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1501 <nop,nop,sack 2501:3501>
                +0 < . 3001:4001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1501 <nop,nop,sack 3001:3501 2501:4001>
                +0 < . 1:1001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1501 <nop,nop,sack 1:1001 2501:4001>
                +0 < . 1501:2501(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 4001
                +0 read(9000) = 4000
                """)
    }

    @Test("RFC 2018 §2: without the peer's leave nothing is reported")
    func noReports() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 < . 1:1001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1001
                +0 < . 1:1001(1000) ack 1 win 65535
                +0 > . 1:1(0) ack 1001
                """)
    }

    @Test("a full segment has no room for a report beside it: an ACK of its own carries that")
    func reportBesideData() throws {
        try ScriptRunner.play(
            OptionScriptTests.withSACK + """
                +0 write(1000) = 1000
                +0 > P. 1:1001(1000) ack 1
                +.1 < . 1001:2001(1000) ack 1 win 65535
                +0 > . 1001:1001(0) ack 1 <nop,nop,sack 1001:2001>
                +0 < . 3001:4001(1000) ack 1001 win 65535
                +0 > . 1001:1001(0) ack 1 <nop,nop,sack 3001:4001 1001:2001>
                +0 write(900) = 900
                +0 > P. 1001:1901(900) ack 1 <nop,nop,sack 3001:4001 1001:2001>
                """)
    }

    // MARK: F-RTO

    /// Ten segments of 536 bytes, and a timeout that finds more data waiting.
    private static let timedOut =
        ScriptTests.accepted + "+0 write(9000) = 9000\n" + segments(0..<10, size: 536) + """
            +.2~+.4 > P. 1:537(536) ack 1
            +.1 < . 1:1(0) ack 537 win 65535
            +0 > . 5361:5897(536) ack 1
            +0 > . 5897:6433(536) ack 1

            """

    @Test("RFC 5682 §2.1: originals that are acknowledged after a timeout show that it was spurious, and cwnd is back")
    func frto() throws {
        try ScriptRunner.play(
            Self.timedOut + """
                +.05 < . 1:1(0) ack 1073 win 65535
                +0 %{ spurious_timeouts == 1, cwnd >= 5360, retransmits == 1 }%
                +0 > . 6433:6969(536) ack 1
                """)
    }

    @Test("RFC 5682 §2.1, step 3a: a duplicate ACK after the new data means that the rest is lost")
    func frtoFails() throws {
        try ScriptRunner.play(
            Self.timedOut + """
                +.05 < . 1:1(0) ack 537 win 65535
                +0 > P. 537:1073(536) ack 1
                +0 > P. 1073:1609(536) ack 1
                +0 %{ spurious_timeouts == 0, cwnd <= 1608 }%
                """)
    }

    @Test("RFC 5682 §2.1, step 2a: a duplicate ACK first means the same")
    func frtoDuplicateFirst() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + "+0 write(9000) = 9000\n" + Self.segments(0..<10, size: 536) + """
                +.2~+.4 > P. 1:537(536) ack 1
                +.1 < . 1:1(0) ack 1 win 65535
                +0 > P. 537:1073(536) ack 1
                +0 > P. 1073:1609(536) ack 1
                +.1 < . 1:1(0) ack 537 win 65535
                +0 %{ spurious_timeouts == 0 }%
                """)
    }

    @Test("RFC 5682 §2.1, step 2b: with no new data to send, what is lost goes")
    func frtoNothingNew() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + "+0 write(5360) = 5360\n" + Self.segments(0..<10, size: 536, pushesLast: true) + """
                +.2~+.4 > P. 1:537(536) ack 1
                +.1 < . 1:1(0) ack 537 win 65535
                +0 > P. 537:1073(536) ack 1
                +0 > P. 1073:1609(536) ack 1
                """)
    }

    @Test("RFC 5682 §2.1, step 2a: an ACK of everything says nothing of the timeout")
    func frtoAllAcknowledged() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + "+0 write(5360) = 5360\n" + Self.segments(0..<10, size: 536, pushesLast: true) + """
                +.2~+.4 > P. 1:537(536) ack 1
                +.1 < . 1:1(0) ack 5361 win 65535
                +0 %{ spurious_timeouts == 0, ssthresh < 5360 }%
                """)
    }

    /// Ten segments of 1000 bytes, a probe with an eleventh, and a timeout.
    private static let timedOutWithSACK =
        OptionScriptTests.withSACK + "+0 write(20000) = 20000\n" + segments(0..<10, size: 1000) + """
            +.15~+.25 > P. 10001:11001(1000) ack 1
            +.2~+.4 > P. 1:1001(1000) ack 1
            +.1 < . 1:1(0) ack 1001 win 65535
            +0 > . 11001:12001(1000) ack 1
            +0 > . 12001:13001(1000) ack 1

            """

    @Test("RFC 5682 §3.1, step 3b: a report of originals, once the first is acknowledged, shows the same")
    func frtoSACK() throws {
        try ScriptRunner.play(
            Self.timedOutWithSACK + """
                +.05 < . 1:1(0) ack 1001 win 65535 <nop,nop,sack 2001:3001>
                +0 %{ spurious_timeouts == 1, retransmits == 1, cwnd >= 10000 }%
                """)
    }

    @Test("RFC 5682 §3.1, step 3a: a report of the new data alone does not")
    func frtoSACKFails() throws {
        try ScriptRunner.play(
            Self.timedOutWithSACK + """
                +.05 < . 1:1(0) ack 1001 win 65535 <nop,nop,sack 11001:12001>
                +0 > P. 1001:2001(1000) ack 1
                +0 > P. 2001:3001(1000) ack 1
                +0 %{ spurious_timeouts == 0 }%
                """)
    }

    // MARK: Duplicates reported by the peer

    private static let recovered =
        OptionScriptTests.withSACK + "+0 write(10000) = 10000\n" + segments(0..<10, size: 1000, pushesLast: true) + """
            +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>
            +0 > P. 1:1001(1000) ack 1
            +0 %{ cwnd == 7000 }%

            """

    @Test("RFC 3708: when all that went again has come twice, the reduction is taken back, also after the recovery")
    func duplicateUndo() throws {
        try ScriptRunner.play(
            Self.recovered + """
                +.02 < . 1:1(0) ack 10001 win 65535
                +0 %{ cwnd == 7000, spurious_recoveries == 0 }%
                +.08 < . 1:1(0) ack 10001 win 65535 <nop,nop,sack 1:1001>
                +0 %{ cwnd == 10000, spurious_recoveries == 1 }%
                """)
    }

    @Test("a part of what went again, reported, takes nothing back; nor does what went long before")
    func partialDuplicates() throws {
        try ScriptRunner.play(
            Self.recovered + """
                +.02 < . 1:1(0) ack 10001 win 65535
                +.08 < . 1:1(0) ack 10001 win 65535 <nop,nop,sack 1:501>
                +0 < . 1:1(0) ack 10001 win 65535 <nop,nop,sack 4294967000:4294967290>
                +0 < . 1:1(0) ack 10001 win 65535 <nop,nop,sack 10001:11001>
                +0 < . 1:1(0) ack 10001 win 65535 <nop,nop,sack 501:501>
                +0 %{ cwnd == 7000, spurious_recoveries == 0 }%
                """)
    }

    @Test("RFC 3708 §4: duplicates of what was sent before the recovery began say nothing of it")
    func duplicatesFromBefore() throws {
        let flight = (1...10).map { number in
            "+0 > \(number == 10 ? "P." : ".") \(1 + number * 1000):\(1001 + number * 1000)(1000) ack 1\n"
        }
        try ScriptRunner.play(
            OptionScriptTests.withSACK + """
                +0 write(1000) = 1000
                +0 > P. 1:1001(1000) ack 1
                +.1 < . 1:1(0) ack 1001 win 65535
                +0 write(10000) = 10000

                """ + flight.joined() + """
                    +.1 < . 1:1(0) ack 1001 win 65535 <nop,nop,sack 2001:5001>
                    +0 > P. 1001:2001(1000) ack 1
                    +.02 < . 1:1(0) ack 11001 win 65535
                    +.08 < . 1:1(0) ack 11001 win 65535 <nop,nop,sack 1:1001>
                    +0 %{ spurious_recoveries == 0 }%
                    +0 < . 1:1(0) ack 11001 win 65535 <nop,nop,sack 1001:2001>
                    +0 %{ spurious_recoveries == 1 }%
                    """)
    }

    @Test("RFC 8985 §6.2, step 4: a DSACK doubles the reordering window")
    func widerWindow() throws {
        try ScriptRunner.play(
            OptionScriptTests.withSACK + """
                +0 write(1000) = 1000
                +0 > P. 1:1001(1000) ack 1
                +.1 < . 1:1(0) ack 1001 win 65535
                +0 < . 1:1(0) ack 1001 win 65535 <nop,nop,sack 1:1001>
                +0 write(5000) = 5000
                +0 > . 1001:2001(1000) ack 1
                +0 > . 2001:3001(1000) ack 1
                +0 > . 3001:4001(1000) ack 1
                +0 > . 4001:5001(1000) ack 1
                +0 > P. 5001:6001(1000) ack 1
                +.1 < . 1:1(0) ack 1001 win 65535 <nop,nop,sack 2001:3001>
                +.05 > P. 1001:2001(1000) ack 1
                """)
    }

    @Test("RFC 8985 §6.2, step 3: an ACK that both acknowledges and reports is no sign of reordering")
    func noFalseReordering() throws {
        try ScriptRunner.play(
            OptionScriptTests.withSACK + """
                +0 write(8000) = 8000
                """ + "\n" + Self.segments(0..<8, size: 1000, pushesLast: true) + """
                    +.1 < . 1:1(0) ack 3001 win 65535 <nop,nop,sack 4001:7001>
                    +0 > P. 3001:4001(1000) ack 1
                    """)
    }

    // MARK: Timestamps

    /// A connection with timestamps, at 0.1 s, and ten segments of 988 bytes that leave then.
    private static let stamped =
        """
        0 listen() = 0
        +0 < S 0:0(0) win 65535 <mss 1000,sackOK,TS val 1000 ecr 0>
        +0 > S. 0:0(0) ack 1 <...>
        +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,TS val 1100 ecr 0>
        +0 accept() = 0
        +0 setsockopt(TCP_NODELAY, 1) = 0
        +0 write(9880) = 9880

        """
        + (0..<10).map { number in
            "+0 > \(number == 9 ? "P." : ".") \(1 + number * 988):\(989 + number * 988)(988) ack 1 <...>\n"
        }.joined()

    @Test(
        "RFC 3522 §3.2: an echo from before the first retransmission shows that the original arrived, and cwnd is back",
        arguments: [(100, 1), (199, 1), (200, 0), (220, 0)])
    func eifel(echo: Int, undone: Int) throws {
        try ScriptRunner.play(
            Self.stamped + """
                +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,TS val 1200 ecr 100,nop,nop,sack 989:3953>
                +0 > P. 1:989(988) ack 1 <...>
                +0 %{ cwnd == 6916 }%
                +.02 < . 1:1(0) ack 9881 win 65535 <nop,nop,TS val 1220 ecr \(echo)>
                +0 %{ spurious_recoveries == \(undone), cwnd \(undone == 1 ? "== 9880" : "< 9880") }%
                """)
    }

    @Test("RFC 3522 §3.2, step 5: with a DSACK the echo says nothing of the reduction, for ACKs have been lost")
    func eifelWithDuplicate() throws {
        try ScriptRunner.play(
            Self.stamped + """
                +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,TS val 1200 ecr 100,nop,nop,sack 989:3953>
                +0 > P. 1:989(988) ack 1 <...>
                +.02 < . 1:1(0) ack 9881 win 65535 <nop,nop,TS val 1220 ecr 100,nop,nop,sack 1:501>
                +0 %{ spurious_recoveries == 0, cwnd < 9880 }%
                """)
    }

    @Test("RFC 4015 §3.2: a timeout that an echo shows to be spurious is taken back, and the next waits for as long")
    func eifelTimeout() throws {
        for (echo, undone) in [(100, 1), (1110, 0)] {
            try ScriptRunner.play(
                Self.stamped + """
                    +.9~+1.1 > P. 1:989(988) ack 1 <...>
                    +.2 < . 1:1(0) ack 9881 win 65535 <nop,nop,TS val 2000 ecr \(echo)>
                    +0 %{ spurious_timeouts == \(undone), srtt \(undone == 1 ? ">=" : "<") 500000 }%
                    """)
        }
    }

    // MARK: Tail-loss probes

    @Test("RFC 8985 §7.3: a probe carries new data if there is some, also beyond cwnd")
    func newDataProbe() throws {
        try ScriptRunner.play(
            OptionScriptTests.withSACK + "+0 write(12000) = 12000\n" + Self.segments(0..<10, size: 1000) + """
                +.15~+.25 > P. 10001:11001(1000) ack 1
                +.05 < . 1:1(0) ack 11001 win 65535
                +0 > P. 11001:12001(1000) ack 1
                +0 %{ tail_repairs == 0, retransmits == 0, cwnd >= 10000 }%
                """)
    }

    private static let probed =
        OptionScriptTests.withSACK + "+0 write(3000) = 3000\n" + segments(0..<3, size: 1000, pushesLast: true) + """
            +.1 < . 1:1(0) ack 2001 win 65535
            +.15~+.4 > P. 2001:3001(1000) ack 1

            """
    private static let next = """
        +0 write(1000) = 1000
        +0 > P. 3001:4001(1000) ack 1
        +.1 < . 1:1(0) ack 4001 win 65535

        """

    @Test("RFC 8985 §7.4.2: a probe that has filled a hole has hidden a loss, for which the window is reduced")
    func repairingProbe() throws {
        try ScriptRunner.play(
            Self.probed + "+.1 < . 1:1(0) ack 3001 win 65535\n" + Self.next + """
                +0 %{ tail_repairs == 1, cwnd < 10000, ssthresh < 10000 }%
                """)
    }

    @Test(
        "RFC 8985 §7.4.2: a probe that was not needed reduces nothing",
        arguments: ["<nop,nop,sack 2001:3001>", ""])
    func needlessProbe(report: String) throws {
        try ScriptRunner.play(
            Self.probed + """
                +.05 < . 1:1(0) ack 3001 win 65535
                +.05 < . 1:1(0) ack 3001 win 65535 \(report)

                """ + Self.next + "+0 %{ cwnd == 10000 }%\n")
    }
}
