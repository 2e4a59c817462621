// The bars: what Martlet's echo server has to reach beside its peers, and whether it does.

struct Bar: Sendable {
    enum Unit: String, Codable, Sendable {
        case ratio
        case kibibytes = "KiB"
        case percent = "%"
        case count
    }

    var text: String
    /// The most that passes.
    var limit: Double
    var unit = Unit.ratio
    /// Nil if what it takes was not measured.
    var value: @Sendable (Runs) -> Double?

    /// Server processor time a request, the first over the second, in one scenario.
    static func processorTime(
        _ scenario: String, _ first: Server, over second: Server, _ limit: Double
    ) -> Bar {
        Bar(text: "\(scenario): server CPU a request, \(first.rawValue) / \(second.rawValue)", limit: limit) {
            $0.ratio(\.serverCpuNsPerRequest, (scenario, first), to: (scenario, second))
        }
    }

    static let all: [Bar] = [
        processorTime(Scenario.echo64, .martlet, over: .epoll, 1.05),
        processorTime(Scenario.echo64, .martlet, over: .nioAsync, 0.40),
        processorTime(Scenario.echo64, .martletLoop, over: .martlet, 1.10),
        processorTime(Scenario.echo512, .martlet, over: .epoll, 1.10),
        processorTime(Scenario.echo16K, .martlet, over: .epoll, 1.10),
        processorTime(Scenario.pipeline, .martlet, over: .epoll, 1.10),
        processorTime(Scenario.short, .martlet, over: .epoll, 1.20),
        processorTime(Scenario.short, .martlet, over: .nioAsync, 0.35),
        Bar(
            text: "martlet: server CPU a short connection, \(Scenario.shortBesideIdle) / \(Scenario.short)",
            limit: 1.15
        ) {
            $0.ratio(
                \.serverCpuNsPerRequest, (Scenario.shortBesideIdle, .martlet), to: (Scenario.short, .martlet))
        },
        Bar(text: "\(Scenario.idle): martlet, memory an idle connection", limit: 3, unit: .kibibytes) {
            $0.median(\.serverBytesPerIdleConnection, Scenario.idle, .martlet).map { $0 / 1024 }
        },
        Bar(text: "\(Scenario.idle): martlet, CPU without traffic", limit: 0.5, unit: .percent) {
            $0.median(\.serverCpuShare, Scenario.idle, .martlet).map { $0 * 100 }
        },
        Bar(text: "all scenarios: martlet, failed requests and runs", limit: 0, unit: .count) { runs in
            let names = Set(Server.allCases.filter(\.isMartlet).map(\.rawValue))
            let own = runs.runs.filter { names.contains($0.server) }
            let failures = runs.failures.count { names.contains($0.server) }
            return own.isEmpty && failures == 0
                ? nil : Double(own.reduce(failures) { $0 + $1.measurement.errors })
        },
    ]
}

/// A bar with what was measured against it.
struct Verdict: Codable, Sendable {
    var bar: String
    var limit: Double
    var unit: Bar.Unit
    var value: Double?
    var passed: Bool?

    init(_ bar: Bar, _ runs: Runs) {
        self.bar = bar.text
        limit = bar.limit
        unit = bar.unit
        value = bar.value(runs)
        passed = value.map { $0 <= bar.limit }
    }

    var mark: String {
        switch passed {
        case true: "pass"
        case false: "FAIL"
        case nil: "not measured"
        }
    }

    func written(_ number: Double?) -> String {
        guard let number else { return "–" }
        return switch unit {
        case .ratio: number.fixed(3)
        case .kibibytes: number.fixed(2) + " KiB"
        case .percent: number.fixed(2) + " %"
        case .count: number.fixed(0)
        }
    }
}
