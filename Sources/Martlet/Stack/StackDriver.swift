// The third driver: our own stack, which completes the same operations as io_uring and epoll do. What is above a driver
// exists once, and so each effect on a connection is the same over the kernel's TCP and ours.
//
//     links ─▶ ingress ─▶ events ─▶ marks ─▶ completions ─▶ the transport ─▶ tasks
//                                                                             │
//     links ◀─ egress ◀────────────── the stack's byte rings ◀─ send ◀────────┘
//
// Bytes stay in the stack's ring until the program reads them, and are read from there: an event of bytes is a completion that
// brings none. Only behind the last ones, when a peer has finished or a connection has failed, is the ring emptied into buffers
// as a kernel's socket would be: a mark says so, and serving does it when a receive is armed and there is a buffer. What nobody
// reads stays in the ring, and so the peer's window closes.

internal import CMartlet
internal import Glibc
internal import MartletStack

@safe struct StackDriver: ~Copyable {
    var stack: Stack
    var interfaces: StackLinks
    var connections: StackSocketTable<ConnectionID>
    var listeners: StackSocketTable<ListenerID>
    var datagrams: StackSocketTable<SocketID>
    /// What the next send sends.
    let pieces: UnsafeMutablePointer<iovec>

    /// Ports of listeners that are closed, and whose connections are open: their frames come to this core still.
    var lingeringPorts: [UInt16] = []
    /// Whom to tell of the interfaces' addresses: on one core alone, as all have the same.
    private let interfaceChanged: ((InterfaceEvent) -> Void)?

    /// Sockets to be served in this turn, and in the next.
    private var turn: [Int32] = []
    private var turnPosition = 0
    private var ready: [Int32] = []
    /// Completions that were known at once.
    private var known: [Completion] = []
    private var knownPosition = 0

    init(
        _ interfaces: consuming StackLinks, limits: StackLimits, pool: borrowing FramePool, secret: StackSecret,
        now: Instant, interfaceChanged: ((InterfaceEvent) -> Void)?
    ) {
        self.interfaceChanged = interfaceChanged
        let share = interfaces.exchange.map { StackShare(place: $0.index, of: $0.cores.spread) }
        stack = Stack(
            interfaces.configurations, limits: limits, pool: pool, secret: secret, share: share, now: now)
        self.interfaces = interfaces
        connections = StackSocketTable(capacity: limits.tcp.connections)
        listeners = StackSocketTable(capacity: limits.tcp.listeners)
        datagrams = StackSocketTable(capacity: limits.udp.sockets)
        unsafe pieces = .allocate(capacity: IOUringDriver.piecesPerSend)
        turn.reserveCapacity(1024)
        ready.reserveCapacity(1024)
        known.reserveCapacity(1024)
    }

    deinit { unsafe pieces.deallocate() }

    // MARK: The round

    /// Takes in what the links have received, and lets the stack's timers expire.
    mutating func beginRound(at now: Instant) {
        interfaces.receive(into: &stack, at: now)
        stack.advance(to: now)
        if turnPosition == turn.count {
            turn.removeAll(keepingCapacity: true)
            turnPosition = 0
            swap(&turn, &ready)
        }
    }

    /// Lets out what the stack owes.
    mutating func endRound(at now: Instant) { interfaces.transmit(from: &stack, at: now) }

