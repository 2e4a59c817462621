// From the segment of a script to the bytes of a packet.
//
// Hold RFC 791 §3.1, RFC 8200 §3 and §8.1, RFC 9293 §3.1 beside it. Uses nothing of the stack but its addresses, on
// purpose: a header that is wrong in the same way on both sides would look right.

public import MartletStack

/// The packets of scripts as bytes: built here, read in ``SegmentOnWire``.
public enum SegmentBytes {
    /// One end of a connection, and where its sequence numbers start.
    public struct Endpoint: Hashable, Sendable {
        public var address: IPAddress
        public var port: UInt16
        /// What a script calls 0. A stack chooses its own: take it from the ``SegmentOnWire/absolute`` of its SYN.
        public var initialSequence: UInt32

        /// An end of a connection.
        public init(address: IPAddress, port: UInt16, initialSequence: UInt32) {
            self.address = address
            self.port = port
            self.initialSequence = initialSequence
        }
    }

    /// One direction of a connection.
    public struct Flow: Hashable, Sendable {
        public var source: Endpoint
        public var destination: Endpoint

        /// What goes from `source` to `destination`.
        ///
        /// - Precondition: the addresses are of one IP version.
        public init(from source: Endpoint, to destination: Endpoint) {
            precondition(
                source.address.isIPv4 == destination.address.isIPv4, "a connection has addresses of one IP version")
            self.source = source
            self.destination = destination
        }

        /// The other direction.
        public var reversed: Flow { Flow(from: destination, to: source) }
    }

    /// The data that a segment carries from this relative number on: number n is the byte n mod 251, so that what is
    /// missing, doubled or moved by less than 251 bytes is seen.
    public static func data(from sequence: UInt32, count: Int) -> [UInt8] {
        (0..<count).map { UInt8((sequence &+ UInt32(truncatingIfNeeded: $0)) % 251) }
    }

    /// The IP packet of a segment: hop limit 64, IPv4 with "don't fragment", no IP options, all checksums right.
    ///
    /// - Precondition: the options are ``PacketScript/OptionPattern/exactly(_:)``, fill at most 40 bytes and a multiple of
    ///   four, and the packet is not longer than IP allows.
    public static func packet(_ segment: PacketScript.Segment, on flow: Flow) -> [UInt8] {
        var bytes = header(of: segment, on: flow)
        // The first number of a SYN is the SYN's own.
        let start = segment.sequence &+ (segment.flags.contains(.syn) ? 1 : 0)
        bytes += data(from: start, count: segment.length)
        let checksum = checksum(of: bytes, protocolNumber: 6, on: flow)
        bytes.replace(at: 16, with: checksum)
        return ipHeader(protocolNumber: 6, payloadLength: bytes.count, ecn: segment.ecn ?? .notECT, on: flow) + bytes
    }

    /// The TCP header, with a checksum of zero.
    static func header(of segment: PacketScript.Segment, on flow: Flow) -> [UInt8] {
        guard case .exactly(let list) = segment.options else {
            preconditionFailure("a segment to send has options that are known")
        }
        let options = list.flatMap { bytes(of: $0, acknowledging: flow.destination.initialSequence) }
        precondition(options.count <= 40 && options.count.isMultiple(of: 4), "options fill 40 bytes, by four")
        var header: [UInt8] = []
        header.append(number: flow.source.port)
        header.append(number: flow.destination.port)
        header.append(number: flow.source.initialSequence &+ segment.sequence)
        header.append(number: segment.acknowledgment.map { flow.destination.initialSequence &+ $0 } ?? 0)
        header.append(UInt8((20 + options.count) / 4) << 4)
        header.append(segment.flags.rawValue)
        header.append(number: segment.window ?? 65_535)
        header.append(number: 0 as UInt16)
        header.append(number: segment.urgent ?? 0)
        return header + options
    }

