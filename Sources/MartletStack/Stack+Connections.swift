// The user's calls on connections and listeners (RFC 9293 §3.9.1). None sends: each marks what egress pays.
//
// A name that is no longer anybody's is no error: such a call does nothing, and returns what an ended connection would.

extension Stack {
    /// Connections that take a place in the table: those included that are not accepted yet, or released and not gone yet; not
    /// those whose handshake is not complete, or that are in TIME-WAIT and released.
    public var connectionCount: Int { tcp.connectionCount }

    /// Whether a connection that was released still has bytes or a FIN that its peer has not acknowledged. Those that wait for nothing
    /// but the peer's own FIN do not count. O(connections): for a program that is about to end.
    public var isDelivering: Bool { tcp.isDelivering }

    // MARK: OPEN

    /// Listens on a port of all addresses (OPEN, passive): ``listen(on:port:_:)`` with nothing else set.
    public mutating func listen(
        on port: UInt16, backlog: Int = 128, _ settings: TCPSettings = TCPSettings()
    ) throws(ListenError) -> ListenerID {
        var listening = ListenerSettings()
        (listening.backlog, listening.connection) = (backlog, settings)
        return try listen(on: nil, port: port, listening)
    }

    /// Listens (OPEN, passive) on a port of an address of ours, of all addresses of one version by `0.0.0.0` or `::`, or of all
    /// addresses by nil. Port 0 is any that nobody listens on; ``endpoint(of:)`` tells which.
    ///
    /// An event names the listener when connections have come; ``accept(_:)`` takes them. Whoever names an address goes before
    /// those who listen on more.
    public mutating func listen(
        on address: IPAddress?, port: UInt16, _ settings: ListenerSettings = ListenerSettings()
    ) throws(ListenError) -> ListenerID {
        try tcp.listen(on: address, port: port, settings)
    }

    /// What a listener listens on, with `::` for all addresses of both versions; nil if it is closed.
    public func endpoint(of listener: ListenerID) -> Endpoint? {
        tcp.address(of: listener).map { Endpoint($0.0 ?? .v6(.any), port: $0.1) }
    }

    /// Takes the connection of a listener that has waited longest; nil if none waits. What has happened to it is told from then on.
    public mutating func accept(_ listener: ListenerID) -> ConnectionID? { tcp.accept(listener) }

    /// Gives settings to the connections that a listener accepts from now on. Returns false if there are as many different ones
    /// as there may be.
    public mutating func set(_ settings: TCPSettings, of listener: ListenerID) -> Bool {
        tcp.set(settings, ofListener: listener)
    }

    /// Listens no more. Handshakes are forgotten, so that what comes of them is reset; connections that nobody has accepted are
    /// reset; those that were go on.
    public mutating func close(_ listener: ListenerID) { tcp.close(listener) }

    /// Opens a connection (OPEN, active), from `local` or the address that fits the peer (RFC 6724).
    ///
    /// The connection exists at once, in SYN-SENT; bytes may be sent into it. ``ConnectionEvents/established`` tells when the
    /// handshake is done, ``ConnectionEvents/ended`` if it fails, and ``error(of:)`` says why.
    public mutating func connect(
        to remote: IPAddress, port: UInt16, from local: IPAddress? = nil, _ settings: TCPSettings = TCPSettings()
    ) throws(ConnectError) -> ConnectionID {
        if local == nil, let source = network.latestSource(for: remote, at: tcp.now) {
            return try tcp.connect(from: source, to: remote, port: port, settings)
        }
        guard let source = local ?? network.sourceAddress(for: remote, at: tcp.now),
            let path = network.path(to: remote, from: source, at: tcp.now)
        else { throw .unreachable }
        // MUST-46: all hosts of the link are not one.
        if case .v4(let address) = remote, network.addresses.isBroadcast(address, on: path.interface) {
            throw .invalidAddress
        }
        if local == nil { network.remember(source: source, for: remote) }
        return try tcp.connect(from: source, to: remote, port: port, settings)
    }

    // MARK: SEND and RECEIVE

    /// Takes as many bytes as there is room for, and returns how many. After fewer than there were, ``ConnectionEvents/writable``
    /// tells when there is room again. 0 if the connection sends nothing any more.
    public mutating func send(_ id: ConnectionID, _ bytes: RawSpan) -> Int { tcp.send(id, bytes) }

    /// The same, with the end of the bytes marked as urgent. New programs should not (RFC 6093 §6).
    public mutating func sendUrgent(_ id: ConnectionID, _ bytes: RawSpan) -> Int { tcp.sendUrgent(id, bytes) }

