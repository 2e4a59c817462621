// The report of a comparison of links: tables, the bars, a chart of what a frame costs by the size of the burst.

import Foundation

struct LinkReport {
    struct Row: Codable {
        var scenario: String
        var title: String
        var burst: Int
        var rounds: Int
        /// Medians, in frames a second over all directions; or a share of a processor.
        var own: Double
        var peer: Double?
        /// The median of the ratios within a round.
        var ratio: Double?
        var bar: String?
        var passed: Bool?
    }

    var runs: LinkRuns
    var failures: [String] = []

    /// The last figures, so that one who watches sees something happen.
    var latest: String {
        guard let row = rows(LinkScenario.all).last else { return "" }
        return "(\(row.scenario): \(figures(row)[0]))"
    }

    private func rows(_ scenarios: [LinkScenario]) -> [Row] {
        scenarios.compactMap { scenario in
            guard let measured = runs.scenarios[scenario.name], let median = LinkRuns.median(measured.own) else {
                return nil
            }
            let (bar, passed): (String?, Bool?) =
                switch scenario.bar {
                case .times(let least): ("≥ \(least) ×", measured.ratio.map { $0 >= least })
                case .millions(let least): ("≥ \(least.fixed(0)) M/s", median >= least * 1e6)
                case .share(let most): ("< \((most * 100).fixed(1)) %", median < most)
                case nil: (nil, nil)
                }
            return Row(
                scenario: scenario.name, title: scenario.title, burst: scenario.burst, rounds: measured.own.count,
                own: median, peer: LinkRuns.median(measured.peer), ratio: measured.ratio, bar: bar, passed: passed)
        }
    }

    /// Whether each bar that was measured holds, and nothing failed.
    var passed: Bool { failures.isEmpty && !rows(LinkScenario.all).contains { $0.passed == false } }

    private func table(_ scenarios: [LinkScenario]) -> Table {
        var table = Table(header: [
            "what", "burst", "rounds", "Martlet, M frames/s", "ns a frame", "peer", "ns a frame", "ratio", "bar", "",
        ])
        table.rows = rows(scenarios).map { row in
            [row.title, "\(row.burst)", "\(row.rounds)"] + figures(row)
                + [row.ratio.written(2), row.bar ?? "", row.passed.map { $0 ? "holds" : "FAILS" } ?? ""]
        }
        return table
    }

    /// Ours and the peer's, each with what a frame costs; or ours alone, in percent.
    private func figures(_ row: Row) -> [String] {
        if case .share? = LinkScenario.all.first(where: { $0.name == row.scenario })?.bar {
            return ["\((row.own * 100).fixed(2)) %", "", "", ""]
        }
        return [
            (row.own / 1e6).fixed(row.own < 1e7 ? 2 : 1), (1e9 / row.own).fixed(2),
            row.peer.map { $0 / 1e6 }.written(row.peer ?? 0 < 1e7 ? 2 : 1), row.peer.map { 1e9 / $0 }.written(2),
        ]
    }

    /// In the order of the scenarios, each once.
    private func each(_ text: (LinkRuns.Measured) -> String) -> [String] {
        var all: [String] = []
        for scenario in LinkScenario.all {
            guard let measured = runs.scenarios[scenario.name] else { continue }
            let text = text(measured)
            if !all.contains(text) { all.append(text) }
        }
        return all
    }

    private var machines: String {
        each { run in
            let machine = run.machine
            return
                "\(machine.processor), \(machine.cores) CPUs, \(machine.kernel), \(machine.swift), \(machine.date)."
        }.joined(separator: " ")
    }

    private static let method = """
        64-byte frames, one pinned core, all directions together. Figures are medians of the rounds, in each of which both take their \
        turn; a ratio is the median of the ratios within a round. Ours are of a second after a fifth of one, testpmd's of \
        the third second that it reports, or the fourth where frames are sent to it.
        """

    var text: String {
        "\(machines) \(Self.method)\n\n\(table(LinkScenario.all).text)\n" + failures.map { "\($0)\n" }.joined()
    }

    func json() throws -> Data {
        struct Whole: Codable {
            var runs: LinkRuns
            var rows: [Row]
            var failures: [String]
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return try encoder.encode(Whole(runs: runs, rows: rows(LinkScenario.all), failures: failures)) + Data("\n".utf8)
    }

    /// Writes the table, the chart and the runs; together with those that lie there already, of scenarios that these have not.
    mutating func write(to directory: URL) throws {
        struct Earlier: Codable { var runs: LinkRuns }
        let path = directory.appendingPathComponent("links.json")
        if let bytes = try? Data(contentsOf: path) {
            runs = runs.merged(with: try JSONDecoder().decode(Earlier.self, from: bytes).runs)
        }
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try json().write(to: path)
        try Data(markdown.utf8).write(to: directory.appendingPathComponent("links.md"))
        try Data(chart.svg.utf8).write(to: directory.appendingPathComponent("links.svg"))
    }

    private var markdown: String {
        let captures = LinkScenario.all.filter { $0.wire?.isCapture == true }
        let onWires = LinkScenario.all.filter { $0.wire != nil && $0.wire?.isCapture == false }
        return """
            # Links beside DPDK's testpmd, and tcpdump

            \(machines) \(Self.method)

            ```sh
            \(each(\.command).joined(separator: "\n"))
            ```

            ## In memory

            \(table(LinkScenario.all.filter { $0.wire == nil }).markdown)

            ![Nanoseconds a frame by the size of a burst](links.svg)

            ## Links of the kernel's

            They are on a veth between two namespaces, or a TAP, whose other end the other processor serves; AF_XDP copies there. A frame
            that is transmitted ends in the kernel at the other end, in the sender's time. What is received is sent by the same sender to
            both, through \
            the same kind of link.

            \(table(onWires).markdown)

            ## Captures, beside tcpdump writing a file

            Both have a ring of 64 MiB and a file on the disk. The highest rate without loss is what the sender gives, which spends its time in
            the kernel, the copy into the ring of the capture included: the rate does not tell the captures apart. What does is the
            processor time that they take themselves, all their threads together, at 400,000 frames a second, all of which both have in
            their file: so many frames they would have in a second of it.

            \(table(captures).markdown)

            """
    }

    private var chart: LogChart {
        let sweep = rows(LinkScenario.all).filter { $0.scenario.hasPrefix("null-") }
        return LogChart(
            title: "Nanoseconds a frame, null to null, received, transmitted and freed; less is better",
            axis: "frames of a burst", own: sweep.map { ($0.burst, 1e9 / $0.own) },
            peer: sweep.compactMap { row in row.peer.map { (row.burst, 1e9 / $0) } }, peerName: "testpmd")
    }
}
