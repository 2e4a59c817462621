// The handle of a connection. Every call runs on the connection's core: at once if the caller is there already, which
// handlers are, and by one hop otherwise. Bytes that are there are returned and room that is there is taken without
// suspending; that half of a call becomes part of its caller, so that it takes no frame of the task's memory either. What it
// calls is in `ConnectionHandle`.

/// One TCP (or Unix-domain stream) connection.
///
/// A connection is an `AsyncSequence` of ``Bytes``, each element all that one wake-up brought. It ends at the peer's FIN;
/// sending stays possible after that. One task may receive while others send. Copies are handles of the same connection: when
/// the last is dropped, the connection is closed as by ``close(within:)``, without waiting.
///
/// Every call that waits can be cancelled, and most take a deadline. Either makes that one call throw and leaves the connection
/// as it was; no received byte is lost. A call that need not wait, because bytes or room are there, looks at neither. Cancelling
/// the task that `serve` runs a handler in, or the task of `withConnection`, resets the connection: from then on all its calls
/// throw ``NetworkError/cancelled``.
public struct TCPConnection: Sendable {
    @usableFromInline let handle: ConnectionHandle

    init(handle: ConnectionHandle) { self.handle = handle }

    /// The core that the connection lives on.
    public var core: Core { handle.core }

    // MARK: Receiving

    /// The next bytes, or nil when the peer has finished (FIN).
    ///
    /// Only one task may receive at a time: a second one at the same time is a bug in the program and traps.
    /// - Parameter timeout: how long to wait, from now. Nil waits for ever.
    /// - Throws: ``NetworkError/deadlineExceeded``, ``NetworkError/cancelled``, ``NetworkError/reset``,
    ///   ``NetworkError/idleTimeout``, ``NetworkError/closed`` after closing on this side.
    @inlinable
    @inline(__always)
    public nonisolated(nonsending) func receive(within timeout: Duration? = nil) async throws(NetworkError) -> Bytes? {
        var deadline: Int64?
        while true {
            switch handle.takeReceived(#isolation) {
            case .bytes(let bytes): return bytes
            case .finished: return nil
            case .failed(let error): throw error
            case .elsewhere: return try await handle.receive(within: timeout)
            case .nothing: try await awaitBytes(&deadline, timeout)
            }
        }
    }

    /// Lets `body` see received bytes where they lie, without copying, and consume as many as it likes from the front.
    ///
    /// What is not consumed stays and is seen again, at once: to wait for more than is there, take what is there, with
    /// ``receive(within:)``. `body` is not called at the peer's FIN.
    /// - Parameter body: is given at least one byte and returns how many it has consumed.
    /// - Returns: false when the peer has finished (FIN), otherwise true.
    /// - Throws: what ``receive(within:)`` throws.
    @inlinable
    @inline(__always)
    public nonisolated(nonsending) func receive(
        within timeout: Duration? = nil, _ body: (RawSpan) -> Int
    ) async throws(NetworkError) -> Bool {
        var deadline: Int64?
        while true {
            switch handle.withReceived(#isolation, body) {
            case nil, .bytes: return true
            case .finished: return false
            case .failed(let error): throw error
            case .elsewhere: return try await handle.receive(within: timeout, body)
            case .nothing: try await awaitBytes(&deadline, timeout)
            }
        }
    }

