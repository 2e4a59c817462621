// The accept loop as an AsyncSequence. A listener belongs to one core and yields that core's own connections.

internal import CMartlet
internal import Glibc
internal import MartletStack

/// A listening socket on one core: an `AsyncSequence` of ``TCPConnection``.
///
/// Connections are accepted while the core has room for them; beyond, they wait in the kernel's backlog. The sequence ends
/// when the listener is closed or the runtime shuts down. When the last copy of a listener is dropped it is closed.
///
/// A loop that adds a child task a connection to a group pays, in Swift 6.3, for a linear scan over the group's live children
/// whenever one ends: with thousands of connections at a time, prefer ``Runtime/serve(on:options:onListening:onError:handler:)``,
/// which reuses its tasks.
public struct TCPListener: Sendable {
    let handle: ListenerHandle

    /// The address that the listener is bound to, with the port that the kernel chose if 0 was asked for.
    public var address: SocketAddress { handle.address }

    /// The core that the listener's connections live on.
    public var core: Core { handle.core }

    /// The next connection, or nil when the listener has been closed.
    ///
    /// - Parameter timeout: how long to wait, from now. Nil waits for ever.
    /// - Throws: ``NetworkError/deadlineExceeded``, ``NetworkError/cancelled``.
    public nonisolated(nonsending) func accept(within timeout: Duration? = nil) async throws(NetworkError)
        -> TCPConnection?
    {
        let core = handle.core
        guard core.isHome(#isolation) else { return try await core.isolation.accept(handle, within: timeout) }
        return try await core.accept(handle.slot, deadline: core.deadline(within: timeout))
    }

    /// Stops listening.
    ///
    /// - Parameter drain: true lets connections that the kernel has completed already still come out of the sequence. False,
    ///   the default, resets them.
    public nonisolated(nonsending) func close(drain: Bool = false) async {
        let core = handle.core
        guard core.isCurrent else { return await core.isolation.close(handle, drain: drain) }
        core.transport.closeListener(handle.slot, drain: drain)
    }
}

extension TCPListener: AsyncSequence {
    public typealias Element = TCPConnection
    public typealias Failure = NetworkError

    /// Accepts from the listener. See ``TCPListener/accept(within:)``.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let listener: TCPListener

        public nonisolated(nonsending) mutating func next() async throws(NetworkError) -> TCPConnection? {
            try await listener.accept()
        }

        public nonisolated(nonsending) mutating func next(
            isolation actor: (any Actor)?
        ) async throws(NetworkError) -> TCPConnection? {
            try await listener.accept()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(listener: self) }
}

/// What the copies of a `TCPListener` share. When it goes, the listener is closed.
final class ListenerHandle: Sendable {
    let core: Core
    let slot: Int32
    let address: SocketAddress
    private let generation: UInt32

    init(core: Core, slot: Int32, address: SocketAddress) {
        self.core = core
        self.slot = slot
        self.address = address
        generation = core.transport.sockets[slot].generation
    }

    deinit {
        if core.isCurrent {
            core.transport.dropListener(slot, generation)
        } else {
            core.inbox.push(Message(.dropListener(slot: slot, generation: generation)))
        }
    }
}

extension Core {
    /// Listens on this core alone.
    ///
    /// Listeners of several cores, and of several calls, may share a TCP port: the kernel spreads connections over them.
    /// - Parameters:
    ///   - address: where to listen. Port 0 lets the kernel choose.
    ///   - options: of the listener and its connections.
    /// - Throws: ``NetworkError/addressInUse(_:)``, ``NetworkError/permissionDenied(_:)``,
    ///   ``NetworkError/addressNotAvailable(_:)``, ``NetworkError/shuttingDown``.
    public nonisolated(nonsending) func listen(
        on address: SocketAddress, options: ConnectionOptions = .init()
    ) async throws(NetworkError) -> TCPListener {
        guard isCurrent else { return try await isolation.listen(self, on: address, options: options) }
        if isShuttingDown { throw .shuttingDown }
        let socket = try openListener(on: address, options: options)
        let slot = try transport.listen(
            descriptor: socket.descriptor, address: socket.address, policy: Policy(options), acceptor: .sequence)
        return TCPListener(handle: ListenerHandle(core: self, slot: slot, address: socket.address))
    }

    func openListener(
        on address: SocketAddress, options: ConnectionOptions, forAll: Bool = false
    ) throws(NetworkError) -> ListeningSocket {
        if let stack = unsafe transport.driver.stack, !address.isUnix {
            return try unsafe ListeningSocket(address, options: options, forAll: forAll, stack: &stack.pointee)
        }
        guard transport.driver.hasKernel else { throw .addressNotAvailable(address) }
        return try ListeningSocket(
            address, options: options, sharesPort: configuration.coreCount > 1 && !address.isUnix,
            nonblocking: transport.driver.wantsNonblocking)
    }

