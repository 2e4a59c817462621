// Whole programs in virtual time: that they work over bad networks, that a seed repeats a run, and that time is virtual.

import Martlet
import MartletSimulation
import MartletStack
import Testing

@Suite struct WorldTests {
    private static var lossy: LinkConditions {
        var conditions = LinkConditions(latency: .milliseconds(10))
        conditions.loss = .uniform(0.1)
        return conditions
    }

    @Test("an echo server and three clients lose nothing over links that lose a tenth of all frames", arguments: 1...3)
    func echo(seed: UInt64) async throws {
        let run = try await WorldPrograms.echoWorld(seed: seed, Self.lossy)
        #expect(run.trace.bytes > 6 * 50_000, "seed \(seed): each client's bytes went there and back")
    }

    @Test("and over links that reorder, double, corrupt and delay")
    func faults() async throws {
        var conditions = LinkConditions(latency: .milliseconds(5))
        conditions.jitter = .milliseconds(4)
        conditions.jitterReorders = true
        conditions.duplication = 0.05
        conditions.corruption = 0.05
        conditions.reordering = 0.05
        for seed in 1...3 as ClosedRange<UInt64> { _ = try await WorldPrograms.echoWorld(seed: seed, conditions) }
    }

    @Test("the same seed gives the same frames at the same instants, another seed gives others")
    func repeatable() async throws {
        let first = try await WorldPrograms.echoWorld(seed: 7, Self.lossy)
        let second = try await WorldPrograms.echoWorld(seed: 7, Self.lossy)
        let other = try await WorldPrograms.echoWorld(seed: 8, Self.lossy)
        #expect(first.trace == second.trace)
        #expect(first.elapsed == second.elapsed)
        #expect(first.capture.bytes == second.capture.bytes)
        #expect(first.trace.hash != other.trace.hash)
    }

    @Test("simulations run beside one another, on threads of their own, and none notices")
    func parallel() async throws {
        let alone = try await WorldPrograms.echoWorld(seed: 7, Self.lossy)
        try await withThrowingTaskGroup(of: Trace.self) { group in
            for _ in 0..<4 { group.addTask { try await WorldPrograms.echoWorld(seed: 7, Self.lossy).trace } }
            for try await trace in group { #expect(trace == alone.trace) }
        }
    }

    @Test("a deadline passes at exactly its virtual instant, and a sleep ends there")
    func deadline() async throws {
        try await Simulation.run(seed: 1) { world in
            world.conditions = LinkConditions(latency: .milliseconds(3))
            world.host("server").start(WorldPrograms.echo)
            try await world.host("client").run { runtime in
                try await runtime.withConnection(to: "server", port: 7) { connection in
                    let start = world.elapsed
                    await #expect(throws: NetworkError.deadlineExceeded) {
                        _ = try await connection.receive(within: .nanoseconds(1_234_567_891))
                    }
                    #expect(world.elapsed - start == .nanoseconds(1_234_567_891))
                    try await connection.core.sleep(for: .seconds(86))
                    #expect(world.elapsed - start == .nanoseconds(87_234_567_891))
                }
            }
        }
    }

