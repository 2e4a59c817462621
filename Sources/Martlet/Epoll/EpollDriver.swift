// The epoll driver: readiness turned into the same completions that io_uring gives. Hold epoll(7) beside it.
//
// Connections are watched edge-triggered, once, for input and output together: no epoll_ctl a message. A socket is read only
// while a receive is armed, one slab a turn, so that nobody starves, and is left alone again after a short read.

internal import CMartlet
internal import Glibc
internal import MartletStack

/// What the driver knows of a slot's socket.
private struct Watch: BitwiseCopyable {
    var descriptor: Int32 = -1
    var generation: UInt32 = 0
    var receives = false
    var isReadable = false
    var isPeerFinished = false
    var isQueued = false
    var waitsToWrite = false
    var connects = false
    var accepts = false
    var polls = false
}

@safe struct EpollDriver: ~Copyable {
    private let epoll: Int32
    private let eventDescriptor: Int32
    private let events: UnsafeMutablePointer<epoll_event>
    private let eventCapacity = 512
    /// What the next send sends.
    let pieces: UnsafeMutablePointer<iovec>
    private var eventCount = 0
    private var eventPosition = 0
    private let watches: UnsafeMutablePointer<Watch>
    private var watchCount = 0
    /// Slots to be read or accepted from in the next turn.
    private var ready: [Int32] = []
    private var turn: [Int32] = []
    private var turnPosition = 0
    /// Completions that were known at once.
    private var known: [Completion] = []
    private var knownPosition = 0

    init(limits: Limits, eventDescriptor: Int32) throws(NetworkError) {
        let epoll = martlet_epoll_create()
        guard epoll >= 0 else { throw NetworkError(errno: -epoll, during: "epoll_create1") }
        let result = martlet_epoll_add(epoll, eventDescriptor, Token(.wake, slot: -1, generation: 0).word, 0)
        guard result == 0 else {
            _ = martlet_close(epoll)
            throw NetworkError(errno: -result, during: "epoll_ctl")
        }
        self.epoll = epoll
        self.eventDescriptor = eventDescriptor
        unsafe events = .allocate(capacity: eventCapacity)
        unsafe events.initialize(repeating: epoll_event(), count: eventCapacity)
        unsafe pieces = .allocate(capacity: IOUringDriver.piecesPerSend)
        unsafe watches = .allocate(capacity: limits.connectionsPerCore)
        ready.reserveCapacity(1024)
        turn.reserveCapacity(1024)
    }

    deinit {
        _ = martlet_close(epoll)
        unsafe events.deallocate()
        unsafe pieces.deallocate()
        unsafe watches.deallocate()
    }

    // MARK: Operations

    /// Starts to watch a slot's descriptor.
    private mutating func watch(_ token: Token, descriptor: Int32, edge: Bool) {
        let slot = Int(token.slot)
        while watchCount <= slot {
            unsafe (watches + watchCount).initialize(to: Watch())
            watchCount += 1
        }
        if unsafe watches[slot].descriptor == descriptor, unsafe watches[slot].generation == token.generation { return }
        unsafe watches[slot] = Watch(descriptor: descriptor, generation: token.generation)
        let result = martlet_epoll_add(epoll, descriptor, token.word, edge ? 1 : 0)
        if result < 0 { known.append(Completion(token: token, result: result)) }
    }

    mutating func receive(_ token: Token, descriptor: Int32) {
        watch(token, descriptor: descriptor, edge: true)
        unsafe watches[Int(token.slot)].receives = true
        if unsafe watches[Int(token.slot)].isReadable { enqueue(token.slot) }
    }

    mutating func accept(_ token: Token, descriptor: Int32) {
        watch(token, descriptor: descriptor, edge: true)
        unsafe watches[Int(token.slot)].accepts = true
        unsafe watches[Int(token.slot)].isReadable = true
        enqueue(token.slot)
    }

    mutating func pollReadable(_ token: Token, descriptor: Int32) {
        watch(token, descriptor: descriptor, edge: true)
        unsafe watches[Int(token.slot)].polls = true
    }

    mutating func pollWritable(_ token: Token, descriptor: Int32) {
        watch(token, descriptor: descriptor, edge: true)
        unsafe watches[Int(token.slot)].waitsToWrite = true
    }

