// Whatever the sizes and the pauses, every byte arrives once and in its place. The seed says which sizes and pauses.

internal import Martlet

extension Conformance {
    static let randomised: [Check] = [
        Check("random sizes and pauses, both ways, over several connections, are byte-exact") { environment in
            try await environment.serving(.tight) { connection in
                try await exchange(connection, seed: environment.seed)
            } client: { runtime, address in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 1...6 {
                        group.addTask {
                            try await runtime.withConnection(to: address, options: .tight) { connection in
                                try await exchange(connection, seed: environment.seed &+ UInt64(number))
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        },
        Check("random sizes and pauses with scarce buffers are byte-exact") { environment in
            var environment = environment
            environment.configuration.limits.receiveBufferSize = 512
            environment.configuration.limits.receiveBuffers = 16
            environment.configuration.limits.maximumReceiveBuffers = 1024
            environment.configuration.limits.maximumSendBuffers = 16
            environment.configuration.limits.submissionEntries = 8
            environment.configuration.limits.completionEntries = 16
            environment.configuration.limits.jobsPerRound = 2
            let options = ConnectionOptions.tight.with {
                $0.sendLimit = 5000
                $0.receiveLimit = 3000
            }
            try await environment.serving(options) { [environment] connection in
                try await exchange(connection, seed: environment.seed)
            } client: { [environment] runtime, address in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 1...6 {
                        group.addTask {
                            try await runtime.withConnection(to: address, options: options) { connection in
                                try await exchange(connection, seed: environment.seed &+ UInt64(number))
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        },
        Check("connections that end at random, every way, leave the server whole") { environment in
            try await environment.serving(.tight) { connection in
                for try await bytes in connection { try await connection.send(bytes) }
            } client: { runtime, address in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<120 {
                        let seed = environment.seed &+ UInt64(number)
                        group.addTask { await endAnyhow(runtime, address, seed: seed) }
                        if number % 12 == 11 { for _ in 0..<12 { try await group.next() } }
                    }
                    try await group.waitForAll()
                }
                try await runtime.withConnection(to: address) { connection in
                    try await connection.send("still here")
                    try expectEqual(try await connection.receive(), "still here", "the echo")
                }
                // What is left is the listeners.
                var open = Int.max
                for _ in 0..<100_000 where open > runtime.cores.count {
                    try Task.checkCancellation()
                    open = await runtime.counters().reduce(0) { $0 + $1.open }
                    await Task.yield()
                }
                try expect(open <= runtime.cores.count, "\(open - runtime.cores.count) connections were left behind")
            }
        },
    ]

    /// Sends and receives the pattern in runs of random sizes and kinds, both at once.
    nonisolated(nonsending) private static func exchange(_ connection: TCPConnection, seed: UInt64) async throws {
        let total = 300_000
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var generator = SeededGenerator(seed: seed)
                var offset = 0
                while offset < total {
                    let count = min(total - offset, generator.size(upTo: 20_000))
                    let bytes = Pattern.bytes(count, from: offset)
                    switch Int.random(in: 0..<4, using: &generator) {
                    case 0: try await connection.send(bytes)
                    case 1: try await connection.send(contentsOf: [bytes[0..<count / 3], bytes[count / 3..<count]])
                    case 2 where count <= 16_384:
                        let written = try await connection.send(upTo: count) { output in
                            for byte in bytes.prefix(output.freeCapacity) { output.append(byte) }
                        }
                        try expectEqual(written, count, "bytes written in place")
                    default: try await connection.send(Array(bytes))
                    }
                    offset += count
                    if Int.random(in: 0..<8, using: &generator) == 0 { try await connection.flush() }
                    for _ in 0..<Int.random(in: 0..<3, using: &generator) { await Task.yield() }
                }
                try await connection.finish()
            }
            group.addTask {
                var generator = SeededGenerator(seed: seed &* 31)
                var reader = PatternReader()
                var failure: Result<Void, any Error> = .success(())
                var isOpen = true
                while isOpen {
                    switch Int.random(in: 0..<3, using: &generator) {
                    case 0:
                        isOpen = try await connection.receive { bytes in
                            let count = min(bytes.byteCount, generator.size(upTo: 8000))
                            do { try reader.read(bytes.extracting(first: count)) } catch { failure = .failure(error) }
                            return count
                        }
                    case 1:
                        do {
                            let bytes = try await connection.receive(within: .microseconds(50))
                            isOpen = bytes != nil
                            try reader.read(bytes ?? [])
                        } catch NetworkError.deadlineExceeded {}
                    default:
                        let bytes = try await connection.receive()
                        isOpen = bytes != nil
                        try reader.read(bytes ?? [])
                    }
                    try failure.get()
                    for _ in 0..<Int.random(in: 0..<3, using: &generator) { await Task.yield() }
                }
                try expectEqual(reader.count, total, "bytes received (seed \(seed))")
            }
            try await group.waitForAll()
        }
    }

    private struct Mishap: Error {}

    /// Connects to an echo server, does something for a while, and ends in one of many ways.
    private static func endAnyhow(_ runtime: Runtime, _ address: SocketAddress, seed: UInt64) async {
        var generator = SeededGenerator(seed: seed)
        let rounds = Int.random(in: 0..<4, using: &generator)
        let way = Int.random(in: 0..<9, using: &generator)
        let size = generator.size(upTo: 200_000)
        let client = Task {
            try await runtime.withConnection(to: address, options: .tight) { connection in
                for _ in 0..<rounds {
                    try await connection.send("x")
                    _ = try await connection.receive()
                }
                switch way {
                case 0: break
                case 1: throw Mishap()
                case 2: await connection.abort()
                case 3: try await connection.close()
                case 4: try await connection.finish()
                case 5: try await connection.send(Pattern.bytes(size))
                case 6:
                    try await connection.send(Pattern.bytes(size))
                    throw Mishap()
                case 7:
                    try await connection.send(Pattern.bytes(size))
                    cancelCurrentTask()
                    _ = try await connection.receive()
                default:
                    async let sent: Void = connection.send(Pattern.bytes(size))
                    _ = try await connection.receive()
                    try await connection.finish()
                    try await sent
                }
            }
        }
        if way == 8 {
            await Task.yield()
            client.cancel()
        }
        _ = await client.result
    }
}
