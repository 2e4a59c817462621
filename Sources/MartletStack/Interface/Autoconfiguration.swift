// How addresses come and go: by hand, claimed before they are used (RFC 5227, RFC 4862 §5.4), and made from what routers
// advertise (RFC 4862, RFC 4861 §6.3).

/// What one interface learns from routers.
struct Autoconfiguration {
    let isActive: Bool
    var slaac: SLAAC
    var solicitation: RouterSolicitation
    /// Link-local addresses that turned out to be somebody else's.
    var linkLocalDuplicates: UInt8 = 0
    /// IPv4 addresses that did.
    var conflicts = 0
    /// Who asks for an IPv4 address; nil if nobody does.
    var dhcp: DHCPClient?

    init(
        isActive: Bool, identifiers: StableInterfaceIdentifier, networkInterface: UInt64, now: Instant,
        using random: inout some RandomNumberGenerator
    ) {
        self.isActive = isActive
        slaac = SLAAC(identifiers: identifiers, networkInterface: networkInterface)
        solicitation = RouterSolicitation(now: now, using: &random)
    }
}

extension Network {
    /// Takes over what a program says of an interface.
    mutating func configure(_ configuration: InterfaceConfiguration, _ interface: UInt8, at now: Instant) {
        for address in configuration.addresses {
            _ = add(address.address, prefixLength: address.prefixLength, .manual, on: interface, at: now)
        }
        for route in configuration.routes {
            precondition(add(route, on: interface), "more routes than the limit")
        }
        for (metric, gateway) in configuration.gateways.enumerated() {
            let everywhere: IPAddress = gateway.bitWidth == 32 ? .v4(.any) : .v6(.any)
            let inserted = routes.insert(
                everywhere, length: 0, via: gateway, on: interface, metric: UInt16(clamping: metric))
            precondition(inserted, "more routes than the limit")
        }
        if configuration.usesDHCP, let linkAddress = interfaces[Int(interface)].linkAddress {
            autoconfigurations[Int(interface)].dhcp = DHCPClient(DHCPConfiguration(linkAddress), now: now)
        }
        if autoconfigurations[Int(interface)].isActive {
            let address = autoconfigurations[Int(interface)].slaac.linkLocalAddress()
            _ = add(.v6(address), prefixLength: 64, .linkLocal, on: interface, at: now)
        }
        maintainSoon()
    }

    /// Adds a route that the program wants. Returns false if there is no room.
    mutating func add(_ route: RouteConfiguration, on interface: UInt8) -> Bool {
        defer { destinations.forgetAll() }
        return routes.insert(
            route.destination.address, length: Int(route.destination.prefixLength), via: route.gateway, on: interface,
            metric: route.metric, mtu: route.mtu)
    }

    /// Adds an address of ours, and the route to its network. It may be used at once, or when nobody else claims it. Returns false
    /// if there is no room.
    mutating func add(
        _ address: IPAddress, prefixLength: UInt8, _ origin: AddressOrigin, on interface: UInt8, at now: Instant
    ) -> Bool {
        let link = interfaces[Int(interface)]
        var entry = LocalAddress(address: address, prefixLength: prefixLength, interface: interface, origin: origin)
        if link.detectsConflicts, link.linkAddress != nil {
            let conflicts = autoconfigurations[Int(interface)].conflicts
            entry.claim =
                address.bitWidth == 32
                ? AddressConflict(ipv4ClaimAfter: conflicts, now: now, using: &random)
                : AddressConflict(ipv6Transmits: 1, now: now, using: &random)
        }
        let isNew = addresses.position(of: address) == nil
        guard addresses.add(entry) else {
            drop(.noRoom)
            return false
        }
        if isNew, entry.isUsable { tell(.gained, entry) }
        // RFC 4862 §5.4.2: routers and switches hear of the group before the address is asked for in it.
        if isNew, let group = solicitedNodes(of: entry) {
            _ = join(group, on: interface, for: .address, at: entry.claim?.deadline ?? now)
        }
        // A prefix of routers is on the link only if they say so, which has a route of its own.
        if origin != .autoconfigured {
            _ = routes.insert(address, length: Int(prefixLength), on: interface, from: .connected)
        }
        destinations.forgetAll()
        maintainSoon()
        return true
    }

