// The end of a runtime whose stack has ten thousand connections in every state that there is. What each client sees is the contract
// of Runtime.shutdown; what the stack and the core hold afterwards is nothing.

import MartletSimulation
import Testing

@testable import Martlet
@testable import MartletStack

@Suite("The end of a runtime with ten thousand connections over its stack", .serialized)
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

    /// Bytes that are more than a window.
    private static let many = 100_000

    @Test("FINs leave, resets leave, slots and memory return, and every client sees what it should")
    func shutdown() async throws {
        let pairs = 5000
        try await StackScene.play(deadline: 120) { configuration in
            configuration.limits.framesPerCore = 16_384
        } _: { scene in
            let core = scene.core
            let gate = Gate()
            let ends = Log<(Situation, Situation.End, Int)>()
            var options = ConnectionOptions()
            (options.receiveLimit, options.sendLimit) = (4096, Self.many)
            (options.kernelReceiveBuffer, options.kernelSendBuffer) = (8192, 8192)
            let bounds = options
            // A listener that nobody accepts from.
            let unattended = try await core.onCore { try await core.listen(on: .loopback(port: 2), options: bounds) }
            // In tasks of their own, which the end of the runtime's body does not cancel: they see what is on the wire.
            let clients = Task {
                try await core.onCore {
                    await withDiscardingTaskGroup { group in
                        for number in 0..<pairs {
                            let situation = Situation.allCases[number % Situation.allCases.count]
                            group.addTask {
                                let (end, count) = await Self.call(core, situation, bounds, gate)
                                ends.append((situation, end, count))
                            }
                        }
                    }
                }
            }
            let each = pairs / Situation.allCases.count
            async let served: Void = scene.runtime.serve(on: .loopback(port: 1), options: bounds) {
                try await Self.handle($0, gate)
            }
            try await scene.eventually("all are where they are to be", patience: 60_000) { stack in
                let population = stack.population
                return population[.closeWait] >= 2 * each && population[.finWait2] >= 2 * each
                    && population[.timeWait] >= each && population[.established] >= 2 * 5 * each
            }
            #expect(await scene.look { $0.connectionCount + $0.population[.timeWait] } >= 2 * pairs - each)
            async let ended: Void = scene.runtime.shutdown(within: .seconds(2))
            gate.open()
            await ended
            try await served
            await unattended.close()
            try await clients.value
            for situation in Situation.allCases {
                let seen = ends.entries.filter { $0.0 == situation }
                #expect(seen.count == pairs / Situation.allCases.count)
                #expect(seen.allSatisfy { $0.1 == situation.end }, "\(situation): \(seen.map(\.1))")
                if situation == .delivering { #expect(seen.allSatisfy { $0.2 == Self.many }) }
            }
            // The body has been cancelled by now, as it was past its time.
            try await Task {
                try await scene.nothingIsHeld()
                let population = await scene.look { $0.population }
                for state in TCPState.allCases where state != .timeWait { #expect(population[state] == 0, "\(state)") }
                let frames = try await scene.frames
                #expect(frames.free == frames.all, "frames are lost")
            }.value
        }
    }

    /// What the server does about a connection, whose first byte says what it is about.
    private static func handle(_ connection: TCPConnection, _ gate: Gate) async throws {
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
            await gate.pass()
        case .serverFinished:
            try await connection.finish()
            while try await connection.receive() != nil {}
        case .attentive, .unread: await gate.pass()
        case .delivering: try await connection.send(Bytes(stream(from: 0, count: many)))
        case .over, .waiting: break
        }
    }

    /// What the client does, and how it has ended, after how many bytes.
    private static func call(
        _ core: Core, _ situation: Situation, _ options: ConnectionOptions, _ gate: Gate
    ) async -> (Situation.End, Int) {
        let received = Log<Int>()
        do {
            let port: UInt16 = situation == .waiting ? 2 : 1
            try await core.withConnection(to: .loopback(port: port), options: options) { connection in
                try await connection.send(Bytes([situation.rawValue]))
                switch situation {
                case .clientFinished: try await connection.finish()
                case .unread: try await connection.send(Bytes(repeatElement(1, count: 3000)))
                case .delivering: await gate.pass()
                case .serverFinished:
                    while let bytes = try await connection.receive() { received.append(bytes.count) }
                    await gate.pass()
                    return
                default: break
                }
                while let bytes = try await connection.receive() { received.append(bytes.count) }
            }
            return (.fin, received.entries.reduce(0, +))
        } catch {
            return (.reset, received.entries.reduce(0, +))
        }
    }
}
