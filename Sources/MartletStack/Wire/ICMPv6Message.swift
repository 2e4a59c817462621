// The header of an ICMP message for IPv6, and what it means. Its form is that of ICMPv4; its types and its checksum, which
// covers a pseudo-header, are not.
//
// Hold RFC 4443 beside it. Neighbor discovery is in NDPMessage.swift.

/// The first eight bytes of an ICMP message for IPv6.
@usableFromInline
struct ICMPv6Message: BitwiseCopyable, Hashable, Sendable {
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
        /// A packet has not arrived.
        case unreachable(code: UInt8)
        /// A packet was longer than the next hop takes. The number is as it came: whether it may be is checked by who
        /// makes use of it.
        case packetTooBig(mtu: UInt32)
        /// A packet's hops, or the time to put it together, have run out.
        case timeExceeded(code: UInt8)
        /// Byte `pointer` of a packet was not understood.
        case parameterProblem(code: UInt8, pointer: UInt32)
        case echoRequest(ICMPEcho)
        case echoReply(ICMPEcho)
        /// One of ``NDPMessage``.
        case neighborDiscovery
        /// Of MLD: see ``MembershipQuery``.
        case membership
        case other
    }

    /// Codes of `unreachable`.
    @usableFromInline
    enum Unreachable {
        @inlinable static var noRoute: UInt8 { 0 }
        @inlinable static var prohibited: UInt8 { 1 }
        @inlinable static var address: UInt8 { 3 }
        @inlinable static var port: UInt8 { 4 }
    }

    /// Codes of `parameterProblem`.
    @usableFromInline
    enum ParameterProblem: UInt8, BitwiseCopyable, Sendable {
        case erroneousField = 0
        case unknownNextHeader = 1
        case unknownOption = 2
        /// RFC 7112 §5.
        case incompleteFirstFragment = 3
    }

    /// A message whose checksum is yet to be computed.
    ///
    /// - Precondition: `meaning` is none of `neighborDiscovery`, `membership` and `other`.
    @inlinable
    init(_ meaning: Meaning) {
        checksum = 0
        switch meaning {
        case .unreachable(let code): (type, self.code, rest) = (1, code, 0)
        case .packetTooBig(let mtu): (type, code, rest) = (2, 0, mtu)
        case .timeExceeded(let code): (type, self.code, rest) = (3, code, 0)
        case .parameterProblem(let code, let pointer): (type, self.code, rest) = (4, code, pointer)
        case .echoRequest(let echo): (type, code, rest) = (128, 0, echo.rest)
        case .echoReply(let echo): (type, code, rest) = (129, 0, echo.rest)
        case .neighborDiscovery, .membership, .other: preconditionFailure("a message with a meaning is wanted")
        }
    }

    /// Reads the header at the start of `bytes`; `nil` if there are too few. The checksum is not verified: that is
    /// ``isIntact(_:source:destination:)``.
    @inlinable
    init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= ICMPv6Message.length else { return nil }
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
        switch type {
        case 1: .unreachable(code: code)
        case 2: .packetTooBig(mtu: rest)  // RFC 4443 §3.2: whatever the code.
        case 3: .timeExceeded(code: code)
        case 4: .parameterProblem(code: code, pointer: rest)
        case 128: .echoRequest(ICMPEcho(rest: rest))
        case 129: .echoReply(ICMPEcho(rest: rest))
        case 133...137: .neighborDiscovery
        case 130...132, 143: .membership
        default: .other
        }
    }

    /// Whether the message must never be answered with an error (RFC 4443 §2.4): it is one itself, or a redirect.
    @inlinable
    var isError: Bool { type < 128 || type == 137 }

    /// Whether the checksum of a whole message between two hosts is right.
    @inlinable
    static func isIntact(_ message: RawSpan, source: IPv6Address, destination: IPv6Address) -> Bool {
        var checksum = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: IPProtocol.icmpv6.rawValue,
            length: message.byteCount)
        checksum.add(message)
        return checksum.value == 0
    }
}
