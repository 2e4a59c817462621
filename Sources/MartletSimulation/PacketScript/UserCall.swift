// What a program does in a script: the user calls of RFC 9293 §3.9.1 under the names of the socket interface.

extension PacketScript {
    /// A call and what has to come back from it: `write(1000) = 1000`.
    public struct UserCall: Hashable, Sendable {
        public var call: Call
        /// What has to come back; `nil` if that does not matter.
        public var result: Result?

        /// A call.
        public init(_ call: Call, result: Result? = nil) {
            self.call = call
            self.result = result
        }

        /// What is called.
        public enum Call: Hashable, Sendable {
            case connect
            case listen
            case accept
            /// Sends this many bytes.
            case write(Int)
            /// Receives at most this many bytes.
            case read(Int)
            case shutdown(Direction)
            case close
            case abort
            case setsockopt(name: String, value: Value)
        }

        /// What `shutdown` ends. The raw value is the word of a script.
        public enum Direction: String, Hashable, Sendable, CaseIterable {
            case receiving = "SHUT_RD"
            case sending = "SHUT_WR"
            case both = "SHUT_RDWR"
        }

        /// What has to come back: a number, and perhaps the name of an error: `= -1 ECONNRESET`.
        public struct Result: Hashable, Sendable {
            public var value: Int64
            public var error: String?

            /// A result.
            public init(_ value: Int64, error: String? = nil) {
                self.value = value
                self.error = error
            }
        }
    }

    /// A number or a name.
    public enum Value: Hashable, Sendable {
        case number(Int64)
        case name(String)
    }
}

// MARK: - Writing

extension PacketScript.UserCall: CustomStringConvertible {
    /// The call in canonical form.
    public var description: String {
        guard let result else { return call.description }
        return "\(call) = \(result.value)" + (result.error.map { " \($0)" } ?? "")
    }
}

extension PacketScript.UserCall.Call: CustomStringConvertible {
    /// The call without its result.
    public var description: String {
        switch self {
        case .connect: "connect()"
        case .listen: "listen()"
        case .accept: "accept()"
        case .write(let count): "write(\(count))"
        case .read(let count): "read(\(count))"
        case .shutdown(let direction): "shutdown(\(direction.rawValue))"
        case .close: "close()"
        case .abort: "abort()"
        case .setsockopt(let name, let value): "setsockopt(\(name), \(value))"
        }
    }
}

extension PacketScript.Value: CustomStringConvertible {
    /// The number or the name.
    public var description: String {
        switch self {
        case .number(let number): "\(number)"
        case .name(let name): name
        }
    }
}

// MARK: - Reading

extension PacketScript.UserCall {
    private static let names =
        "\"<\", \">\", \"%{\" or a call: connect, listen, accept, write, read, shutdown, close, "
        + "abort, setsockopt"

    init(from scanner: inout ScriptScanner) throws(PacketScript.SyntaxError) {
        let start = scanner.here
        let name = try scanner.name(Self.names)
        let known = ["connect", "listen", "accept", "write", "read", "shutdown", "close", "abort", "setsockopt"]
        guard known.contains(name) else { throw scanner.failure(at: start, expecting: Self.names) }
        try scanner.expect("(")
        switch name {
        case "connect": call = .connect
        case "listen": call = .listen
        case "accept": call = .accept
        case "write": call = .write(try scanner.number("a count of bytes"))
        case "read": call = .read(try scanner.number("a count of bytes"))
        case "shutdown": call = .shutdown(try scanner.choice(of: Direction.self, "a direction"))
        case "close": call = .close
        case "abort": call = .abort
        default:
            let option = try scanner.name("the name of an option")
            try scanner.expect(",")
            call = .setsockopt(name: option, value: try PacketScript.Value(from: &scanner))
        }
        try scanner.expect(")")
        guard scanner.take("=") else { return }
        let value = try scanner.signedNumber("a result")
        result = Result(value, error: scanner.isAtEnd ? nil : try scanner.name("the name of an error"))
    }
}

extension PacketScript.Value {
    init(from scanner: inout ScriptScanner) throws(PacketScript.SyntaxError) {
        if scanner.isAtNumber {
            self = .number(try scanner.signedNumber("a number"))
        } else {
            self = .name(try scanner.name("a number or a name"))
        }
    }
}
