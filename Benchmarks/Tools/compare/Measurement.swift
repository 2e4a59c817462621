// What one run measures, as the load generator prints it, and the runs of a whole comparison with the figures drawn
// from them: medians over the rounds, and medians of the ratios within each round.

import Foundation

/// Field for field the JSON that `load` prints.
struct Measurement: Codable, Sendable {
    var requests: Int
    var seconds: Double
    var requestsPerSecond: Double
    var bytesPerSecond: Double
    var errors: Int
    var p50Us: Double
    var p99Us: Double
    var p999Us: Double
    var loadCpuShare: Double
    var serverCpuShare: Double?
    var serverCpuNsPerRequest: Double?
    /// Of the server's processor, for whatever it worked.
    var processorNsPerRequest: Double?
    var serverBytesPerIdleConnection: Double?
    /// Counted in a run of their own, for counting costs time.
    var serverInstructionsPerRequest: Double?
    var serverUserInstructionsPerRequest: Double?

    static let decoder: JSONDecoder = {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return decoder
    }()
}

struct Run: Codable, Sendable {
    var round: Int
    var scenario: String
    var server: String
    var measurement: Measurement
}

/// A run that could not be measured, because its server or the load failed.
struct Failure: Codable, Sendable {
    var round: Int
    var scenario: String
    var server: String
    var reason: String
}

struct Runs: Sendable {
    typealias Figure = KeyPath<Measurement, Double?>

    var runs: [Run] = []
    var failures: [Failure] = []

    func rounds(_ scenario: String, _ server: Server) -> [Int: Measurement] {
        let matching = runs.filter { $0.scenario == scenario && $0.server == server.rawValue }
        return Dictionary(matching.map { ($0.round, $0.measurement) }, uniquingKeysWith: { first, _ in first })
    }

    func median(_ figure: Figure, _ scenario: String, _ server: Server) -> Double? {
        Self.median(rounds(scenario, server).values.compactMap { $0[keyPath: figure] })
    }

    /// The figure of the first over that of the second in each round that has both, and of these ratios the median.
    func ratio(
        _ figure: Figure, _ first: (scenario: String, server: Server), to second: (scenario: String, server: Server)
    ) -> Double? {
        let divisors = rounds(second.scenario, second.server)
        let ratios = rounds(first.scenario, first.server).compactMap { round, measurement -> Double? in
            guard let dividend = measurement[keyPath: figure],
                let divisor = divisors[round]?[keyPath: figure], divisor > 0
            else { return nil }
            return dividend / divisor
        }
        return Self.median(ratios)
    }

    static func median(_ values: [Double]) -> Double? {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }
}

extension Measurement {
    /// Throughput as an optional, to be used where figures that may be missing are.
    var throughput: Double? { requestsPerSecond }
    var p50: Double? { p50Us }
    var p99: Double? { p99Us }
    var p999: Double? { p999Us }
}
