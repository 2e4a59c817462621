// compare links: forwarding between links in memory beside DPDK's testpmd, and links of the kernel's beside testpmd and tcpdump, in
// turn, each pinned to one core.

import ArgumentParser
import Foundation
import Glibc

struct CompareLinks: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "links",
        abstract: "Compares Martlet's links with DPDK's testpmd, and captures with tcpdump.",
        discussion: """
            Links in memory need nothing. Those of the kernel's need root: they are measured between namespaces that are made \
            and removed. Scenarios: \(LinkScenario.all.map(\.name).joined(separator: ", ")).
            """)

    @Option(help: "Rounds; in each, both take their turn in every scenario.")
    var rounds = 5

    @Option(help: "Seconds of a run of ours. testpmd reports once a second, and a whole warm one is taken.")
    var seconds = 1.0

    @Option(help: "Only this scenario; may be given several times.")
    var scenario: [String] = []

    @Flag(help: "One round of short runs: a look, not a measurement.")
    var quick = false

    @Flag(help: "Print the runs and bars as JSON instead of tables.")
    var json = false

    @Option(help: "The forwarding core is the processor behind this one.")
    var cpu = 0

    @Option(
        help: """
            Where to write the results, beside those of other scenarios that are there. By default Results for a whole run, and \
            nowhere for any other.
            """)
    var output: String?

    func validate() throws {
        guard rounds > 0, seconds > 0, cpu >= 0 else { throw ValidationError("Rounds and seconds must be positive.") }
        for name in scenario where !LinkScenario.all.contains(where: { $0.name == name }) {
            throw ValidationError("There is no scenario \(name).")
        }
    }

    func run() throws {
        let (rounds, seconds) = quick ? (1, min(seconds, 0.2)) : (rounds, seconds)
        let wanted = LinkScenario.all.filter { scenario.isEmpty || scenario.contains($0.name) }
        let onWires = geteuid() == 0
        if !onWires { Progress.note("links of the kernel's are left out: that needs root") }
        let scenarios = wanted.filter { $0.wire == nil || onWires }
        let command =
            "swift run -c release --package-path Benchmarks compare links --rounds \(rounds) --seconds \(seconds)"
            + scenario.map { " --scenario \($0)" }.joined()
        let machine = Machine.current()
        var report = LinkReport(runs: LinkRuns())
        if TestpmdRun.path == nil { Progress.note("testpmd is left out: install the package dpdk") }
        for round in 1...rounds {
            for scenario in scenarios {
                Progress.show("round \(round)/\(rounds)  \(scenario.name)  \(report.latest)")
                do {
                    let (own, peer) = try measure(scenario, seconds: seconds)
                    report.runs.add(own, peer, to: scenario.name, machine: machine, command: command)
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
        let passed = report.passed
        let isWhole = scenario.isEmpty && !quick && TestpmdRun.path != nil
        if let directory = output ?? (isWhole ? "Results" : nil) {
            try report.write(to: URL(fileURLWithPath: directory))
            Progress.note("written to \(directory)")
        }
        if !passed { throw ExitCode(1) }
    }

    private func measure(_ scenario: LinkScenario, seconds: Double) throws -> (own: Double, peer: Double?) {
        if let wire = scenario.wire { return try WireRun(scenario, seconds: seconds, cpu: cpu).measure(wire) }
        // The pipe between cores has two threads: one on `cpu`, one behind it. All others have one.
        let first = scenario.name == "cores" ? cpu : cpu + 1
        let own = try ForwardRun.result(
            scenario.own + ["--burst", "\(scenario.burst)", "--seconds", "\(seconds)", "--cpu", "\(first)"])
        guard let path = TestpmdRun.path, let testpmd = scenario.peer else { return (own.framesPerSecond, nil) }
        return (own.framesPerSecond, try TestpmdRun(path, testpmd, burst: scenario.burst, cpu: cpu).framesPerSecond())
    }
}

/// A run of `martlet-forward`, and what it prints at its end.
struct ForwardRun: Decodable {
    var frames: Double
    var framesPerSecond: Double
    var cpuShare: Double
    var drops: Double

    static func result(_ arguments: [String], in namespace: String? = nil) throws -> ForwardRun {
        try result(of: try Siblings.output("martlet-forward", arguments, in: namespace))
    }

    static func result(of output: Data) throws -> ForwardRun {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(ForwardRun.self, from: output.split(separator: UInt8(ascii: "\n")).last ?? Data())
    }
}

/// Runs testpmd for some seconds and reads what it reports.
struct TestpmdRun {
    static var path: String? {
        ["/usr/bin/dpdk-testpmd", "/usr/local/bin/dpdk-testpmd"].first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
    }

    private let process: Process
    private let testpmd: Testpmd

    init(_ path: String, _ testpmd: Testpmd, burst: Int, cpu: Int, in namespace: String? = nil) {
        self.testpmd = testpmd
        process = Siblings.process(at: path, testpmd.arguments(burst: burst, cpu: cpu), in: namespace)
        process.standardError = FileHandle.nullDevice
    }

    /// The sum over its ports in a whole second. `begun` is called when its ports are there.
    func framesPerSecond(begun: () throws -> Void = {}) throws -> Double {
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        defer { if process.isRunning { process.terminate() } }
        let descriptor = output.fileHandleForReading.fileDescriptor
        let deadline = Date(timeIntervalSinceNow: 20)
        var text = ""
        var hasBegun = false
        // Each report has a line of each port. The first is of a second that has hardly begun, and another one passes until what is
        // begun then is under way.
        let ports = testpmd.devices.count
        let reports = testpmd.mode == "rxonly" ? 4 : 3
        while rates(in: text).count < reports * ports, deadline.timeIntervalSinceNow > 0 {
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 1000) >= 0 else { break }
            guard waiting.revents != 0 else { continue }
            let bytes = output.fileHandleForReading.availableData
            if bytes.isEmpty { break }
            text += String(decoding: bytes, as: UTF8.self)
            if !hasBegun, rates(in: text).count >= ports {
                hasBegun = true
                try begun()
            }
        }
        process.interrupt()
        _ = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let rates = rates(in: text)
        guard rates.count >= reports * ports else {
            throw ChildError(description: "testpmd did not report: \(text.suffix(400))")
        }
        return rates[((reports - 1) * ports)...].prefix(ports).reduce(0, +)
    }

    private func rates(in text: String) -> [Double] {
        text.split(separator: "\n").compactMap { line in
            guard let range = line.range(of: testpmd.label) else { return nil }
            return line[range.upperBound...].split(separator: " ").first.flatMap { Double($0) }
        }
    }
}
