// A host of a simulation: a name, addresses, a port on the Ethernet, and a runtime while a program runs.

public import Martlet
public import MartletStack

/// A host in a ``World``.
public final class SimulatedHost: @unchecked Sendable {
    // `@unchecked`: it is touched on the simulation's thread, as its world is.

    /// Its name, by which others connect to it.
    public let name: String
    /// Its IPv4 and IPv6 addresses, those that `configure` gave it.
    public let addresses: [IPAddress]
    /// Whose list of hosts is emptied at the end, so that neither keeps the other.
    let world: World
    let node: Int
    let machine: SimulatedHostMachine
    private let interface: StackInterface
    /// The address of its port, in six bytes.
    let hardwareAddress: [UInt8]
    private var isRunning = false
    private var program: Task<Void, Never>?

    init(_ name: String, world: World, number: Int, _ configure: (inout StackInterface) -> Void) {
        self.name = name
        self.world = world
        node = number
        var interface = StackInterface(
            link: LinkName(.memory, name),
            addresses: [
                InterfaceAddress(VirtualHosts.address(number), prefixLength: 16),
                InterfaceAddress(VirtualHosts.address6(number), prefixLength: 64),
            ])
        configure(&interface)
        self.interface = interface
        addresses = interface.addresses.map(\.address)
        machine = SimulatedHostMachine(world.loop, node: number)
        let bits = (interface.macAddress ?? machine.address).bits
        hardwareAddress = (0..<6).map { UInt8(truncatingIfNeeded: bits >> (40 - 8 * $0)) }
    }

    /// Where a program of this host can be reached.
    public func address(port: UInt16) -> SocketAddress {
        guard let address = addresses.first else { preconditionFailure("the host \(name) has no address of its own") }
        return switch address {
        case .v4(let address): .ipv4(address, port: port)
        case .v6(let address): .ipv6(address, port: port)
        }
    }

    /// A runtime as a simulated host has it, unless it is told otherwise: with less memory than a server's.
    public static var configuration: Runtime.Configuration {
        var configuration = Runtime.Configuration(logger: nil)
        configuration.limits.connectionsPerCore = 4096
        configuration.limits.framesPerCore = 1024
        configuration.limits.receiveBuffers = 32
        configuration.stackLimits = StackLimits()
        return configuration
    }

    /// Runs a runtime on the host, and `body` with it, until `body` returns: as ``Runtime/run(_:_:)`` does for real.
    ///
    /// - Parameter configuration: its transport, cores and signals are the simulation's to choose.
    /// - Precondition: no other runtime runs on the host.
    public func run<Value: Sendable>(
        configuration: Runtime.Configuration = SimulatedHost.configuration,
        _ body: @escaping @Sendable (Runtime) async throws -> Value
    ) async throws -> Value {
        world.mustBeInside()
        precondition(!isRunning, "the host \(name) runs a program already")
        isRunning = true
        defer { isRunning = false }
        var configuration = configuration
        configuration.transport = .stack([interface])
        return try await Runtime.run(configuration, on: machine, body)
    }

    /// Runs a program on the host beside the body of the simulation, at whose end it is cancelled. If it throws before, the
    /// simulation has failed.
    ///
    /// - Precondition: no other runtime runs on the host.
    public func start(
        configuration: Runtime.Configuration = SimulatedHost.configuration,
        _ body: @escaping @Sendable (Runtime) async throws -> Void
    ) {
        program = world.start(name) { [self] in try await run(configuration: configuration, body) }
    }

    /// Cancels the program that was started, and waits until it has ended: its connections are reset.
    public func stop() async {
        program?.cancel()
        await program?.value
    }

    /// Whether frames come in and go out. One that is down loses them.
    public var isLinkUp: Bool {
        get { machine.isLinkUp }
        set {
            world.mustBeInside()
            machine.isLinkUp = newValue
        }
    }

    /// Stops the host's processor for a while: nothing runs on it, and what arrives waits.
    public func stall(for duration: Duration) {
        world.mustBeInside()
        machine.stalledUntil = world.loop.now + Int64(clamping: duration.attoseconds / 1_000_000_000)
    }

    /// The power fails: nothing of the host is heard from here on, and its program is cancelled. Awaits the end of that; then another
    /// can be started, as after a boot.
    public func crash() async {
        world.mustBeInside()
        machine.disconnect()
        await stop()
    }
}
