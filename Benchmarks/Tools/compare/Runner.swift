// The runs of a comparison, one after the other. Every run has a server process of its own; within a round the servers
// take their turns scenario by scenario, in every other round in reverse, so that what drifts on the machine meets all
// of them alike.

import Foundation

struct Runner {
    let rounds: Int
    let seconds: Double
    let quick: Bool
    let loadCpu: Int
    let basePort: Int
    private var nextPort = 0
    private var runs = Runs()

    init(rounds: Int, seconds: Double, quick: Bool, loadCpu: Int, basePort: Int) {
        self.rounds = rounds
        self.seconds = seconds
        self.quick = quick
        self.loadCpu = loadCpu
        self.basePort = basePort
    }

    mutating func run(_ scenarios: [Scenario], _ servers: [Server]) -> Runs {
        for round in 1...rounds {
            for scenario in scenarios where round <= scenario.mostRounds {
                let turns = servers.filter(scenario.servers.contains)
                for server in round.isMultiple(of: 2) ? turns.reversed() : turns {
                    Progress.show("round \(round)/\(rounds)  \(scenario.name)  \(server.rawValue)  \(latest)")
                    run(scenario, server, round)
                }
            }
        }
        Progress.end()
        return runs
    }

    /// The last measured figure, so that one who watches sees something happen.
    private var latest: String {
        guard let last = runs.runs.last, let nanoseconds = last.measurement.serverCpuNsPerRequest else { return "" }
        return "(last: \(last.server) \((nanoseconds / 1000).fixed(2)) µs)"
    }

    private mutating func run(_ scenario: Scenario, _ server: Server, _ round: Int) {
        let port = basePort + nextPort % 1000
        nextPort += 1
        do {
            let running = try RunningServer(server, port: port, placement: scenario.placement)
            defer { running.stop() }
            var measurement = try load(scenario, running, seconds: scenario.seconds ?? seconds)
            if round == 1, measurement.requests > 0 {
                let counted = try load(scenario, running, seconds: 0.5, counting: true)
                measurement.serverInstructionsPerRequest = counted.serverInstructionsPerRequest
                measurement.serverUserInstructionsPerRequest = counted.serverUserInstructionsPerRequest
            }
            guard !running.hasEnded else {
                throw ChildError(description: "the server ended by itself")
            }
            runs.runs.append(
                Run(round: round, scenario: scenario.name, server: server.rawValue, measurement: measurement))
        } catch {
            let failure = Failure(
                round: round, scenario: scenario.name, server: server.rawValue, reason: "\(error)")
            runs.failures.append(failure)
            Progress.note("\(scenario.name), \(server.rawValue), round \(round): \(error)")
        }
    }

    private func load(
        _ scenario: Scenario, _ server: RunningServer, seconds: Double, counting: Bool = false
    ) throws -> Measurement {
        let cpu = scenario.placement == .pinned ? ["--cpu", "\(loadCpu)"] : []
        let counters = counting ? ["--counters", "1"] : []
        return try Load.run(
            scenario.load + cpu + counters + [
                "--port", "\(server.port)", "--server-pid", "\(server.identifier)",
                "--seconds", "\(quick ? min(seconds, 2) : seconds)", "--warmup", "\(scenario.warmup)",
            ])
    }
}
