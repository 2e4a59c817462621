// The report of `compare hosts`: a table of medians and ratios, and the bars.

import Foundation

struct HostReport {
    var machine: Machine
    var command: String
    /// Microseconds; 0 for none.
    var moderation: Int
    var runs: Runs

    private func byRound(
        _ figure: (Measurement) -> Double?, _ workload: String, _ server: HostServer
    ) -> [Int: Double] {
        let matching = runs.runs.filter { $0.scenario == workload && $0.server == server.rawValue }
        return Dictionary(
            matching.compactMap { run in figure(run.measurement).map { (run.round, $0) } }, uniquingKeysWith: { $1 })
    }

    private func median(
        _ figure: (Measurement) -> Double?, _ workload: String, _ server: HostServer
    ) -> Double? { Runs.median(Array(byRound(figure, workload, server).values)) }

    /// Of the ratios of our figure to the peer's in each round, the median.
    private func ratio(_ figure: (Measurement) -> Double?, _ workload: String) -> Double? {
        let divisors = byRound(figure, workload, .epoll)
        return Runs.median(
            byRound(figure, workload, .xdp).compactMap { round, value in divisors[round].map { value / $0 } })
    }

    private static func gigabits(_ measurement: Measurement) -> Double? { measurement.bytesPerSecond * 8 / 1e9 }

    /// Only what was measured has a verdict.
    var verdicts: [StackVerdict] {
        let bars: [(String, Double, Bool, Double?)] = [
            ("echo 64 B: the server's processor a request, to C", 0.8, false, ratio(\.processorNsPerRequest, "echo")),
            ("short: the server's processor a request, to C", 0.6, false, ratio(\.processorNsPerRequest, "short")),
            ("bulk to the TAP, Gb/s", 5, true, median(Self.gigabits, "to-tap", .tap)),
            ("bulk from the TAP, Gb/s", 5, true, median(Self.gigabits, "from-tap", .tap)),
            ("errors", 0, false, runs.runs.isEmpty ? nil : runs.runs.reduce(0) { $0 + Double($1.measurement.errors) }),
        ]
        return bars.compactMap { text, limit, isLeast, value in
            value.map { StackVerdict(bar: text, limit: limit, isLeast: isLeast, value: $0) }
        }
    }

    var table: Table {
        var table = Table(header: ["workload", "own stack on AF_XDP", "C, epoll", "ratio"])
        for (name, title) in [("echo", "echo 64 B, 64 connections"), ("short", "connect, 64 B, close; 64 at a time")] {
            table.rows += [
                row("\(title): the server's processor, µs a request", \.processorNsPerRequest, name, 2, scale: 1e-3),
                row("… of it in the server's process", \.serverCpuNsPerRequest, name, 2, scale: 1e-3),
                row("… requests/s", \.throughput, name, 0), row("… p50 µs", \.p50, name, 0),
            ]
        }
        for (name, title) in [("to-tap", "bulk to the TAP, Gb/s"), ("from-tap", "bulk from the TAP, Gb/s")] {
            table.rows.append([title, median(Self.gigabits, name, .tap).written(1), "–", "–"])
        }
        return table
    }

    private func row(
        _ title: String, _ figure: (Measurement) -> Double?, _ workload: String, _ digits: Int, scale: Double = 1
    ) -> [String] {
        [
            title, median(figure, workload, .xdp).written(digits, scale: scale),
            median(figure, workload, .epoll).written(digits, scale: scale), ratio(figure, workload).written(2),
        ]
    }

    var text: String { "\(machine.summary)\n\n\(table.text)\n\n\(Table.bars(verdicts).text)" }

    private var threads: String {
        moderation > 0
            ? "by threaded NAPI moderated to \(moderation) µs, as a network card's interrupts are,"
            : "but by the sender's as far as the copy into its arena"
    }

    private var markdown: String {
        """
        # Servers on another host than their client

        \(machine.summary). Two network namespaces with a processor each, joined by a veth; the client is the kernel's TCP in both. Each \
        host's receiving is done by its own processor, as on two machines: steered there (RPS) where the kernel receives, \
        \(threads) where AF_XDP does. What the server's processor did is counted whole: the server, the kernel's threads and interrupts. For the C server the \
        veth keeps its offloads; the client of AF_XDP computes its checksums. Bulk goes over a TAP with segments of up to 64 KiB \
        (frames of 128 KiB). Medians over the rounds; a ratio is the median of the ratios within a round.

        ```sh
        \(command)
        ```

        \(table.markdown)

        ## Bars

        \(Table.bars(verdicts).markdown)

        """
    }

    func write(to directory: URL) throws {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try Data(markdown.utf8).write(to: directory.appendingPathComponent("hosts.md"))
    }

    func json() throws -> Data {
        try RunsAndBars(machine: machine, command: command, runs: runs.runs, bars: verdicts).json()
    }
}
