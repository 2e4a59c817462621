// TCP, Unix-domain streams and UDP by the kernel, for one core. What a driver completes comes in through `reap`, what tasks
// left to do goes out through `prepare`; between the two, tasks call the operations of the files beside this one:
// Receiving, Sending, Closing, Accepting, Connecting, Datagrams.

internal import CMartlet
internal import Glibc
internal import MartletStack

@safe final class KernelTransport {
    let state: UnsafeMutablePointer<CoreState>
    private(set) var driver: Driver
    var sockets: SocketTable
    var slabs: SlabPool
    var segments: SegmentPool

    var listeners = SlotTable<ListenerState>()
    /// Open connections that were accepted.
    var openAccepted = 0
    var datagramSockets = SlotTable<DatagramState>()
    /// Addresses that pending connects refer to.
    var connectAddresses = unsafe SlotTable<UnsafeMutablePointer<martlet_address>>()

    /// Sockets with bytes to send, linked through `nextDirty`.
    var firstDirty: Int32 = -1
    /// Sockets whose sends succeed unless a completion says otherwise.
    var silent: [Int32] = []
    /// Sockets that found no receive buffer, linked through `nextStarved`.
    var firstStarved: Int32 = -1
    var lastStarved: Int32 = -1
    /// Sockets with a sender that found no send buffer.
    var waitingForBuffer: [Int32] = []
    /// `segments.releases` when they were last woken.
    var releasesSeen: UInt64 = 0
    /// When every closing connection must have closed, because the core ends.
    var lastCloseDeadline = Int64.max
    /// Listeners that have stopped accepting until something changes.
    var pausedListeners: [Int32] = []
    /// Listeners that ran out of descriptors.
    var backedOff: [Int32] = []

    init(state: UnsafeMutablePointer<CoreState>, limits: Limits) {
        unsafe self.state = state
        driver = Driver()
        sockets = SocketTable(capacity: limits.connectionsPerCore)
        slabs = SlabPool(
            initial: limits.receiveBuffers, maximum: limits.maximumReceiveBuffers,
            slabCapacity: limits.receiveBufferSize)
        segments = SegmentPool(buffers: limits.maximumSendBuffers)
        silent.reserveCapacity(1024)
    }

    deinit { driver.destroy() }

    /// Takes a driver into use, on the core's thread.
    func open(_ driver: Driver) {
        self.driver = driver
        driver.provide(from: &slabs)
    }

    // MARK: The round

    /// Hears all that the driver has to tell. Returns whether the core's eventfd was signalled.
    func reap() -> Bool {
        var wasSignalled = false
        driver.beginRound(at: unsafe state.pointee.now)
        while let completion = driver.next(slabs: &slabs) {
            if completion.token.operation == .wake { wasSignalled = true } else { handle(completion) }
        }
        settleSilentSends()
        return wasSignalled
    }

    private func handle(_ completion: Completion) {
        let token = completion.token
        let slot = token.slot
        if token.operation == .link { return linkIsReady(token) }
        if token.operation == .interface { return driver.interfaceIsReady(token) }
        guard slot >= 0, sockets.isCurrent(slot, token.generation) else {
            if completion.slab >= 0 { slabs.release(completion.slab) }
            if token.operation == .accept, completion.result >= 0 {
                driver.closeNow(completion.result)
            }
            return
        }
        switch token.operation {
        case .receive: receiveCompleted(slot, completion)
        case .send: sendCompleted(slot, completion.result)
        case .writable: becameWritable(slot, completion.result)
        case .accept: acceptCompleted(slot, completion)
        case .connect: connectCompleted(slot, completion.result)
        case .readable: becameReadable(slot, completion)
        case .discard, .wake, .link, .interface: break
        }
    }

    /// A link has something, or room: the task that waits for it goes on. Its waiter's ticket stands for the generation.
    private func linkIsReady(_ token: Token) {
        let waiter = unsafe state.pointee.waiters[token.slot]
        guard unsafe waiter.pointee.queue == .link, unsafe waiter.pointee.ticket & 0xff_ffff == token.generation else {
            return
        }
        wake(token.slot)
    }

