// Two hosts and a link each way: what most tests of a protocol over TCP or UDP need.

public import MartletStack

/// A client and a server, each with a stack, in virtual time.
///
///     var pair = Pair(LinkConditions(latency: .milliseconds(5)), seed: 1)
///     let (client, server) = try pair.connect(port: 7)
///     _ = pair.client.send(client, bytes)
///     try pair.drive(for: .seconds(10)) { pair in
///         pair.server.receive(server) { … } > 0
///     }
public struct Pair: ~Copyable {
    /// The hosts, the client first, for what is not told of here.
    public var hosts: VirtualHosts

    /// A pair whose links do to packets what `there` says, from the client to the server, and `back`, or the same, in the other
    /// direction.
    public init(
        _ there: LinkConditions = LinkConditions(latency: .milliseconds(5)), back: LinkConditions? = nil,
        limits: StackLimits = StackLimits(), seed: UInt64
    ) {
        hosts = VirtualHosts(there: there, back: back, limits: limits, seed: seed)
    }

    /// The address of the client, 10.0.0.1, and of the server, 10.0.0.2; and the same for IPv6.
    public static var clientAddress: IPAddress { VirtualHosts.address(0) }
    public static var serverAddress: IPAddress { VirtualHosts.address(1) }
    public static var clientAddress6: IPAddress { VirtualHosts.address6(0) }
    public static var serverAddress6: IPAddress { VirtualHosts.address6(1) }

    /// The client's stack.
    public var client: Stack {
        _read { yield hosts[0] }
        _modify { yield &hosts[0] }
    }

    /// The server's stack.
    public var server: Stack {
        _read { yield hosts[1] }
        _modify { yield &hosts[1] }
    }

    /// The clock of both.
    public var now: Instant { hosts.now }

    /// Opens a connection from the client to the server and lets time pass until both sides have it. The names are the client's
    /// and the server's. Other events of both stacks up to then are passed over.
    ///
    /// Throws if it is not established within `patience` of virtual time, or cannot be opened at all.
    ///
    /// - Precondition: nobody listens on the port.
    public mutating func connect(
        port: UInt16, isIPv6: Bool = false, for patience: Duration = .seconds(60),
        _ settings: TCPSettings = TCPSettings()
    ) throws(SimulationFailure) -> (client: ConnectionID, server: ConnectionID) {
        let remote = isIPv6 ? Self.serverAddress6 : Self.serverAddress
        let listener: ListenerID
        let client: ConnectionID
        do throws(ListenError) {
            listener = try hosts[1].listen(on: port, settings)
        } catch { throw hosts.failure("nobody can listen: \(error)") }
        do throws(ConnectError) {
            client = try hosts[0].connect(to: remote, port: port, settings)
        } catch { throw hosts.failure("nobody can call: \(error)") }
        var server: ConnectionID?
        try hosts.drive(for: patience) { hosts in
            for number in 0..<2 { while hosts[number].nextEvent() != nil {} }
            server = server ?? hosts[1].accept(listener)
            return server != nil && hosts[0].state(of: client) == .established
        }
        hosts[1].close(listener)
        guard let server else { throw hosts.failure("nobody was accepted") }
        return (client, server)
    }

    /// Steps until `isDone`; see ``VirtualHosts/drive(for:stepLimit:until:)``.
    public mutating func drive(
        for patience: Duration, stepLimit: Int = 10_000_000, until isDone: (inout Pair) -> Bool
    ) throws(SimulationFailure) {
        var bound = DriveBound(patience, stepLimit: stepLimit, now: now)
        repeat { try bound.step(&hosts) } while !isDone(&self)
    }
}
