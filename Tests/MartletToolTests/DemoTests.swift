import Foundation
import Martlet
import Testing

@testable import MartletTool

// The whole of it, in this process: real sockets on the loopback, real time.
@Suite("The demo", .serialized)
struct DemoTests {
    private func measure(_ change: (inout LoadPlan) -> Void, driver: DriverChoice = .automatic) async throws -> LoadReport {
        var plan = LoadPlan()
        plan.connections = 8
        plan.seconds = 0.3
        plan.warmup = 0.1
        change(&plan)
        return try await Demo.measure(plan, driver: driver, line: LiveLine(isShown: false))
    }

    @Test("echoes and verifies for a second, and says what it came to")
    func echo() async throws {
        let report = try await measure { $0.seconds = 1 }
        #expect(report.isClean, "\(report.text(width: 80))")
        #expect(report.requests > 0)
        #expect(report.verifiedBytes == report.verifiedRequests * 64)
        #expect(report.latency.p50 > 0 && report.latency.p50 <= report.latency.p99)
        #expect((report.serverMicrosecondsPerRequest ?? 0) > 0)
        let text = report.text(width: 80)
        #expect(text.contains("each byte is the one that was sent") && text.contains("█"))
        let json = try JSONSerialization.jsonObject(with: Data(try report.json.utf8)) as? [String: Any]
        #expect(json?["requests"] as? Int == report.requests)
        #expect((json?["latencyMicroseconds"] as? [String: Any])?["p999"] != nil)
    }

    @Test("does so with either driver and in every mode", arguments: LoadPlan.Mode.allCases, [DriverChoice.automatic, .epoll])
    func modes(mode: LoadPlan.Mode, driver: DriverChoice) async throws {
        let report = try await measure(
            { plan in
                plan.mode = mode
                plan.depth = mode == .pipeline ? 4 : 1
                plan.size = 1000
                plan.resets = true
            }, driver: driver)
        #expect(report.requests > 0 && report.errors.isEmpty, "\(report.text(width: 80))")
    }

    @Test("keeps to a rate and leaves no request out", arguments: [LoadPlan.Mode.echo, .short])
    func rate(mode: LoadPlan.Mode) async throws {
        let report = try await measure { plan in
            plan.mode = mode
            plan.rate = 200
        }
        #expect(report.latencies.count == 60, "every request that was due in the 0.3 s is accounted for")
        #expect(report.errors.isEmpty && report.unanswered == 0, "\(report.text(width: 80))")
    }

    @Test("carries requests that are larger than the kernel's buffers")
    func large() async throws {
        let report = try await measure { plan in
            plan.connections = 2
            plan.size = 8 << 20
        }
        #expect(report.verifiedRequests > 0 && report.errors.isEmpty, "\(report.text(width: 80))")
    }
}
