// What the copies of a `TCPConnection` share, and what its calls are made of where they become part of their callers: a look at what
// is there, what is to be done before the task is parked, and after. None of these is async, so the task takes no memory for
// them.

/// A connection's place on its core. When it goes, the connection is closed.
@usableFromInline
final class ConnectionHandle: Sendable {
    let core: Core
    let slot: Int32
    let generation: UInt32

    init(core: Core, slot: Int32) {
        self.core = core
        self.slot = slot
        generation = core.transport.sockets[slot].generation
    }

    @usableFromInline
    deinit {
        if core.isCurrent {
            core.transport.dropHandle(slot, generation)
        } else {
            core.inbox.push(Message(.dropConnection(slot: slot, generation: generation)))
        }
    }

    // MARK: At once

    /// What is there for a caller that is isolated to `actor`.
    @usableFromInline
    func takeReceived(_ actor: (any Actor)?) -> Received {
        core.isHome(actor) ? core.withTransport { $0.takeReceived(slot) } : .elsewhere
    }

    /// Lets `body` see what is there. Returns nil if something is, and what there is instead of bytes if nothing is.
    @usableFromInline
    func withReceived(_ actor: (any Actor)?, _ body: (RawSpan) -> Int) -> Received? {
        core.isHome(actor) ? core.withTransport { $0.takeReceived(slot, body) } : .elsewhere
    }

    /// Queues what there is room for. Returns how many bytes that is, or nil if the caller is elsewhere.
    @usableFromInline
    func trySend(_ bytes: Bytes, _ actor: (any Actor)?) throws(NetworkError) -> Int? {
        core.isHome(actor) ? try core.trySend(slot, bytes) : nil
    }

    // MARK: Around a wait

    /// A deadline in nanoseconds.
    @usableFromInline
    func deadline(within timeout: Duration?) -> Int64 { core.deadline(within: timeout) }

    /// The calling task is to wait for bytes: `parkTask` parks it in what this returns.
    @usableFromInline
    func prepareToReceive(_ actor: (any Actor)?, deadline: Int64) throws(NetworkError) -> UnsafeMutableRawPointer {
        unsafe try UnsafeMutableRawPointer(core.prepareToReceive(slot, actor, deadline: deadline))
    }

    /// It has waited.
    @usableFromInline
    func endWait(_ waiter: UnsafeMutableRawPointer) throws(NetworkError) {
        unsafe try core.endWait(waiter.assumingMemoryBound(to: WaiterRecord.self))
    }

    // MARK: From elsewhere

    @usableFromInline
    nonisolated(nonsending) func receive(within timeout: Duration?) async throws(NetworkError) -> Bytes? {
        try await core.isolation.receive(self, within: timeout)
    }

    /// `body` stays on the caller's side: it sees the bytes there, and the core hears what was consumed.
    @usableFromInline
    nonisolated(nonsending) func receive(
        within timeout: Duration?, _ body: (RawSpan) -> Int
    ) async throws(NetworkError) -> Bool {
        guard let bytes = try await core.isolation.peek(self, within: timeout) else { return false }
        let count = body(bytes.bytes)
        precondition(count >= 0 && count <= bytes.count, "consumed \(count) of \(bytes.count) bytes")
        await core.isolation.consume(self, count)
        return true
    }

    /// Queues the bytes behind the first `sent`, which ``trySend(_:_:)`` has queued; from elsewhere if that is nil.
    @usableFromInline
    nonisolated(nonsending) func send(_ bytes: Bytes, from sent: Int?, within timeout: Duration?)
        async throws(NetworkError)
    {
        guard let sent else { return try await core.isolation.send(self, bytes, within: timeout) }
        try await core.sendRest(slot, bytes, from: sent, deadline: core.deadline(within: timeout))
    }
}
