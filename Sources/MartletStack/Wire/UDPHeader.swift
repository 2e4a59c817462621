// The header of a UDP datagram.
//
//      0               2               4               6               8
//     ┌───────────────┬───────────────┬───────────────┬───────────────┐
//     │  source port  │  destination  │    length     │   checksum    │
//     └───────────────┴───────────────┴───────────────┴───────────────┘
//
// Hold RFC 768 beside it, RFC 8200 §8.1 for IPv6, where a checksum of 0 is not allowed.

/// A UDP header.
@usableFromInline
struct UDPHeader: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var sourcePort: UInt16
    @usableFromInline var destinationPort: UInt16
    /// Bytes of the datagram, this header's eight included.
    @usableFromInline var datagramLength: UInt16
    /// 0 if the sender has computed none; a computed 0 is sent as 0xFFFF.
    @usableFromInline var checksum: UInt16

    /// Bytes of a header.
    @inlinable
    static var length: Int { 8 }

    /// Bytes behind this header that are of the datagram.
    @inlinable
    var payloadLength: Int { Int(datagramLength) &- UDPHeader.length }

    /// - Precondition: `payloadLength` is in 0 ... 65,527.
    @inlinable
    init(sourcePort: UInt16, destinationPort: UInt16, payloadLength: Int, checksum: UInt16 = 0) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        datagramLength = UInt16(8 + payloadLength)
        self.checksum = checksum
    }

    /// Reads the header at the start of `bytes`; `nil` if its length is below 8 or beyond `bytes`.
    ///
    /// A length below that of `bytes` is allowed: what stands behind is not of the datagram, and not in its checksum.
    @inlinable
    init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= UDPHeader.length else { return nil }
        let length = bytes.uint16(at: 4)
        guard length >= 8, Int(length) <= bytes.byteCount else { return nil }
        sourcePort = bytes.uint16(at: 0)
        destinationPort = bytes.uint16(at: 2)
        datagramLength = length
        checksum = bytes.uint16(at: 6)
    }

    /// Writes 8 bytes, with the checksum field as it is.
    ///
    /// - Precondition: `bytes` has so many or more.
    @inlinable
    func write(to bytes: inout MutableRawSpan) {
        bytes.store(sourcePort, at: 0)
        bytes.store(destinationPort, at: 2)
        bytes.store(datagramLength, at: 4)
        bytes.store(checksum, at: 6)
    }
}
