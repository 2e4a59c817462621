// All of TCP of a stack: connections, who listens, and who gets what a segment or a timer brings.
//
// Takes segments whose IP header is gone, and writes packets with one; where those go is not known here. A segment finds its
// connection, or is a SYN for a listener, or is reset (RFC 9293 §3.10.7.1). What a connection does with it is in SegmentArrives.

/// The connections and listeners of a stack.
struct TCP: ~Copyable {
    var table: ConnectionTable
    var demultiplexer: Demultiplexer
    var connections: Connections
    /// The way back of the packet that is arriving, if it came by a source route that may be answered.
    var returnRoute: SourceRoute?
    var listeners: Listeners
    var synQueue: SYNQueue
    var cookies: SYNCookies
    var timeWaits: TupleTable<TimeWait>
    var ports: EphemeralPorts
    /// Nil if the stack is all that the host has.
    var share: StackShare?

    /// No connections yet, and this secret of 128 random bits.
    init(limits: TCPLimits, secret: SipHash.Key, now: Instant) {
        table = ConnectionTable(capacity: limits.connections)
        demultiplexer = Demultiplexer(capacity: limits.connections, secret: secret)
        var random = StackRandom(secret: secret)
        connections = Connections(limits: limits, secret: SipHash.Key(using: &random), now: now)
        listeners = Listeners(capacity: limits.listeners)
        synQueue = SYNQueue(capacity: limits.synQueue)
        cookies = SYNCookies(key: SipHash.Key(using: &random))
        timeWaits = TupleTable(capacity: limits.timeWaits)
        ports = EphemeralPorts(first: limits.firstPort, last: limits.lastPort)
    }

    var now: Instant { connections.now }
    var counters: TCPCounters { connections.counters }
    var connectionCount: Int { table.count }

    /// Whether a released connection waits for the ACK of its FIN.
    var isDelivering: Bool {
        (0..<UInt32(table.touched)).contains { table[$0].flags.contains(.released) && table[$0].state.owesFIN }
    }
    var ringBytesTaken: Int { connections.rings.bytesTaken }
    var sentRecordsFree: Int { connections.records.freeCount }
    var rangesFree: Int { connections.ranges.freeCount }
    var settingsCount: Int { connections.settings.count }
    /// Handshakes that wait for their last ACK.
    var halfOpenCount: Int { synQueue.count }
    var listenerCount: Int { listeners.count }

    /// The instant until which nothing happens by itself; nil if nothing ever does.
    var nextDeadline: Instant? {
        if hasOwed { return connections.now }
        let other = min(synQueue.nextDeadline, timeWaits.nextDeadline)
        guard let deadline = connections.timers.nextDeadline else { return other == .distantFuture ? nil : other }
        return min(deadline, other)
    }

    private var hasOwed: Bool {
        !connections.control.isEmpty || !connections.acks.isEmpty || !connections.data.isEmpty
            || !connections.answers.isEmpty || synQueue.isOwing
    }

    // MARK: In

    /// What became of a segment in a packet with nothing unusual about it.
    enum PlainArrival {
        case taken
        /// It is of no connection, and nothing has been done.
        case stranger
        /// It is to be looked at the long way, and nothing has been done.
        case unusual
    }

    /// A segment for one of our addresses, in a packet with nothing unusual about it.
    @inline(__always)
    mutating func plainArrives(
        _ packet: PlainPacket, _ segment: RawSpan, _ offload: FrameOffload, segmentSize: Int, at now: Instant
    ) -> PlainArrival {
        let ports = segment.uint32(at: 0)
        guard let slot = demultiplexer.connection(of: packet, ports, in: table) else { return .stranger }
        return plainArrives(segment, packet.pseudoSum, offload, segmentSize: segmentSize, of: slot, at: now)
    }

    /// A segment of a connection.
    @inline(__always)
    mutating func plainArrives(
        _ segment: RawSpan, _ pseudoSum: CarrySum, _ offload: FrameOffload, segmentSize: Int, of slot: UInt32,
        at now: Instant
    ) -> PlainArrival {
        connections.now = now
        switch table[slot].predictedArrives(segment, pseudoSum, offload, segmentSize: segmentSize, &connections) {
        case .taken: return .taken
        case .damaged:
            connections.counters.segmentsIn &+= 1
            connections.counters.badChecksum &+= 1
            return .taken
        case .unpredicted:
            return unpredictedArrives(segment, pseudoSum, offload, segmentSize: segmentSize, of: slot)
        }
    }

