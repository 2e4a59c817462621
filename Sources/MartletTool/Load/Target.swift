// Where the load goes, as it is written on the command line.

import ArgumentParser
import Martlet

enum Target: Hashable, Sendable {
    /// A name or an address without brackets.
    case host(String, port: UInt16)
    case unix(path: String)

    enum Mistake: Error, Hashable, CustomStringConvertible {
        case scheme(String)
        case noPort(String)
        case port(String)
        case noHost(String)
        case noPath
        case brackets(String)
        case path(String)

        var description: String {
            let forms = "write tcp://HOST:PORT, tcp://[IPV6]:PORT or unix:PATH"
            return switch self {
            case .scheme(let text): "'\(text)' is not a scheme that can be loaded: \(forms)"
            case .noPort(let text): "'\(text)' says no port: \(forms)"
            case .port(let text): "'\(text)' is not a port from 1 to 65535: \(forms)"
            case .noHost(let text): "'\(text)' says no host: \(forms)"
            case .noPath: "'unix:' says no path: write unix:/run/service.sock, or unix:@name for an abstract name"
            case .brackets(let text): "'\(text)' is an IPv6 address without brackets: write tcp://[IPV6]:PORT"
            case .path(let text): "'\(text)' has something after the port, which TCP has no use for: \(forms)"
            }
        }
    }

    /// Reads `tcp://HOST:PORT`, the same without `tcp://`, or `unix:PATH`.
    init(_ text: String) throws(Mistake) {
        if text.hasPrefix("unix:") {
            let path = text.dropFirst(text.hasPrefix("unix://") ? 7 : 5)
            if path.isEmpty { throw .noPath }
            self = .unix(path: String(path))
            return
        }
        var rest = text[...]
        if let scheme = text.firstRange(of: "://") {
            guard text[..<scheme.lowerBound] == "tcp" else { throw .scheme(String(text[..<scheme.upperBound])) }
            rest = text[scheme.upperBound...]
        }
        if rest.hasSuffix("/") { rest.removeLast() }
        guard !rest.contains("/") else { throw .path(text) }
        guard let colon = rest.lastIndex(of: ":"), !rest.hasSuffix("]") else { throw .noPort(text) }
        let digits = rest[colon...].dropFirst()
        var host = rest[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw .brackets(text)
        }
        guard let port = UInt16(digits), port > 0 else { throw .port(String(digits)) }
        if host.isEmpty { throw .noHost(text) }
        self = .host(String(host), port: port)
    }
}

extension Target: ExpressibleByArgument {
    init?(argument: String) { try? self.init(argument) }
}

extension Target: CustomStringConvertible {
    /// The form that ``init(_:)`` reads.
    var description: String {
        switch self {
        case .host(let host, let port): host.contains(":") ? "tcp://[\(host)]:\(port)" : "tcp://\(host):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

extension Target {
    /// Connects once, so that a name is looked up once and a server that is not there is told of at once.
    ///
    /// - Throws: ``LoadError/noServer(_:)``, or what connecting throws.
    func resolve(on runtime: Runtime) async throws -> SocketAddress {
        do {
            return try await connect(on: runtime)
        } catch NetworkError.connectionRefused(let address) {
            throw LoadError.noServer(address)
        }
    }

    private func connect(on runtime: Runtime) async throws -> SocketAddress {
        switch self {
        case .unix(let path):
            let address = SocketAddress.unix(path: path)
            try await runtime.withConnection(to: address, within: .seconds(5)) { _ in }
            return address
        case .host(let host, let port):
            let peer = try await runtime.withConnection(to: host, port: port, within: .seconds(5)) { await $0.peer }
            guard let peer else { throw LoadError.finished }
            return peer
        }
    }
}
