// TIME-WAIT, of connections that their users have let go: some 80 bytes each instead of a TCB (RFC 9293 §3.6.1).
//
// Hold RFC 1337 (a late reset does not end it) and RFC 6191 (a new connection between the same ends may take over) beside it. All
// wait equally long, so the oldest is first; it goes early if the table is full. A connection that its user still holds is
// in TIME-WAIT as a TCB, and lets the next one take over by the same rule.

struct TimeWait: BitwiseCopyable {
    /// SND.NXT, RCV.NXT and the right edge that was announced.
    var sendNext: SequenceNumber
    var receive: ReceiveSequence
    /// TS.Recent, and when it came, as ``Connections/epoch(of:)`` counts.
    var recentTimestamp: UInt32
    var recentTimestampAt: UInt32
    var timestampOffset: UInt32
    var answers = LatestAnswer()
    /// Its settings, if they say something of IP headers; else 0.
    var settings: UInt16
    var hasTimestamps: Bool
    var sendShift: UInt8
    var receiveShift: UInt8

    @inline(__always)
    init(_ tcb: borrowing TCB) {
        sendNext = tcb.snd.nxt
        receive = tcb.rcv
        recentTimestamp = tcb.recentTimestamp
        recentTimestampAt = tcb.recentTimestampAt
        timestampOffset = tcb.timestampOffset
        settings = tcb.flags.contains(.ownHeader) ? tcb.settings : 0
        hasTimestamps = tcb.flags.contains(.timestamps)
        sendShift = tcb.sendShift
        receiveShift = tcb.receiveShift
    }

    /// RFC 6191 §2: whether a SYN is of a connection that may take over, because nothing old can be taken for something of it.
    func admits(_ syn: Segment) -> Bool {
        // The number of the last byte, the FIN, is one below RCV.NXT.
        let isAhead = syn.sequence >= receive.nxt
        guard syn.options.hasTimestamps else { return isAhead }
        guard hasTimestamps else { return true }
        let newer = Int32(bitPattern: syn.options.timestampValue &- recentTimestamp)
        return newer > 0 || (newer == 0 && isAhead)
    }
}

extension TCP {
    /// How many connections are in TIME-WAIT without a TCB.
    var timeWaitCount: Int { timeWaits.count }

    /// A connection in TIME-WAIT whose user has let go gives its TCB back. What it owes the peer, an ACK, goes on its own.
    mutating func retire(_ slot: UInt32) {
        guard table[slot].state == .timeWait, table[slot].flags.contains(.released), timeWaits.capacity > 0 else {
            return
        }
        let tuple = table[slot].tuple
        let timeWait = TimeWait(table[slot])
        if table[slot].owed.contains(.ack) { connections.answers.append(answer(timeWait, tuple)) }
        connections.settings.take(again: timeWait.settings)
        removeConnection(slot)
        if timeWaits.isFull, let oldest = timeWaits.oldest() {
            connections.counters.timeWaitsRecycled &+= 1
            endTimeWait(oldest)
        }
        _ = timeWaits.insert(timeWait, tuple, hash: demultiplexer.hash(of: tuple), deadline: timeWaitDeadline)
    }

    private var timeWaitDeadline: Instant {
        connections.now.advanced(byNanoseconds: connections.limits.timeWaitNanoseconds)
    }

    mutating func advanceTimeWaits() {
        while let place = timeWaits.firstDue(at: connections.now) { endTimeWait(place) }
    }

    private mutating func endTimeWait(_ place: UInt32) {
        connections.settings.release(timeWaits[place].settings)
        timeWaits.remove(place)
    }

    private func answer(_ timeWait: TimeWait, _ tuple: FourTuple) -> Answer {
        let unit = 1 << Int(timeWait.receiveShift)
        var answer = Answer(
            tuple: tuple, sequence: timeWait.sendNext, acknowledgment: timeWait.receive.nxt, flags: [.ack],
            window: UInt16(clamping: (max(timeWait.receive.wnd, 0) + unit - 1) / unit))
        answer.settings = timeWait.settings
        if timeWait.hasTimestamps {
            answer.options.hasTimestamps = true
            answer.options.timestampValue = Connections.timestamp(
                at: connections.now, offset: timeWait.timestampOffset)
            answer.options.timestampEcho = timeWait.recentTimestamp
        }
        return answer
    }

    /// Whether a segment in TIME-WAIT begins a new connection (MAY-2): a SYN that somebody listens for, and that is newer than all.
    func beginsAnew(_ segment: Segment, _ tuple: FourTuple, after timeWait: TimeWait) -> UInt16? {
        guard segment.flags.contains(.syn), segment.flags.isDisjoint(with: [.ack, .rst]), timeWait.admits(segment),
            !synQueue.isFull
        else { return nil }
        return listeners.find(tuple.localAddress, port: tuple.localPort)
    }

