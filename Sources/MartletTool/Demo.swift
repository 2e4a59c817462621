// martlet demo: an echo server and a load generator in one process, to see what Martlet does on this machine: over the kernel's
// TCP/IP, and over its own.

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

            Then the same server and the same load share one core, first over the kernel's loopback and then over Martlet's own \
            TCP/IP stack in memory, so that the two can be compared: all the CPU time that a request takes is that core's.

            With --json it is one object: "kernel" is the first measurement, "oneCore" has one for "kernel" and one for "stack", \
            each as 'martlet load --json' has it; their serverMicrosecondsPerRequest counts both sides.
            """)

    @OptionGroup var options: LoadOptions

    func validate() throws {
        if let mistake = options.plan.mistake { throw ValidationError(mistake) }
    }

    func run() async throws {
        let line = LiveLine()
        let kernel = try await Self.measure(options.plan, driver: options.driver, line: line)
        var report = DemoReport(kernel: kernel)
        if !options.json { print(kernel.text(width: Screen.width)) }
        if !kernel.wasInterrupted {
            var plan = options.plan
            (plan.seconds, plan.warmup) = (min(2, plan.seconds), 0.3)
            let overKernel = try await Self.measureOneCore(plan, over: .kernel, driver: options.driver, line: line)
            let overStack = try await Self.measureOneCore(plan, over: .stack([]), driver: options.driver, line: line)
            report.oneCore = .init(kernel: overKernel, stack: overStack)
            if !options.json { print(report.comparison.joined(separator: "\n")) }
        }
        if options.json { print(try report.json) }
        if !report.isClean { throw ExitCode.failure }
    }

    /// Measures with the server and the load on one core of one runtime, over either TCP/IP.
    static func measureOneCore(
        _ plan: LoadPlan, over transport: TransportChoice, driver: DriverChoice, line: LiveLine
    ) async throws -> LoadReport {
        let cpu = CPUs.usable[0]
        let configuration = Runtime.Configuration(
            transport: transport, cores: .these([cpu]), driver: driver, shutdownSignals: [.interrupt, .terminate],
            logger: nil)
        return try await Runtime.run(configuration) { runtime in
            try await withEchoServer(on: runtime) { address, clock in
                let generator = LoadGenerator(plan: plan, address: address, runtime: runtime, serverClock: clock)
                var report = try await generator.run(showing: line)
                report.server = .init(driver: explain(runtime.driver, asked: driver), cpus: [cpu])
                report.load = report.server
                return report
            }
        }
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

/// What the demo has measured.
struct DemoReport: Encodable {
    struct OneCore: Encodable {
        var kernel: LoadReport
        var stack: LoadReport
    }

    /// The server on one core, the load on another, over the kernel's TCP/IP.
    var kernel: LoadReport
    /// Both on one core.
    var oneCore: OneCore?

    var isClean: Bool {
        kernel.isClean && oneCore.map { $0.kernel.isClean && $0.stack.isClean } ?? true
    }

    var json: String { get throws { try LoadReport.json(of: self) } }

    /// The two on one core, side by side.
    var comparison: [String] {
        guard let oneCore else { return [] }
        let sides = [oneCore.kernel, oneCore.stack]
        func row(_ name: String, _ value: (LoadReport) -> String) -> [String] { [name] + sides.map(value) }
        let table = Columns(
            ["", "kernel", "own stack"],
            [
                row("requests/s") { $0.requestsPerSecond.grouped },
                row("p50") { $0.latencies.percentile(50).asDuration },
                row("p99") { $0.latencies.percentile(99).asDuration },
                row("CPU a request, both ends") {
                    $0.serverMicrosecondsPerRequest.map { ($0 * 1000).asDuration } ?? "–"
                },
                row("verified echoes") { $0.verifiedRequests.grouped },
            ])
        return ["", "the same, server and load on one core, in memory:"] + table.lines
    }
}
