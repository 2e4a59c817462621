// The headers of a segment that goes, put before a payload that is in its frame already.

enum SegmentOut {
    /// Prepends the TCP and IP headers, and fills in both checksums. If the link is to complete that of TCP, its field holds the
    /// sum of the pseudo-header.
    ///
    /// - Precondition: the frame has 100 bytes of headroom.
    static func prepend(
        _ header: TCPHeader, _ options: TCPOptions, _ tuple: FourTuple, ecn: ECN = .notCapable, _ frame: inout Frame
    ) {
        let optionsLength = options.length
        var header = header
        header.headerLength = UInt8(truncatingIfNeeded: 20 + optionsLength)
        frame.prepend(Int(header.headerLength))
        let length = frame.length
        let isPartial = frame.offload.contains(.checksumPartial)
        var bytes = frame.mutableBytes
        header.write(to: &bytes)
        if optionsLength > 0 {
            var space = bytes._mutatingExtracting(20..<Int(header.headerLength))
            options.write(to: &space)
        }
        var checksum = pseudoHeader(tuple, length)
        if isPartial {
            bytes.store(~checksum.value, at: 16)
        } else {
            checksum.add(bytes.bytes)
            bytes.store(checksum.value, at: 16)
        }
        if tuple.isIPv4 {
            IPOut.prepend(from: .v4(tuple.localIPv4), to: .v4(tuple.remoteIPv4), protocol: .tcp, ecn: ecn, &frame)
        } else {
            IPOut.prepend(from: .v6(tuple.local), to: .v6(tuple.remote), protocol: .tcp, ecn: ecn, &frame)
        }
    }

    /// The sum of addresses, protocol and length, which is the same in both directions and for both families.
    @inline(__always)
    static func pseudoHeader(_ tuple: FourTuple, _ length: Int) -> Checksum {
        // The sum of a mapped IPv4 address is that of the address and 0xFFFF, which is nothing (RFC 1071 §2).
        Checksum.pseudoHeader(
            source: tuple.local, destination: tuple.remote, protocol: IPProtocol.tcp.rawValue, length: length)
    }
}
