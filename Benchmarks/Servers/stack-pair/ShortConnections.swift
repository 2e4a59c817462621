// Short connections: open, 64 bytes each way, close, the client first. As many are open at once as are asked for.

import MartletStack

struct ShortConnections: Workload {
    static let message = [UInt8](repeating: 0x55, count: 64)
    let count: Int
    let atOnce: Int
    private(set) var done = 0
    private(set) var errors = 0
    private var opened = 0
    private let settings: TCPSettings

    init(count: Int, atOnce: Int, _ pair: inout TwoStacks) throws(RunError) {
        (self.count, self.atOnce) = (count, atOnce)
        var settings = TCPSettings()
        settings.noDelay = true
        self.settings = settings
        do throws(ListenError) {
            _ = try pair.server.listen(on: 7, backlog: atOnce + 1, settings)
        } catch { throw .cannotListen(error) }
    }

    /// TIME-WAIT is short, as in lwip-pair, which ends it at once: a minute of it would take more ports than there are.
    static func limits(atOnce: Int) -> StackLimits {
        var limits = StackLimits()
        limits.tcp.connections = 16_384 + 4 * atOnce
        limits.tcp.timeWait = .milliseconds(1)
        limits.tcp.ringMemory = max(16 << 20, atOnce * 16_384)
        return limits
    }

    mutating func run(_ pair: inout TwoStacks) throws(RunError) {
        while done < count, errors == 0 {
            while opened < atOnce {
                do throws(ConnectError) {
                    _ = try pair.client.connect(to: TwoStacks.serverAddress, port: 7, settings)
                } catch { throw .cannotConnect(error) }
                opened += 1
            }
            try pair.turn(&self)
        }
    }

    mutating func client(_ stack: inout Stack, _ event: StackEvent) throws(RunError) {
        guard case .connection(let id, let events) = event else { return }
        if events.contains(.ended), stack.error(of: id) != nil { errors += 1 }
        if events.contains(.established), stack.send(id, Self.message.span.bytes) != Self.message.count { errors += 1 }
        guard events.contains(.readable) else { return }
        if stack.receiveAll(id) != Self.message.count { errors += 1 }
        stack.release(id)
        done += 1
        opened -= 1
    }

    mutating func server(_ stack: inout Stack, _ event: StackEvent) throws(RunError) {
        switch event {
        case .listener(let listener): while stack.accept(listener) != nil {}
        case .connection(let id, let events):
            if events.contains(.ended), stack.error(of: id) != nil { errors += 1 }
            if events.contains(.readable) {
                let received = stack.receiveAll(id)
                if received != Self.message.count || stack.send(id, Self.message.span.bytes) != received { errors += 1 }
            }
            if events.contains(.finished) { stack.release(id) }
        default: break
        }
    }
}
