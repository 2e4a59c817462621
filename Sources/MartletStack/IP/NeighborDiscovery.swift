// Neighbor Discovery messages that come, and the solicitations and advertisements that go (RFC 4861 §6.1, §7, §8).

extension Network {
    /// A message of Neighbor Discovery with a right checksum.
    mutating func neighborDiscoveryArrives(_ message: RawSpan, _ packet: IPv6Header, _ arrival: Arrival) {
        // §6.1, §7.1, §8.1: hop limit 255 says that no router has passed it on: it is from this link.
        guard packet.hopLimit == 255, interfaces[Int(arrival.interface)].linkAddress != nil,
            let parsed = NDPMessage(parsing: message)
        else { return drop(.ignoredNeighbor) }
        switch parsed {
        case .neighborSolicitation(let target, let sourceLink):
            solicitationArrives(for: target, from: packet, sourceLink, arrival)
        case .neighborAdvertisement(let advertisement): advertisementArrives(advertisement, packet, arrival)
        case .routerAdvertisement(let advertisement): routerArrives(advertisement, packet, arrival)
        case .routerSolicitation: break  // For routers.
        case .redirect(let target, let destination, let targetLink):
            redirectArrives(target, destination, targetLink, packet, arrival)
        }
    }

    private mutating func solicitationArrives(
        for target: IPv6Address, from packet: IPv6Header, _ sourceLink: MACAddress?, _ arrival: Arrival
    ) {
        let isProbe = packet.source == .any
        // §7.1.1: one that detects duplicates goes to the group, and has no link address.
        if isProbe, !arrival.isGroupPacket || sourceLink != nil { return drop(.ignoredNeighbor) }
        guard let position = addresses.position(of: .v6(target)), addresses[position].interface == arrival.interface
        else { return }
        if !addresses[position].isUsable {
            // Somebody else wants the address, too (RFC 4862 §5.4.3); who solicits it as a neighbor is of no matter.
            if isProbe { conflict(position, .probe, at: arrival.now) }
            return
        }
        if let sourceLink, !isProbe {
            heard(
                neighbors.receiveSource(
                    .v6(packet.source), linkAddress: sourceLink, of: .neighborSolicitation, on: arrival.interface,
                    at: arrival.now), of: packet.source, arrival)
        }
        guard answersAll, let own = interfaces[Int(arrival.interface)].linkAddress else { return }
        let answer = NDPMessage.neighborAdvertisement(
            NDPMessage.NeighborAdvertisement(
                target: target, targetLink: own, isSolicited: !isProbe, isOverride: true))
        // §7.2.4: to everybody if the other has no address yet; else to it, as the neighbor table knows it or asks for it.
        send(answer, from: target, to: isProbe ? .allNodes : packet.source, linkAddress: sourceLink, arrival.interface)
    }

    private mutating func advertisementArrives(
        _ advertisement: NDPMessage.NeighborAdvertisement, _ packet: IPv6Header, _ arrival: Arrival
    ) {
        // §7.1.2: one for everybody answers nobody.
        guard !(arrival.isGroupPacket && advertisement.isSolicited), packet.source != .any else {
            return drop(.ignoredNeighbor)
        }
        if let position = addresses.position(of: .v6(advertisement.target)) {
            return conflict(position, .use, at: arrival.now)
        }
        heard(
            neighbors.receiveAdvertisement(
                for: .v6(advertisement.target), linkAddress: advertisement.targetLink,
                isSolicited: advertisement.isSolicited, isOverride: advertisement.isOverride,
                isRouter: advertisement.isRouter, on: arrival.interface, at: arrival.now),
            of: advertisement.target, arrival)
    }

    /// What a message has changed for routes.
    mutating func heard(_ update: NeighborUpdate, of address: IPv6Address, _ arrival: Arrival) {
        switch update {
        case .ignored, .created: break
        case .updated: neighborAnswered(.v6(address), on: arrival.interface)
        case .noLongerRouter:
            _ = routes.removeLearned(via: .v6(address), on: arrival.interface)
            destinations.forgetAll()
        }
    }

