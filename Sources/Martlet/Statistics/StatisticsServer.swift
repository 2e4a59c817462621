// How others look into a running program: HTTP/1.1 (RFC 9112) over a Unix-domain socket, as little of it as `martlet top`,
// `curl --unix-socket` and a Prometheus that scrapes through a proxy need. One request a connection.

internal import MartletStack

extension Runtime {
    /// Tells whoever asks how the runtime does, until the calling task is cancelled or the runtime shuts down.
    ///
    /// A program runs it beside its own servers, in a task group. `martlet top` and `martlet connections` ask it, and so does
    ///
    ///     curl --unix-socket /run/example.sock http://martlet/metrics
    ///
    /// | path | |
    /// |---|---|
    /// | `/statistics` | JSON: cores, their stacks and links |
    /// | `/connections` | JSON: every TCP connection |
    /// | `/metrics` | the first as Prometheus' text |
    /// | `/metrics/connections` | the second as Prometheus' text, with a series a connection |
    ///
    /// Whoever may connect to the socket may ask: put it where only they can. A socket that an earlier process has left there is
    /// not replaced.
    ///
    /// - Parameter address: where to listen, a Unix-domain address as a rule.
    /// - Throws: as ``serve(on:options:onListening:onError:handler:)``.
    public func serveStatistics(on address: SocketAddress) async throws {
        var options = ConnectionOptions()
        (options.idleTimeout, options.writeTimeout) = (.seconds(10), .seconds(10))
        options.backlog = 16
        try await serve(on: address, options: options) { [self] connection in
            var request: [UInt8] = []
            while request.count < 4096, !request.suffix(4).elementsEqual("\r\n\r\n".utf8) {
                guard let bytes = try await connection.receive() else { break }
                request += Array(bytes)
            }
            let words = request.prefix { $0 != 13 && $0 != 10 }.split(separator: 32)
            var reply = StatisticsReply.notFound
            if words.count >= 2, words[0].elementsEqual("GET".utf8) {
                reply = await answer(String(decoding: words[1], as: UTF8.self))
            }
            try await connection.send(Bytes(reply.text))
        }
    }

    private func answer(_ path: String) async -> StatisticsReply {
        switch path {
        case "/statistics":
            return .json(
                .object([("driver", .string(driver)), ("cores", .array(await statistics().map(\.json)))]))
        case "/connections":
            return .json(.object([("connections", .array(await connections().map(\.json)))]))
        case "/metrics":
            var text = PrometheusText()
            for core in await statistics() { core.add(to: &text) }
            return .prometheus(text)
        case "/metrics/connections":
            var text = PrometheusText()
            for connection in await connections() { connection.add(to: &text) }
            return .prometheus(text)
        default: return .notFound
        }
    }
}

private enum StatisticsReply {
    case json(JSON)
    case prometheus(PrometheusText)
    case notFound

    /// Head and body.
    var text: String {
        let (status, type, body) =
            switch self {
            case .json(let json): ("200 OK", "application/json", json.text + "\n")
            case .prometheus(let text): ("200 OK", "text/plain; version=0.0.4", text.text)
            case .notFound: ("404 Not Found", "text/plain", "ask for /statistics, /connections or /metrics\n")
            }
        return "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n"
            + "Connection: close\r\n\r\n\(body)"
    }
}
