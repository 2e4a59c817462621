// "Handler returns, or the last handle is dropped: all that `send` accepted is flushed, then FIN. Unread received data: RST."

internal import Martlet

extension Conformance {
    static let ending: [Check] = [
        Check("when a handler returns, what it sent arrives and then the FIN", needs: .plainPeers) { environment in
            try await environment.servingPlain { connection in
                try await connection.send(Pattern.bytes(1000))
            } peer: { peer in
                try expectEqual(try await onThread { try peer.receivePattern() }, 1000, "bytes before the FIN")
            }
        },
        Check("a handler that returns at once sends a FIN and nothing else", needs: .plainPeers) { environment in
            try await environment.servingPlain { _ in
            } peer: { peer in
                let (bytes, wasReset) = try await onThread { try peer.receiveToEnd() }
                try expect(bytes.isEmpty && !wasReset, "the peer got \(bytes.count) bytes, reset: \(wasReset)")
            }
        },
        Check("eight mebibytes reach a slow reader after the handler has returned", needs: .plainPeers) { environment in
            let total = 8 << 20
            try await environment.servingPlain(receiveBuffer: 8192) { connection in
                for offset in stride(from: 0, to: total, by: 1 << 18) {
                    try await connection.send(Pattern.bytes(1 << 18, from: offset))
                }
            } peer: { peer in
                try expectEqual(
                    try await onThread { try peer.receivePattern(step: 3001) }, total, "bytes before the FIN")
            }
        },
        Check(
            "what lies in the send queue when a handler returns arrives although the peer reads it late",
            needs: .plainPeers
        ) {
            environment in
            let total = 4 << 20
            let hasReturned = Promise<Void>()
            let options = ConnectionOptions.tight.with { $0.sendLimit = total }
            try await environment.servingPlain(options, receiveBuffer: 8192) { connection in
                try await connection.send(Pattern.bytes(total))
                hasReturned.keep()
            } peer: { peer in
                try await hasReturned.value
                try expectEqual(try await onThread { try peer.receivePattern() }, total, "bytes before the FIN")
            }
        },
        Check("many small sends before a return arrive in order", needs: .plainPeers) { environment in
            try await environment.servingPlain { connection in
                for offset in 0..<20_000 { try await connection.send(Pattern.bytes(1, from: offset)) }
            } peer: { peer in
                try expectEqual(try await onThread { try peer.receivePattern() }, 20_000, "bytes before the FIN")
            }
        },
        Check("a client's body that returns flushes and sends a FIN") { environment in
            let received = Promise<Int>()
            try await environment.serving { connection in
                var reader = PatternReader()
                try await reader.readAll(of: connection)
                received.keep(reader.count)
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { try await $0.send(Pattern.bytes(300_000)) }
                try expectEqual(try await received.value, 300_000, "bytes before the FIN")
            }
        },
        Check("a handler that returns without reading what has come resets the connection", needs: .plainPeers) {
            environment in
            let hasSent = Promise<Void>()
            try await environment.servingPlain { _ in
                try await hasSent.value
            } peer: { peer in
                try await onThread { try peer.send(Pattern.bytes(100)) }
                hasSent.keep()
                let (_, wasReset) = try await onThread { try peer.receiveToEnd() }
                try expect(wasReset, "the peer got a FIN although its data was not read")
            }
        },
        Check("a handler that returns with bytes unread in the runtime resets the connection", needs: .tcp) {
            environment in
            try await environment.servingPlain { connection in
                // One byte is consumed where it lies: the rest stays in the runtime's hands.
                _ = try await connection.receive { _ in 1 }
            } peer: { peer in
                try await onThread { try peer.send(Pattern.bytes(100)) }
                let (_, wasReset) = try await onThread { try peer.receiveToEnd() }
                try expect(wasReset, "the peer got a FIN although its data was not read")
            }
        },
        Check("a peer that is still sending when the handler returns is reset", needs: [.plainPeers]) { environment in
            try await environment.servingPlain { connection in
                _ = try await connection.receive()
            } peer: { peer in
                let failure = try await onThread {
                    do {
                        for _ in 0..<4096 { try peer.send(Pattern.bytes(65_536)) }
                        return false
                    } catch let error as PlainError { return error.isReset }
                }
                try expect(failure, "the peer could send 256 MiB to a connection that was closed")
            }
        },
        Check("dropping the last handle of an accepted connection flushes and sends a FIN", needs: .plainPeers) {
            environment in
            try await environment.listening { _, listener in
                let peer = try await onThread { [address = listener.address] in try PlainSocket(to: address) }
                do {
                    guard let connection = try await listener.accept() else { return }
                    try await connection.send(Pattern.bytes(200_000))
                }
                try expectEqual(try await onThread { try peer.receivePattern() }, 200_000, "bytes before the FIN")
            }
        },
        Check("a connection stays open while one copy of its handle is kept", needs: .plainPeers) { environment in
            try await environment.listening { _, listener in
                let peer = try await onThread { [address = listener.address] in try PlainSocket(to: address) }
                let kept = Collected<TCPConnection>()
                if let connection = try await listener.accept() { kept.append(connection) }
                try await onThread { try peer.send("ping") }
                try expectEqual(try await kept.all[0].receive(), "ping", "what the kept handle receives")
            }
        },
        Check("dropping the last handle elsewhere than on the core closes the connection", needs: .plainPeers) {
            environment in
            try await environment.listening { _, listener in
                let peer = try await onThread { [address = listener.address] in try PlainSocket(to: address) }
                let connection = try await listener.accept()
                let holder = Task.detached { [connection] in
                    try await connection?.send(Pattern.bytes(5000))
                }
                _ = consume connection
                try await holder.value
                try expectEqual(try await onThread { try peer.receivePattern() }, 5000, "bytes before the FIN")
            }
        },
        Check("a handle that outlives its handler throws .closed and harms nobody") { environment in
            let kept = Collected<TCPConnection>()
            let hasReturned = Count()
            try await environment.serving { connection in
                if kept.all.isEmpty {
                    kept.append(connection)
                } else {
                    for try await bytes in connection { try await connection.send(bytes) }
                }
                hasReturned.add(1)
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try expectEqual(try await connection.receive(), nil, "the first connection's end")
                }
                try await runtime.withConnection(to: address) { connection in
                    try await connection.send("still here")
                    try expectEqual(try await connection.receive(), "still here", "the second connection's echo")
                    let old = kept.all[0]
                    try await expectError(.closed, "receive on the old handle") { try await old.receive() }
                    try await expectError(.closed, "send on the old handle") { try await old.send("x") }
                    try await connection.send("and here")
                    try expectEqual(try await connection.receive(), "and here", "the second connection's echo")
                }
            }
        },
    ]
}