    /// §8.3: a better first hop. Only the router that is the first hop now is believed.
    private mutating func redirectArrives(
        _ target: IPv6Address, _ destination: IPv6Address, _ targetLink: MACAddress?, _ packet: IPv6Header,
        _ arrival: Arrival
    ) {
        guard packet.source.isLinkLocal,
            let route = routes.lookup(.v6(destination), at: arrival.now), route.gateway == .v6(packet.source),
            route.interface == arrival.interface
        else { return drop(.ignoredNeighbor) }
        // As long as a black hole would last that a liar makes: ten minutes, as the path MTU.
        let inserted = routes.insert(
            .v6(destination), length: 128, via: target == destination ? nil : .v6(target), on: arrival.interface,
            from: .routerAdvertisement, validUntil: arrival.now + .seconds(600))
        guard inserted else { return drop(.noRoom) }
        destinations.forgetAll()
        maintainSoon()
        guard let targetLink else { return }
        _ = neighbors.receiveSource(
            .v6(target), linkAddress: targetLink, of: .redirect, on: arrival.interface, at: arrival.now)
    }

    // MARK: Sending

    /// §7.2.2: to the group of those who may have the address, or to the one who had it.
    mutating func sendNeighborSolicitation(
        for target: IPv6Address, from source: IPv6Address, to linkAddress: MACAddress?, on interface: UInt8
    ) {
        guard let own = interfaces[Int(interface)].linkAddress else { return }
        // One that detects duplicates has neither source nor link address (RFC 4862 §5.4.2).
        let message = NDPMessage.neighborSolicitation(target: target, sourceLink: source == .any ? nil : own)
        let destination = linkAddress == nil ? target.solicitedNode : target
        send(message, from: source, to: destination, linkAddress: linkAddress, interface)
    }

    /// §6.3.7.
    mutating func sendRouterSolicitation(on interface: UInt8) {
        guard let own = interfaces[Int(interface)].linkAddress else { return }
        let source = sourceAddress6(for: .allRouters, on: interface) ?? .any
        let message = NDPMessage.routerSolicitation(sourceLink: source == .any ? nil : own)
        send(message, from: source, to: .allRouters, linkAddress: nil, interface)
    }

    /// An advertisement that nobody has asked for: our link address is this (§7.2.6).
    mutating func sendUnsolicitedAdvertisement(of address: IPv6Address, on interface: UInt8) {
        guard let own = interfaces[Int(interface)].linkAddress else { return }
        let message = NDPMessage.neighborAdvertisement(
            NDPMessage.NeighborAdvertisement(target: address, targetLink: own, isSolicited: false, isOverride: true))
        send(message, from: address, to: .allNodes, linkAddress: nil, interface)
    }

    /// Messages of Neighbor Discovery go to a link address that is known, or to a group: they never wait for a neighbor.
    private mutating func send(
        _ message: NDPMessage, from source: IPv6Address, to destination: IPv6Address, linkAddress: MACAddress?,
        _ interface: UInt8
    ) {
        guard var frame = frames.takeFrame() else { return drop(.noRoom) }
        frame.setLength(message.length)
        var bytes = frame.mutableBytes
        message.write(to: &bytes)
        var checksum = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: IPProtocol.icmpv6.rawValue, length: bytes.byteCount)
        checksum.add(bytes.bytes)
        bytes.store(checksum.value, at: 2)
        frame.prepend(IPv6Header.length)
        var whole = frame.mutableBytes
        let header = IPv6Header(
            source: source, destination: destination, nextHeader: .icmpv6, payloadLength: message.length,
            hopLimit: 255)
        header.write(to: &whole)
        if destination.isMulticast {
            sendLinkFrame(frame, .ipv6, to: .multicast(destination), on: interface)
        } else if let linkAddress {
            sendLinkFrame(frame, .ipv6, to: linkAddress, on: interface)
        } else if !packets.isFull {
            packets.append(frame)
        } else {
            drop(.noRoom)
        }
    }
}
