// What a link does to frames that a stack leaves to it: checksums completed, large segments cut (virtio 1.2 §5.1.6.2).

enum WireOffload {
    /// The packets that a link makes of an IP packet of TCP or UDP without extension headers.
    ///
    /// - Precondition: a packet that is to be cut is to be summed too, and its checksum field holds the sum of the pseudo-header.
    static func packets(_ bytes: [UInt8], segmentSize: Int, isPartial: Bool) -> [[UInt8]] {
        guard isPartial else {
            precondition(segmentSize == 0, "who cuts must also sum")
            return [bytes]
        }
        let isIPv4 = bytes[0] >> 4 == 4
        let ip = isIPv4 ? Int(bytes[0] & 15) * 4 : 40
        let isTCP = bytes[isIPv4 ? 9 : 6] == 6
        let field = ip + (isTCP ? 16 : 6)
        let headers = ip + (isTCP ? Int(bytes[ip + 12] >> 4) * 4 : 8)
        precondition(
            UInt16(bytes[field]) << 8 | UInt16(bytes[field + 1]) == pseudoHeader(bytes, ip: ip),
            "the field holds the sum of the pseudo-header")
        let payload = bytes.count - headers
        let size = segmentSize == 0 ? max(payload, 1) : segmentSize
        return stride(from: 0, to: max(payload, 1), by: size).map { offset in
            let end = min(offset + size, payload)
            var packet = Array(bytes[..<headers] + bytes[headers + offset..<headers + end])
            if isIPv4 {
                store(UInt16(packet.count), at: 2, &packet)
                store(0, at: 10, &packet)
                store(~sum(packet[..<ip]), at: 10, &packet)
            } else {
                store(UInt16(packet.count - ip), at: 4, &packet)
            }
            if isTCP {
                let sequence = (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(packet[ip + 4 + $1]) } &+ UInt32(offset)
                store(UInt16(sequence >> 16), at: ip + 4, &packet)
                store(UInt16(truncatingIfNeeded: sequence), at: ip + 6, &packet)
                if end < payload { packet[ip + 13] &= ~UInt8(9) }  // FIN and PSH are the last one's
            }
            store(pseudoHeader(packet, ip: ip), at: field, &packet)
            store(~sum(packet[ip...]), at: field, &packet)
            return packet
        }
    }

    /// The sum of addresses, protocol and length (RFC 9293 §3.1, RFC 8200 §8.1).
    private static func pseudoHeader(_ bytes: [UInt8], ip: Int) -> UInt16 {
        let isIPv4 = bytes[0] >> 4 == 4
        let length = bytes.count - ip
        let addresses = isIPv4 ? bytes[12..<20] : bytes[8..<40]
        let rest = [
            0, bytes[isIPv4 ? 9 : 6], UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length),
        ]
        return sum(addresses + rest)
    }

    private static func sum(_ bytes: ArraySlice<UInt8>) -> UInt16 {
        var sum: UInt32 = 0
        for (index, byte) in bytes.enumerated() { sum += index & 1 == 0 ? UInt32(byte) << 8 : UInt32(byte) }
        while sum > 0xFFFF { sum = (sum & 0xFFFF) + sum >> 16 }
        return UInt16(sum)
    }

    private static func store(_ number: UInt16, at offset: Int, _ bytes: inout [UInt8]) {
        bytes[offset] = UInt8(number >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: number)
    }
}