    @inline(never)
    private mutating func unpredictedArrives(
        _ packet: RawSpan, _ pseudoSum: CarrySum, _ offload: FrameOffload, segmentSize: Int, of slot: UInt32
    ) -> PlainArrival {
        let state = table[slot].state
        guard state != .closed, state != .timeWait, let header = TCPHeader(parsing: packet),
            var segment = Segment(header, packet)
        else { return .unusual }
        connections.counters.segmentsIn &+= 1
        segment.segmentSize = UInt16(clamping: segmentSize)
        if isIntact(packet, pseudoSum, offload) { deliver(segment, packet, to: slot) }
        return .taken
    }

    /// The same for a stranger, who can be one host. Returns false, and has done nothing, if there is something wrong with it.
    @inline(__always)
    mutating func plainStrangerArrives(
        _ packet: PlainPacket, _ bytes: RawSpan, _ offload: FrameOffload, segmentSize: Int, at now: Instant
    ) -> Bool {
        guard let header = TCPHeader(parsing: bytes), var segment = Segment(header, bytes) else { return false }
        connections.now = now
        connections.counters.segmentsIn &+= 1
        segment.segmentSize = UInt16(clamping: segmentSize)
        if isIntact(bytes, packet.pseudoSum, offload) {
            strangerArrives(segment, bytes, packet.ends(bytes.uint32(at: 0)))
        }
        return true
    }

    /// Whether a segment has the checksum that it should have. Counts those that do not.
    @inline(__always)
    private mutating func isIntact(_ packet: RawSpan, _ pseudoSum: CarrySum, _ offload: FrameOffload) -> Bool {
        if offload.contains(.checksumVerified) { return true }
        var sum = pseudoSum
        sum.add(UInt64(packet.onesComplementSum()))
        if sum.folded == 0xFFFF { return true }
        connections.counters.badChecksum &+= 1
        return false
    }

    /// Hands a segment to its connection.
    private mutating func deliver(_ segment: Segment, _ packet: RawSpan, to slot: UInt32) {
        let before = table[slot].state
        table[slot].segmentArrives(segment, packet, &connections)
        if table[slot].state != before { stateChanged(slot, from: before) }
    }

    /// A packet for one of our addresses, from its TCP header on; what its IP header said of congestion, and whether the link has verified its
    /// checksum, or merged it from segments of `segmentSize`.
    mutating func segmentArrives(
        _ packet: RawSpan, from source: IPAddress, to destination: IPAddress, isCongestionExperienced: Bool = false,
        isVerified: Bool = false, segmentSize: Int = 0, at now: Instant
    ) {
        connections.now = now
        guard let header = TCPHeader(parsing: packet), var segment = Segment(header, packet),
            !FourTuple.isMapped(source), !FourTuple.isMapped(destination)
        else {
            connections.counters.malformed &+= 1
            return
        }
        connections.counters.segmentsIn &+= 1
        segment.isCongestionExperienced = isCongestionExperienced
        segment.segmentSize = UInt16(clamping: segmentSize)
        let tuple = FourTuple(
            localAddress: destination, localPort: header.destinationPort, remoteAddress: source,
            remotePort: header.sourcePort)
        if !isVerified {
            var checksum = SegmentOut.pseudoHeader(tuple, packet.byteCount)
            checksum.add(packet)
            guard checksum.value == 0 else {
                connections.counters.badChecksum &+= 1
                return
            }
        }
        guard let slot = demultiplexer.connection(of: tuple, in: table) else {
            return strangerArrives(segment, packet, tuple)
        }
        let before = table[slot].state
        if before == .closed {
            // Its user has not let go of it yet, but to the peer it is nobody any more.
            demultiplexer.remove(slot, in: table)
            return strangerArrives(segment, packet, tuple)
        }
        if before == .timeWait, let listener = beginsAnew(segment, tuple, after: TimeWait(table[slot])) {
            let (hash, earlier) = (demultiplexer.hash(of: tuple), table[slot].snd.nxt)
            removeConnection(slot)
            connections.counters.timeWaitsReused &+= 1
            return synArrives(segment, packet, tuple, hash, listener, above: earlier)
        }
        deliver(segment, packet, to: slot)
    }

    /// What a change of state means outside of the connection.
    private mutating func stateChanged(_ slot: UInt32, from before: TCPState) {
        if before == .synReceived, !table[slot].flags.contains(.active) { endFastOpen(slot) }
        retire(slot)
    }

