// An IP packet arrives: whether it is sound and for us, and to whom it goes (RFC 1122 §3.2.1, RFC 8200).

extension Stack {
    /// An IP packet, of the version that its frame says or, where there is no such type, its first bits.
    mutating func packetArrives(_ packet: consuming Frame, _ etherType: EtherType, _ arrival: Arrival) {
        let echo =
            etherType == .ipv4 ? ipv4Arrives(packet.bytes, arrival) : ipv6Arrives(packet.bytes, arrival)
        guard let echo else { return }
        network.answerEcho(packet, echo)
    }

    /// Returns the echo that is to be answered, if it is one.
    private mutating func ipv4Arrives(_ bytes: RawSpan, _ arrival: Arrival) -> EchoRequest? {
        var arrival = arrival
        guard let header = IPv4Header(parsing: bytes) else { return network.dropped(.malformed) }
        guard header.isIntact(bytes) else { return network.dropped(.badChecksum) }
        let (source, destination) = (header.source, header.destination)
        guard !source.isMulticast, !network.addresses.isBroadcast(source, on: arrival.interface),
            // RFC 1122 §3.2.1.3 (g): loopback addresses are never on a link.
            arrival.isFromUs || !source.isLoopback && !destination.isLoopback,
            source != .any || header.protocol == .udp || header.protocol == .igmp
        else { return network.dropped(.badSource) }
        if !network.addresses.contains(.v4(destination)) {
            guard
                network.addresses.isBroadcast(destination, on: arrival.interface)
                    || network.groups.contains(.v4(destination), on: arrival.interface)
                    || network.isForDHCP(header, bytes, arrival)
            else { return network.dropped(.notForUs) }
            arrival.isGroupPacket = true
        }
        arrival.isCongestionExperienced = header.ecn == .congestionExperienced
        if header.isFragment {
            fragmentArrives(header, bytes, arrival)
            return nil
        }
        let payload = bytes.extracting(Int(header.headerLength)..<Int(header.totalLength))
        if header.headerLength > IPv4Header.minimumLength {
            guard isAtItsEnd(bytes.extracting(20..<Int(header.headerLength)), arrival) else {
                return network.dropped(.notForUs)
            }
        }
        defer { tcp.returnRoute = nil }
        switch header.protocol {
        case .tcp:
            guard !arrival.isGroupPacket else { return network.dropped(.notForUs) }
            tcp.segmentArrives(
                payload, from: .v4(source), to: .v4(destination),
                isCongestionExperienced: arrival.isCongestionExperienced, isVerified: arrival.isVerified,
                segmentSize: arrival.segmentSize, at: arrival.now)
        case .udp:
            if network.isForDHCP(header, bytes, arrival) {
                network.leaseArrives(payload, from: source, to: destination, arrival)
            } else if datagramArrives(payload, from: .v4(source), to: .v4(destination), arrival) {
                network.sendError(
                    .unreachable(code: ICMPv4Message.Unreachable.port, nextHopMTU: 0), about: bytes, header, arrival)
            }
        case .icmp:
            guard network.icmpv4Arrives(payload, source, arrival, &tcp, &udp) else { return nil }
            return EchoRequest(
                offset: Int(header.headerLength), length: payload.byteCount, from: .v4(source), to: .v4(destination))
        case .igmp: network.igmpArrives(payload, header, arrival)
        default:
            network.drop(.unknownProtocol)
            network.sendError(
                .unreachable(code: ICMPv4Message.Unreachable.protocol, nextHopMTU: 0), about: bytes, header, arrival)
        }
        return nil
    }

    /// Whether a packet with options has no routers left to pass. Keeps the way back, where that may be used.
    private mutating func isAtItsEnd(_ options: RawSpan, _ arrival: Arrival) -> Bool {
        switch SourceRoute.read(options) {
        case .none: return true
        case .unfinished: return false
        case .back(let route):
            if network.interfaces[Int(arrival.interface)].acceptsSourceRoutes { tcp.returnRoute = route }
            return true
        }
    }

