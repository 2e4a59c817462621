// What the clients do.

import Martlet

/// A task that talks to the server until its pair's window has closed.
struct Client: Sendable {
    let pair: Pair
    private var address: SocketAddress { .loopback(port: pair.ports[0]) }

    init(pair: Pair) { self.pair = pair }

    /// Sends messages, one at a time, over one connection.
    func exchange(size: Int) async throws {
        let message = Bytes([UInt8](repeating: 0x55, count: size))
        try await pair.core.withConnection(to: address) { [pair] connection in
            while !pair.isOver {
                try await Self.exchange(message, connection)
                pair.done()
            }
        }
    }

    /// Opens a connection for a few messages, over and over.
    func reconnect(messages: Int, size: Int) async throws {
        let message = Bytes([UInt8](repeating: 0x55, count: size))
        while !pair.isOver {
            try await pair.core.withConnection(to: address) { connection in
                for _ in 0..<messages { try await Self.exchange(message, connection) }
            }
            pair.done()
        }
    }

    /// Sends as fast as the connection takes it.
    func flood() async throws {
        let bytes = Bytes([UInt8](repeating: 0x55, count: 65_536))
        try await pair.core.withConnection(to: address) { [pair] connection in
            while !pair.isOver { try await connection.send(bytes) }
        }
    }

    /// As ``exchange(size:)`` with 64 bytes, and keeps the time of each message, the first thousand left out.
    func timed() async throws {
        let message = Bytes([UInt8](repeating: 0x55, count: 64))
        try await pair.core.withConnection(to: address) { [pair] connection in
            var times: [Int64] = []
            times.reserveCapacity(1 << 20)
            for _ in 0..<1000 { try await Self.exchange(message, connection) }
            while !pair.isOver {
                let start = nanoseconds()
                try await Self.exchange(message, connection)
                if times.count < times.capacity { times.append(nanoseconds() - start) }
                pair.done()
            }
            pair.keep(times)
        }
    }

    private static func exchange(_ message: Bytes, _ connection: TCPConnection) async throws {
        try await connection.send(message)
        var rest = message.count
        while rest > 0 {
            let hasMore = try await connection.receive { bytes in
                let taken = min(rest, bytes.byteCount)
                rest -= taken
                return taken
            }
            guard hasMore else { throw NetworkError.closed }
        }
    }
}
