// stack-pair: two stacks of Martlet and the wire between them, in one thread: bulk data one way, or short connections (open, 64
// bytes each way, close). Prints one JSON object with what it measured, as the peer lwip-pair does.

import ArgumentParser
import MartletStack

@main struct StackPair: ParsableCommand {
    enum Workload: String, ExpressibleByArgument { case bulk, connections }

    static let configuration = CommandConfiguration(commandName: "stack-pair")

    @Argument var workload: Workload
    @Option(help: "Bytes, or connections.") var count: Int
    @Option(help: "Connections that are open at a time.") var atOnce = 64

    func run() {
        var ends = Ends(connections: 64 * atOnce)
        let clock = ContinuousClock()
        let begin = clock.now
        let done = workload == .bulk ? ends.runBulk(count) : ends.runConnections(count, atOnce: atOnce)
        let seconds = (clock.now - begin) / .seconds(1)
        let (name, unit, rate) =
            workload == .bulk
            ? ("bytes", "gigabits_per_second", Double(done) * 8 / seconds / 1e9)
            : ("connections", "connections_per_second", Double(done) / seconds)
        print(
            #"{"stack": "martlet", "workload": "\#(workload.rawValue)", "seconds": \#(seconds), "#
                + #""\#(name)": \#(done), "at_once": \#(atOnce), "\#(unit)": \#(rate)}"#)
    }
}

/// A client and a server. Frames go from one to the other in the burst that they were written into.
private struct Ends: ~Copyable {
    static let clientAddress = IPAddress("10.0.0.1")!
    static let serverAddress = IPAddress("10.0.0.2")!
    static let port: UInt16 = 7

    let pool = FramePool(count: 512)
    var client: Stack
    var server: Stack
    var now = Instant.zero
    let message = [UInt8](repeating: 0x2a, count: 64)

    init(connections: Int) {
        var limits = StackLimits()
        limits.tcp.connections = connections
        (limits.tcp.receiveLimit, limits.tcp.sendLimit) = (1 << 20, 1 << 20)
        // A few rounds. lwip-pair leaves TIME-WAIT at once.
        limits.tcp.timeWait = 50_000
        func stack(_ address: IPAddress, _ number: UInt64) -> Stack {
            let interface = InterfaceConfiguration(.ip, addresses: [InterfaceAddress(address, prefixLength: 24)])
            return Stack([interface], limits: limits, pool: pool, secret: .init(low: number, high: 1), now: .zero)
        }
        client = stack(Self.clientAddress, 1)
        server = stack(Self.serverAddress, 2)
    }

    /// What the client owes goes to the server, and is answered by `serve`; what the server owes goes to the client.
    mutating func round(_ burst: inout Burst, _ serve: (inout Stack) -> Void) {
        now = now.advanced(byNanoseconds: 10_000)
        client.advance(to: now)
        var isPaid = false
        while !isPaid {
            isPaid = client.egress(into: &burst, at: now)
            server.ingress(&burst, at: now)
        }
        server.advance(to: now)
        serve(&server)
        isPaid = false
        while !isPaid {
            isPaid = server.egress(into: &burst, at: now)
            client.ingress(&burst, at: now)
        }
    }

    mutating func runBulk(_ count: Int) -> Int {
        var burst = pool.makeBurst()
        let listener = server.listen(port: Self.port, backlog: 1)
        guard let sender = client.connect(from: Self.clientAddress, to: Self.serverAddress, port: Self.port) else {
            return 0
        }
        let bytes = [UInt8](repeating: 5, count: 65_536)
        var receiver: ConnectionID?
        var received = 0
        while received < count {
            _ = client.send(sender, bytes.span.bytes)
            round(&burst) { server in
                receiver = receiver ?? server.accept(listener)
                if let receiver { received += server.receiveAll(receiver) }
                while server.nextEvent() != nil {}
            }
            while client.nextEvent() != nil {}
        }
        return received
    }

    mutating func runConnections(_ count: Int, atOnce: Int) -> Int {
        var burst = pool.makeBurst()
        let listener = server.listen(port: Self.port, backlog: 2 * atOnce)
        var (done, open) = (0, 0)
        while done < count {
            while open < atOnce,
                client.connect(from: Self.clientAddress, to: Self.serverAddress, port: Self.port) != nil
            {
                open += 1
            }
            round(&burst) { server in
                while server.accept(listener) != nil {}
                while let (id, events) = server.nextEvent() {
                    if events.contains(.readable), server.receiveAll(id) > 0 { _ = server.send(id, message.span.bytes) }
                    if events.contains(.finished) { server.release(id) }
                }
            }
            while let (id, events) = client.nextEvent() {
                if events.contains(.established) { _ = client.send(id, message.span.bytes) }
                if events.contains(.readable), client.receiveAll(id) > 0 {
                    client.release(id)
                    done += 1
                    open -= 1
                }
            }
        }
        return done
    }
}

extension Stack {
    /// Takes all bytes that wait, and returns how many there were.
    fileprivate mutating func receiveAll(_ id: ConnectionID) -> Int {
        var total = 0
        while true {
            let count = receive(id) { $0.byteCount }
            if count == 0 { return total }
            total += count
        }
    }
}
