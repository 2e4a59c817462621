// The runtime: its cores, and the calls that start work on them.

internal import CMartlet
public import Logging
public import MartletStack
internal import Synchronization

/// A set of cores, each a pinned thread with its own driver, sockets, timers and tasks.
///
/// A runtime lives for the length of ``run(_:_:)``.
public final class Runtime: Sendable {
    /// How a runtime is made.
    public struct Configuration: Sendable {
        /// The CPUs that get a core. Default: all that the process may use.
        public var cores: CoreSelection = .all
        /// What carries connections and datagrams. Default: the kernel's TCP/IP.
        public var transport = TransportChoice.kernel
        /// Bounds of each core's stack, if the transport is one.
        public var stackLimits = StackLimits.server
        /// The kernel interface. Default: io_uring where it is allowed, else epoll.
        public var driver: DriverChoice = .automatic
        /// What an idle core does. Default: it sleeps at once.
        public var idle: Idle = .sleep
        /// Lets a kernel thread submit io_uring operations (IORING_SETUP_SQPOLL). Costs a CPU. Default false.
        public var sqpoll = false
        /// Pins each core's thread to its CPU. Default true.
        public var pinsThreads = true
        /// Signals that start a graceful shutdown, e.g. `[.terminate, .interrupt]`. Default: none.
        public var shutdownSignals: Set<Signal> = []
        /// How long handlers may go on after such a signal. Default 10 s.
        public var shutdownTimeout: Duration = .seconds(10)
        public var limits = Limits()
        /// Where the runtime says which driver it took and why: at notice level if io_uring is refused, else at info
        /// level. Default: ``Logging/Logger/martlet``. Nil is silent.
        public var logger: Logger?

        /// How many cores the selection came to, and the driver after the environment had its say.
        var coreCount = 1
        var effectiveDriver = DriverChoice.automatic

        public init(
            transport: TransportChoice = .kernel, cores: CoreSelection = .all, driver: DriverChoice = .automatic,
            idle: Idle = .sleep,
            limits: Limits = .init(),
            shutdownSignals: Set<Signal> = [], logger: Logger? = .martlet
        ) {
            self.transport = transport
            self.cores = cores
            self.driver = driver
            self.idle = idle
            self.limits = limits
            self.shutdownSignals = shutdownSignals
            self.logger = logger
        }
    }

    /// A signal that can start a shutdown.
    public enum Signal: Int32, Sendable, Hashable {
        /// SIGTERM
        case terminate = 15
        /// SIGINT
        case interrupt = 2
    }

    /// The cores, by index.
    public let cores: [Core]
    /// Which driver the cores use, and why.
    public let driver: String

    private let nextCore = Atomic<Int>(0)
    private let shutdownState = Mutex(ShutdownState())

    private struct ShutdownState {
        var hasBegun = false
        var cancelBody: (@Sendable () -> Void)?
        var deadline = Int64.max
    }

    private init(cores: [Core], driver: String) {
        self.cores = cores
        self.driver = driver
    }

    /// Starts a runtime, runs `body` with it, and ends it when `body` returns or throws.
    ///
    /// When `body` has returned, connections that were closed deliver what they have accepted, within their
    /// ``ConnectionOptions/closeTimeout``, and what is still open is reset. Cancelling the calling task cancels `body`, and
    /// nothing is waited for when `body` was cancelled or has thrown.
    /// - Throws: what `body` throws; ``NetworkError`` if the runtime cannot start.
    public static func run<R: Sendable>(
        _ configuration: Configuration = .init(), _ body: @escaping @Sendable (Runtime) async throws -> R
    ) async throws -> R {
        try await run(configuration, on: nil, body)
    }

