// What a run came to, for machines as JSON and for people as a table and a chart.

import Foundation

struct LoadReport: Sendable, Encodable {
    struct LatencyMicroseconds: Sendable, Encodable {
        let min: Double
        let mean: Double
        let p50: Double
        let p90: Double
        let p99: Double
        let p999: Double
        let max: Double

        init(_ latencies: Latencies) {
            func microseconds(_ nanoseconds: Double) -> Double { (nanoseconds / 10).rounded() / 100 }
            min = microseconds(Double(latencies.min))
            mean = microseconds(latencies.mean)
            p50 = microseconds(Double(latencies.percentile(50)))
            p90 = microseconds(Double(latencies.percentile(90)))
            p99 = microseconds(Double(latencies.percentile(99)))
            p999 = microseconds(Double(latencies.percentile(99.9)))
            max = microseconds(Double(latencies.max))
        }
    }

    /// A side of the connections that is in this process.
    struct Side: Sendable, Encodable {
        var driver: String
        var cpus: [Int]

        var summary: String {
            let cores =
                switch cpus.count {
                case 0: "unpinned"
                case 1: "CPU \(cpus[0])"
                default: "CPUs \(cpus.map(String.init).joined(separator: ", "))"
                }
            return "\(cores), \(driver)"
        }
    }

    var target = ""
    var server: Side?
    var load: Side?
    let mode: LoadPlan.Mode
    let connections: Int
    let size: Int
    let depth: Int
    /// What the open loop was asked for.
    let rate: Double?
    /// The measured part.
    let seconds: Double
    let requests: Int
    let requestsPerSecond: Double
    let latency: LatencyMicroseconds
    /// How late an open loop's requests left, 99th percentile.
    let lateP99: Double?
    let serverMicrosecondsPerRequest: Double?
    let serverBusy: Double?
    let verifiedRequests: Int
    let verifiedBytes: Int
    let unanswered: Int
    let errors: [String: Int]
    let wasInterrupted: Bool

    private let plan: LoadPlan
    let latencies: Latencies

    private enum CodingKeys: String, CodingKey {
        case target, server, load, mode, connections, size, depth, rate, seconds, requests, requestsPerSecond
        case latency = "latencyMicroseconds"
        case lateP99 = "sentLateP99Microseconds"
        case serverMicrosecondsPerRequest, serverBusy, verifiedRequests, verifiedBytes, unanswered, errors,
            wasInterrupted
    }

    init(plan: LoadPlan, record: Recorder.Record, observed: LoadGenerator.Observed) {
        self.plan = plan
        mode = plan.mode
        connections = plan.connections
        size = plan.size
        depth = plan.mode == .pipeline ? plan.depth : 1
        rate = plan.rate
        seconds = Double(observed.nanoseconds) / 1_000_000_000
        requests = record.answersInWindow
        requestsPerSecond = seconds > 0 ? (Double(requests) / seconds).rounded() : 0
        latencies = record.latencies
        latency = LatencyMicroseconds(record.latencies)
        lateP99 = plan.rate == nil ? nil : LatencyMicroseconds(record.lateness).p99
        serverMicrosecondsPerRequest = observed.serverNanoseconds.map {
            (Double($0) / Double(max(1, observed.answers)) / 10).rounded() / 100
        }
        serverBusy = observed.serverNanoseconds.map {
            (Double($0) / Double(max(1, observed.nanoseconds)) * 1000).rounded() / 1000
        }
        verifiedRequests = record.answers
        verifiedBytes = record.bytes
        unanswered = record.unanswered
        errors = record.errors
        wasInterrupted = observed.wasInterrupted
    }

    /// Whether every request that was sent was answered, and rightly.
    var isClean: Bool { requests > 0 && errors.isEmpty && unanswered == 0 }

    var json: String { get throws { try Self.json(of: self) } }

    /// A report, or several, as JSON for programs that people read too.
    static func json(of reports: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(reports), as: UTF8.self)
    }

    /// The table and the chart.
    func text(width: Int) -> String {
        var table = Table()
        if !target.isEmpty { table.add("target", target) }
        table.add("plan", plan.summary)
        if let server { table.add("server", server.summary) }
        if let load { table.add("load", load.summary) }
        table.add("measured", "\(seconds.formatted(decimals: 2)) s" + (wasInterrupted ? ", then interrupted" : ""))
        table.add("", "")
        table.add("requests/s", requestsPerSecond.grouped + behind)
        if latencies.count > 0 {
            table.add("p50", latencies.percentile(50).asDuration)
            table.add("p99", latencies.percentile(99).asDuration)
            table.add("p99.9", latencies.percentile(99.9).asDuration)
            table.add("max", latencies.max.asDuration)
        }
        if let cost = serverMicrosecondsPerRequest, let busy = serverBusy {
            table.add(
                "server CPU",
                "\((cost * 1000).asDuration) a request (its core was \((busy * 100).formatted(decimals: 0)) % busy)")
        }
        if let late = lateP99, late > 500 {
            table.add(
                "sent late", "by \((late * 1000).asDuration) (p99), which the latencies include: is this CPU free?")
        }
        table.add(
            "verified",
            "\(verifiedRequests.grouped) echoes, \(verifiedBytes.grouped) bytes, warm-up included: "
                + (verifiedRequests > 0 ? "each byte is the one that was sent" : "nothing came back"))
        for (kind, count) in errors.sorted(by: { $0.key < $1.key }) { table.add("errors", "\(count.grouped) \(kind)") }
        if errors.isEmpty { table.add("errors", "none") }
        if unanswered > 0 {
            table.add("unanswered", "\(unanswered.grouped) requests, whose latency is at least the time they waited")
        }
        let chart = LatencyChart(latencies).lines(width: width)
        return (table.lines + (chart.isEmpty ? [] : ["", "latency"] + chart)).joined(separator: "\n")
    }

    /// A word on an open loop that did not come to its rate.
    private var behind: String {
        guard let rate, requestsPerSecond < rate * 0.98 else { return "" }
        return " of \(rate.grouped): the server, or this load generator, does not keep up"
    }
}
