// An echo client: connects by name, sends a few lines, finishes, and prints what comes back.
//
//     swift run -c release EchoServer --port 7007
//     swift run -c release EchoClient --host localhost --port 7007 --message hello --count 3   # in another terminal
//
// A name may stand for several addresses: they are tried IPv6 first, each a quarter of a second after the one before.

import ArgumentParser
import Foundation
import Martlet

@main
struct EchoClient: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Sends lines and prints what comes back.")

    @Option(help: "The server's name or address.") var host = "localhost"
    @Option(help: "The server's port.") var port: UInt16 = 7007
    @Option(help: "The line to send.") var message = "hello"
    @Option(help: "How many times to send it.") var count = 1
    @Option(help: "A link to run Martlet's own TCP/IP on, such as tap:tap0. (default: the kernel's TCP/IP)")
    var link: String?
    @Option(help: "An address on that link, such as 10.0.0.2/24; may be repeated. (default: DHCP and SLAAC)")
    var address: [String] = []
    @Option(help: "A router on that link; may be repeated.") var gateway: [String] = []

    func run() async throws {
        let configuration = Runtime.Configuration(
            transport: try .init(link: link, addresses: address, gateways: gateway),
            cores: .count(1))
        try await Runtime.run(configuration) { runtime in
            try await runtime.withConnection(to: host, port: port, within: .seconds(5)) { connection in
                // A child task sends while this one receives: the server answers before it has heard all, and both
                // directions would otherwise fill until nobody can go on.
                try await withThrowingDiscardingTaskGroup { group in
                    group.addTask {
                        for _ in 0..<count { try await connection.send(message + "\n") }
                        try await connection.finish()  // FIN: the server hears that this was all; receiving goes on
                    }
                    for try await bytes in connection { FileHandle.standardOutput.write(Data(bytes)) }
                }
            }
        }
    }

    func validate() throws {
        if count < 0 { throw ValidationError("--count cannot be negative") }
    }
}
