// martlet top: what a running program's cores, stacks and links do, live.

import ArgumentParser
import Foundation
import Martlet

struct Top: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows what a running program's cores, stacks and links do.",
        discussion: """
            The program has to say so on a Unix-domain socket: Runtime.serveStatistics(on: .unix(path: …)), or \
            'martlet serve … --statistics PATH'. Whoever may connect to the socket may look.

              martlet serve echo --statistics /tmp/echo.sock &
              martlet top /tmp/echo.sock

            On a terminal it is drawn anew every --interval until Ctrl-C; elsewhere, or with --once, it is one look over one \
            interval. 'open' counts connections, listeners and sockets; the socket that tells is among them.

            With --json each look is an object in a line of its own:

              {"driver", "seconds", "cores": [{"core", "cpu", "open", "stalls", "rounds_per_second", "sleeps_per_second",
                "jobs_per_second", "accepted_per_second", "bytes_received_per_second", "bytes_sent_per_second",
                "stack": {"frames_in_per_second", "packets_out_per_second", "segments_in_per_second",
                  "segments_out_per_second", "retransmits_per_second", "fast_path_share",
                  "states": {STATE: COUNT}, "drops": {REASON: COUNT}},
                "links": [{"name", "state", "frames_received_per_second", "frames_transmitted_per_second",
                  "bytes_received_per_second", "bytes_transmitted_per_second", "drops"}]}]}

            where stack is missing if the kernel is the transport. --prometheus prints every counter in Prometheus' text \
            format, once.
            """)

    @Argument(help: "The path of the program's socket.") var socket: String
    @Option(help: "Seconds between two looks.") var interval = 1.0
    @Flag(help: "Ends after one look.") var once = false
    @Flag(help: "Prints JSON.") var json = false
    @Flag(help: "Prints Prometheus' text, once.") var prometheus = false

    func validate() throws {
        guard interval >= 0.01, interval <= 3600 else {
            throw ValidationError("--interval must be 0.01 … 3600 seconds")
        }
        if json, prometheus { throw ValidationError("--json or --prometheus, not both") }
    }

    func run() async throws {
        try await StatisticsSource.with(socket) { source in
            if prometheus { return print(try await source.text(of: "/metrics"), terminator: "") }
            let isLive = !once && (json || Screen.isTerminal)
            var last = (page: try await source.page("/statistics", as: StatisticsPage.self), time: Clock.now)
            repeat {
                try await source.runtime.cores[0].sleep(for: .seconds(interval))
                let page = try await source.page("/statistics", as: StatisticsPage.self)
                let now = Clock.now
                let report = TopReport(from: last.page, to: page, seconds: Double(now - last.time) / 1e9)
                last = (page, now)
                if json {
                    print(try OneLine.json(report))
                } else {
                    // Home, and the rest of the screen cleared.
                    print((isLive ? "\u{1B}[H\u{1B}[J" : "") + report.lines.joined(separator: "\n"))
                }
                fflush(nil)
            } while isLive && !source.runtime.isShuttingDown
        }
    }
}
