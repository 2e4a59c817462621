// New connections. A listener accepts while its core has room: free slots, its own maximum, and a bounded queue of those that
// nobody has taken yet. Beyond, connections wait in the kernel's backlog. Running out of descriptors pauses the listener
// until a connection closes or a tenth of a second has passed: it never spins.

internal import CMartlet
internal import Glibc
internal import MartletStack

/// Who takes a listener's connections.
enum Acceptor {
    /// The program asks for each (`for try await connection in listener`).
    case sequence
    /// `serve`'s handlers on this core.
    case handlers(HandlerPool)
}

final class ListenerState {
    let acceptor: Acceptor
    let policy: Policy
    let address: SocketAddress
    /// Accepted, and not yet taken: slots, oldest first.
    var queue: [Int32] = []
    var queueStart = 0
    /// Descriptors that were accepted when no slot was free.
    var surplus: [Int32] = []
    var open = 0
    var isArmed = false
    var isCancelled = false
    var isPaused = false
    var isClosed = false
    /// Closed without draining: a connection that an accept still brings is refused.
    var refusesLate = false
    var waiter: Int32 = -1
    /// Ends the sequence with an error instead of its end.
    var failure: NetworkError?

    var queued: Int { queue.count - queueStart }

    init(acceptor: Acceptor, policy: Policy, address: SocketAddress) {
        self.acceptor = acceptor
        self.policy = policy
        self.address = address
    }

    func popQueue() -> Int32? {
        guard queueStart < queue.count else { return nil }
        let slot = queue[queueStart]
        queueStart += 1
        if queueStart == queue.count {
            queue.removeAll(keepingCapacity: true)
            queueStart = 0
        }
        return slot
    }
}

extension KernelTransport {
    /// Slots kept back when a multishot accept must end: what it brings until then must fit.
    private static var reserve: Int { 64 }
    private static var maximumQueued: Int { 1024 }
    /// In place of a connection's listener: it was not accepted, or its listener has gone.
    private static var noListener: Int32 { -1 }
    private static var goneListener: Int32 { -2 }

    /// Starts to accept on a listening descriptor. Returns the listener's slot.
    func listen(
        descriptor: Int32, address: SocketAddress, policy: Policy, acceptor: Acceptor
    ) throws(NetworkError) -> Int32 {
        guard let slot = sockets.take() else {
            driver.closeNow(descriptor)
            throw .limitReached("connectionsPerCore")
        }
        sockets[slot].descriptor = descriptor
        sockets[slot].flags.formUnion([.hasDescriptor, .hasHandle])
        if address.isUnix { sockets[slot].flags.insert(.isUnix) }
        listeners[slot] = ListenerState(acceptor: acceptor, policy: policy, address: address)
        armAccept(slot)
        return slot
    }

    private func roomToAccept(_ listener: ListenerState) -> Int {
        min(
            sockets.freeCount, listener.policy.options.maximumConnectionsPerCore - listener.open,
            Self.maximumQueued - listener.queued)
    }

    func armAccept(_ slot: Int32) {
        guard let listener = listeners[slot], !listener.isArmed, !listener.isClosed else { return }
        let room = roomToAccept(listener) - listener.surplus.count
        guard room > 0 else {
            pause(slot)
            return
        }
        listeners[slot]!.isArmed = true
        listeners[slot]!.isCancelled = false
        listeners[slot]!.isPaused = false
        sockets[slot].outstanding += 1
        driver.accept(token(.accept, slot), descriptor: sockets[slot].descriptor, multishot: room > Self.reserve)
    }

    private func pause(_ slot: Int32) {
        guard !listeners[slot]!.isPaused else { return }
        listeners[slot]!.isPaused = true
        pausedListeners.append(slot)
        unsafe state.pointee.counters.acceptPauses &+= 1
    }

    /// Lets paused listeners accept again, if there is room now.
    func resumeListeners() {
        let slots = pausedListeners
        pausedListeners.removeAll(keepingCapacity: true)
        for slot in slots where listeners[slot] != nil {
            listeners[slot]!.isPaused = false
            adoptSurplus(slot)
            armAccept(slot)
        }
    }

