// The chart of a comparison: two panels of horizontal bars, server processor time a request and a short connection,
// as SVG with colours for light and dark backgrounds.

struct Chart {
    private struct Panel {
        var title: String
        var bars: [(server: Server, microseconds: Double)]
    }

    private var panels: [Panel] = []

    private let width = 760.0
    private let labels = 210.0
    private let values = 70.0
    private let rowHeight = 26.0
    private let headHeight = 44.0

    init(_ report: Report) {
        let wanted = [
            (Scenario.echo64, "Server CPU a 64-byte echo, 64 connections (µs)"),
            (Scenario.short, "Server CPU a short connection, 64 at a time (µs)"),
        ]
        for (scenario, title) in wanted {
            let bars = Server.singleCore.compactMap { server in
                report.runs.median(\.serverCpuNsPerRequest, scenario, server).map { (server, $0 / 1000) }
            }
            panels.append(Panel(title: title, bars: bars.sorted { $0.1 < $1.1 }))
        }
    }

    var svg: String {
        let height = panels.reduce(16) { $0 + headHeight + rowHeight * Double($1.bars.count) }
        var lines = [
            #"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \#(width.fixed(0)) \#(height.fixed(0))" "#
                + #"width="\#(width.fixed(0))" height="\#(height.fixed(0))" role="img">"#,
            "<title>Server CPU time a request and a short connection, by server; less is better</title>",
            """
            <style>
            text { font: 13px system-ui, sans-serif; fill: #24292f; }
            .title { font-weight: 600; font-size: 14px; }
            .bar { fill: #8c959f; }
            .own { fill: #0a7ea4; }
            .base { stroke: #8c959f; }
            @media (prefers-color-scheme: dark) {
              text { fill: #d1d7e0; }
              .bar { fill: #656c76; }
              .own { fill: #3fb4d8; }
            }
            </style>
            """,
        ]
        var top = 0.0
        for panel in panels {
            lines += draw(panel, top: top)
            top += headHeight + rowHeight * Double(panel.bars.count)
        }
        return (lines + ["</svg>"]).joined(separator: "\n") + "\n"
    }

    private func draw(_ panel: Panel, top: Double) -> [String] {
        var lines = [#"<text class="title" x="8" y="\#((top + 28).fixed(0))">\#(panel.title)</text>"#]
        let most = panel.bars.map(\.microseconds).max() ?? 1
        let first = top + headHeight
        for (row, bar) in panel.bars.enumerated() {
            let y = first + rowHeight * Double(row)
            let length = max(1, (width - labels - values) * bar.microseconds / most)
            let kind = bar.server.isMartlet ? "own" : "bar"
            let baseline = (y + 15).fixed(0)
            lines += [
                #"<text x="\#((labels - 10).fixed(0))" y="\#(baseline)" text-anchor="end">\#(bar.server.title)</text>"#,
                #"<rect class="\#(kind)" x="\#(labels.fixed(0))" y="\#((y + 1).fixed(0))" "#
                    + #"width="\#(length.fixed(1))" height="\#((rowHeight - 6).fixed(0))" rx="2"/>"#,
                #"<text x="\#((labels + length + 8).fixed(1))" y="\#(baseline)">\#(bar.microseconds.fixed(2))</text>"#,
            ]
        }
        let last = first + rowHeight * Double(panel.bars.count) - 4
        lines.append(
            #"<line class="base" x1="\#(labels.fixed(0))" y1="\#((first - 2).fixed(0))" "#
                + #"x2="\#(labels.fixed(0))" y2="\#(last.fixed(0))"/>"#)
        return lines
    }
}
