// Passive OPEN: from a SYN to a connection that the user accepts (RFC 9293 §3.10.7.2 and SYN-RECEIVED of §3.10.7.4).
//
//                         ╭─ Fast Open cookie ─▶ TCB, to be accepted at once
//     SYN ─▶ a listener ──┼─ room ─▶ SYN queue ─ SYN-ACK ─▶ … ─ ACK ─▶ TCB, to be accepted
//                         ╰─ none ─▶ nothing ──── SYN-ACK ─▶ … ─ ACK with the cookie ─▶ TCB, to be accepted
//
// Who may wait is bounded three times: complete connections and handshakes by the backlog of their listener, and handshakes by the
// SYN queue. What a full accept queue, or a full table of connections, holds up is not lost: the ACK is not taken, the
// handshake stays as it was, and the peer's next segment completes it (as in Linux).

extension TCP {
    /// A segment for no connection (RFC 9293 §3.10.7.1 and .2): it may belong to a handshake or to TIME-WAIT, or be for a listener.
    mutating func strangerArrives(_ segment: Segment, _ packet: RawSpan, _ tuple: FourTuple) {
        // MUST-63: nobody can be at such an address, to call or to be answered.
        guard tuple.isRemoteOneHost else {
            connections.counters.noConnection &+= 1
            return
        }
        let hash = demultiplexer.hash(of: tuple)
        if let place = timeWaits.find(tuple, hash: hash) {
            return timeWaitArrives(segment, packet, tuple, hash, place)
        }
        if let place = synQueue.find(tuple, hash: hash) {
            if !synQueue[place].flags.contains(.fastOpen) {
                return halfOpenArrives(segment, packet, tuple, hash, place)
            }
            // What counted an earlier Fast Open request makes room for what its peer says now.
            if segment.flags.contains(.syn) { forget(place) }
        }
        if segment.flags.contains(.rst) { return }
        if let listener = listeners.find(tuple.localAddress, port: tuple.localPort) {
            if !segment.flags.contains(.ack) {
                // What has neither SYN nor ACK says nothing to a listener (§3.10.7.2, fourth).
                if segment.flags.contains(.syn) { synArrives(segment, packet, tuple, hash, listener) }
                return
            }
            if !segment.flags.contains(.syn), cookieArrives(segment, packet, tuple, hash, listener) { return }
        }
        connections.counters.noConnection &+= 1
        connections.answers.appendReset(to: segment, tuple)
    }

    // MARK: A SYN

    /// A SYN for a listener. `earlier` is SND.NXT of a connection between the same ends: our number is to be above it.
    mutating func synArrives(
        _ segment: Segment, _ packet: RawSpan, _ tuple: FourTuple, _ hash: UInt32, _ number: UInt16,
        above earlier: SequenceNumber? = nil
    ) {
        let now = connections.now
        let listener = listeners[number]
        guard listener.waiting < listener.backlog else {
            connections.counters.listenOverflows &+= 1
            return
        }
        guard let settings = settingsOfCall(listener.settings) else { return }
        defer { connections.settings.release(settings) }
        let numbers = demultiplexer.hash.numbers(tuple, at: now)
        var initialSend = numbers.sequence
        if let earlier, initialSend <= earlier { initialSend = earlier + 65_536 }
        var halfOpen = HalfOpen(
            segment, initialSend: initialSend, listener: number,
            receiveShift: connections.settings[settings].receiveShift(connections.limits), ecn: connections.ecn)
        halfOpen.settings = settings
        halfOpen.timestampOffset = numbers.timestampOffset
        if listener.mostFastOpens > 0, segment.options.fastOpenLength != 255,
            fastOpenArrives(segment, packet, tuple, hash, &halfOpen)
        {
            return
        }
        let isFull = listener.halfOpen >= listener.backlog || synQueue.isFull
        // A cookie chooses its own number: who comes after a connection of the same ends is not answered by one.
        if earlier == nil, listener.cookies == .always || (isFull && listener.cookies == .whenFull) {
            return sendCookie(&halfOpen, tuple, number)
        }
        guard !isFull, synQueue.insert(halfOpen, tuple, hash: hash, at: now) else {
            connections.counters.synsDropped &+= 1
            return
        }
        connections.settings.take(again: settings)
        listeners[number].halfOpen += 1
    }