    /// The same on a simulated machine, which has one core and no signals.
    package static func run<R: Sendable>(
        _ configuration: Configuration, on machine: (any SimulatedMachine)?,
        _ body: @escaping @Sendable (Runtime) async throws -> R
    ) async throws -> R {
        let runtime = try await start(configuration, on: machine)
        let signals = machine == nil ? configuration.shutdownSignals : []
        if !signals.isEmpty { runtime.catchSignals(signals, timeout: configuration.shutdownTimeout) }
        let task =
            if let machine {
                Task(executorPreference: machine.outside) { try await body(runtime) }
            } else {
                Task { try await body(runtime) }
            }
        runtime.shutdownState.withLock { $0.cancelBody = { task.cancel() } }
        let result = await withTaskCancellationHandler {
            await task.result
        } onCancel: {
            task.cancel()
        }
        for signal in signals { martlet_signal_release(signal.rawValue) }
        let deadline = runtime.lingerDeadline(after: result)
        runtime.cores[0].links.stackCores?.willEnd()
        await stop(runtime.cores, lingerUntil: deadline)
        runtime.cores[0].links.interfaceNews.finish()
        return try result.get()
    }

    /// Ends all cores at once: those with stacks carry each other's frames to the end.
    private static func stop(_ cores: [Core], lingerUntil deadline: Int64) async {
        if cores.count == 1 { return await cores[0].stop(lingerUntil: deadline) }
        await withTaskGroup(of: Void.self) { group in
            for core in cores { group.addTask { await core.stop(lingerUntil: deadline) } }
        }
    }

    /// Until when connections that the program has closed may deliver their last data: as long as their close timeout and a
    /// shutdown's deadline allow, and not at all when the program failed or was cancelled.
    private func lingerDeadline<R>(after result: Result<R, any Error>) -> Int64 {
        guard case .success = result, !Task.isCancelled else { return 0 }
        return shutdownState.withLock { $0.deadline }
    }

    private static func start(
        _ configuration: Configuration, on machine: (any SimulatedMachine)?
    ) async throws(NetworkError) -> Runtime {
        if machine == nil { _ = martlet_raise_file_limit() }
        var configuration = configuration
        let cpus = machine == nil ? try configuration.cpus() : [nil]
        configuration.coreCount = cpus.count
        configuration.effectiveDriver = configuration.driver.resolved()
        // Beside a stack the kernel carries Unix-domain sockets and wakes the core, for which io_uring would keep the receive buffers.
        if case .stack = configuration.transport { configuration.effectiveDriver = .epoll }
        var haveStacks = false
        if case .stack = configuration.transport { haveStacks = true }
        let links = RuntimeLinks(limits: configuration.limits, cores: cpus.count, haveStacks: haveStacks)
        var cores: [Core] = []
        var driver = ""
        do throws(NetworkError) {
            for (index, cpu) in cpus.enumerated() {
                let core = Core(
                    index: index, cpu: cpu, configuration: configuration, links: links, machine: machine)
                driver = try await core.start()
                cores.append(core)
            }
        } catch {
            await stop(cores, lingerUntil: 0)
            throw error
        }
        let isFallback = configuration.driver == .automatic && driver.contains("refused")
        configuration.logger?.log(
            level: isFallback ? .notice : .info, "\(cores.count) core(s) on \(driver)")
        return Runtime(cores: cores, driver: driver)
    }

    private func catchSignals(_ signals: Set<Signal>, timeout: Duration) {
        let core = cores[0]
        for signal in signals { _ = martlet_signal_catch(signal.rawValue, core.inbox.eventDescriptor) }
        core.inbox.push(
            Message(
                .onSignal { [weak self] in
                    Task { await self?.shutdown(within: timeout) }
                }))
    }

    // MARK: Work on the cores

