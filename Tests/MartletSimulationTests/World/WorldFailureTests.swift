// How a run fails: with its seed, what was waited for, and a way to repeat it.

import Foundation
import Martlet
import MartletSimulation
import MartletStack
import Testing

@Suite struct WorldFailureTests {
    private struct Mishap: Error, Equatable {}

    private static func failure(
        seed: UInt64 = 9, limit: Duration = .seconds(3600), _ body: @escaping @Sendable (World) async throws -> Void
    ) async throws -> SimulationFailure {
        do throws(SimulationFailure) {
            try await Simulation.run(seed: seed, limit: limit, body)
        } catch {
            return error
        }
        throw Mishap()
    }

    @Test("a program that nothing can wake any more is reported as a deadlock, with what each host waits for")
    func deadlock() async throws {
        let failure = try await Self.failure { world in
            let server = world.host("server")
            server.start { runtime in
                try await runtime.serve(on: .any(port: 7)) { connection in _ = try await connection.receive() }
            }
            try await world.sleep(for: .milliseconds(1))
            try await world.host("client").run { runtime in
                // Each waits for the other to speak first.
                try await runtime.withConnection(to: "server", port: 7) { _ = try await $0.receive() }
            }
        }
        let text = failure.description
        #expect(failure.seed == 9)
        #expect(text.contains("deadlock"), "\(text)")
        #expect(text.contains("client: receives from [2001:db8::1]:7 (established"), "\(text)")
        #expect(text.contains("server: receives from [2001:db8::2]:"), "\(text)")
        #expect(text.contains("server: serves"), "\(text)")
        #expect(text.contains("Simulation.run(seed: 9)"), "\(text)")
        #expect(text.contains(".pcapng"), "\(text)")
    }

    @Test("a program that goes on for ever is stopped at the limit of virtual time")
    func limit() async throws {
        let failure = try await Self.failure(limit: .seconds(100)) { world in
            world.host("server").start(WorldPrograms.echo)
            while true { try await world.sleep(for: .seconds(1)) }
        }
        #expect(failure.now == Instant(nanoseconds: 100_000_000_000))
        #expect(failure.description.contains("not finished after 100.0 seconds"), "\(failure)")
        #expect(failure.description.contains("the body: sleeps"), "\(failure)")
    }

    @Test("a program that goes round without time going on is stopped as well")
    func livelock() async throws {
        let failure = try await Self.failure { _ in while !Task.isCancelled { await Task.yield() } }
        #expect(failure.description.contains("time does not go on"), "\(failure)")
    }

    @Test("a sleep of Swift's own is not virtual, and is not waited for")
    func realSleep() async throws {
        let failure = try await Self.failure { _ in try await Task.sleep(for: .seconds(1000)) }
        #expect(failure.description.contains("not simulated, as by Task.sleep"), "\(failure)")
        #expect(failure.now == .zero)
    }

    @Test("a task that comes back from another thread ends the run, since nothing can repeat that")
    func disturbance() async throws {
        let failure = try await Self.failure { world in
            let elsewhere = Task {
                while !Task.isCancelled { try await world.sleep(for: .milliseconds(1)) }
            }
            unsafe await withUnsafeContinuation { continuation in
                Thread.detachNewThread { unsafe continuation.resume() }
            }
            elsewhere.cancel()
        }
        #expect(failure.description.contains("come back from outside of the simulation"), "\(failure)")
    }

    @Test("a simulated host has no links, and no sockets, of the kernel's")
    func noKernel() async throws {
        try await Simulation.run(seed: 1) { world in
            try await world.host("alone").run { runtime in
                await #expect(throws: LinkError.self) { try await runtime.withLink(LinkName(.null, "a")) { _ in } }
                for address in [SocketAddress.unix(path: "/tmp/nobody"), .unix(path: "@nobody")] {
                    await #expect(throws: NetworkError.addressNotAvailable(address)) {
                        try await runtime.withConnection(to: address) { _ in }
                    }
                    await #expect(throws: NetworkError.addressNotAvailable(address)) {
                        try await runtime.serve(on: address) { _ in }
                    }
                    await #expect(throws: NetworkError.addressNotAvailable(address)) {
                        _ = try await runtime.cores[0].listen(on: address)
                    }
                }
            }
        }
    }

    @Test("what the body throws is the cause of the failure")
    func bodyThrows() async throws {
        let failure = try await Self.failure { world in
            try await world.sleep(for: .seconds(3))
            throw Mishap()
        }
        #expect(failure.cause as? Mishap == Mishap())
        #expect(failure.now == Instant(nanoseconds: 3_000_000_000))
    }

    @Test("what a started program throws ends the run")
    func programThrows() async throws {
        let failure = try await Self.failure { world in
            world.host("server").start { _ in throw Mishap() }
            try await world.sleep(for: .seconds(1000))
        }
        #expect(failure.cause as? Mishap == Mishap())
        #expect(failure.now < Instant(nanoseconds: 1_000_000_000))
    }

    @Test("a search returns the failure of the first seed that fails")
    func search() async throws {
        let failure = await Simulation.firstFailure(seeds: 0..<100) { world in
            if world.seed == 17 { throw Mishap() }
        }
        #expect(failure?.seed == 17)
        let none = await Simulation.firstFailure(seeds: 0..<10) { _ in }
        #expect(none == nil)
    }
}
