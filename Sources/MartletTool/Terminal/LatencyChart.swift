// A histogram of latencies in the terminal: a row an interval of a logarithmic scale, a bar as long as its share.

struct LatencyChart {
    struct Row: Hashable {
        /// The interval in nanoseconds: from, and up to but not with.
        var from: Int64
        var to: Int64
        var count: Int
        /// Percentiles that lie in the interval, as `p50`.
        var marks: [String] = []
    }

    let rows: [Row]
    let total: Int

    /// Steps of a decade: the preferred numbers of IEC 60063, which are evenly spread on a logarithmic scale and short.
    static let series: [[Int64]] = [
        [10],
        [10, 22, 47],
        [10, 15, 22, 33, 47, 68],
        [10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82],
    ]

    /// Uses the finest steps that need no more than `limit` rows.
    init(_ latencies: Latencies, rows limit: Int = 18) {
        total = latencies.count
        guard total > 0 else {
            rows = []
            return
        }
        let scales = Self.series.reversed().map { Self.edges($0, from: latencies.min, to: latencies.max) }
        let edges = scales.first { $0.count - 1 <= limit } ?? scales[scales.count - 1]
        var rows = zip(zip(edges, edges.dropFirst()), latencies.counts(between: edges)).map {
            Row(from: $0.0, to: $0.1, count: $1)
        }
        for (name, share) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)] {
            let value = latencies.percentile(share)
            guard let row = rows.firstIndex(where: { value < $0.to }) ?? rows.indices.last else { continue }
            rows[row].marks.append(name)
        }
        self.rows = rows
    }

    /// The steps from the last one at or below `low` to the first one above `high`.
    static func edges(_ steps: [Int64], from low: Int64, to high: Int64) -> [Int64] {
        var edges: [Int64] = []
        var decade: Int64 = 1
        while true {
            for step in steps {
                // Below 10 ns the steps are whole nanoseconds, some of which coincide.
                let edge = step * decade / 10
                if edge <= low { edges.removeAll() }
                if edge != edges.last { edges.append(edge) }
                if edge > high { return edges }
            }
            decade *= 10
        }
    }

    /// The rows as lines of at most `width` columns.
    func lines(width: Int = 80) -> [String] {
        let labels = rows.map { "\(Self.label($0.from)) – \(Self.label($0.to))" }
        let column = labels.map(\.count).max() ?? 0
        let room = max(10, width - column - 28)
        let most = max(1, rows.map(\.count).max() ?? 1)
        return zip(labels, rows).map { label, row in
            let bar = Self.bar(
                eighths: Int((Double(row.count) / Double(most) * Double(room * 8)).rounded()), of: row.count)
            let padding = String(repeating: " ", count: max(0, room - bar.count))
            let share = Self.share(row.count, of: total)
            let marks = row.marks.isEmpty ? "" : "  ← " + row.marks.joined(separator: ", ")
            return String(repeating: " ", count: column - label.count) + label + " " + bar + padding + " " + share
                + marks
        }
    }

    /// A step in its unit, with as few digits as it has.
    static func label(_ nanoseconds: Int64) -> String {
        let words = nanoseconds.asDuration.split(separator: " ")
        var number = words[0]
        if number.contains(".") { number = number.trimmingSuffix { $0 == "0" }.trimmingSuffix { $0 == "." } }
        return "\(number) \(words[1])"
    }

    /// A bar of full blocks and an eighth. What is not nothing is seen.
    static func bar(eighths: Int, of count: Int) -> String {
        let eighths = count > 0 ? max(1, eighths) : 0
        let blocks = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
        return String(repeating: "█", count: eighths / 8) + blocks[eighths % 8]
    }

    /// A share in percent, aligned. What is too little to be seen is told by its count.
    static func share(_ count: Int, of total: Int) -> String {
        let percent = Double(count) / Double(max(1, total)) * 100
        let text = count > 0 && percent < 0.05 ? "\(count.grouped) ×" : "\(percent.formatted(decimals: 1)) %"
        return String(repeating: " ", count: max(0, 8 - text.count)) + text
    }
}

extension Substring {
    fileprivate func trimmingSuffix(_ isPart: (Character) -> Bool) -> Substring {
        lastIndex { !isPart($0) }.map { self[...$0] } ?? ""
    }
}
