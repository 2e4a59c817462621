// Two lines over logarithmic axes, as SVG: what is measured, and its peer.

import Foundation

struct LogChart {
    /// What a reader sees above it.
    var title: String
    /// What the horizontal axis counts, in powers of two.
    var axis: String
    var own: [(Int, Double)]
    var peer: [(Int, Double)]
    var peerName: String
    private let width = 760.0
    private let height = 400.0
    private let left = 80.0
    private let right = 24.0
    private let top = 48.0
    private let bottom = 48.0

    init(title: String, axis: String, own: [(Int, Double)], peer: [(Int, Double)], peerName: String) {
        (self.title, self.axis, self.peerName) = (title, axis, peerName)
        self.own = own.sorted { $0.0 < $1.0 }
        self.peer = peer.sorted { $0.0 < $1.0 }
    }

    private var values: [Double] { (own + peer).map(\.1) }

    /// Whole decades around all values.
    private var decades: (Int, Int) {
        let lowest = Int(log10(values.min() ?? 1).rounded(.down))
        return (lowest, max(lowest + 1, Int(log10(values.max() ?? 10).rounded(.up))))
    }

    private func x(_ place: Int) -> Double {
        let most = log2(Double(max(2, own.last?.0 ?? 2)))
        return left + (width - left - right) * log2(Double(place)) / most
    }

    private func y(_ value: Double) -> Double {
        let (low, high) = decades
        return top + (height - top - bottom) * (Double(high) - log10(value)) / Double(high - low)
    }

    private func line(_ kind: String, _ name: String, _ points: [(Int, Double)]) -> [String] {
        guard let last = points.last else { return [] }
        let path = points.map { "\(x($0.0).fixed(1)),\(y($0.1).fixed(1))" }.joined(separator: " ")
        return [#"<polyline class="\#(kind)" points="\#(path)"/>"#]
            + points.map { #"<circle class="\#(kind)" cx="\#(x($0.0).fixed(1))" cy="\#(y($0.1).fixed(1))" r="3"/>"# }
            + [
                #"<text x="\#((x(last.0) - 4).fixed(1))" y="\#((y(last.1) - 10).fixed(1))" text-anchor="end">\#(name)</text>"#
            ]
    }

    var svg: String {
        let (low, high) = decades
        var lines = [
            #"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \#(width.fixed(0)) \#(height.fixed(0))" "#
                + #"width="\#(width.fixed(0))" height="\#(height.fixed(0))" role="img">"#,
            "<title>\(title)</title>",
            """
            <style>
            text { font: 13px system-ui, sans-serif; fill: #24292f; }
            .title { font-weight: 600; font-size: 14px; }
            .grid { stroke: #d0d7de; }
            polyline { fill: none; stroke-width: 2; }
            polyline.own { stroke: #0a7ea4; } circle.own { fill: #0a7ea4; }
            polyline.peer { stroke: #8c959f; } circle.peer { fill: #8c959f; }
            @media (prefers-color-scheme: dark) {
              text { fill: #d1d7e0; }
              .grid { stroke: #3d444d; }
              polyline.own { stroke: #3fb4d8; } circle.own { fill: #3fb4d8; }
            }
            </style>
            """,
            #"<text class="title" x="8" y="24">\#(title)</text>"#,
        ]
        for decade in low...high {
            let value = pow(10, Double(decade))
            let level = y(value).fixed(1)
            lines += [
                #"<line class="grid" x1="\#(left)" y1="\#(level)" x2="\#(width - right)" y2="\#(level)"/>"#,
                #"<text x="\#(left - 8)" y="\#((y(value) + 4).fixed(1))" text-anchor="end">\#(value.fixed(max(0, -decade)))</text>"#,
            ]
        }
        for (place, _) in own {
            lines.append(
                #"<text x="\#(x(place).fixed(1))" y="\#(height - bottom + 20)" text-anchor="middle">\#(place)</text>"#
            )
        }
        lines.append(
            #"<text x="\#((left + width - right) / 2)" y="\#(height - 8)" text-anchor="middle">\#(axis)</text>"#
        )
        lines += line("own", "Martlet", own)
        lines += line("peer", peerName, peer)
        return (lines + ["</svg>"]).joined(separator: "\n") + "\n"
    }
}
