// Many connections for a long time: what takes a minute there takes seconds here.

import Martlet
import MartletSimulation
import MartletStack
import Testing

@Suite struct WorldLoadTests {
    private static var configuration: Runtime.Configuration {
        var configuration = SimulatedHost.configuration
        configuration.stackLimits.tcp.connections = 2048
        configuration.limits.framesPerCore = 4096
        configuration.limits.receiveBuffers = 256
        return configuration
    }

    /// Clients that say something every second for a minute. Returns how many answers came.
    private static func minute(seed: UInt64, clients: Int) async throws -> SimulatedRun<Int> {
        try await Simulation.run(seed: seed) { world in
            world.conditions = LinkConditions(latency: .milliseconds(20))
            world.conditions.jitter = .milliseconds(5)
            world.conditions.loss = .uniform(0.001)
            world.host("server").start(configuration: configuration, WorldPrograms.echo)
            try await world.sleep(for: .milliseconds(1))
            return try await world.host("client").run(configuration: configuration) { runtime in
                try await withThrowingTaskGroup(of: Int.self) { group in
                    for client in 0..<clients {
                        group.addTask { try await talk(runtime, as: client, world) }
                    }
                    return try await group.reduce(0, +)
                }
            }
        }
    }

    private static func talk(_ runtime: Runtime, as client: Int, _ world: World) async throws -> Int {
        let core = runtime.cores[0]
        try await core.sleep(for: .milliseconds(client))
        return try await runtime.withConnection(to: "server", port: 7) { connection in
            var answers = 0
            for turn in 0..<60 {
                let message = WorldPrograms.pattern(64, client &* 61 &+ turn)
                try await connection.send(message)
                var answer: [UInt8] = []
                while answer.count < 64, let bytes = try await connection.receive() { answer += bytes }
                if answer == message { answers += 1 }
                try await connection.core.sleep(for: .seconds(1))
            }
            return answers
        }
    }

    @Test("a thousand connections talk for a minute, and each answer is right")
    func minute() async throws {
        let run = try await Self.minute(seed: 1, clients: 1000)
        #expect(run.value == 60_000)
        #expect(run.elapsed > .seconds(60) && run.elapsed < .seconds(75))
        #expect(run.trace.frames > 120_000)
    }

    @Test("a hundred do so twice, and the second time is the same as the first")
    func twice() async throws {
        let (first, second) = (
            try await Self.minute(seed: 2, clients: 100), try await Self.minute(seed: 2, clients: 100)
        )
        #expect(first.value == 6000)
        #expect(first.trace == second.trace)
    }
}