    private static func bytes(of option: PacketScript.Option, acknowledging initialSequence: UInt32) -> [UInt8] {
        var bytes: [UInt8]
        switch option {
        case .endOfList: return [0]
        case .noOperation: return [1]
        case .maximumSegmentSize(let size):
            bytes = [2, 4]
            bytes.append(number: size)
        case .windowScale(let shift): bytes = [3, 3, shift]
        case .sackPermitted: bytes = [4, 2]
        case .sack(let blocks):
            bytes = [5, UInt8(2 + 8 * blocks.count)]
            for block in blocks {
                bytes.append(number: initialSequence &+ block.start)
                bytes.append(number: initialSequence &+ block.end)
            }
        case .timestamps(let value, let echoReply):
            bytes = [8, 10]
            bytes.append(number: value)
            bytes.append(number: echoReply)
        case .fastOpen(let cookie): bytes = [34, UInt8(2 + cookie.count)] + cookie
        case .other(let kind, let content): bytes = [kind, UInt8(2 + content.count)] + content
        }
        return bytes
    }
}

// MARK: - IP

extension SegmentBytes {
    static func ipHeader(
        protocolNumber: UInt8, payloadLength: Int, ecn: PacketScript.ECN, on flow: Flow
    ) -> [UInt8] {
        let isIPv4 = flow.source.address.isIPv4
        precondition(payloadLength + (isIPv4 ? 20 : 0) <= 65_535, "an IP packet has at most 65,535 bytes")
        var header: [UInt8] = []
        if isIPv4 {
            header = [0x45, ecn.rawValue]
            header.append(number: UInt16(20 + payloadLength))
            // Identification 0 and "don't fragment": RFC 6864 §4.1, an atomic datagram.
            header += [0, 0, 0x40, 0, 64, protocolNumber, 0, 0]
        } else {
            header = [0x60, ecn.rawValue << 4, 0, 0]
            header.append(number: UInt16(payloadLength))
            header += [protocolNumber, 64]
        }
        header += flow.source.address.bytes + flow.destination.address.bytes
        if isIPv4 { header.replace(at: 10, with: ~onesComplementSum(header)) }
        return header
    }

    /// The checksum of TCP and ICMPv6, over the pseudo-header and all of `bytes`: 0 if they hold their own and are whole.
    static func checksum(of bytes: [UInt8], protocolNumber: UInt8, on flow: Flow) -> UInt16 {
        var summed = flow.source.address.bytes + flow.destination.address.bytes
        // The IPv6 pseudo-header has wider fields, of the same values and so of the same sum.
        summed.append(number: UInt32(bytes.count))
        summed += [0, 0, 0, protocolNumber]
        return ~onesComplementSum(summed + bytes)
    }

    /// The sum of 16-bit numbers, with carries coming in at the other end (RFC 1071).
    static func onesComplementSum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt64 = 0
        for (index, byte) in bytes.enumerated() {
            sum += index.isMultiple(of: 2) ? UInt64(byte) << 8 : UInt64(byte)
        }
        while sum > 0xFFFF { sum = (sum & 0xFFFF) + sum >> 16 }
        return UInt16(sum)
    }
}

extension IPAddress {
    var isIPv4: Bool {
        if case .v4 = self { true } else { false }
    }

    /// The octets as they are sent.
    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        switch self {
        case .v4(let address):
            bytes.append(number: address.bits)
        case .v6(let address):
            bytes.append(number: address.high)
            bytes.append(number: address.low)
        }
        return bytes
    }
}

extension [UInt8] {
    /// Appends a number in network byte order.
    mutating func append<Number: FixedWidthInteger>(number: Number) {
        for shift in stride(from: Number.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: number >> Number(shift)))
        }
    }

    /// Writes a number in network byte order over what is at `offset`.
    mutating func replace(at offset: Int, with number: UInt16) {
        self[offset] = UInt8(number >> 8)
        self[offset + 1] = UInt8(truncatingIfNeeded: number)
    }
}
