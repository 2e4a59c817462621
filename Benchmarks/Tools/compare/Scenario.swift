// The scenarios of the comparison: what the load generator is told to do, and to which servers.

struct Scenario: Sendable {
    /// Where server and load run.
    enum Placement: Sendable {
        /// Each on its processor; the server on 0.
        case pinned
        /// Both wherever the kernel puts them.
        case free
    }

    var name: String
    var title: String
    var load: [String]
    var placement = Placement.pinned
    /// Length of a run, where it is not the one asked for.
    var seconds: Double?
    var warmup = 0.3
    /// Most rounds worth running; the figures of an idle server hardly vary.
    var mostRounds = Int.max
    var servers = Server.singleCore

    static let echo64 = "echo-64x64"
    static let echo512 = "echo-512x64"
    static let echo16K = "echo-16x16k"
    static let pipeline = "pipeline-64x64x16"
    static let short = "short-64"
    static let shortBesideIdle = "short-64-idle10k"
    static let idle = "idle-10k"
    static let cores = "cores-512x64"

    static let idleConnections = 10_000

    static let all: [Scenario] = [
        Scenario(
            name: echo64, title: "64 connections, one 64-byte message in flight on each",
            load: ["--mode", "echo", "--connections", "64", "--size", "64"]),
        Scenario(
            name: echo512, title: "512 connections, one 64-byte message in flight on each",
            load: ["--mode", "echo", "--connections", "512", "--size", "64"]),
        Scenario(
            name: echo16K, title: "16 connections, one 16 KiB message in flight on each",
            load: ["--mode", "echo", "--connections", "16", "--size", "16384"]),
        Scenario(
            name: pipeline, title: "64 connections, 16 messages of 64 bytes in flight on each",
            load: ["--mode", "pipeline", "--connections", "64", "--size", "64", "--depth", "16"]),
        Scenario(
            name: short, title: "connect, one 64-byte message, close; 64 at a time",
            load: ["--mode", "short", "--connections", "64", "--size", "64"]),
        Scenario(
            name: shortBesideIdle, title: "the same beside 10,000 idle connections",
            load: ["--mode", "short", "--connections", "64", "--size", "64", "--idle", "\(idleConnections)"]),
        Scenario(
            name: idle, title: "10,000 idle connections, each after one echoed byte",
            load: ["--mode", "idle", "--idle", "\(idleConnections)"], seconds: 5, warmup: 1, mostRounds: 3),
        Scenario(
            name: cores, title: "512 connections, one 64-byte message in flight on each; the load not pinned",
            load: ["--mode", "echo", "--connections", "512", "--size", "64"], placement: .free,
            servers: [.martlet, .martletTwoCores]),
    ]
}
