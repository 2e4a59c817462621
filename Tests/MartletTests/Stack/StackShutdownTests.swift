// The end of a runtime whose stack has ten thousand connections in every state that there is, in virtual time. What each client sees
// is the contract of Runtime.shutdown; what the stack and the core hold afterwards is nothing.

import MartletSimulation
import Testing

@testable import Martlet
@testable import MartletStack

@Suite("The end of a runtime with ten thousand connections over its stack")
struct StackShutdownTests {
    /// What a connection is about when the end comes, and how its client is to see it end.
    enum Situation: UInt8, CaseIterable, Sendable {
        /// Nobody says anything, and the handler would wait for ever: it is cancelled when the time is up. RST.
        case idle
        /// The client has finished, and the handler has not: CLOSE-WAIT here, FIN-WAIT-2 there. FIN.
        case clientFinished
        /// The handler has finished, and the client has not: FIN-WAIT-2 here, CLOSE-WAIT there. FIN.
        case serverFinished
        /// The handler returns when it hears of the end. FIN.
        case attentive
        /// Both have closed long ago: TIME-WAIT.
        case over
        /// Bytes that the handler has not read when it returns. RST (RFC 1122 §4.2.2.13).
        case unread
        /// More from the handler than the client's window takes, which reads when the end comes: all of it, and FIN.
        case delivering
        /// Nobody has accepted it. RST.
        case waiting

        enum End: Sendable { case fin, reset }

        var end: End {
            switch self {
            case .clientFinished, .serverFinished, .attentive, .over, .delivering: .fin
            case .idle, .unread, .waiting: .reset
            }
        }
    }

    private static let count = 10_000
    private static var each: Int { count / Situation.allCases.count }
    /// Bytes that are more than a window.
    private static let many = 40_000
    /// When the end comes, and whoever waited for it goes on.
    private static let end = Duration.seconds(6)

    private static var configuration: Runtime.Configuration {
        var configuration = SimulatedHost.configuration
        configuration.limits.connectionsPerCore = 16_384
        configuration.limits.framesPerCore = 8192
        configuration.stackLimits.tcp.connections = 16_384
        configuration.stackLimits.tcp.timeWaits = 4096
        configuration.stackLimits.tcp.ringMemory = 128 << 20
        return configuration
    }

    private static var bounds: ConnectionOptions {
        var options = ConnectionOptions()
        (options.receiveLimit, options.sendLimit) = (4096, 4096)
        (options.kernelReceiveBuffer, options.kernelSendBuffer) = (8192, 8192)
        return options
    }

