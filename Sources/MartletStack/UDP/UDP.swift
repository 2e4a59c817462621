// All of UDP of a stack: sockets, who gets what a datagram brings, and what is told of it.
//
// Takes datagrams whose IP header is gone. Hold RFC 768 beside it, RFC 1122 §4.1 for what a host must do, and RFC 8200 §8.1 for
// the checksum over IPv6. Interfaces are numbers here, and routes unknown. How datagrams go is in UDPOut.swift.

/// The sockets of a stack.
struct UDP: ~Copyable {
    var sockets: UDPSockets
    private var waiting: WaitingDatagrams
    private var news: SlotQueue
    /// Those who were refused room.
    private var refused: SlotQueue
    private let ports: ClosedRange<UInt16>
    private let receiveLimit: Int
    var counters = UDPCounters()

    /// No sockets yet. Ephemeral ports are those that IANA sets apart, or what `ports` says.
    init(
        limits: UDPLimits = UDPLimits(), ports: ClosedRange<UInt16> = 49_152...65_535,
        using random: inout some RandomNumberGenerator
    ) {
        sockets = UDPSockets(capacity: limits.sockets, secret: SipHash.Key(using: &random))
        waiting = WaitingDatagrams(datagrams: limits.datagrams, byteCount: limits.ringMemory)
        news = SlotQueue(capacity: limits.sockets)
        refused = SlotQueue(capacity: limits.sockets)
        self.ports = ports
        receiveLimit = limits.receiveLimit
    }

    var bytesTaken: Int { waiting.bytesTaken }

    // MARK: In

    /// A packet for one of our addresses, a group we are in, or everybody, from its UDP header on. Its checksum is not looked at if a
    /// link has verified it, or it never was on a wire.
    mutating func datagramArrives(
        _ packet: RawSpan, from source: IPAddress, to destination: IPAddress, on interface: UInt8,
        isCongestionExperienced: Bool, isVerified: Bool = false
    ) -> UDPOutcome {
        guard let header = UDPHeader(parsing: packet) else { return drop(.malformed) }
        if source.isMulticast || source == .v4(.broadcast) { return drop(.invalidSource) }
        // What is behind the datagram is not part of it, and not in its checksum.
        let datagram = packet.extracting(first: Int(header.datagramLength))
        if header.checksum == 0 {
            if case .v6 = source { return drop(.noChecksum) }
        } else if !isVerified {
            var checksum = Self.pseudoHeader(from: source, to: destination, length: datagram.byteCount)
            checksum.add(datagram)
            guard checksum.value == 0 else { return drop(.badChecksum) }
        }
        let tuple = FourTuple(
            localAddress: destination, localPort: header.destinationPort, remoteAddress: source,
            remotePort: header.sourcePort)
        guard let slot = sockets.findMostSpecific(tuple) else {
            counters.noSocket &+= 1
            return .noSocket
        }
        let envelope = DatagramEnvelope(
            source: source, sourcePort: header.sourcePort, destination: destination, interface: interface,
            isCongestionExperienced: isCongestionExperienced)
        let payload = datagram.from(UDPHeader.length)
        switch waiting.append(payload, envelope, to: &sockets[slot].queue, limit: receiveLimit) {
        case .kept: break
        case .full: return drop(.socketFull)
        case .noMemory: return drop(.noMemory)
        }
        counters.datagramsIn &+= 1
        tell(.readable, slot)
        return .delivered
    }

    private mutating func drop(_ reason: UDPDrop) -> UDPOutcome {
        counters.count(reason)
        return .dropped(reason)
    }

    /// The sum of addresses, protocol and length.
    static func pseudoHeader(from source: IPAddress, to destination: IPAddress, length: Int) -> Checksum {
        switch (source, destination) {
        case (.v4(let source), .v4(let destination)):
            Checksum.pseudoHeader(
                source: source, destination: destination, protocol: IPProtocol.udp.rawValue, length: length)
        case (.v6(let source), .v6(let destination)):
            Checksum.pseudoHeader(
                source: source, destination: destination, protocol: IPProtocol.udp.rawValue, length: length)
        default: preconditionFailure("both ends of a datagram are of one version")
        }
    }

    /// An ICMP error has come about a datagram that went `from` us `to` another; `quoted` is what it holds from the UDP header on.
    ///
    /// A socket connected to just that end is told. Others have sent to many, and could not say which one it is about.
    mutating func errorArrives(_ error: UDPError, quoted: RawSpan, from source: IPAddress, to destination: IPAddress) {
        // RFC 792: 8 bytes of the datagram at least. The ports are all of them that is known to nobody else.
        guard quoted.byteCount >= UDPHeader.length else {
            counters.errorsForNobody &+= 1
            return
        }
        let tuple = FourTuple(
            localAddress: source, localPort: quoted.uint16(at: 0), remoteAddress: destination,
            remotePort: quoted.uint16(at: 2))
        guard tuple.remotePort != 0, let slot = sockets.find(tuple) else {
            counters.errorsForNobody &+= 1
            return
        }
        counters.errorsIn &+= 1
        sockets[slot].error = error
        tell(.error, slot)
    }

    // MARK: Events

    /// The next socket that has news, with all of its news; nil if none has.
    mutating func nextEvent() -> (SocketID, SocketEvents)? {
        while let slot = news.popFirst() {
            let events = sockets[slot].events
            sockets[slot].events = []
            if !events.isEmpty { return (sockets.id(of: slot), events) }
        }
        return nil
    }

