// "Handler throws, or its task is cancelled: RST." — "Peer's RST: the waiting operation, else the next one, throws `.reset`."
// — "A handler's error resets that connection, reaches `onError`, never stops the server."

internal import Martlet

private struct Mishap: Error {}

extension Conformance {
    static let failing: [Check] = [
        Check("a handler that throws resets its connection", needs: .tcp) { environment in
            try await environment.servingPlain { _ in
                throw Mishap()
            } peer: { peer in
                let (_, wasReset) = try await onThread { try peer.receiveToEnd() }
                try expect(wasReset, "the peer got a FIN although the handler threw")
            }
        },
        Check("a handler that throws while bytes are queued resets its connection", needs: .tcp) { environment in
            try await environment.servingPlain(.tight, receiveBuffer: 8192) { connection in
                try await connection.send(Pattern.bytes(60_000))
                throw Mishap()
            } peer: { peer in
                let (_, wasReset) = try await onThread { try peer.receiveToEnd() }
                try expect(wasReset, "the peer got a FIN although the handler threw")
            }
        },
        Check("a handler whose task is cancelled resets its connection", needs: .tcp) { environment in
            try await environment.serving { connection in
                cancelCurrentTask()
                try await expectError(.cancelled, "receive of a cancelled task") { try await connection.receive() }
                // What the handler does then makes no difference.
            } client: { runtime, address in
                for _ in 0..<3 {
                    // The RST may come before connecting has been told of: then that throws.
                    try await expectError(.reset, "the client") {
                        try await runtime.withConnection(to: address) { _ = try await $0.receive() }
                    }
                }
            }
        },
        Check("a client's body that throws resets its connection, and its error comes out", needs: .tcp) {
            environment in
            let result = Promise<Result<Bytes?, any Error>>()
            try await environment.serving { connection in
                result.keep(await outcome { try await connection.receive() })
            } client: { runtime, address in
                do {
                    try await runtime.withConnection(to: address) { _ in throw Mishap() }
                    throw ConformanceFailure(description: "withConnection returned although its body threw")
                } catch is Mishap {}
                let received = try await result.value
                try await expectError(.reset, "the server's receive") { try received.get() }
            }
        },
        Check("a cancelled client's connection is reset", needs: .tcp) { environment in
            let result = Promise<Result<Bytes?, any Error>>()
            try await environment.serving { connection in
                try await connection.send("go")
                result.keep(await outcome { try await connection.receive() })
            } client: { runtime, address in
                let isWaiting = Promise<Void>()
                let client = Task {
                    try await runtime.withConnection(to: address) { connection in
                        _ = try await connection.receive()
                        isWaiting.keep()
                        _ = try await connection.receive()
                    }
                }
                try await isWaiting.value
                client.cancel()
                try await expectError(.cancelled, "the client") { try await client.value }
                let received = try await result.value
                try await expectError(.reset, "the server's receive") { try received.get() }
            }
        },
        Check("a handler's error reaches onError and the server goes on") { environment in
            let errors = Collected<any Error>()
            try await environment.serving(onError: { errors.append($0) }) { connection in
                guard try await connection.receive() == "well" else { throw Mishap() }
                try await connection.send("fine")
            } client: { runtime, address in
                for round in 1...10 {
                    _ = await outcome {
                        try await runtime.withConnection(to: address) { connection in
                            try await connection.send("ill")
                            return try await connection.receive()
                        }
                    }
                    try await runtime.withConnection(to: address) { connection in
                        try await connection.send("well")
                        try expectEqual(try await connection.receive(), "fine", "the answer after \(round) errors")
                    }
                }
                try expectEqual(errors.all.count, 10, "errors that reached onError")
                try expect(errors.all.allSatisfy { $0 is Mishap }, "onError got other errors: \(errors.all)")
            }
        },
        Check("a waiting receive throws .reset when the peer resets", needs: .tcp) { environment in
            let result = Promise<Result<Bytes?, any Error>>()
            let isWaiting = Promise<Void>()
            try await environment.servingPlain { connection in
                isWaiting.keep()
                result.keep(await outcome { try await connection.receive() })
            } peer: { peer in
                try await isWaiting.value
                peer.reset()
                let received = try await result.value
                try await expectError(.reset, "receive") { try received.get() }
            }
        },
        Check("when nothing waits for it, the peer's RST is thrown by the next receive", needs: .tcp) { environment in
            try await expectResetByNext(in: environment) { _ = try await $0.receive() }
        },
        Check("when nothing waits for it, the peer's RST is thrown by the next send or flush", needs: .tcp) {
            environment in
            try await expectResetByNext(in: environment) { connection in
                while true {
                    try await connection.send("x")
                    try await connection.flush()
                }
            }
        },
        Check("when nothing waits for it, the peer's RST is thrown by close", needs: .tcp) { environment in
            try await expectResetByNext(in: environment) { try await $0.close() }
        },
        Check("a waiting send throws .reset when the peer resets", needs: .tcp) { environment in
            let isFull = Promise<Void>()
            let result = Promise<Result<Void, any Error>>()
            try await environment.servingPlain(.tight, receiveBuffer: 8192) { connection in
                try await expectError(.deadlineExceeded, "send into a full queue") {
                    while true { try await connection.send(Pattern.bytes(32_768), within: .milliseconds(100)) }
                }
                isFull.keep()
                result.keep(await outcome { try await connection.send(Pattern.bytes(1 << 20)) })
            } peer: { peer in
                try await isFull.value
                peer.reset()
                let sent = try await result.value
                try await expectError(.reset, "send") { try sent.get() }
            }
        },
        Check("bytes that came before the peer's RST are read before it is thrown, if any of them are", needs: .tcp) {
            environment in
            let hasReset = Promise<Void>()
            let result = Promise<Result<Int, any Error>>()
            try await environment.servingPlain { connection in
                var reader = PatternReader()
                _ = try await connection.receive { _ in 0 }
                try await hasReset.value
                do {
                    while let bytes = try await connection.receive() { try reader.read(bytes) }
                    result.fail(ConformanceFailure(description: "the sequence ended without .reset"))
                } catch let error as NetworkError {
                    try expectEqual(error, .reset, "what receive threw")
                    result.keep(.success(reader.count))
                }
            } peer: { peer in
                try await onThread { try peer.send(Pattern.bytes(1000)) }
                peer.reset()
                hasReset.keep()
                _ = try await result.value.get()
            }
        },
        Check("after the peer's RST every further operation throws .reset", needs: .tcp) { environment in
            let hasChecked = Promise<Void>()
            try await environment.servingPlain { connection in
                try await expectError(.reset, "receive") { try await connection.receive() }
                for _ in 0..<3 {
                    try await expectError(.reset, "receive again") { try await connection.receive() }
                    try await expectError(.reset, "send") { try await connection.send("x") }
                    try await expectError(.reset, "flush") { try await connection.flush() }
                    try await expectError(.reset, "finish") { try await connection.finish() }
                }
                try await expectError(.reset, "close") { try await connection.close() }
                hasChecked.keep()
            } peer: { peer in
                peer.reset()
                try await hasChecked.value
            }
        },
        Check("when run's body has returned, what is still open is reset", needs: .tcp) { environment in
            let peer = Promise<PlainSocket>()
            try await environment.withRuntime { runtime, address in
                try await runtime.forEachCore { core in
                    guard core.index == 0 else { return }
                    let listener = try await core.listen(on: address)
                    let bound = listener.address
                    peer.keep(try await onThread { try PlainSocket(to: bound) })
                    _ = try await listener.accept().map { Collected<TCPConnection>.keptForEver.append($0) }
                }
            }
            let socket = try await peer.value
            let (_, wasReset) = try await onThread { try socket.receiveToEnd() }
            try expect(wasReset, "the peer got a FIN when the runtime ended")
        },
    ]

    /// The peer resets while nobody waits; then `operation` has to throw that.
    private static func expectResetByNext(
        in environment: Environment, _ operation: @escaping @Sendable (TCPConnection) async throws -> Void
    ) async throws {
        let hasReset = Promise<Void>()
        let result = Promise<Result<Void, any Error>>()
        try await environment.servingPlain { connection in
            try await hasReset.value
            result.keep(await outcome { try await operation(connection) })
        } peer: { peer in
            peer.reset()
            hasReset.keep()
            let ended = try await result.value
            try await expectError(.reset, "the next operation") { try ended.get() }
        }
    }
}

extension Collected<TCPConnection> {
    /// Handles that nothing drops.
    static let keptForEver = Collected<TCPConnection>()
}
