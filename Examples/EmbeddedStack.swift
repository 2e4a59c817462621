// Martlet's TCP/IP stack without Martlet: two stacks in one process, a wire of memory between them, and a clock that is a number.
// A message goes from one to the other over TCP and comes back.
//
//     swift run EmbeddedStack "What goes round"
//
// There is no socket, thread or system call in it: what a program with packets of its own needs is the loop in `main`.

import MartletStack

@main struct EmbeddedStack {
    static func main() throws {
        let message = Array((CommandLine.arguments.dropFirst().first ?? "Hello, stack").utf8)
        // Frames for both stacks. A frame is handed from one to the other; no byte is copied on the wire.
        let pool = FramePool(count: 64)
        var wire = pool.makeBurst()
        var now = Instant.zero
        var client = makeStack("192.0.2.1/24", pool, secret: 1, now)
        var server = makeStack("192.0.2.2/24", pool, secret: 2, now)

        let listener = try server.listen(on: 7)
        let connection = try client.connect(to: IPAddress("192.0.2.2")!, port: 7)
        var echo: [UInt8] = []
        var isOver = false

        while !isOver {
            // 1. Frames have come in by `carry`. 2. Timers expire.
            client.advance(to: now)
            server.advance(to: now)

            // 3. Events, and what the programs do about them.
            while let event = client.nextEvent() {
                guard case .connection(connection, let events) = event else { continue }
                if events.contains(.established) {
                    print("\(now.nanoseconds / 1000) µs: connected to \(client.endpoints(of: connection)!.remote)")
                    _ = client.send(connection, message.span.bytes)
                    client.finish(connection)
                }
                echo += received(connection, &client)
                if events.contains(.finished) { isOver = true }
            }
            while let event = server.nextEvent() {
                switch event {
                case .listener(listener):
                    while let accepted = server.accept(listener) {
                        print("\(now.nanoseconds / 1000) µs: accepted \(server.endpoints(of: accepted)!.remote)")
                    }
                case .connection(let id, let events):
                    let bytes = received(id, &server)
                    if !bytes.isEmpty { _ = server.send(id, bytes.span.bytes) }
                    if events.contains(.finished) { server.release(id) }
                default: break
                }
            }

            // 4. What both owe goes over the wire, and takes 100 µs.
            now = now + .microseconds(100)
            carry(from: &client, to: &server, over: &wire, at: now)
            carry(from: &server, to: &client, over: &wire, at: now)

            // 5. A real program sleeps until the next deadline, or until frames come. Here time goes on by itself.
            precondition(now < Instant.zero + .seconds(60), "the message does not come back")
        }

        client.release(connection)
        print("\(now.nanoseconds / 1000) µs: came back: \(String(decoding: echo, as: UTF8.self))")
        precondition(echo == message, "and is another")
        print("\(client.counters.tcp.segmentsOut) segments went, \(client.counters.tcp.segmentsIn) came")
    }

    static func makeStack(_ address: String, _ pool: borrowing FramePool, secret: UInt64, _ now: Instant) -> Stack {
        var interface = InterfaceConfiguration(.ethernet(MACAddress(bits: 0x02_00_00_00_00_00 | secret)))
        interface.addresses = [InterfaceAddress(address)!]
        // Nobody else is on this wire. Otherwise an address is used when nobody has claimed it for some seconds.
        interface.detectsConflicts = false
        // A real program takes these 128 bits from the system's randomness.
        return Stack([interface], pool: pool, secret: StackSecret(low: secret, high: 42), now: now)
    }

    /// Hands over what a stack owes.
    static func carry(from sender: inout Stack, to receiver: inout Stack, over wire: inout Burst, at now: Instant) {
        var isPaid = false
        while !isPaid {
            isPaid = sender.egress(into: &wire, at: now)
            receiver.ingress(&wire, at: now)
        }
    }

    /// The bytes that have come on a connection.
    static func received(_ connection: ConnectionID, _ stack: inout Stack) -> [UInt8] {
        var bytes: [UInt8] = []
        var count = 0
        repeat {
            count = stack.receive(connection) { run in
                run.withUnsafeBytes { bytes += $0 }
                return run.byteCount
            }
        } while count > 0
        return bytes
    }
}