    /// Whether the socket that a datagram is for gets all there is for its port, whichever stack of a host its flow belongs to.
    func isAlone(_ ends: FourTuple) -> Bool {
        sockets.findMostSpecific(ends).map { !sockets[$0].sharesPort } ?? false
    }

    private mutating func tell(_ what: SocketEvents, _ slot: UInt32) {
        sockets[slot].events.formUnion(what)
        news.append(slot)
    }

    mutating func refuse(_ slot: UInt32) {
        counters.noRoom &+= 1
        sockets[slot].isRefused = true
        refused.append(slot)
    }

    /// Frames have gone and come back: whoever was refused room is told to try again.
    mutating func roomReturns() {
        while let slot = refused.popFirst() {
            // Not if it has been closed in between, whoever may have its slot now.
            guard sockets[slot].isRefused else { continue }
            sockets[slot].isRefused = false
            tell(.writable, slot)
        }
    }
}

// MARK: - User calls

extension UDP {
    var socketCount: Int { sockets.count }

    /// Opens a socket on an address of ours or a group's, on all of IPv4's by `0.0.0.0`, or on all there are by `::` (RFC 3493 §3.7),
    /// of which a socket on `0.0.0.0` and the same port takes IPv4's. Port 0 means any that is free.
    ///
    /// RFC 6056 §3.3.1: each such port is a random one. For datagrams the port is all that keeps strangers from answering
    /// in another's name (RFC 5452 §9.2), so it must not follow from one that was seen.
    mutating func bind(
        _ address: IPAddress, port: UInt16, sharesPort: Bool = false, using random: inout some RandomNumberGenerator
    ) throws(UDPBindError) -> SocketID {
        var tuple = FourTuple(
            localAddress: address, localPort: port, remoteAddress: address.unspecified, remotePort: 0)
        if port == 0 {
            guard let free = freePort(tuple, using: &random) else { throw .noPort }
            tuple.localPort = free
        } else if sockets.find(tuple) != nil {
            throw .inUse
        }
        guard let slot = sockets.open(tuple) else { throw .noSocket }
        sockets[slot].sharesPort = sharesPort
        return sockets.id(of: slot)
    }

    private func freePort(_ tuple: FourTuple, using random: inout some RandomNumberGenerator) -> UInt16? {
        var tuple = tuple
        let count = UInt32(ports.upperBound - ports.lowerBound) + 1
        let start = UInt32.random(in: 0..<count, using: &random)
        for step in 0..<count {
            tuple.localPort = ports.lowerBound + UInt16((start + step) % count)
            if sockets.find(tuple) == nil { return tuple.localPort }
        }
        return nil
    }

    /// Lets a socket receive from one remote end only, and hear of ICMP errors. `local` is the address that datagrams are to
    /// have as their source: for a socket that is bound to all, which one the caller has selected.
    ///
    /// - Precondition: both ends are whole and of one IP version, and `local` is the address that the socket is bound to, if any.
    mutating func connect(
        _ id: SocketID, from local: IPAddress, to remote: IPAddress, port: UInt16
    ) throws(UDPBindError) {
        guard let slot = sockets.slot(of: id) else { throw .closed }
        let bound = sockets[slot].tuple.localAddress
        precondition(bound.isUnspecified || bound == local, "a socket stays with its address")
        precondition(
            bound.unspecified == remote.unspecified || bound == .v6(.any), "both ends of a socket are of one IP version"
        )
        precondition(!local.isUnspecified && !remote.isUnspecified && port != 0, "half an end")
        let tuple = FourTuple(
            localAddress: local, localPort: sockets[slot].tuple.localPort, remoteAddress: remote, remotePort: port)
        if let other = sockets.find(tuple), other != slot { throw .inUse }
        sockets.rename(slot, tuple)
    }

    /// Both ends of a socket, with the unspecified address and port 0 for what is not known; nil if it is closed.
    func tuple(of id: SocketID) -> FourTuple? { sockets.slot(of: id).map { sockets[$0].tuple } }

    /// Shows `body` the datagram that came first, and takes it out. Returns false if there is none.
    mutating func receive(_ id: SocketID, _ body: (RawSpan, DatagramEnvelope) -> Void) -> Bool {
        guard let slot = sockets.slot(of: id) else { return false }
        return waiting.removeFirst(of: &sockets[slot].queue, body)
    }

    /// What the last ICMP error said, once.
    mutating func takeError(of id: SocketID) -> UDPError? {
        guard let slot = sockets.slot(of: id) else { return nil }
        let error = sockets[slot].error
        sockets[slot].error = nil
        return error
    }

    /// Has datagrams that are longer than the path takes refused instead of cut.
    mutating func setDontFragment(_ id: SocketID, _ isOn: Bool) {
        if let slot = sockets.slot(of: id) { sockets[slot].dontFragment = isOn }
    }

    /// Changes what the IP headers of datagrams say from now on.
    mutating func set(_ marking: DatagramMarking, of id: SocketID) {
        precondition(
            marking.timeToLive > 0 && marking.groupTimeToLive > 0 && marking.codepoint < 64, "no header says so")
        if let slot = sockets.slot(of: id) { sockets[slot].marking = marking }
    }

    func marking(of id: SocketID) -> DatagramMarking? { sockets.slot(of: id).map { sockets[$0].marking } }

    /// Closes a socket. What it has not read is dropped.
    mutating func close(_ id: SocketID) {
        guard let slot = sockets.slot(of: id) else { return }
        waiting.removeAll(of: &sockets[slot].queue)
        sockets.close(slot)
    }
}
