// martlet-echo: the echo server on Martlet. `--mode serve` leaves accepting to the runtime; `--mode loop` accepts by
// hand on every core, to show what the convenience costs.

import ArgumentParser
import Glibc
import Martlet
import PeerSupport

enum Mode: String, ExpressibleByArgument {
    case serve
    case loop
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

    @Option(help: "serve or loop.")
    var mode = Mode.serve

    @Option(help: "io_uring, epoll, or automatic: what MARTLET_DRIVER says, else the better one there is.")
    var driver = DriverChoice.automatic

    func run() async throws {
        if cpu >= 0, cores == 1 { peer_pin(Int32(cpu)) }
        let selection = cpu < 0 ? CoreSelection.count(cores) : .these(Array(cpu..<cpu + cores))
        let configuration = Runtime.Configuration(cores: selection, driver: driver)
        try await Runtime.run(configuration) { [mode, port] runtime in
            switch mode {
            case .serve: try await serve(runtime, port: port)
            case .loop: try await accept(runtime, port: port)
            }
        }
    }
}

private func serve(_ runtime: Runtime, port: UInt16) async throws {
    let isReady: @Sendable (SocketAddress) -> Void = { _ in peer_print_ready(Int32(port)) }
    try await runtime.serve(on: .loopback(port: port), onListening: isReady) { connection in
        for try await bytes in connection {
            try await connection.send(bytes)
        }
    }
}

private func accept(_ runtime: Runtime, port: UInt16) async throws {
    try await runtime.forEachCore { core in
        let listener = try await core.listen(on: .loopback(port: port))
        // One listening core is enough to take every connection until the others listen as well.
        if core.index == 0 { peer_print_ready(Int32(port)) }
        try await withThrowingDiscardingTaskGroup { group in
            for try await connection in listener {
                group.addTask { await echo(connection) }
            }
        }
    }
}

/// A connection's failure ends its task, not the server.
private func echo(_ connection: TCPConnection) async {
    do {
        for try await bytes in connection {
            try await connection.send(bytes)
        }
    } catch {
        await connection.abort()
    }
}
