// When a line happens.

public import MartletStack

extension PacketScript {
    /// When a line happens: `0.5`, `+.1`, `+.1~+.3` or `*`.
    public enum Time: Hashable, Sendable {
        /// From the start of the script, whose first instant is zero.
        case absolute(ClosedRange<Instant>)
        /// From the line before.
        case relative(ClosedRange<Duration>)
        /// `*`: at any time.
        case any

        /// `+` and this time.
        public static func after(_ duration: Duration) -> Time { .relative(duration...duration) }

        /// This time from the start.
        public static func at(_ instant: Instant) -> Time { .absolute(instant...instant) }

        /// Whether it is a single instant.
        public var isExact: Bool {
            switch self {
            case .absolute(let range): range.lowerBound == range.upperBound
            case .relative(let range): range.lowerBound == range.upperBound
            case .any: false
            }
        }
    }
}

extension PacketScript.Time: CustomStringConvertible {
    /// The time in canonical form: seconds with as many places as they need, up to nine.
    public var description: String {
        switch self {
        case .any:
            "*"
        case .absolute(let range):
            Self.text(range.lowerBound.nanoseconds, range.upperBound.nanoseconds, sign: "")
        case .relative(let range):
            Self.text(
                VirtualNetwork.nanoseconds(range.lowerBound), VirtualNetwork.nanoseconds(range.upperBound), sign: "+")
        }
    }

    private static func text(_ first: Int64, _ last: Int64, sign: String) -> String {
        let start = sign + seconds(first)
        return first == last ? start : "\(start)~\(sign)\(seconds(last))"
    }

    private static func seconds(_ nanoseconds: Int64) -> String {
        let (whole, part) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        if part == 0 { return "\(whole)" }
        var digits = String(String(1_000_000_000 + part).dropFirst())
        while digits.last == "0" { digits.removeLast() }
        return "\(whole).\(digits)"
    }

    init(from scanner: inout ScriptScanner) throws(PacketScript.SyntaxError) {
        if scanner.take("*") {
            self = .any
            return
        }
        let isRelative = scanner.take("+")
        let first = try Self.nanoseconds(from: &scanner)
        var last = first
        if scanner.takeAdjacent("~") {
            let start = scanner.here
            if isRelative { try scanner.expect("+", "\"+\", as before the \"~\"") }
            last = try Self.nanoseconds(from: &scanner)
            if last < first { throw scanner.failure(at: start, expecting: "a time not before the one it follows") }
        }
        self =
            isRelative
            ? .relative(.nanoseconds(first) ... .nanoseconds(last))
            : .absolute(Instant(nanoseconds: first)...Instant(nanoseconds: last))
    }

    private static func nanoseconds(from scanner: inout ScriptScanner) throws(PacketScript.SyntaxError) -> Int64 {
        let start = scanner.here
        let whole = scanner.digits()
        var part = ""
        if scanner.takeAdjacent(".") { part = scanner.digits() }
        let padded = part + String(repeating: "0", count: max(0, 9 - part.count))
        guard !(whole.isEmpty && part.isEmpty), whole.count <= 9, part.count <= 9,
            let seconds = Int64(whole.isEmpty ? "0" : whole), let nanoseconds = Int64(padded)
        else {
            throw scanner.failure(
                at: start, expecting: "a time: seconds of at most nine digits on each side of the point, or \"*\"")
        }
        return seconds * 1_000_000_000 + nanoseconds
    }
}