    /// Parks the task until there is something to receive, or time is up: at `deadline`, which counts from the first wait.
    @inlinable
    @inline(__always)
    nonisolated(nonsending) func awaitBytes(
        _ deadline: inout Int64?, _ timeout: Duration?
    ) async throws(NetworkError) {
        let instant = deadline ?? (timeout == nil ? .max : handle.deadline(within: timeout))
        deadline = instant
        let waiter = unsafe try handle.prepareToReceive(#isolation, deadline: instant)
        unsafe await parkTask(waiter)
        unsafe try handle.endWait(waiter)
    }

    // MARK: Sending

    /// Queues bytes for sending, and returns when all of them are queued. Bytes of several tasks are never mixed within one
    /// call.
    ///
    /// Suspends only while the connection's send queue is full (``ConnectionOptions/sendLimit``). What was queued is sent
    /// even if the connection is closed right after. If the call throws because of its deadline or a cancellation, a first
    /// part of the bytes may have been queued already.
    /// - Parameter timeout: how long to wait for room, from now. Nil waits for ever.
    /// - Throws: ``NetworkError/deadlineExceeded``, ``NetworkError/cancelled``, ``NetworkError/reset``,
    ///   ``NetworkError/writeTimeout``, ``NetworkError/closed`` after closing or finishing on this side.
    @inlinable
    @inline(__always)
    public nonisolated(nonsending) func send(_ bytes: Bytes, within timeout: Duration? = nil) async throws(NetworkError)
    {
        let sent = try handle.trySend(bytes, #isolation)
        if sent == bytes.count { return }
        try await handle.send(bytes, from: sent, within: timeout)
    }

    /// Queues the UTF-8 of a string. See ``send(_:within:)-(Bytes,_)``.
    public nonisolated(nonsending) func send(_ string: String, within timeout: Duration? = nil)
        async throws(NetworkError)
    {
        try await send(Bytes(string), within: timeout)
    }

    /// Queues a collection of bytes. See ``send(_:within:)-(Bytes,_)``.
    public nonisolated(nonsending) func send(
        _ bytes: some Collection<UInt8> & Sendable, within timeout: Duration? = nil
    ) async throws(NetworkError) {
        try await send(Bytes(bytes), within: timeout)
    }

    /// Queues several runs of bytes in order, as one. See ``send(_:within:)-(Bytes,_)``.
    public nonisolated(nonsending) func send(
        contentsOf runs: some Sequence<Bytes> & Sendable, within timeout: Duration? = nil
    ) async throws(NetworkError) {
        let core = handle.core
        guard core.isHome(#isolation) else {
            return try await core.isolation.send(handle, contentsOf: Array(runs), within: timeout)
        }
        try await core.sendAll(handle.slot, Array(runs), deadline: core.deadline(within: timeout))
    }

    /// Lets `body` write up to `capacity` bytes straight into the connection's send queue.
    ///
    /// - Parameters:
    ///   - capacity: bytes of room that `body` gets, 1 … 16,384. Suspends until there are so many.
    ///   - body: appends to the span; what it has appended is queued when it returns, and nothing if it throws.
    /// - Returns: the bytes written.
    /// - Throws: what ``send(_:within:)-(Bytes,_)`` throws.
    @discardableResult
    public nonisolated(nonsending) func send(
        upTo capacity: Int, within timeout: Duration? = nil, _ body: (inout OutputRawSpan) -> Void
    ) async throws(NetworkError) -> Int {
        precondition((1...Int(SegmentPool.bufferCapacity)).contains(capacity), "send(upTo:) takes 1 … 16,384 bytes")
        let core = handle.core
        guard core.isHome(#isolation) else {
            let bytes = Bytes(capacity: capacity, body)
            try await core.isolation.send(handle, bytes, within: timeout)
            return bytes.count
        }
        return try await core.sendInPlace(handle.slot, capacity, deadline: core.deadline(within: timeout), body)
    }

    /// Waits until the peer has acknowledged all that was sent (for Unix-domain sockets: until the kernel has it).
    ///
    /// - Throws: what ``send(_:within:)-(Bytes,_)`` throws.
    public nonisolated(nonsending) func flush(within timeout: Duration? = nil) async throws(NetworkError) {
        let core = handle.core
        guard core.isHome(#isolation) else { return try await core.isolation.flush(handle, within: timeout) }
        try await core.flush(handle.slot, deadline: core.deadline(within: timeout))
    }

    // MARK: Ending

    /// Sends FIN after what is queued: no more will be sent. Receiving goes on. Does not wait.
    ///
    /// - Throws: ``NetworkError/reset`` or ``NetworkError/closed`` if the connection is gone already.
    public nonisolated(nonsending) func finish() async throws(NetworkError) {
        let core = handle.core
        guard core.isCurrent else { return try await core.isolation.finish(handle) }
        try core.transport.finish(handle.slot)
    }

    /// Sends what is queued, then FIN, and returns when the peer has acknowledged both. Received bytes that nobody read make it
    /// a reset (RFC 1122 §4.2.2.13). The connection cannot be used afterwards.
    ///
    /// If the call is cancelled or passes its deadline it throws, and the closing goes on without it, within
    /// ``ConnectionOptions/closeTimeout``.
    /// - Throws: ``NetworkError/reset`` if the peer reset the connection instead, ``NetworkError/deadlineExceeded``,
    ///   ``NetworkError/cancelled``, ``NetworkError/writeTimeout``.
    public nonisolated(nonsending) func close(within timeout: Duration? = nil) async throws(NetworkError) {
        let core = handle.core
        guard core.isHome(#isolation) else { return try await core.isolation.close(handle, within: timeout) }
        try await core.close(handle.slot, deadline: core.deadline(within: timeout))
    }

    /// Resets the connection (RST) and drops what was queued. Waiting operations throw ``NetworkError/closed``. Does not wait.
    public nonisolated(nonsending) func abort() async {
        let core = handle.core
        guard core.isCurrent else { return await core.isolation.abort(handle) }
        core.transport.abort(handle.slot)
    }

    // MARK: Knowing

    /// This side's address, or nil if the connection is gone.
    public var local: SocketAddress? {
        get async {
            let core = handle.core
            guard core.isCurrent else { return await core.isolation.address(handle, local: true) }
            return core.address(handle.slot, local: true)
        }
    }

    /// The peer's address, or nil if the connection is gone.
    public var peer: SocketAddress? {
        get async {
            let core = handle.core
            guard core.isCurrent else { return await core.isolation.address(handle, local: false) }
            return core.address(handle.slot, local: false)
        }
    }

    /// The kernel's statistics of the connection (TCP_INFO, tcp(7)), or nil for a Unix-domain or closed one.
    public var info: TCPInfo? {
        get async {
            let core = handle.core
            guard core.isCurrent else { return await core.isolation.info(handle) }
            return core.info(handle.slot)
        }
    }
}

extension TCPConnection: AsyncSequence {
    public typealias Element = Bytes
    public typealias Failure = NetworkError

    /// Receives from the connection. See ``TCPConnection/receive(within:)``.
    public struct AsyncIterator: AsyncIteratorProtocol {
        @usableFromInline let connection: TCPConnection

        @usableFromInline init(connection: TCPConnection) { self.connection = connection }

        @inlinable
        @inline(__always)
        public nonisolated(nonsending) mutating func next() async throws(NetworkError) -> Bytes? {
            try await connection.receive()
        }

        @inlinable
        @inline(__always)
        public nonisolated(nonsending) mutating func next(
            isolation actor: (any Actor)?
        ) async throws(NetworkError) -> Bytes? {
            try await connection.receive()
        }
    }

    @inlinable
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(connection: self) }
}
