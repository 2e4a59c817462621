// How a running program is asked: HTTP over the socket that `Runtime.serveStatistics(on:)` has made.

import Foundation
import Martlet

struct StatisticsSource: Sendable {
    let runtime: Runtime
    let path: String

    enum Mistake: Error, CustomStringConvertible {
        case nobody(String, NetworkError)
        case status(String)

        var description: String {
            switch self {
            case .nobody(let path, let error):
                "nobody answers on \(path) (\(error)): the program has to run serveStatistics(on: .unix(path: \"\(path)\")), "
                    + "as 'martlet serve --statistics \(path)' does"
            case .status(let line): "the other side of the socket said: \(line)"
            }
        }
    }

    /// Runs `body` with a source.
    static func with<R: Sendable>(
        _ path: String, _ body: @escaping @Sendable (StatisticsSource) async throws -> R
    ) async throws -> R {
        let configuration = Runtime.Configuration(
            cores: .count(1), driver: .epoll, shutdownSignals: [.interrupt, .terminate], logger: nil)
        return try await Runtime.run(configuration) { try await body(StatisticsSource(runtime: $0, path: path)) }
    }

    /// What the program says.
    func text(of target: String) async throws -> String {
        let reply: [UInt8]
        do {
            reply = try await runtime.withConnection(to: .unix(path: path), within: .seconds(5)) { connection in
                try await connection.send(Bytes("GET \(target) HTTP/1.1\r\nHost: martlet\r\n\r\n"))
                var all: [UInt8] = []
                while let bytes = try await connection.receive(within: .seconds(10)) { all += Array(bytes) }
                return all
            }
        } catch let error as NetworkError where error != .cancelled {
            throw Mistake.nobody(path, error)
        }
        let end = reply.firstRange(of: Array("\r\n\r\n".utf8)) ?? reply.endIndex..<reply.endIndex
        let status = String(decoding: reply.prefix { $0 != 13 }, as: UTF8.self)
        guard status.hasPrefix("HTTP/1.1 200") else { throw Mistake.status(status) }
        return String(decoding: reply[end.upperBound...], as: UTF8.self)
    }

    func page<Page: Decodable>(_ target: String, as type: Page.Type) async throws -> Page {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: Data(try await text(of: target).utf8))
    }
}

/// `/statistics`. Names of counters are as the program gives them.
struct StatisticsPage: Codable, Sendable {
    struct Core: Codable, Sendable {
        var core: Int
        var cpu: Int?
        var counters: [String: UInt64]
        var stack: [String: [String: UInt64]]?
        var drops: [String: UInt64]?
        var states: [String: Int]?
        var links: [Link]
    }

    struct Link: Codable, Sendable {
        var name: String
        var state: String
        var received: Direction
        var transmitted: Direction
    }

    struct Direction: Codable, Sendable {
        var frames: UInt64
        var bytes: UInt64
        var drops: [String: UInt64]
    }

    var driver: String
    var cores: [Core]
}

/// `/connections`.
struct ConnectionsPage: Codable, Sendable {
    /// Times are in microseconds.
    struct Connection: Codable, Sendable {
        var core: Int
        var state: String
        var local: String
        var peer: String
        var srttUs: UInt64
        var rttvarUs: UInt64
        var minRttUs: UInt64
        var rtoUs: UInt64
        var sendMss: UInt64
        var receiveMss: UInt64
        var pathMtu: UInt64
        var cwnd: UInt64
        var unacked: UInt64
        var lost: UInt64
        var notSentBytes: UInt64
        var pacingRate: UInt64
        var deliveryRate: UInt64
        var retransmits: UInt64
        var bytesAcked: UInt64
        var bytesReceived: UInt64
        var segmentsOut: UInt64
        var segmentsIn: UInt64
    }

    var connections: [Connection]
}
