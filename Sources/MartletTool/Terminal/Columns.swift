// A table of columns with headings: words to the left, numbers to the right.

struct Columns {
    let lines: [String]

    init(_ headings: [String], _ rows: [[String]], left: Set<Int> = [0]) {
        let all = [headings] + rows
        let widths = headings.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        lines = all.map { row in
            let cells = row.enumerated().map { column, cell in
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                return left.contains(column) ? cell + padding : padding + cell
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }
}
