// The open loop: when each request is to be sent, whatever became of the ones before. A latency is counted from the instant
// in the schedule, so a server that stalls is charged for every request that it kept waiting (no coordinated omission).

struct Schedule: Sendable, Hashable {
    /// The instant of the first request, in nanoseconds.
    let start: Int64
    /// Requests a second.
    let rate: Double

    /// The instant of request `number`, counted from 0. Rounded once, so that errors do not add up.
    func instant(of number: Int) -> Int64 {
        start + Int64((Double(number) / rate * 1_000_000_000).rounded())
    }

    /// One of `count` connections' share: every `count`-th request, beginning with request `index`.
    func lane(_ index: Int, of count: Int) -> Lane { Lane(schedule: self, index: index, count: count) }

    struct Lane: Sendable, Hashable {
        let schedule: Schedule
        let index: Int
        let count: Int

        /// The instant of this connection's request `number`.
        func instant(of number: Int) -> Int64 { schedule.instant(of: number * count + index) }

        /// How many of this connection's requests are to be sent before `end`.
        func requests(before end: Int64) -> Int {
            if end == .max { return .max }
            let seconds = Double(end - schedule.start) / 1_000_000_000
            var number = max(0, Int((seconds * schedule.rate - Double(index)) / Double(count)))
            // The estimate is within one of the truth: `instant` has the last word.
            while number > 0, instant(of: number - 1) >= end { number -= 1 }
            while instant(of: number) < end { number += 1 }
            return number
        }
    }
}
