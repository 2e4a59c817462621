// A load balancer for TCP: each client's connections go to one of several servers, always the same one while that is well.
//
//     swift run -c release LoadBalancer --port 9000 --to 127.0.0.1:8081 --to 127.0.0.1:8082
//
// Which server that is, is decided by the hash of client and server that is highest ("rendezvous hashing"): when a server is lost
// its clients spread over the others, and nobody else's move. Servers are asked for a connection every second; one that fails
// twice gets no new clients until it answers twice. A client whose server cannot be reached goes to the next one; when a server
// breaks in the middle of a connection, its client's is reset, which says so honestly.
//
// With --file the servers are lines of a file that is read again every second. A server that is taken out of it is drained: it keeps
// the connections that it has. At SIGTERM the balancer itself drains, for as long as --drain says.

import ArgumentParser
import Foundation
import Martlet
import Synchronization

@main
struct LoadBalancer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Spreads TCP connections over several servers.")

    @Option(help: "The port to listen on; 0 lets the kernel choose.") var port: UInt16 = 9000
    @Option(help: ArgumentHelp("A server, an address and a port; may be repeated.", valueName: "address:port"))
    var to: [Backend.Place] = []
    @Option(help: "A file with a server a line. It is read again every second.") var file: String?
    @Option(help: "Seconds between two questions to a server whether it is well.") var interval = 1.0
    @Option(help: "Seconds that connections may go on after SIGTERM.") var drain = 30.0
    @Option(help: "The number of cores to use. (default: all)") var cores: Int?
    @Option(help: "A link to run Martlet's own TCP/IP on, such as tap:tap0. (default: the kernel's TCP/IP)")
    var link: String?
    @Option(help: "An address on that link, such as 10.0.0.2/24; may be repeated. (default: DHCP and SLAAC)")
    var address: [String] = []
    @Option(help: "A router on that link; may be repeated.") var gateway: [String] = []

    func validate() throws {
        if to.isEmpty, file == nil { throw ValidationError("say by --to or --file where connections go") }
        if interval <= 0 || drain < 0 { throw ValidationError("times are longer than nothing") }
    }

    func run() async throws {
        var configuration = Runtime.Configuration(
            transport: try .init(link: link, addresses: address, gateways: gateway),
            cores: cores.map { .count($0) } ?? .all, shutdownSignals: [.terminate, .interrupt])
        configuration.shutdownTimeout = .seconds(drain)
        let pool = BackendPool(to)
        if let file { pool.use(try BackendPool.read(file)) }
        try await Runtime.run(configuration) { [file, interval, port] runtime in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await pool.watch(file: file, every: .seconds(interval), on: runtime) }
                group.addTask {
                    try await runtime.serve(on: .any(port: port), onListening: announce, onError: complain) {
                        try await pool.balance($0)
                    }
                }
                // The server ends by a signal; nobody has to be watched any more then.
                defer { group.cancelAll() }
                do { try await group.next() } catch NetworkError.cancelled {}
            }
        }
    }
}

/// Prints the address at once, even into a pipe.
@Sendable private func announce(_ address: SocketAddress) {
    print("listening on \(address)")
    fflush(nil)
}

@Sendable private func complain(_ error: any Error) {
    FileHandle.standardError.write(Data("a connection ended: \(error)\n".utf8))
}

/// One server.
final class Backend: Sendable {
    struct Place: ExpressibleByArgument, Hashable {
        let text: String
        let address: SocketAddress

        /// Reads `192.0.2.1:80`, `[2001:db8::1]:80` and `unix:/run/server`.
        init?(argument: String) {
            guard let address = try? SocketAddress(argument) else { return nil }
            (text, self.address) = (argument, address)
        }
    }

    private struct Health {
        var isWell = true
        /// Answers in a row that say otherwise.
        var contrary = 0
    }

    let place: Place
    private let health = Mutex(Health())

    init(_ place: Place) { self.place = place }

    var isWell: Bool { health.withLock { $0.isWell } }

