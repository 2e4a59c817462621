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

    /// A stack whose frames are of `pool`, which is to outlive it, with a secret of 128 random bits.
    init(
        _ interfaces: [InterfaceConfiguration], limits: StackLimits = StackLimits(), pool: borrowing FramePool,
        secret: SipHash.Key, now: Instant
    ) {
        network = Network(interfaces, limits: limits.network, pool: pool, secret: secret, now: now)
        tcp = TCP(limits: limits.tcp, secret: SipHash.Key(using: &network.random), now: now)
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
    }

    /// The next connection that has news, with all of its news; nil if none has.
    mutating func nextEvent() -> (ConnectionID, ConnectionEvents)? { tcp.nextEvent() }

    /// Adds what is owed to the burst, as far as it has room. Returns whether all is paid.
    mutating func egress(into burst: inout Burst, at now: Instant) -> Bool {
        var isPaid = false
        while network.flush(into: &burst, at: now) {
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
        let version = packet.bytes.byte(at: 0) &>> 4
        packetArrives(packet, version == 4 ? .ipv4 : .ipv6, arrival)
    }
}

/// Bounds of a stack: all that it ever holds is taken when it is made.
struct StackLimits: BitwiseCopyable, Sendable {
    var network = NetworkLimits()
    var tcp = TCPLimits()
}

// MARK: - User calls

extension Stack {
    var counters: TCPCounters { tcp.counters }
    var connectionCount: Int { tcp.connectionCount }

    mutating func listen(port: UInt16, backlog: Int) -> Int { tcp.listen(port: port, backlog: backlog) }
    mutating func accept(_ listener: Int) -> ConnectionID? { tcp.accept(listener) }

    /// OPEN, active, from `local` or the address that fits. Nil if there is no way, or no port or connection is free.
    mutating func connect(from local: IPAddress? = nil, to remote: IPAddress, port: UInt16) -> ConnectionID? {
        guard let source = local ?? network.sourceAddress(for: remote, at: tcp.now),
            network.path(to: remote, from: source, at: tcp.now) != nil
        else { return nil }
        return tcp.connect(from: source, to: remote, port: port)
    }

    func state(of id: ConnectionID) -> TCPState { tcp.state(of: id) }
    func error(of id: ConnectionID) -> TCPError? { tcp.error(of: id) }
    mutating func send(_ id: ConnectionID, _ bytes: RawSpan) -> Int { tcp.send(id, bytes) }
    mutating func receive(_ id: ConnectionID, _ body: (RawSpan) -> Int) -> Int { tcp.receive(id, body) }
    mutating func finish(_ id: ConnectionID) { tcp.finish(id) }
    mutating func abort(_ id: ConnectionID) { tcp.abort(id) }
    mutating func release(_ id: ConnectionID) { tcp.release(id) }
    mutating func setNoDelay(_ id: ConnectionID, _ isOn: Bool) { tcp.setNoDelay(id, isOn) }
}
