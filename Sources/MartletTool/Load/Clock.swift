// The clocks of a measurement: the time that passes, and the time that the process or one of its threads has computed.

import Glibc

enum Clock {
    /// CLOCK_MONOTONIC in nanoseconds.
    static var now: Int64 { read(CLOCK_MONOTONIC) }
    /// The CPU time of the process, in nanoseconds.
    static var process: Int64 { read(CLOCK_PROCESS_CPUTIME_ID) }

    fileprivate static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        // SAFETY: clock_gettime(2) writes `time`, which outlives the call.
        _ = unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// Suspends until `instant`, on the threads of the global pool: for those who only look on.
    static func sleep(until instant: Int64) async throws {
        let left = instant - now
        if left > 0 { try await Task.sleep(for: .nanoseconds(left)) }
    }
}

/// The CPU time of one thread, which any other thread may read while that one lives: pthread_getcpuclockid(3).
struct ThreadClock: Sendable {
    private let id: clockid_t

    /// The clock of the calling thread, or nil if the system has none.
    static var current: ThreadClock? {
        var id = clockid_t()
        // SAFETY: the calling thread exists, and `id` outlives the call.
        return unsafe pthread_getcpuclockid(pthread_self(), &id) == 0 ? ThreadClock(id: id) : nil
    }

    /// Nanoseconds of CPU time so far.
    var nanoseconds: Int64 { Clock.read(id) }
}
