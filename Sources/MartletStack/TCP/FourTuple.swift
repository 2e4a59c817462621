// The name of a connection on the wire: two addresses and two ports (RFC 9293 §3.3.1), in 36 bytes for both families.

/// The two ends of a connection, as this host sees them.
///
/// IPv4 addresses are kept as the IPv6 addresses that map them (RFC 4291 §2.5.5.2), so that nothing asks for the family
/// where a segment finds its connection. No packet may have such an address in an IPv6 header: see ``isMapped(_:)``.
struct FourTuple: BitwiseCopyable, Hashable, Sendable {
    private(set) var local: IPv6Address
    private(set) var remote: IPv6Address
    var localPort: UInt16
    var remotePort: UInt16

    init(localAddress: IPAddress, localPort: UInt16, remoteAddress: IPAddress, remotePort: UInt16) {
        local = Self.mapped(localAddress)
        remote = Self.mapped(remoteAddress)
        self.localPort = localPort
        self.remotePort = remotePort
    }

    /// The ends of a packet that has come, with IPv4 addresses mapped already.
    @inline(__always)
    init(local: IPv6Address, localPort: UInt16, remote: IPv6Address, remotePort: UInt16) {
        self.local = local
        self.remote = remote
        self.localPort = localPort
        self.remotePort = remotePort
    }

    /// Whether a packet that has come, with these ports as they stand in its TCP header, is between the same ends.
    @inline(__always)
    func isOf(_ packet: PlainPacket, _ ports: UInt32) -> Bool {
        remote.low == packet.source.low && UInt32(remotePort) &<< 16 | UInt32(localPort) == ports
            && local.low == packet.destination.low && remote.high == packet.source.high
            && local.high == packet.destination.high
    }

    /// This host's address. A mapped IPv6 address comes back as the IPv4 address that it maps.
    var localAddress: IPAddress {
        get { IPAddress.v6(local).unmapped }
        set { local = Self.mapped(newValue) }
    }

    /// The peer's address. A mapped IPv6 address comes back as the IPv4 address that it maps.
    var remoteAddress: IPAddress {
        get { IPAddress.v6(remote).unmapped }
        set { remote = Self.mapped(newValue) }
    }

    /// Whether the connection runs over IPv4. Both ends are of one family.
    @inline(__always)
    var isIPv4: Bool { remote.mappedIPv4 != nil }

    /// Whether the remote address can be that of one host: it is no group, not everybody, and not nobody. What the interface
    /// calls broadcast is for the IP layer to know.
    var isRemoteOneHost: Bool {
        switch remoteAddress {
        case .v4(let address): !address.isMulticast && address != .any && address != .broadcast
        case .v6(let address): !address.isMulticast && address != .any
        }
    }

    /// The ends, if they are of IPv4.
    var localIPv4: IPv4Address { IPv4Address(bits: UInt32(truncatingIfNeeded: local.low)) }
    var remoteIPv4: IPv4Address { IPv4Address(bits: UInt32(truncatingIfNeeded: remote.low)) }

    /// Whether this is an IPv6 address that names an IPv4 address. In a packet it is a forgery: it would pass for a
    /// connection over IPv4.
    @inline(__always)
    static func isMapped(_ address: IPAddress) -> Bool {
        if case .v6(let address) = address { address.mappedIPv4 != nil } else { false }
    }

    @inline(__always)
    private static func mapped(_ address: IPAddress) -> IPv6Address {
        switch address {
        case .v4(let address): IPv6Address(mapping: address)
        case .v6(let address): address
        }
    }
}