    mutating func watchLink(_ token: Token, _ sleep: LinkSleep) {
        let result = martlet_epoll_watch_once(epoll, sleep.descriptor, sleep.forInput, sleep.forOutput, token.word)
        // What cannot be watched counts as ready, so that whoever waits looks for itself.
        if result < 0 { known.append(Completion(token: token, result: result)) }
    }

    mutating func unwatchLink(descriptor: Int32) { _ = martlet_epoll_remove(epoll, descriptor) }

    mutating func cancel(_ target: Token) {
        let slot = Int(target.slot)
        guard slot < watchCount, unsafe watches[slot].generation == target.generation else { return }
        switch target.operation {
        case .receive:
            guard unsafe watches[slot].receives else { return }
            unsafe watches[slot].receives = false
        case .accept:
            guard unsafe watches[slot].accepts else { return }
            unsafe watches[slot].accepts = false
        case .connect:
            guard unsafe watches[slot].connects else { return }
            unsafe watches[slot].connects = false
        case .readable:
            guard unsafe watches[slot].polls else { return }
            unsafe watches[slot].polls = false
        case .writable, .send:
            guard unsafe watches[slot].waitsToWrite else { return }
            unsafe watches[slot].waitsToWrite = false
        default: return
        }
        let operation: Operation = target.operation == .send ? .writable : target.operation
        known.append(
            Completion(
                token: Token(operation, slot: target.slot, generation: target.generation), result: -ECANCELED))
    }

    /// The descriptor leaves epoll by being closed.
    mutating func close(slot: Int32, descriptor: Int32) {
        if slot >= 0, slot < watchCount, unsafe watches[Int(slot)].descriptor == descriptor {
            unsafe watches[Int(slot)].descriptor = -1
        }
        _ = martlet_close(descriptor)
    }

    mutating func connect(_ token: Token, descriptor: Int32, address: UnsafeMutablePointer<martlet_address>) {
        let result = unsafe martlet_connect(descriptor, address)
        if result == 0 || result != -EINPROGRESS {
            known.append(Completion(token: token, result: result))
            return
        }
        watch(token, descriptor: descriptor, edge: true)
        unsafe watches[Int(token.slot)].connects = true
    }

    mutating func send(_ token: Token, descriptor: Int32, pieces count: Int) -> SendAttempt {
        let sent = unsafe martlet_send(descriptor, pieces, Int32(count))
        if sent >= 0 { return .done(sent) }
        if sent == -Int(EAGAIN) {
            pollWritable(Token(.writable, slot: token.slot, generation: token.generation), descriptor: descriptor)
            return .blocked
        }
        return .failed(Int32(sent))
    }

    // MARK: Readiness

    private mutating func enqueue(_ slot: Int32) {
        guard unsafe !watches[Int(slot)].isQueued else { return }
        unsafe watches[Int(slot)].isQueued = true
        ready.append(slot)
    }

    /// Waits for events, `timeout` nanoseconds at most: 0 does not wait, -1 waits for ever.
    mutating func submit(timeout: Int64) {
        eventPosition = 0
        eventCount = 0
        if turnPosition == turn.count {
            swap(&ready, &turn)
            ready.removeAll(keepingCapacity: true)
            turnPosition = 0
        }
        let isBusy = turnPosition < turn.count || knownPosition < known.count
        let count = unsafe martlet_epoll_wait(epoll, events, Int32(eventCapacity), isBusy ? 0 : timeout)
        if count >= 0 { eventCount = Int(count) }
    }

    var hasCompletion: Bool {
        eventPosition < eventCount || turnPosition < turn.count || knownPosition < known.count || !ready.isEmpty
    }

    /// The next thing that happened, or nil when all of it was told.
    mutating func next(slabs: inout SlabPool) -> Completion? {
        while true {
            if knownPosition < known.count {
                knownPosition += 1
                return known[knownPosition - 1]
            }
            if knownPosition > 0 {
                known.removeAll(keepingCapacity: true)
                knownPosition = 0
            }
            if eventPosition < eventCount {
                let event = unsafe events[eventPosition]
                eventPosition += 1
                if let completion = unsafe note(event) { return completion }
                continue
            }
            if turnPosition < turn.count {
                let slot = turn[turnPosition]
                turnPosition += 1
                if let completion = serve(slot, slabs: &slabs) { return completion }
                continue
            }
            return nil
        }
    }

