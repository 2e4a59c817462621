// One connection of the load, on its core: closed loops here, the open one in the file beside. A connection that breaks is
// counted and made again, until the run is over.

import Martlet
import Synchronization

struct Worker: Sendable {
    let core: Core
    let index: Int
    let plan: LoadPlan
    let address: SocketAddress
    let pattern: Pattern
    let recorder: Recorder
    /// How far this has come, which outlives a connection.
    let progress = Progress()
    var window: Window { recorder.window }

    func run() async {
        defer {
            abandonRest()
            window.workerHasEnded()
        }
        while !window.isOver, !Task.isCancelled {
            do {
                if plan.mode == .short {
                    report(isReady: true)
                    try await runShort()
                } else {
                    try await core.withConnection(to: address, options: plan.options, within: .seconds(10)) {
                        connection in
                        report(isReady: true)
                        try await run(on: connection)
                    }
                }
                return
            } catch NetworkError.cancelled {
                return
            } catch {
                recorder.failed(error)
                report(isReady: false)
                try? await core.sleep(for: .milliseconds(20))
            }
        }
    }

    /// Tells once what the first attempt to connect has come to.
    private func report(isReady: Bool) {
        guard !progress.hasReported.exchange(true, ordering: .relaxed) else { return }
        if isReady { window.workerIsReady() } else { window.workerHasFailed() }
    }

    private func run(on connection: TCPConnection) async throws {
        if plan.rate != nil {
            try await runOpenLoop(on: connection)
        } else if plan.mode == .pipeline {
            try await runPipeline(on: connection)
        } else {
            try await runEcho(on: connection)
        }
    }

    /// One request under way.
    private func runEcho(on connection: TCPConnection) async throws {
        var sender = PatternSender(connection, pattern, index: index)
        var receiver = PatternReceiver(connection, pattern, index: index)
        var start = Clock.now
        do {
            while start < window.end {
                try await sender.send(plan.size)
                try await receiver.receive(upTo: sender.count)
                let end = Clock.now
                recorder.answered(from: start, to: end, bytes: plan.size)
                start = end
            }
        } catch NetworkError.cancelled {
            abandon([start])
            throw NetworkError.cancelled
        }
    }

    /// As many requests under way as the plan says.
    private func runPipeline(on connection: TCPConnection) async throws {
        var sender = PatternSender(connection, pattern, index: index)
        var receiver = PatternReceiver(connection, pattern, index: index)
        // When each request under way was sent, by its number modulo the depth.
        var starts = Array(repeating: Clock.now, count: plan.depth)
        var answered = 0
        do {
            try await sender.send(plan.size * plan.depth)
            while receiver.count < sender.count {
                try await receiver.receive()
                guard receiver.count <= sender.count else { throw LoadError.differs(at: sender.count) }
                let (now, before) = (Clock.now, answered)
                while (answered + 1) * plan.size <= receiver.count {
                    recorder.answered(from: starts[answered % plan.depth], to: now, bytes: plan.size)
                    starts[answered % plan.depth] = now
                    answered += 1
                }
                if now < window.end { try await sender.send((answered - before) * plan.size) }
            }
        } catch NetworkError.cancelled {
            abandon((answered..<sender.count / plan.size).map { starts[$0 % plan.depth] })
            throw NetworkError.cancelled
        }
    }

    /// A connection for each request: its latency is from before connecting to the answer's last byte.
    private func runShort() async throws {
        let lane = await lane()
        var number = 0
        while !window.isOver {
            var start = Clock.now
            if let lane {
                let due = lane.instant(of: number)
                guard due < window.end else { return }
                if due > start { try await core.sleep(for: .nanoseconds(due - start)) }
                recorder.sentLate(Clock.now - due, due: due)
                start = due
            }
            let (origin, begin) = (index + number, start)
            number += 1
            progress.sent.store(number, ordering: .relaxed)
            do {
                try await core.withConnection(to: address, options: plan.options, within: .seconds(10)) { connection in
                    var sender = PatternSender(connection, pattern, index: origin)
                    var receiver = PatternReceiver(connection, pattern, index: origin)
                    try await sender.send(plan.size)
                    try await receiver.receive(upTo: plan.size)
                    recorder.answered(from: begin, to: Clock.now, bytes: plan.size)
                    if plan.resets { await connection.abort() }
                }
            } catch NetworkError.cancelled {
                abandon([start])
                throw NetworkError.cancelled
            } catch {
                recorder.failed(error)
                if lane == nil { try await core.sleep(for: .milliseconds(20)) }
            }
        }
    }

    /// Requests that began at `starts` will not be answered any more.
    func abandon(_ starts: some Sequence<Int64>) { recorder.unanswered(starts) }

    /// What the schedule had for this connection and was never sent will not be answered either.
    private func abandonRest() {
        guard let rate = plan.rate, window.scheduleStart != .max else { return }
        let lane = Schedule(start: window.scheduleStart, rate: rate).lane(index, of: plan.connections)
        let (sent, due) = (progress.sent.load(ordering: .relaxed), lane.requests(before: window.end))
        if sent < due { abandon((sent..<due).lazy.map(lane.instant)) }
    }

    /// This connection's share of the schedule, as soon as that is known, or nil for a closed loop.
    func lane() async -> Schedule.Lane? {
        guard let rate = plan.rate else { return nil }
        while window.scheduleStart == .max, !Task.isCancelled { try? await core.sleep(for: .milliseconds(1)) }
        return Schedule(start: window.scheduleStart, rate: rate).lane(index, of: plan.connections)
    }
}

/// How far a worker has come: whether the run knows that it is there, and of an open loop how many requests were sent, and
/// how many of those are answered or given up.
final class Progress: Sendable {
    let hasReported = Atomic(false)
    let sent = Atomic(0)
    let settled = Atomic(0)
}
