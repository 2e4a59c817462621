// What messages teach about neighbors: RFC 4861 §7.2.3 and §7.2.5 (solicitations and advertisements), §6.3.4 (routers),
// and RFC 826 "Packet Reception". That a message is well-formed and came with hop limit 255, the caller has seen.

/// Which message brought a source link-layer address.
enum NeighborSource: BitwiseCopyable {
    case neighborSolicitation, routerSolicitation, routerAdvertisement, redirect
}

extension Neighbors {
    /// A Neighbor Advertisement for `target` (RFC 4861 §7.2.5). `linkAddress` is that of its option, if it has one.
    mutating func receiveAdvertisement(
        for target: IPAddress, linkAddress: MACAddress?, isSolicited: Bool, isOverride: Bool, isRouter: Bool,
        on interface: UInt8, at now: Instant
    ) -> NeighborUpdate {
        if let linkAddress, !isUsable(linkAddress) { return .ignored }
        // One that we do not ask for tells nothing that we need.
        guard let slot = find(target, on: interface) else { return .ignored }
        if entries[slot].state == .incomplete {
            guard let linkAddress else { return .ignored }
            entries[slot].isRouter = isRouter
            learn(slot, linkAddress, isConfirmed: isSolicited, at: now)
            return .updated
        }
        let isOther = linkAddress != nil && linkAddress != entries[slot].linkAddress
        if isOther && !isOverride {
            guard entries[slot].state == .reachable else { return .ignored }
            makeStale(slot)
            return .updated
        }
        if let linkAddress, isOther {
            learn(slot, linkAddress, isConfirmed: isSolicited, at: now)
        } else if isSolicited {
            confirm(slot, at: now)
        }
        let wasRouter = entries[slot].isRouter
        entries[slot].isRouter = isRouter
        return wasRouter && !isRouter ? .noLongerRouter : .updated
    }

    /// A message of `source` that carries its link address (§7.2.3, §6.2.6, §6.3.4, §8.3). It proves that the neighbor
    /// reaches us, and not that we reach it: so it never makes an entry REACHABLE.
    mutating func receiveSource(
        _ source: IPAddress, linkAddress: MACAddress, of message: NeighborSource, on interface: UInt8, at now: Instant
    ) -> NeighborUpdate {
        guard isUsable(linkAddress), source != .v6(.any), !source.isMulticast else { return .ignored }
        let update = learnOrCreate(source, linkAddress, on: interface, at: now)
        guard let slot = find(source, on: interface) else { return update }
        switch message {
        case .routerAdvertisement:
            entries[slot].isRouter = true
        case .routerSolicitation:
            let wasRouter = entries[slot].isRouter
            entries[slot].isRouter = false
            if wasRouter { return .noLongerRouter }
        case .neighborSolicitation, .redirect:
            break
        }
        return update
    }

    /// An ARP packet from `sender` (RFC 826). `isForUs` says that its target protocol address is ours.
    ///
    /// A sender that is known is merged, whatever the packet is, a gratuitous one too. An unknown one is new only if
    /// it asks for us, or answers us: it will be talked to.
    mutating func receiveARP(
        from sender: IPv4Address, linkAddress: MACAddress, isReply: Bool, isForUs: Bool, on interface: UInt8,
        at now: Instant
    ) -> NeighborUpdate {
        // A probe has no sender (RFC 5227 §2.1.1) and teaches nothing.
        guard sender != .any, sender != .broadcast, !sender.isMulticast else { return .ignored }
        guard isUsable(linkAddress) else { return .ignored }
        guard let slot = find(.v4(sender), on: interface) else {
            guard isForUs else { return .ignored }
            return learnOrCreate(.v4(sender), linkAddress, on: interface, at: now)
        }
        // Only an answer that we wait for proves that the neighbor hears us.
        let state = entries[slot].state
        if isReply && isForUs && (state == .incomplete || state == .probe) {
            learn(slot, linkAddress, isConfirmed: true, at: now)
            return .updated
        }
        return learnOrCreate(.v4(sender), linkAddress, on: interface, at: now)
    }

    // MARK: Steps

    /// Nobody's own address is zero or a group's; taking one would send unicast to everybody.
    private mutating func isUsable(_ linkAddress: MACAddress) -> Bool {
        if linkAddress == .zero || linkAddress.isMulticast {
            counters.badLinkAddress += 1
            return false
        }
        return true
    }

    private mutating func learnOrCreate(
        _ address: IPAddress, _ linkAddress: MACAddress, on interface: UInt8, at now: Instant
    ) -> NeighborUpdate {
        if let slot = find(address, on: interface) {
            guard entries[slot].state == .incomplete || entries[slot].linkAddress != linkAddress else {
                return .ignored
            }
            learn(slot, linkAddress, isConfirmed: false, at: now)
            return .updated
        }
        guard let slot = slotWithoutLoss() else {
            counters.notCreated += 1
            return .ignored
        }
        fill(slot, address, on: interface, state: .stale)
        entries[slot].linkAddress = linkAddress
        return .created
    }

    /// The neighbor has this link address: frames that wait may go.
    private mutating func learn(_ slot: Int, _ linkAddress: MACAddress, isConfirmed: Bool, at now: Instant) {
        entries[slot].linkAddress = linkAddress
        if isConfirmed { confirm(slot, at: now) } else { makeStale(slot) }
        let interface = entries[slot].interface
        pending.moveToReady(&entries[slot].pending, interface: interface, linkAddress: linkAddress)
    }

    private mutating func makeStale(_ slot: Int) {
        timers.cancel(Int32(slot))
        change(slot, to: .stale)
    }
}