    private mutating func ipv6Arrives(_ bytes: RawSpan, _ arrival: Arrival) -> EchoRequest? {
        var arrival = arrival
        guard let header = IPv6Header(parsing: bytes) else { return network.dropped(.malformed) }
        let (source, destination) = (header.source, header.destination)
        // RFC 4291 §2.5.3: nor is IPv6's.
        guard !source.isMulticast, arrival.isFromUs || !source.isLoopback && !destination.isLoopback,
            !source.isIPv4Mapped
        else { return network.dropped(.badSource) }
        if !network.addresses.contains(.v6(destination)) {
            guard
                network.groups.contains(.v6(destination), on: arrival.interface)
                    || network.addresses.isSolicitedNode(destination, on: arrival.interface)
            else { return network.dropped(.notForUs) }
            arrival.isGroupPacket = true
        }
        arrival.isCongestionExperienced = header.ecn == .congestionExperienced
        let extensions: IPv6Extensions
        switch IPv6Extensions.walk(header, bytes) {
        case .arrived(let walked): extensions = walked
        case .dropped: return network.dropped(.malformed)
        case .problem(let problem):
            network.drop(.malformed)
            network.sendError(
                .parameterProblem(code: problem.code.rawValue, pointer: UInt32(problem.pointer)), about: bytes, header,
                arrival, mayAnswerGroup: problem.isForMulticastToo)
            return nil
        }
        if let fragment = extensions.fragment, !fragment.isAtomic {
            fragmentArrives(header, extensions, fragment, bytes, arrival)
            return nil
        }
        arrival.hasRouterAlert = extensions.hasRouterAlert
        let payload = bytes.extracting(Int(extensions.offset)..<header.totalLength)
        switch extensions.protocol {
        case .tcp:
            guard !arrival.isGroupPacket else { return network.dropped(.notForUs) }
            tcp.segmentArrives(
                payload, from: .v6(source), to: .v6(destination),
                isCongestionExperienced: arrival.isCongestionExperienced, isVerified: arrival.isVerified,
                segmentSize: arrival.segmentSize, at: arrival.now)
        case .udp:
            if datagramArrives(payload, from: .v6(source), to: .v6(destination), arrival) {
                network.sendError(
                    .unreachable(code: ICMPv6Message.Unreachable.port), about: bytes, header, arrival)
            }
        case .icmpv6:
            guard network.icmpv6Arrives(payload, header, arrival, &tcp, &udp) else { return nil }
            let answering =
                arrival.isGroupPacket ? network.sourceAddress6(for: source, on: arrival.interface) : destination
            guard let answering else { return nil }
            return EchoRequest(
                offset: Int(extensions.offset), length: payload.byteCount, from: .v6(source), to: .v6(answering))
        case IPProtocol(rawValue: 59): break  // No Next Header (RFC 8200 §4.7).
        default:
            network.drop(.unknownProtocol)
            network.sendError(
                .parameterProblem(
                    code: ICMPv6Message.ParameterProblem.unknownNextHeader.rawValue,
                    pointer: UInt32(extensions.protocolOffset)), about: bytes, header, arrival)
        }
        return nil
    }

    /// Returns whether nobody wants the datagram, and its sender is to be told so.
    private mutating func datagramArrives(
        _ datagram: RawSpan, from source: IPAddress, to destination: IPAddress, _ arrival: Arrival
    ) -> Bool {
        udp.datagramArrives(
            datagram, from: source, to: destination, on: arrival.interface,
            isCongestionExperienced: arrival.isCongestionExperienced, isVerified: arrival.isVerified) == .noSocket
            && !arrival.isGroupPacket
    }

    // MARK: Fragments

    private mutating func fragmentArrives(_ header: IPv4Header, _ bytes: RawSpan, _ arrival: Arrival) {
        let fragment = Fragment(
            offset: Int(header.fragmentOffset), hasMore: header.moreFragments, nextHeader: header.protocol.rawValue,
            isCongestionExperienced: arrival.isCongestionExperienced, isECNCapable: header.ecn != .notCapable)
        let key = FragmentKey(
            source: .v4(header.source), destination: .v4(header.destination),
            identification: UInt32(header.identification), transportProtocol: header.protocol.rawValue)
        let payload = bytes.extracting(Int(header.headerLength)..<Int(header.totalLength))
        let outcome = network.reassembly.receive(fragment, of: key, bytes: payload, at: arrival.now)
        guard case .complete(let datagram) = outcome else { return }
        datagramIsWhole(datagram, key, arrival)
    }

