import Testing

@testable import MartletStack

/// Scripts of what SACK blocks and ACKs say, and of what goes again for it.
@Suite struct ScoreboardScriptTests {
    private static let tenSegments =
        OptionScriptTests.withSACK + "+0 write(10000) = 10000\n" + SpuriousScriptTests.segments(0..<9, size: 1000)
        + "+0 > P. 9001:10001(1000) ack 1\n"

    @Test("RFC 2018 §8: a peer that has reported the first bytes, and does not acknowledge them, has thrown all away")
    func reneging() throws {
        try ScriptRunner.play(
            Self.tenSegments + """
                +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 1:10001>
                +.2~+2 > P. 1:1001(1000) ack 1
                +.1 < . 1:1(0) ack 1001 win 65535
                +0 > P. 1001:2001(1000) ack 1
                +0 > P. 2001:3001(1000) ack 1
                """)
    }

    @Test("blocks in any order, and each again, leave the holes that they describe: only those go again")
    func anyOrder() throws {
        try ScriptRunner.play(
            Self.tenSegments + """
                +.1 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 8001:9001 4001:5001>
                +0 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 4001:6001 8001:9001>
                +0 < . 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001 4001:6001 8001:9001>
                +0 %{ sacked == 4, lost == 0 }%
                +.02~+.03 > P. 1:1001(1000) ack 1
                +0 %{ sacked == 4, lost == 4 }%
                +.1 < . 1:1(0) ack 2001 win 65535 <nop,nop,sack 4001:6001 8001:9001>
                +0 > P. 2001:3001(1000) ack 1
                """)
    }

    @Test("RFC 5682 §2.1: until a timeout is repaired, a second one sends no new data in the place of what is lost")
    func frtoOnce() throws {
        try ScriptRunner.play(
            OptionScriptTests.withSACK + "+0 write(20000) = 20000\n" + SpuriousScriptTests.segments(0..<10, size: 1000)
                + """
                +.2~+.4 > P. 10001:11001(1000) ack 1
                +.2~+.4 > P. 1:1001(1000) ack 1
                +.1 < . 1:1(0) ack 1001 win 65535
                +0 > . 11001:12001(1000) ack 1
                +0 > . 12001:13001(1000) ack 1
                +.2~+3 > P. 1001:2001(1000) ack 1
                +.1 < . 1:1(0) ack 2001 win 65535
                +0 > P. 2001:3001(1000) ack 1
                +0 > P. 3001:4001(1000) ack 1
                """)
    }

    @Test("a FIN follows the last bytes, though a tail-loss probe has carried them")
    func finBehindProbe() throws {
        try ScriptRunner.play(
            OptionScriptTests.withSACK + "+0 write(11000) = 11000\n" + SpuriousScriptTests.segments(0..<10, size: 1000)
                + """
                +0 shutdown(SHUT_WR) = 0
                +.2~+.21 > P. 10001:11001(1000) ack 1
                +0 > F. 11001:11001(0) ack 1
                """)
    }
}