    func accept(_ slot: Int32, deadline: Int64) async throws(NetworkError) -> TCPConnection? {
        while true {
            if CurrentTask.isCancelled { throw .cancelled }
            if let connection = transport.listeners[slot]?.popQueue() {
                if !transport.listeners[slot]!.isArmed { transport.armAccept(slot) }
                return TCPConnection(handle: ConnectionHandle(core: self, slot: connection))
            }
            guard let listener = transport.listeners[slot], !listener.isClosed else {
                if let failure = transport.listeners[slot]?.failure { throw failure }
                return nil
            }
            precondition(listener.waiter < 0, "two tasks accept from one listener at once")
            let waiter = takeWaiter(in: .accept, slot: slot)
            transport.listeners[slot]!.waiter = waiter
            switch unsafe await park(waiter, deadline: deadline) {
            case .ready: continue
            case .cancelled: throw .cancelled
            case .deadline: throw .deadlineExceeded
            }
        }
    }
}

/// A bound, listening descriptor, not yet on any core.
struct ListeningSocket: Sendable {
    let descriptor: Int32
    let address: SocketAddress

    init(_ wanted: SocketAddress, options: ConnectionOptions, sharesPort: Bool, nonblocking: Bool) throws(NetworkError)
    {
        var kernelAddress = try wanted.kernelAddress()
        let backlog = Int32(clamping: options.backlog)
        var result = unsafe martlet_listen(&kernelAddress, backlog, sharesPort, false, nonblocking)
        if result < 0, case .ipv6(.any, let port, _) = wanted {
            // A machine without IPv6: every IPv4 address, then.
            let error = NetworkError(errno: -result, address: wanted, during: "listen")
            guard case .invalidAddress = error else { throw error }
            kernelAddress = try SocketAddress.ipv4(.any, port: port).kernelAddress()
            result = unsafe martlet_listen(&kernelAddress, backlog, sharesPort, false, nonblocking)
        }
        if result == -EADDRINUSE, case .unix(let path) = wanted, Self.isStale(&kernelAddress) {
            // A socket file that a dead process left behind.
            _ = unsafe unlink(path)
            result = unsafe martlet_listen(&kernelAddress, backlog, sharesPort, false, nonblocking)
        }
        guard result >= 0 else { throw NetworkError(errno: -result, address: wanted, during: "listen") }
        descriptor = result
        if !wanted.isUnix { Policy(options).apply(to: descriptor) }
        var bound = martlet_address()
        _ = unsafe martlet_socket_local(descriptor, &bound)
        if case .ipv6(let address, _, let scope) = wanted, let port = SocketAddress(kernelAddress: bound)?.port {
            self.address = .ipv6(address, port: port, scope: scope)
        } else {
            address = SocketAddress(kernelAddress: bound) ?? wanted
        }
    }
}

extension ListeningSocket {
    /// Whether nobody listens at a Unix-domain path that exists.
    private static func isStale(_ address: inout martlet_address) -> Bool {
        let probe = unsafe martlet_stream_socket(&address, true)
        guard probe >= 0 else { return false }
        defer { _ = martlet_close(probe) }
        return unsafe martlet_connect(probe, &address) == -ECONNREFUSED
    }

    /// A listener of a core's own stack.
    init(
        _ wanted: SocketAddress, options: ConnectionOptions, forAll: Bool, stack: inout StackDriver
    ) throws(NetworkError) {
        let descriptor = try stack.listen(wanted, options, forAll: forAll)
        let port = StackDescriptor(descriptor).flatMap { stack.address($0, local: true)?.port }
        self.init(descriptor: descriptor, address: wanted.with(port: port ?? 0))
    }

    private init(descriptor: Int32, address: SocketAddress) {
        self.descriptor = descriptor
        self.address = address
    }

    /// The same queue of connections for another core: Unix-domain sockets cannot share a path.
    func duplicate() throws(NetworkError) -> ListeningSocket {
        let copy = martlet_duplicate(descriptor)
        guard copy >= 0 else { throw NetworkError(errno: -copy, during: "dup") }
        return ListeningSocket(descriptor: copy, address: address)
    }
}

extension CoreIsolation {
    func accept(_ handle: ListenerHandle, within timeout: Duration?) async throws(NetworkError) -> TCPConnection? {
        handle.core.mustBeCurrent()
        return try await TCPListener(handle: handle).accept(within: timeout)
    }

    func openListener(
        _ core: Core, on address: SocketAddress, options: ConnectionOptions
    ) throws(NetworkError) -> ListeningSocket {
        try core.openListener(on: address, options: options, forAll: true)
    }

    /// The port of a listener of the core's stack has been claimed for all cores.
    func noteClaim(_ core: Core, _ socket: ListeningSocket) {
        guard let (stack, descriptor) = unsafe core.transport.driver.ours(socket.descriptor) else { return }
        unsafe stack.pointee.noteClaim(descriptor)
    }

    /// Closes a listener that was not put to work.
    func close(_ core: Core, _ socket: ListeningSocket) {
        core.transport.driver.closeNow(socket.descriptor)
    }

    func close(_ handle: ListenerHandle, drain: Bool) async {
        handle.core.mustBeCurrent()
        await TCPListener(handle: handle).close(drain: drain)
    }

    func listen(
        _ core: Core, on address: SocketAddress, options: ConnectionOptions
    ) async throws(NetworkError) -> TCPListener {
        core.mustBeCurrent()
        return try await core.listen(on: address, options: options)
    }
}
