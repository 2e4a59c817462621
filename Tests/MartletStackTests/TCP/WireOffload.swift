// What a link does to frames that the stack leaves to it: checksums completed, large segments cut (virtio 1.2 §5.1.6.2).

@testable import MartletStack

enum WireOffload {
    /// The packets that a link makes of an IPv4 frame of TCP.
    static func packets(_ bytes: [UInt8], segmentSize: Int, isPartial: Bool) -> [[UInt8]] {
        let ip = Int(bytes[0] & 15) * 4
        let headers = ip + Int(bytes[ip + 12] >> 4) * 4
        guard isPartial else {
            precondition(segmentSize == 0, "who cuts must also sum")
            return [bytes]
        }
        precondition(
            UInt16(bytes[ip + 16]) << 8 | UInt16(bytes[ip + 17]) == pseudoHeader(bytes, length: bytes.count - ip),
            "the field holds the sum of the pseudo-header")
        let payload = bytes.count - headers
        let size = segmentSize == 0 ? max(payload, 1) : segmentSize
        return stride(from: 0, to: max(payload, 1), by: size).map { offset in
            let end = min(offset + size, payload)
            var packet = Array(bytes[..<headers] + bytes[headers + offset..<headers + end])
            store(UInt16(packet.count), at: 2, &packet)
            store(0, at: 10, &packet)
            store(~sum(packet[..<ip]), at: 10, &packet)
            let sequence = (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(packet[ip + 4 + $1]) } &+ UInt32(offset)
            store(UInt16(sequence >> 16), at: ip + 4, &packet)
            store(UInt16(truncatingIfNeeded: sequence), at: ip + 6, &packet)
            if end < payload { packet[ip + 13] &= ~UInt8(9) }  // FIN and PSH are the last one's
            store(pseudoHeader(packet, length: packet.count - ip), at: ip + 16, &packet)
            store(~sum(packet[ip...]), at: ip + 16, &packet)
            return packet
        }
    }

    private static func pseudoHeader(_ bytes: [UInt8], length: Int) -> UInt16 {
        sum(bytes[12..<20] + [0, 6, UInt8(length >> 8), UInt8(truncatingIfNeeded: length)])
    }

    private static func sum(_ bytes: ArraySlice<UInt8>) -> UInt16 {
        var sum: UInt32 = 0
        for (index, byte) in bytes.enumerated() { sum += index & 1 == 0 ? UInt32(byte) << 8 : UInt32(byte) }
        while sum > 0xffff { sum = (sum & 0xffff) + sum >> 16 }
        return UInt16(sum)
    }

    private static func store(_ number: UInt16, at offset: Int, _ bytes: inout [UInt8]) {
        bytes[offset] = UInt8(number >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: number)
    }
}