    /// Takes an address from us, and the route to its network if no other address is in it.
    mutating func remove(_ address: IPAddress, because change: InterfaceEvent.Change) {
        guard let position = addresses.position(of: address) else { return }
        let entry = addresses[position]
        _ = addresses.remove(address)
        if let group = solicitedNodes(of: entry) { _ = leave(group, on: entry.interface, for: .address, at: .zero) }
        if entry.isUsable || change == .conflict { tell(change, entry) }
        var isShared = false
        for other in addresses.entries
        where other.interface == entry.interface && other.prefixLength == entry.prefixLength {
            if other.sharesNetwork(with: address) { isShared = true }
        }
        if !isShared, entry.origin != .autoconfigured {
            _ = routes.remove(address, length: Int(entry.prefixLength), on: entry.interface, from: .connected)
        }
        destinations.forgetAll()
        maintainSoon()
    }

    /// The group that an address of ours is asked for in; nil if it is asked for in none.
    private func solicitedNodes(of entry: LocalAddress) -> IPAddress? {
        guard interfaces[Int(entry.interface)].linkAddress != nil, case .v6(let address) = entry.address else {
            return nil
        }
        return .v6(address.solicitedNode)
    }

    private mutating func tell(_ change: InterfaceEvent.Change, _ entry: LocalAddress) {
        news.append(
            InterfaceEvent(
                interface: entry.interface,
                address: InterfaceAddress(entry.address, prefixLength: entry.prefixLength), origin: entry.origin,
                change: change))
    }

    // MARK: Claims

    /// Somebody else uses, or wants, an address of ours.
    mutating func conflict(_ position: Int, _ evidence: AddressConflict.Evidence, at now: Instant) {
        guard var claim = addresses[position].claim else {
            counters.addressConflicts &+= 1
            return
        }
        let entry = addresses[position]
        let outcome = claim.receive(evidence, at: now)
        addresses[position].claim = claim
        switch outcome {
        case .ignored: break
        case .defend:
            counters.addressConflicts &+= 1
            announce(entry)
        case .lost:
            counters.addressConflicts &+= 1
            giveUp(entry, at: now)
        }
        maintainSoon()
    }

    private mutating func giveUp(_ entry: LocalAddress, at now: Instant) {
        let number = Int(entry.interface)
        remove(entry.address, because: .conflict)
        switch (entry.origin, entry.address) {
        case (.linkLocal, .v6):
            autoconfigurations[number].linkLocalDuplicates += 1
            let duplicates = autoconfigurations[number].linkLocalDuplicates
            guard duplicates <= SLAAC.maxDuplicates else { return }
            let next = autoconfigurations[number].slaac.linkLocalAddress(duplicates: duplicates)
            _ = add(.v6(next), prefixLength: 64, .linkLocal, on: entry.interface, at: now)
        case (.autoconfigured, .v6(let address)):
            guard let next = autoconfigurations[number].slaac.replaceDuplicate(address) else { return }
            _ = add(.v6(next), prefixLength: 64, .autoconfigured, on: entry.interface, at: now)
        default:
            autoconfigurations[number].conflicts += 1
            if entry.origin == .dhcp { autoconfigurations[number].dhcp?.conflict(at: now, using: &random) }
        }
    }

    private mutating func announce(_ entry: LocalAddress) {
        guard answersAll else { return }
        switch entry.address {
        case .v4(let address): sendARPRequest(for: address, from: address, to: nil, on: entry.interface)
        case .v6(let address): sendUnsolicitedAdvertisement(of: address, on: entry.interface)
        }
    }

    // MARK: Routers

    /// A router says what it and the link are (RFC 4861 §6.3.4).
    mutating func routerArrives(_ advertisement: RouterAdvertisement, _ packet: IPv6Header, _ arrival: Arrival) {
        let number = Int(arrival.interface)
        guard packet.source.isLinkLocal, autoconfigurations[number].isActive else { return drop(.ignoredNeighbor) }
        let (router, now) = (IPAddress.v6(packet.source), arrival.now)
        let options = advertisement.options
        if let sourceLink = options.sourceLink {
            heard(
                neighbors.receiveSource(
                    router, linkAddress: sourceLink, of: .routerAdvertisement, on: arrival.interface, at: now),
                of: packet.source, arrival)
        }
        if advertisement.hopLimit > 0 { interfaces[number].hopLimit = advertisement.hopLimit }
        if advertisement.reachableTime > 0 {
            let time = Duration.milliseconds(Int64(min(advertisement.reachableTime, 3_600_000)))
            neighbors.setBaseReachableTime(time, at: now, using: &random)
        }
        let link = interfaces[number]
        if options.mtu >= 1280, Int(options.mtu) <= link.mtu { interfaces[number].mtuV6 = Int(options.mtu) }
        let lifetime = Duration.seconds(Int64(advertisement.routerLifetime))
        autoconfigurations[number].solicitation.receiveRouterAdvertisement(lifetime: lifetime)
        if advertisement.routerLifetime == 0 {
            _ = routes.remove(.v6(.any), length: 0, via: router, on: arrival.interface, from: .routerAdvertisement)
        } else if !routes.insert(
            .v6(.any), length: 0, via: router, on: arrival.interface, from: .routerAdvertisement,
            validUntil: now + lifetime)
        {
            drop(.noRoom)
        }
        for index in 0..<Int(options.prefixCount) { prefixArrives(options.prefixes[index], arrival) }
        destinations.forgetAll()
        maintainSoon()
    }

