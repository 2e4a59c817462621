// The worked example of Simulation.md: a server with a mistake that no quiet network shows, found by a search of seeds, and replayed.

import Martlet
import MartletSimulation
import MartletStack
import Testing

@Suite struct SeedSearchTests {
    /// Adds up the numbers that come, a line each, and answers with the sum so far.
    @Sendable private static func summingServer(_ runtime: Runtime) async throws {
        try await runtime.serve(on: .any(port: 7)) { connection in
            var sum = 0
            for try await bytes in connection {
                // The mistake: TCP is a stream of bytes, and one piece of it is not one line.
                sum += Int(bytes.description.dropLast()) ?? 0
                try await connection.send("\(sum)\n")
            }
        }
    }

    /// The same without the mistake.
    @Sendable private static func correctServer(_ runtime: Runtime) async throws {
        try await runtime.serve(on: .any(port: 7)) { connection in
            var (sum, rest) = (0, "")
            for try await bytes in connection {
                rest += bytes.description
                while let end = rest.firstIndex(of: "\n") {
                    sum += Int(rest[..<end]) ?? 0
                    rest = String(rest[rest.index(after: end)...])
                    try await connection.send("\(sum)\n")
                }
            }
        }
    }

    struct WrongSum: Error, Equatable { let sum: Int }

    /// A client that says a number every 20 ms, and does not wait for the answers before the last one.
    private static func scenario(
        loss: Double, _ server: @escaping @Sendable (Runtime) async throws -> Void
    ) -> @Sendable (World) async throws -> Void {
        { world in
            world.conditions = LinkConditions(latency: .milliseconds(5))
            world.conditions.loss = .uniform(loss)
            world.host("server").start(server)
            try await world.sleep(for: .milliseconds(1))
            try await world.host("client").run { runtime in
                try await runtime.withConnection(to: "server", port: 7) { connection in
                    for number in 1...10 {
                        try await connection.send("\(number)\n")
                        try await connection.core.sleep(for: .milliseconds(20))
                    }
                    try await connection.finish()
                    var answers = ""
                    for try await bytes in connection { answers += bytes.description }
                    let sum = answers.split(separator: "\n").last.flatMap { Int($0) } ?? 0
                    if sum != 55 { throw WrongSum(sum: sum) }
                }
            }
        }
    }

    @Test("on a network that loses nothing the mistake does not show")
    func quiet() async {
        let failure = await Simulation.firstFailure(seeds: 0..<20, Self.scenario(loss: 0, Self.summingServer))
        #expect(failure == nil)
    }

    @Test("where one frame in a hundred is lost a search finds it, and the seed shows it again, at the same instant")
    func search() async throws {
        let body = Self.scenario(loss: 0.01, Self.summingServer)
        let failure = try #require(await Simulation.firstFailure(seeds: 0..<500, body))
        #expect(failure.cause is WrongSum, "\(failure)")
        do throws(SimulationFailure) {
            try await Simulation.run(seed: failure.seed, body)
            Issue.record("seed \(failure.seed) failed before")
        } catch {
            #expect(error.now == failure.now)
            #expect(error.cause as? WrongSum == failure.cause as? WrongSum)
        }
        // Without the mistake the same network does no harm.
        try await Simulation.run(seed: failure.seed, Self.scenario(loss: 0.01, Self.correctServer))
        let none = await Simulation.firstFailure(seeds: 0..<100, Self.scenario(loss: 0.05, Self.correctServer))
        #expect(none == nil)
    }
}
