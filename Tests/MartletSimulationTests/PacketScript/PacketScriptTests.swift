// Scripts that are right: what they mean, and that they come back the same.

import MartletSimulation
import MartletStack
import Testing

@Suite struct PacketScriptTests {
    static func event(_ line: String) throws -> PacketScript.Event {
        let script = try PacketScript(line)
        try #require(script.lines.count == 1)
        return script.lines[0].event
    }

    @Test func `A handshake is read into what it says`() throws {
        let script = try PacketScript(
            """
            // A passive open.
            0     listen()
            +0.1  < S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>   # from the peer

            +0    > S. 0:0(0) ack 1 <...>
            +.02  < . 1:1(0) ack 1 win 257
            +0    accept() = 0
            """)
        #expect(script.lines.map(\.number) == [2, 3, 5, 6, 7])
        #expect(script.lines[0].time == .at(.zero))
        #expect(script.lines[1].time == .after(.milliseconds(100)))
        #expect(script.lines[3].time == .after(.milliseconds(20)))
        let options: [PacketScript.Option] = [
            .maximumSegmentSize(1460), .sackPermitted, .timestamps(value: 1, echoReply: 0), .noOperation,
            .windowScale(7),
        ]
        #expect(
            script.lines.map(\.event) == [
                .call(PacketScript.UserCall(.listen)),
                .inject(
                    .tcp(PacketScript.Segment(flags: .syn, sequence: 0, window: 65_535, options: .exactly(options)))),
                .expect(
                    .tcp(PacketScript.Segment(flags: [.syn, .ack], sequence: 0, acknowledgment: 1, options: .any))),
                .inject(.tcp(PacketScript.Segment(flags: .ack, sequence: 1, acknowledgment: 1, window: 257))),
                .call(PacketScript.UserCall(.accept, result: PacketScript.UserCall.Result(0))),
            ])
    }

    @Test(arguments: [
        ("0", 0, 0), ("0.5", 500_000_000, 500_000_000), ("0.500", 500_000_000, 500_000_000), (".000000001", 1, 1),
        ("3.", 3_000_000_000, 3_000_000_000), ("999999999.999999999", 999_999_999_999_999_999, 999_999_999_999_999_999),
        ("0.1~0.3", 100_000_000, 300_000_000), ("1~1", 1_000_000_000, 1_000_000_000),
    ])
    func `Times are exact to the nanosecond, absolute and relative`(text: String, first: Int64, last: Int64) throws {
        let absolute = try PacketScript("\(text) > R 0:0(0)").lines[0].time
        #expect(absolute == .absolute(Instant(nanoseconds: first)...Instant(nanoseconds: last)))
        let relativeText = "+" + text.split(separator: "~").joined(separator: "~+")
        let relative = try PacketScript("\(relativeText) > R 0:0(0)").lines[0].time
        #expect(relative == .relative(.nanoseconds(first) ... .nanoseconds(last)))
        #expect(absolute.isExact == (first == last) && relative.isExact == (first == last))
    }

    @Test func `A star is any time, for what is expected`() throws {
        #expect(try PacketScript("* > R 0:0(0)").lines[0].time == .any)
        #expect(!PacketScript.Time.any.isExact)
    }

    static let letters: [(String, PacketScript.Flags)] = [
        ("S", .syn), ("F", .fin), ("R", .rst), ("P", .psh), ("U", .urg), ("E", .ece), ("W", .cwr),
        ("-", []), ("SEW", [.syn, .ece, .cwr]), ("SFRPUEW", [.syn, .fin, .rst, .psh, .urg, .ece, .cwr]),
        ("WEUPRFS", [.syn, .fin, .rst, .psh, .urg, .ece, .cwr]),
    ]

    @Test(arguments: letters)
    func `Each flag has its letter, in any order`(letters: String, flags: PacketScript.Flags) throws {
        #expect(
            try Self.event("+0 < \(letters) 5:5(0)")
                == .inject(.tcp(PacketScript.Segment(flags: flags, sequence: 5))))
        if letters != "-" {
            #expect(
                try Self.event("+0 < .\(letters) 5:5(0) ack 9")
                    == .inject(.tcp(PacketScript.Segment(flags: flags.union(.ack), sequence: 5, acknowledgment: 9))))
        }
    }

    @Test(arguments: [
        (
            "< P. 1:1001(1000) ack 1 win 10",
            PacketScript.Segment(
                flags: [.psh, .ack], sequence: 1, length: 1000, acknowledgment: 1, window: 10)
        ),
        (
            "< PU. 1:2(1) ack 4294967295 win 0 urg 65535",
            PacketScript.Segment(
                flags: [.psh, .urg, .ack], sequence: 1, length: 1, acknowledgment: .max, window: 0, urgent: 65_535)
        ),
        ("< U 1:1(0)", PacketScript.Segment(flags: .urg, sequence: 1)),
        ("< R 4294967295:4(5)", PacketScript.Segment(flags: .rst, sequence: .max, length: 5)),
        ("< R 0:65495(65495)", PacketScript.Segment(flags: .rst, sequence: 0, length: 65_495)),
        ("< [ect0] R 1:1(0)", PacketScript.Segment(ecn: .ect0, flags: .rst, sequence: 1)),
        ("< [ect1] R 1:1(0)", PacketScript.Segment(ecn: .ect1, flags: .rst, sequence: 1)),
        ("< [ce] R 1:1(0)", PacketScript.Segment(ecn: .ce, flags: .rst, sequence: 1)),
        ("<[noecn]R 1:1(0)", PacketScript.Segment(ecn: .notECT, flags: .rst, sequence: 1)),
        ("<\tR \t 1 : 1 ( 0 )\r", PacketScript.Segment(flags: .rst, sequence: 1)),
    ])
    func `Segments are read with all their parts`(line: String, segment: PacketScript.Segment) throws {
        #expect(try Self.event("+0 \(line)") == .inject(.tcp(segment)))
    }

    @Test(arguments: [
        (
            "sack 1:1001 2001:3001,nop,nop",
            [
                PacketScript.Option.sack([
                    PacketScript.SACKBlock(start: 1, end: 1001), PacketScript.SACKBlock(start: 2001, end: 3001),
                ]), .noOperation, .noOperation,
            ]
        ),
        ("fo,nop,nop", [.fastOpen(cookie: []), .noOperation, .noOperation]),
        ("fo 0123ABcd,eol,eol", [.fastOpen(cookie: [0x01, 0x23, 0xAB, 0xCD]), .endOfList, .endOfList]),
        ("kind 254 f989", [.other(kind: 254, bytes: [0xF9, 0x89])]),
        ("kind 255,kind 6", [.other(kind: 255, bytes: []), .other(kind: 6, bytes: [])]),
        (" mss 65535 , eol , wscale 255 ", [.maximumSegmentSize(65_535), .endOfList, .windowScale(255)]),
        ("TS val 4294967295 ecr 4294967295,sackOK", [.timestamps(value: .max, echoReply: .max), .sackPermitted]),
        (
            "sack 1:2 3:4 5:6 7:8,nop,nop,mss 1",
            [
                .sack([1, 3, 5, 7].map { PacketScript.SACKBlock(start: $0, end: $0 + 1) }), .noOperation, .noOperation,
                .maximumSegmentSize(1),
            ]
        ),
    ])
    func `Options are read in their order`(text: String, options: [PacketScript.Option]) throws {
        #expect(
            try Self.event("+0 < R 0:0(0) <\(text)>")
                == .inject(.tcp(PacketScript.Segment(flags: .rst, sequence: 0, options: .exactly(options)))))
    }

    @Test(arguments: [
        ("connect()", PacketScript.UserCall.Call.connect), ("listen()", .listen), ("accept()", .accept),
        ("write(1000)", .write(1000)), ("read( 500 )", .read(500)), ("shutdown(SHUT_WR)", .shutdown(.sending)),
        ("shutdown(SHUT_RD)", .shutdown(.receiving)), ("shutdown(SHUT_RDWR)", .shutdown(.both)), ("close()", .close),
        ("abort()", .abort), ("setsockopt(TCP_NODELAY, 1)", .setsockopt(name: "TCP_NODELAY", value: .number(1))),
        ("setsockopt(congestion,cubic)", .setsockopt(name: "congestion", value: .name("cubic"))),
        ("setsockopt(x, -5)", .setsockopt(name: "x", value: .number(-5))),
    ])
    func `Calls are read with and without a result`(text: String, call: PacketScript.UserCall.Call) throws {
        #expect(try Self.event("+0 \(text)") == .call(PacketScript.UserCall(call)))
        for (resultText, result) in [
            ("= 500", PacketScript.UserCall.Result(500)), ("=-1", PacketScript.UserCall.Result(-1)),
            ("= -1 ECONNRESET // why", PacketScript.UserCall.Result(-1, error: "ECONNRESET")),
        ] {
            #expect(try Self.event("+0 \(text) \(resultText)") == .call(PacketScript.UserCall(call, result: result)))
        }
    }

    @Test func `Checks are comparisons of a field, an operator and a value`() throws {
        #expect(
            try Self.event("+0 %{ state == ESTABLISHED, cwnd!=10,snd.una<1, a<=-2 , b>3, c >= x_1 }%")
                == .check([
                    PacketScript.Comparison("state", .equal, .name("ESTABLISHED")),
                    PacketScript.Comparison("cwnd", .notEqual, .number(10)),
                    PacketScript.Comparison("snd.una", .less, .number(1)),
                    PacketScript.Comparison("a", .lessOrEqual, .number(-2)),
                    PacketScript.Comparison("b", .greater, .number(3)),
                    PacketScript.Comparison("c", .greaterOrEqual, .name("x_1")),
                ]))
    }

    @Test func `Comparisons hold when they should`() {
        let holds = PacketScript.Comparator.allCases.map { comparator in
            (0...2).map { comparator.holds($0, 1) }
        }
        #expect(
            holds == [
                [false, true, false], [true, false, true], [true, true, false], [false, true, true],
                [true, false, false], [false, false, true],
            ])
    }

    @Test func `ICMP errors are read with their reason, MTU and quoted segment`() throws {
        let quoted = PacketScript.ICMPMessage.Quoted(sequence: 1, length: 1460)
        #expect(
            try Self.event("+0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]")
                == .inject(.icmp(PacketScript.ICMPMessage(.fragmentationNeeded, mtu: 1200, quoted: quoted))))
        for reason in PacketScript.ICMPMessage.Reason.allCases where reason != .fragmentationNeeded {
            #expect(
                try Self.event("+0 > icmp \(reason.rawValue)")
                    == .expect(.icmp(PacketScript.ICMPMessage(reason))))
            #expect(
                try Self.event("+0 < icmp \(reason.rawValue) [1:1461(1460)]")
                    == .inject(.icmp(PacketScript.ICMPMessage(reason, quoted: quoted))))
        }
    }

    @Test func `Lines that say nothing are skipped, whatever ends them`() throws {
        #expect(try PacketScript("").lines.isEmpty)
        #expect(try PacketScript("\n\n  \t\r\n// é 日本\n#\n  # x").lines.isEmpty)
        let script = try PacketScript("\r\n+0 close() # é\r\n+0 abort()//\r\n")
        #expect(script.lines.map(\.number) == [2, 3])
        #expect(script.description == "+0 close()\n+0 abort()\n")
    }

    @Test(arguments: [
        (
            "+.1   <S 0:0(0)  win 65535<mss 1460 ,sackOK, nop,nop>",
            "+0.1 < S 0:0(0) win 65535 <mss 1460,sackOK,nop,nop>"
        ),
        ("+.100~+.30 > .WES 0:0(0) ack 1 win * <...>", "+0.1~+0.3 > SEW. 0:0(0) ack 1 <...>"),
        ("0.500 write( 010 )=10 // x", "0.5 write(10) = 10"),
        ("* > - 1:1(0)", "* > - 1:1(0)"),
        ("+0 %{a==1,b!=two}%", "+0 %{ a == 1, b != two }%"),
        ("+0 < R 0:0(0) <FO AB,nop>", "+0 < R 0:0(0) <fo ab,nop>"),
        ("1~2 > [ce] R 0:0(0)", "1~2 > [ce] R 0:0(0)"),
        ("+0 < icmp  time_exceeded  ttl [ 1 : 2 ( 1 ) ]", "+0 < icmp time_exceeded ttl [1:2(1)]"),
        ("+0 setsockopt( a,b ) = -1 EINVAL", "+0 setsockopt(a, b) = -1 EINVAL"),
        ("1.000000001 close()", "1.000000001 close()"),
    ])
    func `A line is printed in its canonical form`(line: String, canonical: String) throws {
        #expect(try PacketScript(line).description == canonical + "\n")
        #expect(try PacketScript(canonical).description == canonical + "\n")
    }

    @Test(arguments: UInt64(1)...20)
    func `Any script comes back from its own text`(seed: UInt64) throws {
        var random = ScriptGenerator(seed: seed)
        let script = random.script(lineCount: 100)
        let text = script.description
        let again = try #require(try? PacketScript(text), "seed \(seed)\n\(text)")
        for (line, lineAgain) in zip(script.lines, again.lines) where line != lineAgain {
            Issue.record("seed \(seed): \(line) came back as \(lineAgain)")
        }
        #expect(again == script, "seed \(seed)")
    }
}
