// The report of `compare transports`: a table of medians and ratios, the bars, and a chart by messages a connection.

import Foundation

struct TransportReport {
    var machine: Machine
    var command: String
    var runs: [TransportRun]

    private func byRound(_ figure: String, _ workload: String, _ transport: String) -> [Int: Double] {
        let matching = runs.filter { $0.workload == workload && $0.transport == transport }
        return Dictionary(
            matching.compactMap { run in run.figures[figure].map { (run.round, $0) } }, uniquingKeysWith: { $1 })
    }

    private func median(_ figure: String, _ workload: String, _ transport: String = "stack") -> Double? {
        Runs.median(Array(byRound(figure, workload, transport).values))
    }

    /// Of the ratios of the stack's figure to the kernel's in each round, the median.
    private func ratio(_ figure: String, _ workload: String) -> Double? {
        let divisors = byRound(figure, workload, "kernel")
        return Runs.median(
            byRound(figure, workload, "stack").compactMap { round, value in divisors[round].map { value / $0 } })
    }

    /// Of two cores to one, in each round.
    private var ofTwoCores: Double? {
        let alone = byRound("messages_per_second", "echo", "stack")
        return Runs.median(
            byRound("messages_per_second", TransportWorkload.twoCores.name, "stack").compactMap { round, value in
                alone[round].map { value / $0 }
            })
    }

    /// Only what was measured has a verdict.
    var verdicts: [StackVerdict] {
        let least = TransportWorkload.messages.compactMap { ratio("messages_per_second", "connections-\($0)") }.min()
        let bars: [(String, Double, Bool, Double?)] = [
            ("echo 64 B, 64 connections, messages/s", 1_500_000, true, median("messages_per_second", "echo")),
            ("echo on two cores, to one", 1.8, true, ofTwoCores),
            ("short connections/s", 250_000, true, median("connections_per_second", "connections-1")),
            ("short connections, to the kernel's", 10, true, ratio("connections_per_second", "connections-1")),
            ("messages/s to the kernel's, the least of 1 … 128 a connection", 1, true, least),
            ("bulk, Gb/s", 12, true, median("gigabits_per_second", "bulk")),
            ("ping-pong, p50 µs", 3, false, median("p50_us", "latency")),
            ("ping-pong, p99.9 µs", 30, false, median("p999_us", "latency")),
            ("a message beside idle connections, to one without", 1.2, false, median("ratio", "idle")),
            ("an idle connection's end with its handler, bytes", 3072, false, median("bytes_per_end", "idle")),
            ("CPU while all are idle, %", 0.5, false, median("idle_cpu_percent", "idle")),
            ("errors", 0, false, runs.isEmpty ? nil : runs.compactMap { $0.figures["errors"] }.reduce(0, +)),
        ]
        return bars.compactMap { text, limit, isLeast, value in
            value.map { StackVerdict(bar: text, limit: limit, isLeast: isLeast, value: $0) }
        }
    }

    var table: Table {
        var table = Table(header: ["workload", "own stack", "kernel", "ratio"])
        table.rows = [row("echo 64 B, 64 connections, messages/s", "messages_per_second", "echo", 0)]
        if let two = median("messages_per_second", TransportWorkload.twoCores.name) {
            table.rows.append(["the same on two cores, 64 connections each", two.fixed(0), "–", "–"])
        }
        for count in TransportWorkload.messages {
            table.rows.append(
                row(
                    "connections of \(count) messages, messages/s", "messages_per_second", "connections-\(count)", 0))
        }
        table.rows += [
            row("bulk, one connection, Gb/s", "gigabits_per_second", "bulk", 1),
            row("ping-pong, p50 µs", "p50_us", "latency", 2), row("ping-pong, p99 µs", "p99_us", "latency", 2),
            row("ping-pong, p99.9 µs", "p999_us", "latency", 1),
        ]
        for (title, figure, digits) in [
            ("idle connections", "connections", 0), ("64 others alone, messages/s", "messages_per_second_alone", 0),
            ("64 others beside them, messages/s", "messages_per_second", 0),
            ("bytes of an end with its handler", "bytes_per_end", 0),
            ("CPU while all are idle, %", "idle_cpu_percent", 3),
        ] where median(figure, "idle") != nil {
            table.rows.append([title, median(figure, "idle").written(digits), "–", "–"])
        }
        return table
    }

    private func row(_ title: String, _ figure: String, _ workload: String, _ digits: Int) -> [String] {
        [
            title, median(figure, workload).written(digits), median(figure, workload, "kernel").written(digits),
            ratio(figure, workload).written(2),
        ]
    }

    var text: String { "\(machine.summary)\n\n\(table.text)\n\n\(Table.bars(verdicts).text)" }

    private var chart: LogChart {
        func points(_ transport: String) -> [(Int, Double)] {
            TransportWorkload.messages.compactMap { count in
                median("messages_per_second", "connections-\(count)", transport).map { (count, $0) }
            }
        }
        return LogChart(
            title: "Messages a second by messages a connection, one core; more is better",
            axis: "messages of a connection", own: points("stack"), peer: points("kernel"), peerName: "kernel")
    }

    private var markdown: String {
        """
        # One program over two transports

        \(machine.summary). Server and clients are tasks of one runtime on one core: over Martlet's own stack, which reaches itself, and \
        over the kernel's TCP on loopback. Medians over the rounds; a ratio is the median of the ratios within a round.

        ```sh
        \(command)
        ```

        \(table.markdown)

        ![Messages a second by messages a connection](transports.svg)

        ## Bars

        \(Table.bars(verdicts).markdown)

        """
    }

    func write(to directory: URL) throws {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try Data(markdown.utf8).write(to: directory.appendingPathComponent("transports.md"))
        try Data(chart.svg.utf8).write(to: directory.appendingPathComponent("transports.svg"))
    }

    func json() throws -> Data {
        try RunsAndBars(machine: machine, command: command, runs: runs, bars: verdicts).json()
    }
}
