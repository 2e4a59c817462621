// The report of `compare stacks`: a table of medians and ratios, and the bars.

import Foundation

/// A bar of the stack, or of a runtime over it: what is the least, or the most, that passes.
struct StackVerdict: Codable, Sendable {
    var bar: String
    var limit: Double
    var isLeast: Bool
    var value: Double

    var passed: Bool { isLeast ? value >= limit : value <= limit }
}

/// What `--json` prints: every run, and the bars with what was measured against them.
struct RunsAndBars<Run: Codable>: Codable {
    var machine: Machine
    var command: String
    var runs: [Run]
    var bars: [StackVerdict]

    func json() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return try encoder.encode(self) + Data("\n".utf8)
    }
}

extension Table {
    static func bars(_ verdicts: [StackVerdict]) -> Table {
        var table = Table(header: ["bar", "limit", "measured", ""])
        table.rows = verdicts.map { verdict in
            let limit = (verdict.isLeast ? "≥ " : "≤ ") + verdict.limit.fixed(verdict.limit < 100 ? 1 : 0)
            return [
                verdict.bar, limit, verdict.value.fixed(verdict.limit < 100 ? 2 : 0), verdict.passed ? "pass" : "FAIL",
            ]
        }
        return table
    }
}

struct StackReport {
    var machine: Machine
    var command: String
    var runs: StackRuns

    /// Only what was measured has a verdict.
    var verdicts: [StackVerdict] {
        let bars: [(String, Double, Bool, Double?)] = [
            ("bulk, Gb/s", 15, true, runs.median("gigabits_per_second", "bulk")),
            ("bulk, to lwIP", 3, true, runs.ratio("gigabits_per_second", "bulk")),
            ("short connections a second", 500_000, true, runs.median("connections_per_second", "connections")),
            ("short connections, to lwIP", 3, true, runs.ratio("connections_per_second", "connections")),
            ("idle connections, GiB a stack", 1, false, runs.median("gibibytes_per_stack", "idle")),
            ("a segment beside idle connections, to one without", 1.5, false, runs.median("ratio", "idle")),
        ]
        return bars.compactMap { text, limit, isLeast, value in
            value.map { StackVerdict(bar: text, limit: limit, isLeast: isLeast, value: $0) }
        }
    }

    var table: Table {
        var table = Table(header: ["workload", "Martlet", "lwIP", "ratio"])
        table.rows = [
            row("bulk, Gb/s", "gigabits_per_second", "bulk", 2),
            row("short connections/s", "connections_per_second", "connections", 0),
        ]
        for (title, figure, digits) in [
            ("idle connections", "connections", 0), ("of them busy", "active", 0),
            ("bytes a connection and stack", "bytes_per_connection", 0), ("GiB a stack", "gibibytes_per_stack", 3),
            ("ns a segment", "nanoseconds_per_segment", 1),
            ("ns a segment without the idle ones", "nanoseconds_per_segment_alone", 1),
        ] where runs.median(figure, "idle") != nil {
            table.rows.append([title, runs.median(figure, "idle").written(digits), "–", "–"])
        }
        return table
    }

    private func row(_ title: String, _ figure: String, _ workload: String, _ digits: Int) -> [String] {
        [
            title, runs.median(figure, workload).written(digits), runs.median(figure, workload, .lwip).written(digits),
            runs.ratio(figure, workload).written(2),
        ]
    }

    private var barTable: Table { .bars(verdicts) }

    var text: String { "\(machine.summary)\n\n\(table.text)\n\n\(barTable.text)" }

    var markdown: String {
        """
        # The stack beside lwIP

        \(machine.summary). Medians over the rounds; a ratio is the median of the ratios within a round. lwIP is Debian's \
        `liblwip-dev`, with the windows of 65,535 bytes and the lock around each allocation that it is built with.

        ```sh
        \(command)
        ```

        \(table.markdown)

        ## Bars

        \(barTable.markdown)

        """
    }

    func json() throws -> Data {
        try RunsAndBars(machine: machine, command: command, runs: runs.runs, bars: verdicts).json()
    }
}
