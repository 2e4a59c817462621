// The echo messages of ICMPv4 and ICMPv6, which differ in their types alone.
//
// Hold RFC 792 and RFC 4443 §4 beside it.

/// What tells one ping from another. The bytes behind the ICMP header are sent back as they are.
@usableFromInline
struct ICMPEcho: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var identifier: UInt16
    @usableFromInline var sequence: UInt16

    @inlinable
    init(identifier: UInt16, sequence: UInt16) {
        self.identifier = identifier
        self.sequence = sequence
    }

    /// The fields as they stand in the second word of a header.
    @inlinable
    init(rest: UInt32) {
        identifier = UInt16(truncatingIfNeeded: rest &>> 16)
        sequence = UInt16(truncatingIfNeeded: rest)
    }

    /// The second word of a header.
    @inlinable
    var rest: UInt32 { UInt32(identifier) &<< 16 | UInt32(sequence) }
}
