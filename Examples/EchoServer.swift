// An echo server: what a client sends, it gets back.
//
//     swift run -c release EchoServer --port 7007
//     printf 'hello\n' | socat - TCP:127.0.0.1:7007        # in another terminal
//
// Ctrl-C ends it gracefully.

import ArgumentParser
import Foundation
import Martlet

@main
struct EchoServer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Sends back whatever it receives.")

    @Option(help: "The port to listen on; 0 lets the kernel choose.") var port: UInt16 = 7007
    @Option(help: "The number of cores to use. (default: all)") var cores: Int?
    @Option(help: "io_uring, epoll or automatic.") var driver: DriverChoice = .automatic

    func run() async throws {
        let configuration = Runtime.Configuration(
            cores: cores.map { .count($0) } ?? .all, driver: driver, shutdownSignals: [.terminate, .interrupt])
        try await Runtime.run(configuration) { runtime in
            try await runtime.serve(on: .any(port: port), onListening: announce) { connection in
                for try await bytes in connection {
                    try await connection.send(bytes)
                }
            }
        }
    }
}

/// Prints the address at once, even into a pipe.
@Sendable func announce(_ address: SocketAddress) {
    print("listening on \(address)")
    fflush(nil)
}

extension DriverChoice: ExpressibleByArgument {}
