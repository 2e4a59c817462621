// The stack: a machine that turns frames, instants and the user's calls into frames and events, and touches nothing else.
//
// The contract. Whoever drives it does, in each round and in this order:
//
//     1. ingress(&burst, at: now)      all segments arrive; nothing is sent yet
//     2. advance(to: now)              timers expire
//     3. while let event = nextEvent() { … }     and answers with connect, send, receive, finish, close, abort, release
//     4. egress(into: &burst, at: now) until it adds nothing: control first, then ACKs, then data
//     5. sleep until nextDeadline, or until frames come
//
// `now` never goes back. Frames that come in are consumed; frames that go out are taken from the burst's pool. If the pool is
// empty, nothing is lost but time: what was owed stays owed, or is sent again.

/// A TCP/IP stack over an interface of bare IP packets.
///
/// Not finished, and not public yet: TCP alone, over IPv4 and IPv6 without extension headers or fragments.
struct Stack: ~Copyable {
    var tcp: TCP
    private let addresses: [IPAddress]

    /// A stack with these addresses and this secret of 128 random bits, at `now`.
    init(addresses: [IPAddress], limits: TCPLimits = TCPLimits(), secret: SipHash.Key, now: Instant) {
        self.addresses = addresses
        tcp = TCP(limits: limits, secret: secret, now: now)
    }

    /// The instant until which nothing happens by itself; nil if nothing ever does.
    var nextDeadline: Instant? { tcp.nextDeadline }

    // MARK: In

    /// Takes in all packets of a burst.
    mutating func ingress(_ burst: inout Burst, at now: Instant) {
        while let frame = burst.popFirst() { packetArrives(frame, at: now) }
    }

    private mutating func packetArrives(_ frame: consuming Frame, at now: Instant) {
        let bytes = frame.bytes
        guard bytes.byteCount >= 20 else { return tcp.drop() }
        if bytes.byte(at: 0) >> 4 == 4 {
            guard let header = IPv4Header(parsing: bytes), header.isIntact(bytes), !header.isFragment,
                header.protocol == .tcp, addresses.contains(.v4(header.destination))
            else { return tcp.drop() }
            tcp.segmentArrives(
                bytes.extracting(Int(header.headerLength)..<Int(header.totalLength)), from: .v4(header.source),
                to: .v4(header.destination), at: now)
        } else {
            guard let header = IPv6Header(parsing: bytes), header.nextHeader == .tcp,
                addresses.contains(.v6(header.destination))
            else { return tcp.drop() }
            tcp.segmentArrives(
                bytes.extracting(IPv6Header.length..<header.totalLength), from: .v6(header.source),
                to: .v6(header.destination), at: now)
        }
    }

    // MARK: Time, events, out

    /// Lets all timers expire that are due at `now`.
    mutating func advance(to now: Instant) { tcp.advance(to: now) }

    /// The next connection that has news, with all of its news; nil if none has.
    mutating func nextEvent() -> (ConnectionID, ConnectionEvents)? { tcp.nextEvent() }

    /// Adds what is owed to the burst, as far as it has room. Returns whether all is paid.
    mutating func egress(into burst: inout Burst, at now: Instant) -> Bool { tcp.egress(into: &burst, at: now) }
}

// MARK: - User calls

extension Stack {
    var counters: TCPCounters { tcp.counters }
    var connectionCount: Int { tcp.connectionCount }

    mutating func listen(port: UInt16, backlog: Int) -> Int { tcp.listen(port: port, backlog: backlog) }
    mutating func accept(_ listener: Int) -> ConnectionID? { tcp.accept(listener) }

    mutating func connect(from local: IPAddress, to remote: IPAddress, port: UInt16) -> ConnectionID? {
        tcp.connect(from: local, to: remote, port: port)
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
