// The IP header of a packet that is what most are, read in the fewest loads: TCP, and neither options, extension headers nor
// fragments.
//
// Whatever is different is read the long way, which can read all of it: here it is only told apart. So each test is one
// comparison of several fields at once. Hold RFC 791 §3.1 and RFC 8200 §3 beside it.

/// A TCP segment in a packet with nothing unusual about it.
///
/// Of what the long way checks, two things are left to the caller: whether the destination is ours, and, before anybody
/// is answered who is not known yet, whether the source can be one host.
struct PlainPacket: BitwiseCopyable {
    /// Where it comes from and goes to; IPv4 addresses are mapped.
    var source: IPv6Address
    var destination: IPv6Address
    /// Where the segment lies in the frame.
    var start: Int
    var end: Int
    /// The sum of the addresses, the protocol and the segment's length: the pseudo-header's.
    var pseudoSum: CarrySum

    /// The ends of its connection, whose ports stand so in the TCP header.
    @inline(__always)
    func ends(_ ports: UInt32) -> FourTuple {
        FourTuple(
            local: destination, localPort: UInt16(truncatingIfNeeded: ports), remote: source,
            remotePort: UInt16(truncatingIfNeeded: ports &>> 16))
    }

    /// Reads an IPv4 packet, which starts at `offset` of its frame; `nil` if there is anything unusual about it, or wrong with it.
    @inline(__always)
    init?(ipv4 packet: RawSpan, at offset: Int, isFromUs: Bool = false) {
        guard packet.byteCount >= 40 else { return nil }
        let first: UInt64 = packet.number(at: 0)
        let second: UInt64 = packet.number(at: 8)
        let third = packet.uint32(at: 16)
        let length = Int(truncatingIfNeeded: first &>> 32 & 0xFFFF)
        // Version 4 with five words of header, and not marked by a router; neither more fragments nor an offset; TCP. A source
        // in 127/8 comes from no link (RFC 1122 §3.2.1.3).
        guard first & 0xFF00_0000_0000_3FFF == 0x4500_0000_0000_0000, first &>> 48 & 3 != 3,
            second & 0x00FF_0000_0000_0000 == 0x0006_0000_0000_0000, isFromUs || second & 0xFF00_0000 != 0x7F00_0000,
            length >= 40, length <= packet.byteCount
        else { return nil }
        var header = CarrySum(UInt64(third))
        header.add(first)
        header.add(second)
        guard header.folded == 0xFFFF else { return nil }
        let from = second & 0xFFFF_FFFF
        source = IPv6Address(high: 0, low: 0xFFFF_0000_0000 | from)
        destination = IPv6Address(high: 0, low: 0xFFFF_0000_0000 | UInt64(third))
        (start, end) = (offset &+ 20, offset &+ length)
        // Numbers of 32 bits and less: their sum does not overflow.
        pseudoSum = CarrySum(from &+ UInt64(third) &+ UInt64(length &- 20 &+ 6))
    }

    /// Reads an IPv6 packet, which starts at `offset` of its frame; `nil` if there is anything unusual about it, or wrong with it.
    @inline(__always)
    init?(ipv6 packet: RawSpan, at offset: Int, isFromUs: Bool = false) {
        guard packet.byteCount >= 60 else { return nil }
        let first: UInt64 = packet.number(at: 0)
        let length = Int(truncatingIfNeeded: first &>> 16 & 0xFFFF)
        source = packet.ipv6Address(at: 8)
        destination = packet.ipv6Address(at: 24)
        // Version 6, and not marked by a router; TCP behind the fixed header. From a link comes neither ::1 nor an address that
        // maps one of IPv4: the upper half of both is zero.
        guard first &>> 60 == 6, first &>> 52 & 3 != 3, first & 0xFF00 == 0x0600, isFromUs || source.high != 0,
            length >= 20, length &+ 40 <= packet.byteCount
        else { return nil }
        (start, end) = (offset &+ 40, offset &+ 40 &+ length)
        pseudoSum = CarrySum(UInt64(length &+ 6))
        pseudoSum.add(source.high)
        pseudoSum.add(source.low)
        pseudoSum.add(destination.high)
        pseudoSum.add(destination.low)
    }
}
