// "`close()`: the same, awaited: it returns when the peer has acknowledged the FIN, or throws why not."
// After closing or aborting, this side's own operations throw `.closed`.

internal import Glibc
internal import Martlet

extension Conformance {
    static let closing: [Check] = [
        Check("when close returns, the peer has every byte and the FIN", needs: [.plainPeers, .acknowledges]) {
            environment in
            let hasClosed = Promise<Void>()
            try await environment.servingPlain { connection in
                try await connection.send(Pattern.bytes(30_000))
                try await connection.close()
                hasClosed.keep()
            } peer: { peer in
                try await hasClosed.value
                // Nothing is waited for: all of it is there.
                let count = try await onThread {
                    var reader = PatternReader()
                    while true {
                        let bytes = try peer.receive(flags: Int32(MSG_DONTWAIT))
                        if bytes.isEmpty { return reader.count }
                        try reader.read(bytes)
                    }
                }
                try expectEqual(count, 30_000, "bytes that the peer had when close returned")
            }
        },
        Check("close delivers what is queued over Unix-domain sockets too", needs: .plainPeers) { environment in
            try await environment.servingPlain { connection in
                try await connection.send(Pattern.bytes(400_000))
                try await connection.close()
            } peer: { peer in
                try expectEqual(try await onThread { try peer.receivePattern() }, 400_000, "bytes before the FIN")
            }
        },
        Check(
            "close passes its deadline while the peer does not read, and the closing goes on",
            needs: [.plainPeers, .acknowledges]
        ) {
            environment in
            let options = ConnectionOptions.tight.with { $0.sendLimit = 4 << 20 }
            let hasFailed = Promise<Void>()
            try await environment.servingPlain(options, receiveBuffer: 8192) { connection in
                try await connection.send(Pattern.bytes(4 << 20))
                try await expectError(.deadlineExceeded, "close") {
                    try await connection.close(within: .milliseconds(100))
                }
                hasFailed.keep()
            } peer: { peer in
                try await hasFailed.value
                try expectEqual(try await onThread { try peer.receivePattern() }, 4 << 20, "bytes before the FIN")
            }
        },
        Check(
            "close is cancelled while the peer does not read, and the closing goes on",
            needs: [.plainPeers, .acknowledges]
        ) {
            environment in
            let options = ConnectionOptions.tight.with { $0.sendLimit = 4 << 20 }
            let hasFailed = Promise<Void>()
            try await environment.servingPlain(options, receiveBuffer: 8192) { connection in
                try await connection.send(Pattern.bytes(4 << 20))
                try await expectCancelled("close", by: .child) { try await connection.close() }
                hasFailed.keep()
            } peer: { peer in
                try await hasFailed.value
                try expectEqual(try await onThread { try peer.receivePattern() }, 4 << 20, "bytes before the FIN")
            }
        },
        Check("close throws .reset when the peer resets instead of acknowledging", needs: .tcp) { environment in
            let isFull = Promise<Void>()
            let result = Promise<Result<Void, any Error>>()
            let options = ConnectionOptions.tight.with { $0.sendLimit = 4 << 20 }
            try await environment.servingPlain(options, receiveBuffer: 8192) { connection in
                try await connection.send(Pattern.bytes(4 << 20))
                isFull.keep()
                result.keep(await outcome { try await connection.close() })
            } peer: { peer in
                try await isFull.value
                peer.reset()
                let closed = try await result.value
                try await expectError(.reset, "close") { try closed.get() }
            }
        },
        Check("close of a connection with unread data throws .reset, and the peer is reset", needs: .tcp) {
            environment in
            try await environment.servingPlain { connection in
                _ = try await connection.receive { _ in 1 }
                try await expectError(.reset, "close") { try await connection.close() }
            } peer: { peer in
                try await onThread { try peer.send(Pattern.bytes(100)) }
                let (_, wasReset) = try await onThread { try peer.receiveToEnd() }
                try expect(wasReset, "the peer got a FIN although its data was not read")
            }
        },
        Check("after close every operation of this side throws .closed") { environment in
            try await environment.serving { _ in
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try expectEqual(try await connection.receive(), nil, "the server's end")
                    try await connection.close()
                    try await expectAllClosed(connection)
                }
            }
        },
        Check("after abort every operation of this side throws .closed, unread data or not") { environment in
            let hasRead = Promise<Void>()
            try await environment.serving { connection in
                try await connection.send(Pattern.bytes(1000))
                try await hasRead.value
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    _ = try await connection.receive { _ in 1 }
                    await connection.abort()
                    try await expectAllClosed(connection)
                    await connection.abort()
                }
                hasRead.keep()
            }
        },
        Check("after close with unread data every operation of this side throws .closed") { environment in
            let hasRead = Promise<Void>()
            try await environment.serving { connection in
                try await connection.send(Pattern.bytes(1000))
                try await hasRead.value
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    _ = try await connection.receive { _ in 1 }
                    try await expectError(.reset, "close") { try await connection.close() }
                    try await expectAllClosed(connection)
                }
                hasRead.keep()
            }
        },
        Check("abort makes waiting operations of other tasks throw .closed") { environment in
            try await environment.serving(.tight) { connection in
                try await connection.waitForTheEnd()
            } client: { runtime, address in
                try await runtime.withConnection(to: address, options: .tight) { connection in
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        let parked = Count()
                        let bothParked = Promise<Void>()
                        group.addTask {
                            parked.add(1)
                            if parked.value == 2 { bothParked.keep() }
                            try await expectError(.closed, "the waiting receive") { try await connection.receive() }
                        }
                        group.addTask {
                            parked.add(1)
                            if parked.value == 2 { bothParked.keep() }
                            try await expectError(.closed, "the waiting send") {
                                while true { try await connection.send(Pattern.bytes(65_536)) }
                            }
                        }
                        try await bothParked.value
                        try await expectError(.deadlineExceeded, "a send into the full queue") {
                            while true { try await connection.send(Pattern.bytes(4096), within: .milliseconds(100)) }
                        }
                        await connection.abort()
                        try await group.waitForAll()
                    }
                }
            }
        },
        Check("close by one task ends the receive of another with .closed or the peer's FIN") { environment in
            try await environment.serving { connection in
                for try await _ in connection {}
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    async let received = outcome { try await connection.receive() }
                    try await connection.close()
                    switch await received {
                    case .success(let bytes): try expectEqual(bytes, nil, "what the waiting receive returned")
                    case .failure(let error):
                        try expectEqual(error as? NetworkError, .closed, "what the waiting receive threw")
                    }
                }
            }
        },
    ]

    nonisolated(nonsending) private static func expectAllClosed(_ connection: TCPConnection) async throws {
        try await expectError(.closed, "receive") { try await connection.receive() }
        try await expectError(.closed, "receive with a closure") { try await connection.receive { $0.byteCount } }
        try await expectError(.closed, "send") { try await connection.send("x") }
        try await expectError(.closed, "send of several runs") { try await connection.send(contentsOf: ["a", "b"]) }
        try await expectError(.closed, "send in place") { try await connection.send(upTo: 4) { $0.append(1) } }
        try await expectError(.closed, "flush") { try await connection.flush() }
        try await expectError(.closed, "finish") { try await connection.finish() }
        try await expectError(.closed, "close") { try await connection.close() }
        var iterator = connection.makeAsyncIterator()
        try await expectError(.closed, "next") { try await iterator.next() }
        try expectEqual(await connection.info, nil, "info")
    }
}
