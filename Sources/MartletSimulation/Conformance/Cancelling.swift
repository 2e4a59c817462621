// "A single `receive` or `send` is cancelled or passes its deadline: that call throws; no received byte is lost; the
// connection stays usable."

internal import Martlet

extension Conformance {
    static let cancelling: [Check] = [
        Check("a cancelled receive throws .cancelled, and the next one gets the bytes") { environment in
            let wasCancelled = Promise<Void>()
            try await environment.serving { connection in
                for caller in Caller.allCases + Caller.allCases {
                    try await expectCancelled("receive", by: caller) { try await connection.receive() }
                    try await expectCancelled("receive with a closure", by: caller) {
                        try await connection.receive { $0.byteCount }
                    }
                }
                wasCancelled.keep()
                var reader = PatternReader()
                try await reader.readAll(of: connection)
                try await connection.send("\(reader.count)")
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try await wasCancelled.value
                    try await connection.send(Pattern.bytes(100_000))
                    try await connection.finish()
                    try expectEqual(try await connection.receive(), "100000", "what the server read")
                }
            }
        },
        Check("a receive that would wait in a task that is cancelled already throws .cancelled") { environment in
            let wasCancelled = Promise<Void>()
            try await environment.serving { connection in
                for caller in Caller.allCases {
                    try await expectCancelled("receive", by: caller) {
                        cancelCurrentTask()
                        return try await connection.receive()
                    }
                    try await expectCancelled("receive with a closure", by: caller) {
                        cancelCurrentTask()
                        return try await connection.receive { $0.byteCount }
                    }
                }
                wasCancelled.keep()
                for try await bytes in connection { try await connection.send(bytes) }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try await wasCancelled.value
                    try await connection.send(Pattern.bytes(1000))
                    try await connection.finish()
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                    try expectEqual(reader.count, 1000, "bytes echoed")
                }
            }
        },
        Check("a receive past its deadline throws .deadlineExceeded, and the next one gets the bytes") { environment in
            let hasPassed = Promise<Void>()
            try await environment.serving { connection in
                for timeout in [Duration.zero, .microseconds(1), .milliseconds(5), .seconds(-1)] {
                    try await expectError(.deadlineExceeded, "receive(within: \(timeout))") {
                        try await connection.receive(within: timeout)
                    }
                    try await expectError(.deadlineExceeded, "receive(within: \(timeout)) with a closure") {
                        try await connection.receive(within: timeout) { $0.byteCount }
                    }
                }
                hasPassed.keep()
                var reader = PatternReader()
                try await reader.readAll(of: connection)
                try await connection.send("\(reader.count)")
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try await hasPassed.value
                    try await connection.send(Pattern.bytes(100_000))
                    try await connection.finish()
                    try expectEqual(try await connection.receive(), "100000", "what the server read")
                }
            }
        },
        Check("a receive with a deadline that is not passed returns the bytes, and the deadline is forgotten") {
            environment in
            try await environment.serving { connection in
                while let bytes = try await connection.receive(within: .milliseconds(500)) {
                    try await connection.send(bytes)
                }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    for round in 0..<100 {
                        try await connection.send("\(round)")
                        try expectEqual(
                            try await connection.receive(within: .seconds(10)), Bytes("\(round)"), "the echo")
                    }
                }
            }
        },
        Check("bytes that arrive while receives are being cancelled are neither lost nor doubled") { environment in
            let total = 400_000
            try await environment.serving { connection in
                var generator = SeededGenerator(seed: environment.seed)
                var reader = PatternReader()
                var cancelled = 0
                while reader.count < total {
                    let yields = Int.random(in: 0..<4, using: &generator)
                    let isChild = Bool.random(using: &generator)
                    let result: Result<Bytes?, any Error>
                    if isChild {
                        result = await withTaskGroup(of: Result<Bytes?, any Error>.self) { group in
                            group.addTask { await outcome { try await connection.receive() } }
                            for _ in 0..<yields { await Task.yield() }
                            group.cancelAll()
                            return await group.next()!
                        }
                    } else {
                        let task = Task.detached { try await connection.receive() }
                        for _ in 0..<yields { await Task.yield() }
                        task.cancel()
                        result = await task.result
                    }
                    switch result {
                    case .success(let bytes?): try reader.read(bytes)
                    case .success(nil):
                        throw ConformanceFailure(description: "the stream ended after \(reader.count) bytes")
                    case .failure(let error):
                        try expectEqual(error as? NetworkError, .cancelled, "what the cancelled receive threw")
                        cancelled += 1
                    }
                }
                try await connection.send("\(reader.count)")
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    for offset in stride(from: 0, to: total, by: 1000) {
                        try await connection.send(Pattern.bytes(1000, from: offset))
                        await Task.yield()
                    }
                    try expectEqual(try await connection.receive(), Bytes("\(total)"), "what the server read")
                }
            }
        },
        Check("bytes that arrive while receives pass their deadlines are neither lost nor doubled") { environment in
            let total = 400_000
            try await environment.serving { connection in
                var generator = SeededGenerator(seed: environment.seed)
                var reader = PatternReader()
                while reader.count < total {
                    do {
                        let timeout = Duration.microseconds(Int.random(in: 0..<200, using: &generator))
                        guard let bytes = try await connection.receive(within: timeout) else { break }
                        try reader.read(bytes)
                    } catch NetworkError.deadlineExceeded {}
                }
                try expectEqual(reader.count, total, "bytes received")
                try await connection.send("\(reader.count)")
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    for offset in stride(from: 0, to: total, by: 1000) {
                        try await connection.send(Pattern.bytes(1000, from: offset))
                        await Task.yield()
                    }
                    try expectEqual(try await connection.receive(), Bytes("\(total)"), "what the server read")
                }
            }
        },
        Check("a send past its deadline leaves a first part of its bytes, and later sends follow them") { environment in
            try await expectPrefix(in: environment) { connection, offset in
                try await expectError(.deadlineExceeded, "send into a full queue") {
                    while true {
                        try await connection.send(Pattern.bytes(50_000, from: offset.value), within: .milliseconds(100))
                        offset.add(50_000)
                    }
                }
            }
        },
        Check("a cancelled send leaves a first part of its bytes, and later sends follow them") { environment in
            try await expectPrefix(in: environment) { connection, offset in
                // The queue is full when a send has found it so.
                try await expectError(.deadlineExceeded, "send into a full queue") {
                    while true {
                        try await connection.send(Pattern.bytes(1, from: offset.value), within: .milliseconds(100))
                        offset.add(1)
                    }
                }
                for caller in Caller.allCases {
                    try await expectCancelled("send", by: caller) {
                        try await connection.send(Pattern.bytes(50_000, from: offset.value))
                    }
                    try await expectCancelled("send of runs", by: caller) {
                        try await connection.send(contentsOf: [Pattern.bytes(50_000, from: offset.value)])
                    }
                    try await expectCancelled("send in place", by: caller) {
                        try await connection.send(upTo: 100) { for byte in Pattern.bytes(100) { $0.append(byte) } }
                    }
                }
            }
        },
        Check(
            "a flush that is cancelled or passes its deadline throws, and the connection is usable",
            needs: [.plainPeers, .acknowledges]
        ) {
            environment in
            let options = ConnectionOptions.tight.with { $0.sendLimit = 2 << 20 }
            let mayRead = Promise<Void>()
            try await environment.servingPlain(options, receiveBuffer: 8192) { connection in
                try await connection.send(Pattern.bytes(2 << 20))
                try await expectError(.deadlineExceeded, "flush") {
                    try await connection.flush(within: .milliseconds(50))
                }
                for caller in Caller.allCases {
                    try await expectCancelled("flush", by: caller) { try await connection.flush() }
                }
                mayRead.keep()
                try await connection.flush()
                try await connection.send(Pattern.bytes(1000, from: 2 << 20))
            } peer: { peer in
                try await mayRead.value
                try expectEqual(
                    try await onThread { try peer.receivePattern() }, 2 << 20 + 1000, "bytes before the FIN")
            }
        },
        Check("an accept that is cancelled or passes its deadline throws, and loses no connection", needs: .plainPeers)
        { environment in
            try await environment.listening { _, listener in
                try await expectError(.deadlineExceeded, "accept") {
                    try await listener.accept(within: .milliseconds(5))
                }
                for caller in Caller.allCases {
                    try await expectCancelled("accept", by: caller) { try await listener.accept() }
                }
                let address = listener.address
                let peers = try await onThread { try (0..<5).map { _ in try PlainSocket(to: address) } }
                for _ in peers {
                    let connection = try await listener.accept()
                    try expect(connection != nil, "the listener ended")
                }
            }
        },
        Check("a cancelled sleep throws .cancelled at once, from the core and from elsewhere") { environment in
            try await environment.withRuntime { runtime, _ in
                try await runtime.forEachCore { core in
                    for caller in Caller.allCases {
                        try await expectCancelled("sleep", by: caller) { try await core.sleep(for: .seconds(3600)) }
                    }
                }
            }
        },
    ]

    /// `fill` sends the pattern until a send throws. What the client then reads has to be a first part of the pattern, no
    /// shorter than the sends that succeeded, and behind it what is sent after that.
    private static func expectPrefix(
        in environment: Environment, _ fill: @escaping @Sendable (TCPConnection, _ offset: Count) async throws -> Void
    ) async throws {
        let tail = [UInt8](repeating: 0xAA, count: 5000)
        let isFull = Promise<Void>()
        let offset = Count()
        try await environment.serving(.tight) { connection in
            try await fill(connection, offset)
            isFull.keep()
            try expectEqual(try await connection.receive(), "go on", "what the usable connection receives")
            try await connection.send(tail)
        } client: { runtime, address in
            try await runtime.withConnection(to: address, options: .tight) { connection in
                try await isFull.value
                try await connection.send("go on")
                var all: [UInt8] = []
                for try await bytes in connection { all.append(contentsOf: bytes) }
                try expect(
                    all.suffix(tail.count).elementsEqual(tail), "the bytes sent after the failed send are damaged")
                let head = all.count - tail.count
                try expect(
                    (offset.value...offset.value + 50_000).contains(head),
                    "\(head) bytes came of \(offset.value) … \(offset.value + 50_000)")
                let mismatch = Pattern.mismatch(in: Bytes(all[..<head]).bytes, from: 0)
                try expect(mismatch == nil, "byte \(mismatch ?? 0) of the first part is wrong")
            }
        }
    }
}