    // MARK: The path

    /// An ICMP error quotes a segment of ours that begins at `quoted`. Returns whether it is to be believed.
    mutating func icmpError(_ error: ICMPError, of tuple: FourTuple, quoted: SequenceNumber, at now: Instant) -> Bool {
        let hash = demultiplexer.hash(of: tuple)
        guard let slot = demultiplexer.find(tuple, hash: hash, in: table) else {
            // Of a handshake there is the SYN-ACK alone to be quoted.
            return synQueue.find(tuple, hash: hash).map { synQueue[$0].initialSend == quoted } ?? false
        }
        connections.now = now
        return table[slot].icmpError(error, quoted: quoted, &connections)
    }

    /// The path of a connection takes packets of `bytes` from now on.
    mutating func pathMTUChanged(to bytes: Int, of tuple: FourTuple, at now: Instant) {
        connections.knowsNarrowPaths = true
        guard let slot = demultiplexer.find(tuple, in: table) else { return }
        connections.now = now
        table[slot].pathMTUChanged(to: bytes, &connections)
    }

    /// What full-size segments have met, and of which connection; nil if there is no more to report.
    mutating func nextFullSizeReport() -> (FourTuple, FullSizeReport)? {
        while let slot = connections.fullSize.popFirst() {
            if let report = table[slot].takeFullSizeReport() { return (table[slot].tuple, report) }
        }
        return nil
    }

    // MARK: Time

    /// Lets all timers expire that are due at `now`.
    mutating func advance(to now: Instant) {
        connections.now = now
        connections.timers.advance(to: now)
        while let (slot, kind) = connections.timers.popExpired() {
            let before = table[slot].state
            table[slot].expired(kind, &connections)
            if table[slot].state != before { stateChanged(slot, from: before) }
        }
        advanceHandshakes()
        advanceTimeWaits()
    }

    // MARK: Events

    /// The next connection that has news, with all of its news; nil if none has.
    mutating func nextEvent() -> (ConnectionID, ConnectionEvents)? {
        while let slot = connections.news.popFirst() {
            // The user does not know it yet: it keeps its news until it is accepted.
            if table[slot].nextAccepted != Listeners.absent { continue }
            let events = table[slot].events
            table[slot].events = []
            if events.contains(.ended), table[slot].flags.contains(.released), table[slot].state == .closed {
                // It waits with its end until the reset that it owes has gone, and tells again then.
                if !table[slot].owed.contains(.reset) { removeConnection(slot) }
                continue
            }
            if events.isEmpty { continue }
            return (table.id(of: slot), events)
        }
        return nil
    }

    mutating func removeConnection(_ slot: UInt32) {
        connections.cancelAll(of: slot)
        if !table[slot].receiveRing.isNone { connections.rings.release(table[slot].receiveRing) }
        table[slot].receiveRing = .none
        if table[slot].state != .closed { table[slot].end(nil, &connections) }
        table[slot].releaseRepair(&connections)
        table[slot].events = []
        connections.settings.release(table[slot].settings)
        demultiplexer.remove(slot, in: table)
        table.release(slot)
    }

    /// A peer that the way to is suspect, for the IP layer to look for another (RFC 9293 §3.8.3); nil if there is none.
    mutating func takeSuspect() -> IPAddress? { connections.advice.popLast() }

    // MARK: User calls

    mutating func takeSettings(_ settings: TCPSettings) -> UInt16? {
        let number = connections.settings.take(settings)
        if number == nil { connections.counters.noSettings &+= 1 }
        return number
    }

    /// OPEN, active.
    mutating func connect(
        from local: IPAddress, to remote: IPAddress, port: UInt16, _ settings: TCPSettings
    ) throws(ConnectError) -> ConnectionID {
        let ends = FourTuple(localAddress: local, localPort: 0, remoteAddress: remote, remotePort: port)
        // MUST-46: nobody can be at such an address.
        guard ends.isRemoteOneHost else { throw .invalidAddress }
        guard !table.isFull else { throw .noConnection }
        guard let number = takeSettings(settings) else { throw .noSettings }
        defer { connections.settings.release(number) }
        guard let (tuple, hash, earlier) = chooseEnds(for: ends) else { throw .noPort }
        var numbers = demultiplexer.hash.numbers(tuple, at: connections.now)
        if let earlier, numbers.sequence <= earlier { numbers.sequence = earlier + 65_536 }
        guard let slot = open(tuple, hash, numbers, number, isActive: true) else { throw .noConnection }
        table[slot].state = .synSent
        table[slot].owe(.control, &connections)
        connections.arm(.retransmit, of: slot, in: Int64(table[slot].rtt.rto) * 1000)
        return table.id(of: slot)
    }

