// runtime-pair: server and client in one process, on the same core, through the async API: over Martlet's own stack, or over the
// kernel's TCP on loopback. Prints one JSON object with what it measured.
//
// The program is the same for both; `--transport` is the one line that differs.

import ArgumentParser
import Martlet
import MartletStack
import PeerSupport

@main
struct RuntimePair: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runtime-pair", abstract: "A server and its clients on the same core, through the async API.",
        subcommands: [
            EchoCommand.self, ConnectionsCommand.self, BulkCommand.self, LatencyCommand.self, IdleCommand.self,
        ])
}

enum Transport: String, ExpressibleByArgument, CaseIterable, Sendable {
    /// The own stack's loopback.
    case stack
    /// The kernel's loopback.
    case kernel
}

/// What all commands take.
struct CommonOptions: ParsableArguments {
    @Option(help: "stack or kernel.")
    var transport = Transport.stack

    @Option(help: "Cores, each with a server and clients of its own, which find each other on it.")
    var cores = 1

    @Option(help: "Processor of the first core, the others on those after it. The runtime chooses if negative.")
    var cpu = -1

    @Option(help: "Seconds that are measured.")
    var seconds = 1.0

    func configuration(connections: Int = 4096) -> Runtime.Configuration {
        var configuration = Runtime.Configuration(
            transport: transport == .stack ? .stack([]) : .kernel,
            cores: cpu < 0 ? .count(cores) : .these(Array(cpu..<cpu + cores)))
        configuration.limits.connectionsPerCore = connections + 64
        configuration.stackLimits.tcp.connections = connections + 64
        configuration.stackLimits.tcp.timeWaits = max(16_384, connections)
        return configuration
    }

    func validate() throws {
        guard seconds > 0, cores > 0 else { throw ValidationError("--seconds and --cores must be positive") }
    }
}

struct EchoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo", abstract: "Messages that come back, on connections that stay open.")

    @Option(help: "Connections of a core.")
    var connections = 64

    @Option(help: "Bytes of a message.")
    var size = 64

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let result = try await common.measure(common.configuration()) { [connections, size] pair in
            for _ in 0..<connections { pair.addClient { client in try await client.exchange(size: size) } }
        }
        report("echo", result).with("connections", connections).with("bytes", size)
            .with("messages_per_second", result.perSecond).printed()
    }
}

struct ConnectionsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connections", abstract: "Connections that are opened for a few messages, and closed.")

    @Option(help: "Connections that are open at the same time.")
    var atOnce = 64

    @Option(help: "Messages a connection.")
    var messages = 1

    @Option(help: "Bytes of a message.")
    var size = 64

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let result = try await common.measure(common.configuration()) { [atOnce, messages, size] pair in
            for _ in 0..<atOnce {
                pair.addClient { client in try await client.reconnect(messages: messages, size: size) }
            }
        }
        report("connections", result).with("at_once", atOnce).with("messages", messages)
            .with("connections_per_second", result.perSecond)
            .with("messages_per_second", result.perSecond * Double(messages)).printed()
    }
}

struct BulkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bulk", abstract: "Bytes one way, over one connection.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let result = try await common.measure(common.configuration(), handler: sink) { pair in
            pair.addClient { client in try await client.flood() }
        }
        report("bulk", result).with("gigabits_per_second", result.perSecond * 8 / 1e9).printed()
    }
}

struct LatencyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "latency", abstract: "One message at a time on one connection: how long it takes to come back.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let result = try await common.measure(common.configuration()) { pair in
            pair.addClient { client in try await client.timed() }
        }
        let sorted = result.times.sorted()
        guard !sorted.isEmpty else { throw ValidationError("no message came back") }
        func percentile(_ share: Double) -> Double { Double(sorted[Int(Double(sorted.count - 1) * share)]) / 1000 }
        report("latency", result).with("p50_us", percentile(0.5)).with("p99_us", percentile(0.99))
            .with("p999_us", percentile(0.999)).printed()
    }
}

struct IdleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "idle", abstract: "An echo on few connections, alone and beside many whose handlers wait.")

    @Option(help: "Connections that are idle; each has two ends, and a task that waits at each.")
    var connections = 100_000

    @Option(help: "Connections that are busy.")
    var active = 64

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard common.cores == 1 else { throw ValidationError("idle connections are measured on one core") }
    }

    func run() async throws {
        let result = try await common.idle(connections: connections, active: active)
        Report("idle", common.seconds, errors: result.errors)
            .with("connections", connections).with("active", active)
            .with("messages_per_second_alone", result.alone).with("messages_per_second", result.beside)
            .with("ratio", result.alone / result.beside)
            .with("bytes_per_end", result.bytesPerEnd).with("idle_cpu_percent", result.idleCPU * 100).printed()
    }
}

extension ParsableCommand {
    fileprivate func report(_ workload: String, _ result: Measured) -> Report {
        Report(workload, result.seconds, errors: result.errors).with("count", result.count)
    }
}
