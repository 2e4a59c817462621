// Everything that can go wrong goes wrong, at random instants, while clients talk to a server: what comes through is whole, and
// when it is over nothing has stayed behind.

import Martlet
import MartletSimulation
import MartletStack
import Testing

@Suite struct WorldChaosTests {
    /// Trouble for a minute: another kind, for another while, again and again.
    private static func trouble(_ world: World, _ server: SimulatedHost, _ clients: [SimulatedHost]) async throws {
        var random = world.random()
        func pause(upTo milliseconds: UInt64) async throws {
            try await world.sleep(for: .milliseconds(Int64(random.number(below: milliseconds))))
        }
        while world.elapsed < .seconds(60) {
            let victim = clients[Int(random.number(below: UInt64(clients.count)))]
            switch random.number(below: 7) {
            case 0:
                world.partition(victim)
                try await pause(upTo: 4000)
                world.heal(victim)
            case 1:
                server.isLinkUp = false
                try await pause(upTo: 4000)
                server.isLinkUp = true
            case 2:
                victim.stall(for: .milliseconds(Int64(random.number(below: 2000))))
                try await pause(upTo: 1000)
            case 3:
                server.stall(for: .milliseconds(Int64(random.number(below: 2000))))
                try await pause(upTo: 1000)
            case 4:
                await server.crash()
                try await pause(upTo: 500)
                server.start(WorldPrograms.echo)
            default:
                var conditions = LinkConditions(latency: .milliseconds(Int64(random.number(below: 50))))
                conditions.loss = .uniform(random.fraction() / 5)
                conditions.jitter = .milliseconds(Int64(random.number(below: 10)))
                conditions.jitterReorders = true
                conditions.duplication = random.fraction() / 10
                conditions.corruption = random.fraction() / 10
                world.conditions = conditions
                try await pause(upTo: 3000)
            }
        }
        world.conditions = LinkConditions(latency: .milliseconds(5))
    }

    /// Talks to the server until ten exchanges have come to their end, and says how many attempts that took.
    private static func talk(_ runtime: Runtime, key: Int) async throws -> Int {
        var (attempts, done) = (0, 0)
        while done < 10 {
            attempts += 1
            do {
                let sent = WorldPrograms.pattern(20_000, key &+ attempts)
                try await runtime.withConnection(to: "server", port: 7, within: .seconds(3)) { connection in
                    try await connection.send(sent, within: .seconds(3))
                    try await connection.finish()
                    var received: [UInt8] = []
                    while let bytes = try await connection.receive(within: .seconds(10)) { received += bytes }
                    // A FIN says that this was all. Whatever befalls the server, it does not say so before.
                    #expect(received == sent, "\(received.count) bytes")
                }
                done += 1
            } catch is NetworkError {}
            try await runtime.cores[0].sleep(for: .seconds(2))
        }
        return attempts
    }

    @Test("what comes through is whole whatever happens, and nothing stays behind", arguments: 1...10)
    func chaos(seed: UInt64) async throws {
        let run = try await Simulation.run(seed: seed) { world in
            let server = world.host("server")
            let clients = (0..<3).map { world.host("client\($0)") }
            server.start(WorldPrograms.echo)
            async let calm: Void = Self.trouble(world, server, clients)
            let attempts = try await withThrowingTaskGroup(of: Int.self) { group in
                for (key, host) in clients.enumerated() {
                    group.addTask {
                        try await host.run { runtime in
                            let attempts = try await Self.talk(runtime, key: key)
                            #expect(await runtime.counters()[0].open == 0)
                            return attempts
                        }
                    }
                }
                return try await group.reduce(0, +)
            }
            try await calm
            // Afterwards the server is as if nothing had been, and serves.
            await server.stop()
            try await server.run { runtime in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await WorldPrograms.echo(runtime) }
                    try await runtime.cores[0].sleep(for: .seconds(1))
                    try await clients[0].run { try await WorldPrograms.client($0, to: "server", count: 1000, key: 1) }
                    try await runtime.cores[0].sleep(for: .seconds(1))
                    #expect(await runtime.counters()[0].open == 1, "the listener")
                    group.cancelAll()
                }
            }
            return attempts
        }
        #expect(run.value >= 30)
        #expect(run.elapsed > Duration.seconds(60))
    }
}
