// UDP as an AsyncSequence of datagrams, fetched and sent up to 32 a system call.

internal import CMartlet

/// A datagram and its other end: the sender of a received one, the destination of one to send.
public struct Datagram: Sendable, Hashable {
    public var bytes: Bytes
    public var peer: SocketAddress

    public init(_ bytes: Bytes, to peer: SocketAddress) {
        self.bytes = bytes
        self.peer = peer
    }

    init(bytes: Bytes, peer: SocketAddress) {
        self.bytes = bytes
        self.peer = peer
    }
}

/// A UDP socket on one core: an `AsyncSequence` of ``Datagram``.
///
/// A datagram larger than ``Limits/receiveBufferSize`` is cut to that size. When the last copy of a socket is dropped it is
/// closed.
public struct UDPSocket: Sendable {
    let handle: DatagramHandle

    /// The address that the socket is bound to.
    public var address: SocketAddress { handle.address }

    /// The next datagram, or nil when the socket has been closed.
    ///
    /// - Throws: ``NetworkError/deadlineExceeded``, ``NetworkError/cancelled``.
    public nonisolated(nonsending) func receive(within timeout: Duration? = nil) async throws(NetworkError) -> Datagram?
    {
        let core = handle.core
        guard core.isHome(#isolation) else { return try await core.isolation.receive(handle, within: timeout) }
        return try await core.receiveDatagram(handle.slot, deadline: core.deadline(within: timeout))
    }

    /// Sends one datagram. Does not wait: a datagram that the kernel has no room for is dropped, as the network may drop it.
    ///
    /// - Returns: whether the kernel took it.
    /// - Throws: ``NetworkError/closed``, ``NetworkError/unreachable(_:)``, ``NetworkError/permissionDenied(_:)``.
    @discardableResult
    public nonisolated(nonsending) func send(_ datagram: Datagram) async throws(NetworkError) -> Bool {
        try await send(contentsOf: [datagram]) == 1
    }

    /// Sends datagrams in order, 32 a system call.
    ///
    /// - Returns: how many of them, from the first on, the kernel took. The rest is dropped.
    /// - Throws: what ``send(_:)`` throws.
    @discardableResult
    public nonisolated(nonsending) func send(contentsOf datagrams: [Datagram]) async throws(NetworkError) -> Int {
        let core = handle.core
        guard core.isCurrent else { return try await core.isolation.send(handle, datagrams) }
        let sent = try core.transport.sendDatagrams(handle.slot, datagrams)
        unsafe core.state.pointee.counters.datagramsDropped &+= UInt64(datagrams.count - sent)
        return sent
    }

    /// Closes the socket: the sequence ends.
    public nonisolated(nonsending) func close() async {
        let core = handle.core
        guard core.isCurrent else { return await core.isolation.close(handle) }
        core.transport.closeDatagramSocket(handle.slot)
    }
}

extension UDPSocket: AsyncSequence {
    public typealias Element = Datagram
    public typealias Failure = NetworkError

    /// Receives from the socket. See ``UDPSocket/receive(within:)``.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let socket: UDPSocket

        public nonisolated(nonsending) mutating func next() async throws(NetworkError) -> Datagram? {
            try await socket.receive()
        }

        public nonisolated(nonsending) mutating func next(
            isolation actor: (any Actor)?
        ) async throws(NetworkError) -> Datagram? {
            try await socket.receive()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(socket: self) }
}

/// What the copies of a `UDPSocket` share. When it goes, the socket is closed.
final class DatagramHandle: Sendable {
    let core: Core
    let slot: Int32
    let address: SocketAddress
    private let generation: UInt32

    init(core: Core, slot: Int32) {
        self.core = core
        self.slot = slot
        address = core.transport.datagramSockets[slot]!.address
        generation = core.transport.sockets[slot].generation
    }

    deinit {
        if core.isCurrent {
            core.transport.dropDatagramSocket(slot, generation)
        } else {
            core.inbox.push(Message(.dropDatagramSocket(slot: slot, generation: generation)))
        }
    }
}

extension Core {
    /// Binds a UDP socket on this core.
    ///
    /// - Parameters:
    ///   - address: where to receive. Port 0 lets the kernel choose.
    ///   - sharesPort: lets sockets of several cores share the port: the kernel spreads senders over them.
    /// - Throws: ``NetworkError/addressInUse(_:)``, ``NetworkError/permissionDenied(_:)``,
    ///   ``NetworkError/addressNotAvailable(_:)``.
    public nonisolated(nonsending) func bindUDP(
        on address: SocketAddress, sharesPort: Bool = false
    ) async throws(NetworkError) -> UDPSocket {
        guard isCurrent else { return try await isolation.bindUDP(self, on: address, sharesPort: sharesPort) }
        let slot = try transport.openDatagramSocket(address, reusePort: sharesPort)
        return UDPSocket(handle: DatagramHandle(core: self, slot: slot))
    }

    func receiveDatagram(_ slot: Int32, deadline: Int64) async throws(NetworkError) -> Datagram? {
        while true {
            if CurrentTask.isCancelled { throw .cancelled }
            if transport.datagramSockets[slot]?.isClosed ?? true { return nil }
            if let datagram = try transport.takeDatagram(slot) { return datagram }
            precondition(transport.datagramSockets[slot]!.waiter < 0, "two tasks receive from one socket at once")
            let waiter = takeWaiter(in: .datagram, slot: slot)
            transport.datagramSockets[slot]!.waiter = waiter
            switch unsafe await park(waiter, deadline: deadline) {
            case .ready: continue
            case .cancelled: throw .cancelled
            case .deadline: throw .deadlineExceeded
            }
        }
    }
}

extension CoreIsolation {
    func receive(_ handle: DatagramHandle, within timeout: Duration?) async throws(NetworkError) -> Datagram? {
        handle.core.mustBeCurrent()
        return try await UDPSocket(handle: handle).receive(within: timeout)
    }

    func send(_ handle: DatagramHandle, _ datagrams: [Datagram]) async throws(NetworkError) -> Int {
        handle.core.mustBeCurrent()
        return try await UDPSocket(handle: handle).send(contentsOf: datagrams)
    }

    func close(_ handle: DatagramHandle) async {
        handle.core.mustBeCurrent()
        await UDPSocket(handle: handle).close()
    }

    func bindUDP(_ core: Core, on address: SocketAddress, sharesPort: Bool) async throws(NetworkError) -> UDPSocket {
        core.mustBeCurrent()
        return try await core.bindUDP(on: address, sharesPort: sharesPort)
    }
}
