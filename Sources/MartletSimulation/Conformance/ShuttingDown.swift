// "`runtime.shutdown(within:)`: no more accepts, listeners end, handlers may finish; past the deadline they are cancelled."

internal import Martlet

extension Conformance {
    static let shuttingDown: [Check] = [
        Check("shutdown ends the listeners, lets handlers finish, and returns when they have") { environment in
            try await environment.withRuntime { runtime, address in
                let (server, bound) = try await start(runtime, address) { connection in
                    for try await bytes in connection { try await connection.send(bytes) }
                }
                let hasReturned = Promise<Void>()
                try await runtime.withConnection(to: bound) { connection in
                    try await connection.send("before")
                    try expectEqual(try await connection.receive(), "before", "the echo")
                    let shutdown = Task {
                        await runtime.shutdown(within: .seconds(20))
                        hasReturned.keep()
                    }
                    while !runtime.isShuttingDown { await Task.yield() }
                    if environment.abilities.contains(.plainPeers) { try await expectRefused(bound) }
                    for _ in 0..<100 {
                        try await connection.send("during")
                        try expectEqual(try await connection.receive(), "during", "the echo")
                    }
                    try expect(!hasReturned.isKept, "shutdown returned while a handler ran")
                    try await connection.finish()
                    try expectEqual(try await connection.receive(), nil, "the server's end")
                    await shutdown.value
                }
                try await server.value
                try await expectError(.shuttingDown, "serve after shutdown") {
                    try await runtime.serve(on: address) { _ in }
                }
                try await expectError(.shuttingDown, "listen after shutdown") {
                    try await runtime.cores[0].listen(on: address)
                }
            }
        },
        Check("shutdown of an idle runtime returns at once, and so does a second one") { environment in
            try await environment.withRuntime { runtime, address in
                let (server, _) = try await start(runtime, address) { _ in }
                await runtime.shutdown(within: .seconds(20))
                await runtime.shutdown(within: .seconds(20))
                try await server.value
            }
        },
        Check("past the deadline of a shutdown the handlers are cancelled") { environment in
            let wasCancelled = Promise<Bool>()
            let isConnected = Promise<Void>()
            let address = environment.address()
            defer { environment.release(address) }
            _ = await outcome {
                try await Runtime.run(environment.configuration) { runtime in
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        let bound = Promise<SocketAddress>()
                        group.addTask {
                            try await runtime.serve(on: address, onListening: { bound.keep($0) }) { connection in
                                try await connection.send("x")
                                do {
                                    _ = try await connection.receive()
                                    wasCancelled.keep(false)
                                } catch {
                                    wasCancelled.keep(error as? NetworkError == .cancelled)
                                }
                            }
                        }
                        let server = try await bound.value
                        // The client is no child of what the shutdown cancels.
                        Task {
                            try await runtime.withConnection(to: server) { connection in
                                _ = try await connection.receive()
                                isConnected.keep()
                                _ = try await connection.receive()
                            }
                        }
                        try await isConnected.value
                        await runtime.shutdown(within: .milliseconds(50))
                        try await group.waitForAll()
                    }
                }
            }
            try expect(try await wasCancelled.value, "the handler was not cancelled")
        },
        Check("shutdown ends a listener's sequence behind what the kernel had completed", needs: .plainPeers) {
            environment in
            try await environment.listening { runtime, listener in
                let address = listener.address
                let peers = try await onThread { try (0..<10).map { _ in try PlainSocket(to: address) } }
                let shutdown = Task { await runtime.shutdown(within: .seconds(20)) }
                var count = 0
                for try await connection in listener {
                    count += 1
                    try await connection.send("hello")
                }
                try expectEqual(count, peers.count, "connections that came out of the sequence")
                try await onThread {
                    for peer in peers {
                        try expectEqual(try peer.receive(exactly: 5), Array("hello".utf8), "what a peer got")
                    }
                }
                await shutdown.value
            }
        },
        Check("shutdown waits for connections of a listener that has gone already", needs: .plainPeers) { environment in
            try await environment.withRuntime { runtime, address in
                try await runtime.forEachCore { core in
                    guard core.index == 0 else { return }
                    var connection: TCPConnection?
                    let peer: PlainSocket
                    do {
                        let listener = try await core.listen(on: address)
                        let bound = listener.address
                        peer = try await onThread { try PlainSocket(to: bound) }
                        connection = try await listener.accept()
                    }
                    let hasReturned = Promise<Void>()
                    let shutdown = Task {
                        await runtime.shutdown(within: .seconds(20))
                        hasReturned.keep()
                    }
                    while !runtime.isShuttingDown { await Task.yield() }
                    for _ in 0..<100 {
                        try await onThread { try peer.send("x") }
                        try expectEqual(try await connection?.receive(), "x", "what the connection receives")
                    }
                    try expect(!hasReturned.isKept, "shutdown returned while a connection was open")
                    connection = nil
                    await shutdown.value
                }
            }
        },
        Check("shutdown serves those who waited in the backlog for room", needs: .plainPeers) { environment in
            let environment = environment.onOneCore()
            let options = ConnectionOptions().with { $0.maximumConnectionsPerCore = 1 }
            try await environment.withRuntime { runtime, address in
                let mayEnd = Promise<Void>()
                let (server, bound) = try await start(runtime, address, options: options) { connection in
                    try await mayEnd.value
                    try await connection.send("served")
                }
                let peers = try await onThread { try (0..<5).map { _ in try PlainSocket(to: bound) } }
                try await untilAccepted(1, by: runtime)
                let shutdown = Task { await runtime.shutdown(within: .seconds(20)) }
                while !runtime.isShuttingDown { await Task.yield() }
                try await expectRefused(bound)
                mayEnd.keep()
                try await onThread {
                    for (number, peer) in peers.enumerated() {
                        let (bytes, _) = try peer.receiveToEnd()
                        try expectEqual(Bytes(bytes), "served", "what peer \(number) got")
                    }
                }
                await shutdown.value
                try await server.value
            }
        },
    ]
}