    /// Notes what an event says of its socket.
    private mutating func note(_ event: epoll_event) -> Completion? {
        var event = unsafe event
        let token = Token(word: unsafe martlet_epoll_token(&event))
        if token.operation == .wake {
            martlet_eventfd_drain(eventDescriptor)
            return Completion(token: token, result: 0)
        }
        if token.operation == .link || token.operation == .interface { return Completion(token: token, result: 0) }
        let slot = Int(token.slot)
        guard unsafe watches[slot].descriptor >= 0, unsafe watches[slot].generation == token.generation else {
            return nil
        }
        let flags = Int(unsafe martlet_epoll_flags(&event))
        let ended = flags & (MARTLET_EPOLL_HANGUP | MARTLET_EPOLL_ERROR) != 0
        if flags & MARTLET_EPOLL_PEER_FINISHED != 0 || ended { unsafe watches[slot].isPeerFinished = true }
        if unsafe watches[slot].connects, flags & MARTLET_EPOLL_WRITABLE != 0 || ended {
            unsafe watches[slot].connects = false
            let error = martlet_socket_error(unsafe watches[slot].descriptor)
            known.append(
                Completion(
                    token: Token(.connect, slot: token.slot, generation: token.generation), result: -error))
        }
        if flags & (MARTLET_EPOLL_READABLE | MARTLET_EPOLL_PEER_FINISHED) != 0 || ended {
            unsafe watches[slot].isReadable = true
            if unsafe watches[slot].polls {
                known.append(
                    Completion(
                        token: Token(.readable, slot: token.slot, generation: token.generation), result: 0, more: true))
            }
            if unsafe watches[slot].receives || watches[slot].accepts, unsafe !watches[slot].isQueued {
                // This turn still: it joins those that are being served.
                unsafe watches[slot].isQueued = true
                turn.append(token.slot)
            }
        }
        if unsafe watches[slot].waitsToWrite, flags & MARTLET_EPOLL_WRITABLE != 0 || ended {
            unsafe watches[slot].waitsToWrite = false
            return Completion(token: Token(.writable, slot: token.slot, generation: token.generation), result: 0)
        }
        return nil
    }

    /// One receive or accept on a socket that is ready for it.
    private mutating func serve(_ slot: Int32, slabs: inout SlabPool) -> Completion? {
        let index = Int(slot)
        unsafe watches[index].isQueued = false
        let watch = unsafe watches[index]
        guard watch.descriptor >= 0, watch.isReadable else { return nil }
        if watch.accepts { return accept(slot, watch) }
        guard watch.receives else { return nil }
        let token = Token(.receive, slot: slot, generation: watch.generation)
        guard let slab = slabs.popFree() else {
            unsafe watches[index].receives = false
            return Completion(token: token, result: -ENOBUFS)
        }
        let count = unsafe martlet_receive(watch.descriptor, slabs.base(of: slab), slabs.slabCapacity)
        guard count > 0 else {
            slabs.release(slab)
            if count == -Int(EAGAIN) {
                unsafe watches[index].isReadable = false
                return nil
            }
            unsafe watches[index].receives = false
            return Completion(token: token, result: Int32(count))
        }
        if count < slabs.slabCapacity, !watch.isPeerFinished {
            unsafe watches[index].isReadable = false
        } else {
            enqueue(slot)
        }
        return Completion(token: token, result: Int32(count), slab: slab, more: true)
    }

    private mutating func accept(_ slot: Int32, _ watch: Watch) -> Completion? {
        let token = Token(.accept, slot: slot, generation: watch.generation)
        let result = martlet_accept(watch.descriptor, true)
        switch result {
        case -EAGAIN:
            unsafe watches[Int(slot)].isReadable = false
            return nil
        case -ECONNABORTED, -EINTR:
            enqueue(slot)
            return nil
        case ..<0:
            unsafe watches[Int(slot)].accepts = false
            return Completion(token: token, result: result)
        default:
            // More may wait, and those who came first are not kept from being served: the rest of them after this turn.
            unsafe watches[Int(slot)].isQueued = true
            turn.append(slot)
            return Completion(token: token, result: result, more: true)
        }
    }
}
