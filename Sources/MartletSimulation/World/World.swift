// What a simulated program's author sees: the hosts, the network between them, and virtual time.

internal import CMartlet
public import Martlet
internal import MartletStack
internal import Synchronization

/// The world of a simulation: hosts on one Ethernet, and the time.
///
/// It is used inside of ``Simulation/run(seed:limit:_:)`` only, where everything happens on one thread, one thing after the other.
public final class World: @unchecked Sendable {
    // `@unchecked`: it may be held anywhere, and is touched on the simulation's thread, which the calls check.

    /// What everything random follows from.
    public let seed: UInt64
    let loop: WorldLoop
    /// The caller of `Simulation.run` was cancelled.
    let isCancelled = Atomic(false)
    /// The core that the body sleeps on.
    private var conductor: Core?
    /// Programs that were started.
    private var started: [Task<Void, Never>] = []
    private var running = 0
    private var failure: (any Error)?
    private var isEnding = false

    init(seed: UInt64, limit: Duration) {
        self.seed = seed
        loop = WorldLoop(seed: seed, limit: limit)
    }

    // MARK: Time

    /// Virtual time since the beginning.
    public var elapsed: Duration { .nanoseconds(loop.now) }

    /// Suspends the calling task for `duration` of virtual time.
    ///
    /// On a host it can be done by ``Core/sleep(for:)`` as well, as in a program that runs for real.
    /// - Throws: ``NetworkError/cancelled``.
    public func sleep(for duration: Duration) async throws(NetworkError) {
        mustBeInside()
        guard let conductor else { preconditionFailure("a world sleeps while its body runs") }
        try await conductor.sleep(for: duration)
    }

    /// Random numbers for the program's own choices: another stream with each call.
    public func random() -> RandomStream {
        mustBeInside()
        return loop.random.split()
    }

    // MARK: Hosts

    /// Adds a host to the Ethernet. Hosts are numbered from 1, and have the addresses 10.0.0.1 and 2001:db8::1, and so on.
    ///
    /// - Parameters:
    ///   - name: by which other hosts can connect to it, and reports speak of it.
    ///   - configure: may change the interface, its addresses for instance.
    /// - Precondition: no other host has the name.
    @discardableResult
    public func host(
        _ name: String, configure: (inout StackInterface) -> Void = { _ in }
    ) -> SimulatedHost {
        mustBeInside()
        precondition(loop.host(named: name) == nil, "there is a host called \(name) already")
        let host = SimulatedHost(name, world: self, number: loop.addNode(), configure)
        loop.hosts.append(host)
        return host
    }

    // MARK: The network

    /// How frames are treated between any two hosts, from now on. Reading gives what was set last.
    public var conditions: LinkConditions {
        get { loop.conditions }
        set {
            mustBeInside()
            loop.conditions = newValue
            for one in loop.hosts {
                for other in loop.hosts where one !== other { setConditions(newValue, from: one, to: other) }
            }
        }
    }

    /// How frames from one host to another are treated, from now on: this direction alone.
    public func setConditions(_ conditions: LinkConditions, from one: SimulatedHost, to other: SimulatedHost) {
        mustBeInside()
        loop.network[from: one.node, to: other.node] = conditions
    }

    /// The conditions from one host to another.
    public func conditions(from one: SimulatedHost, to other: SimulatedHost) -> LinkConditions {
        loop.network[from: one.node, to: other.node]
    }

    /// Cuts the network between these hosts and the others, until ``heal(_:)``. What is under way still arrives.
    public func partition(_ hosts: SimulatedHost...) { setPartition(hosts, true) }

    /// Mends the network between these hosts and the others.
    public func heal(_ hosts: SimulatedHost...) { setPartition(hosts, false) }

    private func setPartition(_ hosts: [SimulatedHost], _ isPartitioned: Bool) {
        mustBeInside()
        loop.network.setPartition(Set(hosts.map(\.node)), isPartitioned: isPartitioned)
    }

    /// Everything that went over the network so far.
    public var trace: Trace { loop.trace }

    // MARK: The run

    func mustBeInside() {
        precondition(martlet_world_is_current(), "a world is used on its simulation's thread, inside of its body")
    }

    /// Makes the body's task. It is the child of whoever calls as far as task-local values go, and first runs in ``run(_:)``.
    func prepare<Value: Sendable>(_ body: @escaping @Sendable (World) async throws -> Value) -> Outcome<Value> {
        let outcome = Outcome<Value>()
        outcome.task = Task(executorPreference: loop.executor) { [self] in
            do {
                outcome.result = .success(
                    try await Runtime.run(World.conductorConfiguration, on: loop.conductor!) { [self] runtime in
                        conductor = runtime.cores[0]
                        return try await body(self)
                    })
            } catch {
                outcome.result = .failure(error)
            }
        }
        return outcome
    }

    /// Runs what was prepared on the calling thread.
    func run<Value: Sendable>(_ outcome: Outcome<Value>) -> Result<SimulatedRun<Value>, SimulationFailure> {
        loop.enter()
        defer { loop.leave() }
        do throws(SimulationFailure) {
            try loop.drive { outcome.result != nil || failure != nil || isCancelled.load(ordering: .relaxed) }
            let cause = failure
            isEnding = true
            if outcome.result == nil { outcome.task?.cancel() }
            for program in started { program.cancel() }
            try loop.drive { outcome.result != nil && running == 0 }
            if let cause { throw loop.failure("a program has thrown: \(cause)", cause) }
            switch outcome.result {
            case .success(let value):
                return .success(
                    SimulatedRun(value: value, trace: loop.trace, elapsed: elapsed, capture: loop.capture))
            case .failure(let error): throw loop.failure("the body has thrown: \(error)", error)
            case nil: preconditionFailure("driven until there was a result")
            }
        } catch {
            isEnding = true
            outcome.task?.cancel()
            for program in started { program.cancel() }
            loop.unwind { outcome.result != nil && running == 0 }
            return .failure(error)
        }
    }

    /// What comes of the body. Written on the simulation's thread, once its task exists.
    final class Outcome<Value: Sendable>: @unchecked Sendable {
        var task: Task<Void, Never>?
        var result: Result<Value, any Error>?
    }

    /// Runs a program beside the body.
    func start(_ name: String, _ program: @escaping @Sendable () async throws -> Void) -> Task<Void, Never> {
        mustBeInside()
        running += 1
        let task = Task(executorPreference: loop.executor) { [self] in
            do { try await program() } catch { if !isEnding, !Task.isCancelled, failure == nil { failure = error } }
            running -= 1
        }
        started.append(task)
        return task
    }

    /// The body's own core has no stack: it is there for the time.
    private static var conductorConfiguration: Runtime.Configuration {
        var configuration = Runtime.Configuration(logger: nil)
        configuration.limits.connectionsPerCore = 16
        configuration.limits.receiveBuffers = 1
        return configuration
    }
}
