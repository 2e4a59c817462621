// "Back-pressure, accept: bounded; beyond, the kernel backlog." And the accept loop written by hand.

internal import Martlet

extension Conformance {
    static let accepting: [Check] = [
        Check(
            "no more handlers run at once than a core may have connections, and the rest are served later",
            needs: .plainPeers
        ) {
            environment in
            for limit in [1, 2, 5] {
                let environment = environment.onOneCore()
                let handlers = Count()
                let options = ConnectionOptions().with { $0.maximumConnectionsPerCore = limit }
                try await environment.serving(options) { connection in
                    handlers.add(1)
                    defer { handlers.add(-1) }
                    for try await bytes in connection { try await connection.send(bytes) }
                } client: { _, address in
                    let peers = try await onThread { try (0..<limit * 3 + 1).map { _ in try PlainSocket(to: address) } }
                    try await onThread {
                        for (number, peer) in peers.enumerated() {
                            // Those in front have been served and have gone, or are being served: now it is this one's turn.
                            for _ in 0..<20 {
                                try peer.send("x")
                                _ = try peer.receive(exactly: 1)
                            }
                            if number + 1 >= limit { peers[number + 1 - limit].end() }
                        }
                    }
                    try expect(
                        handlers.largest <= limit, "\(handlers.largest) handlers ran at once, \(limit) were allowed")
                    try expectEqual(handlers.largest, limit, "handlers that ran at once")
                }
            }
        },
        Check("a listener whose loop is slow keeps connections for it", needs: .plainPeers) { environment in
            try await environment.listening { _, listener in
                let address = listener.address
                let peers = try await onThread {
                    try (0..<100).map { number in
                        let peer = try PlainSocket(to: address)
                        try peer.send(Bytes([UInt8(number)]))
                        return peer
                    }
                }
                var seen: Set<UInt8> = []
                for _ in peers {
                    guard let connection = try await listener.accept() else { break }
                    let byte = try await connection.receive()
                    seen.insert(byte?.first ?? 255)
                }
                try expectEqual(seen.count, 100, "connections that came out of the sequence")
            }
        },
        Check("a closed listener ends its sequence, and refuses new connections", needs: .plainPeers) { environment in
            try await environment.listening { _, listener in
                let address = listener.address
                try await withThrowingTaskGroup(of: Void.self) { group in
                    let isWaiting = Promise<Void>()
                    group.addTask {
                        isWaiting.keep()
                        for try await _ in listener { throw ConformanceFailure(description: "a connection came") }
                    }
                    try await isWaiting.value
                    await listener.close()
                    try await group.waitForAll()
                }
                for _ in 0..<3 {
                    try expect(try await listener.accept() == nil, "accept after the end returned a connection")
                }
                try await expectRefused(address)
                await listener.close()
            }
        },
        Check("dropping the last handle of a listener closes it", needs: .plainPeers) { environment in
            try await environment.withRuntime { runtime, address in
                try await runtime.forEachCore { core in
                    guard core.index == 0 else { return }
                    let bound: SocketAddress
                    do {
                        let listener = try await core.listen(on: address)
                        bound = listener.address
                    }
                    try await expectRefused(bound)
                }
            }
        },
        Check("closing a listener leaves its connections as they are", needs: .plainPeers) { environment in
            try await environment.listening { _, listener in
                let address = listener.address
                let peer = try await onThread { try PlainSocket(to: address) }
                guard let connection = try await listener.accept() else { return }
                await listener.close()
                try await onThread { try peer.send("ping") }
                try expectEqual(try await connection.receive(), "ping", "what an open connection receives")
                try await connection.send("pong")
                try expectEqual(
                    try await onThread { try peer.receive(exactly: 4) }, Array("pong".utf8), "what its peer receives")
            }
        },
        Check("connections that nobody has taken are reset when the listener closes", needs: .tcp) { environment in
            try await environment.listening { _, listener in
                let address = listener.address
                let peers = try await onThread { try (0..<10).map { _ in try PlainSocket(to: address) } }
                // One is taken, so that the listener has begun to accept.
                let taken = try await listener.accept()
                await listener.close()
                try await onThread {
                    for peer in peers.dropFirst() {
                        let (_, wasReset) = try peer.receiveToEnd()
                        try expect(wasReset, "a connection that nobody had taken ended with a FIN")
                    }
                }
                try expect(taken != nil, "the first connection did not come")
            }
        },
        Check(
            "a listener that is closed to drain yields what the kernel had completed, and then ends", needs: .plainPeers
        ) {
            environment in
            try await environment.listening { _, listener in
                let address = listener.address
                let peers = try await onThread {
                    try (0..<20).map { number in
                        let peer = try PlainSocket(to: address)
                        try peer.send(Bytes([UInt8(number)]))
                        peer.finish()
                        return peer
                    }
                }
                await listener.close(drain: true)
                var sum = 0
                for try await connection in listener {
                    for try await bytes in connection { sum += Int(bytes[0]) }
                }
                try expectEqual(sum, (0..<peers.count).reduce(0, +), "sum of the numbers that the connections brought")
            }
        },
        Check("a listener's connections count for it alone, also when they outlive it", needs: .plainPeers) {
            environment in
            let environment = environment.onOneCore()
            let options = ConnectionOptions().with { $0.maximumConnectionsPerCore = 1 }
            try await environment.withRuntime { runtime, address in
                try await runtime.forEachCore { core in
                    var old: TCPConnection?
                    let oldPeer: PlainSocket
                    do {
                        let listener = try await core.listen(on: address, options: options)
                        let bound = listener.address
                        oldPeer = try await onThread { try PlainSocket(to: bound) }
                        old = try await listener.accept()
                    }
                    let second = environment.address()
                    defer { environment.release(second) }
                    let listener = try await core.listen(on: second, options: options)
                    let bound = listener.address
                    let peers = try await onThread { try (0..<2).map { _ in try PlainSocket(to: bound) } }
                    let first = try await listener.accept()
                    // The old listener's connection goes. That makes no room at the new one.
                    try await old?.close()
                    old = nil
                    try expectEqual(
                        try await onThread { try oldPeer.receivePattern() }, 0, "bytes of the old connection")
                    try await expectError(.deadlineExceeded, "an accept beyond the limit") {
                        try await listener.accept(within: .milliseconds(50))
                    }
                    try await first?.close()
                    let other = try await listener.accept()
                    try expect(other != nil && peers.count == 2, "the listener ended")
                }
            }
        },
        Check("thousands of short connections are served") { environment in
            let total = 2000
            let served = Count()
            try await environment.serving { connection in
                served.add(1)
                if let bytes = try await connection.receive() { try await connection.send(bytes) }
            } client: { runtime, address in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for worker in 0..<8 {
                        group.addTask {
                            for number in 0..<total / 8 {
                                try await runtime.withConnection(to: address) { connection in
                                    let text = Bytes("\(worker).\(number)")
                                    try await connection.send(text)
                                    try expectEqual(try await connection.receive(), text, "the echo")
                                    try expectEqual(try await connection.receive(), nil, "the server's end")
                                }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                try expectEqual(served.value, total, "connections served")
                // All of them have gone: the runtime holds no slots for them any more.
                var open = Int.max
                for _ in 0..<1000 where open > runtime.cores.count {
                    open = await runtime.counters().reduce(0) { $0 + $1.open }
                    await Task.yield()
                }
                try expect(
                    open <= runtime.cores.count,
                    "\(open) sockets are open, of which \(runtime.cores.count) are listeners")
            }
        },
    ]

    /// Expects that nobody listens at an address.
    nonisolated(nonsending) static func expectRefused(
        _ address: SocketAddress, file: String = #fileID, line: Int = #line
    ) async throws {
        let isRefused = try await onThread {
            // The kernel lets go of a listener a moment after it was closed.
            for _ in 0..<100_000 {
                do { _ = try PlainSocket(to: address) } catch let error as PlainError where error.call == "connect" {
                    return true
                }
            }
            return false
        }
        try expect(isRefused, "\(address) still takes connections", file: file, line: line)
    }
}
