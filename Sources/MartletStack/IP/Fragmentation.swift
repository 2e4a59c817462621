// Cutting a packet that is longer than its path takes: RFC 791 §3.2 for IPv4, RFC 8200 §4.5 for IPv6. The sender alone does it.
//
//     │ transport header │            payload            │        what is cut: a multiple of 8 bytes in each piece but the last
//     ├──────────────────┬─────────┬───────────────┬─────┤
//     │ IP header, piece 0         │ IP, piece 1   │ IP, 2 │      IPv6: a Fragment header behind each
//
// Who cuts copies the pieces into frames, and has the headers put before them here.

/// Where a packet is cut, headers of IP left out.
struct FragmentCuts: BitwiseCopyable, Equatable {
    /// Bytes of the transport header and its payload.
    let byteCount: Int
    /// Bytes of each piece but the last: a multiple of 8, unless there is but one.
    let pieceLength: Int

    /// Cuts for a path that takes packets of `mtu` bytes, and frames that take `room` bytes behind the IP headers. Nil if no
    /// piece would fit in, or the packet is longer than one can be: 65,535 bytes, of which the header is part over IPv4.
    ///
    /// - Precondition: `byteCount` is positive.
    init?(_ byteCount: Int, mtu: Int, room: Int, isIPv4: Bool) {
        precondition(byteCount > 0, "nothing to cut")
        let header = isIPv4 ? IPv4Header.minimumLength : IPv6Header.length
        guard byteCount <= (isIPv4 ? 65_535 - header : 65_535) else { return nil }
        self.byteCount = byteCount
        if byteCount <= min(mtu - header, room) {
            pieceLength = byteCount
            return
        }
        let fragmentHeader = isIPv4 ? 0 : Fragmentation.headerLength
        let longest = min(mtu - header - fragmentHeader, room)
        guard longest >= 8 else { return nil }
        pieceLength = longest & ~7
    }

    /// Number of pieces; 1 if the packet stays whole.
    var count: Int { (byteCount + pieceLength - 1) / pieceLength }

    /// - Precondition: `index` is in `0 ..< count`.
    subscript(index: Int) -> Range<Int> {
        precondition(index >= 0 && index < count, "no such piece")
        return index * pieceLength..<min(byteCount, (index + 1) * pieceLength)
    }
}

enum Fragmentation {
    /// Bytes of a Fragment header.
    static var headerLength: Int { 8 }

    /// Prepends the headers to a frame that holds one piece, which is not the whole packet.
    ///
    /// IPv4 routers may cut pieces further: these do not forbid it, as it is what the identification is for.
    ///
    /// - Precondition: both addresses are of one IP version, and the frame has 48 bytes of headroom.
    static func prepend(
        from source: IPAddress, to destination: IPAddress, protocol: IPProtocol, timeToLive: UInt8, dscp: UInt8 = 0,
        identification: UInt32, offset: Int, hasMore: Bool, _ frame: inout Frame
    ) {
        switch (source, destination) {
        case (.v4(let source), .v4(let destination)):
            var header = IPv4Header(
                source: source, destination: destination, protocol: `protocol`, payloadLength: frame.length,
                timeToLive: timeToLive)
            header.dscp = dscp
            header.identification = UInt16(truncatingIfNeeded: identification)
            header.fragmentOffset = UInt16(offset)
            header.moreFragments = hasMore
            header.dontFragment = false
            header.checksum = header.computedChecksum
            frame.prepend(IPv4Header.minimumLength)
            var bytes = frame.mutableBytes
            header.write(to: &bytes)
        case (.v6, .v6):
            frame.prepend(headerLength)
            var bytes = frame.mutableBytes
            bytes.store(`protocol`.rawValue, at: 0)
            bytes.store(0 as UInt8, at: 1)
            bytes.store(UInt16(offset) | (hasMore ? 1 : 0), at: 2)
            bytes.store(identification, at: 4)
            IPOut.prepend(
                from: source, to: destination, protocol: .fragment, timeToLive: timeToLive, dscp: dscp, &frame)
        default: preconditionFailure("a packet's addresses are of one version")
        }
    }
}

extension IPIdentification {
    /// The Identification of the next packet that is cut.
    mutating func next(
        from source: IPAddress, to destination: IPAddress, protocol: IPProtocol, at now: Instant,
        using random: inout some RandomNumberGenerator
    ) -> UInt32 {
        switch (source, destination) {
        case (.v4(let source), .v4(let destination)):
            UInt32(
                next4(
                    from: source, to: destination, transportProtocol: `protocol`.rawValue, at: now, using: &random))
        case (.v6(let source), .v6(let destination)):
            next6(from: source, to: destination, at: now, using: &random)
        default: preconditionFailure("a packet's addresses are of one version")
        }
    }
}
