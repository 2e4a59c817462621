// ARP packets that come, and those that go: RFC 826, and RFC 5227 for the conflicts of addresses.

extension Network {
    /// An ARP packet has come, without its Ethernet header.
    mutating func arpArrives(_ bytes: RawSpan, _ arrival: Arrival) {
        guard let packet = ARPPacket(parsing: bytes), let own = interfaces[Int(arrival.interface)].linkAddress,
            packet.senderMAC != own
        else { return drop(.ignoredNeighbor) }
        if watchesConflict(packet, arrival) { return }
        let target = addresses.position(of: .v4(packet.targetIP))
        let isForUs =
            target.map { addresses[$0].isUsable && addresses[$0].interface == arrival.interface } ?? false
        _ = neighbors.receiveARP(
            from: packet.senderIP, linkAddress: packet.senderMAC, isReply: packet.operation == .reply,
            isForUs: isForUs, on: arrival.interface, at: arrival.now)
        guard isForUs, packet.operation == .request, answersAll else { return }
        let reply = ARPPacket(
            operation: .reply, senderMAC: own, senderIP: packet.targetIP, targetMAC: packet.senderMAC,
            targetIP: packet.senderIP)
        send(reply, to: packet.senderMAC, on: arrival.interface)
    }

    /// Sees whether the packet shows another owner of an address of ours (RFC 5227 §2.1.1 and §2.4). Returns whether that
    /// is all it has to say.
    private mutating func watchesConflict(_ packet: ARPPacket, _ arrival: Arrival) -> Bool {
        if let position = addresses.position(of: .v4(packet.senderIP)) {
            conflict(position, .use, at: arrival.now)
            return true
        }
        guard packet.senderIP == .any, packet.operation == .request,
            let position = addresses.position(of: .v4(packet.targetIP)), !addresses[position].isUsable
        else { return false }
        conflict(position, .probe, at: arrival.now)
        return true
    }

    /// Asks the whole link for the address of a neighbor; or only the neighbor itself.
    mutating func sendARPRequest(
        for target: IPv4Address, from source: IPv4Address, to linkAddress: MACAddress?, on interface: UInt8
    ) {
        guard let own = interfaces[Int(interface)].linkAddress else { return }
        let request = ARPPacket(
            operation: .request, senderMAC: own, senderIP: source, targetMAC: .zero, targetIP: target)
        send(request, to: linkAddress ?? .broadcast, on: interface)
    }

    private mutating func send(_ packet: ARPPacket, to linkAddress: MACAddress, on interface: UInt8) {
        guard var frame = frames.takeFrame() else { return drop(.noRoom) }
        frame.setLength(ARPPacket.length)
        var bytes = frame.mutableBytes
        packet.write(to: &bytes)
        sendLinkFrame(frame, .arp, to: linkAddress, on: interface)
    }
}
