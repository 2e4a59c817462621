// The services of `martlet serve`: RFC 862, 863, 864, and as much of RFC 9112 as a load generator or a browser needs.

import ArgumentParser
import Martlet

enum Service: String, CaseIterable, Encodable, Sendable, ExpressibleByArgument {
    case echo, http, discard, chargen

    /// The port if none is asked for: that of the RFC and 7,000, which needs no privilege.
    var port: UInt16 {
        switch self {
        case .echo: 7007
        case .http: 8080
        case .discard: 7009
        case .chargen: 7019
        }
    }

    /// A line of the shell that tries it.
    func command(host: String, port: UInt16) -> String {
        switch self {
        case .echo: "printf 'hello\\n' | nc -N \(host) \(port)"
        case .http: "curl -i http://\(host.contains(":") ? "[\(host)]" : host):\(port)/"
        case .discard: "head -c 1000000 /dev/zero | nc -N \(host) \(port)"
        case .chargen: "nc -d \(host) \(port) | head -n 20"
        }
    }

    func handler(page size: Int) -> ConnectionHandler {
        switch self {
        case .echo: { connection in for try await bytes in connection { try await connection.send(bytes) } }
        case .discard: { connection in while try await connection.receive({ $0.byteCount }) {} }
        case .chargen: Self.generate
        case .http:
            {
                let body = Self.page(size)
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: \(size)\r\n"
                return { connection in try await serveHTTP(connection, Array(head.utf8), body) }
            }()
        }
    }

    private static func page(_ size: Int) -> [UInt8] {
        let text = Array("Hello, World!\n".utf8)
        return (0..<size).map { text[$0 % text.count] }
    }

    // MARK: Characters

    /// Lines of 72 of the 95 printing characters, each line begun one character later than the one before: all 95 lines.
    static let lines: [UInt8] = (0..<95).flatMap { first in
        (0..<72).map { UInt8(32 + (first + $0) % 95) } + [13, 10]
    }

    /// Sends lines until the peer finishes, and throws away what it says.
    private static func generate(_ connection: TCPConnection) async throws {
        let bytes = Bytes(lines)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { while try await connection.receive({ $0.byteCount }) {} }
            group.addTask { while true { try await connection.send(bytes) } }
            try await group.next()
            group.cancelAll()
        }
    }
}

// MARK: - HTTP

/// Answers each request that has no body with the same page, and closes when the client wants that.
private func serveHTTP(_ connection: TCPConnection, _ head: [UInt8], _ body: [UInt8]) async throws {
    let end = Array("\r\n\r\n".utf8)
    var text: [UInt8] = []
    var replies: [UInt8] = []
    for try await bytes in connection {
        text += Array(bytes)
        while let range = text.firstRange(of: end) {
            let request = String(decoding: text[..<range.lowerBound], as: UTF8.self).lowercased()
            text.removeSubrange(..<range.upperBound)
            let isOld = request.prefix { $0 != "\r\n" }.hasSuffix("http/1.0")
            let closes = request.contains("connection: close") || isOld && !request.contains("connection: keep-alive")
            replies += head + Array("Connection: \(closes ? "close" : "keep-alive")\r\n\r\n".utf8) + body
            if closes { return try await connection.send(replies) }
        }
        // Whoever has no end of a request in so many bytes speaks something else.
        guard text.count < 16_384 else { throw NetworkError.reset }
        try await connection.send(replies)
        replies.removeAll(keepingCapacity: true)
    }
}
