// The last step of a frame: what its interface does not do by itself, and the Ethernet header.

extension Network {
    /// Makes a packet a frame of its interface, and adds it to the burst.
    ///
    /// - Precondition: the burst has room. `linkAddress` is nil for interfaces without link addresses only.
    mutating func finish(
        _ packet: consuming Frame, to linkAddress: MACAddress?, on interface: UInt8, _ burst: inout Burst
    ) { finishAtOnce(packet, to: linkAddress, on: interface, &burst) }

    /// The same, where most packets come by.
    @inline(__always)
    mutating func finishAtOnce(
        _ packet: consuming Frame, to linkAddress: MACAddress?, on interface: UInt8, _ burst: inout Burst
    ) {
        var frame = packet
        let link = interfaces[Int(interface)]
        guard frame.length <= link.mtu || (frame.segmentSize > 0 && link.cutsSegments) else { return drop(.tooBig) }
        // It was left to the link, and the route has changed since.
        if frame.offload.contains(.checksumPartial), !link.completesChecksums {
            _ = frame.completeChecksum(ofPacketAt: 0)
        }
        let isIPv4 = frame.bytes.byte(at: 0) &>> 4 == 4
        if !isIPv4, link.hopLimit != IPOut.timeToLive, frame.bytes.byte(at: 7) == IPOut.timeToLive {
            var bytes = frame.mutableBytes
            bytes.store(link.hopLimit, at: 7)
        }
        if let linkAddress {
            let etherType: EtherType = isIPv4 ? .ipv4 : .ipv6
            prependEthernet(etherType, to: linkAddress, link, &frame)
        }
        frame.interface = interface
        burst.append(frame)
    }

    /// Queues a frame of a protocol of the link itself, ARP, to this address.
    mutating func sendLinkFrame(
        _ payload: consuming Frame, _ etherType: EtherType, to linkAddress: MACAddress, on interface: UInt8
    ) {
        var frame = payload
        guard !frames.isFull else { return drop(.noRoom) }
        prependEthernet(etherType, to: linkAddress, interfaces[Int(interface)], &frame)
        frame.interface = interface
        frames.append(frame)
    }

    /// Queues a packet for a group as a frame of this interface, whatever routes say.
    mutating func sendToGroup(
        _ packet: consuming Frame, _ etherType: EtherType, _ group: MACAddress, on interface: UInt8
    ) {
        if interfaces[Int(interface)].linkAddress != nil {
            return sendLinkFrame(packet, etherType, to: group, on: interface)
        }
        var frame = packet
        guard !frames.isFull else { return drop(.noRoom) }
        frame.interface = interface
        frames.append(frame)
    }

    @inline(__always)
    private func prependEthernet(
        _ etherType: EtherType, to linkAddress: MACAddress, _ link: Interface, _ frame: inout Frame
    ) {
        guard let source = link.linkAddress else { preconditionFailure("an interface without link addresses") }
        if case .member(let vlan) = link.vlan {
            var header = EthernetHeader(destination: linkAddress, source: source, etherType: etherType)
            (header.isTagged, header.tagControl) = (true, vlan)
            frame.prepend(header.length)
            var bytes = frame.mutableBytes
            return header.write(to: &bytes)
        }
        frame.prepend(EthernetHeader.minimumLength)
        var bytes = frame.mutableBytes
        var space = bytes._mutatingExtracting(0..<EthernetHeader.minimumLength)
        space.store(linkAddress.bits &<< 16 | source.bits &>> 32, at: 0)
        space.store(UInt32(truncatingIfNeeded: source.bits), at: 8)
        space.store(etherType.rawValue, at: 12)
    }
}
