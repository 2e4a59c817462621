// The one thing a link may write into a packet: that it met congestion.
//
// Hold RFC 3168 §5 (the codepoints), RFC 1624 (the checksum that follows), IEEE 802.1Q (tags) beside it. Reads packets
// without the stack's own code, so that a mistake there does not hide here.

/// The IP header in a frame, found by its offset.
struct IPHeaderPlace {
    /// The offset of its first byte.
    var offset: Int
    var isIPv4: Bool

    /// `nil` for what is neither IPv4 nor IPv6, or too short for the header.
    init?(in frame: [UInt8], framing: Framing) {
        guard let offset = Self.headerLength(of: frame, framing: framing), offset < frame.count else { return nil }
        self.offset = offset
        switch frame[offset] >> 4 {
        case 4: isIPv4 = true
        case 6: isIPv4 = false
        default: return nil
        }
        if framing == .ethernet {
            guard offset >= 14, frame[offset - 2] == (isIPv4 ? 0x08 : 0x86) else { return nil }
            guard frame[offset - 1] == (isIPv4 ? 0x00 : 0xDD) else { return nil }
        }
        let length = isIPv4 ? 4 * Int(frame[offset] & 0xF) : 40
        guard length >= 20, frame.count - offset >= length else { return nil }
    }

    /// How many bytes stand before the packet: two VLAN tags at most. `nil` if the frame ends before that.
    static func headerLength(of frame: [UInt8], framing: Framing) -> Int? {
        guard framing == .ethernet else { return 0 }
        var offset = 12
        for _ in 0..<2 {
            guard frame.count >= offset + 2 else { return nil }
            let type = UInt16(frame[offset]) << 8 | UInt16(frame[offset + 1])
            guard type == 0x8100 || type == 0x88A8 else { break }
            offset += 4
        }
        return frame.count >= offset + 2 ? offset + 2 : nil
    }
}

extension IPHeaderPlace {
    /// Marks a packet that understands ECN as having met congestion, and says whether it did.
    ///
    /// ECT(0) and ECT(1) become CE; Not-ECT and CE stay. The checksum of an IPv4 header is moved by the difference: a
    /// correct one stays correct, and a wrong one stays wrong.
    func markCongestion(in frame: inout [UInt8]) -> Bool {
        // IPv4 has the two bits at the end of its second byte, IPv6 in the middle of it.
        let shift: UInt8 = isIPv4 ? 0 : 4
        let codepoint = frame[offset + 1] >> shift & 0b11
        guard codepoint == 0b01 || codepoint == 0b10 else { return false }
        let before = UInt16(frame[offset]) << 8 | UInt16(frame[offset + 1])
        frame[offset + 1] |= 0b11 << shift
        if isIPv4 {
            let after = before | 0b11
            // RFC 1624 §3: HC' = ~(~HC + ~m + m')
            let checksum = UInt16(frame[offset + 10]) << 8 | UInt16(frame[offset + 11])
            var sum = UInt32(~checksum) + UInt32(~before) + UInt32(after)
            sum = (sum & 0xFFFF) + sum >> 16
            sum = (sum & 0xFFFF) + sum >> 16
            frame[offset + 10] = UInt8(truncatingIfNeeded: ~sum >> 8)
            frame[offset + 11] = UInt8(truncatingIfNeeded: ~sum)
        }
        return true
    }
}
