// Names, off the cores: getaddrinfo(3) blocks, so each look-up has a thread of its own and wakes the task that waits for it.
// Then the race of RFC 8305 (happy eyeballs): families alternate, IPv6 first, and each attempt gets a head start of 250 ms.

internal import CMartlet
internal import MartletStack
internal import Synchronization

/// A look-up under way.
private final class LookUp: Sendable {
    let name: String
    let core: Core
    let waiter: Int32
    let ticket: UInt32
    let result = Mutex<Result<[SocketAddress], NetworkError>?>(nil)

    init(name: String, core: Core, waiter: Int32, ticket: UInt32) {
        self.name = name
        self.core = core
        self.waiter = waiter
        self.ticket = ticket
    }

    func run() {
        let capacity = 64
        let found: Result<[SocketAddress], NetworkError> = unsafe withUnsafeTemporaryAllocation(
            of: martlet_address.self, capacity: capacity
        ) { addresses in
            let count = unsafe martlet_resolve(name, addresses.baseAddress, Int32(capacity))
            guard count >= 0 else {
                return .failure(.nameNotFound(name, reason: unsafe String(cString: martlet_resolve_error(count))))
            }
            return .success((0..<Int(count)).compactMap { unsafe SocketAddress(kernelAddress: addresses[$0]) })
        }
        result.withLock { $0 = found }
        core.inbox.push(Message(.ready(waiter: waiter, ticket: ticket)))
    }
}

extension Core {
    /// The addresses of a host, which may also be an address itself, in the order in which they are to be tried.
    func resolve(_ host: String, port: UInt16, deadline: Int64) async throws(NetworkError) -> [SocketAddress] {
        if let address = IPv4Address(host) { return [.ipv4(address, port: port)] }
        if let address = IPv6Address(host) { return [.ipv6(address, port: port)] }
        if CurrentTask.isCancelled { throw .cancelled }
        if let machine {
            let addresses = machine.addresses(of: host).map { SocketAddress(Endpoint($0, port: port)) }
            if addresses.isEmpty { throw .nameNotFound(host, reason: "no host of the simulation is called that") }
            return Self.interleaved(addresses)
        }
        let waiter = takeWaiter(in: .handler)
        let lookUp = unsafe LookUp(
            name: host, core: self, waiter: waiter, ticket: state.pointee.waiters[waiter].pointee.ticket)
        let argument = unsafe Unmanaged.passRetained(lookUp)
        let error = unsafe martlet_thread_start(
            { unsafe Unmanaged<LookUp>.fromOpaque($0!).takeRetainedValue().run() }, argument.toOpaque())
        if error != 0 {
            unsafe argument.release()
            unsafe state.pointee.waiters.release(waiter)
            throw NetworkError(errno: -error, during: "pthread_create")
        }
        switch unsafe await park(waiter, deadline: deadline) {
        case .ready: break
        case .cancelled: throw .cancelled
        case .deadline: throw .deadlineExceeded
        }
        let addresses = try (lookUp.result.withLock { $0 } ?? .success([])).get()
        guard !addresses.isEmpty else { throw .nameNotFound(host, reason: "it has no address") }
        return Self.interleaved(addresses.map { $0.with(port: port) })
    }

    /// Alternates the families, IPv6 first (RFC 8305 §4), each in the resolver's order (RFC 6724).
    static func interleaved(_ addresses: [SocketAddress]) -> [SocketAddress] {
        func isIPv6(_ address: SocketAddress) -> Bool { if case .ipv6 = address { true } else { false } }
        let first = addresses.filter(isIPv6)
        let second = addresses.filter { !isIPv6($0) }
        var result: [SocketAddress] = []
        for index in 0..<max(first.count, second.count) {
            if index < first.count { result.append(first[index]) }
            if index < second.count { result.append(second[index]) }
        }
        return result
    }

    /// The options in the form that connections keep. Who calls again and again with the same ones gets the same.
    func policy(for options: ConnectionOptions) -> Policy {
        if let lastPolicy, lastPolicy.options == options { return lastPolicy }
        let policy = Policy(options)
        lastPolicy = policy
        return policy
    }

