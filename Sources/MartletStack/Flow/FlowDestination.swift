// To whom of several stacks with one name a frame is to go: by its flow, where it has one.
//
// It looks at headers, and checks nothing that a stack checks anyway: a frame that is wrong goes to some stack, which drops it.

/// Who of several stacks that share their addresses is to get a frame.
public enum FlowDestination: BitwiseCopyable, Sendable {
    /// The one that its flow belongs to (``FlowSpread/place(of:)``), and whether the frame opens a connection: SYN without ACK.
    case flow(Flow, opens: Bool)
    /// All of them, each a copy: what says something of neighbours or of the way of packets, what is for groups, and fragments,
    /// of which only the first says what flow they are of.
    case everybody
    /// One, and always the same: what asks to be answered once, and what no stack understands.
    case first

    /// Reads the frame of an Ethernet, or an IP packet.
    public init(of frame: RawSpan, isEthernet: Bool) {
        var start = 0
        var isGroup = false
        if isEthernet {
            guard frame.byteCount >= EthernetHeader.minimumLength else {
                self = .first
                return
            }
            isGroup = frame.byte(at: 0) & 1 != 0
            var type = EtherType(rawValue: frame.uint16(at: 12))
            start = EthernetHeader.minimumLength
            if type != .ipv4, type != .ipv6, let header = EthernetHeader(parsing: frame) {
                (type, start) = (header.etherType, header.length)
            }
            guard type == .ipv4 || type == .ipv6 else {
                self = type == .arp ? .everybody : .first
                return
            }
        }
        guard frame.byteCount > start else {
            self = .first
            return
        }
        let packet = frame.from(start)
        self = packet.byte(at: 0) &>> 4 == 4 ? Self.ipv4(packet, isGroup) : Self.ipv6(packet, isGroup)
    }

    private static func ipv4(_ packet: RawSpan, _ isGroup: Bool) -> FlowDestination {
        let header = Int(packet.byte(at: 0) & 0xF) &* 4
        guard header >= 20, packet.byteCount >= header + 4 else { return .first }
        if packet.uint16(at: 6) & 0x3FFF != 0 { return .everybody }
        let destination = packet.ipv4Address(at: 16)
        if isGroup || destination.isMulticast || destination == .broadcast { return .everybody }
        switch IPProtocol(rawValue: packet.byte(at: 9)) {
        case .tcp, .udp:
            let ends = FourTuple(
                local: IPv6Address(mapping: destination), localPort: packet.uint16(at: header + 2),
                remote: IPv6Address(mapping: packet.ipv4Address(at: 12)), remotePort: packet.uint16(at: header))
            let isDatagrams = packet.byte(at: 9) == IPProtocol.udp.rawValue
            return .flow(Flow(ends, isDatagrams: isDatagrams), opens: !isDatagrams && opens(packet, header))
        case .icmp:
            // An echo is answered once. What else there is are errors, of whose flows each stack knows its own.
            let type = packet.byte(at: header)
            return type == 8 || type == 0 ? .first : .everybody
        default: return .first
        }
    }

    /// Whether the segment at `offset` is a SYN, and no answer to one.
    private static func opens(_ packet: RawSpan, _ offset: Int) -> Bool {
        packet.byteCount > offset + 13 && packet.byte(at: offset + 13) & 0x12 == 0x02
    }

    private static func ipv6(_ packet: RawSpan, _ isGroup: Bool) -> FlowDestination {
        guard packet.byteCount >= IPv6Header.length + 4 else { return .first }
        let (source, destination) = (packet.ipv6Address(at: 8), packet.ipv6Address(at: 24))
        var next = IPProtocol(rawValue: packet.byte(at: 6))
        var offset = IPv6Header.length
        for _ in 0...IPv6Extensions.maximumCount {
            guard packet.byteCount >= offset + 4 else { return .first }
            switch next {
            case .hopByHop, .routing, .destinationOptions:
                next = IPProtocol(rawValue: packet.byte(at: offset))
                offset += (Int(packet.byte(at: offset + 1)) + 1) * 8
            case .fragment:
                // One that is all of its packet is as if it were none (RFC 6946).
                if packet.uint16(at: offset + 2) & 0xFFF9 != 0 { return .everybody }
                next = IPProtocol(rawValue: packet.byte(at: offset))
                offset += 8
            case .icmpv6:
                let type = packet.byte(at: offset)
                return type == 128 || type == 129 ? .first : .everybody
            case .tcp, .udp:
                if isGroup || destination.isMulticast { return .everybody }
                let ends = FourTuple(
                    local: destination, localPort: packet.uint16(at: offset + 2), remote: source,
                    remotePort: packet.uint16(at: offset))
                return .flow(Flow(ends, isDatagrams: next == .udp), opens: next == .tcp && opens(packet, offset))
            default: return isGroup || destination.isMulticast ? .everybody : .first
            }
        }
        return .first
    }
}
