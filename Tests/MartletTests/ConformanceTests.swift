// The table of effects, over both kernel drivers and all three families of addresses, and besides with two cores, with limits
// that are soon reached, and with cores that spin; and over our own stack.
//
// `MARTLET_CHECK` and `MARTLET_ENVIRONMENT` choose those whose names contain that text, `MARTLET_SEED` the seed.

import Glibc
import Martlet
import MartletSimulation
import Testing

@Suite("Conformance")
struct ConformanceTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let check: Conformance.Check
        let environment: Conformance.Environment

        var testDescription: String { "\(check.name) — \(environment.name)" }
    }

    static let seed = setting("MARTLET_SEED").flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64.max)

    private static let kernels: [Conformance.Environment] = [DriverChoice.ioUring, .epoll].flatMap { driver in
        let families: [Conformance.Environment] = Conformance.Environment.Family.allCases.map {
            .kernel(driver, $0, seed: seed)
        }
        var spinning = Conformance.Environment.kernel(driver, .ipv4, seed: seed, note: "spinning")
        spinning.configuration.idle = .spin(for: .microseconds(50))
        var polled = Conformance.Environment.kernel(driver, .ipv4, seed: seed, note: "SQPOLL")
        polled.configuration.sqpoll = true
        return families + (driver == .ioUring ? [polled] : []) + [
            .kernel(driver, .ipv4, cores: 2, seed: seed, note: "two cores"),
            .kernel(driver, .ipv4, limits: scarce, seed: seed, note: "scarce limits"),
            spinning,
        ]
    }

    private static let stacks: [Conformance.Environment] = [
        .stack(.ipv4, seed: seed), .stack(.ipv6, seed: seed),
        .stack(.ipv4, limits: scarce, seed: seed, note: "scarce limits"), spinningStack,
        .stack(.ipv4, cores: 2, seed: seed, note: "two cores"),
    ]

    private static var spinningStack: Conformance.Environment {
        var environment = Conformance.Environment.stack(.ipv4, seed: seed, note: "spinning")
        environment.configuration.idle = .spin(for: .microseconds(50))
        return environment
    }

    static let environments = (kernels + stacks).map { environment in
        // Several checks run at once, each with cores of its own: the kernel spreads them over the CPUs.
        var environment = environment
        environment.configuration.pinsThreads = false
        environment.configuration.logger = nil
        return environment
    }

    private static var scarce: Limits {
        var limits = Limits()
        limits.connectionsPerCore = 256
        limits.jobsPerRound = 3
        limits.receiveBuffers = 8
        limits.maximumReceiveBuffers = 256
        limits.receiveBufferSize = 1000
        limits.maximumSendBuffers = 64
        limits.submissionEntries = 8
        limits.completionEntries = 16
        return limits
    }

    static let cases: [Case] = environments.flatMap { environment in
        Conformance.checks.filter { $0.reasonToSkip(in: environment) == nil }
            .map { Case(check: $0, environment: environment) }
    }.filter { one in
        one.check.name.contains(setting("MARTLET_CHECK") ?? "")
            && one.environment.name.contains(setting("MARTLET_ENVIRONMENT") ?? "")
    }

    private static func setting(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    /// So many checks at once that two CPUs are busy, and none is late because of the others.
    private static let turnstile = Turnstile(width: 3)

    @Test("the table of effects holds", arguments: cases)
    func holds(_ one: Case) async throws {
        await Self.turnstile.enter()
        let clock = ContinuousClock()
        let begin = clock.now
        print("BEGIN \(one)")
        defer { print("TIME \(clock.now - begin) \(one)") }
        do {
            try await one.check.run(in: one.environment)
        } catch {
            Issue.record("\(one.environment), seed \(one.environment.seed): \(error)")
        }
        Self.turnstile.leave()
    }

    @Test("what is skipped over Unix-domain sockets needs what they have not")
    func skips() {
        let unix = Conformance.Environment.kernel(.epoll, .unix, seed: 0)
        let tcp = Conformance.Environment.kernel(.epoll, .ipv4, seed: 0)
        let reasons = Conformance.checks.compactMap { $0.reasonToSkip(in: unix) }
        #expect(reasons.allSatisfy { $0.contains("resets") || $0.contains("acknowledgements") })
        #expect(reasons.count < Conformance.checks.count / 3)
        #expect(Conformance.checks.allSatisfy { $0.reasonToSkip(in: tcp) == nil })
    }

    @Test("every check has a name of its own")
    func names() {
        #expect(Set(Conformance.checks.map(\.name)).count == Conformance.checks.count)
    }

    @Test("a check that hangs fails and says so")
    func hangs() async throws {
        var environment = Conformance.Environment.kernel(.epoll, .ipv4, seed: 0)
        environment.patience = .milliseconds(20)
        let slow = try #require(
            Conformance.checks.first { $0.name.hasPrefix("a closed connection that cannot deliver") })
        await #expect(throws: ConformanceFailure.self) { try await slow.run(in: environment) }
    }
}

/// Lets so many tasks through at a time.
private final class Turnstile: Sendable {
    private let state: Guarded<(free: Int, waiting: [CheckedContinuation<Void, Never>])>

    init(width: Int) { state = Guarded((width, [])) }

    func enter() async {
        await withCheckedContinuation { continuation in
            let mayPass = state.withLock { state in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if mayPass { continuation.resume() }
        }
    }

    func leave() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            if state.waiting.isEmpty {
                state.free += 1
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume()
    }
}
