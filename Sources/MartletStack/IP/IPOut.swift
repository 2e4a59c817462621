// The IP header of a packet that goes (RFC 791, RFC 8200).

enum IPOut {
    /// Hops that a packet may take (RFC 1700).
    static var timeToLive: UInt8 { 64 }

    /// Prepends the header to a frame that holds the transport header and its payload. Nothing is ever fragmented on the
    /// way: a packet says so, and its id means nothing (RFC 6864 §4.1).
    ///
    /// - Precondition: both addresses are of one family, and the payload is at most 65,515 bytes.
    @inline(__always)
    static func prepend(
        from source: IPAddress, to destination: IPAddress, protocol: IPProtocol,
        timeToLive: UInt8 = IPOut.timeToLive, dscp: UInt8 = 0, ecn: ECN = .notCapable, _ frame: inout Frame
    ) {
        let payload = frame.length
        switch (source, destination) {
        case (.v4(let source), .v4(let destination)):
            frame.prepend(IPv4Header.minimumLength)
            var header = IPv4Header(
                source: source, destination: destination, protocol: `protocol`, payloadLength: payload,
                timeToLive: timeToLive)
            (header.dscp, header.ecn) = (dscp, ecn)
            header.checksum = header.computedChecksum
            var bytes = frame.mutableBytes
            header.write(to: &bytes)
        case (.v6(let source), .v6(let destination)):
            frame.prepend(IPv6Header.length)
            var header = IPv6Header(
                source: source, destination: destination, nextHeader: `protocol`, payloadLength: payload,
                hopLimit: timeToLive)
            (header.dscp, header.ecn) = (dscp, ecn)
            var bytes = frame.mutableBytes
            header.write(to: &bytes)
        default: preconditionFailure("a packet's addresses are of one family")
        }
    }

    /// Prepends the header of a message to multicast routers of the link: one hop, with the Router Alert option (RFC 2113), and with
    /// the precedence of what runs a network (RFC 3376 §4).
    static func prependAlerting(from source: IPv4Address, to destination: IPv4Address, _ frame: inout Frame) {
        var header = IPv4Header(
            source: source, destination: destination, protocol: .igmp, payloadLength: frame.length + 4, timeToLive: 1)
        (header.headerLength, header.dscp) = (24, 48)
        frame.prepend(24)
        var bytes = frame.mutableBytes
        header.write(to: &bytes)
        bytes.store(0x9404_0000 as UInt32, at: 20)
        bytes.store(~bytes.bytes.extracting(0..<24).onesComplementSum(), at: 10)
    }

    /// The same for IPv6 (RFC 2711, RFC 3810 §5): the option stands in a hop-by-hop header.
    static func prependAlerting(from source: IPv6Address, to destination: IPv6Address, _ frame: inout Frame) {
        let payload = frame.length + 8
        frame.prepend(IPv6Header.length + 8)
        let header = IPv6Header(
            source: source, destination: destination, nextHeader: .hopByHop, payloadLength: payload, hopLimit: 1)
        var bytes = frame.mutableBytes
        header.write(to: &bytes)
        // ICMPv6 follows; Router Alert, of MLD; and padding.
        bytes.store(0x3A00_0502_0000_0100 as UInt64, at: IPv6Header.length)
    }

    /// Writes the header of a packet with a TCP segment to the first 20 bytes of `space`, in as few stores as can be.
    ///
    /// - Precondition: the segment has 65,515 bytes at most.
    @inline(__always)
    static func writeTCPHeader(
        from source: IPv4Address, to destination: IPv4Address, segmentLength: UInt64, ecn: ECN,
        _ space: inout MutableRawSpan
    ) {
        // Version 4, five words, no fragments.
        let first = 0x4500_0000_0000_4000 | UInt64(ecn.rawValue) &<< 48 | UInt64(UInt16(segmentLength &+ 20)) &<< 32
        let hop = UInt64(timeToLive) &<< 56 | UInt64(IPProtocol.tcp.rawValue) &<< 48 | UInt64(source.bits)
        var sum = CarrySum(UInt64(destination.bits))
        sum.add(first)
        sum.add(hop)
        space.store(first, at: 0)
        space.store(hop | UInt64(~sum.folded) &<< 32, at: 8)
        space.store(destination.bits, at: 16)
    }

    /// The same for IPv6, and the first 40 bytes.
    @inline(__always)
    static func writeTCPHeader(
        from source: IPv6Address, to destination: IPv6Address, segmentLength: UInt64, ecn: ECN,
        _ space: inout MutableRawSpan
    ) {
        let hop = UInt64(IPProtocol.tcp.rawValue) &<< 8 | UInt64(timeToLive)
        let first = 6 &<< 60 | UInt64(ecn.rawValue) &<< 52 | UInt64(UInt16(segmentLength)) &<< 16 | hop
        space.store(first, at: 0)
        space.store(source.high, at: 8)
        space.store(source.low, at: 16)
        space.store(destination.high, at: 24)
        space.store(destination.low, at: 32)
    }
}
