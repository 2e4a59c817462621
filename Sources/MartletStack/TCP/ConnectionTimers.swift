// The timers of all connections: four deadlines each, of which the wheel knows the first.
//
// Most timers never expire: each ACK moves the retransmission timer further away, and each segment sent cancels the delayed
// ACK. So that costs one store here. The wheel is told only of deadlines that are earlier than the one it has; when that
// comes and nothing is due any more, it is told of the next.

/// A connection's timers.
enum TCPTimer: Int32, BitwiseCopyable, CaseIterable {
    /// Retransmission, tail-loss probe, reordering or zero-window probe: one at a time.
    case retransmit = 0
    case delayedAck = 1
    /// TIME-WAIT, keep-alive, FIN-WAIT-2.
    case slow = 2
    /// Data may leave again.
    case pacing = 3
}

struct ConnectionTimers: ~Copyable {
    /// The deadlines of a connection; `distantFuture` for a timer that is not armed.
    struct Deadlines: BitwiseCopyable {
        var retransmit = Instant.distantFuture
        var delayedAck = Instant.distantFuture
        var slow = Instant.distantFuture
        var pacing = Instant.distantFuture
        /// What the wheel is armed for: not later than any of the four.
        var filed = Instant.distantFuture

        @inline(__always)
        subscript(timer: TCPTimer) -> Instant {
            get {
                switch timer {
                case .retransmit: retransmit
                case .delayedAck: delayedAck
                case .slow: slow
                case .pacing: pacing
                }
            }
            set {
                switch timer {
                case .retransmit: retransmit = newValue
                case .delayedAck: delayedAck = newValue
                case .slow: slow = newValue
                case .pacing: pacing = newValue
                }
            }
        }

        var earliest: Instant { min(retransmit, delayedAck, slow, pacing) }
    }

    private var wheel: TimerWheel
    private var table: PlainTable<Deadlines>
    /// The connection whose timers are being looked through, and which is next: each once, so that a timer that is armed
    /// for the past by what it does cannot stop the world.
    private var draining = UInt32.max
    private var nextKind: Int32 = 0

    init(connections: Int, now: Instant) {
        wheel = TimerWheel(capacity: connections, now: now)
        table = PlainTable(repeating: Deadlines(), count: connections)
    }

    /// An instant to sleep until: not later than the first deadline; nil if nothing is armed.
    var nextDeadline: Instant? { wheel.nextDeadline }

    @inline(__always)
    mutating func arm(_ timer: TCPTimer, of slot: UInt32, at deadline: Instant) {
        table[Int(slot)][timer] = deadline
        if deadline < table[Int(slot)].filed { file(slot, deadline) }
    }

    @inline(__always)
    mutating func cancel(_ timer: TCPTimer, of slot: UInt32) { table[Int(slot)][timer] = .distantFuture }

    @inline(__always)
    func isArmed(_ timer: TCPTimer, of slot: UInt32) -> Bool { table[Int(slot)][timer] != .distantFuture }

    mutating func cancelAll(of slot: UInt32) {
        if table[Int(slot)].filed != .distantFuture { wheel.cancel(Int32(slot)) }
        table[Int(slot)] = Deadlines()
    }

    @inline(never)
    private mutating func file(_ slot: UInt32, _ deadline: Instant) {
        table[Int(slot)].filed = deadline
        wheel.arm(Int32(slot), at: deadline)
    }

    mutating func advance(to now: Instant) { wheel.advance(to: now) }

    /// The next timer that is due, which is then no longer armed.
    mutating func popExpired() -> (slot: UInt32, timer: TCPTimer)? {
        while true {
            if draining == .max {
                guard let number = wheel.popExpired() else { return nil }
                draining = UInt32(number)
                nextKind = 0
                table[Int(draining)].filed = .distantFuture
            }
            let slot = draining
            while let timer = TCPTimer(rawValue: nextKind) {
                nextKind += 1
                if table[Int(slot)][timer] <= wheel.now {
                    table[Int(slot)][timer] = .distantFuture
                    return (slot, timer)
                }
            }
            draining = .max
            let earliest = table[Int(slot)].earliest
            if earliest < table[Int(slot)].filed { file(slot, earliest) }
        }
    }
}
