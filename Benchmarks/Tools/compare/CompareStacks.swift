// compare stacks: Martlet's stack and lwIP do the same work in turn, each at both ends of one wire, on one processor.

import ArgumentParser
import Foundation

struct CompareStacks: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stacks",
        abstract: "Compares Martlet's TCP/IP stack with lwIP, without a kernel in between.",
        discussion: """
            Both run in one process and thread, with their own other end, on processor 0, and hand packets over directly. \
            lwIP is Debian's, through its raw API; windows are 65,535 bytes on both sides, checksums are on.
            """)

    @Option(help: "Rounds; in each, both take their turn at each workload.")
    var rounds = 7

    @Option(help: "Bytes of a bulk run.")
    var bytes = 4_000_000_000

    @Option(help: "Connections of a run of short connections.")
    var connections = 300_000

    @Option(help: "Established connections of the idle run, which Martlet makes alone; 0 for none.")
    var idle = 1_000_000

    @Flag(help: "Print the runs and bars as JSON instead of tables.")
    var json = false

    @Flag(help: "Small counts and one round: a look, not a measurement.")
    var quick = false

    @Option(help: "Where to write the results. By default Results, and nowhere for a quick look.")
    var output: String?

    func validate() throws {
        guard rounds > 0, bytes > 0, connections > 0, idle >= 0 else {
            throw ValidationError("Rounds and counts must be positive.")
        }
    }

    func run() throws {
        let (rounds, bytes) = quick ? (1, 20_000_000) : (rounds, bytes)
        let (connections, idle) = quick ? (2000, 2000) : (connections, idle)
        for name in ["stack-pair", "lwip-pair"] where !Siblings.exists(name) {
            throw ChildError(description: "\(name) has not been built; run `swift build -c release` first")
        }
        var runs = StackRuns()
        for round in 1...rounds {
            Progress.show("round \(round) of \(rounds)")
            // Who begins alternates, so that a machine that gets slower hurts both.
            for stack in round.isMultiple(of: 2) ? StackUnderTest.allCases.reversed() : StackUnderTest.allCases {
                try runs.add(stack, round, ["bulk", "--count", "\(bytes)", "--cpu", "0"])
                try runs.add(stack, round, ["connections", "--count", "\(connections)", "--cpu", "0"])
            }
        }
        if idle > 0 {
            Progress.show("idle connections")
            let arguments = ["idle", "--count", "\(idle)", "--active", "\(min(idle, 1000))", "--cpu", "0"]
            try runs.add(.martlet, 1, arguments)
        }
        Progress.end()
        let command =
            "swift run -c release --package-path Benchmarks compare stacks --rounds \(rounds) --bytes \(bytes)"
            + " --connections \(connections) --idle \(idle)"
        let report = StackReport(machine: .current(), command: command, runs: runs)
        if json {
            try FileHandle.standardOutput.write(contentsOf: report.json())
        } else {
            print(report.text)
        }
        if let directory = output ?? (quick ? nil : "Results") {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try Data(report.markdown.utf8).write(
                to: URL(fileURLWithPath: directory).appendingPathComponent("stacks.md"))
            Progress.note("written to \(directory)/stacks.md")
        }
        if report.verdicts.contains(where: { !$0.passed }) { throw ExitCode(1) }
    }
}

enum StackUnderTest: String, Codable, CaseIterable, Sendable {
    case martlet
    case lwip

    var executable: String { self == .martlet ? "stack-pair" : "lwip-pair" }
}

/// What `stack-pair` and `lwip-pair` print, by the names that they have for it.
struct StackRun: Codable, Sendable {
    var round: Int
    var stack: StackUnderTest
    var workload: String
    var figures: [String: Double]
}

struct StackRuns: Sendable {
    private(set) var runs: [StackRun] = []

    mutating func add(_ stack: StackUnderTest, _ round: Int, _ arguments: [String]) throws {
        let bytes = try Siblings.output(stack.executable, arguments)
        let object = (try? JSONSerialization.jsonObject(with: bytes)) as? [String: Any]
        guard let object, let workload = object["workload"] as? String else {
            throw ChildError(description: "\(stack.executable) \(arguments[0]) printed no result")
        }
        let figures = object.compactMapValues { ($0 as? NSNumber)?.doubleValue }
        runs.append(StackRun(round: round, stack: stack, workload: workload, figures: figures))
    }

    private func byRound(_ figure: String, _ workload: String, _ stack: StackUnderTest) -> [Int: Double] {
        let matching = runs.filter { $0.workload == workload && $0.stack == stack }
        return Dictionary(
            matching.compactMap { run in run.figures[figure].map { (run.round, $0) } }, uniquingKeysWith: { $1 })
    }

    func median(_ figure: String, _ workload: String, _ stack: StackUnderTest = .martlet) -> Double? {
        Runs.median(Array(byRound(figure, workload, stack).values))
    }

    /// Of the ratios of Martlet's figure to lwIP's in each round, the median.
    func ratio(_ figure: String, _ workload: String) -> Double? {
        let divisors = byRound(figure, workload, .lwip)
        return Runs.median(
            byRound(figure, workload, .martlet).compactMap { round, value in divisors[round].map { value / $0 } })
    }
}
