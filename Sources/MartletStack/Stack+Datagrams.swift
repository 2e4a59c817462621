// The user's calls on UDP sockets (RFC 768, RFC 1122 §4.1.4). Datagrams are written into frames at once, and leave with egress.

extension Stack {
    /// UDP sockets that are open.
    public var socketCount: Int { udp.socketCount }

    /// Opens a socket on an address of ours or a group's, on all of IPv4's by `0.0.0.0`, or on all there are by `::` (RFC 3493 §3.7);
    /// port 0 is a random one that is free. IPv4's go to a socket on `0.0.0.0` and the same port, if there is one.
    ///
    /// Of several stacks of a host (``StackShare``), those whose sockets share the port say so: each gets the flows that are its own.
    public mutating func bind(
        _ address: IPAddress, port: UInt16, sharesPort: Bool = false
    ) throws(UDPBindError) -> SocketID {
        try udp.bind(address, port: port, sharesPort: sharesPort, using: &network.random)
    }

    /// Lets a socket receive from one peer only, and hear of ICMP errors about what it sends there.
    ///
    /// Throws ``UDPBindError/unreachable`` if there is no way to the peer from the socket's address.
    ///
    /// - Precondition: the peer's address is of the IP version of the socket's, unless that is `::`, and not unspecified, and the port
    ///   is not 0.
    public mutating func connect(_ id: SocketID, to remote: IPAddress, port: UInt16) throws(UDPBindError) {
        guard let tuple = udp.tuple(of: id) else { throw .closed }
        let isAny = tuple.localAddress.isUnspecified
        guard let source = isAny ? network.sourceAddress(for: remote, at: tcp.now) : tuple.localAddress else {
            throw .unreachable
        }
        try udp.connect(id, from: source, to: remote, port: port)
    }

    /// Sends a datagram, whole or in pieces, or not at all.
    ///
    /// - Precondition: the address is of the IP version of the socket's, unless that is `::`.
    public mutating func send(_ id: SocketID, _ payload: RawSpan, to remote: IPAddress, port: UInt16) -> UDPSent {
        guard let tuple = udp.tuple(of: id) else { return .closed }
        let chosen =
            tuple.localAddress.isUnspecified ? network.sourceAddress(for: remote, at: tcp.now) : tuple.localAddress
        guard let source = chosen, let path = network.path(to: remote, from: source, at: tcp.now) else {
            return .unreachable
        }
        return udp.send(
            id, payload, from: source, to: remote, port: port, mtu: path.mtu,
            identifications: &network.identification, into: &network.packets, at: tcp.now, using: &network.random)
    }

    /// Shows `body` the datagram that came first, and takes it out. Returns false if there is none.
    public mutating func receive(_ id: SocketID, _ body: (RawSpan, DatagramEnvelope) -> Void) -> Bool {
        udp.receive(id, body)
    }

    /// What the last ICMP error about a datagram of a connected socket said, once; nil if none came.
    public mutating func takeError(of id: SocketID) -> UDPError? { udp.takeError(of: id) }

    /// Has datagrams that are longer than the path takes refused instead of cut.
    public mutating func setDontFragment(_ isOn: Bool, of id: SocketID) { udp.setDontFragment(id, isOn) }

    /// Changes the time to live and the codepoint of a socket's datagrams from now on. Does nothing if it is closed.
    ///
    /// - Precondition: both times to live are above 0, and the codepoint is below 64.
    public mutating func set(_ marking: DatagramMarking, of id: SocketID) { udp.set(marking, of: id) }

    /// The time to live and the codepoint of a socket's datagrams; nil if it is closed.
    public func marking(of id: SocketID) -> DatagramMarking? { udp.marking(of: id) }

    /// Our end of a socket, and the peer's if it is connected, else the unspecified address and port 0; nil if it is closed.
    public func endpoints(of id: SocketID) -> (local: Endpoint, remote: Endpoint)? {
        guard let tuple = udp.tuple(of: id) else { return nil }
        return (
            Endpoint(tuple.localAddress, port: tuple.localPort), Endpoint(tuple.remoteAddress, port: tuple.remotePort)
        )
    }

    /// Closes a socket. What it has not read is dropped.
    public mutating func close(_ id: SocketID) { udp.close(id) }
}
