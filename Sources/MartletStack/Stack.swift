// The stack: a machine that turns frames, instants and the user's calls into frames and events, and touches nothing else.
//
// The contract. Whoever drives it does, in each round and in this order:
//
//     1. ingress(&burst, on: interface, at: now)     all frames arrive; nothing is sent yet
//     2. advance(to: now)                            timers expire
//     3. while let event = nextEvent() { … }         and answers with connect, send, receive, finish, close, abort, release
//     4. egress(into: &burst, at: now)               until it says that all is paid: control first, then ACKs, then data
//     5. sleep until nextDeadline, or until frames come
//
// `now` never goes back. Frames that come in are consumed; frames that go out are taken from the pool that the stack was made
// with, and say by which interface they leave. If the pool is empty, nothing is lost but time: what was owed stays owed, or is
// sent again.

/// A TCP/IP stack over interfaces of Ethernet frames or bare IP packets.
///
/// Not finished, and not public yet.
struct Stack: ~Copyable {
    var network: Network
    var tcp: TCP
    var udp: UDP

    /// A stack whose frames are of `pool`, which is to outlive it, with a secret of 128 random bits.
    init(
        _ interfaces: [InterfaceConfiguration], limits: StackLimits = StackLimits(), pool: borrowing FramePool,
        secret: SipHash.Key, now: Instant
    ) {
        network = Network(interfaces, limits: limits.network, pool: pool, secret: secret, now: now)
        tcp = TCP(limits: limits.tcp, secret: SipHash.Key(using: &network.random), now: now)
        udp = UDP(limits: limits.udp, using: &network.random)
    }

    /// The instant until which nothing happens by itself; nil if nothing ever does.
    var nextDeadline: Instant? {
        if network.isOwing { return tcp.now }
        guard let other = network.nextDeadline else { return tcp.nextDeadline }
        return tcp.nextDeadline.map { min($0, other) } ?? other
    }

    // MARK: A round

    /// Takes in all frames of a burst, which came from one interface.
    mutating func ingress(_ burst: inout Burst, on interface: UInt8 = 0, at now: Instant) {
        while let frame = burst.popFirst() { frameArrives(frame, on: interface, at: now) }
    }

    /// Lets all timers expire that are due at `now`.
    mutating func advance(to now: Instant) {
        while let packet = network.loopback.popFirst() { loopsBack(packet, at: now) }
        network.advance(to: now)
        tcp.advance(to: now)
        network.hearOfFullSize(&tcp, at: now)
    }

    /// The next connection that has news, with all of its news; nil if none has.
    mutating func nextEvent() -> (ConnectionID, ConnectionEvents)? { tcp.nextEvent() }

    /// Adds what is owed to the burst, as far as it has room. Returns whether all is paid.
    mutating func egress(into burst: inout Burst, at now: Instant) -> Bool {
        var isPaid = false
        while network.flush(into: &burst, at: now) {
            udp.roomReturns()
            if isPaid { return true }
            isPaid = tcp.egress(into: &network.packets, at: now)
            if network.packets.isEmpty { return isPaid }
        }
        return false
    }

    /// A packet of ours comes back to us.
    private mutating func loopsBack(_ packet: consuming Frame, at now: Instant) {
        var arrival = Arrival(interface: packet.interface, now: now)
        // Nothing on the way could have changed it.
        arrival.isVerified = true
        arrival.segmentSize = packet.segmentSize
        let version = packet.bytes.byte(at: 0) &>> 4
        packetArrives(packet, version == 4 ? .ipv4 : .ipv6, arrival)
    }
}

/// Bounds of a stack: all that it ever holds is taken when it is made.
struct StackLimits: BitwiseCopyable, Sendable {
    var network = NetworkLimits()
    var tcp = TCPLimits()
    var udp = UDPLimits()
}

// MARK: - User calls

extension Stack {
    /// Opens a UDP socket on an address of ours, or on all of one version by `0.0.0.0` or `::`; port 0 is any that is free.
    mutating func bind(_ address: IPAddress, port: UInt16) throws(UDPBindError) -> SocketID {
        try udp.bind(address, port: port, using: &network.random)
    }

    /// Sends a datagram, whole or in pieces, or not at all.
    mutating func send(_ id: SocketID, _ payload: RawSpan, to remote: IPAddress, port: UInt16) -> UDPSent {
        guard let tuple = udp.tuple(of: id) else { return .closed }
        let isAny = tuple.localAddress == .v4(.any) || tuple.localAddress == .v6(.any)
        let chosen = isAny ? network.sourceAddress(for: remote, at: tcp.now) : tuple.localAddress
        guard let source = chosen, let path = network.path(to: remote, from: source, at: tcp.now) else {
            return .unreachable
        }
        return udp.send(
            id, payload, from: source, to: remote, port: port, mtu: path.mtu,
            identifications: &network.identification, into: &network.packets, at: tcp.now, using: &network.random)
    }

    var counters: TCPCounters { tcp.counters }
    var connectionCount: Int { tcp.connectionCount }

    mutating func listen(port: UInt16, backlog: Int) -> Int { tcp.listen(port: port, backlog: backlog) }
    mutating func set(_ settings: TCPSettings, ofListener listener: Int) -> Bool {
        tcp.set(settings, ofListener: listener)
    }
    mutating func accept(_ listener: Int) -> ConnectionID? { tcp.accept(listener) }

    /// OPEN, active, from `local` or the address that fits. Nil if there is no way, no port or connection is free, or no room
    /// for the settings.
    mutating func connect(
        from local: IPAddress? = nil, to remote: IPAddress, port: UInt16, _ settings: TCPSettings = TCPSettings()
    ) -> ConnectionID? {
        guard let source = local ?? network.sourceAddress(for: remote, at: tcp.now),
            let path = network.path(to: remote, from: source, at: tcp.now)
        else { return nil }
        // MUST-46: all hosts of the link are not one.
        if case .v4(let address) = remote, network.addresses.isBroadcast(address, on: path.interface) { return nil }
        return tcp.connect(from: source, to: remote, port: port, settings)
    }

    func state(of id: ConnectionID) -> TCPState { tcp.state(of: id) }
    func error(of id: ConnectionID) -> TCPError? { tcp.error(of: id) }
    mutating func send(_ id: ConnectionID, _ bytes: RawSpan) -> Int { tcp.send(id, bytes) }
    mutating func sendUrgent(_ id: ConnectionID, _ bytes: RawSpan) -> Int { tcp.sendUrgent(id, bytes) }
    func urgentCount(of id: ConnectionID) -> Int? { tcp.urgentCount(of: id) }
    func info(of id: ConnectionID) -> TCPInfo? { tcp.info(of: id) }
    mutating func receive(_ id: ConnectionID, _ body: (RawSpan) -> Int) -> Int { tcp.receive(id, body) }
    mutating func finish(_ id: ConnectionID) { tcp.finish(id) }
    mutating func abort(_ id: ConnectionID) { tcp.abort(id) }
    mutating func release(_ id: ConnectionID) { tcp.release(id) }
    func settings(of id: ConnectionID) -> TCPSettings? { tcp.settings(of: id) }
    mutating func set(_ settings: TCPSettings, of id: ConnectionID) -> Bool { tcp.set(settings, of: id) }
}