    @Test("connecting to nobody is refused after one round trip, and to a host that is cut off within the deadline")
    func refusal() async throws {
        try await Simulation.run(seed: 1) { world in
            world.conditions = LinkConditions(latency: .milliseconds(30))
            let server = world.host("server")
            server.start { try await $0.cores[0].sleep(for: .seconds(1000)) }
            try await world.host("client").run { runtime in
                await #expect(throws: NetworkError.connectionRefused(server.address(port: 9))) {
                    try await runtime.withConnection(to: server.address(port: 9)) { _ in }
                }
                // Asking for the hardware address, and the SYN: a round trip each.
                #expect(world.elapsed == .milliseconds(120))
                world.partition(server)
                await #expect(throws: NetworkError.deadlineExceeded) {
                    try await runtime.withConnection(to: server.address(port: 9), within: .seconds(2)) { _ in }
                }
                #expect(world.elapsed == .milliseconds(2120))
                await #expect(
                    throws: NetworkError.nameNotFound("nobody", reason: "no host of the simulation is called that")
                ) {
                    try await runtime.withConnection(to: "nobody", port: 1) { _ in }
                }
            }
        }
    }

    @Test("datagrams are lost as the seed says, and whoever asks again until there is an answer gets one")
    func datagrams() async throws {
        @Sendable func ask(_ seed: UInt64) async throws -> (attempts: Int, trace: Trace) {
            let run = try await Simulation.run(seed: seed) { world in
                world.conditions = LinkConditions(latency: .milliseconds(10))
                world.conditions.loss = .uniform(0.3)
                let server = world.host("server")
                server.start { runtime in
                    let socket = try await runtime.cores[0].bindUDP(on: .ipv4(.any, port: 53))
                    for try await question in socket { _ = try await socket.send(question) }
                }
                try await world.sleep(for: .milliseconds(1))
                return try await world.host("client").run { runtime in
                    let socket = try await runtime.cores[0].bindUDP(on: .ipv4(.any, port: 0))
                    var attempts = 0
                    for number in 0..<20 as Range<UInt8> {
                        while true {
                            attempts += 1
                            _ = try await socket.send(Datagram([number], to: server.address(port: 53)))
                            do {
                                // Late answers to what was asked before are not this one's.
                                while try await socket.receive(within: .milliseconds(100))?.bytes != [number] {}
                                break
                            } catch NetworkError.deadlineExceeded {}
                        }
                    }
                    return attempts
                }
            }
            return (run.value, run.trace)
        }
        let (first, second) = (try await ask(3), try await ask(3))
        // Half of all questions find no answer, and twenty do.
        #expect(first.attempts > 25 && first.attempts < 100, "\(first.attempts)")
        #expect(first.attempts == second.attempts && first.trace == second.trace)
    }

    @Test("when a run has ended nothing of it stays, whether it came to its end or not", arguments: [true, false])
    func release(ends: Bool) async throws {
        final class Remains: @unchecked Sendable {
            weak var world: World?
            weak var host: SimulatedHost?
            weak var core: Core?
        }
        let remains = Remains()
        do throws(SimulationFailure) {
            try await Simulation.run(seed: 1) { world in
                remains.world = world
                let server = world.host("server")
                remains.host = server
                server.start { runtime in
                    remains.core = runtime.cores[0]
                    try await WorldPrograms.echo(runtime)
                }
                try await world.sleep(for: .milliseconds(1))
                try await world.host("client").run { runtime in
                    try await runtime.withConnection(to: "server", port: 7) { connection in
                        #expect(remains.world != nil && remains.host != nil && remains.core != nil)
                        if !ends { _ = try await connection.receive() }
                    }
                }
            }
            #expect(ends)
        } catch {
            #expect(!ends && error.description.contains("deadlock"), "\(error)")
        }
        // The simulation's thread gives up what it holds a moment after it has said what came of the run.
        for _ in 0..<100_000 where remains.world != nil { await Task.yield() }
        #expect(remains.world == nil)
        #expect(remains.host == nil)
        #expect(remains.core == nil)
    }

    @Test("what the programs start without a core, tasks and actors, runs on the simulation's thread, in order")
    func unstructured() async throws {
        actor Ledger {
            var lines: [Int] = []
            func add(_ line: Int) { lines.append(line) }
        }
        let run = try await Simulation.run(seed: 1) { world in
            let ledger = Ledger()
            let tasks = (0..<50).map { line in
                Task {
                    await ledger.add(line)
                    // Traps anywhere but on the simulation's thread.
                    _ = world.random()
                }
            }
            for task in tasks { await task.value }
            return await ledger.lines
        }
        #expect(run.value == Array(0..<50))
        #expect(run.elapsed == .zero)
    }
}
