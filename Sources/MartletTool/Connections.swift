// martlet connections: the TCP connections of a running program, as ss(8) shows the kernel's.

import ArgumentParser
import Foundation
import Martlet

struct Connections: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists a running program's TCP connections.",
        discussion: """
            The program has to say so on a Unix-domain socket; see 'martlet top --help'. Over Martlet's own stack these are all \
            connections that the stack has, those included that are closing or not accepted yet; over the kernel's TCP/IP they \
            are those that the program holds.

            Times are smoothed round trips and retransmission timeouts. cwnd and unacked are in segments, what is not sent yet in \
            bytes. With --json it is one object:

              {"connections": [{"core", "state", "local", "peer", "srtt_us", "rttvar_us", "min_rtt_us", "rto_us", "send_mss",
                "receive_mss", "path_mtu", "cwnd", "unacked", "lost", "not_sent_bytes", "pacing_rate", "delivery_rate",
                "retransmits", "bytes_acked", "bytes_received", "segments_out", "segments_in"}]}

            and with --prometheus each number is a series with core, local, peer and state as labels.
            """)

    @Argument(help: "The path of the program's socket.") var socket: String
    @Option(help: "Only those in this state, such as established or close_wait; may be repeated.") var state: [String] =
        []
    @Flag(help: "Prints JSON.") var json = false
    @Flag(help: "Prints Prometheus' text.") var prometheus = false

    func validate() throws {
        if json, prometheus { throw ValidationError("--json or --prometheus, not both") }
        if prometheus, !state.isEmpty { throw ValidationError("--prometheus has all of them: leave --state out") }
    }

    func run() async throws {
        let (socket, prometheus) = (socket, prometheus)
        let (text, page) = try await StatisticsSource.with(socket) { source in
            prometheus
                ? (try await source.text(of: "/metrics/connections"), nil)
                : ("", try await source.page("/connections", as: ConnectionsPage.self))
        }
        guard var page else { return print(text, terminator: "") }
        if !state.isEmpty { page.connections.removeAll { !state.contains($0.state) } }
        print(json ? try OneLine.json(page) : Self.lines(page).joined(separator: "\n"))
    }

    static func lines(_ page: ConnectionsPage) -> [String] {
        Columns(
            [
                "state", "core", "local", "peer", "rtt", "rto", "cwnd", "unacked", "not sent", "again", "acked",
                "received",
            ],
            page.connections.map {
                [
                    $0.state, "\($0.core)", $0.local, $0.peer, ($0.srttUs * 1000).asDuration,
                    ($0.rtoUs * 1000).asDuration,
                    "\($0.cwnd)", $0.unacked.grouped, $0.notSentBytes.grouped, $0.retransmits.grouped,
                    $0.bytesAcked.grouped, $0.bytesReceived.grouped,
                ]
            }, left: [0, 2, 3]
        ).lines
    }
}
