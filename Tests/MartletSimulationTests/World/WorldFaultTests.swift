// What goes wrong in a world: cut networks, links that are down, hosts that stall and crash, addresses that are taken.

import Martlet
import MartletSimulation
import MartletStack
import Testing

@Suite struct WorldFaultTests {
    /// Transfers a pattern to an echo server and back, while `trouble` happens beside it. Returns when it was done.
    private static func transfer(
        seed: UInt64, count: Int = 2_000_000,
        trouble: @escaping @Sendable (World, SimulatedHost) async throws -> Void
    ) async throws -> Duration {
        try await Simulation.run(seed: seed) { world in
            world.conditions = LinkConditions(latency: .milliseconds(5), bandwidth: 100_000_000)
            let server = world.host("server")
            let client = world.host("client")
            server.start(WorldPrograms.echo)
            try await world.sleep(for: .milliseconds(1))
            async let done = client.run {
                try await WorldPrograms.client($0, to: "server", count: count, key: 1)
                return world.elapsed
            }
            try await trouble(world, server)
            return try await done
        }.value
    }

    @Test("a transfer goes on after the network was cut for ten seconds")
    func partition() async throws {
        let undisturbed = try await Self.transfer(seed: 1) { _, _ in }
        #expect(undisturbed < .seconds(2))
        let elapsed = try await Self.transfer(seed: 1) { world, server in
            try await world.sleep(for: .milliseconds(100))
            world.partition(server)
            try await world.sleep(for: .seconds(10))
            world.heal(server)
        }
        #expect(elapsed > .seconds(10))
        // The retransmission timer has doubled by then: the next attempt comes in as long again, at most.
        #expect(elapsed < .seconds(25))
    }

    @Test("a transfer goes on after a host's link was down for ten seconds in the middle of it")
    func linkDown() async throws {
        let elapsed = try await Self.transfer(seed: 2) { world, server in
            try await world.sleep(for: .milliseconds(100))
            server.isLinkUp = false
            try await world.sleep(for: .seconds(10))
            server.isLinkUp = true
        }
        #expect(elapsed > .seconds(10))
        #expect(elapsed < .seconds(25))
    }

    @Test("a transfer goes on after a host's processor stood still for a second")
    func stall() async throws {
        let elapsed = try await Self.transfer(seed: 3) { world, server in
            try await world.sleep(for: .milliseconds(100))
            server.stall(for: .seconds(1))
        }
        #expect(elapsed > .seconds(1))
        #expect(elapsed < .seconds(4))
    }

    @Test("the clients of a host that crashes are reset when it is up again, and can connect anew")
    func crash() async throws {
        try await Simulation.run(seed: 4) { world in
            world.conditions = LinkConditions(latency: .milliseconds(5))
            let server = world.host("server")
            server.start(WorldPrograms.echo)
            try await world.sleep(for: .milliseconds(1))
            try await world.host("client").run { runtime in
                try await runtime.withConnection(to: "server", port: 7) { connection in
                    try await connection.send("hello")
                    #expect(try await connection.receive().map { Array($0) } == Array("hello".utf8))
                    await server.crash()
                    server.start(WorldPrograms.echo)
                    try await world.sleep(for: .milliseconds(1))
                    try await connection.send("is anybody there?")
                    await #expect(throws: NetworkError.reset) { try await connection.receive() }
                }
                try await WorldPrograms.client(runtime, to: "server", count: 1000, key: 2)
            }
        }
    }

    @Test("a host that claims an address that another has does not get it, and the other keeps its connections")
    func conflict() async throws {
        try await Simulation.run(seed: 5) { world in
            world.conditions = LinkConditions(latency: .milliseconds(1))
            let first = world.host("first")
            let second = world.host("second") {
                $0.addresses = Array($0.addresses.prefix(0)) + [InterfaceAddress("10.0.0.1/16")!]
                $0.detectsConflicts = true
            }
            #expect(second.addresses == [first.addresses[0]])
            first.start(WorldPrograms.echo)
            try await world.sleep(for: .milliseconds(1))
            try await world.host("client").run { runtime in
                try await runtime.withConnection(to: "first", port: 7) { connection in
                    try await connection.send("one")
                    #expect(try await connection.receive().map { Array($0) } == Array("one".utf8))
                    second.start { try await $0.cores[0].sleep(for: .seconds(1000)) }
                    // The claim takes some seconds (RFC 5227 §2.1).
                    try await world.sleep(for: .seconds(15))
                    try await connection.send("two")
                    #expect(try await connection.receive().map { Array($0) } == Array("two".utf8))
                }
                // Whoever asks anew finds the first still.
                try await WorldPrograms.client(runtime, to: "second", count: 1000, key: 3)
            }
        }
    }

    @Test("a runtime that is shut down with open connections delivers what was sent, and its clients see the end")
    func shutdown() async throws {
        let run = try await Simulation.run(seed: 6) { world in
            world.conditions = LinkConditions(latency: .milliseconds(5))
            let server = world.host("server")
            async let served: Void = server.run { runtime in
                async let shutDown: Void = {
                    try await runtime.cores[0].sleep(for: .seconds(3))
                    await runtime.shutdown(within: .seconds(5))
                }()
                try await runtime.serve(on: .any(port: 7)) { connection in
                    try await connection.send("welcome")
                    for try await bytes in connection { try await connection.send(bytes) }
                }
                try await shutDown
            }
            try await world.sleep(for: .milliseconds(1))
            let ends = try await world.host("client").run { runtime in
                try await withThrowingTaskGroup(of: Bool.self) { group in
                    for _ in 0..<50 {
                        group.addTask {
                            try await runtime.withConnection(to: "server", port: 7) { connection in
                                let first = try await connection.receive().map { Array($0) }
                                #expect(first == Array("welcome".utf8))
                                // The server's handler waits for more: past the deadline it is cancelled, and this reset.
                                await #expect(throws: NetworkError.reset) { try await connection.receive() }
                                return true
                            }
                        }
                    }
                    return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                }
            }
            #expect(ends == 50)
            try await served
            return world.elapsed
        }
        // Three seconds, the deadline of the shutdown, and the way there.
        #expect(run.value > .seconds(8) && run.value < .seconds(9), "\(run.value)")
    }
}
