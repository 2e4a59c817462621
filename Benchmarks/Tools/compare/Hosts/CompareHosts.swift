// compare hosts: servers that a client of the kernel's reaches over a wire. Martlet's own stack on AF_XDP beside a C server on the
// kernel's TCP, on the same veth; and bulk over a TAP, whose large segments the stack takes and makes.

import ArgumentParser
import Foundation
import Glibc

struct CompareHosts: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hosts",
        abstract:
            "Compares a server on Martlet's stack with one in C on the kernel's TCP, for a client on another host.",
        discussion: """
            The hosts are two network namespaces, each with a processor of its own, joined by a veth. Each one's receiving is done \
            by its own processor, as on two machines: with receive packet steering where the kernel receives, and with threaded \
            NAPI, moderated as a network card's interrupts are (--moderation), where AF_XDP does. What the server's \
            processor did beside the server counts as the server's. It needs root, iproute2 and ethtool.
            """)

    @Option(help: "Rounds; in each, both servers take their turn at each workload.")
    var rounds = 5

    @Option(help: "Seconds of a run, after half a second to warm up.")
    var seconds = 2.0

    @Option(
        help:
            "Microseconds for which the kernel collects frames for AF_XDP before it looks at them; 0 lets the sender look."
    )
    var moderation = 50

    @Option(help: "The client's processor; the server's is the next one.")
    var cpu = 0

    @Flag(help: "Print the runs and bars as JSON instead of tables.")
    var json = false

    @Flag(help: "One round of short runs: a look, not a measurement.")
    var quick = false

    @Option(help: "Where to write the results. By default Results, and nowhere for a quick look.")
    var output: String?

    func validate() throws {
        guard rounds > 0, seconds > 0, cpu >= 0, moderation >= 0 else {
            throw ValidationError("Rounds and seconds must be positive.")
        }
    }

    func run() throws {
        guard geteuid() == 0 else { throw ChildError(description: "namespaces and veths are for root: sudo") }
        guard sysconf(Int32(_SC_NPROCESSORS_ONLN)) > cpu + 1 else {
            throw ChildError(description: "two hosts take two processors")
        }
        for name in ["load", "epoll-echo", "martlet-echo"] where !Siblings.exists(name) {
            throw ChildError(description: "\(name) has not been built; run `swift build -c release` first")
        }
        let (rounds, seconds) = quick ? (1, min(seconds, 0.2)) : (rounds, seconds)
        var runs = Runs()
        for round in 1...rounds {
            for workload in HostWorkload.all {
                // Who begins alternates, so that a machine that gets slower hurts both.
                for server in round.isMultiple(of: 2) ? workload.servers.reversed() : workload.servers {
                    Progress.show("round \(round) of \(rounds): \(workload.name), \(server.rawValue)")
                    let run = try HostRun(workload, server, seconds: seconds, cpu: cpu, moderation: moderation)
                    runs.runs.append(
                        Run(
                            round: round, scenario: workload.name, server: server.rawValue,
                            measurement: try run.measure()))
                }
            }
        }
        Progress.end()
        let command =
            "swift run -c release --package-path Benchmarks compare hosts --rounds \(rounds) --seconds \(seconds)"
            + " --moderation \(moderation)"
        let report = HostReport(machine: .current(), command: command, moderation: moderation, runs: runs)
        if json {
            try FileHandle.standardOutput.write(contentsOf: report.json())
        } else {
            print(report.text)
        }
        if let directory = output ?? (quick ? nil : "Results") {
            try report.write(to: URL(fileURLWithPath: directory))
            Progress.note("written to \(directory)/hosts.md")
        }
        if report.verdicts.contains(where: { !$0.passed }) { throw ExitCode(1) }
    }
}

/// Who serves, and on what.
enum HostServer: String, Sendable {
    case epoll
    case xdp
    case tap
}

/// What the client does, and to whom.
struct HostWorkload: Sendable {
    var name: String
    var servers: [HostServer]
    /// The load generator's mode, and that of Martlet's server.
    var load: String
    var mode = "serve"

    static let all = [
        HostWorkload(name: "echo", servers: [.epoll, .xdp], load: "echo"),
        HostWorkload(name: "short", servers: [.epoll, .xdp], load: "short"),
        HostWorkload(name: "to-tap", servers: [.tap], load: "send", mode: "discard"),
        HostWorkload(name: "from-tap", servers: [.tap], load: "receive", mode: "source"),
    ]
}
