// Many established connections, of which a few exchange messages: what one segment costs beside those that are idle.

import MartletStack

struct IdleConnections: Workload {
    /// A client address has some 16,000 ports towards one of the server's, so the server listens on several.
    private static let connectionsPerPort = 10_000
    private let count: Int
    private var active: [ConnectionID] = []
    private var opened = 0
    private var established = 0
    private var accepted = 0
    private var answers = 0
    private(set) var errors = 0
    private let settings: TCPSettings

    static func limits(count: Int, active: Int) -> StackLimits {
        var limits = StackLimits()
        limits.tcp.connections = count
        limits.tcp.ringMemory = max(16 << 20, active * 16_384)
        return limits
    }

    /// Opens all of them, a thousand at a time.
    init(count: Int, active: Int, _ pair: inout TwoStacks) throws(RunError) {
        self.count = count
        var settings = TCPSettings()
        settings.noDelay = true
        self.settings = settings
        let ports = (count + Self.connectionsPerPort - 1) / Self.connectionsPerPort
        for port in 0..<ports {
            do throws(ListenError) {
                _ = try pair.server.listen(on: UInt16(1000 + port), backlog: 2048, settings)
            } catch { throw .cannotListen(error) }
        }
        let stride = count / active
        while accepted < count || established < count {
            while opened < count, opened - min(established, accepted) < 1000 {
                let port = UInt16(1000 + opened / Self.connectionsPerPort)
                do throws(ConnectError) {
                    let id = try pair.client.connect(to: TwoStacks.serverAddress, port: port, settings)
                    // Those that are busy lie apart.
                    if opened % stride == 0, self.active.count < active { self.active.append(id) }
                } catch { throw .cannotConnect(error) }
                opened += 1
            }
            try pair.turn(&self)
        }
        // What the handshakes still owe.
        try exchange(1, &pair)
    }

    /// Each busy connection sends 64 bytes and gets 64 bytes, so often.
    mutating func exchange(_ times: Int, _ pair: inout TwoStacks) throws(RunError) {
        for _ in 0..<times {
            answers = 0
            for id in active { _ = pair.client.send(id, ShortConnections.message.span.bytes) }
            while answers < active.count { try pair.turn(&self) }
        }
    }

    mutating func client(_ stack: inout Stack, _ event: StackEvent) throws(RunError) {
        guard case .connection(let id, let events) = event else { return }
        if events.contains(.established) { established += 1 }
        if events.contains(.ended) { errors += 1 }
        if events.contains(.readable) {
            _ = stack.receiveAll(id)
            answers += 1
        }
    }

    mutating func server(_ stack: inout Stack, _ event: StackEvent) throws(RunError) {
        switch event {
        case .listener(let listener): while stack.accept(listener) != nil { accepted += 1 }
        case .connection(let id, let events) where events.contains(.readable):
            _ = stack.receiveAll(id)
            _ = stack.send(id, ShortConnections.message.span.bytes)
        default: break
        }
    }
}
