// How a datagram goes: a packet, or the pieces of one, are written into frames at once. Nothing is queued.
//
// Hold RFC 768 beside it, RFC 1122 §4.1.3, and RFC 1112 §6.1 for how far groups are. What does not fit is refused, and
// the socket is told when there is room again.

/// What became of a datagram that was to go.
public enum UDPSent: BitwiseCopyable, Equatable, Sendable {
    /// It goes with the next egress.
    case sent
    /// There are not so many frames, or is not so much room in the burst: `.writable` tells when to try again.
    case noRoom
    /// It is longer than the path takes and not to be cut, or longer than a datagram can be, or than a burst takes in pieces.
    case tooLarge
    /// The socket is closed.
    case closed
    /// There is no route, or no address of ours to send from.
    case unreachable
}

extension UDP {
    /// Writes a datagram into the burst, as one packet or in pieces: all of them, or none.
    ///
    /// `source` is the address that the socket is bound to, or what the caller has selected; `mtu` is that of the path; and
    /// `identifications` are those of the whole stack. A connected socket may send to others, too.
    ///
    /// - Precondition: all addresses are of one IP version.
    mutating func send(
        _ id: SocketID, _ payload: RawSpan, from source: IPAddress, to destination: IPAddress, port: UInt16, mtu: Int,
        identifications: inout IPIdentification, into packets: inout Burst, at now: Instant,
        using random: inout some RandomNumberGenerator
    ) -> UDPSent {
        guard let slot = sockets.slot(of: id) else { return .closed }
        let room = min(packets.room, packets.freeFrames)
        // The first frame says how much room is in each.
        guard room > 0, let frame = packets.takeFrame() else {
            refuse(slot)
            return .noRoom
        }
        let cuts = FragmentCuts(
            UDPHeader.length + payload.byteCount, mtu: mtu, room: frame.tailroom, isIPv4: source.bitWidth == 32)
        guard let cuts, cuts.count <= min(packets.capacity, packets.pool.count),
            cuts.count == 1 || !sockets[slot].dontFragment
        else {
            counters.tooLarge &+= 1
            return .tooLarge
        }
        guard cuts.count <= room else {
            refuse(slot)
            return .noRoom
        }
        let datagram = UDPOut(
            header: Self.header(
                payload, from: source, port: sockets[slot].tuple.localPort, to: destination, port: port),
            source: source, destination: destination, marking: sockets[slot].marking)
        if cuts.count == 1 {
            datagram.appendWhole(payload, frame, &packets)
        } else {
            let identification = identifications.next(
                from: source, to: destination, protocol: .udp, at: now, using: &random)
            datagram.append(payload, cuts, identification, frame, &packets)
            counters.fragmented &+= 1
        }
        counters.datagramsOut &+= 1
        return .sent
    }

    /// The header of a datagram, with its checksum.
    private static func header(
        _ payload: RawSpan, from source: IPAddress, port sourcePort: UInt16, to destination: IPAddress,
        port destinationPort: UInt16
    ) -> UDPHeader {
        var header = UDPHeader(
            sourcePort: sourcePort, destinationPort: destinationPort, payloadLength: payload.byteCount)
        var checksum = pseudoHeader(from: source, to: destination, length: UDPHeader.length + payload.byteCount)
        checksum.add(sourcePort)
        checksum.add(destinationPort)
        checksum.add(header.datagramLength)
        checksum.add(payload)
        // 0 would say that there is none; as a sum of ones' complements it is the same as 0xFFFF.
        header.checksum = checksum.value == 0 ? 0xFFFF : checksum.value
        return header
    }
}

/// A datagram on its way into frames.
private struct UDPOut: BitwiseCopyable {
    let header: UDPHeader
    let source: IPAddress
    let destination: IPAddress
    let marking: DatagramMarking

    private var timeToLive: UInt8 { destination.isMulticast ? marking.groupTimeToLive : marking.timeToLive }

    func appendWhole(_ payload: RawSpan, _ frame: consuming Frame, _ packets: inout Burst) {
        write(payload, 0..<UDPHeader.length + payload.byteCount, into: &frame)
        IPOut.prepend(
            from: source, to: destination, protocol: .udp, timeToLive: timeToLive, dscp: marking.codepoint, &frame)
        packets.append(frame)
    }

    /// - Precondition: there are frames and room for all pieces, the first frame being taken already.
    func append(
        _ payload: RawSpan, _ cuts: FragmentCuts, _ identification: UInt32, _ first: consuming Frame,
        _ packets: inout Burst
    ) {
        appendPiece(payload, cuts, 0, identification, first, &packets)
        for index in 1..<cuts.count {
            guard let frame = packets.takeFrame() else { preconditionFailure("frames were counted") }
            appendPiece(payload, cuts, index, identification, frame, &packets)
        }
    }

    private func appendPiece(
        _ payload: RawSpan, _ cuts: FragmentCuts, _ index: Int, _ identification: UInt32, _ frame: consuming Frame,
        _ packets: inout Burst
    ) {
        let range = cuts[index]
        write(payload, range, into: &frame)
        Fragmentation.prepend(
            from: source, to: destination, protocol: .udp, timeToLive: timeToLive, dscp: marking.codepoint,
            identification: identification, offset: range.lowerBound, hasMore: index < cuts.count - 1, &frame)
        packets.append(frame)
    }

    /// Fills a frame with a range of the datagram, whose header comes before the payload.
    private func write(_ payload: RawSpan, _ range: Range<Int>, into frame: inout Frame) {
        frame.setLength(range.count)
        var bytes = frame.mutableBytes
        let headerLength = range.lowerBound == 0 ? UDPHeader.length : 0
        if headerLength > 0 { header.write(to: &bytes) }
        let start = range.lowerBound + headerLength - UDPHeader.length
        var space = bytes._mutatingExtracting(headerLength..<range.count)
        // The sum was needed before, as it stands in the first piece. This one costs next to nothing.
        _ = payload.extracting(start..<range.upperBound - UDPHeader.length).copyAndSum(to: &space)
    }
}
