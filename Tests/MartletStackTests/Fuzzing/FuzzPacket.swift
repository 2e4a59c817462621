// Packets around what a fuzzer chose: headers, lengths and checksums that are right, so that its bytes come past them. Written
// by hand and not by the stack's code, as what goes out is checked by it too.

/// Both ends, as they stand in packets.
struct FuzzEnds {
    let isIPv4: Bool
    let local: [UInt8]
    let remote: [UInt8]

    static let v4 = FuzzEnds(isIPv4: true, local: [10, 0, 0, 1], remote: [10, 0, 0, 2])
    static let v6 = FuzzEnds(
        isIPv4: false, local: [0xFD] + [UInt8](repeating: 0, count: 14) + [1],
        remote: [0xFD] + [UInt8](repeating: 0, count: 14) + [2])
    static let localLink: [UInt8] = [2, 0, 0, 0, 0, 1]
    static let remoteLink: [UInt8] = [2, 0, 0, 0, 0, 2]

    var headerLength: Int { isIPv4 ? 20 : 40 }

    /// A packet to the stack, from its transport header on.
    func packet(
        _ payload: [UInt8], _ transport: UInt8, ecn: UInt8 = 0, hops: UInt8 = 64, fragment: UInt16 = 0,
        identification: UInt16 = 0
    ) -> [UInt8] {
        if isIPv4 {
            let length = 20 + payload.count
            var header: [UInt8] = [
                0x45, ecn & 3, UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length),
                UInt8(identification >> 8), UInt8(identification & 255), UInt8(fragment >> 8), UInt8(fragment & 255),
                hops, transport, 0, 0,
            ]
            header += remote + local
            header.put(~header.naiveSum, at: 10)
            return header + payload
        }
        let length = payload.count
        return [
            0x60, ecn & 3 << 4, 0, 0, UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length),
            transport, hops,
        ] + remote + local + payload
    }

    /// Makes the checksum of a transport header right, if its place is known and there.
    func complete(_ payload: inout [UInt8], _ transport: UInt8) {
        let place =
            switch transport {
            case 6: 16
            case 17: 6
            case 1, 58: 2
            default: Int.max
            }
        guard place < payload.count - 1 else { return }
        payload.put(0 as UInt16, at: place)
        payload.put(~sum(of: payload, transport), at: place)
    }

    /// The sum of pseudo-header and payload: 0xFFFF if its checksum is right.
    func sum(of payload: [UInt8], _ transport: UInt8) -> UInt16 {
        if transport == 1 { return payload.naiveSum }
        let length = UInt32(payload.count)
        var pseudo = local + remote
        pseudo.append(number: length)
        pseudo.append(number: UInt32(transport))
        return (pseudo + payload).naiveSum
    }
}

extension [UInt8] {
    mutating func append(number: UInt16) { self += [UInt8(number >> 8), UInt8(number & 255)] }

    mutating func append(number: UInt32) {
        append(number: UInt16(number >> 16))
        append(number: UInt16(number & 0xFFFF))
    }

    func number16(at offset: Int) -> UInt16 { UInt16(self[offset]) << 8 | UInt16(self[offset + 1]) }

    func number32(at offset: Int) -> UInt32 {
        UInt32(number16(at: offset)) << 16 | UInt32(number16(at: offset + 2))
    }
}

/// The bytes of a stream: which stands at which sequence number is known to both sides without a word.
enum FuzzStream {
    static func byte(at sequence: UInt32) -> UInt8 {
        let mixed = sequence &* 0x9E37_79B1
        return UInt8(truncatingIfNeeded: mixed >> 24)
    }

    static func bytes(from sequence: UInt32, count: Int) -> [UInt8] {
        (0..<count).map { byte(at: sequence &+ UInt32($0)) }
    }
}
