// Reads one line of a script, from left to right, and knows where it is when something is wrong.

extension PacketScript {
    /// What is wrong with a script, and where.
    public struct SyntaxError: Error, Hashable, Sendable, CustomStringConvertible {
        /// The line, from 1.
        public var line: Int
        /// The byte in the line, from 1; one beyond the last if the line ends too early.
        public var column: Int
        /// What would have been right there.
        public var expected: String
        /// What is there instead, or its beginning; empty at the end of the line.
        public var found: String

        /// One line for people.
        public var description: String {
            "line \(line), column \(column): expected \(expected), found "
                + (found.isEmpty ? "the end of the line" : "\"\(found)\"")
        }
    }
}

/// The bytes of a line without its comment, and a position in them. Blanks before what is asked for are skipped.
struct ScriptScanner {
    let line: Int
    private let bytes: [UInt8]
    private var position = 0

    init(line: Int, _ bytes: [UInt8]) {
        self.line = line
        var end = 0
        while end < bytes.count, bytes[end] != UInt8(ascii: "#"), !bytes[end...].starts(with: "//".utf8) { end += 1 }
        while end > 0, Self.isBlank(bytes[end - 1]) { end -= 1 }
        self.bytes = Array(bytes[..<end])
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private static func isInWord(_ byte: UInt8) -> Bool {
        let lower = byte | 0x20
        return isDigit(byte) || byte == UInt8(ascii: "_") || lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z")
    }

    /// The position of what comes next.
    var here: Int {
        mutating get {
            while position < bytes.count && Self.isBlank(bytes[position]) { position += 1 }
            return position
        }
    }

    var isAtEnd: Bool {
        mutating get { here == bytes.count }
    }

    /// An error at `start`, or where the scanner is.
    mutating func failure(at start: Int? = nil, expecting expected: String) -> PacketScript.SyntaxError {
        let start = start ?? here
        let rest = bytes[start...].prefix { !Self.isBlank($0) }.prefix(24)
        return PacketScript.SyntaxError(
            line: line, column: start + 1, expected: expected, found: String(decoding: rest, as: UTF8.self))
    }

    /// Takes exactly this text, if it comes next.
    mutating func take(_ text: String) -> Bool {
        guard bytes[here...].starts(with: text.utf8) else { return false }
        position += text.utf8.count
        return true
    }

    mutating func expect(_ text: String, _ expected: String? = nil) throws(PacketScript.SyntaxError) {
        if !take(text) { throw failure(expecting: expected ?? "\"\(text)\"") }
    }

    /// The letters, digits and underscores that come next, and dots if asked for; empty if there are none.
    mutating func nextWord(withDots: Bool = false) -> String {
        let word = bytes[here...].prefix { Self.isInWord($0) || withDots && $0 == UInt8(ascii: ".") }
        return String(decoding: word, as: UTF8.self)
    }

    /// Takes this word, if it comes next and does not go on.
    mutating func takeWord(_ word: String) -> Bool { nextWord() == word && take(word) }

    /// A name: a word that begins with a letter or an underscore.
    mutating func name(_ expected: String, withDots: Bool = false) throws(PacketScript.SyntaxError) -> String {
        let word = nextWord(withDots: withDots)
        guard let first = word.utf8.first, Self.isInWord(first), !Self.isDigit(first) else {
            throw failure(expecting: expected)
        }
        position += word.utf8.count
        return word
    }

    /// The word of this list that comes next.
    mutating func choice<Choice: CaseIterable & RawRepresentable<String>>(
        of _: Choice.Type, _ expected: String
    ) throws(PacketScript.SyntaxError) -> Choice {
        let word = nextWord()
        guard let choice = Choice(rawValue: word) else {
            throw failure(expecting: "\(expected): \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        position += word.utf8.count
        return choice
    }

    /// A decimal number up to `limit`, that no letter follows.
    mutating func number<Number: FixedWidthInteger>(
        _ name: String, upTo limit: Number = .max
    ) throws(PacketScript.SyntaxError) -> Number {
        let start = here
        let digits = digits()
        guard !digits.isEmpty, position == bytes.count || !Self.isInWord(bytes[position]),
            let number = Number(digits), number <= limit
        else { throw failure(at: start, expecting: "\(name), a number up to \(limit)") }
        return number
    }

    /// A decimal number with a sign or without.
    mutating func signedNumber(_ name: String) throws(PacketScript.SyntaxError) -> Int64 {
        if take("-") { return -(try number(name)) }
        return try number(name)
    }

    /// Whether a digit comes next, or a sign and a digit.
    var isAtNumber: Bool {
        mutating get {
            let isSigned = here < bytes.count && bytes[position] == UInt8(ascii: "-")
            let digit = isSigned ? position + 1 : position
            return digit < bytes.count && Self.isDigit(bytes[digit])
        }
    }

    /// The digits that come next, with nothing skipped before them. They may be none.
    mutating func digits() -> String {
        let digits = bytes[position...].prefix(while: Self.isDigit)
        position += digits.count
        return String(decoding: digits, as: UTF8.self)
    }

    /// Takes this character if it stands exactly here, with no blank before it.
    mutating func takeAdjacent(_ character: Unicode.Scalar) -> Bool {
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    /// What comes next up to a blank: flags are no word.
    mutating func takeUntilBlank() -> [UInt8] {
        let text = bytes[here...].prefix { !Self.isBlank($0) }
        position += text.count
        return Array(text)
    }

    /// Bytes in hexadecimal; none if no word comes next.
    mutating func hexadecimalBytes(_ name: String) throws(PacketScript.SyntaxError) -> [UInt8] {
        let start = here
        let word = Array(nextWord().utf8)
        let digits = word.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard digits.count == word.count, digits.count.isMultiple(of: 2) else {
            throw failure(at: start, expecting: "\(name), an even number of hexadecimal digits")
        }
        position += word.count
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
    }
}
