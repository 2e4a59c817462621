// What the connections of a stack share: time, timers, buffers, records, and the queues of those who owe or have news.

/// Bounds and times of the TCP of a stack.
struct TCPLimits: BitwiseCopyable, Sendable {
    var connections = 1024
    var ringMemory = 16 << 20
    var sentRecords = 16_384
    var ranges = 16_384
    /// Ranges out of order that one connection may hold.
    var rangesPerConnection: UInt16 = 4_096
    /// Bytes of a connection that may wait to be read, and to be acknowledged, once it has shown that it needs so many; and
    /// at its start. The first is what the window's scale is chosen for.
    var receiveLimit: UInt32 = 4 << 20
    var sendLimit: UInt32 = 4 << 20
    var initialReceiveLimit: UInt32 = 64 << 10
    var initialSendLimit: UInt32 = 64 << 10
    /// Of the largest packet on the interface: MTU − 40 or − 60.
    var mtu: UInt16 = 1500
    var delayedAck: Int64 = 40_000_000
    var timeWait: Int64 = 60_000_000_000
    /// R2 (RFC 9293 §3.8.3): a connection is given up after so many retransmissions, and so many nanoseconds (SHLD-11).
    var retries: UInt8 = 15
    var leastR2: Int64 = 100_000_000_000
    /// R2 of a SYN (MUST-23), and of a SYN-ACK, for which the count alone is enough.
    var synRetries: UInt8 = 6
    var synR2: Int64 = 180_000_000_000
    /// Bytes of a connection that the user has let go may wait so long for an acknowledgement, and its FIN-WAIT-2 may last.
    var orphanTimeout: Int64 = 100_000_000_000
    var finWait2: Int64 = 60_000_000_000
    /// Different settings that connections may have at the same time.
    var settings = 256
    var congestion = CongestionAlgorithm.cubic
    var ecn = ECNUse.whenAsked
    /// Whether algorithms that set no rate are paced too, by their window and round trip.
    var pacesAll = false
    /// Whether the link completes the checksums of what goes; and if it does, into how many segments it cuts a frame, 16 at most.
    var checksumPartial = false
    var segmentsPerFrame: UInt8 = 1
}

struct TCPCounters: BitwiseCopyable, Sendable {
    var segmentsIn: UInt64 = 0
    var segmentsOut: UInt64 = 0
    var fastPath: UInt64 = 0
    var slowPath: UInt64 = 0
    var malformed: UInt64 = 0
    var badChecksum: UInt64 = 0
    var noConnection: UInt64 = 0
    var resetsOut: UInt64 = 0
    var challengeAcks: UInt64 = 0
    var outOfWindow: UInt64 = 0
    var oldTimestamps: UInt64 = 0
    var noBuffer: UInt64 = 0
    /// Windows that did not grow, because the memory of all rings was short.
    var windowsHeldBack: UInt64 = 0
    var noRecord: UInt64 = 0
    /// ICMP errors that quote no segment in flight.
    var strangeICMP: UInt64 = 0
    var tooManyRanges: UInt64 = 0
    var retransmits: UInt64 = 0
    var timeouts: UInt64 = 0
    var tailProbes: UInt64 = 0
    var keepAliveProbes: UInt64 = 0
    /// Connections whose retransmissions reached R1.
    var suspectPaths: UInt64 = 0
    /// Connections that were reset because their time to linger was over.
    var lingersEnded: UInt64 = 0
    /// Challenge ACKs and answers to strays that were not sent, as there were too many.
    var answersWithheld: UInt64 = 0
    var fastRecoveries: UInt64 = 0
    /// Timeouts and fast recoveries that were for nothing, and have been taken back.
    var spuriousTimeouts: UInt64 = 0
    var spuriousRecoveries: UInt64 = 0
    /// Losses that a tail-loss probe has repaired.
    var tailRepairs: UInt64 = 0
    /// Marks of congestion received, and windows reduced because the peer echoed one.
    var marksIn: UInt64 = 0
    var echoesIn: UInt64 = 0
    /// Reports of duplicates (DSACK), received and sent.
    var duplicateReportsIn: UInt64 = 0
    var duplicateReportsOut: UInt64 = 0
    var listenOverflows: UInt64 = 0
    /// Settings refused, because there were too many different ones.
    var noSettings: UInt64 = 0
}

/// Shared by all connections of a stack, beside their TCBs.
struct Connections: ~Copyable {
    var now: Instant
    var timers: ConnectionTimers
    var rings: RingMemory
    var records: SentRecords
    var ranges: Ranges
    var settings: SettingsTable
    /// For the IP layer.
    var advice = NegativeAdvice()
    /// Those who owe: a SYN or RST, an ACK, data.
    var control: SlotQueue
    var acks: SlotQueue
    var data: SlotQueue
    /// What is owed to segments that belong to no connection, or that a connection does not believe.
    var resets = ResetQueue()
    /// Those with events.
    var news: SlotQueue
    /// Those whose full-size segments were lost, or have arrived.
    var fullSize: SlotQueue
    var counters = TCPCounters()
    let limits: TCPLimits

    init(limits: TCPLimits, now: Instant) {
        self.limits = limits
        self.now = now
        timers = ConnectionTimers(connections: limits.connections, now: now)
        rings = RingMemory(byteCount: limits.ringMemory)
        records = SentRecords(capacity: limits.sentRecords)
        ranges = Ranges(capacity: limits.ranges)
        settings = SettingsTable(capacity: limits.settings)
        control = SlotQueue(capacity: limits.connections)
        acks = SlotQueue(capacity: limits.connections)
        data = SlotQueue(capacity: limits.connections)
        news = SlotQueue(capacity: limits.connections)
        fullSize = SlotQueue(capacity: limits.connections)
    }

    /// Nanoseconds of a tick, about a millisecond. Counts of ticks wrap after 52 days, half of which still compare.
    static var tickLength: Int64 { 1 << 20 }
    static func tick(of instant: Instant) -> UInt32 { UInt32(truncatingIfNeeded: instant.nanoseconds >> 20) }
    var tick: UInt32 { Connections.tick(of: now) }

    /// From an earlier tick until now.
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
    mutating func owe(_ what: Owed, _ stack: inout Connections) {
        owed.formUnion(what)
        if what.contains(.ack) { stack.acks.append(slot) }
        if what.contains(.data) { stack.data.append(slot) }
        if !what.isDisjoint(with: [.control, .reset, .probe]) { stack.control.append(slot) }
    }

    mutating func tell(_ what: ConnectionEvents, _ stack: inout Connections) {
        events.formUnion(what)
        stack.news.append(slot)
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
    func timestamp(at now: Instant) -> UInt32 {
        UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000) &+ timestampOffset
    }

    /// RTT that a timestamp echo means, in microseconds; at least half a tick of its clock.
    @inline(__always)
    func sample(echo: UInt32, at now: Instant) -> UInt32 {
        let ticks = timestamp(at: now) &- echo
        return ticks < 1 << 20 ? max(ticks * 1000, 500) : 0
    }
}