    /// A segment for a connection in TIME-WAIT (RFC 9293 §3.10.7.4).
    mutating func timeWaitArrives(
        _ segment: Segment, _ packet: RawSpan, _ tuple: FourTuple, _ hash: UInt32, _ place: UInt32
    ) {
        let timeWait = timeWaits[place]
        if let listener = beginsAnew(segment, tuple, after: timeWait) {
            endTimeWait(place)
            connections.counters.timeWaitsReused &+= 1
            return synArrives(segment, packet, tuple, hash, listener, above: timeWait.sendNext)
        }
        // First: PAWS, and the sequence number. The peer's FIN again: our ACK was lost, and two MSL begin anew.
        let isOld =
            timeWait.hasTimestamps && segment.options.hasTimestamps
            && Int32(bitPattern: segment.options.timestampValue &- timeWait.recentTimestamp) < 0
            && !connections.isAged(timeWait.recentTimestampAt)
        // Second: a reset changes nothing (RFC 1337 §3, F1), but in the window it is challenged, unless it is right.
        if segment.flags.contains(.rst) {
            guard timeWait.receive.accepts(segment) else {
                connections.counters.outOfWindow &+= 1
                return
            }
            if segment.sequence != timeWait.receive.nxt { answer(place, isChallenge: true) }
            return
        }
        guard !isOld, timeWait.receive.accepts(segment) else {
            if isOld { connections.counters.oldTimestamps &+= 1 } else { connections.counters.outOfWindow &+= 1 }
            if segment.flags.contains(.fin), !isOld { timeWaits.move(place, deadline: timeWaitDeadline) }
            return answer(place, mustAnswer: segment.length > 0 && !segment.flags.contains(.syn))
        }
        // Fourth: a SYN that is not new enough is challenged. Fifth: so is an ACK of what was never sent, or long ago.
        if segment.flags.contains(.syn) { return answer(place, isChallenge: true) }
        guard segment.flags.contains(.ack) else { return }
        guard segment.acknowledgment <= timeWait.sendNext,
            segment.acknowledgment >= timeWait.sendNext - (65_535 << Int(timeWait.sendShift))
        else { return answer(place, isChallenge: true) }
        // Eighth: a FIN is acknowledged.
        if segment.flags.contains(.fin) { answer(place, mustAnswer: true) }
    }

    /// An ACK, but not more than one each half second: two that disagree must not answer each other for ever. A FIN or bytes are
    /// always answered: their sender waits.
    private mutating func answer(_ place: UInt32, isChallenge: Bool = false, mustAnswer: Bool = false) {
        guard mustAnswer || timeWaits[place].answers.mayAnswer(at: connections.tick) else {
            connections.counters.answersWithheld &+= 1
            return
        }
        if isChallenge { connections.counters.challengeAcks &+= 1 }
        connections.answers.append(answer(timeWaits[place], timeWaits.tuple(at: place)))
    }

    // MARK: Active OPEN

    /// The ends of a connection to `tuple`'s remote end, and their hash, with a local port that is free; or with that of one in
    /// TIME-WAIT that may be reopened, which ends, and SND.NXT of that.
    ///
    /// Ports to one remote end follow one another, so the first in TIME-WAIT is the one that has been there the longest.
    mutating func chooseEnds(for tuple: FourTuple) -> (FourTuple, hash: UInt32, above: SequenceNumber?)? {
        var candidate = tuple
        var hash: UInt32 = 0
        // Of several stacks of one host, the answers must come to this one.
        let share = share
        var place: UInt32?
        // RFC 6191 §2 asks the peer for a newer timestamp or a greater number. Ours are both, once the clock of the timestamps has
        // moved on: the number is chosen above SND.NXT. What is old and late cannot get past newer timestamps; where there are
        // none it gets a second to arrive.
        let end = connections.now.advanced(byNanoseconds: connections.limits.timeWaitNanoseconds)
        let latest = end.advanced(byNanoseconds: -connections.limits.reopenNanoseconds)
        let latestWithout = end.advanced(byNanoseconds: -1_000_000_000)
        let chosen = ports.next(for: tuple, hash: demultiplexer.hash) { port in
            candidate.localPort = port
            guard share?.isHome(of: candidate) ?? true else { return false }
            hash = demultiplexer.hash(of: candidate)
            guard !listeners.listens(at: candidate), demultiplexer.find(candidate, hash: hash, in: table) == nil,
                synQueue.find(candidate, hash: hash) == nil
            else { return false }
            place = timeWaits.find(candidate, hash: hash)
            guard let found = place else { return true }
            return timeWaits.deadline(at: found) <= (timeWaits[found].hasTimestamps ? latest : latestWithout)
        }
        guard chosen != nil else { return nil }
        guard let place else { return (candidate, hash, nil) }
        let earlier = timeWaits[place].sendNext
        endTimeWait(place)
        connections.counters.timeWaitsReused &+= 1
        return (candidate, hash, earlier)
    }
}
