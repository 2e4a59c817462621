// A TCP proxy: carries bytes between its clients and one server, both ways at once.
//
//     swift run -c release HTTPServer --port 8080
//     swift run -c release TCPProxy --port 9090 --to localhost:8080       # in another terminal
//     curl http://127.0.0.1:9090/                                         # in a third
//
// A side that finishes (FIN) finishes towards the other side too, whose answer still comes through. A side that breaks
// resets the other. Both connections of a pair live on one core, so no byte changes threads.

import ArgumentParser
import Foundation
import Martlet

@main
struct TCPProxy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Carries TCP connections to another server.")

    @Option(help: "The port to listen on; 0 lets the kernel choose.") var port: UInt16 = 9090
    @Option(help: ArgumentHelp("Where connections go.", valueName: "host:port")) var to: Destination
    @Option(help: "The number of cores to use. (default: all)") var cores: Int?
    @Option(help: "A link to run Martlet's own TCP/IP on, such as tap:tap0. (default: the kernel's TCP/IP)")
    var link: String?
    @Option(help: "An address on that link, such as 10.0.0.2/24; may be repeated. (default: DHCP and SLAAC)")
    var address: [String] = []
    @Option(help: "A router on that link; may be repeated.") var gateway: [String] = []

    func run() async throws {
        let configuration = Runtime.Configuration(
            transport: try .init(link: link, addresses: address, gateways: gateway),
            cores: cores.map { .count($0) } ?? .all, shutdownSignals: [.terminate, .interrupt])
        try await Runtime.run(configuration) { runtime in
            try await runtime.serve(on: .any(port: port), onListening: announce, onError: complain) { client in
                try await client.core.withConnection(to: to.host, port: to.port, within: .seconds(10)) { server in
                    // The first of the two to throw cancels the other, and both connections are reset.
                    try await withThrowingDiscardingTaskGroup { group in
                        group.addTask { try await carry(from: client, to: server) }
                        group.addTask { try await carry(from: server, to: client) }
                    }
                }
            }
        }
    }
}

/// One direction, to its end. `send` suspends while the receiving side is slow, and then nothing more is read.
private func carry(from source: TCPConnection, to sink: TCPConnection) async throws {
    for try await bytes in source { try await sink.send(bytes) }
    try await sink.finish()
}

struct Destination: ExpressibleByArgument {
    let host: String
    let port: UInt16

    /// Reads `localhost:80`, `192.0.2.1:80` or `[2001:db8::1]:80`.
    init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"), let port = UInt16(argument[colon...].dropFirst()) else {
            return nil
        }
        host = argument[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        self.port = port
        if host.isEmpty { return nil }
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
