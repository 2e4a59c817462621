// martlet-echo: the echo server on Martlet, over the kernel's TCP or Martlet's own stack. `--mode serve` leaves accepting to the
// runtime; `--mode loop` accepts by hand on every core, to show what the convenience costs. `discard` takes bulk, `source` gives it.

import ArgumentParser
import Glibc
import Martlet
import PeerSupport

enum Mode: String, ExpressibleByArgument {
    case serve
    case loop
    case discard
    case source
}

extension DriverChoice: @retroactive ExpressibleByArgument {}

@main
struct MartletEcho: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "martlet-echo")

    @Option(help: "Port to listen on.")
    var port: UInt16

    @Option(help: "Processor of the first core, the others on those after it. If negative, the runtime chooses.")
    var cpu = -1

    @Option(help: "Cores.")
    var cores = 1

    @Option(help: "serve, loop, discard or source.")
    var mode = Mode.serve

    @Option(help: "io_uring, epoll, or automatic: what MARTLET_DRIVER says, else the better one there is.")
    var driver = DriverChoice.automatic

    @Option(help: "A link to run Martlet's own stack on, such as xdp:eth0. (default: the kernel's TCP)")
    var link: String?

    @Option(help: "An address on that link, such as 10.0.0.2/24.")
    var address: [String] = []

    @Option(help: "Bytes of a frame of that link. Segments of 64 KiB, as a TAP has them, take 131072.")
    var frameCapacity = 2048

    func run() async throws {
        if cpu >= 0, cores == 1 { peer_pin(Int32(cpu)) }
        let selection = cpu < 0 ? CoreSelection.count(cores) : .these(Array(cpu..<cpu + cores))
        var configuration = Runtime.Configuration(
            transport: try TransportChoice(link: link, addresses: address, gateways: []), cores: selection,
            driver: driver)
        configuration.limits.framesPerCore = min(4096, max(512, (64 << 20) / frameCapacity))
        configuration.limits.frameCapacity = frameCapacity
        try await Runtime.run(configuration) { [mode, port, isOwn = link != nil] runtime in
            let address = isOwn ? SocketAddress.any(port: port) : .loopback(port: port)
            switch mode {
            case .serve: try await serve(runtime, on: address, handler: echo)
            case .loop: try await accept(runtime, on: address)
            case .discard: try await serve(runtime, on: address, handler: discard)
            case .source: try await serve(runtime, on: address, handler: source)
            }
        }
    }
}

private func serve(
    _ runtime: Runtime, on address: SocketAddress, handler: @escaping @Sendable (TCPConnection) async throws -> Void
) async throws {
    let isReady: @Sendable (SocketAddress) -> Void = { peer_print_ready(Int32($0.port ?? 0)) }
    try await runtime.serve(on: address, onListening: isReady, handler: handler)
}

@Sendable private func echo(_ connection: TCPConnection) async throws {
    for try await bytes in connection {
        try await connection.send(bytes)
    }
}

/// Looks at what comes where it lies, and wants no more of it.
@Sendable private func discard(_ connection: TCPConnection) async throws {
    while try await connection.receive({ $0.byteCount }) {}
}

@Sendable private func source(_ connection: TCPConnection) async throws {
    let bytes = Bytes([UInt8](repeating: 0x55, count: 65_536))
    while true { try await connection.send(bytes) }
}

private func accept(_ runtime: Runtime, on address: SocketAddress) async throws {
    try await runtime.forEachCore { core in
        let listener = try await core.listen(on: address)
        // One listening core is enough to take every connection until the others listen as well.
        if core.index == 0 { peer_print_ready(Int32(address.port ?? 0)) }
        try await withThrowingDiscardingTaskGroup { group in
            for try await connection in listener {
                group.addTask {
                    // A connection's failure ends its task, not the server.
                    do { try await echo(connection) } catch { await connection.abort() }
                }
            }
        }
    }
}
