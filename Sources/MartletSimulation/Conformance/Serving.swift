// "`serve` is cancelled: no more accepts; all handlers are cancelled and awaited."

internal import Martlet

extension Conformance {
    static let serving: [Check] = [
        Check("a cancelled serve cancels its handlers, resets their connections, and returns without an error") {
            environment in
            try await environment.withRuntime { runtime, address in
                let handlers = Count()
                let errors = Collected<any Error>()
                let (server, bound) = try await start(runtime, address, onError: { errors.append($0) }) { connection in
                    handlers.add(1)
                    defer { handlers.add(-1) }
                    for try await bytes in connection { try await connection.send(bytes) }
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    let connected = Count()
                    let areConnected = Promise<Void>()
                    for _ in 0..<5 {
                        group.addTask {
                            try await runtime.withConnection(to: bound) { connection in
                                try await connection.send("x")
                                try expectEqual(try await connection.receive(), "x", "the echo")
                                if connected.next() == 5 { areConnected.keep() }
                                let end = await outcome { try await connection.receive() }
                                if environment.abilities.contains(.resets) {
                                    try await expectError(.reset, "receive") { try end.get() }
                                }
                            }
                        }
                    }
                    try await areConnected.value
                    server.cancel()
                    try await server.value
                    try expectEqual(handlers.value, 0, "handlers that run when serve has returned")
                    try await group.waitForAll()
                }
                try expect(
                    errors.all.allSatisfy { $0 as? NetworkError == .cancelled }, "the handlers threw \(errors.all)")
                if environment.abilities.contains(.plainPeers) { try await expectRefused(bound) }
            }
        },
        Check("a cancelled serve waits for a handler that ignores its cancellation") { environment in
            try await environment.withRuntime { runtime, address in
                let isCancelled = Promise<Void>()
                let mayEnd = Promise<Void>()
                let hasReturned = Count()
                let (server, bound) = try await start(runtime, address) { connection in
                    _ = await outcome { try await connection.receive() }
                    isCancelled.keep()
                    try await mayEnd.valueDespiteCancellation
                    hasReturned.add(1)
                }
                let client = Task { try await runtime.withConnection(to: bound) { _ = try? await $0.receive() } }
                // The handler has its connection when a second one has been refused nothing.
                try await untilAccepted(1, by: runtime)
                let returned = Promise<Int>()
                let waiting = Task {
                    try await server.value
                    returned.keep(hasReturned.value)
                }
                server.cancel()
                try await isCancelled.value
                for _ in 0..<50 { await Task.yield() }
                try expect(!returned.isKept, "serve returned before its handler had ended")
                mayEnd.keep()
                try expectEqual(try await returned.value, 1, "handlers that had ended when serve returned")
                try await waiting.value
                try await client.value
            }
        },
        Check("a serve in a task that is cancelled already returns at once") { environment in
            try await environment.withRuntime { runtime, address in
                let server = Task {
                    cancelCurrentTask()
                    try await runtime.serve(on: address) { _ in }
                }
                try await server.value
            }
        },
        Check(
            "a cancelled serve resets a peer that never stops sending to a handler that never stops reading",
            needs: .plainPeers
        ) {
            environment in
            try await environment.withRuntime { runtime, address in
                let isReading = Promise<Void>()
                let (server, bound) = try await start(runtime, address) { connection in
                    for try await _ in connection { isReading.keep() }
                }
                let peer = try await onThread { try PlainSocket(to: bound) }
                async let sent = onThread {
                    do { while true { try peer.send(Pattern.bytes(65_536)) } } catch let error as PlainError {
                        return error
                    }
                }
                try await isReading.value
                server.cancel()
                try await server.value
                let error = try await sent
                try expect(error.isReset, "the peer's send ended with \(error)")
            }
        },
        Check("handlers run at the same time and do not wait for each other") { environment in
            let arrived = Count()
            let allArrived = Promise<Void>()
            try await environment.serving { connection in
                if arrived.next() == 20 { allArrived.keep() }
                try await allArrived.value
                try await connection.send("together")
            } client: { runtime, address in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<20 {
                        group.addTask {
                            try await runtime.withConnection(to: address) { connection in
                                try expectEqual(try await connection.receive(upTo: 8), "together", "the answer")
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        },
        Check("two servers of one runtime do not disturb each other") { environment in
            try await environment.withRuntime { runtime, address in
                let second = environment.address()
                defer { environment.release(second) }
                let (one, oneBound) = try await start(runtime, address) { try await $0.send("one") }
                let (two, twoBound) = try await start(runtime, second) { try await $0.send("two") }
                for _ in 0..<20 {
                    try await runtime.withConnection(to: oneBound) {
                        try expectEqual(try await $0.receive(), "one", "the answer")
                    }
                    try await runtime.withConnection(to: twoBound) {
                        try expectEqual(try await $0.receive(), "two", "the answer")
                    }
                }
                one.cancel()
                try await one.value
                try await runtime.withConnection(to: twoBound) {
                    try expectEqual(try await $0.receive(), "two", "the answer")
                }
                two.cancel()
                try await two.value
            }
        },
        Check("a server can be started again on the address of one that has ended") { environment in
            try await environment.withRuntime { runtime, address in
                var address = address
                for round in 1...5 {
                    let (server, bound) = try await start(runtime, address) { try await $0.send("\(round)") }
                    try await runtime.withConnection(to: bound) { connection in
                        try expectEqual(try await connection.receive(), Bytes("\(round)"), "the answer")
                    }
                    server.cancel()
                    try await server.value
                    address = bound
                }
            }
        },
    ]

    /// Starts to serve in a task of its own. Returns the task and the address when it listens.
    nonisolated(nonsending) static func start(
        _ runtime: Runtime, _ address: SocketAddress, options: ConnectionOptions = .init(),
        onError: ErrorHandler? = nil,
        _ handler: @escaping ConnectionHandler
    ) async throws -> (Task<Void, any Error>, SocketAddress) {
        let bound = Promise<SocketAddress>()
        let server = Task {
            do {
                try await runtime.serve(
                    on: address, options: options, onListening: { bound.keep($0) }, onError: onError, handler: handler)
            } catch {
                bound.fail(error)
                throw error
            }
        }
        return (server, try await bound.value)
    }

    /// Waits until the runtime has accepted so many connections.
    nonisolated(nonsending) static func untilAccepted(_ count: UInt64, by runtime: Runtime) async throws {
        while await runtime.counters().reduce(0, { $0 + $1.accepted }) < count {
            try Task.checkCancellation()
            await Task.yield()
        }
    }
}
