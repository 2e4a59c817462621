// What a program may ask of interfaces, and change, while the stack runs: addresses, routes, groups, leases.

/// An address of an interface, as it stands.
public struct AssignedAddress: BitwiseCopyable, Hashable, Sendable {
    /// The address and its network.
    public internal(set) var address: InterfaceAddress
    /// Where it came from.
    public internal(set) var origin: AddressOrigin
    /// Whether it may be used: not while it is being claimed (RFC 5227 §2.1, RFC 4862 §5.4).
    public internal(set) var isUsable: Bool
    /// New connections do not use it, if there is another (RFC 4862 §5.5.4).
    public internal(set) var isDeprecated: Bool
}

extension Stack {
    /// Interfaces, known by their places.
    public var interfaceCount: Int { network.interfaces.count }

    /// The addresses of an interface, given and gained. Allocates.
    public func addresses(of interface: UInt8) -> [AssignedAddress] {
        network.addresses.entries.filter { $0.interface == interface }.map {
            AssignedAddress(
                address: InterfaceAddress($0.address, prefixLength: $0.prefixLength), origin: $0.origin,
                isUsable: $0.isUsable, isDeprecated: $0.isDeprecated)
        }
    }

    /// Adds an address to an interface, and the route to its network. On Ethernet it is claimed first; an event tells how that
    /// ends. Returns false if the stack has 64 addresses already.
    public mutating func addAddress(_ address: InterfaceAddress, to interface: UInt8) -> Bool {
        network.add(
            address.address, prefixLength: address.prefixLength, .manual, on: interface, at: tcp.now)
    }

    /// Takes an address away, wherever it came from. Its connections stay, and send from it no more than they are answered.
    /// Returns false if the stack does not have it.
    public mutating func removeAddress(_ address: IPAddress) -> Bool {
        guard network.addresses.position(of: address) != nil else { return false }
        network.remove(address, because: .lost)
        return true
    }

    /// Adds a route. Returns false if there are as many as there may be (``NetworkLimits/routes``).
    ///
    /// - Precondition: the stack has the interface, and the gateway is of the IP version of the destination.
    public mutating func addRoute(_ route: RouteConfiguration, on interface: UInt8) -> Bool {
        network.add(route, on: interface)
    }

    /// Removes a route that was added, or that the interface was configured with. Returns false if there is none.
    public mutating func removeRoute(_ route: RouteConfiguration, on interface: UInt8) -> Bool {
        let destination = route.destination
        defer { network.destinations.forgetAll() }
        return network.routes.remove(
            destination.address, length: Int(destination.prefixLength), via: route.gateway, on: interface)
    }

    /// What a DHCP server has lent an interface; nil if there is no lease.
    public func lease(of interface: UInt8) -> DHCPLease? { network.autoconfigurations[Int(interface)].dhcp?.lease }

    /// Takes packets for a multicast group, and tells multicast routers so, by IGMPv3 (RFC 3376) or MLDv2 (RFC 3810) or the version
    /// that they speak. Who joins twice has to leave twice. Returns false if the program is in 32 groups.
    ///
    /// - Precondition: `group` is a multicast address, and the stack has the interface.
    public mutating func join(_ group: IPAddress, on interface: UInt8) -> Bool {
        network.join(group, on: interface, for: .program, at: tcp.now)
    }

    /// Takes back a ``join(_:on:)``; routers hear of it when it was the last. Returns false if there was none.
    public mutating func leave(_ group: IPAddress, on interface: UInt8) -> Bool {
        network.leave(group, on: interface, for: .program, at: tcp.now)
    }
}
