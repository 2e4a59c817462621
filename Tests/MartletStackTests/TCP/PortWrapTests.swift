// One client that opens more connections than it has ports: each port is used many times, soon after it was used before.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct PortWrapTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var timeWait = Duration.milliseconds(1)
        var wire = WireConditions(latency: 50_000)
        /// Whether nobody runs for two seconds now and then, with packets on their way.
        var pauses = false
    }

    private static let cases = [
        Case(testDescription: "a short TIME-WAIT"),
        Case(testDescription: "a short TIME-WAIT, and pauses", pauses: true),
        Case(
            testDescription: "a short TIME-WAIT, and packets late, twice and lost",
            wire: WireConditions(latency: 50_000, lost: 10, late: 50, doubled: 50)),
        Case(testDescription: "a TIME-WAIT of a minute, which the next one takes over", timeWait: .seconds(60)),
    ]

    private static let ports = 64
    private static let message = [UInt8](repeating: 0x55, count: 64)

    /// Short connections, eight at once, as many as use each port twenty times.
    private struct Program {
        let total = 20 * PortWrapTests.ports
        var open = 0
        var opened = 0
        var done = 0
        var failed = 0
        var refused = 0

        mutating func run(_ pair: inout Pair) {
            clientEvents(&pair)
            serverEvents(&pair)
            while open < 8, opened < total {
                do throws(ConnectError) {
                    _ = try pair.client.connect(to: Pair.serverAddress, port: 7)
                    (open, opened) = (open + 1, opened + 1)
                } catch {
                    // Every port was used in this second.
                    #expect(error == .noPort)
                    refused += 1
                    return
                }
            }
        }

        private mutating func clientEvents(_ pair: inout Pair) {
            while let event = pair.client.nextEvent() {
                guard case .connection(let id, let events) = event else { continue }
                if events.contains(.established) { #expect(pair.client.send(id, message) == 64) }
                if events.contains(.readable), pair.client.receiveAll(id).count == 64 {
                    pair.client.release(id)
                    (open, done) = (open - 1, done + 1)
                } else if events.contains(.ended) {
                    pair.client.release(id)
                    (open, failed) = (open - 1, failed + 1)
                }
            }
        }

        private mutating func serverEvents(_ pair: inout Pair) {
            while let event = pair.server.nextEvent() {
                switch event {
                case .listener(let listener): while pair.server.accept(listener) != nil {}
                case .connection(let id, let events):
                    if events.contains(.readable), pair.server.receiveAll(id).count == 64 {
                        #expect(pair.server.send(id, message) == 64)
                    }
                    if events.contains(.finished) || events.contains(.ended) { pair.server.release(id) }
                default: break
                }
            }
        }
    }

    @Test("ports that come round are used again, and every connection carries its bytes", arguments: cases, 1...3)
    func wrap(what: Case, seed: UInt64) throws {
        var limits = TCPLimits()
        (limits.firstPort, limits.lastPort) = (50_000, 50_000 + UInt16(Self.ports) - 1)
        limits.timeWait = what.timeWait
        var pair = Pair(what.wire, limits: limits, seed: seed)
        _ = try pair.server.listen(on: 7, backlog: 9)
        var program = Program()
        var random = SeededGenerator(seed: seed)
        var steps = 0
        while program.done + program.failed < program.total, steps < 200_000 {
            program.run(&pair)
            pair.flush()
            if what.pauses, Int.random(in: 0..<200, using: &random) == 0 { pair.jump(to: pair.now + .seconds(2)) }
            let next = program.refused > 0 ? pair.now + .milliseconds(10) : pair.now + .seconds(600)
            if !pair.step(until: next) { pair.rest(until: next) }
            program.refused = 0
            steps += 1
        }
        #expect(program.done == program.total, "seed \(seed): \(program), \(steps) steps, \(pair.now)")
        if what.timeWait == .seconds(60) {
            #expect(pair.client.counters.tcp.timeWaitsReused > 0, "seed \(seed)")
            #expect(pair.now < .zero + .seconds(60), "seed \(seed): nobody waits for the end of TIME-WAIT")
        }
        #expect(pair.client.tcp.connectionCount <= 8 && pair.server.tcp.connectionCount <= 8, "seed \(seed)")
    }
}
