// The report of a comparison: the tables of each scenario, the bars, and the files in which they are kept.

import Foundation

struct Report {
    var machine: Machine
    var command: String
    var loadCpu: Int
    var scenarios: [Scenario]
    var runs: Runs

    var verdicts: [Verdict] {
        Bar.all.map { Verdict($0, runs) }
    }

    // MARK: Tables

    func table(_ scenario: Scenario) -> Table {
        switch scenario.name {
        case Scenario.idle: idleTable(scenario)
        case Scenario.cores: coresTable(scenario)
        default: loadTable(scenario)
        }
    }

    private var measuredScenarios: [Scenario] {
        scenarios.filter { !measured($0).isEmpty }
    }

    private func measured(_ scenario: Scenario) -> [Server] {
        scenario.servers.filter { !runs.rounds(scenario.name, $0).isEmpty }
    }

    private func loadTable(_ scenario: Scenario) -> Table {
        let name = scenario.name
        var table = Table(header: [
            "server", "CPU µs/request", "to C epoll", "instructions/request", "in user space", "requests/s", "p50 µs",
            "p99 µs", "p99.9 µs", "errors",
        ])
        table.rows = measured(scenario).map { server in
            [
                server.title,
                runs.median(\.serverCpuNsPerRequest, name, server).written(3, scale: 0.001),
                runs.ratio(\.serverCpuNsPerRequest, (name, server), to: (name, .epoll)).written(2),
                runs.median(\.serverInstructionsPerRequest, name, server).written(0),
                runs.median(\.serverUserInstructionsPerRequest, name, server).written(0),
                runs.median(\.throughput, name, server).written(0),
                runs.median(\.p50, name, server).written(1),
                runs.median(\.p99, name, server).written(1),
                runs.median(\.p999, name, server).written(1),
                "\(errors(name, server))",
            ]
        }
        return table
    }

    private func idleTable(_ scenario: Scenario) -> Table {
        var table = Table(header: ["server", "KiB/connection", "CPU %", "errors"])
        table.rows = measured(scenario).map { server in
            [
                server.title,
                runs.median(\.serverBytesPerIdleConnection, scenario.name, server).written(2, scale: 1.0 / 1024),
                runs.median(\.serverCpuShare, scenario.name, server).written(3, scale: 100),
                "\(errors(scenario.name, server))",
            ]
        }
        return table
    }

    private func coresTable(_ scenario: Scenario) -> Table {
        let name = scenario.name
        var table = Table(header: ["server", "requests/s", "to one core", "CPU µs/request", "p99 µs", "errors"])
        table.rows = measured(scenario).map { server in
            [
                server.title,
                runs.median(\.throughput, name, server).written(0),
                runs.ratio(\.throughput, (name, server), to: (name, .martlet)).written(2),
                runs.median(\.serverCpuNsPerRequest, name, server).written(3, scale: 0.001),
                runs.median(\.p99, name, server).written(1),
                "\(errors(name, server))",
            ]
        }
        return table
    }

    private func errors(_ scenario: String, _ server: Server) -> Int {
        runs.rounds(scenario, server).values.reduce(0) { $0 + $1.errors }
    }

    var barTable: Table {
        var table = Table(header: ["bar", "at most", "measured", "verdict"])
        table.rows = verdicts.map { [$0.bar, $0.written($0.limit), $0.written($0.value), $0.mark] }
        return table
    }

    // MARK: Text

    var remarks: [String] {
        [
            "The server runs on processor 0 and the load generator on processor \(loadCpu); times are the server's "
                + "own processor time, read as the measured window opens and closes.",
            "Servers take turns within each round. Figures are medians over the rounds, ratios medians of the ratios "
                + "within a round; instructions come from one separate run.",
            "In \(Scenario.cores) the load is not pinned, and load and server share the machine's \(machine.cores) "
                + "CPUs: it shows what a second core is worth beside the load, not how the server scales.",
        ]
    }

    var text: String {
        var parts = measuredScenarios.map { "\($0.name): \($0.title)\n\(table($0).text)" }
        parts.append("bars\n\(barTable.text)")
        parts += runs.failures.map { "failed: \($0.scenario) \($0.server) round \($0.round): \($0.reason)" }
        parts.append(remarks.joined(separator: "\n"))
        return parts.joined(separator: "\n\n")
    }

    var markdown: String {
        var parts = [
            "# Results",
            Table(
                header: ["", ""],
                rows: [
                    ["CPU", machine.processor], ["CPUs", "\(machine.cores)"], ["kernel", machine.kernel],
                    ["compiler", machine.swift], ["date", machine.date], ["command", "`\(command)`"],
                ]
            ).markdown,
            remarks.joined(separator: "\n"),
            "![Server CPU time a request and a short connection](echo.svg)",
            "## Bars", barTable.markdown,
        ]
        for scenario in measuredScenarios {
            parts += ["## \(scenario.name)", scenario.title.prefix(1).uppercased() + scenario.title.dropFirst() + "."]
            parts.append(table(scenario).markdown)
        }
        if !runs.failures.isEmpty {
            let failed = runs.failures.map { "- \($0.scenario), \($0.server), round \($0.round): \($0.reason)" }
            parts += ["## Failed runs", failed.joined(separator: "\n")]
        }
        return parts.joined(separator: "\n\n") + "\n"
    }

    // MARK: Files

    private struct Document: Codable {
        var machine: Machine
        var command: String
        var bars: [Verdict]
        var runs: [Run]
        var failures: [Failure]
    }

    func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let document = Document(
            machine: machine, command: command, bars: verdicts, runs: runs.runs, failures: runs.failures)
        return try encoder.encode(document) + Data("\n".utf8)
    }

    func write(to directory: URL) throws {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try json().write(to: directory.appendingPathComponent("\(machine.date).json"))
        try Data(markdown.utf8).write(to: directory.appendingPathComponent("results.md"))
        try Data(Chart(self).svg.utf8).write(to: directory.appendingPathComponent("echo.svg"))
    }
}
