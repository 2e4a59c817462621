// The timeouts of a listener's connections.

internal import Martlet

extension Conformance {
    static let timing: [Check] = [
        Check("a connection that does nothing for its idle timeout is reset") { environment in
            let result = Promise<Result<Bytes?, any Error>>()
            let options = ConnectionOptions().with { $0.idleTimeout = .milliseconds(50) }
            try await environment.serving(options) { connection in
                result.keep(await outcome { try await connection.receive() })
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    let received = try await result.value
                    try await expectError(.idleTimeout, "receive of an idle connection") { try received.get() }
                    if environment.abilities.contains(.resets) {
                        try await expectError(.reset, "the client's receive") { try await connection.receive() }
                    }
                }
            }
        },
        Check("a connection that goes on receiving or sending outlives its idle timeout") { environment in
            let options = ConnectionOptions().with { $0.idleTimeout = .milliseconds(250) }
            try await environment.serving(options) { connection in
                for try await bytes in connection { try await connection.send(bytes) }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    // The pauses are shorter than the timeout, and together longer.
                    for _ in 0..<12 {
                        try await connection.core.sleep(for: .milliseconds(40))
                        try await connection.send("x")
                        try expectEqual(try await connection.receive(), "x", "the echo")
                    }
                }
            }
        },
        Check("an accepted connection whose first byte does not come is reset", needs: .plainPeers) { environment in
            let result = Promise<Result<Bytes?, any Error>>()
            let options = ConnectionOptions().with { $0.firstByteTimeout = .milliseconds(50) }
            try await environment.servingPlain(options) { connection in
                result.keep(await outcome { try await connection.receive() })
            } peer: { peer in
                let received = try await result.value
                try await expectError(.idleTimeout, "receive of a silent connection") { try received.get() }
                let (bytes, _) = try await onThread { try peer.receiveToEnd() }
                try expect(bytes.isEmpty, "the peer got bytes")
            }
        },
        Check("a connection whose first byte came in time outlives the first-byte timeout", needs: .plainPeers) {
            environment in
            let options = ConnectionOptions().with { $0.firstByteTimeout = .milliseconds(100) }
            try await environment.servingPlain(options) { connection in
                for try await bytes in connection {
                    try await connection.core.sleep(for: .milliseconds(200))
                    try await connection.send(bytes)
                }
            } peer: { peer in
                try await onThread {
                    try peer.send("x")
                    try expectEqual(try peer.receive(exactly: 1), Array("x".utf8), "the echo")
                    try peer.send("y")
                    try expectEqual(try peer.receive(exactly: 1), Array("y".utf8), "the echo")
                }
            }
        },
        Check("what came before anybody asked for it counts as the first byte, and as a sign of life") { environment in
            let options = ConnectionOptions().with {
                $0.firstByteTimeout = .milliseconds(200)
                $0.idleTimeout = .milliseconds(400)
            }
            try await environment.serving(options) { connection in
                try await connection.core.sleep(for: .milliseconds(100))
                for try await bytes in connection { try await connection.send(bytes) }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    for text: Bytes in ["x", "y"] {
                        try await connection.send(text)
                        try expectEqual(try await connection.receive(), text, "the echo")
                        try await connection.core.sleep(for: .milliseconds(310))
                    }
                }
            }
        },
        Check("a connection whose peer takes no data for the write timeout is reset", needs: .plainPeers) {
            environment in
            let result = Promise<Result<Void, any Error>>()
            let options = ConnectionOptions.tight.with { $0.writeTimeout = .milliseconds(100) }
            try await environment.servingPlain(options, receiveBuffer: 8192) { connection in
                result.keep(await outcome { while true { try await connection.send(Pattern.bytes(32_768)) } })
            } peer: { peer in
                let sent = try await result.value
                try await expectError(.writeTimeout, "send to a peer that does not read") { try sent.get() }
                try expect(peer.descriptor >= 0, "the peer is gone")
            }
        },
        Check("a slow peer that does take data outlives the write timeout", needs: .plainPeers) { environment in
            let options = ConnectionOptions.tight.with { $0.writeTimeout = .milliseconds(400) }
            let total = 1 << 20
            try await environment.servingPlain(options, receiveBuffer: 16_384) { connection in
                for offset in stride(from: 0, to: total, by: 1 << 16) {
                    try await connection.send(Pattern.bytes(1 << 16, from: offset))
                }
                try await connection.flush()
                // Now there is nothing to send for longer than the timeout.
                try await connection.core.sleep(for: .milliseconds(600))
                try await connection.send(Pattern.bytes(1000, from: total))
            } peer: { peer in
                try expectEqual(
                    try await onThread { try peer.receivePattern(step: 5000) }, total + 1000, "bytes before the FIN")
            }
        },
        Check("a closed connection that cannot deliver its last data within the close timeout is reset", needs: .tcp) {
            environment in
            let options = ConnectionOptions.tight.with {
                $0.closeTimeout = .milliseconds(100)
                $0.sendLimit = 4 << 20
            }
            try await environment.serving(options) { connection in
                try await connection.send(Pattern.bytes(4 << 20))
            } client: { runtime, address in
                let peer = try await onThread { try PlainSocket(to: address, receiveBuffer: 8192) }
                while await runtime.counters().reduce(0, { $0 + $1.resetsSent }) == 0 {
                    try Task.checkCancellation()
                    await Task.yield()
                }
                let (bytes, wasReset) = try await onThread { try peer.receiveToEnd() }
                try expect(wasReset, "the peer got a FIN")
                try expect(bytes.count < 4 << 20, "the peer got everything")
            }
        },
        Check("a sleep lasts as long as it says, and a round's timers expire in order") { environment in
            try await environment.withRuntime { runtime, _ in
                try await runtime.forEachCore { core in
                    let order = Collected<Int>()
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for milliseconds in [40, 10, 30, 20] {
                            group.addTask {
                                try await core.sleep(for: .milliseconds(milliseconds))
                                order.append(milliseconds)
                            }
                        }
                        try await group.waitForAll()
                    }
                    try expectEqual(order.all, [10, 20, 30, 40], "the order in which sleeps end")
                    let clock = ContinuousClock()
                    let elapsed = try await clock.measure { try await core.sleep(for: .milliseconds(20)) }
                    try expect(elapsed >= .milliseconds(20), "a sleep of 20 ms lasted \(elapsed)")
                    try await core.sleep(for: .zero)
                    try await core.sleep(for: .seconds(-1))
                }
            }
        },
    ]
}
