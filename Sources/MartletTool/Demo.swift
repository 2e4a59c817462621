// martlet demo: an echo server and a load generator in one process, to see what Martlet does on this machine.

import ArgumentParser
import Foundation
import Martlet
import Synchronization

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs an echo server under load on this machine and shows what it does.",
        discussion: """
            The server has the first CPU to itself and the load generator the second; where there is only one, they share it. \
            Everything stays on 127.0.0.1, and no privileges are needed. Every echoed byte is compared with what was sent.

            The server's CPU time a request is read from its core's own clock, the kernel's work for it included.
            """)

    @OptionGroup var options: LoadOptions

    func validate() throws {
        if let mistake = options.plan.mistake { throw ValidationError(mistake) }
    }

    func run() async throws {
        let report = try await Self.measure(options.plan, driver: options.driver, line: LiveLine())
        print(options.json ? try report.json : report.text(width: Screen.width))
        if !report.isClean { throw ExitCode.failure }
    }

    /// Starts the server on one core and the load on another, and measures.
    static func measure(_ plan: LoadPlan, driver: DriverChoice, line: LiveLine) async throws -> LoadReport {
        let cpus = CPUs.usable
        let (serverCPU, loadCPU) = (cpus[0], cpus.count > 1 ? cpus[1] : cpus[0])
        return try await Runtime.run(.init(cores: .these([serverCPU]), driver: driver, logger: nil)) { server in
            try await withEchoServer(on: server) { address, clock in
                let configuration = Runtime.Configuration(
                    cores: .these([loadCPU]), driver: driver, shutdownSignals: [.interrupt, .terminate], logger: nil)
                return try await Runtime.run(configuration) { load in
                    let generator = LoadGenerator(plan: plan, address: address, runtime: load, serverClock: clock)
                    var report = try await generator.run(showing: line)
                    report.server = .init(driver: explain(server.driver, asked: driver), cpus: [serverCPU])
                    report.load = .init(driver: load.driver, cpus: [loadCPU])
                    return report
                }
            }
        }
    }

    /// Runs `body` while a server echoes at the address it is given. The clock is that of the server's core.
    private static func withEchoServer<R: Sendable>(
        on runtime: Runtime, _ body: @escaping @Sendable (SocketAddress, ThreadClock?) async throws -> R
    ) async throws -> R {
        let found = Mutex<ThreadClock?>(nil)
        try await runtime.forEachCore { _ in found.withLock { $0 = .current } }
        let clock = found.withLock { $0 }
        let (addresses, listening) = AsyncStream.makeStream(of: SocketAddress.self)
        return try await withThrowingTaskGroup(of: R?.self) { group in
            group.addTask {
                defer { listening.finish() }
                try await runtime.serve(
                    on: .loopback(port: 0), onListening: { listening.yield($0) },
                    handler: { connection in
                        for try await bytes in connection { try await connection.send(bytes) }
                    })
                return nil
            }
            group.addTask {
                for await address in addresses { return try await body(address, clock) }
                return nil
            }
            defer { group.cancelAll() }
            while let result = try await group.next() { if let result { return result } }
            throw CancellationError()
        }
    }

    /// The driver, and why it is this one.
    private static func explain(_ driver: String, asked choice: DriverChoice) -> String {
        if choice != .automatic { return driver.hasPrefix("io_uring") ? "\(driver), asked for" : driver }
        if ProcessInfo.processInfo.environment["MARTLET_DRIVER"] != nil { return "\(driver), by MARTLET_DRIVER" }
        return driver.hasPrefix("io_uring") ? "\(driver), which this kernel allows" : driver
    }
}