    /// Shows `body` received bytes where they lie, in one run, and takes off as many as it returns. Returns that number; 0 if
    /// there are none, and `body` is not called then.
    ///
    /// What waits may be two runs: call until it returns 0. The window opens by what was taken off.
    ///
    /// - Precondition: `body` returns at most as many as it was shown.
    public mutating func receive(_ id: ConnectionID, _ body: (RawSpan) -> Int) -> Int { tcp.receive(id, body) }

    /// Copies received bytes, as many as there are or fit, to the front of `destination`. Returns how many that is. The window
    /// opens by as many.
    public mutating func receive(_ id: ConnectionID, into destination: inout MutableRawSpan) -> Int {
        tcp.receive(id, into: &destination)
    }

    /// Where received bytes lie, in one run; empty if there are none. They stay there until ``consume(_:of:)`` has taken them off or
    /// the connection is released, whatever is called for other connections meanwhile; the stack must not go on before.
    package mutating func unread(_ id: ConnectionID) -> UnsafeRawBufferPointer { unsafe tcp.unread(id) }

    /// Where `count` bytes that are to be sent may be written, in one run; empty if there is no such run now, and ``send(_:_:)`` may take
    /// some all the same. ``commitSend(_:_:)`` follows at once, whatever becomes of them.
    package mutating func roomToSend(_ id: ConnectionID, _ count: Int) -> UnsafeMutableRawBufferPointer {
        unsafe tcp.roomToSend(id, count)
    }

    /// The first `count` bytes of the room are written, and sent.
    ///
    /// - Precondition: there was room for so many.
    package mutating func commitSend(_ id: ConnectionID, _ count: Int) { tcp.commitSend(id, count) }

    /// Takes off received bytes, and opens the window by as many.
    ///
    /// - Precondition: so many were there.
    package mutating func consume(_ count: Int, of id: ConnectionID) { tcp.consume(count, of: id) }

    /// Bytes to be read until the peer's urgent mark; nil if there is no mark, or none that is still ahead.
    public func urgentCount(of id: ConnectionID) -> Int? { tcp.urgentCount(of: id) }

    // MARK: CLOSE and ABORT

    /// Sends FIN behind what is queued. Receiving goes on.
    public mutating func finish(_ id: ConnectionID) { tcp.finish(id) }

    /// Drops what is queued, and sends RST.
    public mutating func abort(_ id: ConnectionID) { tcp.abort(id) }

    /// Lets go of a connection: its name means nothing to the program any more.
    ///
    /// What is queued is delivered and FIN sent, within ``TCPSettings/lingerSeconds``; bytes that are unread, or still come,
    /// reset the connection (RFC 1122 §4.2.2.13). Its slot comes back when it has ended. Every connection is to be released,
    /// also one that has ended.
    public mutating func release(_ id: ConnectionID) { tcp.release(id) }

    // MARK: STATUS

    /// A connection's state; CLOSED if there is none of that name.
    public func state(of id: ConnectionID) -> TCPState { tcp.state(of: id) }

    /// Why a connection has ended before its time; nil if it has not, or both sides have finished.
    public func error(of id: ConnectionID) -> TCPError? { tcp.error(of: id) }

    /// What is wrong with a connection that may pass, as far as is known since the peer last acknowledged something new; nil if
    /// nothing is. ``ConnectionEvents/suspect`` tells of it (MUST-47).
    public func softError(of id: ConnectionID) -> TCPSoftError? { tcp.softError(of: id) }

    /// A look at a connection in the terms of TCP_INFO; nil if there is none of that name. O(segments in flight).
    public func info(of id: ConnectionID) -> TCPInfo? { tcp.info(of: id) }

    /// Our end of a connection, and the peer's; nil if there is none of that name.
    public func endpoints(of id: ConnectionID) -> (local: Endpoint, remote: Endpoint)? {
        guard let tuple = tcp.tuple(of: id) else { return nil }
        return (
            Endpoint(tuple.localAddress, port: tuple.localPort), Endpoint(tuple.remoteAddress, port: tuple.remotePort)
        )
    }

    /// A connection's settings; nil if there is none of that name.
    public func settings(of id: ConnectionID) -> TCPSettings? { tcp.settings(of: id) }

    /// Changes the settings of a connection, from now on. Returns false if there are as many different ones as there may be, or
    /// no connection of that name. A change of ``TCPSettings/congestion`` has no effect any more.
    public mutating func set(_ settings: TCPSettings, of id: ConnectionID) -> Bool { tcp.set(settings, of: id) }
}