    private mutating func fragmentArrives(
        _ header: IPv6Header, _ extensions: IPv6Extensions, _ fragment: IPv6Fragment, _ bytes: RawSpan,
        _ arrival: Arrival
    ) {
        let key = FragmentKey(
            source: .v6(header.source), destination: .v6(header.destination), identification: fragment.identification,
            transportProtocol: 0)
        // What is put together starts behind the fragment header; what may stand there before the transport is walked
        // over in the first fragment only, so a datagram with more extension headers behind it is not understood.
        let start = Int(fragment.headerOffset) + 8
        let described = Fragment(
            offset: Int(fragment.offset), hasMore: fragment.moreFragments, nextHeader: fragment.nextHeader.rawValue,
            isCongestionExperienced: arrival.isCongestionExperienced, isECNCapable: header.ecn != .notCapable)
        let payload = bytes.extracting(start..<header.totalLength)
        let outcome = network.reassembly.receive(described, of: key, bytes: payload, at: arrival.now)
        guard case .complete(let datagram) = outcome else { return }
        datagramIsWhole(datagram, key, arrival)
    }

    /// Whether a datagram that came in pieces is for this stack: pieces are for all stacks of a host, and each puts them together.
    private func belongsHere(
        _ datagram: RawSpan, _ key: FragmentKey, _ next: UInt8, _ arrival: Arrival
    ) -> Bool {
        guard let share = network.share, !arrival.isGroupPacket, datagram.byteCount >= 4 else { return true }
        // What has no flow is answered once.
        guard next == IPProtocol.tcp.rawValue || next == IPProtocol.udp.rawValue else { return network.answersAll }
        let ends = FourTuple(
            localAddress: key.destination, localPort: datagram.uint16(at: 2), remoteAddress: key.source,
            remotePort: datagram.uint16(at: 0))
        if share.isHome(of: ends) { return true }
        // A socket that shares its port with none is nowhere else; one that does gets what comes home.
        if next == IPProtocol.udp.rawValue { return udp.isAlone(ends) }
        return tcp.knows(ends)
    }

    /// Hands on a datagram that came in pieces, and gives its memory back.
    private mutating func datagramIsWhole(_ datagram: ReassembledDatagram, _ key: FragmentKey, _ arrival: Arrival) {
        var arrival = arrival
        arrival.isVerified = false
        arrival.isCongestionExperienced = datagram.isCongestionExperienced
        let ring = network.reassembly.ring(of: datagram)
        let isOurs = network.reassembly.memory.withRun(of: ring, at: 0, count: datagram.byteCount) {
            belongsHere($0, key, datagram.nextHeader, arrival)
        }
        guard isOurs else { return network.reassembly.release(datagram) }
        switch IPProtocol(rawValue: datagram.nextHeader) {
        case .tcp:
            guard !arrival.isGroupPacket else { break }
            network.reassembly.memory.withRun(of: ring, at: 0, count: datagram.byteCount) {
                tcp.segmentArrives(
                    $0, from: key.source, to: key.destination,
                    isCongestionExperienced: arrival.isCongestionExperienced, at: arrival.now)
            }
        case .udp:
            // Who is not there is told so about whole packets alone: the header that would be quoted is gone.
            network.reassembly.memory.withRun(of: ring, at: 0, count: datagram.byteCount) {
                _ = udp.datagramArrives(
                    $0, from: key.source, to: key.destination, on: arrival.interface,
                    isCongestionExperienced: arrival.isCongestionExperienced)
            }
        case .icmp where key.source.bitWidth == 32, .icmpv6 where key.source.bitWidth == 128:
            echoIsWhole(ring, datagram.byteCount, key, arrival)
        default: network.drop(.unknownProtocol)
        }
        network.reassembly.release(datagram)
    }

    /// An ICMP message came in pieces: if it is an echo request it is answered, and nothing else is to be believed then (RFC 6980 §5).
    private mutating func echoIsWhole(_ ring: ByteRing, _ count: Int, _ key: FragmentKey, _ arrival: Arrival) {
        guard !arrival.isGroupPacket, !arrival.isGroupFrame, !key.source.isUnspecified,
            let path = network.path(to: key.source, from: key.destination, at: arrival.now)
        else { return network.drop(.ignoredICMP) }
        let echo = EchoInPieces(peer: key.source, own: key.destination, mtu: path.mtu, now: arrival.now)
        var dropped: PacketDrop?
        network.reassembly.memory.withRun(of: ring, at: 0, count: count) { request in
            if !echo.isRequest(request) {
                dropped = .ignoredICMP
            } else if !echo.answer(
                request, into: &network.packets, identifications: &network.identification, using: &network.random)
            {
                dropped = .noRoom
            }
        }
        if let dropped { network.drop(dropped) } else { network.counters.echoReplies &+= 1 }
    }
}
