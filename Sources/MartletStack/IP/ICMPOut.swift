// ICMP errors that we send, about packets that came (RFC 1122 §3.2.2, RFC 1812 §4.3.2.3, RFC 4443 §2.4).

extension Network {
    /// Tells the sender of an IPv4 packet what is wrong with it, if that may be told.
    mutating func sendError(
        _ meaning: ICMPv4Message.Meaning, about packet: RawSpan, _ header: IPv4Header, _ arrival: Arrival
    ) {
        var cause = ICMPCause(source: .v4(header.source), destination: .v4(header.destination))
        cause.isBroadcast = arrival.isGroupPacket && !header.destination.isMulticast
        cause.isGroupFrame = arrival.isGroupFrame
        cause.isFirstFragment = header.fragmentOffset == 0
        if header.protocol == .icmp, packet.byteCount > Int(header.headerLength) {
            cause.icmpType = packet.byte(at: Int(header.headerLength))
        }
        // As much as fits into what every host can take: 576 bytes.
        let quote = packet.extracting(first: min(Int(header.totalLength), 576 - 28))
        send(quote, cause, at: arrival.now) { bytes in ICMPv4Message(meaning).write(to: &bytes) }
    }

    /// The same for IPv6.
    mutating func sendError(
        _ meaning: ICMPv6Message.Meaning, about packet: RawSpan, _ header: IPv6Header, _ arrival: Arrival,
        mayAnswerGroup: Bool = false
    ) {
        var cause = ICMPCause(source: .v6(header.source), destination: .v6(header.destination))
        cause.isGroupFrame = arrival.isGroupFrame || arrival.isGroupPacket
        cause.mayAnswerGroup = mayAnswerGroup
        // RFC 4443 §2.4(e.1): what stands behind extension headers is no ICMP that we would have sent.
        if header.nextHeader == .icmpv6, packet.byteCount > IPv6Header.length {
            cause.icmpType = packet.byte(at: IPv6Header.length)
        }
        if arrival.isGroupPacket {
            guard let own = sourceAddress6(for: header.source, on: arrival.interface) else { return }
            cause.destination = .v6(own)
        }
        let quote = packet.extracting(first: min(header.totalLength, 1280 - 48))
        send(quote, cause, at: arrival.now) { bytes in ICMPv6Message(meaning).write(to: &bytes) }
    }

    /// A datagram was not whole in time: its sender is told, if its first fragment had come (RFC 1122 §3.3.2, RFC 8200 §4.5). The
    /// headers that are quoted are written anew, as the fragment is gone: with what tells which datagram it was.
    mutating func sendError(about timeout: ReassemblyTimeout, at now: Instant) {
        let key = timeout.key
        guard timeout.hadFirst, let interface = addresses.interface(of: key.destination) else { return }
        let arrival = Arrival(interface: interface, now: now)
        guard var quote = packets.takeFrame() else { return drop(.noRoom) }
        quote.setLength(56)
        var bytes = quote.mutableBytes
        switch (key.source, key.destination) {
        case (.v4(let source), .v4(let destination)):
            var header = IPv4Header(
                source: source, destination: destination, protocol: IPProtocol(rawValue: timeout.nextHeader),
                payloadLength: 8, timeToLive: 1)
            header.identification = UInt16(truncatingIfNeeded: key.identification)
            (header.moreFragments, header.dontFragment) = (true, false)
            header.checksum = header.computedChecksum
            header.write(to: &bytes)
            bytes.store(timeout.firstBytes, at: 20)
            sendError(.timeExceeded(code: 1), about: bytes.bytes.extracting(first: 28), header, arrival)
        case (.v6(let source), .v6(let destination)):
            let header = IPv6Header(
                source: source, destination: destination, nextHeader: .fragment, payloadLength: 16, hopLimit: 1)
            header.write(to: &bytes)
            bytes.store(UInt32(timeout.nextHeader) << 24 | 1, at: 40)
            bytes.store(key.identification, at: 44)
            bytes.store(timeout.firstBytes, at: 48)
            sendError(.timeExceeded(code: 1), about: bytes.bytes, header, arrival)
        default: break
        }
    }

    /// `cause.destination` is where the packet was sent to, and the error is sent from.
    private mutating func send(
        _ quote: RawSpan, _ cause: ICMPCause, at now: Instant, _ write: (inout MutableRawSpan) -> Void
    ) {
        guard icmpLimit.silence(for: cause, at: now, using: &random) == nil else { return }
        guard !packets.isFull, var frame = packets.takeFrame(), frame.tailroom >= 8 + quote.byteCount else {
            return drop(.noRoom)
        }
        frame.setLength(8 + quote.byteCount)
        var bytes = frame.mutableBytes
        write(&bytes)
        for offset in 0..<quote.byteCount { bytes.store(quote.byte(at: offset), at: 8 + offset) }
        var checksum = Checksum()
        if case (.v6(let source), .v6(let destination)) = (cause.destination, cause.source) {
            checksum = Checksum.pseudoHeader(
                source: source, destination: destination, protocol: IPProtocol.icmpv6.rawValue,
                length: bytes.byteCount)
        }
        checksum.add(bytes.bytes)
        bytes.store(checksum.value, at: 2)
        let isIPv4 = cause.source.bitWidth == 32
        IPOut.prepend(from: cause.destination, to: cause.source, protocol: isIPv4 ? .icmp : .icmpv6, &frame)
        counters.icmpErrorsOut &+= 1
        packets.append(frame)
    }
}
