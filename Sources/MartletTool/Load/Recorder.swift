// What the connections of one core have to tell, and when they are to be heard. Connections write from their core's thread,
// and the report and the live line read from another, so there is a lock, which is almost never waited for.

import Synchronization

/// The measured part of a run. It is known only when every connection is there.
final class Window: Sendable {
    private let first = Atomic<Int64>(.max)
    private let last = Atomic<Int64>(.max)
    private let schedule = Atomic<Int64>(.max)
    private let ready = Atomic<Int>(0)
    private let failed = Atomic<Int>(0)
    private let ended = Atomic<Int>(0)

    /// Measures what begins from here …
    var start: Int64 { first.load(ordering: .relaxed) }
    /// … and before here. Nothing begins from here on.
    var end: Int64 { last.load(ordering: .relaxed) }
    /// Where the schedule of an open loop begins, or `.max` as long as that is not known.
    var scheduleStart: Int64 { schedule.load(ordering: .relaxed) }
    /// Workers with a connection, without one after their first attempt, and done.
    var readyWorkers: Int { ready.load(ordering: .relaxed) }
    var failedWorkers: Int { failed.load(ordering: .relaxed) }
    var endedWorkers: Int { ended.load(ordering: .relaxed) }

    var isOver: Bool { Clock.now >= end }

    func open(from start: Int64, to end: Int64) {
        first.store(start, ordering: .relaxed)
        last.store(end, ordering: .relaxed)
        schedule.store(Clock.now, ordering: .relaxed)
    }

    /// Ends the measured part before its time.
    func close(at instant: Int64) {
        last.store(instant, ordering: .relaxed)
        if start > instant { first.store(instant, ordering: .relaxed) }
    }

    func workerIsReady() { ready.add(1, ordering: .relaxed) }
    func workerHasFailed() { failed.add(1, ordering: .relaxed) }
    func workerHasEnded() { ended.add(1, ordering: .relaxed) }
}

final class Recorder: Sendable {
    struct Record: Sendable {
        /// Answers so far, with those outside of the window, and the right bytes in them.
        var answers = 0
        var bytes = 0
        /// Answers that came within the window.
        var answersInWindow = 0
        /// Of requests that began, or were to begin, within the window.
        var latencies = Latencies()
        /// How late an open loop's requests left.
        var lateness = Latencies()
        /// Requests of the window whose answer never came.
        var unanswered = 0
        var errors: [String: Int] = [:]

        mutating func add(_ other: Record) {
            answers += other.answers
            bytes += other.bytes
            answersInWindow += other.answersInWindow
            latencies.add(other.latencies)
            lateness.add(other.lateness)
            unanswered += other.unanswered
            errors.merge(other.errors, uniquingKeysWith: +)
        }
    }

    let window: Window
    private let record = Mutex(Record())

    init(_ window: Window) { self.window = window }

    var current: Record { record.withLock { $0 } }
    var answers: Int { record.withLock { $0.answers } }

    /// A request that began at `start` has been answered at `end` with `bytes` bytes.
    func answered(from start: Int64, to end: Int64, bytes: Int) {
        let (first, last) = (window.start, window.end)
        record.withLock { record in
            record.answers += 1
            record.bytes += bytes
            if end >= first, end < last { record.answersInWindow += 1 }
            if start >= first, start < last { record.latencies.record(end - start) }
        }
    }

    func sentLate(_ nanoseconds: Int64, due: Int64) {
        guard due >= window.start else { return }
        record.withLock { $0.lateness.record(nanoseconds) }
    }

    func failed(_ error: any Error) {
        record.withLock { $0.errors[LoadError.kind(of: error), default: 0] += 1 }
    }

    /// Requests that began at `starts` are given up. If that is because the run is over, their latency is at least the time
    /// they have waited, and is recorded so: a server that stops answering must not look fast.
    func unanswered(_ starts: some Sequence<Int64>) {
        let (first, last, now) = (window.start, window.end, Clock.now)
        record.withLock { record in
            for start in starts where start >= first && start < last {
                record.unanswered += 1
                if now >= last { record.latencies.record(now - start) }
            }
        }
    }
}