    /// The settings for a SYN that came: its listener's, and the way back if it came by a route and the listener has none (MUST-52,
    /// MUST-53). Nil if there is no room for them. They are to be released.
    private mutating func settingsOfCall(_ number: UInt16) -> UInt16? {
        guard let returnRoute, connections.settings[number].sourceRoute == nil else {
            connections.settings.take(again: number)
            return number
        }
        var settings = connections.settings[number]
        settings.sourceRoute = returnRoute
        return takeSettings(settings)
    }

    /// Takes a handshake out of the queue.
    mutating func forget(_ place: UInt32) {
        let (listener, isFastOpen) = (synQueue[place].listener, synQueue[place].flags.contains(.fastOpen))
        if isFastOpen { listeners[listener].pendingFastOpens -= 1 } else { listeners[listener].halfOpen -= 1 }
        connections.settings.release(synQueue[place].settings)
        synQueue.remove(place)
    }

    // MARK: SYN-RECEIVED

    /// A segment for a handshake (RFC 9293 §3.10.7.4): the steps are those of any other state.
    private mutating func halfOpenArrives(
        _ segment: Segment, _ packet: RawSpan, _ tuple: FourTuple, _ hash: UInt32, _ place: UInt32
    ) {
        let halfOpen = synQueue[place]
        let settings = connections.settings[halfOpen.settings]
        let receive = halfOpen.receiveSequence(window: settings.firstWindow(connections.limits))
        // First: PAWS, and the sequence number.
        if halfOpen.flags.contains(.timestamps), segment.options.hasTimestamps, !segment.flags.contains(.rst),
            Int32(bitPattern: segment.options.timestampValue &- halfOpen.timestamp) < 0
        {
            connections.counters.oldTimestamps &+= 1
            return answer(place, tuple)
        }
        guard receive.accepts(segment) else {
            connections.counters.outOfWindow &+= 1
            if segment.flags.contains(.rst) { return }
            // The peer's SYN again: our SYN-ACK says what the RFC's ACK says, and is lost if the SYN comes again.
            if segment.sequence == halfOpen.initialReceive, segment.flags.contains(.syn), !segment.flags.contains(.ack)
            {
                return synQueue.owe(place)
            }
            return answer(place, tuple)
        }
        // Second: a reset returns to LISTEN (MUST-11), if it has just the number (RFC 5961 §3.2).
        if segment.flags.contains(.rst) {
            guard segment.sequence == receive.nxt else { return answer(place, tuple, isChallenge: true) }
            return forget(place)
        }
        // Fourth: a SYN is challenged (RFC 5961 §4.2).
        if segment.flags.contains(.syn) { return answer(place, tuple, isChallenge: true) }
        // Fifth: without an ACK there is nothing in it, and one of anything else is reset.
        guard segment.flags.contains(.ack) else { return }
        guard segment.acknowledgment == halfOpen.initialSend + 1 else {
            connections.counters.outOfWindow &+= 1
            return connections.answers.appendReset(to: segment, tuple)
        }
        let (sentAt, retransmissions) = (synQueue.sentAt(place), synQueue.retransmissions(at: place))
        guard complete(halfOpen, segment, packet, tuple, hash, sentAt: sentAt, retransmissions: retransmissions) else {
            return
        }
        forget(place)
    }

    /// An ACK for what is strange, but not too many.
    private mutating func answer(_ place: UInt32, _ tuple: FourTuple, isChallenge: Bool = false) {
        guard synQueue[place].answers.mayAnswer(at: connections.tick) else {
            connections.counters.answersWithheld &+= 1
            return
        }
        if isChallenge { connections.counters.challengeAcks &+= 1 }
        connections.answers.append(halfOpenAck(synQueue[place], tuple))
    }

    // MARK: Cookies

    private mutating func sendCookie(_ halfOpen: inout HalfOpen, _ tuple: FourTuple, _ number: UInt16) {
        cookies.make(&halfOpen, tuple, at: connections.now)
        var answer = synAck(halfOpen, tuple)
        if halfOpen.flags.contains(.timestamps) {
            answer.options.timestampValue = cookies.timestamp(answer.options.timestampValue, of: halfOpen)
        }
        guard connections.answers.append(answer) else {
            connections.counters.synsDropped &+= 1
            return
        }
        listeners[number].cookieMinute = SYNCookies.minute(connections.now)
        connections.counters.synCookiesOut &+= 1
    }

