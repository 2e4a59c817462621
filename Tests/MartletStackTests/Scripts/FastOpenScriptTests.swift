import Testing

@testable import MartletStack

/// RFC 7413, on the wire.
@Suite struct FastOpenScriptTests {
    private static func listening(_ pending: Int = 4) -> String {
        "0 setsockopt(TCP_FASTOPEN, \(pending)) = 0\n+0 listen() = 0\n"
    }

    /// What the stack of the scripts gives to their peer.
    private static var cookie: String { ScriptRunner.fastOpenCookie }

    @Test("§4.1.2: who asks for a cookie gets one in the SYN-ACK, and the handshake is as always")
    func request() throws {
        try ScriptRunner.play(
            Self.listening() + """
                +0 < S 0:0(0) win 65535 <mss 1000,fo,nop,nop>
                +0 > S. 0:0(0) ack 1 <mss 1460,fo \(Self.cookie),nop,nop>
                +.1 < . 1:1(0) ack 1 win 65535
                +0 accept() = 0
                +0 %{ state == ESTABLISHED }%
                """)
    }

    @Test("§4.2.2: data with the right cookie is read and answered before the handshake is complete")
    func data() throws {
        try ScriptRunner.play(
            Self.listening() + """
                +0 < S 0:500(500) win 65535 <mss 1000,fo \(Self.cookie),nop,nop>
                +0 > S. 0:0(0) ack 501 <mss 1460>
                +0 accept() = 0
                +0 read(1000) = 500
                +0 %{ state == SYN_RECEIVED }%
                +0 write(2000) = 2000
                +0 > . 1:1001(1000) ack 501
                +0 > P. 1001:2001(1000) ack 501
                +.1 < . 501:501(0) ack 2001 win 65535
                +0 %{ state == ESTABLISHED, bytes_received == 500 }%
                """)
    }

    @Test("a SYN-ACK of data that is lost goes again, and what was sent behind it goes again after the handshake")
    func lostSYNACK() throws {
        try ScriptRunner.play(
            Self.listening() + """
                +0 < S 0:500(500) win 65535 <mss 1000,fo \(Self.cookie),nop,nop>
                +0 > S. 0:0(0) ack 501 <...>
                +0 accept() = 0
                +0 write(100) = 100
                +0 > P. 1:101(100) ack 501
                +.9 < S 0:0(0) win 65535 <mss 1000>
                +0 > S. 0:0(0) ack 501 <...>
                +.1 > S. 0:0(0) ack 501 <...>
                +.1 < . 501:501(0) ack 1 win 65535
                +0~+4 > P. 1:101(100) ack 501
                +.1 < . 501:501(0) ack 101 win 65535
                +0 read(1000) = 500
                """)
    }

    @Test("§4.2.2: with a wrong cookie the data is not taken, and the SYN-ACK brings the right one")
    func wrongCookie() throws {
        try ScriptRunner.play(
            Self.listening() + """
                +0 < S 0:500(500) win 65535 <mss 1000,fo 0102030405060708,nop,nop>
                +0 > S. 0:0(0) ack 1 <mss 1460,fo \(Self.cookie),nop,nop>
                +.1 < P. 1:501(500) ack 1 win 65535
                +0 > . 1:1(0) ack 501
                +0 accept() = 0
                +0 read(1000) = 500
                """)
    }

    @Test("a client asks for a cookie, and sends no data with that")
    func asks() throws {
        try ScriptRunner.play(
            """
            0 setsockopt(TCP_FASTOPEN_CONNECT, 1) = 0
            +0 connect() = 0
            +0 > S 0:0(0) <mss 1460,sackOK,TS val 0 ecr 0,nop,wscale 7,fo,nop,nop>
            +.1 < S. 0:0(0) ack 1 win 65535 <mss 1400,fo 0102030405060708,nop,nop>
            +0 > . 1:1(0) ack 1
            """)
    }

    /// A client with a cookie, whose first connection has been reset, and that connects again and writes 500 bytes at once.
    private static let remembered = """
        0 setsockopt(TCP_FASTOPEN_CONNECT, 1) = 0
        +0 connect() = 0
        +0 > S 0:0(0) <...>
        +.1 < S. 0:0(0) ack 1 win 65535 <mss 1400,fo 0102030405060708,nop,nop>
        +0 > . 1:1(0) ack 1
        +0 < R 1:1(0) win 0
        +.1 connect() = 0
        +0 write(500) = 500

        """

    private static let syn = "<mss 1460,sackOK,TS val 200 ecr 0,nop,wscale 7,fo 0102030405060708,nop,nop>"

    @Test("§4.2.1: data goes with the SYN and the cookie, and is done if the SYN-ACK acknowledges it")
    func sendsData() throws {
        try ScriptRunner.play(
            Self.remembered + """
                +0 > S 0:500(500) \(Self.syn)
                +.1 < S. 0:0(0) ack 501 win 65535 <mss 1400>
                +0 > . 501:501(0) ack 1
                +0 write(10) = 10
                +0 > P. 501:511(10) ack 1
                """)
    }

    @Test("§4.2.1: data that the SYN-ACK does not acknowledge goes again at once, all or the rest")
    func repeatsData() throws {
        try ScriptRunner.play(
            Self.remembered + """
                +0 > S 0:500(500) \(Self.syn)
                +.1 < S. 0:0(0) ack 1 win 65535 <mss 1400>
                +0 > P. 1:501(500) ack 1
                """)
        try ScriptRunner.play(
            Self.remembered + """
                +0 > S 0:500(500) \(Self.syn)
                +.1 < S. 0:0(0) ack 201 win 65535 <mss 1400>
                +0 > P. 201:501(300) ack 1
                """)
    }

    @Test("§4.2.1: a SYN that goes again has neither data nor cookie; an answer to the first still counts")
    func repeatsSYN() throws {
        for ack in [1, 501] {
            try ScriptRunner.play(
                Self.remembered + """
                    +0 > S 0:500(500) \(Self.syn)
                    +1 > S 0:0(0) <mss 1460,sackOK,TS val 1200 ecr 0,nop,wscale 7>
                    +.1 < S. 0:0(0) ack \(ack) win 65535 <mss 1400>
                    +0 > \(ack == 1 ? "P. 1:501(500)" : ". 501:501(0)") ack 1
                    """)
        }
    }

    @Test("a server that resets a SYN with data refuses, as always")
    func refused() throws {
        try ScriptRunner.play(
            Self.remembered + """
                +0 > S 0:500(500) \(Self.syn)
                +.1 < R. 0:0(0) ack 501 win 0
                +0 %{ state == CLOSED, error == refused }%
                """)
    }
}
