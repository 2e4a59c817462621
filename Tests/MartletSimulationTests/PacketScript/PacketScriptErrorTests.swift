// Scripts that are wrong: each is refused where it is wrong, with a word about what would be right.

import MartletSimulation
import Testing

@Suite struct PacketScriptErrorTests {
    /// A caret under each line marks the column of the error.
    static func check(_ line: String, column: Int, expecting part: String, found: String? = nil) {
        do {
            let script = try PacketScript("\n" + line)
            Issue.record("accepted \(line) as \(script)")
        } catch {
            #expect(error.line == 2, "\(line)")
            #expect(error.column == column, "\(line): \(error)")
            #expect(error.expected.contains(part), "\(line): \(error)")
            if let found { #expect(error.found == found, "\(line): \(error)") }
        }
    }

    @Test(arguments: [
        ("x", 1), ("+", 2), ("+ close()", 3), (".", 1), ("+.", 2), ("-1 close()", 1), ("0.1234567890 close()", 1),
        ("1234567890 close()", 1), ("close()", 1), ("< S 0:0(0)", 1), ("++1 close()", 2), ("~1 > R 0:0(0)", 1),
        ("+1~+ > R 0:0(0)", 6), ("1~ > R 0:0(0)", 4), ("**", 2),
    ])
    func `A time that is none`(line: String, column: Int) {
        Self.check(line, column: column, expecting: line == "**" ? "call" : "a time")
    }

    @Test func `A range that goes back, or mixes kinds of times`() {
        Self.check("+.3~+.1 > R 0:0(0)", column: 5, expecting: "not before")
        Self.check("+.1~.3 > R 0:0(0)", column: 5, expecting: "\"+\"")
        Self.check("0.1~+.3 > R 0:0(0)", column: 5, expecting: "a time")
    }

    @Test(arguments: ["< S 0:0(0)", "close()", "%{ a == 1 }%", "< icmp unreachable net_unreachable"])
    func `Only what is expected may have several times`(event: String) {
        for time in ["*", "+0~+1", "0~1"] {
            Self.check("  \(time) \(event)", column: 3, expecting: "one time")
        }
    }

    @Test(arguments: [
        ("+0", 3, "call"), ("+0 ", 3, "call"), ("+0 // close()", 3, "call"), ("+0 foo()", 4, "call"),
        ("+0 5", 4, "call"),
        ("+0 = S", 4, "call"), ("+0 CLOSE()", 4, "call"), ("+0 closed()", 4, "call"), ("+0 é", 4, "call"),
        ("+0 close", 9, "\"(\""), ("+0 close(", 10, "\")\""), ("+0 close(1)", 10, "\")\""), ("+0 close() 5", 12, "end"),
        ("+0 close() =", 13, "a result"), ("+0 close() = x", 14, "a result"), ("+0 close() = - 1 2", 18, "name"),
        ("+0 close() = -1 E F", 19, "end"), ("+0 close() = 99999999999999999999", 14, "a result"),
        ("+0 write()", 10, "bytes"), ("+0 write(-1)", 10, "bytes"), ("+0 write(1k)", 10, "bytes"),
        ("+0 write(1, 2)", 11, "\")\""), ("+0 read(99999999999999999999)", 9, "bytes"),
        ("+0 shutdown()", 13, "SHUT_RD, SHUT_WR"), ("+0 shutdown(SHUT_W)", 13, "SHUT_WR"),
        ("+0 shutdown(1)", 13, "SHUT_WR"), ("+0 setsockopt(a)", 16, "\",\""), ("+0 setsockopt(1, 2)", 15, "option"),
        ("+0 setsockopt(a, )", 18, "number or a name"), ("+0 setsockopt(a, 1x)", 18, "number"),
        ("+0 setsockopt(a, b c)", 20, "\")\""),
    ])
    func `A call that is none, or has the wrong arguments or result`(line: String, column: Int, expected: String) {
        Self.check(line, column: column, expecting: expected)
    }

    @Test(arguments: [
        ("+0 <", 5, "flags"), ("+0 < X 0:0(0)", 6, "flags"), ("+0 < s 0:0(0)", 6, "flags"),
        ("+0 < SS 0:0(0)", 6, "flags"),
        ("+0 < S- 0:0(0)", 6, "flags"), ("+0 < S0:0(0)", 6, "flags"), ("+0 < 0:0(0)", 6, "flags"),
        ("+0 < [ect2] S 0:0(0)", 6, "flags"), ("+0 < [ect0]", 12, "flags"), ("+0 < S", 7, "sequence"),
        ("+0 < S 0", 9, "\":\""), ("+0 < S 0:", 10, "sequence"), ("+0 < S 0:0", 11, "\"(\""),
        ("+0 < S 0:0(", 12, "length"),
        ("+0 < S 0:0(0", 13, "\")\""), ("+0 < S 0:0()", 12, "length"), ("+0 < S 0:1(0)", 10, "0, which is 0 + 0"),
        ("+0 < S 5:4(1)", 10, "6, which is 5 + 1"), ("+0 < S 4294967296:0(0)", 8, "up to 4294967295"),
        ("+0 < S -1:0(1)", 8, "sequence"), ("+0 < S 0:65496(65496)", 16, "up to 65495"),
        ("+0 < S 0x0:0(0)", 8, "sequence"),
        ("+0 < S 0:0(0) ack 1", 6, "\".\""), ("+0 < S. 0:0(0)", 6, "\".\""),
        ("+0 < . 0:0(0) ack", 18, "acknowledgment"),
        ("+0 < . 0:0(0) ack -1", 19, "acknowledgment"), ("+0 < . 0:0(0) ack1", 15, "end"),
        ("+0 < S 0:0(0) win", 18, "window"), ("+0 < S 0:0(0) win 65536", 19, "up to 65535"),
        ("+0 < S 0:0(0) win *", 19, "window"), ("+0 < S 0:0(0) urg 1", 6, "\"U\""), ("+0 < U 0:0(0) urg", 18, "urgent"),
        ("+0 < U 0:0(0) urg 65536", 19, "up to 65535"), ("+0 < S 0:0(0) foo", 15, "end"),
        ("+0 < . 0:0(0) win 1 ack 1", 21, "end"), ("+0 < S 0:0(0) win 1 win 2", 21, "end"),
        ("+0 << S 0:0(0)", 5, "flags"),
    ])
    func `A segment that is none`(line: String, column: Int, expected: String) {
        Self.check(line, column: column, expecting: expected)
    }

    @Test(arguments: [
        ("<", 16, "option"), ("<>", 16, "option"), ("<mss 1460", 24, "\",\" or \">\""), ("<mss 1460,>", 25, "option"),
        ("<,mss 1460>", 16, "option"), ("<mss>", 19, "size"), ("<mss 65536>", 20, "up to 65535"),
        ("<mss 1460 nop>", 25, "\",\""),
        ("<MSS 1460>", 16, "option"), ("<foo>", 16, "option"), ("<1>", 16, "option"),
        ("<wscale 256,nop>", 23, "up to 255"),
        ("<wscale 7>", 16, "multiple of four bytes, not 3"), ("<nop>", 16, "not 1"), ("<sackOK>", 16, "not 2"),
        ("<sack,nop,nop>", 20, "sequence"), ("<sack 1,nop,nop>", 22, "\":\""), ("<sack 1:,nop,nop>", 23, "sequence"),
        ("<sack 1:2 3,nop,nop>", 26, "\":\""), ("<sack 1:2 3:4 5:6 7:8 9:10>", 16, "at most 40 bytes, not 42"),
        ("<TS 1 2,nop,nop>", 19, "val"), ("<TS val 1,nop,nop>", 24, "ecr"),
        ("<TS val 1 ecr,nop,nop>", 28, "time stamp"),
        ("<TS val 4294967296 ecr 1>", 23, "up to 4294967295"), ("<fo 123>", 19, "hexadecimal"),
        ("<fo xy>", 19, "hexadecimal"),
        ("<kind>", 20, "kind"), ("<kind 256>", 21, "up to 255"), ("<kind 2 05b4>", 21, "no name of its own"),
        ("<kind 9 0>", 23, "hexadecimal"), ("<...>", 16, "option"),
        ("<mss 1,mss 1,mss 1,mss 1,mss 1,mss 1,mss 1,mss 1,mss 1,mss 1,nop>", 76, "at most 40"),
        ("<mss 1> x", 23, "end"), ("<mss 1>>", 22, "end"),
    ])
    func `Options that are none, too many, or not padded`(options: String, column: Int, expected: String) {
        Self.check("+0 < S 0:0(0) \(options)", column: column, expecting: expected)
    }

    @Test func `Any options are all of them`() {
        Self.check("+0 > S 0:0(0) <...,nop>", column: 19, expecting: "\">\"")
        Self.check("+0 > S 0:0(0) <nop,...>", column: 20, expecting: "option")
        Self.check("+0 > S 0:0(0) <..>", column: 16, expecting: "option")
    }

    @Test(arguments: [
        ("%{", 6, "field"), ("%{ }%", 7, "field"), ("%{ a }%", 9, "comparison"), ("%{ a = 1 }%", 9, "comparison"),
        ("%{ a === 1 }%", 11, "number or a name"), ("%{ a == }%", 12, "number or a name"), ("%{ a == 1", 13, "\"}%\""),
        ("%{ a == 1, }%", 15, "field"), ("%{ a == 1 b == 2 }%", 14, "\",\""), ("%{ 1 == a }%", 7, "field"),
        ("%{ .a == 1 }%", 7, "field"), ("%{ a == 1 }", 14, "\"}%\""), ("%{ a == 1 }% x", 17, "end"),
        ("{ a == 1 }", 4, "call"),
        ("%{ a == 9223372036854775808 }%", 12, "number"), ("%{ a == 1.5 }%", 13, "\"}%\""),
        ("%{ a == \"x\" }%", 12, "number"),
    ])
    func `A check that is none`(text: String, column: Int, expected: String) {
        Self.check("+0 \(text)", column: column, expecting: expected)
    }

    @Test(arguments: [
        ("icmp", 10, "unreachable or"), ("icmp unreach net_unreachable", 11, "unreachable or"),
        ("icmp unreachable", 22, "one of: net_"),
        ("icmp unreachable foo", 23, "port_unreachable"), ("icmp unreachable ttl", 23, "port_unreachable"),
        ("icmp time_exceeded port_unreachable", 25, "ttl, reassembly"), ("icmp unreachable frag_needed", 34, "mtu"),
        ("icmp unreachable frag_needed mtu", 38, "MTU"), ("icmp unreachable frag_needed mtu 65536", 39, "up to 65535"),
        ("icmp unreachable frag_needed mtu 1 1:2(1)", 41, "end"),
        ("icmp unreachable port_unreachable mtu 1", 40, "end"),
        ("icmp time_exceeded ttl [1:2(1)", 36, "\"]\""), ("icmp time_exceeded ttl [1:3(1)]", 32, "2, which is 1 + 1"),
        ("icmp time_exceeded ttl []", 30, "sequence"), ("icmp unreachable unreachable net_unreachable", 23, "one of"),
    ])
    func `An ICMP error that is none`(text: String, column: Int, expected: String) {
        Self.check("+0 < \(text)", column: column, expecting: expected)
    }

    @Test func `An error says where, what was expected, and what was found`() {
        Self.check("+0 < S 0:0(0) win many", column: 19, expecting: "window", found: "many")
        Self.check("+0 < S 0:0(0) win // 5", column: 18, expecting: "window", found: "")
        do {
            _ = try PacketScript("+0 close()\n+0 < X 0:0(0)")
        } catch {
            #expect(
                error.description
                    == "line 2, column 6: expected flags, each of S F R P U E W . at most once, or \"-\" for none, found \"X\""
            )
        }
        do {
            _ = try PacketScript("+0 close(")
        } catch {
            #expect(error.description == "line 1, column 10: expected \")\", found the end of the line")
        }
    }

    @Test(arguments: UInt64(1)...5)
    func `Every line that is cut off or has one byte changed is read or refused, and never traps`(seed: UInt64) {
        var generator = ScriptGenerator(seed: seed)
        for line in generator.script(lineCount: 20).lines {
            let text = Array(line.description.utf8)
            for length in text.indices { Self.readOrRefuse(text[..<length], seed: seed) }
            for index in text.indices {
                var changed = text
                changed[index] = generator.number()
                Self.readOrRefuse(changed[...], seed: seed)
            }
        }
    }

    /// What is read has to come back from its text; what is refused has to be refused within the line.
    static func readOrRefuse(_ bytes: ArraySlice<UInt8>, seed: UInt64) {
        let text = String(decoding: bytes, as: UTF8.self)
        do {
            let script = try PacketScript(text)
            let again = try? PacketScript(script.description)
            if again?.description != script.description { Issue.record("seed \(seed): \(text) became \(script)") }
        } catch {
            if error.column < 1 || error.column > text.utf8.count + 1 {
                Issue.record("seed \(seed): \(error) in \(text)")
            }
        }
    }
}
