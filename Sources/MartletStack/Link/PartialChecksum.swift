// Checksums that were left to a link, completed where the next link does not do that.
//
// Hold RFC 9293 §3.1 and RFC 768 beside it. A field that was left holds the sum of the pseudo-header (FrameOffload.checksumPartial).

extension Frame {
    /// Completes the checksum of the TCP segment or UDP datagram in an Ethernet frame, if it was left to the link
    /// (``FrameOffload/checksumPartial``): any link, and any other way, can carry the frame then. VLAN tags are skipped.
    ///
    /// - Returns: whether the checksum is complete now. A frame that says that something was left, and has no such header,
    ///   stays as it is.
    @discardableResult
    public mutating func completeChecksum() -> Bool {
        guard offload.contains(.checksumPartial) else { return true }
        var start = EthernetHeader.minimumLength
        while length >= start + 4, [0x8100, 0x88A8].contains(bytes.uint16(at: start - 2)) { start += 4 }
        guard length >= start + IPv4Header.minimumLength else { return false }
        return completeChecksum(ofPacketAt: start)
    }

    /// The same, of a packet that begins at `packet` and has an IPv4 header's length at least.
    mutating func completeChecksum(ofPacketAt packet: Int) -> Bool {
        let version = bytes.byte(at: packet) &>> 4
        guard version == 4 || version == 6 else { return false }
        let isIPv4 = version == 4
        // Nobody writes extension headers before a transport that leaves its checksum to the link.
        let start = packet + (isIPv4 ? Int(bytes.byte(at: packet) & 0xF) * 4 : IPv6Header.length)
        let `protocol` = IPProtocol(rawValue: bytes.byte(at: packet + (isIPv4 ? 9 : 6)))
        guard `protocol` == .tcp || `protocol` == .udp else { return false }
        let place = start + (`protocol` == .tcp ? 16 : 6)
        // A frame may have padding behind the packet.
        let said = Int(bytes.uint16(at: packet + (isIPv4 ? 2 : 4)))
        let end = packet + said + (isIPv4 ? 0 : IPv6Header.length)
        guard end <= length, place + 2 <= end else { return false }
        var checksum = Checksum()
        checksum.add(bytes.extracting(start..<end))
        let value = checksum.value
        var bytes = mutableBytes
        bytes.store(value == 0 && `protocol` == .udp ? 0xFFFF : value, at: place)
        offload.remove(.checksumPartial)
        return true
    }
}
