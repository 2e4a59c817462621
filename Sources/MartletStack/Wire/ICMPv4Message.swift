// The header of an ICMP message for IPv4, and what it means.
//
//      0       1       2               4                               8
//     ┌───────┬───────┬───────────────┬───────────────────────────────┬─ ─ ─ ─ ─
//     │ type  │ code  │   checksum    │   rest, of the type's own     │ echoed bytes, or the packet that is meant
//     └───────┴───────┴───────────────┴───────────────────────────────┴─ ─ ─ ─ ─
//
// Hold RFC 792 beside it, RFC 1191 §4 for the MTU. Types that have no meaning here, redirects among them, are `other`.

/// The first eight bytes of an ICMP message for IPv4.
@usableFromInline
struct ICMPv4Message: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var type: UInt8
    @usableFromInline var code: UInt8
    @usableFromInline var checksum: UInt16
    @usableFromInline var rest: UInt32

    /// Bytes before those that are echoed, or those of the packet that the message is about.
    @inlinable
    static var length: Int { 8 }

    /// What a message says.
    @usableFromInline
    enum Meaning: BitwiseCopyable, Hashable, Sendable {
        case echoRequest(ICMPEcho)
        case echoReply(ICMPEcho)
        /// A packet has not arrived. `nextHopMTU` is of the code `fragmentationNeeded` alone, and 0 if the router does
        /// not say.
        case unreachable(code: UInt8, nextHopMTU: UInt16)
        /// A packet's hops, or the time to put it together, have run out.
        case timeExceeded(code: UInt8)
        /// Byte `pointer` of a packet was not understood.
        case parameterProblem(code: UInt8, pointer: UInt8)
        case other
    }

    /// Codes of `unreachable` that mean something to a host.
    @usableFromInline
    enum Unreachable {
        @inlinable static var network: UInt8 { 0 }
        @inlinable static var host: UInt8 { 1 }
        @inlinable static var `protocol`: UInt8 { 2 }
        @inlinable static var port: UInt8 { 3 }
        /// The packet was too big, and not to be cut.
        @inlinable static var fragmentationNeeded: UInt8 { 4 }
        @inlinable static var prohibited: UInt8 { 13 }
    }

    /// A message whose checksum is yet to be computed.
    ///
    /// - Precondition: `meaning` is not `other`.
    @inlinable
    init(_ meaning: Meaning) {
        checksum = 0
        switch meaning {
        case .echoRequest(let echo): (type, code, rest) = (8, 0, echo.rest)
        case .echoReply(let echo): (type, code, rest) = (0, 0, echo.rest)
        case .unreachable(let code, let nextHopMTU): (type, self.code, rest) = (3, code, UInt32(nextHopMTU))
        case .timeExceeded(let code): (type, self.code, rest) = (11, code, 0)
        case .parameterProblem(let code, let pointer): (type, self.code, rest) = (12, code, UInt32(pointer) &<< 24)
        case .other: preconditionFailure("a message with a meaning is wanted")
        }
    }

    /// Reads the header at the start of `bytes`; `nil` if there are too few. The checksum is not verified: that is
    /// ``isIntact(_:)``.
    @inlinable
    init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= ICMPv4Message.length else { return nil }
        type = bytes.byte(at: 0)
        code = bytes.byte(at: 1)
        checksum = bytes.uint16(at: 2)
        rest = bytes.uint32(at: 4)
    }

    /// Writes 8 bytes, with the checksum field as it is.
    ///
    /// - Precondition: `bytes` has so many or more.
    @inlinable
    func write(to bytes: inout MutableRawSpan) {
        bytes.store(type, at: 0)
        bytes.store(code, at: 1)
        bytes.store(checksum, at: 2)
        bytes.store(rest, at: 4)
    }

    /// What the message says.
    @inlinable
    var meaning: Meaning {
        switch (type, code) {
        case (0, 0): .echoReply(ICMPEcho(rest: rest))
        case (8, 0): .echoRequest(ICMPEcho(rest: rest))
        case (3, 4): .unreachable(code: code, nextHopMTU: UInt16(truncatingIfNeeded: rest))
        case (3, _): .unreachable(code: code, nextHopMTU: 0)
        case (11, _): .timeExceeded(code: code)
        case (12, _): .parameterProblem(code: code, pointer: UInt8(truncatingIfNeeded: rest &>> 24))
        default: .other
        }
    }

    /// Whether this is about a packet that the receiver has sent, and must never be answered with an error (RFC 1122
    /// §3.2.2): all but requests and replies.
    @inlinable
    var isError: Bool {
        switch type {
        case 3, 4, 5, 11, 12: true
        default: false
        }
    }

    /// Whether the checksum of a whole message is right.
    @inlinable
    static func isIntact(_ message: RawSpan) -> Bool { message.onesComplementSum() == 0xFFFF }
}
