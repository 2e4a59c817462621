// compare links: forwarding between links in memory, beside DPDK's testpmd, in turn, each pinned to one core.

import ArgumentParser
import Foundation
import Glibc

struct CompareLinks: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "links",
        abstract: "Compares forwarding between Martlet's links in memory with DPDK's testpmd.",
        discussion: "Scenarios: \(LinkScenario.all.map(\.name).joined(separator: ", ")).")

    @Option(help: "Rounds; in each, both take their turn in every scenario.")
    var rounds = 5

    @Option(help: "Seconds of a run of ours. testpmd reports once a second and runs for three.")
    var seconds = 1.0

    @Option(help: "Only this scenario; may be given several times.")
    var scenario: [String] = []

    @Flag(help: "Print the runs and bars as JSON instead of tables.")
    var json = false

    @Option(help: "The forwarding core is the processor behind this one.")
    var cpu = 0

    @Option(help: "Where to write the results. By default Results for a whole run, and nowhere for any other.")
    var output: String?

    func validate() throws {
        guard rounds > 0, seconds > 0, cpu >= 0 else { throw ValidationError("Rounds and seconds must be positive.") }
        for name in scenario where !LinkScenario.all.contains(where: { $0.name == name }) {
            throw ValidationError("There is no scenario \(name).")
        }
    }

    func run() throws {
        let scenarios = LinkScenario.all.filter { scenario.isEmpty || scenario.contains($0.name) }
        var report = LinkReport(
            machine: .current(),
            command:
                "swift run -c release --package-path Benchmarks compare links --rounds \(rounds) --seconds \(seconds)"
                + scenario.map { " --scenario \($0)" }.joined(), scenarios: scenarios)
        let peer = TestpmdRun.path
        if peer == nil { Progress.note("testpmd is left out: install the package dpdk") }
        for round in 1...rounds {
            for scenario in scenarios {
                Progress.show("round \(round)/\(rounds)  \(scenario.name)  \(report.latest)")
                do {
                    report.own[scenario.name, default: []].append(try own(scenario))
                    if let peer, let testpmd = scenario.peer {
                        let figure = try TestpmdRun.framesPerSecond(
                            peer, testpmd.arguments(burst: scenario.burst, cpu: cpu))
                        report.peer[scenario.name, default: []].append(figure)
                    }
                } catch {
                    report.failures.append("\(scenario.name), round \(round): \(error)")
                    Progress.note(report.failures[report.failures.count - 1])
                }
            }
        }
        Progress.end()
        if json {
            try FileHandle.standardOutput.write(contentsOf: report.json())
        } else {
            print(report.text)
        }
        if let directory = output ?? (scenario.isEmpty && peer != nil ? "Results" : nil) {
            try report.write(to: URL(fileURLWithPath: directory))
            Progress.note("written to \(directory)")
        }
        if report.rows.contains(where: { $0.passed == false }) || !report.failures.isEmpty { throw ExitCode(1) }
    }

    private func own(_ scenario: LinkScenario) throws -> Double {
        // The pipe between cores has two threads: one on `cpu`, one behind it. All others have one.
        let first = scenario.name == "cores" ? cpu : cpu + 1
        let process = Siblings.process(
            "martlet-forward",
            scenario.own + ["--burst", "\(scenario.burst)", "--seconds", "\(seconds)", "--cpu", "\(first)"])
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw ChildError(description: "martlet-forward ended with status \(process.terminationStatus)")
        }
        struct Figure: Decodable { var framesPerSecond: Double }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Figure.self, from: bytes).framesPerSecond
    }
}

/// Runs testpmd for some seconds and reads what it reports.
enum TestpmdRun {
    static var path: String? {
        ["/usr/bin/dpdk-testpmd", "/usr/local/bin/dpdk-testpmd"].first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
    }

    /// The sum over its ports in the last whole second before it was stopped.
    static func framesPerSecond(_ path: String, _ arguments: [String]) throws -> Double {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let descriptor = output.fileHandleForReading.fileDescriptor
        let deadline = Date(timeIntervalSinceNow: 20)
        var text = ""
        // Each report has a line of each of the two ports. The first is of a second that has hardly begun.
        while rates(in: text).count < 8, deadline.timeIntervalSinceNow > 0 {
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 1000) >= 0 else { break }
            guard waiting.revents != 0 else { continue }
            let bytes = output.fileHandleForReading.availableData
            if bytes.isEmpty { break }
            text += String(decoding: bytes, as: UTF8.self)
        }
        process.interrupt()
        _ = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let rates = rates(in: text)
        guard rates.count >= 8 else { throw ChildError(description: "testpmd did not report: \(text.suffix(400))") }
        return rates[6] + rates[7]
    }

    private static func rates(in text: String) -> [Double] {
        text.split(separator: "\n").compactMap { line in
            guard let range = line.range(of: "Tx-pps:") else { return nil }
            return line[range.upperBound...].split(separator: " ").first.flatMap { Double($0) }
        }
    }
}
