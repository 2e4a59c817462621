// The way of a packet out: its route, its next hop, and on to the link (RFC 1122 §3.3.1, RFC 4861 §5.2).

extension Network {
    /// The route for a packet. What stays on its link, by the scope of its destination, leaves by the interface of its source.
    func route(to destination: IPAddress, from source: IPAddress, at now: Instant) -> Route? {
        let staysOnLink = destination.isMulticast || destination.isLinkLocal || destination == .v4(.broadcast)
        guard staysOnLink else { return routes.lookup(destination, at: now) }
        guard let interface = addresses.interface(of: source) else { return nil }
        return Route(
            prefix: RoutePrefix(bits: destination.routeBits, length: destination.bitWidth), gateway: nil,
            interface: interface, source: .connected)
    }

    /// Sends what waits, as far as the burst and the way to ourselves have room. Returns whether nothing is left that could go.
    mutating func flush(into burst: inout Burst, at now: Instant) -> Bool {
        while !burst.isFull {
            if let frame = frames.popFirst() {
                burst.append(frame)
            } else if let ready = neighbors.popReady() {
                sendReady(ready, &burst)
            } else if !loopback.isFull, let packet = packets.popFirst() {
                forward(packet, &burst, at: now)
            } else {
                return true
            }
        }
        return frames.isEmpty && packets.isEmpty && neighbors.pending.readyCount == 0
    }

    /// Sends an IP packet on its way.
    ///
    /// - Precondition: the burst has room, and so has the way to ourselves.
    private mutating func forward(_ packet: consuming Frame, _ burst: inout Burst, at now: Instant) {
        let destination = Self.destination(of: packet.bytes)
        counters.packetsOut &+= 1
        if let known = destinations.find(destination, at: now) {
            if known.isOurs { return loopback.append(packet) }
            let linkAddress = known.neighbor.flatMap { neighbors.linkAddress(of: $0, at: now) }
            if linkAddress != nil || known.neighbor == nil {
                return finishAtOnce(packet, to: linkAddress, on: known.interface, &burst)
            }
        }
        let source = Self.source(of: packet.bytes)
        if addresses.contains(destination) {
            if share != nil { return hand(packet, &burst) }
            destinations.remember(Destination(address: destination, isOurs: true, validUntil: .distantFuture))
            return loopback.append(packet)
        }
        guard let route = route(to: destination, from: source, at: now) else { return drop(.noRoute) }
        let interface = route.interface
        guard interfaces[Int(interface)].linkAddress != nil else {
            let isStable = !destination.isMulticast && !destination.isLinkLocal
            if isStable {
                destinations.remember(
                    Destination(
                        address: destination, neighbor: nil, interface: interface, validUntil: route.validUntil))
            }
            return finish(packet, to: nil, on: interface, &burst)
        }
        if let group = groupLinkAddress(of: destination, on: interface) {
            return finish(packet, to: group, on: interface, &burst)
        }
        resolve(packet, destination, route, &burst, at: now)
    }

    /// Hands a packet to ourselves to the driver, who knows which of the host's stacks it is for.
    private func hand(_ packet: consuming Frame, _ burst: inout Burst) {
        var packet = packet
        packet.interface = Stack.itself
        burst.append(packet)
    }

    /// Finds the link address of the next hop; the neighbors keep the packet until it is known.
    private mutating func resolve(
        _ packet: consuming Frame, _ destination: IPAddress, _ route: Route, _ burst: inout Burst, at now: Instant
    ) {
        let nextHop = route.gateway ?? destination
        var held: Frame? = packet
        switch neighbors.resolve(nextHop, on: route.interface, holding: &held, at: now) {
        case .ready(let linkAddress, let neighbor):
            if !destination.isLinkLocal {
                destinations.remember(
                    Destination(
                        address: destination, neighbor: neighbor, interface: route.interface,
                        validUntil: route.validUntil))
            }
            guard let packet = held.take() else { return }
            finish(packet, to: linkAddress, on: route.interface, &burst)
        case .queued(let solicits):
            if solicits { solicit(nextHop, on: route.interface, to: nil) }
        case .dropped: drop(.noRoom)
        }
    }

    /// Where packets for everybody or for a group go; nil if they are for one host.
    private func groupLinkAddress(of destination: IPAddress, on interface: UInt8) -> MACAddress? {
        switch destination {
        case .v4(let address):
            if address.isMulticast { return .multicast(address) }
            return addresses.isBroadcast(address, on: interface) ? .broadcast : nil
        case .v6(let address): return address.isMulticast ? .multicast(address) : nil
        }
    }

    private mutating func sendReady(_ ready: consuming ReadyFrame, _ burst: inout Burst) {
        let (interface, linkAddress) = (ready.interface, ready.linkAddress)
        finish(ready.frame, to: linkAddress, on: interface, &burst)
    }

    /// Source and destination of a packet that we have written.
    private static func source(of packet: RawSpan) -> IPAddress {
        packet.byte(at: 0) &>> 4 == 4 ? .v4(packet.ipv4Address(at: 12)) : .v6(packet.ipv6Address(at: 8))
    }

    @inline(__always)
    private static func destination(of packet: RawSpan) -> IPAddress {
        packet.byte(at: 0) &>> 4 == 4 ? .v4(packet.ipv4Address(at: 16)) : .v6(packet.ipv6Address(at: 24))
    }
}
