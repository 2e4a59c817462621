// The table of effects, over both kernel drivers and all three families of addresses.

// `MARTLET_CHECK` and `MARTLET_ENVIRONMENT` choose those whose names contain that text, `MARTLET_SEED` the seed.

import Glibc
import Martlet
import MartletSimulation
import Testing

@Suite("Conformance", .serialized)
struct ConformanceTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let check: Conformance.Check
        let environment: Conformance.Environment

        var testDescription: String { "\(check.name) — \(environment.name)" }
    }

    static let seed = setting("MARTLET_SEED").flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64.max)

    static let environments: [Conformance.Environment] = [DriverChoice.ioUring, .epoll].flatMap { driver in
        Conformance.Environment.Family.allCases.map { .kernel(driver, $0, seed: seed) }
    }

    static let cases: [Case] = environments.flatMap { environment in
        Conformance.checks.filter { $0.reasonToSkip(in: environment) == nil }
            .map { Case(check: $0, environment: environment) }
    }.filter { one in
        one.check.name.contains(setting("MARTLET_CHECK") ?? one.check.name)
            && one.environment.name.contains(setting("MARTLET_ENVIRONMENT") ?? one.environment.name)
    }

    private static func setting(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    @Test("the table of effects holds", arguments: cases)
    func holds(_ one: Case) async throws {
        do {
            try await one.check.run(in: one.environment)
        } catch {
            Issue.record("\(one.environment), seed \(one.environment.seed): \(error)")
        }
    }
}
