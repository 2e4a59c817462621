// Receiving: nothing is lost whatever the sizes, the zero-copy call consumes what it says, and a program may keep its bytes.

internal import Martlet

extension Conformance {
    static let receiving: [Check] = [
        Check("a peer that sends a byte at a time is read byte for byte", needs: .plainPeers) { environment in
            let received = Promise<Int>()
            try await environment.servingPlain { connection in
                var reader = PatternReader()
                try await reader.readAll(of: connection)
                received.keep(reader.count)
            } peer: { peer in
                try await onThread {
                    for offset in 0..<3000 { try peer.send(Pattern.bytes(1, from: offset)) }
                    peer.finish()
                }
                try expectEqual(try await received.value, 3000, "bytes received")
            }
        },
        Check("receive with a closure shows what was not consumed again") { environment in
            try await environment.serving { connection in
                try await connection.send(Pattern.bytes(100_000))
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    var generator = SeededGenerator(seed: environment.seed)
                    var offset = 0
                    var failure: Int?
                    while try await connection.receive({ bytes in
                        failure = failure ?? Pattern.mismatch(in: bytes, from: offset)
                        let count = min(bytes.byteCount, Int.random(in: 0...700, using: &generator))
                        offset += count
                        return count
                    }) {}
                    try expect(failure == nil, "byte \(failure ?? 0) is wrong")
                    try expectEqual(offset, 100_000, "bytes consumed")
                }
            }
        },
        Check("receive with a closure and without may be mixed") { environment in
            try await environment.serving { connection in
                try await connection.send(Pattern.bytes(300_000))
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    var reader = PatternReader()
                    var isOpen = true
                    while isOpen {
                        let offset = reader.count
                        var head: Bytes = []
                        isOpen = try await connection.receive { bytes in
                            head = Bytes(copying: bytes.extracting(first: min(3, bytes.byteCount)))
                            return head.count
                        }
                        try reader.read(head)
                        try expect(!isOpen || reader.count > offset, "the closure was not called")
                        if isOpen, let rest = try await connection.receive() {
                            try reader.read(rest)
                        } else {
                            isOpen = false
                        }
                    }
                    try expectEqual(reader.count, 300_000, "bytes received")
                }
            }
        },
        Check("bytes that the program keeps stay what they were while more arrive") { environment in
            let total = 3 << 20
            try await environment.serving { connection in
                for offset in stride(from: 0, to: total, by: 1 << 16) {
                    try await connection.send(Pattern.bytes(1 << 16, from: offset))
                }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    var kept: [Bytes] = []
                    for try await bytes in connection { kept.append(bytes) }
                    var reader = PatternReader()
                    for bytes in kept { try reader.read(bytes) }
                    try expectEqual(reader.count, total, "bytes kept")
                }
            }
        },
        Check("a program that keeps more bytes than there are receive buffers goes on receiving") { environment in
            var environment = environment
            environment.configuration.limits.receiveBuffers = 8
            environment.configuration.limits.maximumReceiveBuffers = 8
            let total = 2 << 20
            try await environment.serving { connection in
                for offset in stride(from: 0, to: total, by: 1 << 16) {
                    try await connection.send(Pattern.bytes(1 << 16, from: offset))
                }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    var kept: [Bytes] = []
                    for try await bytes in connection { kept.append(bytes) }
                    var reader = PatternReader()
                    for bytes in kept { try reader.read(bytes) }
                    try expectEqual(reader.count, total, "bytes kept")
                }
            }
        },
        Check("connections that nobody reads from do not keep buffers from one that is read", needs: .plainPeers) {
            environment in
            var environment = environment.onOneCore()
            environment.configuration.limits.receiveBuffers = 64
            environment.configuration.limits.maximumReceiveBuffers = 64
            try await environment.serving(.tight) { connection in
                // One byte makes the runtime receive for this connection. Then nobody reads.
                _ = try await connection.receive { _ in 1 }
                try await connection.send("w")
                if try await connection.receive(upTo: 4) == "read" {
                    for try await bytes in connection { try await connection.send(bytes) }
                } else {
                    try await connection.waitForTheEnd()
                }
            } client: { runtime, address in
                let hogs = try await onThread {
                    try (0..<6).map { _ in
                        let hog = try PlainSocket(to: address)
                        try hog.send("xhogs")
                        _ = try hog.receive(exactly: 1)
                        _ = try hog.sendUntilFull(limit: 1 << 20)
                        return hog
                    }
                }
                try await runtime.withConnection(to: address) { connection in
                    try await connection.send("xread")
                    try expectEqual(try await connection.receive(), "w", "the answer to the first byte")
                    for offset in stride(from: 0, to: 200_000, by: 10_000) {
                        try await connection.send(Pattern.bytes(10_000, from: offset))
                        var reader = PatternReader(from: offset)
                        try await reader.read(upTo: offset + 10_000, of: connection)
                    }
                }
                try expectEqual(hogs.count, 6, "connections that nobody read from")
            }
        },
        Check("a receiver may read while a sibling sends, both ways at once") { environment in
            let total = 2 << 20
            let exchange: @Sendable (TCPConnection) async throws -> Void = { connection in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for offset in stride(from: 0, to: total, by: 1 << 15) {
                            try await connection.send(Pattern.bytes(1 << 15, from: offset))
                        }
                        try await connection.finish()
                    }
                    group.addTask {
                        var reader = PatternReader()
                        try await reader.readAll(of: connection)
                        try expectEqual(reader.count, total, "bytes received")
                    }
                    try await group.waitForAll()
                }
            }
            try await environment.serving(.tight, handler: exchange) { runtime, address in
                try await runtime.withConnection(to: address, options: .tight, exchange)
            }
        },
    ]
}

extension TCPConnection {
    /// Exactly `count` bytes, fewer at the peer's FIN.
    nonisolated(nonsending) func receive(upTo count: Int) async throws -> Bytes {
        var all: [UInt8] = []
        while all.count < count {
            let isOpen = try await receive { bytes in
                let part = bytes.extracting(first: Swift.min(count - all.count, bytes.byteCount))
                all.append(contentsOf: Bytes(copying: part))
                return part.byteCount
            }
            if !isOpen { break }
        }
        return Bytes(all)
    }
}
