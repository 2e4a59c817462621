// Two columns, names and what they stand for, aligned; and the colours of verdicts where a terminal shows them.

import Foundation
import Glibc

struct Table {
    private(set) var rows: [(name: String, value: String)] = []

    mutating func add(_ name: String, _ value: String) { rows.append((name, value)) }

    var lines: [String] {
        let column = rows.map(\.name.count).max() ?? 0
        return rows.map { row in
            row.value.isEmpty
                ? row.name : row.name + String(repeating: " ", count: column - row.name.count) + "  " + row.value
        }
    }
}

/// Standard output as a screen, if it is one.
enum Screen {
    static let isTerminal = isatty(STDOUT_FILENO) == 1

    /// Whether colours are seen and wanted: no-color.org.
    static var isColoured: Bool { isTerminal && ProcessInfo.processInfo.environment["NO_COLOR"]?.isEmpty ?? true }

    /// Columns, or 80 where nobody says.
    static var width: Int {
        var size = winsize()
        // SAFETY: TIOCGWINSZ writes a winsize, which outlives the call.
        guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col >= 40 else { return 80 }
        return min(120, Int(size.ws_col))
    }
}
