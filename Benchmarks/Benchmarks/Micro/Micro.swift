// Micro-benchmarks of what a request is made of: a turn of the executor, a wake-up from another thread, a timer, an
// accepted connection, an echo. Run by `swift package benchmark`. Each starts a runtime of one core outside of what is
// measured, and both ends of a connection live on that core.

import Benchmark
import Martlet

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = Benchmark.Configuration(
        metrics: [.wallClock, .throughput, .instructions],
        warmupIterations: 3, scalingFactor: .kilo, maxDuration: .seconds(2), maxIterations: 1_000)

    onCore("Executor turn") { _, _ in
        await Task.yield()
    }

    onCore("Child task") { _, _ in
        await withDiscardingTaskGroup { $0.addTask {} }
    }

    onCore("Timer, expiring at once") { core, _ in
        try await core.sleep(for: .zero)
    }

    onCore("Timer, set and cancelled") { core, connection in
        try await connection.send("x", within: .seconds(60))
        _ = try await connection.receive(within: .seconds(60))
    }

    onCore("Echo, 64 bytes") { _, connection in
        try await connection.send(message)
        _ = try await connection.receive()
    }

    onCore("Connect, accept, close") { core, connection in
        guard let server = await connection.peer else { return }
        try await core.withConnection(to: server) { _ in }
    }

    // From a thread of the global pool to the core and back.
    onRuntime("Wake-up from another thread") { runtime, iterations, measure in
        let core = runtime.cores[0]
        try await measure {
            for _ in iterations {
                try await core.sleep(for: .zero)
            }
        }
    }
}

private let message = Bytes(repeatElement(0x2a, count: 64))

private typealias Measure = @Sendable (_ body: () async throws -> Void) async throws -> Void

/// A benchmark inside a runtime of one core.
private func onRuntime(
    _ name: String, _ body: @escaping @Sendable (Runtime, Range<Int>, Measure) async throws -> Void
) {
    _ = Benchmark(name) { benchmark in
        nonisolated(unsafe) let benchmark = benchmark
        try await Runtime.run(.init(cores: .count(1))) { runtime in
            try await body(runtime, benchmark.scaledIterations) { measured in
                benchmark.startMeasurement()
                try await measured()
                benchmark.stopMeasurement()
            }
        }
    }
}

/// A benchmark whose iterations run on the core, with a connection to an echo server there.
private func onCore(
    _ name: String, _ iteration: @escaping @Sendable (Core, TCPConnection) async throws -> Void
) {
    onRuntime(name) { runtime, iterations, measure in
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (addresses, listening) = AsyncStream.makeStream(of: SocketAddress.self)
            group.addTask {
                try await runtime.serve(on: .loopback(port: 0), onListening: { listening.yield($0) }) { connection in
                    for try await bytes in connection {
                        try await connection.send(bytes)
                    }
                }
            }
            for await address in addresses {
                try await runtime.cores[0].withConnection(to: address) { connection in
                    let core = connection.core
                    try await measure {
                        for _ in iterations {
                            try await iteration(core, connection)
                        }
                    }
                }
                break
            }
            group.cancelAll()
        }
    }
}