    /// Runs `body` on every core at once, and returns when all of them have returned. The first error cancels the others.
    public func forEachCore(_ body: @escaping @Sendable (Core) async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for core in cores {
                group.addTask(executorPreference: core.taskExecutor) { try await body(core) }
            }
            try await group.waitForAll()
        }
    }

    /// Serves connections on every core until the task is cancelled or the runtime shuts down.
    ///
    /// Each core has a listening socket of its own on the same port, and calls `handler` in a task on that core for each
    /// connection. When `handler` returns, what it has sent is delivered and the connection is closed; when it throws, the
    /// connection is reset. `serve` returns when all handlers have ended.
    /// - Parameters:
    ///   - address: where to listen. Port 0 lets the kernel choose: `onListening` is told.
    ///   - options: of the listeners and their connections.
    ///   - onListening: called once with the address, when connections are accepted.
    ///   - onError: called with each error that a handler threw. Default: it is logged at debug level.
    ///   - handler: runs on the connection's core, and must not block its thread.
    /// - Throws: ``NetworkError/addressInUse(_:)``, ``NetworkError/permissionDenied(_:)``,
    ///   ``NetworkError/addressNotAvailable(_:)``, ``NetworkError/shuttingDown``. Returns normally when cancelled.
    public func serve(
        on address: SocketAddress, options: ConnectionOptions = .init(),
        onListening: (@Sendable (SocketAddress) -> Void)? = nil, onError: ErrorHandler? = nil,
        handler: @escaping ConnectionHandler
    ) async throws {
        let policy = Policy(options)
        let sockets = try await listeningSockets(on: address, options: options)
        try await withThrowingTaskGroup(of: Void.self) { group in
            let listening = Atomic<Int>(0)
            let count = cores.count
            for (core, socket) in zip(cores, sockets) {
                let started: @Sendable () -> Void = {
                    if listening.add(1, ordering: .relaxed).newValue == count { onListening?(socket.address) }
                }
                group.addTask(executorPreference: core.taskExecutor) {
                    let pool = HandlerPool(core: core, handler: handler, onError: onError)
                    let slot = try core.listen(socket, policy: policy, pool: pool)
                    started()
                    await pool.serve(slot)
                    core.transport.dropListener(slot, core.transport.sockets[slot].generation)
                }
            }
            try await group.waitForAll()
        }
    }

    /// A listener in each core's own stack, on one port.
    private func stackListeners(
        on address: SocketAddress, options: ConnectionOptions
    ) async throws(NetworkError) -> [ListeningSocket] {
        var sockets: [ListeningSocket] = []
        do throws(NetworkError) {
            for core in cores {
                let wanted = sockets.first.map { address.with(port: $0.address.port ?? 0) } ?? address
                sockets.append(try await core.isolation.openListener(core, on: wanted, options: options))
            }
        } catch {
            for (core, socket) in zip(cores, sockets) { await core.isolation.close(core, socket) }
            throw error
        }
        if let ports = cores[0].links.stackCores?.ports, let port = sockets.first?.address.port {
            ports.claimForAll(port)
            for (core, socket) in zip(cores, sockets) { await core.isolation.noteClaim(core, socket) }
        }
        return sockets
    }

    private func listeningSockets(
        on address: SocketAddress, options: ConnectionOptions
    ) async throws(NetworkError) -> [ListeningSocket] {
        if case .stack = cores[0].configuration.transport, !address.isUnix {
            return try await stackListeners(on: address, options: options)
        }
        guard cores[0].machine == nil else { throw .addressNotAvailable(address) }
        let nonblocking = driver.hasPrefix("epoll")  // the cores' own state is for their threads to read
        let sharesPort = cores.count > 1 && !address.isUnix
        let first = try ListeningSocket(address, options: options, sharesPort: sharesPort, nonblocking: nonblocking)
        var sockets = [first]
        do throws(NetworkError) {
            for _ in cores.dropFirst() {
                if address.isUnix {
                    sockets.append(try first.duplicate())
                } else {
                    sockets.append(
                        try ListeningSocket(
                            first.address, options: options, sharesPort: sharesPort, nonblocking: nonblocking))
                }
            }
        } catch {
            for socket in sockets { _ = martlet_close(socket.descriptor) }
            throw error
        }
        let cpus = cores.compactMap { $0.cpu.map(Int32.init) }
        if options.steering == .receivingCPU, cores.count > 1, cpus.count == cores.count {
            _ = unsafe martlet_listen_steer_by_cpu(first.descriptor, cpus, Int32(cpus.count))
        }
        return sockets
    }

    /// The core that the caller runs on, or the next in turn.
    var anyCore: Core {
        if let core = cores.first(where: { $0.isCurrent }) { return core }
        return cores[nextCore.add(1, ordering: .relaxed).oldValue % cores.count]
    }

    /// Connects, runs `body` with the connection on one of the cores, and closes it when `body` returns.
    ///
    /// When `body` returns, what it has sent is delivered; when it throws, the connection is reset.
    /// - Parameters:
    ///   - address: where to connect.
    ///   - timeout: how long connecting may take. Nil leaves it to the network.
    /// - Throws: ``NetworkError/connectionRefused(_:)``, ``NetworkError/unreachable(_:)``, ``NetworkError/timedOut``,
    ///   ``NetworkError/deadlineExceeded``, ``NetworkError/cancelled``; what `body` throws.
    public func withConnection<R: Sendable>(
        to address: SocketAddress, options: ConnectionOptions = .init(), within timeout: Duration? = nil,
        _ body: @Sendable (TCPConnection) async throws -> R
    ) async throws -> R {
        try await anyCore.withConnection(to: address, options: options, within: timeout, body)
    }

    /// Connects to a host by name or address, trying its addresses by happy eyeballs (RFC 8305). See
    /// ``withConnection(to:options:within:_:)``.
    ///
    /// - Throws: also ``NetworkError/nameNotFound(_:reason:)``.
    public func withConnection<R: Sendable>(
        to host: String, port: UInt16, options: ConnectionOptions = .init(), within timeout: Duration? = nil,
        _ body: @Sendable (TCPConnection) async throws -> R
    ) async throws -> R {
        try await anyCore.withConnection(to: host, port: port, options: options, within: timeout, body)
    }

    // MARK: The end

    /// Ends the runtime gracefully: nothing is accepted any more, listeners end after what the kernel had completed already,
    /// handlers may finish. After `timeout`, `run`'s body is cancelled, and with it all handlers.
    ///
    /// Returns when no accepted connection is open any more, or the time has passed. The second call returns at once. A program
    /// that has never listened is cancelled at once.
    public func shutdown(within timeout: Duration) async {
        let isFirst = shutdownState.withLock { state in
            defer { state.hasBegun = true }
            return !state.hasBegun
        }
        guard isFirst else { return }
        let deadline = cores[0].deadline(within: timeout)
        shutdownState.withLock { $0.deadline = deadline }
        var accepts = false
        for core in cores where await core.isolation.beginShutdown(core) { accepts = true }
        guard accepts else {
            // A program that accepts nothing has nothing that could end by itself.
            shutdownState.withLock { $0.cancelBody }?()
            return
        }
        var pause: Int64 = 500_000
        while cores[0].clock.nanoseconds < deadline {
            var open = 0
            for core in cores { open += await core.isolation.acceptedConnections(core) }
            if open == 0 { return }
            let until = min(deadline, cores[0].clock.nanoseconds + pause)
            do throws(NetworkError) { try await cores[0].isolation.sleep(cores[0], until: until) } catch { break }
            pause = min(pause * 2, 10_000_000)
        }
        shutdownState.withLock { $0.cancelBody }?()
    }

    /// Whether ``shutdown(within:)`` has been called: a handler that waits for its peer's next request may then end.
    public var isShuttingDown: Bool { shutdownState.withLock { $0.hasBegun } }

    /// The counters of every core.
    public func counters() async -> [CoreCounters] {
        var all: [CoreCounters] = []
        for core in cores { all.append(await core.isolation.counters(core)) }
        return all
    }
}

extension Logger {
    /// Says what a user should know, and nothing when all is well.
    public static var martlet: Logger {
        var logger = Logger(label: "martlet")
        logger.logLevel = .notice
        return logger
    }
}
