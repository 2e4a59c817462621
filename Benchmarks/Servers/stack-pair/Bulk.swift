// Bulk data one way, over one connection.

import MartletStack

struct Bulk: Workload {
    let count: Int
    private(set) var received = 0
    private(set) var errors = 0
    private let bytes = [UInt8](repeating: 0x55, count: 65_536)
    private var connection: ConnectionID?
    private var maySend = false

    init(count: Int) { self.count = count }

    static func limits(window: UInt32) -> StackLimits {
        var limits = StackLimits()
        limits.tcp.connections = 16
        (limits.tcp.receiveLimit, limits.tcp.initialReceiveLimit) = (window, window)
        (limits.tcp.sendLimit, limits.tcp.initialSendLimit) = (window, window)
        return limits
    }

    mutating func run(_ pair: inout TwoStacks) throws(RunError) {
        do throws(ListenError) { _ = try pair.server.listen(on: 7) } catch { throw .cannotListen(error) }
        do throws(ConnectError) {
            connection = try pair.client.connect(to: TwoStacks.serverAddress, port: 7)
        } catch { throw .cannotConnect(error) }
        while received < count, errors == 0 {
            if maySend { send(&pair.client) }
            try pair.turn(&self)
        }
    }

    private mutating func send(_ stack: inout Stack) {
        guard let connection else { return }
        while stack.send(connection, bytes.span.bytes) == bytes.count {}
        maySend = false
    }

    mutating func client(_ stack: inout Stack, _ event: StackEvent) throws(RunError) {
        guard case .connection(_, let events) = event else { return }
        if events.contains(.ended) { errors += 1 }
        if !events.isDisjoint(with: [.established, .writable]) { send(&stack) }
    }

    mutating func server(_ stack: inout Stack, _ event: StackEvent) throws(RunError) {
        switch event {
        case .listener(let listener): while stack.accept(listener) != nil {}
        case .connection(let id, let events):
            if events.contains(.ended) { errors += 1 }
            received += stack.receiveAll(id)
        default: break
        }
    }
}
