// Two looks at a program, and what happened between them.

import Foundation

/// Rates of each core between two looks, and what there is at the second.
struct TopReport: Encodable {
    struct Core: Encodable {
        var core: Int
        var cpu: Int?
        /// Connections, listeners and sockets that the program holds.
        var open: UInt64
        var roundsPerSecond: Double
        var sleepsPerSecond: Double
        var jobsPerSecond: Double
        var acceptedPerSecond: Double
        var bytesReceivedPerSecond: Double
        var bytesSentPerSecond: Double
        var stalls: UInt64
        var stack: Stack?
        var links: [Link]
    }

    struct Stack: Encodable {
        var framesInPerSecond: Double
        var packetsOutPerSecond: Double
        var segmentsInPerSecond: Double
        var segmentsOutPerSecond: Double
        var retransmitsPerSecond: Double
        /// Segments that were the next in order or a plain ACK, as a share of those that came for a connection; nil if none came.
        var fastPathShare: Double?
        /// Connections by state, those that there are.
        var states: [String: Int]
        /// Frames and packets that have been dropped since the stack was made, by reason.
        var drops: [String: UInt64]
    }

    struct Link: Encodable {
        var name: String
        var state: String
        var framesReceivedPerSecond: Double
        var framesTransmittedPerSecond: Double
        var bytesReceivedPerSecond: Double
        var bytesTransmittedPerSecond: Double
        var drops: UInt64
    }

    var driver: String
    /// Between the two looks.
    var seconds: Double
    var cores: [Core]

    init(from earlier: StatisticsPage, to later: StatisticsPage, seconds: Double) {
        (driver, self.seconds) = (later.driver, seconds)
        let per = max(seconds, 1e-9)
        func growth(of name: String, _ before: [String: UInt64]?, _ after: [String: UInt64]?) -> Double {
            Double((after?[name] ?? 0) &- (before?[name] ?? 0)) / per
        }
        cores = later.cores.map { core in
            let before = earlier.cores.first { $0.core == core.core }
            func rate(_ name: String) -> Double { growth(of: name, before?.counters, core.counters) }
            func stackRate(_ part: String, _ name: String) -> Double {
                growth(of: name, before?.stack?[part], core.stack?[part])
            }
            var stack: Stack?
            if core.stack != nil {
                let (fast, slow) = (stackRate("tcp", "fast_path"), stackRate("tcp", "slow_path"))
                stack = Stack(
                    framesInPerSecond: stackRate("network", "packets_in"),
                    packetsOutPerSecond: stackRate("network", "packets_out"),
                    segmentsInPerSecond: stackRate("tcp", "segments_in"),
                    segmentsOutPerSecond: stackRate("tcp", "segments_out"),
                    retransmitsPerSecond: stackRate("tcp", "retransmits"),
                    fastPathShare: fast + slow > 0 ? fast / (fast + slow) : nil,
                    states: (core.states ?? [:]).filter { $0.value > 0 },
                    drops: (core.drops ?? [:]).filter { $0.value > 0 })
            }
            return Core(
                core: core.core, cpu: core.cpu, open: core.counters["open"] ?? 0, roundsPerSecond: rate("rounds"),
                sleepsPerSecond: rate("sleeps"), jobsPerSecond: rate("jobs"), acceptedPerSecond: rate("accepted"),
                bytesReceivedPerSecond: rate("bytes_received"), bytesSentPerSecond: rate("bytes_sent"),
                stalls: core.counters["stalls"] ?? 0, stack: stack,
                links: core.links.map { link in
                    let before = before?.links.first { $0.name == link.name }
                    func perSecond(_ after: UInt64, _ before: UInt64?) -> Double {
                        Double(after &- (before ?? 0)) / per
                    }
                    return Link(
                        name: link.name, state: link.state,
                        framesReceivedPerSecond: perSecond(link.received.frames, before?.received.frames),
                        framesTransmittedPerSecond: perSecond(link.transmitted.frames, before?.transmitted.frames),
                        bytesReceivedPerSecond: perSecond(link.received.bytes, before?.received.bytes),
                        bytesTransmittedPerSecond: perSecond(link.transmitted.bytes, before?.transmitted.bytes),
                        drops: link.received.drops.values.reduce(0, +) + link.transmitted.drops.values.reduce(0, +))
                })
        }
    }

    // MARK: For people

    var lines: [String] {
        var lines = [driver, ""]
        lines +=
            Columns(
                [
                    "core", "cpu", "open", "rounds/s", "sleeps/s", "jobs/s", "accepted/s", "received/s", "sent/s",
                    "stalls",
                ],
                cores.map {
                    [
                        "\($0.core)", $0.cpu.map(String.init) ?? "–", $0.open.grouped, $0.roundsPerSecond.grouped,
                        $0.sleepsPerSecond.grouped, $0.jobsPerSecond.grouped, $0.acceptedPerSecond.grouped,
                        $0.bytesReceivedPerSecond.asBytes, $0.bytesSentPerSecond.asBytes, $0.stalls.grouped,
                    ]
                }
            ).lines
        let stacks = cores.compactMap { core in core.stack.map { (core.core, $0) } }
        guard !stacks.isEmpty else { return lines }
        lines.append("")
        lines +=
            Columns(
                [
                    "stack", "frames in/s", "packets out/s", "segments in/s", "segments out/s", "fast path",
                    "sent again/s",
                ],
                stacks.map { core, stack in
                    [
                        "\(core)", stack.framesInPerSecond.grouped, stack.packetsOutPerSecond.grouped,
                        stack.segmentsInPerSecond.grouped, stack.segmentsOutPerSecond.grouped,
                        stack.fastPathShare.map { "\(($0 * 100).formatted(decimals: 1)) %" } ?? "–",
                        stack.retransmitsPerSecond.grouped,
                    ]
                }
            ).lines
        let links = cores.flatMap(\.links)
        if !links.isEmpty {
            lines.append("")
            lines +=
                Columns(
                    ["link", "state", "frames in/s", "frames out/s", "in/s", "out/s", "dropped"],
                    links.map {
                        [
                            $0.name, $0.state, $0.framesReceivedPerSecond.grouped,
                            $0.framesTransmittedPerSecond.grouped,
                            $0.bytesReceivedPerSecond.asBytes, $0.bytesTransmittedPerSecond.asBytes, $0.drops.grouped,
                        ]
                    }
                ).lines
        }
        lines.append("")
        lines.append("connections  " + Self.list(stacks.map { $0.1.states.mapValues(UInt64.init) }))
        lines.append("dropped      " + Self.list(stacks.map { $0.1.drops }))
        return lines
    }

    /// Counts of all cores together, the largest first.
    private static func list(_ counts: [[String: UInt64]]) -> String {
        let sum = counts.reduce(into: [String: UInt64]()) { $0.merge($1, uniquingKeysWith: +) }
        let sorted = sum.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return sorted.isEmpty ? "none" : sorted.map { "\($0.value.grouped) \($0.key)" }.joined(separator: ", ")
    }
}

extension Double {
    /// Bytes, in the unit that suits them.
    var asBytes: String {
        if self >= 999_500_000 { return "\((self / 1e9).formatted(decimals: 2)) GB" }
        if self >= 999_500 { return "\((self / 1e6).formatted(decimals: 1)) MB" }
        if self >= 999.5 { return "\((self / 1e3).formatted(decimals: 1)) kB" }
        return "\(formatted(decimals: 0)) B"
    }
}
