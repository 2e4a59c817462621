// "Back-pressure, outbound: `send` returns when the bytes are in the send ring, and suspends while it is full; `flush()` awaits
// their acknowledgement." Sends of several tasks are never mixed within one call.

internal import Glibc
internal import Martlet

extension Conformance {
    static let sending: [Check] = [
        Check("sends of every size arrive in order") { environment in
            let sizes = [
                0, 1, 2, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_536, 262_143, 262_144, 262_145, 1_000_000,
            ]
            let total = sizes.reduce(0, +)
            try await environment.serving { connection in
                var offset = 0
                for size in sizes {
                    try await connection.send(Pattern.bytes(size, from: offset))
                    offset += size
                }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                    try expectEqual(reader.count, total, "bytes received")
                }
            }
        },
        Check("strings, arrays, slices and runs are sent as they are") { environment in
            try await environment.serving { connection in
                try await connection.send("martlet")
                try await connection.send([1, 2, 3])
                try await connection.send([9, 4, 5, 9][1...2])
                try await connection.send(Pattern.bytes(100)[10..<12])
                try await connection.send(contentsOf: ["a", "", "bc", "d"])
                try await connection.send(contentsOf: [])
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    let expected =
                        Array("martlet".utf8) + [1, 2, 3, 4, 5] + Array(Pattern.bytes(2, from: 10)) + Array("abcd".utf8)
                    let found = try await connection.receive(upTo: 100)
                    try expectEqual(found, Bytes(expected), "what was received")
                }
            }
        },
        Check("several runs larger than the send queue arrive in order") { environment in
            try await environment.serving(.tight) { connection in
                let runs = (0..<200).map { Pattern.bytes(7000, from: $0 * 7000) }
                try await connection.send(contentsOf: runs)
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                    try expectEqual(reader.count, 1_400_000, "bytes received")
                }
            }
        },
        Check("send in place sends what was written and nothing else") { environment in
            let total = Promise<Int>()
            try await environment.serving(.tight) { connection in
                var generator = SeededGenerator(seed: environment.seed)
                var offset = 0
                for _ in 0..<500 {
                    let capacity = generator.size(upTo: 16_384)
                    let count = Int.random(in: 0...capacity, using: &generator)
                    let bytes = Pattern.bytes(count, from: offset)
                    var room = 0
                    let written = try await connection.send(upTo: capacity) { output in
                        room = output.freeCapacity
                        for byte in bytes.prefix(room) { output.append(byte) }
                    }
                    try expect(room >= capacity, "send(upTo: \(capacity)) gave room for \(room) bytes only")
                    try expectEqual(written, count, "bytes written")
                    offset += count
                    // Copied and referred-to bytes in between must keep their place.
                    if Bool.random(using: &generator) {
                        let size = generator.size(upTo: 6000)
                        try await connection.send(Pattern.bytes(size, from: offset))
                        offset += size
                    }
                }
                total.keep(offset)
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                    try expectEqual(reader.count, try await total.value, "bytes received")
                }
            }
        },
        Check("bytes handed to send may be kept and sent again") { environment in
            try await environment.serving { connection in
                let bytes = Pattern.bytes(65_521)
                for _ in 0..<20 { try await connection.send(bytes) }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                    try expectEqual(reader.count, 20 * 65_521, "bytes received")
                }
            }
        },
        Check("sends of several tasks are not mixed within a call") { environment in
            let tasks = 8
            let messages = 12
            try await environment.serving(.tight) { connection in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for task in 0..<tasks {
                        group.addTask {
                            var generator = SeededGenerator(seed: environment.seed &+ UInt64(task))
                            for message in 0..<messages {
                                let size = generator.size(upTo: 30_000)
                                try await connection.send(
                                    Message(task: task, number: message, size: size), by: message % 3)
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            } client: { runtime, address in
                try await runtime.withConnection(to: address, options: .tight) { connection in
                    var next = [Int](repeating: 0, count: tasks)
                    for _ in 0..<tasks * messages {
                        let message = try await Message(receivedFrom: connection)
                        try expectEqual(message.number, next[message.task], "the next message of task \(message.task)")
                        next[message.task] += 1
                    }
                    try expectEqual(try await connection.receive(), nil, "what follows the last message")
                }
            }
        },
        Check("when one of several waiting sends is cancelled, the others go on whole") { environment in
            let tasks = 6
            let mayRead = Promise<Void>()
            let cancelled = Count()
            try await environment.serving(.tight) { connection in
                // The queue is filled with bytes of nobody, to the last one: whoever comes then has to wait.
                for size in [20_000, 500, 1] {
                    let filler = Bytes(repeatElement(0, count: size))
                    do {
                        while true { try await connection.send(filler, within: .milliseconds(100)) }
                    } catch NetworkError.deadlineExceeded {}
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for task in 1...tasks {
                        group.addTask {
                            let send: @Sendable () async throws -> Void = {
                                try await connection.send(Message(task: task, number: 0, size: 20_000).bytes)
                            }
                            guard task % 2 == 0 else { return try await send() }
                            try await expectCancelled("a send", by: .child, send)
                            if cancelled.next() == tasks / 2 { mayRead.keep() }
                        }
                        await Task.yield()
                    }
                    try await group.waitForAll()
                }
            } client: { runtime, address in
                try await runtime.withConnection(to: address, options: .tight) { connection in
                    try await mayRead.value
                    var all: [UInt8] = []
                    for try await bytes in connection { all.append(contentsOf: bytes) }
                    let wholes = [1, 3, 5].map { Array(Message(task: $0, number: 0, size: 20_000).bytes) }
                    let tail = Array(all.suffix(wholes.count * wholes[0].count))
                    try expect(
                        tail == wholes.flatMap { $0 },
                        "the sends that were not cancelled did not arrive whole and in order")
                }
            }
        },
        Check("send suspends while the queue is full, and goes on when the peer reads", needs: .plainPeers) {
            environment in
            let isFull = Promise<Int>()
            let total = 3 << 20
            try await environment.servingPlain(.tight, receiveBuffer: 16_384) { connection in
                var offset = 0
                do {
                    while true {
                        try await connection.send(Pattern.bytes(1, from: offset), within: .milliseconds(150))
                        offset += 1
                    }
                } catch NetworkError.deadlineExceeded {}
                isFull.keep(offset)
                try await connection.send(Pattern.bytes(total - offset, from: offset))
            } peer: { peer in
                let accepted = try await isFull.value
                // sendLimit, and what two kernel buffers of 64 KiB may hold with their overhead.
                try expect(accepted < 1 << 20, "\(accepted) bytes were accepted although the peer read nothing")
                try expectEqual(try await onThread { try peer.receivePattern() }, total, "bytes before the FIN")
            }
        },
        Check("when flush returns, the peer has every byte", needs: .plainPeers) { environment in
            for size in [1, 100_000, 1_000_000] {
                let hasFlushed = Promise<Void>()
                try await environment.servingPlain(receiveBuffer: 4 << 20) { connection in
                    try await connection.send(Pattern.bytes(size))
                    try await connection.flush()
                    hasFlushed.keep()
                    try await connection.waitForTheEnd()
                } peer: { peer in
                    if !environment.abilities.contains(.acknowledges) {
                        try expectEqual(
                            try await onThread { try peer.receive(exactly: size).count }, size, "bytes received")
                    }
                    try await hasFlushed.value
                    guard environment.abilities.contains(.acknowledges) else { return }
                    // Nothing is waited for: all of it is there.
                    let count = try await onThread {
                        var count = 0
                        while count < size { count += try peer.receive(flags: Int32(MSG_DONTWAIT)).count }
                        return count
                    }
                    try expectEqual(count, size, "bytes that the peer had when flush returned")
                }
            }
        },
        Check("flush of an empty queue returns at once") { environment in
            try await environment.serving { connection in
                for try await _ in connection {}
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    for _ in 0..<10 { try await connection.flush() }
                }
            }
        },
        Check("a core that has few send buffers goes on sending for every connection") { environment in
            var environment = environment.onOneCore()
            environment.configuration.limits.maximumSendBuffers = 4
            let total = 300_000
            try await environment.serving { connection in
                // Small runs are copied into the core's buffers.
                for offset in stride(from: 0, to: total, by: 1000) {
                    try await connection.send(Pattern.bytes(1000, from: offset))
                }
            } client: { runtime, address in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<12 {
                        group.addTask {
                            try await runtime.withConnection(to: address) { connection in
                                var reader = PatternReader()
                                try await reader.readAll(of: connection)
                                try expectEqual(reader.count, total, "bytes received")
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        },
    ]
}

/// A run of bytes that says who sent it, and shows whether it is whole.
private struct Message {
    let task: Int
    let number: Int
    let size: Int

    /// `task`, `number`, `size`, and `size` bytes that each are `task`.
    var header: Bytes { Bytes([UInt8(task), UInt8(number), UInt8(size >> 8), UInt8(truncatingIfNeeded: size)]) }
    var body: Bytes { Bytes([UInt8](repeating: UInt8(task), count: size)) }
    var bytes: Bytes { Bytes(Array(header) + Array(body)) }

    init(task: Int, number: Int, size: Int) {
        self.task = task
        self.number = number
        self.size = size
    }

    /// Reads one message and checks that it is whole.
    nonisolated(nonsending) init(receivedFrom connection: TCPConnection) async throws {
        let header = try await connection.receive(upTo: 4)
        try expect(header.count == 4, "the stream ended inside a header")
        self.init(task: Int(header[0]), number: Int(header[1]), size: Int(header[2]) << 8 | Int(header[3]))
        let body = try await connection.receive(upTo: size)
        let owner = UInt8(task)
        try expect(
            body.count == size && body.allSatisfy { $0 == owner }, "a message of task \(task) is mixed with another's")
    }
}

extension TCPConnection {
    /// Sends a message in one of three ways, each of them one call.
    fileprivate nonisolated(nonsending) func send(_ message: Message, by way: Int) async throws {
        switch way {
        case 0: try await send(message.bytes)
        case 1: try await send(contentsOf: [message.header, message.body])
        default:
            if message.size + 4 > 16_384 { return try await send(message.bytes) }
            try await send(upTo: message.size + 4) { output in
                for byte in message.bytes { output.append(byte) }
            }
        }
    }
}
