// compare servers: runs the scenarios against Martlet's echo server and its peers, and holds the figures against the bars.

import ArgumentParser
import Foundation
import Glibc

struct CompareServers: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "servers",
        abstract: "Compares Martlet's echo server with C and SwiftNIO peers on this machine.",
        discussion: """
            Scenarios: \(Scenario.all.map(\.name).joined(separator: ", ")).
            Servers: \(Server.allCases.map(\.rawValue).joined(separator: ", ")).
            """)

    @Option(help: "Rounds; in each, every server takes its turn in every scenario.")
    var rounds = 15

    @Option(help: "Seconds measured in a run.")
    var seconds = 1.0

    @Option(help: "Only this scenario; may be given several times.")
    var scenario: [String] = []

    @Option(help: "Only this server; may be given several times.")
    var server: [String] = []

    @Flag(help: "Print the runs and bars as JSON instead of tables.")
    var json = false

    @Flag(help: "Three rounds of a third of a second: a look, not a measurement.")
    var quick = false

    @Option(
        help: """
            Processor of the load generator; the server's is 0. On 0 as well, the figures leave out what it costs to \
            move memory between processors, which varies most on a virtual machine.
            """)
    var loadCpu = 1

    @Option(help: "First of the 1000 ports to use.")
    var basePort = 20000

    @Option(help: "Where to write the results. By default Results for a whole run, and nowhere for any other.")
    var output: String?

    func validate() throws {
        guard rounds > 0, seconds > 0, loadCpu >= 0, (1024...64000).contains(basePort) else {
            throw ValidationError("Rounds and seconds must be positive, and the base port from 1024 to 64000.")
        }
        for name in scenario where !Scenario.all.contains(where: { $0.name == name }) {
            throw ValidationError("There is no scenario \(name).")
        }
        for name in server where Server(rawValue: name) == nil {
            throw ValidationError("There is no server \(name).")
        }
    }

    func run() throws {
        let scenarios = Scenario.all.filter { scenario.isEmpty || scenario.contains($0.name) }
        let present = Server.allCases.filter { Siblings.exists($0.executable) }
        let servers = present.filter { server.isEmpty || server.contains($0.rawValue) }
        for missing in Server.allCases where !present.contains(missing) {
            Progress.note("\(missing.rawValue) is left out: \(missing.executable) has not been built")
        }
        guard Siblings.exists("load") else {
            throw ChildError(description: "load has not been built; run `swift build -c release` first")
        }

        var runner = Runner(
            rounds: quick ? min(rounds, 3) : rounds, seconds: quick ? 0.3 : seconds, quick: quick,
            loadCpu: loadCpu, basePort: basePort)
        let runs = runner.run(scenarios, servers)
        let command =
            "swift run -c release compare --rounds \(runner.rounds) --seconds \(runner.seconds)"
            + " --load-cpu \(loadCpu)" + scenario.map { " --scenario \($0)" }.joined()
            + server.map { " --server \($0)" }.joined()
        let report = Report(
            machine: .current(), command: command, loadCpu: loadCpu, scenarios: scenarios, runs: runs)

        if json {
            try FileHandle.standardOutput.write(contentsOf: report.json())
        } else {
            print(report.text)
        }
        let whole = scenario.isEmpty && server.isEmpty && !quick && present.count == Server.allCases.count
        if let directory = output ?? (whole ? "Results" : nil) {
            try report.write(to: URL(fileURLWithPath: directory))
            Progress.note("written to \(directory)")
        }
        if report.verdicts.contains(where: { $0.passed == false }) {
            throw ExitCode(1)
        }
    }
}