    /// A connection between `tuple`'s ends, of which `hash` is the hash, that starts with these numbers. Nil if the table is full.
    mutating func open(
        _ tuple: FourTuple, _ hash: UInt32, _ numbers: (sequence: SequenceNumber, timestampOffset: UInt32),
        _ settings: UInt16, isActive: Bool
    ) -> UInt32? {
        guard let slot = table.take() else { return nil }
        table[slot].tuple = tuple
        demultiplexer.insert(hash, slot)
        table[slot].setInitialSend(numbers.sequence)
        table[slot].timestampOffset = numbers.timestampOffset
        table[slot].flags = [.timestamps, .sack, .scaled]
        if isActive { table[slot].flags.insert(.active) }
        connections.settings.take(again: settings)
        table[slot].settings = settings
        table[slot].apply(connections.settings[settings], &connections)
        table[slot].receiveShift = connections.settings[settings].receiveShift(connections.limits)
        return slot
    }

    func state(of id: ConnectionID) -> TCPState { table.slot(of: id).map { table[$0].state } ?? .closed }

    func tuple(of id: ConnectionID) -> FourTuple? { table.slot(of: id).map { table[$0].tuple } }

    /// The ends of a connection, and its SND.NXT: for tests.
    func numbers(of id: ConnectionID) -> (FourTuple, SequenceNumber)? {
        table.slot(of: id).map { (table[$0].tuple, table[$0].snd.nxt) }
    }

    /// A field of a connection by its name, for scripts; nil if there is none of that name.
    func number(_ field: String, of id: ConnectionID) -> Int64? {
        guard let slot = table.slot(of: id) else { return nil }
        let tcb = table[slot]
        switch field {
        case "cwnd": return Int64(tcb.congestion.cwnd)
        case "ssthresh": return Int64(tcb.congestion.ssthresh)
        case "srtt": return Int64(tcb.rtt.srtt)
        case "rto": return Int64(tcb.rtt.rto)
        case "mss": return Int64(tcb.mss)
        case "snd_una": return Int64(tcb.snd.una - tcb.initialSend)
        case "snd_nxt": return Int64(tcb.snd.nxt - tcb.initialSend)
        case "rcv_nxt": return Int64(tcb.rcv.nxt - tcb.initialReceive)
        case "user_timeout": return Int64(tcb.userTimeout)
        case "retransmits": return Int64(tcb.statistics.retransmits)
        case "spurious_timeouts": return Int64(connections.counters.spuriousTimeouts)
        case "spurious_recoveries": return Int64(connections.counters.spuriousRecoveries)
        case "marks_in": return Int64(connections.counters.marksIn)
        case "echoes_in": return Int64(connections.counters.echoesIn)
        case "tail_repairs": return Int64(connections.counters.tailRepairs)
        default: return nil
        }
    }

    func error(of id: ConnectionID) -> TCPError? { table.slot(of: id).flatMap { table[$0].error } }

    func softError(of id: ConnectionID) -> TCPSoftError? { table.slot(of: id).flatMap { table[$0].softError } }

    mutating func send(_ id: ConnectionID, _ bytes: RawSpan) -> Int {
        guard let slot = table.slot(of: id) else { return 0 }
        return table[slot].send(bytes, &connections)
    }

    /// Sends bytes whose end is marked as urgent.
    mutating func sendUrgent(_ id: ConnectionID, _ bytes: RawSpan) -> Int {
        guard let slot = table.slot(of: id) else { return 0 }
        return table[slot].sendUrgent(bytes, &connections)
    }

    /// Bytes to be read until the peer's urgent mark; nil if there is no mark, or none that is still ahead.
    func urgentCount(of id: ConnectionID) -> Int? { table.slot(of: id).flatMap { table[$0].urgentCount(connections) } }

    func info(of id: ConnectionID) -> TCPInfo? { table.slot(of: id).map { table[$0].info(connections) } }

    mutating func receive(_ id: ConnectionID, _ body: (RawSpan) -> Int) -> Int {
        guard let slot = table.slot(of: id) else { return 0 }
        return table[slot].receive(&connections, body)
    }

