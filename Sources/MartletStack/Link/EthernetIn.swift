// The first step of a frame: whether it is for us, and what it carries (RFC 894, RFC 2464, IEEE 802.1Q).

/// How a packet came.
struct Arrival: BitwiseCopyable {
    var interface: UInt8
    /// The frame was for a group or everybody, not for us alone.
    var isGroupFrame = false
    /// The packet was, too.
    var isGroupPacket = false
    /// The packet asks routers to look at it.
    var hasRouterAlert = false
    /// The link has verified the transport checksum.
    var isVerified = false
    /// A router on the way has marked the packet (RFC 3168 §5).
    var isCongestionExperienced = false
    /// The packet is one of ours, and has been on no link.
    var isFromUs = false
    /// Payload bytes of each segment that the link has merged; 0 if it has merged none.
    var segmentSize = 0
    var now: Instant
}

extension Stack {
    /// A frame of an interface.
    mutating func frameArrives(_ frame: consuming Frame, on interface: UInt8, at now: Instant) {
        var frame = frame
        let link = network.interfaces[Int(interface)]
        network.counters.packetsIn &+= 1
        var arrival = Arrival(interface: interface, now: now)
        arrival.isVerified = frame.offload.contains(.checksumVerified)
        arrival.segmentSize = frame.segmentSize
        guard case .ethernet(let address) = link.kind else {
            let version = frame.length > 0 ? frame.bytes.byte(at: 0) &>> 4 : 0
            return packetArrives(frame, version == 4 ? .ipv4 : .ipv6, arrival)
        }
        guard let header = EthernetHeader(parsing: frame.bytes), !header.source.isMulticast else {
            return network.drop(.badFrame)
        }
        guard header.destination == address || header.destination.isMulticast else { return network.drop(.otherHost) }
        switch link.vlan {
        case .untagged: guard !header.isTagged else { return network.drop(.vlan) }
        case .anyTag: break
        case .member(let vlan): guard header.isTagged, header.vlan == vlan else { return network.drop(.vlan) }
        }
        arrival.isGroupFrame = header.destination.isMulticast
        frame.removeFirst(header.length)
        switch header.etherType {
        case .ipv4, .ipv6: packetArrives(frame, header.etherType, arrival)
        case .arp: network.arpArrives(frame.bytes, arrival)
        default: network.drop(.unknownEtherType)
        }
    }
}
