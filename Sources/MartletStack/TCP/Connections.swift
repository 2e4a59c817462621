// What the connections of a stack share: time, timers, buffers, records, and the queues of those who owe or have news.

/// Shared by all connections of a stack, beside their TCBs.
struct Connections: ~Copyable {
    var now: Instant
    var timers: ConnectionTimers
    var rings: RingMemory
    var records: SentRecords
    var ranges: Ranges
    var repairs: Repairs
    var settings: SettingsTable
    /// For the IP layer.
    var advice = NegativeAdvice()
    /// Those who owe: a SYN or RST, an ACK, data.
    var control: SlotQueue
    var acks: SlotQueue
    var data: SlotQueue
    /// What is owed to segments that belong to no connection, or that a connection does not believe.
    var answers = AnswerQueue()
    var fastOpen: FastOpen
    /// Those with events.
    var news: SlotQueue
    /// Those whose full-size segments were lost, or have arrived.
    var fullSize: SlotQueue
    /// Whether a path has ever turned out to be narrower than its link. Only then do connections ask when they begin.
    var knowsNarrowPaths = false
    var counters = TCPCounters()
    let limits: TCPLimits

    init(limits: TCPLimits, secret: SipHash.Key, now: Instant) {
        self.limits = limits
        self.now = now
        timers = ConnectionTimers(connections: limits.connections, now: now)
        rings = RingMemory(byteCount: limits.ringMemory)
        records = SentRecords(capacity: limits.sentRecords)
        ranges = Ranges(capacity: limits.ranges)
        repairs = Repairs(capacity: limits.connections)
        settings = SettingsTable(capacity: limits.settings)
        fastOpen = FastOpen(capacity: limits.fastOpenPeers, secret: secret)
        control = SlotQueue(capacity: limits.connections)
        acks = SlotQueue(capacity: limits.connections)
        data = SlotQueue(capacity: limits.connections)
        news = SlotQueue(capacity: limits.connections)
        fullSize = SlotQueue(capacity: limits.connections)
    }

    /// Nanoseconds of a tick, about a millisecond. Counts of ticks wrap after 52 days, half of which still compare.
    static var tickLength: Int64 { 1 << 20 }
    static func tick(of instant: Instant) -> UInt32 { UInt32(truncatingIfNeeded: instant.nanoseconds >> 20) }
    @inline(__always)
    var tick: UInt32 { Connections.tick(of: now) }

    /// Instants in units of 2³⁰ ns, about a second, for what is compared after weeks. They wrap after 146 years.
    @inline(__always)
    static func epoch(of instant: Instant) -> UInt32 { UInt32(truncatingIfNeeded: instant.nanoseconds >> 30) }

    /// Whether a timestamp that came then is too old to say anything (RFC 7323 §5.5): 24 days.
    @inline(__always)
    func isAged(_ epoch: UInt32) -> Bool { Int64(Self.epoch(of: now) &- epoch) << 30 >= 24 * 86_400 * 1_000_000_000 }

    /// The clock of timestamps: milliseconds, and what a connection adds to them (RFC 7323 §5.4).
    @inline(__always)
    static func timestamp(at now: Instant, offset: UInt32) -> UInt32 {
        UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000) &+ offset
    }

    /// From an earlier tick until now.
    @inline(__always)
    func nanoseconds(since earlier: UInt32) -> Int64 { Int64(tick &- earlier) << 20 }

    mutating func arm(_ timer: TCPTimer, of slot: UInt32, in nanoseconds: Int64) {
        timers.arm(timer, of: slot, at: now.advanced(byNanoseconds: nanoseconds))
    }

    mutating func cancel(_ timer: TCPTimer, of slot: UInt32) { timers.cancel(timer, of: slot) }

    @inline(__always)
    func isArmed(_ timer: TCPTimer, of slot: UInt32) -> Bool { timers.isArmed(timer, of: slot) }

    mutating func cancelAll(of slot: UInt32) { timers.cancelAll(of: slot) }
}

// MARK: - What a connection owes, and tells

extension TCB {
    @inline(__always)
    mutating func owe(_ what: Owed, _ stack: inout Connections) {
        owed.formUnion(what)
        if what.contains(.ack) { stack.acks.append(slot) }
        if what.contains(.data) { stack.data.append(slot) }
        if !what.isDisjoint(with: [.control, .reset, .probe]) { stack.control.append(slot) }
    }

    @inline(__always)
    mutating func tell(_ what: ConnectionEvents, _ stack: inout Connections) {
        // Who has news is in the queue until they are taken.
        if events.isEmpty { stack.news.append(slot) }
        events.formUnion(what)
    }

    /// Bytes of the sequence space in flight that the network still holds, as far as is known (RFC 6675's pipe).
    @inline(__always)
    var pipe: UInt32 {
        let flight = UInt32(truncatingIfNeeded: snd.nxt - snd.una)
        let gone = sackedBytes &+ lostBytes
        return flight > gone ? flight - gone : 0
    }

    /// The clock of the timestamps: milliseconds and the connection's offset (RFC 7323 §5.4).
    @inline(__always)
    func timestamp(at now: Instant) -> UInt32 { Connections.timestamp(at: now, offset: timestampOffset) }

    /// RTT that a timestamp echo means, in microseconds; at least half a tick of its clock.
    @inline(__always)
    func sample(echo: UInt32, at now: Instant) -> UInt32 {
        let ticks = timestamp(at: now) &- echo
        return ticks < 1 << 20 ? max(ticks * 1000, 500) : 0
    }
}
