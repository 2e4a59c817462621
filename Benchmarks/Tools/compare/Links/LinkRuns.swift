// What was measured of links, scenario by scenario. A whole comparison takes longer than a machine likes to be left alone, so it may
// be made in pieces: each replaces what it measures anew, and keeps the rest.

import Foundation

struct LinkRuns: Codable {
    /// The rounds of one scenario, all of one command.
    struct Measured: Codable {
        var machine: Machine
        var command: String
        /// In frames a second over all directions, or a share of a processor.
        var own: [Double] = []
        var peer: [Double] = []
        /// Of the ratios within a round, the median.
        var ratio: Double? { LinkRuns.median(zip(own, peer).map { $0 / $1 }) }
    }

    private(set) var scenarios: [String: Measured] = [:]

    mutating func add(_ own: Double, _ peer: Double?, to scenario: String, machine: Machine, command: String) {
        var measured = scenarios[scenario] ?? Measured(machine: machine, command: command)
        measured.own.append(own)
        if let peer { measured.peer.append(peer) }
        scenarios[scenario] = measured
    }

    /// These, and of the `earlier` ones what was not measured now.
    func merged(with earlier: LinkRuns) -> LinkRuns {
        var all = self
        all.scenarios.merge(earlier.scenarios) { new, _ in new }
        return all
    }

    static func median(_ figures: [Double]) -> Double? {
        guard !figures.isEmpty else { return nil }
        let sorted = figures.sorted()
        return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
    }
}