    @Test("FINs leave, resets leave, slots and memory return, and every client sees what it should")
    func shutdown() async throws {
        let run = try await Simulation.run(seed: 1) { world in
            world.conditions = LinkConditions(latency: .milliseconds(2))
            let scenes = Log<StackScene>()
            // The runtime's body is cancelled at the end of its time, and its host is looked at after that.
            let (looked, hasLooked) = AsyncStream<Void>.makeStream()
            let server = world.host("server")
            async let served: Void = server.run(configuration: Self.configuration) { runtime in
                scenes.append(StackScene(runtime: runtime))
                await Self.serve(runtime, world)
                await Task { for await _ in looked {} }.value
            }
            try await world.sleep(for: .milliseconds(1))
            let clients = world.host("client")
            async let ends = clients.run(configuration: Self.configuration) { runtime in
                try await withThrowingTaskGroup(of: (Situation, Situation.End, Int).self) { group in
                    for number in 0..<Self.count {
                        let situation = Situation.allCases[number % Situation.allCases.count]
                        group.addTask {
                            // Not all in one instant: a queue of SYNs is not what this is about.
                            try await runtime.cores[0].sleep(for: .microseconds(100 * number))
                            let (end, count) = await Self.call(runtime, situation, world)
                            return (situation, end, count)
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
            }
            let scene = scenes.entries[0]
            try await world.sleep(for: Self.end - world.elapsed - .milliseconds(1))
            let before = await scene.look { $0.population }
            for (state, least) in [
                (TCPState.established, 4 * Self.each), (.closeWait, Self.each), (.finWait2, Self.each),
                (.timeWait, Self.each),
            ] { #expect(before[state] >= least, "\(state): \(before[state]) of \(least)") }

            for situation in Situation.allCases {
                let seen = try await ends.filter { $0.0 == situation }
                #expect(seen.count == Self.each)
                let wrong = seen.count { $0.1 != situation.end }
                #expect(wrong == 0, "\(situation): \(wrong) of \(seen.count) saw another end than \(situation.end)")
                if situation == .delivering { #expect(seen.allSatisfy { $0.2 == Self.many }) }
            }
            try await world.sleep(for: .seconds(1))
            let after = await scene.look { $0.population }
            for state in TCPState.allCases where state != .timeWait { #expect(after[state] == 0, "\(state)") }
            let held = await scene.holdings
            #expect(held.sockets == 0 && held.connections == 0 && held.halfOpen == 0 && held.listeners == 0, "\(held)")
            #expect(held.ringBytes == 0 && held.freeSlabs == held.slabs, "\(held)")
            let frames = try await scene.frames
            #expect(frames.free == frames.all, "frames are lost")
            hasLooked.finish()
            try await served
        }
        #expect(run.elapsed < .seconds(12))
    }

    /// Serves until the end, which comes at its time.
    private static func serve(_ runtime: Runtime, _ world: World) async {
        let core = runtime.cores[0]
        do {
            // A listener that nobody accepts from.
            let unattended = try await core.listen(on: .any(port: 2), options: bounds)
            async let over: Void = {
                try await core.sleep(for: end - .milliseconds(1))
                await runtime.shutdown(within: .seconds(2))
            }()
            try await runtime.serve(on: .any(port: 1), options: bounds) { try await handle($0, runtime, world) }
            await unattended.close()
            try await over
        } catch {
            Issue.record("the server has thrown \(error)")
        }
    }

    /// What the server does about a connection, whose first byte says what it is about.
    private static func handle(
        _ connection: TCPConnection, _ runtime: Runtime, _ world: World
    ) async throws {
        var first: UInt8 = .max
        // One byte: what is behind it stays unread.
        guard
            try await connection.receive({ bytes in
                first = unsafe bytes.withUnsafeBytes { unsafe $0[0] }
                return 1
            }), let situation = Situation(rawValue: first)
        else { return }
        switch situation {
        case .idle: while try await connection.receive() != nil {}
        case .clientFinished:
            while try await connection.receive() != nil {}
            try await hearOfTheEnd(runtime, world)
        case .serverFinished:
            try await connection.finish()
            while try await connection.receive() != nil {}
        case .attentive, .unread: try await hearOfTheEnd(runtime, world)
        case .delivering: try await connection.send(Bytes(stream(from: 0, count: many)))
        case .over, .waiting: break
        }
    }

    private static func hearOfTheEnd(_ runtime: Runtime, _ world: World) async throws {
        try await runtime.cores[0].sleep(for: end - world.elapsed)
        while !runtime.isShuttingDown { try await runtime.cores[0].sleep(for: .milliseconds(50)) }
    }

    /// What the client does, and how it has ended, after how many bytes.
    private static func call(_ runtime: Runtime, _ situation: Situation, _ world: World) async -> (Situation.End, Int) {
        let received = Log<Int>()
        do {
            try await runtime.withConnection(
                to: "server", port: situation == .waiting ? 2 : 1, options: bounds
            ) { connection in
                try await connection.send(Bytes([situation.rawValue]))
                switch situation {
                case .clientFinished: try await connection.finish()
                case .unread: try await connection.send(Bytes(repeatElement(1, count: 3000)))
                case .delivering: try await connection.core.sleep(for: end - world.elapsed + .milliseconds(100))
                default: break
                }
                while let bytes = try await connection.receive() { received.append(bytes.count) }
                if situation == .serverFinished {
                    try await connection.core.sleep(for: end - world.elapsed + .milliseconds(100))
                }
            }
            return (.fin, received.entries.reduce(0, +))
        } catch {
            return (.reset, received.entries.reduce(0, +))
        }
    }
}
