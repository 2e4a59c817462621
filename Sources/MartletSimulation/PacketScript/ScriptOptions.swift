// TCP options as a script writes them, in the order of the header.
//
// Hold RFC 9293 §3.2, RFC 7323 §2 and §3, RFC 2018 §3 and RFC 7413 §4.1.1 beside it.

extension PacketScript {
    /// One TCP option.
    public enum Option: Hashable, Sendable {
        /// `eol`: the end of the list.
        case endOfList
        /// `nop`
        case noOperation
        /// `mss 1460`
        case maximumSegmentSize(UInt16)
        /// `wscale 7`
        case windowScale(UInt8)
        /// `sackOK`
        case sackPermitted
        /// `sack 1:1001 2001:3001`; numbers relative to the initial one of the side that is acknowledged.
        case sack([SACKBlock])
        /// `TS val 1 ecr 0`
        case timestamps(value: UInt32, echoReply: UInt32)
        /// `fo 0123456789abcdef`, or `fo` to ask for a cookie.
        case fastOpen(cookie: [UInt8])
        /// `kind 254 f989`: any other, with the bytes after its length.
        case other(kind: UInt8, bytes: [UInt8])
    }

    /// One block of a SACK option: the first number received, and the one behind the last.
    public struct SACKBlock: Hashable, Sendable {
        public var start: UInt32
        public var end: UInt32

        /// The block `start:end`.
        public init(start: UInt32, end: UInt32) {
            self.start = start
            self.end = end
        }
    }

    /// The options of a segment.
    public enum OptionPattern: Hashable, Sendable {
        /// These, in this order. They fill 40 bytes at most and a multiple of four: padding is written out.
        case exactly([Option])
        /// `<...>`: whatever they are. Not for a segment to send.
        case any
    }
}

extension PacketScript.Option {
    /// How many bytes of the header the option takes.
    public var byteCount: Int {
        switch self {
        case .endOfList, .noOperation: 1
        case .maximumSegmentSize: 4
        case .windowScale: 3
        case .sackPermitted: 2
        case .sack(let blocks): 2 + 8 * blocks.count
        case .timestamps: 10
        case .fastOpen(let cookie): 2 + cookie.count
        case .other(_, let bytes): 2 + bytes.count
        }
    }
}

// MARK: - Writing

extension PacketScript.Option: CustomStringConvertible {
    /// The option in canonical form.
    public var description: String {
        switch self {
        case .endOfList: "eol"
        case .noOperation: "nop"
        case .maximumSegmentSize(let size): "mss \(size)"
        case .windowScale(let shift): "wscale \(shift)"
        case .sackPermitted: "sackOK"
        case .sack(let blocks): "sack" + blocks.map { " \($0.start):\($0.end)" }.joined()
        case .timestamps(let value, let echoReply): "TS val \(value) ecr \(echoReply)"
        case .fastOpen(let cookie): cookie.isEmpty ? "fo" : "fo \(Self.hexadecimal(cookie))"
        case .other(let kind, let bytes): bytes.isEmpty ? "kind \(kind)" : "kind \(kind) \(Self.hexadecimal(bytes))"
        }
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

extension PacketScript.OptionPattern: CustomStringConvertible {
    /// The options in angle brackets; nothing if there are none.
    public var description: String {
        switch self {
        case .any: "<...>"
        case .exactly(let options):
            options.isEmpty ? "" : "<\(options.map(\.description).joined(separator: ","))>"
        }
    }
}

// MARK: - Reading

extension PacketScript.OptionPattern {
    /// Reads the options with their brackets, if there are any.
    init(from scanner: inout ScriptScanner, isExpected: Bool) throws(PacketScript.SyntaxError) {
        guard scanner.take("<") else {
            self = .exactly([])
            return
        }
        let start = scanner.here
        if isExpected && scanner.take("...") {
            try scanner.expect(">")
            self = .any
            return
        }
        var options: [PacketScript.Option] = []
        var byteCount = 0
        repeat {
            let optionStart = scanner.here
            let option = try PacketScript.Option(from: &scanner)
            options.append(option)
            byteCount += option.byteCount
            if byteCount > 40 {
                throw scanner.failure(at: optionStart, expecting: "options of at most 40 bytes, not \(byteCount)")
            }
        } while scanner.take(",")
        try scanner.expect(">", "\",\" or \">\"")
        if !byteCount.isMultiple(of: 4) {
            throw scanner.failure(
                at: start, expecting: "options that fill a multiple of four bytes, not \(byteCount): add nop or eol")
        }
        self = .exactly(options)
    }
}

extension PacketScript.Option {
    /// Kinds with a name of their own, which `kind` must not stand for: then one option has one text.
    static let namedKinds: Set<UInt8> = [0, 1, 2, 3, 4, 5, 8, 34]

    init(from scanner: inout ScriptScanner) throws(PacketScript.SyntaxError) {
        let start = scanner.here
        switch try scanner.name(Self.names) {
        case "eol": self = .endOfList
        case "nop": self = .noOperation
        case "mss": self = .maximumSegmentSize(try scanner.number("a segment size"))
        case "wscale": self = .windowScale(try scanner.number("a shift"))
        case "sackOK": self = .sackPermitted
        case "sack": self = .sack(try Self.blocks(from: &scanner))
        case "TS":
            guard scanner.takeWord("val") else { throw scanner.failure(expecting: "\"val\"") }
            let value: UInt32 = try scanner.number("a time stamp")
            guard scanner.takeWord("ecr") else { throw scanner.failure(expecting: "\"ecr\"") }
            self = .timestamps(value: value, echoReply: try scanner.number("a time stamp"))
        case "fo", "FO": self = .fastOpen(cookie: try scanner.hexadecimalBytes("a cookie"))
        case "kind":
            let kindStart = scanner.here
            let kind: UInt8 = try scanner.number("a kind")
            if Self.namedKinds.contains(kind) {
                throw scanner.failure(at: kindStart, expecting: "a kind that has no name of its own")
            }
            self = .other(kind: kind, bytes: try scanner.hexadecimalBytes("the option's bytes"))
        default: throw scanner.failure(at: start, expecting: Self.names)
        }
    }

    private static let names = "an option: mss, wscale, sackOK, sack, TS, fo, nop, eol, kind"

    private static func blocks(
        from scanner: inout ScriptScanner
    ) throws(PacketScript.SyntaxError) -> [PacketScript.SACKBlock] {
        var blocks: [PacketScript.SACKBlock] = []
        repeat {
            let start: UInt32 = try scanner.number("a sequence number")
            try scanner.expect(":")
            blocks.append(PacketScript.SACKBlock(start: start, end: try scanner.number("a sequence number")))
        } while scanner.isAtNumber
        return blocks
    }
}
