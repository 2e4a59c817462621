// A run: connects, warms up, measures, and lets what is under way come to its end. The connections live on the cores of a
// runtime; the run itself only looks on.

import Martlet

struct LoadGenerator: Sendable {
    let plan: LoadPlan
    let address: SocketAddress
    let runtime: Runtime
    /// The CPU time of the server's core, where that is in this process.
    var serverClock: ThreadClock?

    /// What the run itself has seen of the measured part.
    struct Observed: Sendable {
        var nanoseconds: Int64 = 0
        var serverNanoseconds: Int64?
        /// Answers while the server's CPU time was counted.
        var answers = 0
        var wasInterrupted = false
    }

    /// Answers that are due may take this long after the end of the measured part.
    private let grace: Int64 = 2_000_000_000

    /// - Throws: ``LoadError/noConnection(_:)``.
    func run(showing line: LiveLine) async throws -> LoadReport {
        let window = Window()
        let recorders = runtime.cores.map { _ in Recorder(window) }
        let pattern = Pattern(longest: plan.size)
        let observed = try await withThrowingTaskGroup(of: Observed?.self) { group in
            group.addTask {
                try await runtime.forEachCore { core in
                    await withDiscardingTaskGroup { workers in
                        for index in stride(from: core.index, to: plan.connections, by: runtime.cores.count) {
                            let worker = Worker(
                                core: core, index: index, plan: plan, address: address, pattern: pattern,
                                recorder: recorders[core.index])
                            workers.addTask { await worker.run() }
                        }
                    }
                }
                return nil
            }
            group.addTask { try await observe(window, recorders, line) }
            defer { group.cancelAll() }
            while let result = try await group.next() { if let result { return result } }
            return Observed()
        }
        line.clear()
        var record = recorders[0].current
        for recorder in recorders.dropFirst() { record.add(recorder.current) }
        return LoadReport(plan: plan, record: record, observed: observed)
    }

    private func observe(_ window: Window, _ recorders: [Recorder], _ line: LiveLine) async throws -> Observed {
        try await connect(window, recorders, line)
        let begin = Clock.now
        let start = begin + Int64(plan.warmup * 1_000_000_000)
        window.open(from: start, to: start + Int64(plan.seconds * 1_000_000_000))
        try await watch(until: start, window, recorders, line)
        var observed = Observed()
        let before = (server: serverClock?.nanoseconds, answers: answers(recorders))
        try await watch(until: window.end, window, recorders, line)
        if let server = serverClock?.nanoseconds, let earlier = before.server {
            observed.serverNanoseconds = server - earlier
        }
        observed.answers = answers(recorders) - before.answers
        observed.nanoseconds = window.end - window.start
        observed.wasInterrupted = runtime.isShuttingDown
        let patience = Clock.now + grace
        while window.endedWorkers < plan.connections, Clock.now < patience {
            try await Clock.sleep(until: Clock.now + 5_000_000)
        }
        return observed
    }

    /// Waits until every worker has a connection or has failed to get one.
    private func connect(_ window: Window, _ recorders: [Recorder], _ line: LiveLine) async throws {
        let patience = Clock.now + 15_000_000_000
        while window.readyWorkers + window.failedWorkers < plan.connections, Clock.now < patience,
            !runtime.isShuttingDown
        {
            line.show("connecting: \(window.readyWorkers.grouped) of \(plan.connections.grouped)")
            try await Clock.sleep(until: Clock.now + 5_000_000)
        }
        if window.readyWorkers == 0 {
            let errors = recorders.flatMap { $0.current.errors.keys }
            throw LoadError.noConnection(errors.first ?? "the server takes none")
        }
    }

    /// Looks on and shows what is going on, ten times a second, until `instant` or until somebody interrupts.
    private func watch(until instant: Int64, _ window: Window, _ recorders: [Recorder], _ line: LiveLine) async throws {
        var last = (time: Clock.now, answers: answers(recorders))
        while case let now = Clock.now, now < instant {
            if runtime.isShuttingDown {
                window.close(at: now)
                return
            }
            try await Clock.sleep(until: min(instant, now + 100_000_000))
            guard line.isShown else { continue }
            let current = (time: Clock.now, answers: answers(recorders))
            let rate = Double(current.answers - last.answers) * 1_000_000_000 / Double(max(1, current.time - last.time))
            last = current
            line.show(progress(at: current.time, rate: rate, window, recorders))
        }
    }

    private func progress(at now: Int64, rate: Double, _ window: Window, _ recorders: [Recorder]) -> String {
        var record = recorders[0].current
        for recorder in recorders.dropFirst() { record.add(recorder.current) }
        let errors = record.errors.values.reduce(0, +)
        let trouble = errors == 0 ? "" : "  errors \(errors.grouped)"
        if now < window.start { return "warming up  \(rate.grouped) requests/s\(trouble)" }
        let elapsed = Double(now - window.start) / 1_000_000_000
        let time = "\(elapsed.formatted(decimals: 1)) s of \(plan.seconds.formatted(decimals: 1)) s"
        let shares = record.latencies.count == 0 ? [] : [50.0, 99.0]
        let latencies = shares.map { "  p\(Int($0)) \(record.latencies.percentile($0).asDuration)" }.joined()
        return "\(time)  \(rate.grouped) requests/s\(latencies)\(trouble)"
    }

    private func answers(_ recorders: [Recorder]) -> Int { recorders.reduce(0) { $0 + $1.answers } }
}
