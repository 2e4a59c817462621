// The header of an IPv4 packet. Its options are located and skipped.
//
//      0                   1                   2                   3
//      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//     ┌───────┬───────┬───────────┬───┬───────────────────────────────┐
//   0 │   4   │  IHL  │   DSCP    │ECN│         total length          │
//   4 │        identification         │0 DF MF│   fragment offset     │
//   8 │ time to live  │   protocol    │        header checksum        │
//  12 │                        source address                         │
//  16 │                      destination address                      │
//  20 │                  options, 0 … 40 bytes …                      │
//     └───────────────────────────────────────────────────────────────┘
//
// Hold RFC 791 §3.1 beside it, RFC 2474 and RFC 3168 for the second byte, RFC 6864 for the identification.

/// An IPv4 header without its options.
@usableFromInline
struct IPv4Header: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var source: IPv4Address
    @usableFromInline var destination: IPv4Address
    /// Bytes of the packet, from the header's first on; a frame may have padding behind it.
    @usableFromInline var totalLength: UInt16
    @usableFromInline var identification: UInt16
    /// Where the payload belongs in that of the packet that was cut, in bytes: a multiple of 8.
    @usableFromInline var fragmentOffset: UInt16
    @usableFromInline var checksum: UInt16
    /// Bytes of the header with its options: a multiple of 4 in 20 ... 60.
    @usableFromInline var headerLength: UInt8
    /// The differentiated services codepoint, 0 ... 63.
    @usableFromInline var dscp: UInt8
    @usableFromInline var ecn: ECN
    @usableFromInline var dontFragment: Bool
    @usableFromInline var moreFragments: Bool
    @usableFromInline var timeToLive: UInt8
    @usableFromInline var `protocol`: IPProtocol

    /// Bytes of a header without options.
    @inlinable
    static var minimumLength: Int { 20 }

    /// The header of a packet that is not to be cut, without options and with its checksum yet to be computed.
    ///
    /// - Precondition: `payloadLength` is in 0 ... 65,515.
    @inlinable
    @inline(__always)
    init(
        source: IPv4Address, destination: IPv4Address, protocol: IPProtocol, payloadLength: Int, timeToLive: UInt8 = 64
    ) {
        self.source = source
        self.destination = destination
        self.protocol = `protocol`
        self.timeToLive = timeToLive
        totalLength = UInt16(20 + payloadLength)
        (identification, fragmentOffset, checksum, headerLength, dscp) = (0, 0, 0, 20, 0)
        (ecn, dontFragment, moreFragments) = (.notCapable, true, false)
    }

    /// Reads the header at the start of `bytes`; `nil` if its lengths contradict each other or the bytes there are, if it is
    /// of another version, or if the fragment would reach beyond 65,535 bytes.
    ///
    /// The checksum is not verified: that is ``isIntact(_:)``.
    @inlinable
    @inline(__always)
    init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= IPv4Header.minimumLength else { return nil }
        // Three loads rather than ten: each is checked against the span's end.
        let first: UInt64 = bytes.number(at: 0)
        let second: UInt64 = bytes.number(at: 8)
        let versionAndLength = UInt8(truncatingIfNeeded: first &>> 56)
        let headerLength = (versionAndLength & 0xF) &* 4
        let totalLength = UInt16(truncatingIfNeeded: first &>> 32)
        guard versionAndLength &>> 4 == 4, headerLength >= 20, totalLength >= headerLength,
            Int(totalLength) <= bytes.byteCount
        else { return nil }
        let fragment = UInt16(truncatingIfNeeded: first)
        let fragmentOffset = (fragment & 0x1FFF) &* 8
        guard Int(fragmentOffset) &+ Int(totalLength) <= 65_535 else { return nil }
        source = IPv4Address(bits: UInt32(truncatingIfNeeded: second))
        destination = bytes.ipv4Address(at: 16)
        self.totalLength = totalLength
        identification = UInt16(truncatingIfNeeded: first &>> 16)
        self.fragmentOffset = fragmentOffset
        checksum = UInt16(truncatingIfNeeded: second &>> 32)
        self.headerLength = headerLength
        let trafficClass = UInt8(truncatingIfNeeded: first &>> 48)
        dscp = trafficClass &>> 2
        ecn = ECN(trafficClass: trafficClass)
        dontFragment = fragment & 0x4000 != 0
        moreFragments = fragment & 0x2000 != 0
        timeToLive = UInt8(truncatingIfNeeded: second &>> 56)
        self.protocol = IPProtocol(rawValue: UInt8(truncatingIfNeeded: second &>> 48))
    }

    /// Writes the 20 bytes before the options, with the checksum field as it is.
    ///
    /// - Precondition: `bytes` has 20 bytes or more; `headerLength` is a multiple of 4 in 20 ... 60.
    @inlinable
    @inline(__always)
    func write(to bytes: inout MutableRawSpan) {
        precondition(headerLength >= 20 && headerLength <= 60 && headerLength & 3 == 0, "no header is so long")
        // Three stores rather than seven: each is checked against the span's end.
        bytes.store(UInt64(firstWord) &<< 32 | UInt64(fragmentWord), at: 0)
        bytes.store(UInt64(hopWord | UInt32(checksum)) &<< 32 | UInt64(source.bits), at: 8)
        bytes.store(destination, at: 16)
    }

    /// Bytes behind the header that are of the packet.
    @inlinable
    var payloadLength: Int { Int(totalLength) &- Int(headerLength) }

    /// Whether this is a part of a packet that was cut.
    @inlinable
    var isFragment: Bool { moreFragments || fragmentOffset != 0 }
}

// MARK: - The header checksum

extension IPv4Header {
    /// What the checksum field is to hold if there are no options.
    @inlinable
    @inline(__always)
    var computedChecksum: UInt16 {
        var sum = Checksum()
        sum.add(firstWord)
        sum.add(fragmentWord)
        sum.add(hopWord)
        sum.add(source.bits)
        sum.add(destination.bits)
        return sum.value
    }

    /// Whether the checksum of this header, which was read from the start of `bytes`, is right, options included.
    ///
    /// - Precondition: `bytes` has `headerLength` bytes or more.
    @inlinable
    @inline(__always)
    func isIntact(_ bytes: RawSpan) -> Bool {
        guard headerLength == 20 else {
            return bytes.extracting(0..<Int(headerLength)).onesComplementSum() == 0xFFFF
        }
        var sum = Checksum()
        let first: UInt64 = bytes.number(at: 0)
        let second: UInt64 = bytes.number(at: 8)
        sum.add(first)
        sum.add(second)
        sum.add(bytes.uint32(at: 16))
        return sum.value == 0
    }

    @inlinable
    @inline(__always)
    var firstWord: UInt32 {
        let trafficClass = UInt32(dscp & 63) &<< 2 | UInt32(ecn.rawValue)
        return 4 &<< 28 | UInt32(headerLength &>> 2) &<< 24 | trafficClass &<< 16 | UInt32(totalLength)
    }

    /// The third word, with a checksum of 0.
    @inlinable
    @inline(__always)
    var hopWord: UInt32 { UInt32(timeToLive) &<< 24 | UInt32(self.protocol.rawValue) &<< 16 }

    @inlinable
    @inline(__always)
    var fragmentWord: UInt32 {
        let flags: UInt32 = (dontFragment ? 0x4000 : 0) | (moreFragments ? 0x2000 : 0)
        return UInt32(identification) &<< 16 | flags | UInt32(fragmentOffset &>> 3)
    }
}