    /// Turns what tasks left behind into operations, and gives buffers back.
    func prepare() {
        slabs.reclaim()
        driver.provide(from: &slabs)
        if firstStarved >= 0 { feedStarved() }
        while firstDirty >= 0 {
            let slot = firstDirty
            firstDirty = sockets[slot].nextDirty
            sockets[slot].nextDirty = -1
            sockets[slot].flags.remove(.isDirty)
            startSending(slot)
        }
        if !waitingForBuffer.isEmpty { wakeThoseWaitingForBuffers() }
        if !pausedListeners.isEmpty { resumeListeners() }
        driver.endRound(at: unsafe state.pointee.now)
    }

    /// Whether `reap` has something to do that no completion will announce.
    var hasWork: Bool { firstDirty >= 0 || driver.isBusy(at: unsafe state.pointee.now) }

    // MARK: Slots

    func token(_ operation: Operation, _ slot: Int32) -> Token {
        Token(operation, slot: slot, generation: sockets[slot].generation)
    }

    /// An operation of the driver's has ended.
    func operationEnded(_ slot: Int32) {
        sockets[slot].outstanding -= 1
        if sockets[slot].flags.contains(.isClosing) { progressClose(slot) }
    }

    func wake(_ waiter: Int32) { unsafe state.pointee.resume(waiter) }

    /// Ends a wait from outside of what it waits for: the waiter leaves its queue, and its task goes on.
    func end(_ waiter: Int32, _ outcome: Outcome) {
        guard unsafe state.pointee.waiters[waiter].pointee.isParked else { return }
        unlink(waiter)
        unsafe state.pointee.resume(waiter, outcome)
    }

    /// The task that owns a connection was cancelled: it goes on, and the connection is reset.
    func scopeCancelled(_ scope: UnsafeMutablePointer<ScopeRecord>) {
        let waiter = unsafe scope.pointee.parked
        if waiter >= 0 { end(waiter, .cancelled) }
        let slot = unsafe scope.pointee.slot
        if slot >= 0 { abort(slot, .cancelled) }
    }

    /// Takes a waiter out of the queue that it waits in.
    func unlink(_ waiter: Int32) {
        let slot = unsafe state.pointee.waiters[waiter].pointee.slot
        switch unsafe state.pointee.waiters[waiter].pointee.queue {
        case .receive: sockets[slot].receiver = -1
        case .send: unlinkSender(waiter, slot)
        case .flush: unlinkFlusher(waiter, slot)
        case .accept: listeners[slot]?.waiter = -1
        case .datagram: datagramSockets[slot]?.waiter = -1
        case .none, .connect, .handler, .sleep, .link: break
        }
    }

    /// The error that a failed or closed socket's operations throw.
    func error(of slot: Int32) -> NetworkError {
        guard sockets[slot].flags.contains(.hasFailed) else { return .closed }
        switch sockets[slot].failure {
        case .errno(let errno): return NetworkError(errno: errno, during: "the connection")
        case .idle: return .idleTimeout
        case .write: return .writeTimeout
        case .aborted: return .closed
        case .cancelled: return .cancelled
        }
    }

    /// Connections that came from listeners and are open, also of those that have gone.
    var acceptedConnections: Int { listeners.all.reduce(openAccepted) { $0 + $1.surplus.count } }

    var nowNanoseconds: Int64 { unsafe state.pointee.now.nanoseconds }

    /// Closes all that is open, when the core ends.
    func closeEverything() {
        for slot in sockets.slots where sockets[slot].flags.contains(.hasDescriptor) {
            let descriptor = sockets[slot].descriptor
            if listeners[slot] == nil, datagramSockets[slot] == nil { driver.resetOnClose(descriptor) }
            driver.closeNow(descriptor)
            sockets[slot].flags.remove(.hasDescriptor)
        }
    }
}
