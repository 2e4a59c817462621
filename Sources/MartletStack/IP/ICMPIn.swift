// ICMP messages that come: echoes are answered, errors are believed as far as RFC 5927 allows.
//
// An error quotes the packet that it is about. Anybody can make one up who guesses addresses and ports; so it counts only
// if what it quotes is a segment that is in flight now.

/// The packet that an ICMP error quotes, as far as it is there: 8 bytes behind its IP header at least.
struct QuotedPacket: BitwiseCopyable {
    let source: IPAddress
    let destination: IPAddress
    let `protocol`: IPProtocol
    let sourcePort: UInt16
    let destinationPort: UInt16
    /// Of a TCP segment.
    let sequence: SequenceNumber
    /// Bytes of the whole packet.
    let length: Int
    /// Where its transport header starts.
    let transportOffset: Int

    /// Reads a quoted IPv4 packet; nil if too little of it is there, or it is a later fragment.
    init?(ipv4 bytes: RawSpan) {
        guard bytes.byteCount >= 28, bytes.byte(at: 0) &>> 4 == 4 else { return nil }
        let headerLength = Int(bytes.byte(at: 0) & 0xF) &* 4
        guard headerLength >= 20, bytes.byteCount >= headerLength + 8, bytes.uint16(at: 6) & 0x1FFF == 0 else {
            return nil
        }
        self.init(
            source: .v4(bytes.ipv4Address(at: 12)), destination: .v4(bytes.ipv4Address(at: 16)),
            protocol: IPProtocol(rawValue: bytes.byte(at: 9)), length: Int(bytes.uint16(at: 2)),
            transport: bytes.from(headerLength), at: headerLength)
    }

    /// Reads a quoted IPv6 packet. We send no extension headers before TCP, and so believe none in quotes of it.
    init?(ipv6 bytes: RawSpan) {
        guard bytes.byteCount >= 48, bytes.byte(at: 0) &>> 4 == 6 else { return nil }
        self.init(
            source: .v6(bytes.ipv6Address(at: 8)), destination: .v6(bytes.ipv6Address(at: 24)),
            protocol: IPProtocol(rawValue: bytes.byte(at: 6)), length: 40 + Int(bytes.uint16(at: 4)),
            transport: bytes.from(40), at: 40)
    }

    private init(
        source: IPAddress, destination: IPAddress, protocol: IPProtocol, length: Int, transport: RawSpan, at offset: Int
    ) {
        transportOffset = offset
        self.source = source
        self.destination = destination
        self.protocol = `protocol`
        self.length = length
        sourcePort = transport.uint16(at: 0)
        destinationPort = transport.uint16(at: 2)
        sequence = SequenceNumber(transport.uint32(at: 4))
    }

    /// The connection that it is of, as we see it.
    var tuple: FourTuple {
        FourTuple(
            localAddress: source, localPort: sourcePort, remoteAddress: destination, remotePort: destinationPort)
    }
}

/// An echo request that is to be answered: where its ICMP message is in the packet, and between whom.
struct EchoRequest: BitwiseCopyable {
    var offset: Int
    var length: Int
    var from: IPAddress
    var to: IPAddress
}

extension Network {
    /// An ICMPv4 message. Returns whether it is an echo request that is to be answered.
    mutating func icmpv4Arrives(
        _ message: RawSpan, _ source: IPv4Address, _ arrival: Arrival, _ tcp: inout TCP, _ udp: inout UDP
    ) -> Bool {
        guard let header = ICMPv4Message(parsing: message) else {
            drop(.malformed)
            return false
        }
        guard ICMPv4Message.isIntact(message) else {
            drop(.badChecksum)
            return false
        }
        switch header.meaning {
        case .echoRequest:
            // RFC 1122 §3.2.2.6 leaves it to us whether everybody is answered: that serves attacks alone.
            if !arrival.isGroupPacket, !arrival.isGroupFrame { return true }
        case .unreachable(let code, let nextHopMTU):
            guard let quoted = QuotedPacket(ipv4: message.from(ICMPv4Message.length)) else { break }
            counters.icmpErrorsIn &+= 1
            if code == ICMPv4Message.Unreachable.fragmentationNeeded {
                tooBigArrives(quoted, mtu: Int(nextHopMTU), message, arrival, &tcp, &udp)
            } else {
                let isHard = code == ICMPv4Message.Unreachable.protocol || code == ICMPv4Message.Unreachable.port
                errorArrives(isHard ? .refused : .unreachable, about: quoted, message, &tcp, &udp)
            }
            return false
        case .timeExceeded, .parameterProblem:
            guard let quoted = QuotedPacket(ipv4: message.from(ICMPv4Message.length)) else { break }
            counters.icmpErrorsIn &+= 1
            errorArrives(header.type == 11 ? .timeExceeded : .parameterProblem, about: quoted, message, &tcp, &udp)
            return false
        default: break
        }
        drop(.ignoredICMP)
        return false
    }

