// Tables, as aligned text for a terminal and as Markdown for a file.

import Foundation

struct Table {
    var header: [String]
    var rows: [[String]] = []

    /// Columns aligned; the first to the left, the others to the right.
    var text: String {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = row.enumerated().map { column, cell in
                let filling = String(repeating: " ", count: widths[column] - cell.count)
                return column == 0 ? cell + filling : filling + cell
            }
            return "  " + cells.joined(separator: "  ")
        }.joined(separator: "\n")
    }

    var markdown: String {
        let rule = header.indices.map { $0 == 0 ? "---" : "---:" }
        return ([header, rule] + rows).map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
    }
}

extension Double {
    func fixed(_ digits: Int) -> String {
        String(format: "%.\(digits)f", self)
    }
}

extension Double? {
    func written(_ digits: Int, scale: Double = 1) -> String {
        map { ($0 * scale).fixed(digits) } ?? "–"
    }
}
