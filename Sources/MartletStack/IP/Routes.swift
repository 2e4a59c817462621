// Where packets go: the next hop and the interface for a destination (RFC 1122 §3.3.1, RFC 4861 §5.2).
//
// Changes come from outside of the packet path: the configuration, DHCP, router advertisements, neighbors that do not
// answer. Must not know link addresses or sockets.

/// The routes of both IP versions. Lookups allocate nothing.
struct Routes: ~Copyable {
    private(set) var v4: RouteTable
    private(set) var v6: RouteTable

    /// Room for `capacity` routes of each IP version.
    ///
    /// - Precondition: `capacity` is in `1 ..< 65,535`.
    init(capacity: Int = 256) {
        v4 = RouteTable(capacity: capacity)
        v6 = RouteTable(capacity: capacity)
    }

    /// The route with the longest prefix that holds `destination` and counts at `now`; `nil` if it cannot be reached.
    ///
    /// With an `interface`, only routes of it: for link-local and multicast destinations, and sockets bound to one.
    func lookup(_ destination: IPAddress, on interface: UInt8? = nil, at now: Instant) -> Route? {
        switch destination {
        case .v4: v4.lookup(destination.routeBits, on: interface, at: now)
        case .v6: v6.lookup(destination.routeBits, on: interface, at: now)
        }
    }

    /// Adds a route to the addresses that agree with `address` in the first `length` bits, or replaces the one that leads
    /// the same way and came from the same source.
    ///
    /// - Returns: whether there was room.
    /// - Precondition: `length` is at most 32 or 128, and the gateway is of the same IP version.
    mutating func insert(
        _ address: IPAddress, length: Int, via gateway: IPAddress? = nil, on interface: UInt8, metric: UInt16 = 0,
        mtu: UInt16? = nil, from source: RouteSource = .manual, validUntil: Instant = .distantFuture
    ) -> Bool {
        precondition(length >= 0 && length <= address.bitWidth, "a prefix longer than its addresses")
        precondition(gateway == nil || gateway?.bitWidth == address.bitWidth, "a gateway of the other IP version")
        let route = Route(
            prefix: RoutePrefix(bits: address.routeBits, length: length), gateway: gateway, interface: interface,
            metric: metric, mtu: mtu, source: source, validUntil: validUntil)
        return switch address {
        case .v4: v4.insert(route)
        case .v6: v6.insert(route)
        }
    }

    /// Removes the route that leads this way; `false` if there is none.
    mutating func remove(
        _ address: IPAddress, length: Int, via gateway: IPAddress? = nil, on interface: UInt8,
        from source: RouteSource = .manual
    ) -> Bool {
        precondition(length >= 0 && length <= address.bitWidth, "a prefix longer than its addresses")
        let route = Route(
            prefix: RoutePrefix(bits: address.routeBits, length: length), gateway: gateway, interface: interface,
            source: source)
        return switch address {
        case .v4: v4.removeAll { $0.isSameWay(as: route) } > 0
        case .v6: v6.removeAll { $0.isSameWay(as: route) } > 0
        }
    }

    /// Removes what an interface that went down, or a source that ends, had put in; returns how many.
    mutating func removeAll(on interface: UInt8, from source: RouteSource? = nil) -> Int {
        v4.removeAll { $0.interface == interface && (source == nil || $0.source == source) }
            + v6.removeAll { $0.interface == interface && (source == nil || $0.source == source) }
    }

    /// Removes the routes through a router that is no router any more (RFC 4861 §7.2.5) and were learned from it.
    mutating func removeLearned(via gateway: IPAddress, on interface: UInt8) -> Int {
        v6.removeAll {
            $0.gateway == gateway && $0.interface == interface && $0.source == .routerAdvertisement
        }
    }

    /// Removes the routes whose lifetime has ended, and returns how many.
    mutating func expire(at now: Instant) -> Int {
        guard nextExpiry <= now else { return 0 }
        return v4.removeAll { $0.validUntil <= now } + v6.removeAll { $0.validUntil <= now }
    }

    /// No route expires before.
    var nextExpiry: Instant { min(v4.nextExpiry, v6.nextExpiry) }

    /// Marks routes through a gateway that does not answer, or answers again. They are used only if no other of the same
    /// prefix can be.
    mutating func mark(gateway: IPAddress, on interface: UInt8, isDead: Bool) {
        switch gateway {
        case .v4: v4.mark(gateway: gateway, on: interface, isDead: isDead)
        case .v6: v6.mark(gateway: gateway, on: interface, isDead: isDead)
        }
    }
}

extension IPAddress {
    /// The address as the first bits of a number, as ``RoutePrefix`` has it.
    var routeBits: UInt128 {
        switch self {
        case .v4(let address): UInt128(address.bits) << 96
        case .v6(let address): UInt128(address.high) << 64 | UInt128(address.low)
        }
    }

    /// 32 or 128.
    var bitWidth: Int {
        switch self {
        case .v4: 32
        case .v6: 128
        }
    }
}
