// From the bytes of a packet to a segment that can be compared to a script's.
//
// Hold RFC 791 §3.1, RFC 8200 §3, RFC 9293 §3.1 beside it. Stricter than a receiver may be: this judges what a stack sends.
// Shares no code with the stack's own reading.

public import MartletStack

/// A TCP segment as it was found in a packet, with the numbers of the header.
public struct SegmentOnWire: Hashable, Sendable {
    public var source: IPAddress
    public var destination: IPAddress
    public var sourcePort: UInt16
    public var destinationPort: UInt16
    /// Time to live, or hop limit.
    public var hopLimit: UInt8
    /// The segment with sequence numbers as they stand; its ECN field and its window are never `nil`.
    public var absolute: PacketScript.Segment
    /// The data; as many bytes as the segment says.
    public var data: [UInt8]

    /// What is wrong with a packet.
    public enum Problem: String, Error, Sendable, CaseIterable {
        case length = "shorter than its headers say"
        case ipVersion = "neither IPv4 nor IPv6"
        case ipHeaderLength = "an IP header length below 20"
        case ipChecksum = "a wrong checksum in the IPv4 header"
        case fragment = "a fragment"
        case notTCP = "no TCP directly behind the IP header"
        case dataOffset = "a data offset below 5 or beyond the packet"
        case checksum = "a wrong TCP checksum"
        case reservedBits = "reserved bits that are not zero"
        case options = "an option of a wrong length, or something behind the end of the list"
    }

    /// Reads an IP packet. Bytes behind the packet's own length are padding and are ignored.
    ///
    /// - Throws: the first ``Problem`` found.
    public init(_ packet: [UInt8]) throws(Problem) {
        guard let first = packet.first else { throw .length }
        var reader = PacketReader(packet)
        let ecn: UInt8
        let segment: [UInt8]
        switch first >> 4 {
        case 4:
            let headerLength = 4 * Int(first & 0xF)
            if headerLength < 20 { throw .ipHeaderLength }
            if packet.count < headerLength { throw .length }
            ecn = packet[1] & 0b11
            let total = Int(reader.uint16(at: 2))
            guard total >= headerLength, total <= packet.count else { throw .length }
            if SegmentBytes.onesComplementSum(Array(packet[..<headerLength])) != 0xFFFF { throw .ipChecksum }
            // More fragments to come, or an offset; "don't fragment" is fine, and the reserved bit is not.
            if reader.uint16(at: 6) & 0x8000 != 0 { throw .reservedBits }
            if reader.uint16(at: 6) & 0x3FFF != 0 { throw .fragment }
            if packet[9] != 6 { throw .notTCP }
            hopLimit = packet[8]
            source = .v4(IPv4Address(bits: reader.uint32(at: 12)))
            destination = .v4(IPv4Address(bits: reader.uint32(at: 16)))
            segment = Array(packet[headerLength..<total])
        case 6:
            if packet.count < 40 { throw .length }
            ecn = packet[1] >> 4 & 0b11
            let total = 40 + Int(reader.uint16(at: 4))
            if total > packet.count { throw .length }
            if packet[6] != 6 { throw .notTCP }
            hopLimit = packet[7]
            source = .v6(IPv6Address(high: reader.uint64(at: 8), low: reader.uint64(at: 16)))
            destination = .v6(IPv6Address(high: reader.uint64(at: 24), low: reader.uint64(at: 32)))
            segment = Array(packet[40..<total])
        default:
            throw .ipVersion
        }

        if segment.count < 20 { throw .length }
        reader = PacketReader(segment)
        sourcePort = reader.uint16(at: 0)
        destinationPort = reader.uint16(at: 2)
        let headerLength = 4 * Int(segment[12] >> 4)
        guard headerLength >= 20, headerLength <= segment.count else { throw .dataOffset }
        let flow = SegmentBytes.Flow(
            from: SegmentBytes.Endpoint(address: source, port: sourcePort, initialSequence: 0),
            to: SegmentBytes.Endpoint(address: destination, port: destinationPort, initialSequence: 0))
        if SegmentBytes.checksum(of: segment, protocolNumber: 6, on: flow) != 0 { throw .checksum }
        if segment[12] & 0xF != 0 { throw .reservedBits }
        data = Array(segment[headerLength...])
        let flags = PacketScript.Flags(rawValue: segment[13])
        absolute = PacketScript.Segment(
            ecn: PacketScript.ECN(rawValue: ecn), flags: flags, sequence: reader.uint32(at: 4), length: data.count,
            acknowledgment: flags.contains(.ack) ? reader.uint32(at: 8) : nil, window: reader.uint16(at: 14),
            urgent: flags.contains(.urg) ? reader.uint16(at: 18) : nil,
            options: .exactly(try Self.options(Array(segment[20..<headerLength]))))
    }

    private static func options(_ bytes: [UInt8]) throws(Problem) -> [PacketScript.Option] {
        var options: [PacketScript.Option] = []
        var offset = 0
        while offset < bytes.count {
            let kind = bytes[offset]
            if kind <= 1 {
                if kind == 1 && options.last == .endOfList { throw .options }
                options.append(kind == 0 ? .endOfList : .noOperation)
                offset += 1
                continue
            }
            guard options.last != .endOfList, offset + 1 < bytes.count else { throw .options }
            let length = Int(bytes[offset + 1])
            guard length >= 2, offset + length <= bytes.count else { throw .options }
            options.append(try option(kind, Array(bytes[offset + 2..<offset + length])))
            offset += length
        }
        return options
    }

    private static func option(_ kind: UInt8, _ content: [UInt8]) throws(Problem) -> PacketScript.Option {
        let reader = PacketReader(content)
        switch (kind, content.count) {
        case (2, 2): return .maximumSegmentSize(reader.uint16(at: 0))
        case (3, 1): return .windowScale(content[0])
        case (4, 0): return .sackPermitted
        case (5, 8), (5, 16), (5, 24), (5, 32):
            return .sack(
                stride(from: 0, to: content.count, by: 8).map {
                    PacketScript.SACKBlock(start: reader.uint32(at: $0), end: reader.uint32(at: $0 + 4))
                })
        case (8, 8): return .timestamps(value: reader.uint32(at: 0), echoReply: reader.uint32(at: 4))
        case (34, _): return .fastOpen(cookie: content)
        case (2, _), (3, _), (4, _), (5, _), (8, _): throw .options
        default: return .other(kind: kind, bytes: content)
        }
    }
}

/// Numbers in network byte order, for this room alone.
private struct PacketReader {
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    private func number(at offset: Int, count: Int) -> UInt64 {
        bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt64($1) }
    }

    func uint16(at offset: Int) -> UInt16 { UInt16(number(at: offset, count: 2)) }
    func uint32(at offset: Int) -> UInt32 { UInt32(number(at: offset, count: 4)) }
    func uint64(at offset: Int) -> UInt64 { number(at: offset, count: 8) }
}
