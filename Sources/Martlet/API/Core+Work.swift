// What a program asks of one core.

internal import CMartlet
internal import MartletStack

extension Core {
    /// Suspends the calling task for at least `duration`, to about a microsecond, on the core's own timers.
    ///
    /// - Throws: ``NetworkError/cancelled``.
    public nonisolated(nonsending) func sleep(for duration: Duration) async throws(NetworkError) {
        let until = deadline(within: duration)
        guard isHome(#isolation) else { return try await isolation.sleep(self, until: until) }
        try await sleep(until: until)
    }

    /// Connects from this core. See ``Runtime/withConnection(to:options:within:_:)``.
    public func withConnection<R: Sendable>(
        to address: SocketAddress, options: ConnectionOptions = .init(), within timeout: Duration? = nil,
        _ body: @Sendable (TCPConnection) async throws -> R
    ) async throws -> R {
        let deadline = deadline(within: timeout)
        return try await onCore {
            let connection = try await connect(to: address, policy: policy(for: options), deadline: deadline)
            return try await use(connection, body)
        }
    }

    /// Connects from this core to a host by name. See ``Runtime/withConnection(to:port:options:within:_:)``.
    public func withConnection<R: Sendable>(
        to host: String, port: UInt16, options: ConnectionOptions = .init(), within timeout: Duration? = nil,
        _ body: @Sendable (TCPConnection) async throws -> R
    ) async throws -> R {
        let deadline = deadline(within: timeout)
        return try await onCore {
            let addresses = try await resolve(host, port: port, deadline: deadline)
            let connection = try await connect(to: addresses, options: options, deadline: deadline)
            return try await use(connection, body)
        }
    }

    /// Runs `body` on the core's thread.
    @inline(__always)
    func onCore<R: Sendable>(_ body: @Sendable () async throws -> R) async throws -> R {
        if isHome(#isolation) { return try await body() }
        return try await hop(body)
    }

    @inline(never)
    private func hop<R: Sendable>(_ body: @Sendable () async throws -> R) async throws -> R {
        try await withTaskExecutorPreference(taskExecutor) { try await unisolated(body) }
    }

    /// Runs `body` isolated to nobody, whoever calls: on the executor that the task prefers, then.
    @concurrent
    private func unisolated<R: Sendable>(_ body: @Sendable () async throws -> R) async throws -> R {
        mustBeCurrent()
        return try await body()
    }

    private static var scopesKept: Int { 256 }

    /// Runs `body` with a connection and closes it, with one cancellation handler for all of it.
    @inline(__always)
    private func use<R: Sendable>(
        _ connection: TCPConnection, _ body: @Sendable (TCPConnection) async throws -> R
    ) async throws -> R {
        let scope = beginScope(connection.handle.slot)
        do {
            let result = try await body(connection)
            endScope(scope, connection.handle.slot, isFailure: false)
            return result
        } catch {
            endScope(scope, connection.handle.slot, isFailure: true)
            throw error
        }
    }

    @inline(never)
    private func beginScope(_ slot: Int32) -> TaskScope {
        let scope = spareScopes.popLast() ?? TaskScope(inbox: inbox)
        scope.begin()
        unsafe scope.record.pointee.slot = slot
        unsafe transport.sockets[slot].scope = unsafe scope.record
        return scope
    }

    @inline(never)
    private func endScope(_ scope: consuming TaskScope, _ slot: Int32, isFailure: Bool) {
        scope.end()
        unsafe transport.sockets[slot].scope = nil
        unsafe scope.record.pointee.slot = -1
        // A cancellation that is on its way here still holds it.
        if isKnownUniquelyReferenced(&scope), spareScopes.count < Self.scopesKept { spareScopes.append(scope) }
        if isFailure { transport.abort(slot) } else { transport.close(slot) }
    }

    /// Puts a listening socket to work for `serve`.
    func listen(_ socket: ListeningSocket, policy: Policy, pool: HandlerPool) throws(NetworkError) -> Int32 {
        if isShuttingDown {
            transport.driver.closeNow(socket.descriptor)
            throw .shuttingDown
        }
        return try transport.listen(
            descriptor: socket.descriptor, address: socket.address, policy: policy, acceptor: .handlers(pool))
    }

    /// Closes all listeners. Returns whether there were any, or any connection of one that is gone.
    func beginShutdown() -> Bool {
        isShuttingDown = true
        let slots = transport.listeners.slots  // in the same order in every process
        for slot in slots { transport.closeListener(slot, drain: true) }
        let accepted = unsafe state.pointee.counters.accepted
        return !slots.isEmpty || accepted > 0
    }

    func snapshot() -> CoreCounters {
        var snapshot = unsafe state.pointee.counters
        snapshot.open = transport.sockets.inUse
        snapshot.receiveBuffersReplaced = transport.slabs.replaced
        snapshot.sendBuffersExhausted = transport.segments.exhausted
        snapshot.completionQueueOverflows = transport.driver.overflows
        if let exchanged = unsafe transport.driver.stack?.pointee.interfaces.exchange?.counters {
            snapshot.framesHandedOver = exchanged.handedOver
            snapshot.framesTakenOver = exchanged.takenOver
            snapshot.handoversDropped = exchanged.dropped
        }
        return snapshot
    }
}

extension CoreIsolation {
    func sleep(_ core: Core, until deadline: Int64) async throws(NetworkError) {
        core.mustBeCurrent()
        try await core.sleep(until: deadline)
    }

    func beginShutdown(_ core: Core) -> Bool { core.beginShutdown() }

    func acceptedConnections(_ core: Core) -> Int { core.transport.acceptedConnections }

    func counters(_ core: Core) -> CoreCounters { core.snapshot() }
}
