// From the ICMP error of a script to the bytes of a packet.
//
// Hold RFC 792, RFC 1191 §4 (the MTU's place), RFC 4443 §2.4 and §3 beside it.

public import MartletStack

extension SegmentBytes {
    /// The IP packet of an ICMP error, on its way along `flow`, about a segment that went the other way.
    ///
    /// It quotes that segment's IP header and, in IPv4, the first eight bytes of its TCP header; in IPv6 as much of it as
    /// fits into 1,280 bytes. The quoted segment has the flag ACK, no options and the data of ``data(from:count:)``.
    ///
    /// - Parameter router: who sends it, if it is not the source of `flow`; of the same IP version.
    public static func packet(
        _ message: PacketScript.ICMPMessage, on flow: Flow, from router: IPAddress? = nil
    ) -> [UInt8] {
        var path = flow
        if let router { path.source.address = router }
        precondition(path.source.address.isIPv4 == flow.source.address.isIPv4, "a router of the same IP version")
        let isIPv4 = flow.source.address.isIPv4
        let (type, code) = typeAndCode(of: message.reason, isIPv4: isIPv4)
        var bytes: [UInt8] = [type, code, 0, 0]
        if isIPv4 {
            bytes.append(number: 0 as UInt16)
            bytes.append(number: message.mtu ?? 0)
        } else {
            // A protocol that is unknown is a problem with the parameter at offset 6, "next header".
            bytes.append(number: message.reason == .protocolUnreachable ? 6 : UInt32(message.mtu ?? 0))
        }
        let quoted = message.quoted ?? PacketScript.ICMPMessage.Quoted(sequence: 1, length: 0)
        let segment = PacketScript.Segment(
            flags: .ack, sequence: quoted.sequence, length: quoted.length, acknowledgment: 1)
        bytes += packet(segment, on: flow.reversed).prefix(isIPv4 ? 20 + 8 : 1280 - 40 - 8)
        let protocolNumber: UInt8 = isIPv4 ? 1 : 58
        let checksum =
            isIPv4 ? ~onesComplementSum(bytes) : checksum(of: bytes, protocolNumber: protocolNumber, on: path)
        bytes.replace(at: 2, with: checksum)
        return ipHeader(protocolNumber: protocolNumber, payloadLength: bytes.count, ecn: .notECT, on: path) + bytes
    }

    private static func typeAndCode(
        of reason: PacketScript.ICMPMessage.Reason, isIPv4: Bool
    ) -> (type: UInt8, code: UInt8) {
        switch reason {
        case .networkUnreachable: isIPv4 ? (3, 0) : (1, 0)
        case .hostUnreachable: isIPv4 ? (3, 1) : (1, 3)
        case .protocolUnreachable: isIPv4 ? (3, 2) : (4, 1)
        case .portUnreachable: isIPv4 ? (3, 3) : (1, 4)
        case .fragmentationNeeded: isIPv4 ? (3, 4) : (2, 0)
        case .sourceRouteFailed: isIPv4 ? (3, 5) : (1, 7)
        case .hostProhibited: isIPv4 ? (3, 10) : (1, 1)
        case .filtered: isIPv4 ? (3, 13) : (1, 1)
        case .timeToLiveExceeded: isIPv4 ? (11, 0) : (3, 0)
        case .reassemblyTimeExceeded: isIPv4 ? (11, 1) : (3, 1)
        }
    }
}