    /// An ACK that may bring a cookie back. Returns false if it does not, and is to be reset.
    private mutating func cookieArrives(
        _ segment: Segment, _ packet: RawSpan, _ tuple: FourTuple, _ hash: UInt32, _ number: UInt16
    ) -> Bool {
        guard listeners[number].hasCookies(at: connections.now) else { return false }
        // By the way that the ACK came: a cookie knows none.
        guard let settings = settingsOfCall(listeners[number].settings) else { return true }
        defer { connections.settings.release(settings) }
        let receiveShift = connections.settings[settings].receiveShift(connections.limits)
        switch cookies.check(segment, tuple, listener: number, receiveShift: receiveShift, at: connections.now)
        {
        case .forged:
            connections.counters.synCookiesForged &+= 1
            return false
        case .ahead: return true
        case .complete(let found):
            var (halfOpen, segment) = (found, segment)
            halfOpen.settings = settings
            halfOpen.timestampOffset = demultiplexer.hash.timestampOffset(tuple)
            // The clock that it echoes has been cut, and would measure a round trip that is too long.
            segment.options.timestampEcho = 0
            if complete(halfOpen, segment, packet, tuple, hash, sentAt: nil, retransmissions: 0) {
                connections.counters.synCookiesIn &+= 1
            }
            return true
        }
    }

    // MARK: The last ACK

    /// The handshake is complete: makes the connection, and lets `segment` arrive at it. Returns false if there is no room for one.
    /// `sentAt` is when the SYN-ACK went, if that is known.
    private mutating func complete(
        _ halfOpen: HalfOpen, _ segment: Segment, _ packet: RawSpan, _ tuple: FourTuple, _ hash: UInt32,
        sentAt: Instant?, retransmissions: UInt8
    ) -> Bool {
        let number = halfOpen.listener
        guard listeners[number].waiting < listeners[number].backlog,
            let slot = openPassively(halfOpen, tuple, hash, sentAt: sentAt, retransmissions: retransmissions)
        else {
            connections.counters.listenOverflows &+= 1
            return false
        }
        table[slot].segmentArrives(segment, packet, &connections)
        assert(table[slot].state != .synReceived, "what completes a handshake has been looked at before")
        listeners.append(slot, to: number, &table)
        return true
    }

    /// A TCB in SYN-RECEIVED, as if it had answered the SYN itself. Nil if there is none.
    mutating func openPassively(
        _ halfOpen: HalfOpen, _ tuple: FourTuple, _ hash: UInt32, sentAt: Instant?, retransmissions: UInt8
    ) -> UInt32? {
        let numbers = (halfOpen.initialSend, halfOpen.timestampOffset)
        guard let slot = open(tuple, hash, numbers, halfOpen.settings, isActive: false) else { return nil }
        table[slot].snd.nxt = halfOpen.initialSend + 1
        table[slot].receiveShift = halfOpen.receiveShift
        table[slot].state = .synReceived
        table[slot].synArrives(halfOpen.syn, &connections)
        table[slot].backoff = retransmissions
        if retransmissions > 0 { table[slot].flags.insert(.unmarked) }
        // Not a round trip of nothing: see `becomeEstablished`.
        table[slot].rack.sentAt = sentAt ?? .distantFuture
        table[slot].statistics.segmentsOut = 1 + UInt32(retransmissions)
        return slot
    }

    // MARK: Time and egress

    /// SYN-ACKs that nobody has answered go again, or are given up.
    mutating func advanceHandshakes() {
        let limits = connections.limits
        while let place = synQueue.firstDue(at: connections.now) {
            let halfOpen = synQueue[place]
            let number = synQueue.retransmissions(at: place)
            let timeout = Int64(connections.settings[halfOpen.settings].userTimeoutSeconds)
            let isOver =
                timeout > 0 ? SYNQueue.waited(number) >= timeout * 1_000_000_000 : number >= limits.synRetries
            // It says nothing of the way that nobody answers: there may be nobody. So R1 (MUST-20) is not for a handshake.
            if halfOpen.flags.contains(.fastOpen) || isOver || number == TupleTable<HalfOpen>.queueCount - 1 {
                if !halfOpen.flags.contains(.fastOpen) { connections.counters.handshakesExpired &+= 1 }
                forget(place)
            } else {
                connections.counters.retransmits &+= 1
                synQueue.retransmit(place, at: connections.now)
            }
        }
    }

