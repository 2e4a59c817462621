// An echo server: what a client sends, it gets back.
//
//     swift run -c release EchoServer --port 7007
//     printf 'hello\n' | socat - TCP:127.0.0.1:7007        # in another terminal
//
// Ctrl-C ends it gracefully. The same over Martlet's own TCP/IP, on a TAP whose other end is the kernel's (as root):
//
//     EchoServer --port 7007 --link tap:tap0 --address 10.0.0.2/24 &
//     ip address add 10.0.0.1/24 dev tap0; ip link set tap0 up; printf 'hello\n' | socat - TCP:10.0.0.2:7007

import ArgumentParser
import Foundation
import Martlet

@main
struct EchoServer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Sends back whatever it receives.")

    @Option(help: "The port to listen on; 0 lets the kernel choose.") var port: UInt16 = 7007
    @Option(help: "The number of cores to use. (default: all)") var cores: Int?
    @Option(help: "io_uring, epoll or automatic.") var driver: DriverChoice = .automatic
    @Option(help: "A link to run Martlet's own TCP/IP on, such as tap:tap0. (default: the kernel's TCP/IP)")
    var link: String?
    @Option(help: "An address on that link, such as 10.0.0.2/24; may be repeated. (default: DHCP and SLAAC)")
    var address: [String] = []
    @Option(help: "A router on that link; may be repeated.") var gateway: [String] = []

    func run() async throws {
        let configuration = Runtime.Configuration(
            transport: try .init(link: link, addresses: address, gateways: gateway),
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