    /// An ICMPv6 message. Returns whether it is an echo request that is to be answered.
    mutating func icmpv6Arrives(
        _ message: RawSpan, _ packet: IPv6Header, _ arrival: Arrival, _ tcp: inout TCP, _ udp: inout UDP
    ) -> Bool {
        guard let header = ICMPv6Message(parsing: message) else {
            drop(.malformed)
            return false
        }
        guard ICMPv6Message.isIntact(message, source: packet.source, destination: packet.destination) else {
            drop(.badChecksum)
            return false
        }
        switch header.meaning {
        case .echoRequest:
            if packet.source != .any { return true }
        case .neighborDiscovery:
            neighborDiscoveryArrives(message, packet, arrival)
            return false
        case .membership:
            mldArrives(message, packet, arrival)
            return false
        case .packetTooBig(let mtu):
            guard let quoted = QuotedPacket(ipv6: message.from(ICMPv6Message.length)) else { break }
            counters.icmpErrorsIn &+= 1
            tooBigArrives(quoted, mtu: Int(mtu), message, arrival, &tcp, &udp)
            return false
        case .unreachable(let code):
            guard let quoted = QuotedPacket(ipv6: message.from(ICMPv6Message.length)) else { break }
            counters.icmpErrorsIn &+= 1
            let isHard = code == ICMPv6Message.Unreachable.port
            errorArrives(isHard ? .refused : .unreachable, about: quoted, message, &tcp, &udp)
            return false
        case .timeExceeded, .parameterProblem:
            guard let quoted = QuotedPacket(ipv6: message.from(ICMPv6Message.length)) else { break }
            counters.icmpErrorsIn &+= 1
            // RFC 4443 §3.4: a peer that does not know the next header has no such transport at all.
            let isRefusal = header.type == 4 && header.code == ICMPv6Message.ParameterProblem.unknownNextHeader.rawValue
            let error: UDPError = isRefusal ? .refused : header.type == 3 ? .timeExceeded : .parameterProblem
            errorArrives(error, about: quoted, message, &tcp, &udp)
            return false
        default: break
        }
        drop(.ignoredICMP)
        return false
    }

    /// Sends an echo back in the frame that it came in.
    mutating func answerEcho(_ packet: consuming Frame, _ request: EchoRequest) {
        guard !packets.isFull else { return drop(.noRoom) }
        var frame = packet
        let (source, destination) = (request.to, request.from)
        frame.removeFirst(request.offset)
        frame.setLength(request.length)
        let isIPv4 = source.bitWidth == 32
        let reply: UInt16 = isIPv4 ? 0 : 129 << 8
        var checksum = Checksum.update(frame.bytes.uint16(at: 2), replacing: frame.bytes.uint16(at: 0), with: reply)
        frame.offload = []
        frame.segmentSize = 0
        var bytes = frame.mutableBytes
        bytes.store(reply, at: 0)
        // Addresses in the other order have the same sum, but a group's has been replaced by ours.
        if case (.v6(let source), .v6(let destination)) = (source, destination) {
            bytes.store(0 as UInt16, at: 2)
            var sum = Checksum.pseudoHeader(
                source: source, destination: destination, protocol: IPProtocol.icmpv6.rawValue,
                length: bytes.byteCount)
            sum.add(bytes.bytes)
            checksum = sum.value
        }
        bytes.store(checksum, at: 2)
        IPOut.prepend(from: source, to: destination, protocol: isIPv4 ? .icmp : .icmpv6, &frame)
        counters.echoReplies &+= 1
        packets.append(frame)
    }

    /// A packet of ours did not fit (RFC 1191, RFC 8201).
    private mutating func tooBigArrives(
        _ quoted: QuotedPacket, mtu: Int, _ message: RawSpan, _ arrival: Arrival, _ tcp: inout TCP, _ udp: inout UDP
    ) {
        guard
            quoted.protocol != .tcp
                || tcp.icmpError(.tooBig, of: quoted.tuple, quoted: quoted.sequence, at: arrival.now),
            let path = path(to: quoted.destination, from: quoted.source, at: arrival.now)
        else { return drop(.ignoredICMP) }
        let link = interfaces[Int(path.interface)].mtu(for: quoted.destination)
        _ = paths.receiveTooBig(
            for: quoted.destination, mtu: mtu, packetLength: quoted.length, linkMTU: link, at: arrival.now)
        guard quoted.protocol == .tcp else { return errorArrives(.tooLarge, about: quoted, message, &tcp, &udp) }
        // Also if it is no news: another connection may have heard of it first.
        tcp.pathMTUChanged(
            to: paths.mtu(to: quoted.destination, linkMTU: link, at: arrival.now), of: quoted.tuple, at: arrival.now)
    }

    /// A packet of ours has not arrived, or was not understood.
    private mutating func errorArrives(
        _ error: UDPError, about quoted: QuotedPacket, _ message: RawSpan, _ tcp: inout TCP, _ udp: inout UDP
    ) {
        switch quoted.protocol {
        case .tcp:
            let kind: ICMPError =
                switch error {
                case .refused: .hard
                case .timeExceeded: .soft(.timeExceeded)
                case .parameterProblem: .soft(.parameterProblem)
                case .unreachable, .tooLarge: .soft(.unreachable)
                }
            if !tcp.icmpError(kind, of: quoted.tuple, quoted: quoted.sequence, at: tcp.now) { drop(.ignoredICMP) }
        case .udp:
            // The headers of ICMP are 8 bytes in both versions.
            udp.errorArrives(
                error, quoted: message.from(8 + quoted.transportOffset), from: quoted.source, to: quoted.destination)
        default: drop(.ignoredICMP)
        }
    }
}