    /// Whether a round has something to do at once.
    func isBusy(at now: Instant) -> Bool {
        if !ready.isEmpty || turnPosition < turn.count || knownPosition < known.count || interfaces.isBusy {
            return true
        }
        return stack.nextDeadline.map { $0 <= now } ?? false
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
            if let event = stack.nextEvent() {
                if let completion = note(event) { return completion }
                continue
            }
            guard turnPosition < turn.count else { return nil }
            turnPosition += 1
            if let completion = serve(turn[turnPosition - 1], slabs: &slabs) { return completion }
        }
    }

    // MARK: Events

    private mutating func note(_ event: StackEvent) -> Completion? {
        switch event {
        case .connection(let id, let events): return note(id, events)
        case .listener(let id):
            guard let place = listeners.place(of: id) else { return nil }
            listeners[place].flags.insert(.isReadable)
            serveSoon(listener: place)
        case .socket(let id, let events):
            let place = id.index
            guard datagrams.isOpen(place), datagrams[place].id == id else { return nil }
            guard !events.isDisjoint(with: [.readable, .error]) else { return nil }
            if datagrams[place].flags.contains(.isArmed) {
                return Completion(token: datagrams[place].token(.readable), result: 0, more: true)
            }
            // Nobody waits for it yet. Whoever comes to is told.
            datagrams[place].flags.insert(.isReadable)
        case .interface(let event): interfaceChanged?(event)
        }
        return nil
    }

    private mutating func note(_ id: ConnectionID, _ events: ConnectionEvents) -> Completion? {
        let place = id.index
        guard connections.isOpen(place), connections[place].id == id else { return nil }
        var flags = connections[place].flags
        // Most events are that bytes have come.
        if events == .readable, flags.contains(.isArmed), flags.isDisjoint(with: [.isAtEnd, .isReadable]) {
            return Completion(token: connections[place].token(.receive), result: 0, more: true)
        }
        if !events.isDisjoint(with: [.finished, .ended]) { flags.insert(.isAtEnd) }
        if !events.isDisjoint(with: [.readable, .finished, .ended]) { flags.insert(.isReadable) }
        if flags.contains(.connects), !events.isDisjoint(with: [.established, .ended]) {
            flags.remove(.connects)
            let result = events.contains(.established) ? 0 : -failure(of: id)
            known.append(Completion(token: connections[place].token(.connect), result: result))
        }
        if flags.contains(.waitsToWrite), !events.isDisjoint(with: [.writable, .ended]) {
            flags.remove(.waitsToWrite)
            known.append(Completion(token: connections[place].token(.writable), result: 0))
        }
        if flags.isSuperset(of: [.isArmed, .isReadable]), !flags.contains(.isQueued) {
            flags.insert(.isQueued)
            // This turn still: it joins those that are being served.
            turn.append(StackDescriptor(.connection, place).number)
        }
        connections[place].flags = flags
        return nil
    }

    /// Why a connection has ended, as errno; 0 if it has not, or both sides have finished.
    func failure(of id: ConnectionID) -> Int32 {
        switch stack.error(of: id) {
        case nil: 0
        case .refused: ECONNREFUSED
        case .reset: ECONNRESET
        case .timedOut: ETIMEDOUT
        case .aborted: ECONNABORTED
        case .unreachable: EHOSTUNREACH
        }
    }

    // MARK: Serving

    private mutating func serveSoon(connection place: Int) {
        guard connections[place].flags.isSuperset(of: [.isArmed, .isReadable]),
            !connections[place].flags.contains(.isQueued)
        else { return }
        connections[place].flags.insert(.isQueued)
        ready.append(StackDescriptor(.connection, place).number)
    }

    private mutating func serveSoon(listener place: Int) {
        guard listeners[place].flags.isSuperset(of: [.isArmed, .isReadable]),
            !listeners[place].flags.contains(.isQueued)
        else { return }
        listeners[place].flags.insert(.isQueued)
        turn.append(StackDescriptor(.listener, place).number)
    }

    private mutating func serve(_ number: Int32, slabs: inout SlabPool) -> Completion? {
        guard let descriptor = StackDescriptor(number) else { return nil }
        return descriptor.kind == .listener ? accept(descriptor.place) : receive(descriptor.place, &slabs)
    }

    private mutating func receive(_ place: Int, _ slabs: inout SlabPool) -> Completion? {
        guard connections.isOpen(place), connections[place].flags.contains(.isQueued) else { return nil }
        connections[place].flags.remove(.isQueued)
        guard connections[place].flags.isSuperset(of: [.isArmed, .isReadable]) else { return nil }
        let token = connections[place].token(.receive)
        guard let slab = slabs.popFree() else {
            connections[place].flags.remove(.isArmed)
            return Completion(token: token, result: -ENOBUFS)
        }
        let capacity = slabs.slabCapacity
        let count = unsafe receive(into: slabs.base(of: slab), capacity: capacity, connections[place].id)
        if count > 0 {
            // Whoever has filled a buffer may have more, and whoever is at the end has that to tell.
            if count < capacity, !connections[place].flags.contains(.isAtEnd) {
                connections[place].flags.remove(.isReadable)
            } else {
                serveSoon(connection: place)
            }
            return Completion(token: token, result: Int32(count), slab: slab, more: true)
        }
        slabs.release(slab)
        guard connections[place].flags.contains(.isAtEnd) else {
            connections[place].flags.remove(.isReadable)
            return nil
        }
        connections[place].flags.remove(.isArmed)
        return Completion(token: token, result: -failure(of: connections[place].id))
    }

    private mutating func accept(_ place: Int) -> Completion? {
        guard listeners.isOpen(place), listeners[place].flags.contains(.isQueued) else { return nil }
        listeners[place].flags.remove(.isQueued)
        guard listeners[place].flags.isSuperset(of: [.isArmed, .isReadable]) else { return nil }
        let accepted = acceptNow(StackDescriptor(.listener, place))
        guard accepted >= 0 else {
            listeners[place].flags.remove(.isReadable)
            return nil
        }
        serveSoon(listener: place)
        return Completion(token: listeners[place].token(.accept), result: accepted, more: true)
    }

    // MARK: Operations

    mutating func receive(_ token: Token, _ descriptor: StackDescriptor) {
        arm(&connections[descriptor.place], token)
        serveSoon(connection: descriptor.place)
    }

    mutating func accept(_ token: Token, _ descriptor: StackDescriptor) {
        arm(&listeners[descriptor.place], token)
        listeners[descriptor.place].flags.insert(.isReadable)
        serveSoon(listener: descriptor.place)
    }

    mutating func pollReadable(_ token: Token, _ descriptor: StackDescriptor) {
        arm(&datagrams[descriptor.place], token)
        if datagrams[descriptor.place].flags.remove(.isReadable) != nil {
            known.append(Completion(token: token, result: 0, more: true))
        }
    }

    private func arm<ID>(_ socket: inout StackSocket<ID>, _ token: Token) {
        (socket.slot, socket.generation) = (token.slot, token.generation)
        socket.flags.insert(.isArmed)
    }

    /// Completes once the handshake of a connection that ``connect(to:_:)`` has opened is done, or has failed.
    mutating func connect(_ token: Token, _ descriptor: StackDescriptor) {
        let place = descriptor.place
        (connections[place].slot, connections[place].generation) = (token.slot, token.generation)
        connections[place].flags.insert(.connects)
    }

    mutating func pollWritable(_ token: Token, _ descriptor: StackDescriptor) {
        let place = descriptor.place
        (connections[place].slot, connections[place].generation) = (token.slot, token.generation)
        if connections[place].flags.contains(.isAtEnd), stack.error(of: connections[place].id) != nil {
            known.append(Completion(token: token, result: 0))
        } else {
            connections[place].flags.insert(.waitsToWrite)
        }
    }

    /// Copies received bytes, as many as there are or fit, to `base`. Returns how many that is.
    private mutating func receive(into base: UnsafeMutableRawPointer, capacity: Int, _ id: ConnectionID) -> Int {
        var buffer = unsafe MutableRawSpan(_unsafeStart: base, byteCount: capacity)
        return stack.receive(id, into: &buffer)
    }

    /// The same, for whoever reads before there is a completion of it.
    mutating func receive(into base: UnsafeMutableRawPointer, capacity: Int, _ descriptor: StackDescriptor) -> Int {
        unsafe receive(into: base, capacity: capacity, connections[descriptor.place].id)
    }

    /// Where received bytes lie, in one run, until they are consumed or the connection is closed.
    mutating func unread(_ descriptor: StackDescriptor) -> UnsafeRawBufferPointer {
        unsafe stack.unread(connections[descriptor.place].id)
    }

    mutating func consume(_ count: Int, _ descriptor: StackDescriptor) {
        stack.consume(count, of: connections[descriptor.place].id)
    }

    /// Copies into the stack's ring what it has room for. Returns how many bytes that is.
    mutating func send(_ descriptor: StackDescriptor, _ bytes: RawSpan) -> Int {
        stack.send(connections[descriptor.place].id, bytes)
    }

    /// Where `count` bytes may be written into the stack's ring, in one run; empty if there is none. ``commitSend(_:_:)`` follows.
    mutating func roomToSend(_ count: Int, _ descriptor: StackDescriptor) -> UnsafeMutableRawBufferPointer {
        unsafe stack.roomToSend(connections[descriptor.place].id, count)
    }

    mutating func commitSend(_ count: Int, _ descriptor: StackDescriptor) {
        stack.commitSend(connections[descriptor.place].id, count)
    }

    /// Sends the first `count` pieces, as far as the stack has room.
    mutating func send(_ token: Token, _ descriptor: StackDescriptor, pieces count: Int) -> SendAttempt {
        let id = connections[descriptor.place].id
        var sent = 0
        for index in 0..<count {
            let piece = unsafe pieces[index]
            let bytes = unsafe RawSpan(_unsafeStart: piece.iov_base, byteCount: piece.iov_len)
            let taken = stack.send(id, bytes)
            sent += taken
            if taken < bytes.byteCount { break }
        }
        if sent > 0 { return .done(sent) }
        let failure = failure(of: id)
        if failure != 0 { return .failed(-failure) }
        if !stack.state(of: id).maySend { return .failed(-EPIPE) }
        pollWritable(Token(.writable, slot: token.slot, generation: token.generation), descriptor)
        return .blocked
    }

    /// Ends an operation. Its last completion still comes.
    mutating func cancel(_ target: Token, _ descriptor: StackDescriptor) {
        let place = descriptor.place
        let operation: Operation = target.operation == .send ? .writable : target.operation
        let wasHeld =
            switch operation {
            case .receive: Self.take(.isArmed, &connections[place].flags)
            case .connect: Self.take(.connects, &connections[place].flags)
            case .writable: Self.take(.waitsToWrite, &connections[place].flags)
            case .accept: Self.take(.isArmed, &listeners[place].flags)
            case .readable: Self.take(.isArmed, &datagrams[place].flags)
            case .discard, .wake, .link, .interface, .send: false
            }
        guard wasHeld else { return }
        known.append(
            Completion(
                token: Token(operation, slot: target.slot, generation: target.generation), result: -ECANCELED))
    }

    private static func take(_ flag: StackSocketFlags, _ flags: inout StackSocketFlags) -> Bool {
        flags.remove(flag) != nil
    }
}

extension StackSocketTable where ID == ListenerID {
    /// The place of a listener.
    func place(of id: ListenerID) -> Int? {
        let place = id.index
        return isOpen(place) && self[place].id == id ? place : nil
    }
}
