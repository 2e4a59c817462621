// compare transports: one program, with its server and its clients on one core, over Martlet's own stack and over the kernel's
// TCP on loopback, in turn.

import ArgumentParser
import Foundation
import Glibc

struct CompareTransports: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transports",
        abstract: "Compares one program over Martlet's own stack and over the kernel's loopback.",
        discussion: """
            Server and clients are tasks of one runtime with one core, on one processor; the stack reaches itself without a \
            link. The kernel's loopback is measured with io_uring where that is allowed. Where there is a second processor, the \
            stack is measured on both too: a server and clients each.
            """)

    @Option(help: "Rounds; in each, both transports take their turn at each workload.")
    var rounds = 5

    @Option(help: "Seconds of a run, after a quarter of them to warm up.")
    var seconds = 1.0

    @Option(help: "Idle connections of the idle run, which the stack makes alone; 0 for none.")
    var idle = 100_000

    @Option(help: "The processor.")
    var cpu = 0

    @Flag(help: "Print the runs and bars as JSON instead of tables.")
    var json = false

    @Flag(help: "One round of short runs: a look, not a measurement.")
    var quick = false

    @Option(help: "Where to write the results. By default Results, and nowhere for a quick look.")
    var output: String?

    func validate() throws {
        guard rounds > 0, seconds > 0, idle >= 0, cpu >= 0 else {
            throw ValidationError("Rounds and seconds must be positive.")
        }
    }

    func run() throws {
        let (rounds, seconds) = quick ? (1, min(seconds, 0.1)) : (rounds, seconds)
        let idle = quick ? min(idle, 1000) : idle
        guard Siblings.exists("runtime-pair") else {
            throw ChildError(description: "runtime-pair has not been built; run `swift build -c release` first")
        }
        let processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        var runs: [TransportRun] = []
        func run(_ workload: TransportWorkload, _ transport: String, _ round: Int) throws {
            Progress.show("round \(round) of \(rounds): \(workload.name) over the \(transport)")
            let arguments = ["--transport", transport, "--seconds", "\(seconds)", "--cpu", "\(cpu)"]
            let bytes = try Siblings.output("runtime-pair", workload.arguments + arguments, statuses: [0, 2])
            runs.append(try TransportRun(round, workload.name, transport, bytes))
        }
        for round in 1...rounds {
            for workload in TransportWorkload.all {
                // Who begins alternates, so that a machine that gets slower hurts both.
                for transport in round.isMultiple(of: 2) ? ["kernel", "stack"] : ["stack", "kernel"] {
                    try run(workload, transport, round)
                }
            }
            if processors > cpu + 1 { try run(.twoCores, "stack", round) }
            if idle > 0 { try run(.idle(idle), "stack", round) }
        }
        Progress.end()
        let command =
            "swift run -c release --package-path Benchmarks compare transports --rounds \(rounds) --seconds \(seconds)"
            + " --idle \(idle)"
        let report = TransportReport(machine: .current(), command: command, runs: runs)
        if json {
            try FileHandle.standardOutput.write(contentsOf: report.json())
        } else {
            print(report.text)
        }
        if let directory = output ?? (quick ? nil : "Results") {
            try report.write(to: URL(fileURLWithPath: directory))
            Progress.note("written to \(directory)/transports.md")
        }
        if report.verdicts.contains(where: { !$0.passed }) { throw ExitCode(1) }
    }
}

/// What runtime-pair is asked for.
struct TransportWorkload: Sendable {
    var name: String
    var arguments: [String]

    /// Messages of one connection before it is closed.
    static let messages = [1, 2, 8, 32, 128]

    static let all =
        [TransportWorkload(name: "echo", arguments: ["echo"])]
        + messages.map { count in
            TransportWorkload(name: "connections-\(count)", arguments: ["connections", "--messages", "\(count)"])
        }
        + ["bulk", "latency"].map { TransportWorkload(name: $0, arguments: [$0]) }

    /// On two cores, each with its server and clients.
    static let twoCores = TransportWorkload(name: "echo-2-cores", arguments: ["echo", "--cores", "2"])

    static func idle(_ count: Int) -> TransportWorkload {
        TransportWorkload(name: "idle", arguments: ["idle", "--connections", "\(count)"])
    }
}

struct TransportRun: Codable, Sendable {
    var round: Int
    var workload: String
    var transport: String
    var figures: [String: Double]

    init(_ round: Int, _ workload: String, _ transport: String, _ output: Data) throws {
        guard let object = (try? JSONSerialization.jsonObject(with: output)) as? [String: Any] else {
            throw ChildError(description: "runtime-pair printed no result for \(workload) over the \(transport)")
        }
        (self.round, self.workload, self.transport) = (round, workload, transport)
        figures = object.compactMapValues { ($0 as? NSNumber)?.doubleValue }
    }
}