    /// Adds what nobody owes, and the SYN-ACKs of handshakes, and leaves room for `reserved` frames. Returns false if there is not
    /// enough for all.
    mutating func payStrangers(into burst: inout Burst, leaving reserved: Int) -> Bool {
        while !connections.answers.isEmpty {
            guard burst.room > reserved else { return false }
            guard connections.answers.first.write(into: &burst, connections.settings) else { return false }
            if connections.answers.first.flags.contains(.rst) { connections.counters.resetsOut &+= 1 }
            connections.counters.segmentsOut &+= 1
            connections.answers.removeFirst()
        }
        while burst.room > reserved, let place = synQueue.popOwing() {
            var answer = synAck(synQueue[place], synQueue.tuple(at: place))
            // What drops a SYN-ACK may do so for its flags: one that goes again does not agree (RFC 3168 §6.1.1).
            if synQueue.retransmissions(at: place) > 0 { answer.flags.remove(.ece) }
            guard answer.write(into: &burst, connections.settings) else {
                synQueue.owe(place)
                return false
            }
            connections.counters.segmentsOut &+= 1
        }
        return !synQueue.isOwing
    }
}

// MARK: - User calls

extension TCP {
    /// OPEN, passive: on an address of ours, on all of one version by `0.0.0.0` or `::`, or on all by nil. Port 0 is any that nobody
    /// listens on.
    mutating func listen(
        on address: IPAddress?, port: UInt16, _ settings: ListenerSettings
    ) throws(ListenError) -> ListenerID {
        let chosen = port > 0 ? port : freePortToListen(on: address)
        guard let chosen, !listeners.contains(address, port: chosen) else { throw .inUse }
        guard let number = takeSettings(settings.connection) else { throw .noSettings }
        guard let id = listeners.open(address, port: chosen, settings, number: number) else {
            connections.settings.release(number)
            throw .noListener
        }
        return id
    }

    private mutating func freePortToListen(on address: IPAddress?) -> UInt16? {
        let any = FourTuple(
            localAddress: address ?? .v6(.any), localPort: 0, remoteAddress: address ?? .v6(.any), remotePort: 0)
        return ports.next(for: any, hash: demultiplexer.hash) { !listeners.contains(address, port: $0) }
    }

    /// The address and port of a listener; nil if it is closed.
    func address(of id: ListenerID) -> (IPAddress?, UInt16)? {
        listeners.number(of: id).map { (listeners[$0].address, listeners[$0].port) }
    }

    /// Gives settings to the connections that a listener accepts from now on. Returns false if there is no room for them, or no
    /// such listener.
    mutating func set(_ settings: TCPSettings, ofListener id: ListenerID) -> Bool {
        guard let listener = listeners.number(of: id), let number = takeSettings(settings) else { return false }
        connections.settings.release(listeners[listener].settings)
        listeners[listener].settings = number
        return true
    }

    /// A listener that connections have come to since it was last told of: to be asked until it says nil, once a round, and then
    /// each listener for its connections.
    mutating func nextListener() -> ListenerID? { listeners.nextWithNews() }

    /// A connection that a listener has completed, the oldest first; nil if there is none. Its events come after this.
    mutating func accept(_ id: ListenerID) -> ConnectionID? {
        listeners.number(of: id).flatMap { popUnaccepted(of: $0) }.map { table.id(of: $0) }
    }

    /// Takes the oldest connection that nobody has accepted out of a listener's queue. What it had to tell was passed over until now.
    private mutating func popUnaccepted(of number: UInt16) -> UInt32? {
        guard let slot = listeners.popFirst(of: number, &table) else { return nil }
        if !table[slot].events.isEmpty { connections.news.append(slot) }
        return slot
    }

    /// Ends a listener. Handshakes are forgotten, so that the peer's next segment is reset; connections that nobody has accepted are
    /// reset now. Those that were accepted are not touched.
    mutating func close(_ id: ListenerID) {
        guard let number = listeners.number(of: id) else { return }
        var place: UInt32 = 0
        while let next = synQueue.first(from: place, of: number) {
            forget(next)
            place = next + 1
        }
        while let slot = popUnaccepted(of: number) {
            table[slot].flags.insert(.released)
            table[slot].abort(&connections)
            table[slot].tell(.ended, &connections)
        }
        connections.settings.release(listeners[number].settings)
        listeners.close(number)
    }
}