    private mutating func prefixArrives(_ prefix: NDPPrefix, _ arrival: Arrival) {
        let now = arrival.now
        if prefix.isOnLink, !prefix.address.isLinkLocal, !prefix.address.isMulticast {
            let network = IPAddress.v6(prefix.address)
            if prefix.validLifetime == 0 {
                _ = routes.remove(
                    network, length: Int(prefix.length), on: arrival.interface, from: .routerAdvertisement)
            } else {
                let isForEver = prefix.validLifetime == SLAAC.infinity
                let until = isForEver ? Instant.distantFuture : now + .seconds(Int64(prefix.validLifetime))
                let inserted = routes.insert(
                    network, length: Int(prefix.length), on: arrival.interface, from: .routerAdvertisement,
                    validUntil: until)
                if !inserted { drop(.noRoom) }
            }
        }
        let outcome = autoconfigurations[Int(arrival.interface)].slaac.receivePrefix(
            prefix.address, length: prefix.length, isAutonomous: prefix.isAutonomous,
            validLifetime: prefix.validLifetime, preferredLifetime: prefix.preferredLifetime, at: now)
        if case .created(let address) = outcome {
            _ = add(.v6(address), prefixLength: 64, .autoconfigured, on: arrival.interface, at: now)
        }
    }

    // MARK: Time

    /// Something has changed that ``maintain(at:)`` looks at.
    mutating func maintainSoon() { maintenanceAt = .zero }

    /// Lets time pass for what is looked at seldom.
    mutating func advance(to now: Instant) {
        advanceNeighbors(to: now)
        reassembly.advance(to: now)
        while let timeout = reassembly.nextTimeout() { sendError(about: timeout, at: now) }
        if now >= maintenanceAt { maintain(at: now) }
    }

    private mutating func maintain(at now: Instant) {
        var next = Instant.distantFuture
        if routes.expire(at: now) > 0 { destinations.forgetAll() }
        next = min(next, routes.nextExpiry)
        for number in autoconfigurations.indices where autoconfigurations[number].isActive {
            let interface = UInt8(number)
            while let expired = autoconfigurations[number].slaac.nextExpired(at: now) {
                remove(.v6(expired), because: .lost)
            }
            for address in autoconfigurations[number].slaac.addresses {
                guard let position = addresses.position(of: .v6(address.address)) else { continue }
                addresses[position].isDeprecated = address.isDeprecated(at: now)
            }
            next = min(next, autoconfigurations[number].slaac.nextDeadline(after: now))
            if autoconfigurations[number].solicitation.isDue(at: now, using: &random) {
                sendRouterSolicitation(on: interface)
            }
            next = min(next, autoconfigurations[number].solicitation.deadline)
        }
        for number in autoconfigurations.indices { next = min(next, advanceDHCP(on: UInt8(number), at: now)) }
        next = min(next, reportGroups(at: now))
        for position in 0..<addresses.count {
            guard var claim = addresses[position].claim else { continue }
            while let action = claim.nextAction(at: now, using: &random) {
                perform(action, addresses[position])
                addresses[position].claim = claim
            }
            addresses[position].claim = claim
            next = min(next, claim.deadline)
        }
        maintenanceAt = next
    }

    private mutating func perform(_ action: AddressConflict.Action, _ entry: LocalAddress) {
        switch (action, entry.address) {
        case (.probe, .v4(let address)): sendARPRequest(for: address, from: .any, to: nil, on: entry.interface)
        case (.probe, .v6(let address)):
            sendNeighborSolicitation(for: address, from: .any, to: nil, on: entry.interface)
        case (.announce, _): announce(entry)
        case (.assign, _):
            tell(.gained, entry)
            destinations.forgetAll()
            if entry.origin == .dhcp { autoconfigurations[Int(entry.interface)].dhcp?.assigned() }
        }
    }
}
