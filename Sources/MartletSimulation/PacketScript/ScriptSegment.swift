// A TCP segment as a script writes it: numbers relative to the initial ones, and only what matters.
//
// Hold RFC 9293 §3.1 beside it. `seq` and `ack` count from each side's initial sequence number, so that a SYN is 0:0(0)
// and the first byte of data is number 1.

extension PacketScript {
    /// A TCP segment: one to send, or a pattern for one that is expected.
    ///
    ///     [ecn] flags start:end(length) [ "ack" n ] [ "win" n ] [ "urg" n ] [ "<" options ">" ]
    ///
    /// In a pattern, what is left out is not looked at; but without options there have to be none, as `<...>` says any.
    public struct Segment: Hashable, Sendable {
        /// The ECN field of the IP header. A segment sent without is Not-ECT.
        public var ecn: ECN?
        public var flags: Flags
        /// The sequence number, relative to the sender's initial one.
        public var sequence: UInt32
        /// Bytes of data.
        public var length: Int
        /// The acknowledgment number, relative to the receiver's initial one; with ``Flags/ack``, and only then.
        public var acknowledgment: UInt32?
        /// The field of the header as it stands, not scaled. A segment sent without offers 65,535.
        public var window: UInt16?
        /// The urgent pointer as it stands; only with ``Flags/urg``.
        public var urgent: UInt16?
        public var options: OptionPattern

        /// A segment. `length` is at most 65,495.
        public init(
            ecn: ECN? = nil, flags: Flags, sequence: UInt32, length: Int = 0, acknowledgment: UInt32? = nil,
            window: UInt16? = nil, urgent: UInt16? = nil, options: OptionPattern = .exactly([])
        ) {
            self.ecn = ecn
            self.flags = flags
            self.sequence = sequence
            self.length = length
            self.acknowledgment = acknowledgment
            self.window = window
            self.urgent = urgent
            self.options = options
        }

        /// As much data as an IPv4 packet with the shortest headers holds.
        public static let maximumLength = 65_495

        /// The number behind the last byte of data; SYN and FIN are not counted.
        public var end: UInt32 { sequence &+ UInt32(truncatingIfNeeded: length) }
    }

    /// The flags of a segment, with their bits in the header and their letters in scripts.
    public struct Flags: OptionSet, Hashable, Sendable {
        /// The byte of the header.
        public var rawValue: UInt8

        /// The flags of this byte of the header.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// `F`
        public static let fin = Flags(rawValue: 0x01)
        /// `S`
        public static let syn = Flags(rawValue: 0x02)
        /// `R`
        public static let rst = Flags(rawValue: 0x04)
        /// `P`
        public static let psh = Flags(rawValue: 0x08)
        /// `.`
        public static let ack = Flags(rawValue: 0x10)
        /// `U`
        public static let urg = Flags(rawValue: 0x20)
        /// `E`
        public static let ece = Flags(rawValue: 0x40)
        /// `W`
        public static let cwr = Flags(rawValue: 0x80)

        /// In the order in which they are written.
        static let letters: [(letter: Unicode.Scalar, flag: Flags)] = [
            ("S", .syn), ("F", .fin), ("R", .rst), ("P", .psh), ("U", .urg), ("E", .ece), ("W", .cwr), (".", .ack),
        ]
    }

    /// The ECN field of the IP header (RFC 3168 §5).
    public enum ECN: UInt8, Hashable, Sendable, CaseIterable {
        case notECT = 0b00
        case ect1 = 0b01
        case ect0 = 0b10
        case ce = 0b11
    }
}

// MARK: - Writing

extension PacketScript.Segment: CustomStringConvertible {
    /// The segment in canonical form.
    public var description: String {
        var text = ecn.map { "\($0) " } ?? ""
        text += "\(flags) \(sequence):\(end)(\(length))"
        if let acknowledgment { text += " ack \(acknowledgment)" }
        if let window { text += " win \(window)" }
        if let urgent { text += " urg \(urgent)" }
        let options = options.description
        return options.isEmpty ? text : "\(text) \(options)"
    }
}

extension PacketScript.Flags: CustomStringConvertible {
    /// The letters, or `-` if there is none.
    public var description: String {
        var text = ""
        for (letter, flag) in Self.letters where contains(flag) { text.unicodeScalars.append(letter) }
        return text.isEmpty ? "-" : text
    }
}

extension PacketScript.ECN: CustomStringConvertible {
    /// `[noecn]`, `[ect0]`, `[ect1]` or `[ce]`.
    public var description: String {
        switch self {
        case .notECT: "[noecn]"
        case .ect0: "[ect0]"
        case .ect1: "[ect1]"
        case .ce: "[ce]"
        }
    }
}

// MARK: - Reading

extension PacketScript.Segment {
    init(from scanner: inout ScriptScanner, isExpected: Bool) throws(PacketScript.SyntaxError) {
        ecn = PacketScript.ECN.allCases.first { scanner.take($0.description) }
        let flagsStart = scanner.here
        flags = try PacketScript.Flags(from: &scanner)
        let range = try SequenceRange(from: &scanner)
        sequence = range.start
        length = range.length
        if scanner.takeWord("ack") { acknowledgment = try scanner.number("an acknowledgment number") }
        // `*` is the same as nothing, for those who like to see that a window is there.
        if scanner.takeWord("win"), !(isExpected && scanner.take("*")) { window = try scanner.number("a window") }
        if scanner.takeWord("urg") { urgent = try scanner.number("an urgent pointer") }
        options = try PacketScript.OptionPattern(from: &scanner, isExpected: isExpected)
        // What cannot be read is what is wrong, before what is missing.
        if !scanner.isAtEnd { throw scanner.failure(expecting: "the end of the line") }
        if flags.contains(.ack) != (acknowledgment != nil) {
            throw scanner.failure(at: flagsStart, expecting: "\".\" among the flags if there is \"ack\", and only then")
        }
        if urgent != nil && !flags.contains(.urg) {
            throw scanner.failure(at: flagsStart, expecting: "\"U\" among the flags if there is \"urg\"")
        }
    }
}

extension PacketScript.Flags {
    init(from scanner: inout ScriptScanner) throws(PacketScript.SyntaxError) {
        let start = scanner.here
        let text = scanner.takeUntilBlank()
        self = []
        if text == [UInt8(ascii: "-")] { return }
        for byte in text {
            let known = Self.letters.first { UInt8(ascii: $0.letter) == byte }
            guard let flag = known?.flag, insert(flag).inserted else { throw Self.failure(&scanner, at: start) }
        }
        if text.isEmpty { throw Self.failure(&scanner, at: start) }
    }

    private static func failure(_ scanner: inout ScriptScanner, at start: Int) -> PacketScript.SyntaxError {
        scanner.failure(at: start, expecting: "flags, each of S F R P U E W . at most once, or \"-\" for none")
    }
}

/// `start:end(length)`, whose parts have to agree.
struct SequenceRange {
    var start: UInt32
    var length: Int

    init(from scanner: inout ScriptScanner) throws(PacketScript.SyntaxError) {
        start = try scanner.number("a sequence number")
        try scanner.expect(":")
        let endStart = scanner.here
        let end: UInt32 = try scanner.number("a sequence number")
        try scanner.expect("(")
        length = try scanner.number("a length", upTo: PacketScript.Segment.maximumLength)
        try scanner.expect(")")
        if end != start &+ UInt32(length) {
            throw scanner.failure(
                at: endStart, expecting: "\(start &+ UInt32(length)), which is \(start) + \(length)")
        }
    }
}
