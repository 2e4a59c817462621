// What a script says about the state of a connection.

extension PacketScript {
    /// A field of the connection, an operator and a value: `cwnd == 10`, `state == ESTABLISHED`.
    ///
    /// Which fields there are is not for the script to know. Names may have dots: `snd.una`.
    public struct Comparison: Hashable, Sendable {
        public var field: String
        public var comparator: Comparator
        public var value: Value

        /// A comparison.
        public init(_ field: String, _ comparator: Comparator, _ value: Value) {
            self.field = field
            self.comparator = comparator
            self.value = value
        }
    }

    /// How a field compares to its value. The raw value is the operator of a script.
    public enum Comparator: String, Hashable, Sendable, CaseIterable {
        case equal = "=="
        case notEqual = "!="
        case lessOrEqual = "<="
        case greaterOrEqual = ">="
        case less = "<"
        case greater = ">"
    }
}

extension PacketScript.Comparator {
    /// Whether the comparison holds.
    public func holds<Field: Comparable>(_ field: Field, _ value: Field) -> Bool {
        switch self {
        case .equal: field == value
        case .notEqual: field != value
        case .lessOrEqual: field <= value
        case .greaterOrEqual: field >= value
        case .less: field < value
        case .greater: field > value
        }
    }
}

extension PacketScript.Comparison: CustomStringConvertible {
    /// The comparison in canonical form.
    public var description: String { "\(field) \(comparator.rawValue) \(value)" }

    init(from scanner: inout ScriptScanner) throws(PacketScript.SyntaxError) {
        field = try scanner.name("the name of a field", withDots: true)
        // In the order of the cases: the operators of two characters come before those that they begin with.
        guard let comparator = PacketScript.Comparator.allCases.first(where: { scanner.take($0.rawValue) }) else {
            throw scanner.failure(expecting: "a comparison: == != < <= > >=")
        }
        self.comparator = comparator
        value = try PacketScript.Value(from: &scanner)
    }
}
