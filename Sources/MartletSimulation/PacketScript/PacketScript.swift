// Packet scripts: what a peer sends, what a program calls and what must come of it, a line each.
//
// The language is close to that of packetdrill (Cardwell et al., USENIX ATC 2013), so that its scripts need few changes:
//
//     +0   connect()
//     +0   > S 0:0(0) win * <mss 1460,sackOK,...>            expected from the stack
//     +.1  < S. 0:0(0) ack 1 win 65535 <mss 1460>            injected
//     +0   > . 1:1(0) ack 1
//     +0   %{ state == ESTABLISHED, cwnd == 10 }%            a look at the connection
//
// This room reads and writes scripts. Nothing is run here; it knows no stack, no clock and no connection.

/// A packet script: its lines in order.
///
///     line  = time ( packet | call | "%{" comparison { "," comparison } "}%" ) [ comment ]
///     time  = [ "+" ] seconds [ "~" [ "+" ] seconds ] | "*"
///     packet = ( "<" | ">" ) [ ecn ] ( segment | "icmp" message )
///
/// Empty lines are skipped, and comments from `//` or `#` to the end of the line. ``description`` is the script in
/// canonical form: reading it again gives the same events.
public struct PacketScript: Hashable, Sendable {
    /// The lines that say something.
    public var lines: [Line]

    /// A script of these lines.
    public init(lines: [Line]) {
        self.lines = lines
    }

    /// Reads a script.
    ///
    /// - Throws: the first ``SyntaxError`` in it.
    public init(_ text: String) throws(SyntaxError) {
        lines = []
        var number = 1
        var line: [UInt8] = []
        for byte in text.utf8 {
            if byte != UInt8(ascii: "\n") {
                line.append(byte)
                continue
            }
            try append(line, number: number)
            line.removeAll(keepingCapacity: true)
            number += 1
        }
        try append(line, number: number)
    }

    private mutating func append(_ bytes: [UInt8], number: Int) throws(SyntaxError) {
        var scanner = ScriptScanner(line: number, bytes)
        if scanner.isAtEnd { return }
        lines.append(try Line(from: &scanner))
    }
}

extension PacketScript: CustomStringConvertible {
    /// The script in canonical form, a line each, without comments.
    public var description: String {
        lines.map { $0.description + "\n" }.joined()
    }
}

extension PacketScript {
    /// One line: when, and what.
    public struct Line: Hashable, Sendable, CustomStringConvertible {
        /// The number of the line in its script, from 1.
        public var number: Int
        public var time: Time
        public var event: Event

        /// A line with this number.
        public init(number: Int, time: Time, event: Event) {
            self.number = number
            self.time = time
            self.event = event
        }

        /// The line in canonical form.
        public var description: String { "\(time) \(event)" }

        init(from scanner: inout ScriptScanner) throws(SyntaxError) {
            number = scanner.line
            let start = scanner.here
            time = try Time(from: &scanner)
            event = try Event(from: &scanner)
            if !scanner.isAtEnd { throw scanner.failure(expecting: "the end of the line") }
            if case .expect = event { return }
            guard time.isExact else {
                throw scanner.failure(at: start, expecting: "one time; only an expected packet may have several")
            }
        }
    }

    /// What a line says.
    public enum Event: Hashable, Sendable, CustomStringConvertible {
        /// `<`: a packet that the peer sends.
        case inject(Packet)
        /// `>`: a packet that the stack has to send.
        case expect(Packet)
        /// What the program does, and what comes back.
        case call(UserCall)
        /// `%{ … }%`: what has to be true of the connection.
        case check([Comparison])

        /// The event in canonical form.
        public var description: String {
            switch self {
            case .inject(let packet): "< \(packet)"
            case .expect(let packet): "> \(packet)"
            case .call(let call): call.description
            case .check(let comparisons): "%{ \(comparisons.map(\.description).joined(separator: ", ")) }%"
            }
        }

        init(from scanner: inout ScriptScanner) throws(SyntaxError) {
            if scanner.take("<") {
                self = .inject(try Packet(from: &scanner, isExpected: false))
            } else if scanner.take(">") {
                self = .expect(try Packet(from: &scanner, isExpected: true))
            } else if scanner.take("%{") {
                var comparisons: [Comparison] = []
                repeat { comparisons.append(try Comparison(from: &scanner)) } while scanner.take(",")
                try scanner.expect("}%", "\",\" or \"}%\"")
                self = .check(comparisons)
            } else {
                self = .call(try UserCall(from: &scanner))
            }
        }
    }

    /// A packet of either kind.
    public enum Packet: Hashable, Sendable, CustomStringConvertible {
        case tcp(Segment)
        case icmp(ICMPMessage)

        /// The packet in canonical form.
        public var description: String {
            switch self {
            case .tcp(let segment): segment.description
            case .icmp(let message): message.description
            }
        }

        init(from scanner: inout ScriptScanner, isExpected: Bool) throws(SyntaxError) {
            if scanner.takeWord("icmp") {
                self = .icmp(try ICMPMessage(from: &scanner))
            } else {
                self = .tcp(try Segment(from: &scanner, isExpected: isExpected))
            }
        }
    }
}