    mutating func roomToSend(_ id: ConnectionID, _ count: Int) -> UnsafeMutableRawBufferPointer {
        guard let slot = table.slot(of: id) else { return unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0) }
        return unsafe table[slot].roomToSend(count, &connections)
    }

    mutating func commitSend(_ id: ConnectionID, _ count: Int) {
        if let slot = table.slot(of: id) { table[slot].commitSend(count, &connections) }
    }

    mutating func receive(_ id: ConnectionID, into destination: inout MutableRawSpan) -> Int {
        guard let slot = table.slot(of: id) else { return 0 }
        return table[slot].receive(into: &destination, &connections)
    }

    mutating func unread(_ id: ConnectionID) -> UnsafeRawBufferPointer {
        guard let slot = table.slot(of: id) else { return unsafe UnsafeRawBufferPointer(start: nil, count: 0) }
        return unsafe table[slot].unread(&connections)
    }

    mutating func consume(_ count: Int, of id: ConnectionID) {
        if let slot = table.slot(of: id) { table[slot].consume(count, &connections) }
    }

    mutating func finish(_ id: ConnectionID) {
        if let slot = table.slot(of: id) { table[slot].finish(&connections) }
    }

    mutating func abort(_ id: ConnectionID) {
        if let slot = table.slot(of: id) { table[slot].abort(&connections) }
    }

    func settings(of id: ConnectionID) -> TCPSettings? {
        table.slot(of: id).map { connections.settings[table[$0].settings] }
    }

    /// Changes the settings of a connection, from now on. Returns false if there is no room for them or no connection.
    mutating func set(_ settings: TCPSettings, of id: ConnectionID) -> Bool {
        guard let slot = table.slot(of: id) else { return false }
        var settings = settings
        settings.sourceRoute = connections.settings[table[slot].settings].sourceRoute
        guard let number = takeSettings(settings) else { return false }
        connections.settings.release(table[slot].settings)
        table[slot].settings = number
        if table[slot].state != .closed { table[slot].apply(settings, &connections) }
        return true
    }

    /// Lets go of a connection: it is closed if it is not, and its slot comes back when it has ended.
    mutating func release(_ id: ConnectionID) {
        guard let slot = table.slot(of: id) else { return }
        table[slot].release(&connections)
        if table[slot].state == .closed { table[slot].tell(.ended, &connections) }
        retire(slot)
    }

    // MARK: Out

    /// Adds what is owed to the burst, as far as it has room. Returns whether all is paid.
    mutating func egress(into burst: inout Burst, at now: Instant) -> Bool {
        connections.now = now
        // Those that open and end must not hold up those that are open: half of the room is theirs.
        let isShared = !connections.acks.isEmpty || !connections.data.isEmpty
        let reserved = isShared ? burst.room / 2 : 0
        let isPaid = payControl(into: &burst, leaving: reserved)
        // There is no frame left, then.
        if !isPaid, burst.room > reserved { return false }
        guard payConnections(into: &burst) else { return false }
        return isPaid || payControl(into: &burst, leaving: 0)
    }

    /// SYNs, resets and probes, and what strangers get; leaves room for `reserved` frames. Returns false if there is not enough for all.
    @inline(__always)
    private mutating func payControl(into burst: inout Burst, leaving reserved: Int) -> Bool {
        guard payStrangers(into: &burst, leaving: reserved) else { return false }
        while !connections.control.isEmpty {
            guard burst.room > reserved, let slot = connections.control.popFirst() else { return false }
            let owesReset = table[slot].owed.contains(.reset)
            guard table[slot].payControl(&burst, &connections) else {
                connections.control.append(slot)
                return false
            }
            // Only then has a connection waited with its end; others may have gone while they were queued.
            if owesReset { table[slot].tell(.ended, &connections) }
        }
        return true
    }

    /// Data and ACKs. Returns false if there is not enough room.
    @inline(__always)
    private mutating func payConnections(into burst: inout Burst) -> Bool {
        // Data carries the ACK that is owed, so data goes before the ACKs of those who have some: nobody is acknowledged twice.
        while let slot = connections.acks.popFirst() {
            if table[slot].owed.contains(.data), !table[slot].payData(&burst, &connections) {
                connections.acks.append(slot)
                return false
            }
            guard table[slot].payAck(&burst, &connections) else {
                connections.acks.append(slot)
                return false
            }
        }
        while let slot = connections.data.popFirst() {
            guard table[slot].owed.contains(.data) else { continue }
            guard table[slot].payData(&burst, &connections) else {
                connections.data.append(slot)
                return false
            }
        }
        return true
    }
}
