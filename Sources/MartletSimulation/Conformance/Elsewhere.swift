// A handle may be used from anywhere: the call goes to the connection's core and comes back.

internal import Martlet

/// Isolated like code of a user interface, and on no core.
private actor Office {
    func run<R: Sendable>(_ body: @Sendable (isolated Office) async throws -> R) async throws -> R {
        try await body(self)
    }
}

extension Conformance {
    static let elsewhere: [Check] = [
        Check("every call works from a task of the global pool") { environment in
            try await environment.serving(.tight, handler: echo) { runtime, address in
                try await runtime.withConnection(to: address, options: .tight) { connection in
                    try await Task.detached { try await useEverything(connection, in: environment) }.value
                }
            }
        },
        Check("every call works from an actor") { environment in
            let office = Office()
            try await environment.serving(.tight, handler: echo) { runtime, address in
                try await runtime.withConnection(to: address, options: .tight) { connection in
                    try await office.run { _ in try await useEverything(connection, in: environment) }
                }
            }
        },
        Check("every call works from the main actor") { environment in
            try await environment.serving(.tight, handler: echo) { runtime, address in
                try await runtime.withConnection(to: address, options: .tight) { connection in
                    try await Task { @MainActor in try await useEverything(connection, in: environment) }.value
                }
            }
        },
        Check("every call works from another core") { environment in
            var environment = environment
            environment.configuration.cores = .count(2)
            try await environment.serving(.tight, handler: echo) { [environment] runtime, address in
                try await runtime.cores[0].withConnection(to: address, options: .tight) { connection in
                    try await runtime.cores[1].withConnection(to: address) { other in
                        // This runs on core 1, or not on the connection's core at any rate.
                        try expect(other.core !== connection.core, "both connections are on one core")
                        try await useEverything(connection, in: environment)
                        try await other.close()
                    }
                }
            }
        },
        Check("withConnection works from an actor, and its body's calls too") { environment in
            let office = Office()
            try await environment.serving(handler: echo) { runtime, address in
                try await office.run { office in
                    try await exchange(runtime, address, isolatedTo: office)
                }
                try await Task { @MainActor in
                    for _ in 0..<20 {
                        try await runtime.withConnection(to: address) { connection in
                            try await connection.send("ping")
                            try expectEqual(try await connection.receive(), "ping", "the echo")
                        }
                    }
                }.value
            }
        },
        Check("a handler may hop to an actor between calls") { environment in
            let office = Office()
            try await environment.serving { connection in
                while let bytes = try await connection.receive() {
                    try await office.run { _ in
                        try await connection.send(bytes)
                        try await connection.flush()
                    }
                }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    for round in 0..<200 {
                        try await connection.send("\(round)")
                        try expectEqual(try await connection.receive(), Bytes("\(round)"), "the echo")
                    }
                }
            }
        },
        Check("an actor whose task waits for bytes serves others meanwhile") { environment in
            let office = Office()
            let waits = Promise<Void>()
            try await environment.serving { connection in
                try await office.run { _ in
                    waits.keep()
                    if let bytes = try await connection.receive() { try await connection.send(bytes) }
                }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try await waits.value
                    try expectEqual(try await office.run { _ in 1 }, 1, "what the actor returns")
                    try await connection.send("ping")
                    try expectEqual(try await connection.receive(), "ping", "the echo")
                }
            }
        },
        Check("listen, accept and close work from elsewhere") { environment in
            try await environment.withRuntime { runtime, address in
                let listener = try await runtime.cores[0].listen(on: address)
                let client = Task {
                    try await runtime.withConnection(to: listener.address) { connection in
                        try await connection.send("ping")
                        return try await connection.receive()
                    }
                }
                guard let connection = try await listener.accept(within: .seconds(20)) else { return }
                try expectEqual(try await connection.receive(), "ping", "what the server receives")
                try await connection.send("pong")
                try expectEqual(try await client.value, "pong", "what the client receives")
                try await connection.close()
                try await expectError(.deadlineExceeded, "accept") {
                    try await listener.accept(within: .milliseconds(1))
                }
                await listener.close()
                try expect(try await listener.accept() == nil, "accept after the end returned a connection")
            }
        },
        Check("many tasks of the global pool use many connections at once") { environment in
            try await environment.serving(handler: echo) { runtime, address in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for worker in 0..<16 {
                        group.addTask {
                            let handle = Collected<TCPConnection>()
                            let mayEnd = Promise<Void>()
                            async let open: Void = runtime.withConnection(to: address) { connection in
                                handle.append(connection)
                                try await mayEnd.value
                            }
                            while handle.all.isEmpty { await Task.yield() }
                            let connection = handle.all[0]
                            for round in 0..<50 {
                                let text = Bytes("\(worker) \(round)")
                                try await connection.send(text)
                                try expectEqual(try await connection.receive(upTo: text.count), text, "the echo")
                            }
                            mayEnd.keep()
                            try await open
                        }
                    }
                    try await group.waitForAll()
                }
            }
        },
    ]

    private static let echo: ConnectionHandler = { connection in
        for try await bytes in connection { try await connection.send(bytes) }
    }

    private static func exchange(_ runtime: Runtime, _ address: SocketAddress, isolatedTo office: isolated Office)
        async throws
    {
        for _ in 0..<20 {
            try await runtime.withConnection(to: address) { connection in
                try await connection.send("ping")
                try expectEqual(try await connection.receive(), "ping", "the echo")
                async let received = connection.receive()
                try await connection.send("again")
                try expectEqual(try await received, "again", "the echo")
            }
        }
    }

    /// Every method of a connection to an echo server.
    nonisolated(nonsending) private static func useEverything(_ connection: TCPConnection, in environment: Environment)
        async throws
    {
        try await connection.send("string ")
        try await connection.send(Bytes("bytes "))
        try await connection.send(Array("array ".utf8))
        try await connection.send(contentsOf: ["se", "veral "])
        let written = try await connection.send(upTo: 8) { output in
            for byte in "written ".utf8 { output.append(byte) }
        }
        try expectEqual(written, 8, "bytes written")
        try await connection.flush()
        let expected = Bytes("string bytes array several written ")
        var all: [UInt8] = []
        while all.count < expected.count {
            var taken = 0
            let isOpen = try await connection.receive { bytes in
                taken = min(bytes.byteCount, 3)
                all.append(contentsOf: Bytes(copying: bytes.extracting(first: taken)))
                return taken
            }
            try expect(isOpen && taken > 0, "the stream ended")
        }
        try expectEqual(Bytes(all), expected, "the echo")
        try await expectError(.deadlineExceeded, "receive") { try await connection.receive(within: .milliseconds(2)) }
        try await expectError(.deadlineExceeded, "receive") {
            try await connection.receive(within: .zero) { $0.byteCount }
        }
        try await expectCancelled("receive", by: .stranger) { try await connection.receive() }
        let total = 600_000
        async let sent: Void = connection.send(Pattern.bytes(total))
        var reader = PatternReader()
        try await reader.read(upTo: total, of: connection)
        try await sent
        let addresses = await (connection.local, connection.peer)
        try expect(addresses.0 != nil && addresses.1 != nil, "an open connection has no addresses")
        try expectEqual(
            await connection.info != nil, environment.abilities.contains(.acknowledges), "whether there is info")
        try await connection.finish()
        var iterator = connection.makeAsyncIterator()
        try expectEqual(try await iterator.next(), nil, "next at the end")
        try await connection.close()
        await connection.abort()
        try await expectError(.closed, "receive after close") { try await connection.receive() }
    }
}