    /// Out of descriptors: wait for a connection to close, or a little while.
    private func backOff(_ slot: Int32) {
        unsafe state.pointee.counters.descriptorsExhausted &+= 1
        listeners[slot]!.isPaused = true
        unsafe state.pointee.timers.arm(
            CoreState.timer(ofSocket: slot), at: state.pointee.now.advanced(by: .milliseconds(100)))
        backedOff.append(slot)
    }

    func acceptCompleted(_ slot: Int32, _ completion: Completion) {
        guard listeners[slot] != nil else { return }
        if !completion.more {
            listeners[slot]!.isArmed = false
            sockets[slot].outstanding -= 1
        }
        if completion.result >= 0 {
            listeners[slot]!.surplus.append(completion.result)
            if listeners[slot]!.refusesLate { refuseSurplus(slot) } else { adoptSurplus(slot) }
        } else if !listeners[slot]!.isClosed {
            switch -completion.result {
            case EMFILE, ENFILE, ENOMEM, ENOBUFS: backOff(slot)
            case ECANCELED, ECONNABORTED, EINTR, EAGAIN, EPROTO: break
            case let errno:
                listeners[slot]!.failure = NetworkError(errno: errno, during: "accept")
                closeListener(slot, drain: false)
            }
        }
        guard let listener = listeners[slot] else { return }
        if listener.isClosed {
            if case .handlers(let pool) = listener.acceptor { pool.listenerClosed() }
            releaseListenerIfDone(slot)
        } else if listener.isArmed {
            if roomToAccept(listener) <= Self.reserve, completion.more, !listener.isCancelled {
                listeners[slot]!.isCancelled = true
                driver.cancel(token(.accept, slot), descriptor: sockets[slot].descriptor)
            }
        } else if !listener.isPaused {
            armAccept(slot)
        }
    }

    /// Gives accepted descriptors a slot each, as long as there are some.
    private func adoptSurplus(_ slot: Int32) {
        while listeners[slot]!.open < listeners[slot]!.policy.options.maximumConnectionsPerCore,
            let descriptor = listeners[slot]!.surplus.first
        {
            guard let connection = sockets.take() else { break }
            listeners[slot]!.surplus.removeFirst()
            adopt(descriptor, as: connection, listener: slot)
        }
        if !listeners[slot]!.surplus.isEmpty { pause(slot) }
    }

    private func adopt(_ descriptor: Int32, as slot: Int32, listener: Int32) {
        unsafe state.pointee.counters.accepted &+= 1
        let policy = listeners[listener]!.policy
        listeners[listener]!.open += 1
        openAccepted += 1
        open(slot, descriptor: descriptor, policy: policy)
        sockets[slot].listener = listener
        sockets[slot].flags.insert(.awaitsFirstByte)
        if sockets[listener].flags.contains(.isUnix) { sockets[slot].flags.insert(.isUnix) }
        if policy.hasTimers { armTimer(slot) }
        switch listeners[listener]!.acceptor {
        case .handlers(let pool): pool.dispatch(slot)
        case .sequence:
            listeners[listener]!.queue.append(slot)
            let waiter = listeners[listener]!.waiter
            listeners[listener]!.waiter = -1
            wake(waiter)
        }
    }

    /// Makes a slot the record of an open connection.
    func open(_ slot: Int32, descriptor: Int32, policy: Policy) {
        sockets[slot].descriptor = descriptor
        sockets[slot].flags.formUnion([.hasDescriptor, .hasHandle])
        unsafe sockets[slot].policy = .passRetained(policy)
        sockets[slot].openedAt = nowNanoseconds
        sockets[slot].lastActivity = nowNanoseconds
    }

    /// A connection of this listener has closed: there is room for another, and a descriptor.
    func connectionClosed(listener slot: Int32) {
        if slot != Self.noListener { openAccepted -= 1 }
        if slot >= 0 { listeners[slot]?.open -= 1 }
        if !backedOff.isEmpty { endBackOff() }
    }

