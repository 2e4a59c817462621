// ICMP errors as a script writes them, the same for both IP versions.
//
// Hold RFC 792, RFC 1191 §4 and RFC 4443 §3 beside it.

extension PacketScript {
    /// An ICMP error about a segment that the receiver has sent.
    ///
    ///     icmp unreachable frag_needed mtu 1200 [1:1461(1460)]
    public struct ICMPMessage: Hashable, Sendable {
        public var reason: Reason
        /// The MTU of the next hop in bytes; with ``Reason/fragmentationNeeded``, and only then.
        public var mtu: UInt16?
        /// The segment that it is about, whose header it quotes. Without, one with number 1 and no data.
        public var quoted: Quoted?

        /// A message.
        public init(_ reason: Reason, mtu: UInt16? = nil, quoted: Quoted? = nil) {
            self.reason = reason
            self.mtu = mtu
            self.quoted = quoted
        }

        /// Data by its numbers, relative to the initial one of its sender.
        public struct Quoted: Hashable, Sendable {
            public var sequence: UInt32
            public var length: Int

            /// Data from `sequence` on. `length` is at most 65,495.
            public init(sequence: UInt32, length: Int) {
                self.sequence = sequence
                self.length = length
            }
        }

        /// What went wrong. The raw value is the word, or two, of a script.
        public enum Reason: String, Hashable, Sendable, CaseIterable {
            case networkUnreachable = "unreachable net_unreachable"
            case hostUnreachable = "unreachable host_unreachable"
            case protocolUnreachable = "unreachable protocol_unreachable"
            case portUnreachable = "unreachable port_unreachable"
            /// Packet Too Big in IPv6.
            case fragmentationNeeded = "unreachable frag_needed"
            case sourceRouteFailed = "unreachable source_route_failed"
            case hostProhibited = "unreachable host_prohibited"
            case filtered = "unreachable packet_filtered"
            case timeToLiveExceeded = "time_exceeded ttl"
            case reassemblyTimeExceeded = "time_exceeded reassembly"
        }
    }
}

extension PacketScript.ICMPMessage: CustomStringConvertible {
    /// The message in canonical form, from `icmp` on.
    public var description: String {
        var text = "icmp \(reason.rawValue)"
        if let mtu { text += " mtu \(mtu)" }
        if let quoted {
            let end = quoted.sequence &+ UInt32(truncatingIfNeeded: quoted.length)
            text += " [\(quoted.sequence):\(end)(\(quoted.length))]"
        }
        return text
    }

    /// Reads what comes after `icmp`.
    init(from scanner: inout ScriptScanner) throws(PacketScript.SyntaxError) {
        let start = scanner.here
        let type = try scanner.name("unreachable or time_exceeded")
        let code = scanner.here
        let ofType = Reason.allCases.filter { $0.rawValue.hasPrefix(type + " ") }
        if ofType.isEmpty { throw scanner.failure(at: start, expecting: "unreachable or time_exceeded") }
        let words = ofType.map { String($0.rawValue.dropFirst(type.count + 1)) }.joined(separator: ", ")
        let word = try scanner.name("one of: \(words)")
        guard let reason = Reason(rawValue: "\(type) \(word)") else {
            throw scanner.failure(at: code, expecting: "one of: \(words)")
        }
        self.reason = reason
        if reason == .fragmentationNeeded {
            guard scanner.takeWord("mtu") else { throw scanner.failure(expecting: "\"mtu\"") }
            mtu = try scanner.number("an MTU")
        }
        if scanner.take("[") {
            let range = try SequenceRange(from: &scanner)
            quoted = Quoted(sequence: range.start, length: range.length)
            try scanner.expect("]")
        }
    }
}
