// What an IP packet carries: the protocol field of IPv4 and the next-header fields of IPv6.
//
// Hold the registry "Assigned Internet Protocol Numbers" beside it.

/// The number of a protocol above IP, or of an IPv6 extension header.
@usableFromInline
struct IPProtocol: RawRepresentable, BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var rawValue: UInt8

    @inlinable
    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The hop-by-hop options of IPv6.
    @inlinable static var hopByHop: IPProtocol { IPProtocol(rawValue: 0) }
    /// ICMP for IPv4.
    @inlinable static var icmp: IPProtocol { IPProtocol(rawValue: 1) }
    /// IGMP, for IPv4.
    @inlinable static var igmp: IPProtocol { IPProtocol(rawValue: 2) }
    @inlinable static var tcp: IPProtocol { IPProtocol(rawValue: 6) }
    @inlinable static var udp: IPProtocol { IPProtocol(rawValue: 17) }
    /// The routing header of IPv6.
    @inlinable static var routing: IPProtocol { IPProtocol(rawValue: 43) }
    /// The fragment header of IPv6.
    @inlinable static var fragment: IPProtocol { IPProtocol(rawValue: 44) }
    /// ICMP for IPv6.
    @inlinable static var icmpv6: IPProtocol { IPProtocol(rawValue: 58) }
    /// Nothing follows.
    @inlinable static var noNextHeader: IPProtocol { IPProtocol(rawValue: 59) }
    /// The destination options of IPv6.
    @inlinable static var destinationOptions: IPProtocol { IPProtocol(rawValue: 60) }
}
