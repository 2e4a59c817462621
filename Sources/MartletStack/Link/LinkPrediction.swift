// What most frames of an interface begin with, so that one comparison tells them apart from those that want to be looked at.

/// The link header of a frame with a packet for us alone, and without a tag.
struct LinkPrediction: BitwiseCopyable {
    private enum Form: UInt8, BitwiseCopyable {
        case ethernet, ip
        /// Packets of our own that come back to us.
        case loopback
        /// All frames have a tag: nothing is predicted.
        case tagged
    }

    private let form: Form
    private let address: UInt64

    init(_ kind: InterfaceKind, _ vlan: VLANPolicy) {
        switch kind {
        case .ip: (form, address) = (.ip, 0)
        case .ethernet(let address):
            if case .member = vlan { form = .tagged } else { form = .ethernet }
            self.address = address.bits
        }
    }

    /// That of the stack's way to itself.
    static var loopback: LinkPrediction { LinkPrediction() }

    private init() { (form, address) = (.loopback, 0) }

    /// Whether packets of ours come back by it, which may have sources that no link carries.
    var isLoopback: Bool { form == .loopback }

    /// What may be the IPv4 packet of a frame; `nil` if the frame is not what is predicted.
    @inline(__always)
    @_lifetime(copy frame)
    func ipv4Packet(of frame: RawSpan) -> RawSpan? {
        if form == .ip { return frame }
        guard form == .ethernet, frame.byteCount >= 54 else { return nil }
        let first: UInt64 = frame.number(at: 0)
        // The last two bytes are the source's first: it is no group.
        guard first &>> 16 == address, first & 0x100 == 0, frame.uint16(at: 12) == EtherType.ipv4.rawValue else {
            return nil
        }
        return frame.from(EthernetHeader.minimumLength)
    }

    /// The packet of a frame; `nil` if the frame is not what is predicted.
    @inline(__always)
    func read(_ frame: RawSpan) -> PlainPacket? {
        if form == .ethernet {
            guard frame.byteCount >= 54 else { return nil }
            let first: UInt64 = frame.number(at: 0)
            // The last two bytes are the source's first: it is no group.
            guard first &>> 16 == address, first & 0x100 == 0 else { return nil }
            let etherType = frame.uint16(at: 12)
            let packet = frame.from(EthernetHeader.minimumLength)
            if etherType == EtherType.ipv4.rawValue { return PlainPacket(ipv4: packet, at: 14) }
            return etherType == EtherType.ipv6.rawValue ? PlainPacket(ipv6: packet, at: 14) : nil
        }
        guard form != .tagged, frame.byteCount > 0 else { return nil }
        let isFromUs = form == .loopback
        return frame.byte(at: 0) &>> 4 == 4
            ? PlainPacket(ipv4: frame, at: 0, isFromUs: isFromUs) : PlainPacket(ipv6: frame, at: 0, isFromUs: isFromUs)
    }
}
