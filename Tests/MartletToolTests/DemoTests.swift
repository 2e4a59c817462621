// The whole of it in this process: real sockets on the loopback, and real time, of which a busy machine may give little. So
// nothing is expected of how much is done, only that what is done is right and that nothing is left out.

import Foundation
import Martlet
import Testing

@testable import MartletTool

@Suite(.serialized)
struct DemoTests {
    private func measure(_ change: (inout LoadPlan) -> Void, driver: DriverChoice = .automatic) async throws
        -> LoadReport
    {
        var plan = LoadPlan()
        plan.connections = 8
        plan.seconds = 0.3
        plan.warmup = 0.1
        change(&plan)
        return try await Demo.measure(plan, driver: driver, line: LiveLine(isShown: false))
    }

    @Test func `A second of the demo echoes, verifies and reports`() async throws {
        let report = try await measure { $0.seconds = 1 }
        let text = report.text(width: 80)
        #expect(report.verifiedRequests > 0 && report.errors.isEmpty, "\(text)")
        #expect(report.verifiedBytes == report.verifiedRequests * 64)
        #expect(report.latency.p50 <= report.latency.p99)
        #expect(report.serverMicrosecondsPerRequest != nil)
        #expect(text.contains("each byte is the one that was sent"))
        let json = try JSONSerialization.jsonObject(with: Data(try report.json.utf8)) as? [String: Any]
        #expect(json?["requests"] as? Int == report.requests)
        #expect((json?["latencyMicroseconds"] as? [String: Any])?["p999"] != nil)
    }

    @Test func `The kernel and the own stack are shown side by side, both ends on one core`() async throws {
        var plan = LoadPlan()
        (plan.connections, plan.seconds, plan.warmup) = (8, 0.3, 0.1)
        let line = LiveLine(isShown: false)
        let kernel = try await Demo.measureOneCore(plan, over: .kernel, driver: .automatic, line: line)
        let stack = try await Demo.measureOneCore(plan, over: .stack([]), driver: .automatic, line: line)
        #expect(stack.server?.driver.contains("own stack") == true)
        #expect(kernel.server?.driver.contains("own stack") == false)
        let report = DemoReport(kernel: kernel, oneCore: .init(kernel: kernel, stack: stack))
        #expect(report.isClean)
        let text = report.comparison.joined(separator: "\n")
        #expect(text.contains("own stack") && text.contains(stack.requestsPerSecond.grouped), "\(text)")
        let json = try JSONSerialization.jsonObject(with: Data(try report.json.utf8)) as? [String: Any]
        let both = json?["oneCore"] as? [String: [String: Any]]
        #expect(both?["stack"]?["requests"] as? Int == stack.requests)
        #expect((json?["kernel"] as? [String: Any])?["requests"] as? Int == kernel.requests)
    }

    @Test(arguments: LoadPlan.Mode.allCases, [DriverChoice.automatic, .epoll])
    func `Every mode works with either driver`(mode: LoadPlan.Mode, driver: DriverChoice) async throws {
        let report = try await measure(
            { plan in
                plan.mode = mode
                plan.depth = mode == .pipeline ? 4 : 1
                plan.size = 1000
                plan.resets = true
            }, driver: driver)
        #expect(report.verifiedRequests > 0 && report.errors.isEmpty, "\(report.text(width: 80))")
    }

    @Test(arguments: [LoadPlan.Mode.echo, .short])
    func `An open loop accounts for every request that was due`(mode: LoadPlan.Mode) async throws {
        let report = try await measure { plan in
            plan.mode = mode
            plan.rate = 200
        }
        #expect(report.latencies.count == 60, "every request that was due in the 0.3 s is accounted for")
        #expect(report.errors.isEmpty, "\(report.text(width: 80))")
    }

    @Test func `Requests larger than the kernel's buffers come through`() async throws {
        let report = try await measure { plan in
            plan.connections = 2
            plan.size = 8 << 20
        }
        #expect(report.verifiedRequests > 0 && report.errors.isEmpty, "\(report.text(width: 80))")
    }
}
