// What a short connection costs in instructions, step by step and at both ends: for Benchmarks/Tools/instructions.
//
// The steps are those of ShortConnections, in virtual time and with 64 connections in each burst. What the program does of its own
// at an event, which is to call the stack, is counted with the step.

import MartletStack
import PeerSupport

struct ConnectionCosts: ~Copyable {
    private static let atOnce = 64
    private var pair: TwoStacks
    private let settings: TCPSettings
    /// Here, so that nothing but the stack is asked for it while it is counted.
    private let message = ShortConnections.message
    private var done = 0

    init() throws(RunError) {
        pair = TwoStacks(ShortConnections.limits(atOnce: Self.atOnce))
        var settings = TCPSettings()
        settings.noDelay = true
        self.settings = settings
        do throws(ListenError) {
            _ = try pair.server.listen(on: 7, backlog: Self.atOnce + 1, settings)
        } catch { throw .cannotListen(error) }
    }

    /// Counts one round of connections, after some that make everything warm.
    mutating func run() throws(RunError) {
        for round in 0..<8 { try connections(isCounted: round == 7) }
    }

    private mutating func connections(isCounted: Bool) throws(RunError) {
        let before = done
        let settings = settings
        try step("connect", isCounted) { pair throws(RunError) in
            for _ in 0..<Self.atOnce {
                do throws(ConnectError) {
                    _ = try pair.client.connect(to: TwoStacks.serverAddress, port: 7, settings)
                } catch { throw .cannotConnect(error) }
            }
        }
        try clientSends("SYN leaves", isCounted)
        try serverTakes("SYN arrives", isCounted)
        try serverSends("SYN-ACK leaves", isCounted)
        try clientTakes("SYN-ACK arrives, 64 bytes are given", isCounted)
        try clientSends("ACK and 64 bytes leave", isCounted)
        try serverTakes("ACK and 64 bytes arrive, are read, 64 bytes are given", isCounted)
        try serverSends("ACK and 64 bytes of the server leave", isCounted)
        try clientTakes("ACK and 64 bytes of the server arrive, are read, release", isCounted)
        try clientSends("FIN leaves", isCounted)
        try serverTakes("FIN arrives, release", isCounted)
        try serverSends("FIN of the server leaves", isCounted)
        try clientTakes("FIN of the server arrives", isCounted)
        try clientSends("last ACK leaves", isCounted)
        try serverTakes("last ACK arrives", isCounted)
        try step("end", isCounted) { pair throws(RunError) in
            pair.now = pair.now.advanced(byNanoseconds: 10_000_000)
            pair.client.advance(to: pair.now)
            pair.server.advance(to: pair.now)
        }
        guard done == before + Self.atOnce, pair.client.connectionCount == 0, pair.server.connectionCount == 0 else {
            throw .stalled
        }
    }

    private mutating func clientSends(_ name: String, _ isCounted: Bool) throws(RunError) {
        try step("client: " + name, isCounted) { pair throws(RunError) in
            _ = pair.client.egress(into: &pair.burst, at: pair.now)
        }
    }

    private mutating func serverSends(_ name: String, _ isCounted: Bool) throws(RunError) {
        try step("server: " + name, isCounted) { pair throws(RunError) in
            _ = pair.server.egress(into: &pair.burst, at: pair.now)
        }
    }

    private mutating func clientTakes(_ name: String, _ isCounted: Bool) throws(RunError) {
        var done = 0
        let message = message
        try step("client: " + name, isCounted) { pair throws(RunError) in
            pair.client.ingress(&pair.burst, at: pair.now)
            pair.client.advance(to: pair.now)
            while let event = pair.client.nextEvent() {
                guard case .connection(let id, let events) = event else { continue }
                if events.contains(.established) { _ = pair.client.send(id, message.span.bytes) }
                guard events.contains(.readable) else { continue }
                _ = pair.client.receiveAll(id)
                pair.client.release(id)
                done += 1
            }
        }
        self.done += done
    }

    private mutating func serverTakes(_ name: String, _ isCounted: Bool) throws(RunError) {
        let message = message
        try step("server: " + name, isCounted) { pair throws(RunError) in
            pair.server.ingress(&pair.burst, at: pair.now)
            pair.server.advance(to: pair.now)
            while let event = pair.server.nextEvent() {
                switch event {
                case .listener(let listener): while pair.server.accept(listener) != nil {}
                case .connection(let id, let events):
                    if events.contains(.readable) {
                        _ = pair.server.receiveAll(id)
                        _ = pair.server.send(id, message.span.bytes)
                    }
                    if events.contains(.finished) { pair.server.release(id) }
                default: break
                }
            }
        }
    }

    private mutating func step(
        _ name: String, _ isCounted: Bool, _ body: (inout TwoStacks) throws(RunError) -> Void
    ) throws(RunError) {
        pair.now = pair.now.advanced(byNanoseconds: 100_000)
        guard isCounted else { return try body(&pair) }
        try counted { () throws(RunError) in try body(&pair) }
        report(name, of: Self.atOnce)
    }
}
