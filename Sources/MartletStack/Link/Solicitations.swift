// What the neighbor table and the claims of addresses want to be sent: requests of ARP, solicitations of Neighbor Discovery.

extension Network {
    /// Asks for a neighbor: everybody who may be it, or it alone (RFC 4861 §7.2.2, RFC 826).
    mutating func solicit(_ target: IPAddress, on interface: UInt8, to linkAddress: MACAddress?) {
        switch target {
        case .v4(let target):
            guard let source = sourceAddress4(for: target, nextHop: target, on: interface) else { return }
            sendARPRequest(for: target, from: source, to: linkAddress, on: interface)
        case .v6(let target):
            guard let source = sourceAddress6(for: target, on: interface) else { return }
            sendNeighborSolicitation(for: target, from: source, to: linkAddress, on: interface)
        }
    }

    /// Lets the neighbors' timers expire, and sends what they ask for.
    mutating func advanceNeighbors(to now: Instant) {
        neighbors.advance(to: now, using: &random)
        while let action = neighbors.nextAction() {
            switch action {
            case .solicitMulticast(let address, let interface): solicit(address, on: interface, to: nil)
            case .solicitUnicast(let address, let interface, let linkAddress):
                solicit(address, on: interface, to: linkAddress)
            case .unreachable(let address, let interface, _):
                // If it was a gateway, others of the same prefix are tried (RFC 1122 §3.3.1.5).
                routes.mark(gateway: address, on: interface, isDead: true)
                destinations.forgetAll()
            }
        }
    }

    /// TCP hears nothing of a peer any more: the next hop towards it is asked whether it is there (MUST-20).
    mutating func doubt(wayTo remote: IPAddress, at now: Instant) {
        guard let route = routes.lookup(remote, at: now), interfaces[Int(route.interface)].linkAddress != nil else {
            return
        }
        neighbors.doubt(route.gateway ?? remote, on: route.interface, at: now)
    }

    /// Others have been seen to be there: a gateway that was given up is tried again.
    mutating func neighborAnswered(_ address: IPAddress, on interface: UInt8) {
        routes.mark(gateway: address, on: interface, isDead: false)
        destinations.forgetAll()
    }

    /// The address to send from to an IPv4 destination; nil if the interface has none that may be used.
    func sourceAddress4(for destination: IPv4Address, nextHop: IPv4Address, on interface: UInt8) -> IPv4Address? {
        let nobody = SourceCandidate4(address: .any, prefixLength: 0, interface: interface)
        var candidates = InlineArray<64, SourceCandidate4>(repeating: nobody)
        var count = 0
        for entry in addresses.entries where entry.isUsable {
            guard case .v4(let address) = entry.address else { continue }
            candidates[count] = SourceCandidate4(
                address: address, prefixLength: entry.prefixLength, interface: entry.interface)
            count += 1
        }
        return SourceAddress.select(
            for: destination, nextHop: nextHop, on: interface, from: candidates.span.extracting(first: count))
    }

    /// The same for IPv6.
    func sourceAddress6(for destination: IPv6Address, on interface: UInt8) -> IPv6Address? {
        let nobody = SourceCandidate(address: .any, interface: interface)
        var candidates = InlineArray<64, SourceCandidate>(repeating: nobody)
        var count = 0
        for entry in addresses.entries where entry.isUsable {
            guard case .v6(let address) = entry.address else { continue }
            candidates[count] = SourceCandidate(
                address: address, prefixLength: entry.prefixLength, interface: entry.interface,
                isDeprecated: entry.isDeprecated)
            count += 1
        }
        return SourceAddress.select(for: destination, on: interface, from: candidates.span.extracting(first: count))
    }

    /// ``sourceAddress(for:at:)``, if the last connection that was opened says it.
    @inline(__always)
    func latestSource(for destination: IPAddress, at now: Instant) -> IPAddress? {
        destinations.latestSource(for: destination, addresses.changes, at: now)
    }

    /// A connection may be opened from `source` to `destination`, as things are.
    mutating func remember(source: IPAddress, for destination: IPAddress) {
        destinations.remember(source: source, for: destination, addresses.changes, until: routes.nextExpiry)
    }

    /// The address to send from to a destination; nil if there is no way to it, or no address.
    mutating func sourceAddress(for destination: IPAddress, at now: Instant) -> IPAddress? {
        if addresses.contains(destination) { return destination }
        switch destination {
        case .v4(let address):
            guard let route = routes.lookup(destination, at: now) else { return nil }
            var nextHop = address
            if case .v4(let gateway)? = route.gateway { nextHop = gateway }
            return sourceAddress4(for: address, nextHop: nextHop, on: route.interface).map { .v4($0) }
        case .v6(let address):
            guard let route = routes.lookup(destination, at: now) else {
                // On the link, the first interface that has an address is taken.
                guard address.isLinkLocal || address.isMulticast else { return nil }
                for interface in interfaces.indices {
                    if let source = sourceAddress6(for: address, on: UInt8(interface)) { return .v6(source) }
                }
                return nil
            }
            return sourceAddress6(for: address, on: route.interface).map { .v6($0) }
        }
    }
}
