// The fixed header of an IPv6 packet. What may stand between it and the transport's is in IPv6Extensions.swift.
//
//      0                   1                   2                   3
//      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//     ┌───────┬───────────┬───┬───────────────────────────────────────┐
//   0 │   6   │   DSCP    │ECN│              flow label               │
//   4 │        payload length         │  next header  │   hop limit   │
//   8 │                   source address, 16 bytes                    │
//  24 │                 destination address, 16 bytes                 │
//     └───────────────────────────────────────────────────────────────┘
//
// Hold RFC 8200 §3 beside it, RFC 6437 for the flow label. Jumbograms (RFC 2675) are not understood: their payload length
// of 0 is taken as it stands.

/// An IPv6 header.
@usableFromInline
struct IPv6Header: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var source: IPv6Address
    @usableFromInline var destination: IPv6Address
    /// 20 bits.
    @usableFromInline var flowLabel: UInt32
    /// Bytes behind this header, extension headers included; a frame may have padding behind them.
    @usableFromInline var payloadLength: UInt16
    @usableFromInline var nextHeader: IPProtocol
    @usableFromInline var hopLimit: UInt8
    /// The differentiated services codepoint, 0 ... 63.
    @usableFromInline var dscp: UInt8
    @usableFromInline var ecn: ECN

    /// Bytes of a header.
    @inlinable
    static var length: Int { 40 }

    /// - Precondition: `payloadLength` is in 0 ... 65,535.
    @inlinable
    init(
        source: IPv6Address, destination: IPv6Address, nextHeader: IPProtocol, payloadLength: Int, hopLimit: UInt8 = 64
    ) {
        self.source = source
        self.destination = destination
        self.nextHeader = nextHeader
        self.hopLimit = hopLimit
        self.payloadLength = UInt16(payloadLength)
        (flowLabel, dscp, ecn) = (0, 0, .notCapable)
    }

    /// Reads the header at the start of `bytes`; `nil` if it is of another version, or says that there are more bytes
    /// than there are.
    @inlinable
    init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= IPv6Header.length else { return nil }
        let first = bytes.uint32(at: 0)
        let payloadLength = bytes.uint16(at: 4)
        guard first &>> 28 == 6, Int(payloadLength) <= bytes.byteCount &- IPv6Header.length else { return nil }
        source = bytes.ipv6Address(at: 8)
        destination = bytes.ipv6Address(at: 24)
        flowLabel = first & 0xF_FFFF
        self.payloadLength = payloadLength
        nextHeader = IPProtocol(rawValue: bytes.byte(at: 6))
        hopLimit = bytes.byte(at: 7)
        let trafficClass = UInt8(truncatingIfNeeded: first &>> 20)
        dscp = trafficClass &>> 2
        ecn = ECN(trafficClass: trafficClass)
    }

    /// Writes 40 bytes.
    ///
    /// - Precondition: `bytes` has so many or more.
    @inlinable
    func write(to bytes: inout MutableRawSpan) {
        let trafficClass = UInt32(dscp & 63) &<< 2 | UInt32(ecn.rawValue)
        bytes.store(6 &<< 28 | trafficClass &<< 20 | flowLabel & 0xF_FFFF, at: 0)
        bytes.store(payloadLength, at: 4)
        bytes.store(nextHeader.rawValue, at: 6)
        bytes.store(hopLimit, at: 7)
        bytes.store(source, at: 8)
        bytes.store(destination, at: 24)
    }

    /// Bytes of the packet, from this header's first on.
    @inlinable
    var totalLength: Int { IPv6Header.length &+ Int(payloadLength) }
}
