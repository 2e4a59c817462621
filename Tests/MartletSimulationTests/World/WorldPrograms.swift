// Programs that the tests of whole worlds run: as they would be written for real.

import Martlet
import MartletSimulation
import Testing

enum WorldPrograms {
    /// Sends back what comes.
    @Sendable static func echo(_ runtime: Runtime) async throws {
        try await runtime.serve(on: .any(port: 7)) { connection in
            for try await bytes in connection { try await connection.send(bytes) }
        }
    }

    /// Bytes that tell where they are missing, doubled or of another client.
    static func pattern(_ count: Int, _ key: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ key &* 7) }
    }

    /// Sends a pattern to the echo server and receives it back, and then the server's FIN.
    static func client(_ runtime: Runtime, to server: String, count: Int, key: Int) async throws {
        try await runtime.withConnection(to: server, port: 7) { connection in
            let sent = pattern(count, key)
            async let received = receiveAll(connection)
            try await connection.send(sent)
            try await connection.finish()
            let bytes = try await received
            #expect(bytes == sent)
        }
    }

    static func receiveAll(_ connection: TCPConnection) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await run in connection { bytes += Array(run) }
        return bytes
    }

    /// An echo server, and clients on hosts of their own, over the given links. Returns when all clients have ended.
    static func echoWorld(
        seed: UInt64, clients: Int = 3, count: Int = 50_000, _ conditions: LinkConditions
    ) async throws(SimulationFailure) -> SimulatedRun<Void> {
        try await Simulation.run(seed: seed) { world in
            world.conditions = conditions
            world.host("server").start(echo)
            try await world.sleep(for: .milliseconds(1))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for key in 0..<clients {
                    let host = world.host("client\(key)")
                    group.addTask {
                        try await host.run { try await client($0, to: "server", count: count, key: key) }
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
