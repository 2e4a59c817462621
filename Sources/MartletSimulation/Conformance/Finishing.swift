// "`finish()`: half-close; reading goes on." — "Peer's FIN: the sequence ends; sending stays possible."

internal import Martlet

extension Conformance {
    static let finishing: [Check] = [
        Check("after finish the peer sees the end, and reading goes on") { environment in
            try await environment.serving { connection in
                var reader = PatternReader()
                try await reader.readAll(of: connection)
                try expectEqual(reader.count, 50_000, "bytes before the FIN")
                try await connection.send(Pattern.bytes(200_000))
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try await connection.send(Pattern.bytes(50_000))
                    try await connection.finish()
                    try await expectError(.closed, "send after finish") { try await connection.send("x") }
                    try await connection.finish()
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                    try expectEqual(reader.count, 200_000, "bytes after finish")
                }
            }
        },
        Check("finish sends its FIN behind all that is queued", needs: .plainPeers) { environment in
            let hasFinished = Promise<Void>()
            let options = ConnectionOptions.tight.with { $0.sendLimit = 3 << 20 }
            try await environment.servingPlain(options, receiveBuffer: 8192) { connection in
                try await connection.send(Pattern.bytes(3 << 20))
                try await connection.finish()
                hasFinished.keep()
                try expectEqual(try await connection.receive(), "thanks", "what comes after finish")
            } peer: { peer in
                try await hasFinished.value
                try expectEqual(try await onThread { try peer.receivePattern() }, 3 << 20, "bytes before the FIN")
                try await onThread { try peer.send("thanks") }
            }
        },
        Check("the sequence ends at the peer's FIN, again and again, and sending stays possible", needs: .plainPeers) {
            environment in
            try await environment.servingPlain { connection in
                var count = 0
                for try await bytes in connection { count += bytes.count }
                try expectEqual(count, 10, "bytes before the FIN")
                var iterator = connection.makeAsyncIterator()
                for _ in 0..<3 {
                    try expectEqual(try await iterator.next(), nil, "next after the end")
                    try expectEqual(try await connection.receive(), nil, "receive after the end")
                    try expectEqual(
                        try await connection.receive { $0.byteCount }, false, "receive with a closure after the end")
                }
                for offset in stride(from: 0, to: 100_000, by: 1000) {
                    try await connection.send(Pattern.bytes(1000, from: offset))
                }
            } peer: { peer in
                try await onThread { try peer.send(Pattern.bytes(10)) }
                peer.finish()
                try expectEqual(
                    try await onThread { try peer.receivePattern() }, 100_000, "bytes after the peer's own FIN")
            }
        },
        Check("a FIN that comes with the last bytes ends the sequence behind them", needs: .plainPeers) { environment in
            for size in [1, 16_383, 16_384, 16_385, 65_536, 300_000] {
                let isReady = Promise<Void>()
                let received = Promise<Int>()
                try await environment.servingPlain { connection in
                    try await isReady.value
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                    received.keep(reader.count)
                } peer: { peer in
                    async let sent: Void = onThread {
                        try peer.send(Pattern.bytes(size))
                        peer.finish()
                    }
                    isReady.keep()
                    try await sent
                    try expectEqual(try await received.value, size, "bytes before the FIN")
                }
            }
        },
        Check("both sides may finish first, and both read everything") { environment in
            try await environment.serving { connection in
                try await connection.send(Pattern.bytes(100_000))
                try await connection.finish()
                var reader = PatternReader()
                try await reader.readAll(of: connection)
                try expectEqual(reader.count, 100_000, "bytes that the server read")
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try await connection.send(Pattern.bytes(100_000))
                    try await connection.finish()
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                    try expectEqual(reader.count, 100_000, "bytes that the client read")
                    try await connection.close()
                }
            }
        },
    ]
}
