// The loop itself: sleeping, spinning, counting stalls, and giving I/O its turn however busy the tasks are.

import Glibc
import MartletStack
import Synchronization
import Testing

@testable import Martlet

@Suite(.serialized) struct CoreLoop {
    private func running(
        _ driver: DriverChoice, idle: Idle = .sleep, limits: Limits = .init(),
        _ body: @escaping @Sendable (Core) async throws -> Void
    ) async throws {
        try await within(seconds: 30) {
            var configuration = faultConfiguration(driver, limits: limits)
            configuration.idle = idle
            try await Runtime.run(configuration) { try await body($0.cores[0]) }
        }
    }

    @Test("sleeps end in the order of their deadlines, on the core and from elsewhere", arguments: bothDrivers)
    func sleepOrder(driver: DriverChoice) async throws {
        try await running(driver) { core in
            for isOnCore in [true, false] {
                let woken = Log<Int>()
                // Deadlines, not durations: they must not depend on when each task happens to start.
                let start = core.deadline(within: .milliseconds(20))
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in (0..<50).shuffled(seed: 5) {
                        group.addTask(executorPreference: isOnCore ? core.taskExecutor : nil) {
                            try await core.isolation.sleep(core, until: start + Int64(number) * 1_000_000)
                            if isOnCore { woken.append(number) }
                        }
                    }
                    try await group.waitForAll()
                }
                if isOnCore { #expect(woken.entries == Array(0..<50)) }
            }
        }
    }

    @Test(
        "a sleep lasts as long as was asked for at least, and one without length ends at once", arguments: bothDrivers)
    func sleepLength(driver: DriverChoice) async throws {
        try await running(driver) { core in
            for duration: Duration in [.zero, .seconds(-1), .nanoseconds(1), .microseconds(300), .milliseconds(3)] {
                let end = core.deadline(within: duration)
                try await core.sleep(for: duration)
                #expect(core.deadline(within: .zero) >= end)
            }
        }
    }

    @Test("a cancelled sleep throws, also if it was cancelled before it began", arguments: bothDrivers)
    func sleepCancellation(driver: DriverChoice) async throws {
        try await running(driver) { core in
            for round in 0..<400 {
                let sleep = Task(executorPreference: round % 2 == 0 ? core.taskExecutor : nil) {
                    try await core.sleep(for: .seconds(1000))
                }
                for _ in 0..<(round % 5) { await Task.yield() }
                sleep.cancel()
                let result = await sleep.result
                #expect(throws: NetworkError.cancelled) { try result.get() }
            }
            let waiters = await core.perform { unsafe core.state.pointee.waiters.count }
            #expect(waiters < 10, "waiters are used again")
            let timers = await core.perform { unsafe core.state.pointee.timers.nextDeadline }
            #expect(timers == nil, "a cancelled sleep leaves its timer behind")
        }
    }

    @Test("a core that spins serves, and hardly sleeps while it has work", arguments: bothDrivers)
    func spinning(driver: DriverChoice) async throws {
        try await running(driver, idle: .spin(for: .milliseconds(200))) { core in
            let listener = try await core.listen(on: .loopback(port: 0))
            let port = listener.address.port!
            async let answers: Void = onThread {
                try FaultPressure.exchange(port: port, connections: 1, turns: 200, size: 100)
            }
            let connection = try #require(try await listener.accept())
            try await Task(executorPreference: core.taskExecutor) { try await echo(connection) }.value
            try await answers
            let counters = await core.perform { core.snapshot() }
            #expect(counters.sleeps < 100, "\(counters.sleeps) sleeps for 200 messages")
        }
    }

    @Test("an idle core that sleeps takes no turns", arguments: bothDrivers)
    func idle(driver: DriverChoice) async throws {
        try await running(driver) { core in
            let before = await core.perform { core.snapshot().rounds }
            try await core.sleep(for: .milliseconds(100))
            let after = await core.perform { core.snapshot().rounds }
            #expect(after - before < 10)
        }
    }

    @Test("a job that blocks the thread counts as a stall, one that does not does not", arguments: bothDrivers)
    func stalls(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.stallThreshold = .milliseconds(50)
        try await running(driver, limits: limits) { core in
            let before = await core.perform { core.snapshot().stalls }
            // The block is what is tested.
            await core.perform { _ = usleep(70_000) }
            let after = await core.perform { core.snapshot().stalls }
            #expect(after - before == 1)
            // It counts too while there is always something to run.
            let isDone = SharedFlag()
            let busy = Task(executorPreference: core.taskExecutor) { while !isDone.isSet { await Task.yield() } }
            await core.perform { _ = usleep(70_000) }
            await core.perform {}
            isDone.set()
            await busy.value
            let last = await core.perform { core.snapshot().stalls }
            #expect(last > after)
        }
    }

    @Test("tasks that yield for ever do not starve connections or timers", arguments: bothDrivers)
    func yieldersStarveNobody(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.jobsPerRound = 16
        let isDone = SharedFlag()
        let turns = Tally()
        try await serving(driver, limits: limits, handler: echo) { server in
            let core = server.core
            let yielders = (0..<50).map { _ in
                Task(executorPreference: core.taskExecutor) {
                    while !isDone.isSet {
                        await Task.yield()
                        turns.increment()
                    }
                }
            }
            try await onThread { try FaultPressure.exchange(port: server.port, connections: 5, turns: 100, size: 100) }
            try await core.sleep(for: .milliseconds(1))
            let counters = await server.counters()
            #expect(counters.jobs <= counters.rounds * 16, "no round runs more jobs than it may")
            #expect(turns.value > 100)
            isDone.set()
            for yielder in yielders { await yielder.value }
        }
    }

    @Test("a deadline further away than time reaches is none", arguments: bothDrivers)
    func farDeadlines(driver: DriverChoice) async throws {
        try await running(driver) { core in
            #expect(core.deadline(within: nil) == .max)
            #expect(core.deadline(within: .seconds(Int64.max)) == .max)
            let now = core.deadline(within: .zero)
            #expect(core.deadline(within: .seconds(-100)) >= now)
            let sleep = Task { try await core.sleep(for: .seconds(Int64.max)) }
            try await core.sleep(for: .milliseconds(2))
            sleep.cancel()
            let result = await sleep.result
            #expect(throws: NetworkError.cancelled) { try result.get() }
        }
    }
}

extension Range<Int> {
    fileprivate func shuffled(seed: UInt64) -> [Int] {
        var random = SplitMix(seed: seed)
        var all = Array(self)
        for index in all.indices.dropFirst() { all.swapAt(index, Int(random.next() % UInt64(index + 1))) }
        return all
    }
}