    /// Hears that the server has answered, or has not. Two in a row that say otherwise than before change what is thought of it.
    func heard(isWell: Bool) {
        let change = health.withLock { health -> Bool in
            health.contrary = isWell == health.isWell ? 0 : health.contrary + 1
            guard health.contrary == 2 else { return false }
            health = Health(isWell: isWell)
            return true
        }
        guard change else { return }
        print(place.text, isWell ? "is well again" : "does not answer: it gets no new connections")
        fflush(nil)
    }

    /// How much a client belongs to this server: FNV-1a over both, well mixed.
    func weight(of client: String) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in (client + " " + place.text).utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        hash = (hash ^ hash >> 33) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ hash >> 33) &* 0xC4CE_B9FE_1A85_EC53
        return hash ^ hash >> 33
    }
}

/// The servers.
final class BackendPool: Sendable {
    private let backends: Mutex<[Backend]>

    init(_ places: [Backend.Place]) { backends = Mutex(places.map { Backend($0) }) }

    static func read(_ path: String) throws -> [Backend.Place] {
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
            .map { $0.trimmingCharacters(in: .whitespaces) }
        return try lines.filter { !$0.isEmpty && !$0.hasPrefix("#") }.map { line in
            guard let place = Backend.Place(argument: line) else {
                throw ValidationError("\(path): \(line) is no server")
            }
            return place
        }
    }

    /// Takes these servers instead. Those that were there stay what they are, in health as well.
    func use(_ places: [Backend.Place]) {
        backends.withLock { backends in
            let old = backends
            backends = places.map { place in old.first { $0.place == place } ?? Backend(place) }
        }
    }

    /// The servers in the order in which a client is to try them: those that are well before those that are not.
    func order(for client: String) -> [Backend] {
        let ranked = backends.withLock { $0 }.map { (backend: $0, weight: $0.weight(of: client), isWell: $0.isWell) }
        return ranked.sorted { $0.isWell != $1.isWell ? $0.isWell : $0.weight > $1.weight }.map(\.backend)
    }

    /// Asks all servers, again and again, and reads the file in between.
    func watch(file: String?, every interval: Duration, on runtime: Runtime) async throws {
        let core = runtime.cores[0]
        while true {
            try await core.sleep(for: interval)
            if let file {
                do { use(try Self.read(file)) } catch { complain(error) }
            }
            await withTaskGroup(of: Void.self) { group in
                for backend in backends.withLock({ $0 }) {
                    group.addTask {
                        do {
                            try await core.withConnection(to: backend.place.address, within: interval) { _ in }
                            backend.heard(isWell: true)
                        } catch {
                            if !Task.isCancelled { backend.heard(isWell: false) }
                        }
                    }
                }
            }
        }
    }

    /// Carries one client's connection to its server.
    func balance(_ client: TCPConnection) async throws {
        guard let peer = await client.peer else { return }
        let name = peer.host
        for backend in order(for: name) {
            // Only what fails before a byte has gone to the server can be tried with another.
            let isConnected = Mutex(false)
            do {
                return try await client.core.withConnection(to: backend.place.address, within: .seconds(3)) { server in
                    isConnected.withLock { $0 = true }
                    try await withThrowingDiscardingTaskGroup { group in
                        group.addTask { try await carry(from: client, to: server) }
                        group.addTask { try await carry(from: server, to: client) }
                    }
                }
            } catch let error as NetworkError {
                if isConnected.withLock({ $0 }) || error == .cancelled { throw error }
                backend.heard(isWell: false)
            }
        }
        throw NetworkError.shuttingDown
    }
}

/// One direction, to its end. `send` suspends while the receiving side is slow, and then nothing more is read.
private func carry(from source: TCPConnection, to sink: TCPConnection) async throws {
    for try await bytes in source { try await sink.send(bytes) }
    try await sink.finish()
}

extension SocketAddress {
    /// The address without the port: what a client keeps from one connection to the next.
    fileprivate var host: String {
        switch self {
        case .ipv4(let address, _): "\(address)"
        case .ipv6(let address, _, _): "\(address)"
        case .unix(let path): path
        }
    }
}
