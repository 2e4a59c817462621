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
        timeToLive: UInt8 = IPOut.timeToLive, ecn: ECN = .notCapable, _ frame: inout Frame
    ) {
        let payload = frame.length
        switch (source, destination) {
        case (.v4(let source), .v4(let destination)):
            frame.prepend(IPv4Header.minimumLength)
            var header = IPv4Header(
                source: source, destination: destination, protocol: `protocol`, payloadLength: payload,
                timeToLive: timeToLive)
            header.ecn = ecn
            header.checksum = header.computedChecksum
            var bytes = frame.mutableBytes
            header.write(to: &bytes)
        case (.v6(let source), .v6(let destination)):
            frame.prepend(IPv6Header.length)
            var header = IPv6Header(
                source: source, destination: destination, nextHeader: `protocol`, payloadLength: payload,
                hopLimit: timeToLive)
            header.ecn = ecn
            var bytes = frame.mutableBytes
            header.write(to: &bytes)
        default: preconditionFailure("a packet's addresses are of one family")
        }
    }
}
