// The DHCP clients of a stack's interfaces: how their messages travel, and what a lease changes.
//
// A client asks before its interface has an address, so its packets neither have a route nor wait for a neighbor.

extension Network {
    /// Whether a packet is for the DHCP client of its interface: whoever it is addressed to, as nobody is until there is a lease.
    func isForDHCP(_ header: IPv4Header, _ bytes: RawSpan, _ arrival: Arrival) -> Bool {
        let offset = Int(header.headerLength)
        return header.protocol == .udp && !header.isFragment
            && autoconfigurations[Int(arrival.interface)].dhcp != nil
            && Int(header.totalLength) >= offset + UDPHeader.length
            && bytes.uint16(at: offset + 2) == DHCPTransmission.clientPort
            && bytes.uint16(at: offset) == DHCPTransmission.serverPort
    }

    /// A server's message has come, from its UDP header on.
    mutating func leaseArrives(
        _ datagram: RawSpan, from source: IPv4Address, to destination: IPv4Address, _ arrival: Arrival
    ) {
        guard let header = UDPHeader(parsing: datagram) else { return drop(.malformed) }
        let datagram = datagram.extracting(first: Int(header.datagramLength))
        if header.checksum != 0, !arrival.isVerified {
            var checksum = UDP.pseudoHeader(from: .v4(source), to: .v4(destination), length: datagram.byteCount)
            checksum.add(datagram)
            guard checksum.value == 0 else { return drop(.badChecksum) }
        }
        let number = Int(arrival.interface)
        let reason = autoconfigurations[number].dhcp?.receive(
            datagram.from(UDPHeader.length), at: arrival.now, using: &random)
        if reason != nil { drop(.ignoredDHCP) }
        maintainSoon()
    }

    /// Does what the client of an interface wants to be done. Returns when it is to be asked again.
    mutating func advanceDHCP(on interface: UInt8, at now: Instant) -> Instant {
        let number = Int(interface)
        while let action = autoconfigurations[number].dhcp?.nextAction(at: now, using: &random) {
            switch action {
            case .broadcast(let message): send(message, from: .any, to: .broadcast, on: interface)
            case .send(let message, let server):
                guard let lease = autoconfigurations[number].dhcp?.lease else { break }
                send(message, from: lease.address, to: server, on: interface)
            case .configure(let lease): configure(lease, on: interface, at: now)
            case .deconfigure: removeLease(from: interface)
            }
        }
        return autoconfigurations[number].dhcp?.deadline ?? .distantFuture
    }

    /// Takes over a lease, new or renewed.
    private mutating func configure(_ lease: DHCPLease, on interface: UInt8, at now: Instant) {
        let address = IPAddress.v4(lease.address)
        _ = routes.removeAll(on: interface, from: .dhcp)
        let isKept = addresses.entries.contains {
            $0.origin == .dhcp && $0.address == address && $0.prefixLength == lease.prefixLength
        }
        if !isKept {
            removeLease(from: interface)
            _ = add(address, prefixLength: lease.prefixLength, .dhcp, on: interface, at: now)
        }
        for index in 0..<lease.routeCount {
            let route = lease.routes[index]
            let inserted = routes.insert(
                .v4(route.destination), length: Int(route.prefixLength), via: route.router.map { .v4($0) },
                on: interface, metric: UInt16(index), from: .dhcp, validUntil: lease.expiry)
            if !inserted { drop(.noRoom) }
        }
        let linkMTU = interfaces[Int(interface)].mtu
        interfaces[Int(interface)].mtuV4 = min(linkMTU, Int(lease.mtu ?? .max))
        if let position = addresses.position(of: address), addresses[position].claim == nil {
            autoconfigurations[Int(interface)].dhcp?.assigned()
        }
        destinations.forgetAll()
    }

    private mutating func removeLease(from interface: UInt8) {
        let leased = addresses.entries.filter { $0.origin == .dhcp && $0.interface == interface }
        for entry in leased { remove(entry.address, because: .lost) }
        _ = routes.removeAll(on: interface, from: .dhcp)
        interfaces[Int(interface)].mtuV4 = interfaces[Int(interface)].mtu
        destinations.forgetAll()
    }

    private mutating func send(
        _ message: DHCPTransmission, from source: IPv4Address, to destination: IPv4Address, on interface: UInt8
    ) {
        guard var frame = frames.takeFrame() else { return drop(.noRoom) }
        frame.setLength(UDPHeader.length + DHCPTransmission.length)
        var bytes = frame.mutableBytes
        var body = bytes._mutatingExtracting(UDPHeader.length..<UDPHeader.length + DHCPTransmission.length)
        message.write(to: &body)
        UDPHeader(
            sourcePort: DHCPTransmission.clientPort, destinationPort: DHCPTransmission.serverPort,
            payloadLength: DHCPTransmission.length
        ).write(to: &bytes)
        var checksum = UDP.pseudoHeader(from: .v4(source), to: .v4(destination), length: bytes.byteCount)
        checksum.add(bytes.bytes)
        bytes.store(checksum.value == 0 ? 0xFFFF : checksum.value, at: 6)
        IPOut.prepend(from: .v4(source), to: .v4(destination), protocol: .udp, &frame)
        if destination == .broadcast {
            sendLinkFrame(frame, .ipv4, to: .broadcast, on: interface)
        } else if !packets.isFull {
            packets.append(frame)
        } else {
            drop(.noRoom)
        }
    }
}