    /// Listeners that ran out of descriptors try again at the end of the round.
    func endBackOff() {
        pausedListeners.append(contentsOf: backedOff)
        backedOff.removeAll(keepingCapacity: true)
    }

    // MARK: The end of a listener

    /// Stops accepting. With `drain`, connections that the kernel has completed already are accepted first and can still be
    /// taken from the sequence; otherwise they are reset, and so are those that nobody has taken.
    func closeListener(_ slot: Int32, drain: Bool) {
        guard let listener = listeners[slot], !listener.isClosed else { return }
        listeners[slot]!.refusesLate = !drain
        if drain { drainBacklog(slot) }
        listeners[slot]!.isClosed = true
        if listener.isArmed { driver.cancel(token(.accept, slot), descriptor: sockets[slot].descriptor) }
        // The port is free from here on, not only when the kernel has let go of a pending accept. Cores that share a
        // Unix-domain socket leave it to each other.
        if !listener.address.isUnix { driver.shutDownListener(sockets[slot].descriptor) }
        driver.close(slot: slot, descriptor: sockets[slot].descriptor)
        sockets[slot].flags.remove(.hasDescriptor)
        unsafe state.pointee.timers.cancel(CoreState.timer(ofSocket: slot))
        if !drain {
            while let connection = listeners[slot]!.popQueue() {
                sockets[connection].flags.remove(.hasHandle)
                abort(connection)
            }
            refuseSurplus(slot)
        }
        if !backedOff.isEmpty { endBackOff() }
        let waiter = listeners[slot]!.waiter
        listeners[slot]!.waiter = -1
        wake(waiter)
        if case .handlers(let pool) = listener.acceptor { pool.listenerClosed() }
        releaseListenerIfDone(slot)
    }

    /// Resets what was accepted and has no slot, and what may still be accepted.
    func refuseSurplus(_ slot: Int32) {
        guard let listener = listeners[slot] else { return }
        for descriptor in listener.surplus {
            driver.resetOnClose(descriptor)
            driver.closeNow(descriptor)
        }
        listeners[slot]!.surplus.removeAll()
        listeners[slot]!.refusesLate = true
    }

    /// Whether a listener still holds connections, or may bring some, that no handler has been given.
    func hasUntaken(_ slot: Int32) -> Bool {
        guard let listener = listeners[slot] else { return false }
        return listener.isArmed || !listener.surplus.isEmpty
    }

    private func drainBacklog(_ slot: Int32) {
        let descriptor = sockets[slot].descriptor
        for _ in 0..<listeners[slot]!.policy.options.backlog {
            let accepted = driver.acceptNow(descriptor)
            guard accepted >= 0 else { break }
            listeners[slot]!.surplus.append(accepted)
        }
        adoptSurplus(slot)
    }

    func dropListener(_ slot: Int32, _ generation: UInt32) {
        guard sockets.isCurrent(slot, generation), listeners[slot] != nil else { return }
        closeListener(slot, drain: false)
        sockets[slot].flags.remove(.hasHandle)
        refuseSurplus(slot)
        while let connection = listeners[slot]?.popQueue() {
            sockets[connection].flags.remove(.hasHandle)
            abort(connection)
        }
        releaseListenerIfDone(slot)
    }

    private func releaseListenerIfDone(_ slot: Int32) {
        guard let listener = listeners[slot], listener.isClosed, listener.queued == 0, listener.surplus.isEmpty,
            sockets[slot].outstanding == 0, sockets[slot].flags.isDisjoint(with: [.hasHandle, .hasDescriptor])
        else { return }
        if listener.open > 0 {
            // The slot may soon be another listener's.
            for connection in sockets.slots where sockets[connection].listener == slot {
                sockets[connection].listener = Self.goneListener
            }
        }
        listeners[slot] = nil
        sockets.release(slot)
    }
}
