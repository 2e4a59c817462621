// "Back-pressure, inbound: the receive window (or the re-armed receive) opens only by what the program consumed, counted in
// bytes."

internal import Martlet

extension Conformance {
    /// Bytes that may be on the way when nobody reads: what the runtime and two kernel buffers of 64 KiB hold, and what a
    /// driver had under way already when the limit was reached.
    private static let mostUnread = 2 << 20

    static let pressing: [Check] = [
        Check(
            "a peer can send only so much to a handler that does not read, and all of it arrives later",
            needs: .plainPeers
        ) {
            environment in
            let mayRead = Promise<Void>()
            let received = Promise<Int>()
            try await environment.servingPlain(.tight, sendBuffer: 65_536) { connection in
                var reader = PatternReader()
                try await mayRead.value
                try await reader.readAll(of: connection)
                received.keep(reader.count)
            } peer: { peer in
                let sent = try await onThread { try peer.sendUntilFull(limit: 64 << 20) }
                try expect(sent < mostUnread, "the peer could send \(sent) bytes although nobody read")
                mayRead.keep()
                try await onThread {
                    try peer.send(Pattern.bytes(500_000, from: sent))
                    peer.finish()
                }
                try expectEqual(try await received.value, sent + 500_000, "bytes received")
            }
        },
        Check(
            "a handler that stops reading in the middle stalls its peer, and goes on byte for byte", needs: .plainPeers
        ) {
            environment in
            let mayRead = Promise<Void>()
            let received = Promise<Int>()
            try await environment.servingPlain(.tight, sendBuffer: 65_536) { connection in
                var reader = PatternReader()
                // From the first receive on the runtime receives ahead of the handler.
                guard let first = try await connection.receive() else { return }
                try reader.read(first)
                try await mayRead.value
                try await reader.readAll(of: connection)
                received.keep(reader.count)
            } peer: { peer in
                let sent = try await onThread { try peer.sendUntilFull(limit: 64 << 20) }
                try expect(sent < mostUnread, "the peer could send \(sent) bytes although nobody read")
                mayRead.keep()
                try await onThread {
                    try peer.send(Pattern.bytes(500_000, from: sent))
                    peer.finish()
                }
                try expectEqual(try await received.value, sent + 500_000, "bytes received")
            }
        },
        Check("a slow reader gets everything, a few bytes at a time", needs: .plainPeers) { environment in
            let total = 2 << 20
            let received = Promise<Int>()
            try await environment.servingPlain(.tight) { connection in
                var generator = SeededGenerator(seed: environment.seed)
                var reader = PatternReader()
                var failure: Result<Void, any Error> = .success(())
                while try await connection.receive({ bytes in
                    let count = Swift.min(bytes.byteCount, generator.size(upTo: 9000))
                    do { try reader.read(bytes.extracting(first: count)) } catch { failure = .failure(error) }
                    return count
                }) {
                    if reader.count % 5 == 0 { await Task.yield() }
                }
                try failure.get()
                received.keep(reader.count)
            } peer: { peer in
                try await onThread {
                    for offset in stride(from: 0, to: total, by: 1 << 16) {
                        try peer.send(Pattern.bytes(1 << 16, from: offset))
                    }
                    peer.finish()
                }
                try expectEqual(try await received.value, total, "bytes received")
            }
        },
        Check("two ends that echo into each other through small queues do not deadlock when each reads") {
            environment in
            let total = 3 << 20
            try await environment.serving(.tight) { connection in
                for try await bytes in connection { try await connection.send(bytes) }
            } client: { runtime, address in
                try await runtime.withConnection(to: address, options: .tight) { connection in
                    async let sent: Void = {
                        for offset in stride(from: 0, to: total, by: 100_000) {
                            try await connection.send(Pattern.bytes(min(100_000, total - offset), from: offset))
                        }
                        try await connection.finish()
                    }()
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                    try await sent
                    try expectEqual(reader.count, total, "bytes echoed")
                }
            }
        },
    ]
}
