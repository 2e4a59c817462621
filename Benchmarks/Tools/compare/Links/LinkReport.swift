// The report of a comparison of links: a table, the bars, a chart of what a frame costs by the size of the burst.

import Foundation

struct LinkReport {
    struct Row: Codable {
        var scenario: String
        var title: String
        var burst: Int
        /// Medians, in frames a second over all directions; or a share of a processor.
        var own: Double
        var peer: Double?
        /// The median of the ratios within a round.
        var ratio: Double?
        var bar: String?
        var passed: Bool?
    }

    var machine: Machine
    var command: String
    var scenarios: [LinkScenario]
    var own: [String: [Double]] = [:]
    var peer: [String: [Double]] = [:]
    var failures: [String] = []

    init(machine: Machine, command: String, scenarios: [LinkScenario]) {
        self.machine = machine
        self.command = command
        self.scenarios = scenarios
    }

    /// The last figures, so that one who watches sees something happen.
    var latest: String {
        guard let row = rows.last else { return "" }
        return "(\(row.scenario): \(figures(row)[0]))"
    }

    var rows: [Row] {
        scenarios.compactMap { scenario in
            guard let figures = own[scenario.name], let median = Self.median(figures) else { return nil }
            let peers = peer[scenario.name] ?? []
            let ratio = Self.median(zip(figures, peers).map { $0 / $1 })
            let (bar, passed): (String?, Bool?) =
                switch scenario.bar {
                case .times(let least): ("≥ \(least) ×", ratio.map { $0 >= least })
                case .millions(let least): ("≥ \(least.fixed(0)) M/s", median >= least * 1e6)
                case .share(let most): ("< \((most * 100).fixed(1)) %", median < most)
                case nil: (nil, nil)
                }
            return Row(
                scenario: scenario.name, title: scenario.title, burst: scenario.burst, own: median,
                peer: Self.median(peers), ratio: ratio, bar: bar, passed: passed)
        }
    }

    static func median(_ figures: [Double]) -> Double? {
        guard !figures.isEmpty else { return nil }
        let sorted = figures.sorted()
        return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
    }

    var table: Table {
        var table = Table(header: [
            "what", "burst", "Martlet, M frames/s", "ns a frame", "peer", "ns a frame", "ratio", "bar", "",
        ])
        table.rows = rows.map { row in
            [row.title, "\(row.burst)"] + figures(row)
                + [row.ratio.written(2), row.bar ?? "", row.passed.map { $0 ? "holds" : "FAILS" } ?? ""]
        }
        return table
    }

    /// Ours and the peer's, each with what a frame costs; or ours alone, in percent.
    private func figures(_ row: Row) -> [String] {
        if case .share? = scenarios.first(where: { $0.name == row.scenario })?.bar {
            return ["\((row.own * 100).fixed(2)) %", "", "", ""]
        }
        return [
            (row.own / 1e6).fixed(row.own < 1e7 ? 2 : 1), (1e9 / row.own).fixed(2),
            row.peer.map { $0 / 1e6 }.written(row.peer ?? 0 < 1e7 ? 2 : 1), row.peer.map { 1e9 / $0 }.written(2),
        ]
    }

    private var rounds: Int { own.values.map(\.count).max() ?? 0 }

    private var heading: String {
        "\(machine.processor), \(machine.cores) CPUs, \(machine.kernel), \(machine.swift), \(machine.date). "
            + "64-byte frames, one pinned core, all directions together; medians of \(rounds) rounds, the ratio is the median "
            + "of the ratios within a round."
    }

    var text: String { "\(heading)\n\n\(table.text)\n" + failures.map { "\($0)\n" }.joined() }

    func json() throws -> Data {
        struct Whole: Codable {
            var machine: Machine
            var command: String
            var rows: [Row]
            var martlet: [String: [Double]]
            var testpmd: [String: [Double]]
            var failures: [String]
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return try encoder.encode(
            Whole(
                machine: machine, command: command, rows: rows, martlet: own, testpmd: peer, failures: failures))
            + Data("\n".utf8)
    }

    func write(to directory: URL) throws {
        let markdown = """
            # Links

            \(heading) The peer is DPDK's testpmd, and tcpdump for captures. Links of the kernel's are on a veth between two namespaces,
            whose other end another processor serves.

            ```sh
            \(command)
            ```

            \(table.markdown)

            ![Nanoseconds a frame by the size of a burst](links.svg)

            """
        try Data(markdown.utf8).write(to: directory.appendingPathComponent("links.md"))
        try json().write(to: directory.appendingPathComponent("links.json"))
        let sweep = rows.filter { $0.scenario.hasPrefix("null-") }
        let chart = LogChart(
            title: "Nanoseconds a frame, null to null, received, transmitted and freed; less is better",
            axis: "frames of a burst", own: sweep.map { ($0.burst, 1e9 / $0.own) },
            peer: sweep.compactMap { row in row.peer.map { (row.burst, 1e9 / $0) } }, peerName: "testpmd")
        try Data(chart.svg.utf8).write(to: directory.appendingPathComponent("links.svg"))
    }
}
