// A timer wheel too simple to be wrong, and the real one run beside it.

import MartletStack
import Testing

/// What a wheel promises, as a list of timers sorted on demand.
struct TimerWheelModel {
    struct Timer {
        var deadline: Instant
        /// The deadline as it counts: one for the past counts as the instant at which it was armed.
        var effective: Instant
        var hasExpired = false
    }

    var now: Instant
    var timers: [Int32: Timer] = [:]

    mutating func arm(_ timer: Int32, at deadline: Instant) {
        timers[timer] = Timer(deadline: deadline, effective: max(deadline, now))
    }

    mutating func cancel(_ timer: Int32) {
        timers[timer] = nil
    }

    mutating func advance(to instant: Instant) {
        now = max(now, instant)
        for timer in timers.keys where timers[timer]!.effective <= now { timers[timer]!.hasExpired = true }
    }

    /// The expired timers in the order of their deadlines, the index breaking ties.
    var expired: [(timer: Int32, effective: Instant)] {
        timers.filter { $0.value.hasExpired }.map { ($0.key, $0.value.effective) }
            .sorted { ($0.1, $0.0) < ($1.1, $1.0) }
    }

    var earliestDeadline: Instant? {
        timers.values.map(\.effective).min()
    }
}

/// The real wheel and the model, given the same commands; each step is checked.
struct TimerWheelPair: ~Copyable {
    var wheel: TimerWheel
    var model: TimerWheelModel
    let seed: UInt64

    init(capacity: Int, now: Instant, seed: UInt64) {
        wheel = TimerWheel(capacity: capacity, now: now)
        model = TimerWheelModel(now: now)
        self.seed = seed
    }

    mutating func arm(_ timer: Int32, at deadline: Instant) throws {
        wheel.arm(timer, at: deadline)
        model.arm(timer, at: deadline)
        try check(timer)
    }

    mutating func cancel(_ timer: Int32) throws {
        wheel.cancel(timer)
        model.cancel(timer)
        try check(timer)
    }

    mutating func advance(to instant: Instant) throws {
        wheel.advance(to: instant)
        model.advance(to: instant)
        try checkSummary()
    }

    /// Pops up to `limit` timers, and checks that they are those which expired, each in its turn.
    mutating func drain(limit: Int = .max) throws {
        for _ in 0..<limit {
            let expected = model.expired.first
            guard let popped = wheel.popExpired() else {
                if let expected { throw Mismatch("not popped: \(expected)", self) }
                break
            }
            guard let expected, let timer = model.timers[popped], timer.hasExpired else {
                throw Mismatch("popped \(popped) too early, or twice", self)
            }
            // Order is promised to the tick only.
            guard tick(of: timer.effective) == tick(of: expected.effective) else {
                throw Mismatch("popped \(popped), due at \(timer.effective), before \(expected)", self)
            }
            model.cancel(popped)
            try check(popped)
        }
    }

    func check(_ timer: Int32) throws {
        let deadline = wheel.deadline(of: timer)
        guard deadline == model.timers[timer]?.deadline, wheel.isArmed(timer) == (deadline != nil) else {
            throw Mismatch("timer \(timer) is armed for \(deadline, default: "never")", self)
        }
        try checkSummary()
    }

    func checkSummary() throws {
        guard wheel.count == model.timers.count, wheel.now == model.now else {
            throw Mismatch("\(wheel.count) armed at \(wheel.now)", self)
        }
        let bound = wheel.nextDeadline
        guard let earliest = model.earliestDeadline else {
            if let bound { throw Mismatch("nothing is armed, but the next deadline is \(bound)", self) }
            return
        }
        guard let bound, bound <= max(earliest, model.now), bound >= model.now else {
            throw Mismatch("next deadline \(bound, default: "none"), but the earliest is \(earliest)", self)
        }
        // A bound that is not later than now means that there is something to do now.
        if bound == model.now && earliest > model.now { throw Mismatch("the next deadline would not let sleep", self) }
    }

    private func tick(of instant: Instant) -> Int64 { instant.nanoseconds >> 10 }

    struct Mismatch: Error, CustomStringConvertible {
        let description: String

        init(_ problem: String, _ pair: borrowing TimerWheelPair) {
            description = "seed \(pair.seed), at \(pair.model.now.nanoseconds): \(problem)"
        }
    }
}