    /// Connects to an address.
    func connect(to address: SocketAddress, policy: Policy, deadline: Int64) async throws(NetworkError) -> TCPConnection
    {
        if CurrentTask.isCancelled { throw .cancelled }
        let slot = try transport.startConnecting(to: address, policy: policy)
        let outcome = await waitForAttempts(CollectionOfOne(slot), until: deadline)
        if outcome == .cancelled || transport.sockets[slot].flags.contains(.isConnecting) {
            abandon(slot)
            throw outcome == .cancelled ? .cancelled : .deadlineExceeded
        }
        guard transport.sockets[slot].flags.contains(.hasFailed) else {
            return TCPConnection(handle: ConnectionHandle(core: self, slot: slot))
        }
        let error = connectError(slot, address)
        abandon(slot)
        throw error
    }

    /// Connects to the first of `addresses` that answers.
    func connect(
        to addresses: [SocketAddress], options: ConnectionOptions, deadline: Int64
    ) async throws(NetworkError) -> TCPConnection {
        let policy = policy(for: options)
        if addresses.count == 1 { return try await connect(to: addresses[0], policy: policy, deadline: deadline) }
        let headStart: Int64 = 250_000_000
        var remaining = addresses[...]
        var attempts: [(slot: Int32, address: SocketAddress)] = []
        var firstError: NetworkError?
        var nextStart: Int64 = 0
        do throws(NetworkError) {
            while true {
                if CurrentTask.isCancelled { throw .cancelled }
                if let address = remaining.first, attempts.isEmpty || clock.nanoseconds >= nextStart {
                    remaining.removeFirst()
                    do throws(NetworkError) {
                        attempts.append((try transport.startConnecting(to: address, policy: policy), address))
                        nextStart = clock.nanoseconds + headStart
                    } catch {
                        firstError = firstError ?? error
                        continue
                    }
                }
                guard !attempts.isEmpty else { throw firstError ?? .invalidAddress("") }
                let until = remaining.isEmpty ? deadline : min(deadline, nextStart)
                let outcome = await waitForAttempts(attempts.map(\.slot), until: until)
                if outcome == .cancelled { throw .cancelled }
                for (index, attempt) in attempts.enumerated().reversed() {
                    let flags = transport.sockets[attempt.slot].flags
                    if flags.contains(.isConnecting) { continue }
                    attempts.remove(at: index)
                    if !flags.contains(.hasFailed) {
                        for attempt in attempts { abandon(attempt.slot) }
                        return TCPConnection(handle: ConnectionHandle(core: self, slot: attempt.slot))
                    }
                    firstError = firstError ?? connectError(attempt.slot, attempt.address)
                    abandon(attempt.slot)
                    nextStart = 0  // RFC 8305 §5: a failure starts the next attempt at once
                }
                if outcome == .deadline, clock.nanoseconds >= deadline { throw .deadlineExceeded }
            }
        } catch {
            for attempt in attempts { abandon(attempt.slot) }
            throw error
        }
    }

    private func connectError(_ slot: Int32, _ address: SocketAddress) -> NetworkError {
        guard case .errno(let errno) = transport.sockets[slot].failure else { return .closed }
        return NetworkError(errno: errno, address: address, during: "connect")
    }

    /// Parks until one of the attempts has ended.
    private func waitForAttempts(_ slots: some Collection<Int32>, until deadline: Int64) async -> Outcome {
        if slots.contains(where: { !transport.sockets[$0].flags.contains(.isConnecting) }) { return .ready }
        let waiter = takeWaiter(in: .connect, slot: -1)
        for slot in slots { transport.sockets[slot].receiver = waiter }
        let outcome = unsafe await park(waiter, deadline: deadline)
        for slot in slots { transport.sockets[slot].receiver = -1 }
        return outcome
    }

    private func abandon(_ slot: Int32) {
        transport.sockets[slot].flags.remove(.hasHandle)
        transport.abort(slot)
    }
}
