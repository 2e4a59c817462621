// An address of either IP version, for the places that do not care which.

/// An IPv4 or IPv6 address.
///
/// An IPv4-mapped IPv6 address is not equal to the IPv4 address it maps; compare ``unmapped`` where that matters.
public enum IPAddress: BitwiseCopyable, Hashable, Sendable {
    case v4(IPv4Address)
    case v6(IPv6Address)

    /// This address, or the IPv4 address that it maps.
    @inlinable
    public var unmapped: IPAddress {
        if case .v6(let address) = self, let mapped = address.mappedIPv4 { return .v4(mapped) }
        return self
    }

    /// Whether the address is in `127.0.0.0/8`, or is `::1`.
    @inlinable
    public var isLoopback: Bool {
        switch self {
        case .v4(let address): address.isLoopback
        case .v6(let address): address.isLoopback
        }
    }

    /// Whether the address is in `169.254.0.0/16` or `fe80::/10`.
    @inlinable
    public var isLinkLocal: Bool {
        switch self {
        case .v4(let address): address.isLinkLocal
        case .v6(let address): address.isLinkLocal
        }
    }

    /// Whether the address is in `224.0.0.0/4` or `ff00::/8`.
    @inlinable
    public var isMulticast: Bool {
        switch self {
        case .v4(let address): address.isMulticast
        case .v6(let address): address.isMulticast
        }
    }
}

extension IPAddress: LosslessStringConvertible {
    /// Reads what ``IPv4Address`` or ``IPv6Address`` reads. No text is both.
    public init?(_ text: String) {
        if let address = IPv4Address(text) {
            self = .v4(address)
        } else if let address = IPv6Address(text) {
            self = .v6(address)
        } else {
            return nil
        }
    }

    /// The dotted quad, or the canonical text of RFC 5952.
    public var description: String {
        switch self {
        case .v4(let address): address.description
        case .v6(let address): address.description
        }
    }
}
