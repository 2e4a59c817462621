// A chat room: a line from one goes to all others, whichever core their connections live on.
//
//     swift run -c release ChatServer --port 7008
//     socat - TCP:127.0.0.1:7008                   # in two or more other terminals: type lines
//
// Nobody holds up the room. Lines for a member wait in an outbox of their own; a member that takes none for two
// seconds, or falls a thousand lines behind, is dropped.

import ArgumentParser
import Foundation
import Martlet

@main
struct ChatServer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Passes each line on to everybody else.")

    @Option(help: "The port to listen on; 0 lets the kernel choose.") var port: UInt16 = 7008
    @Option(help: "The number of cores to use. (default: all)") var cores: Int?
    @Option(help: "A link to run Martlet's own TCP/IP on, such as tap:tap0. (default: the kernel's TCP/IP)")
    var link: String?
    @Option(help: "An address on that link, such as 10.0.0.2/24; may be repeated. (default: DHCP and SLAAC)")
    var address: [String] = []
    @Option(help: "A router on that link; may be repeated.") var gateway: [String] = []

    func run() async throws {
        let room = Room()
        let configuration = Runtime.Configuration(
            transport: try .init(link: link, addresses: address, gateways: gateway),
            cores: cores.map { .count($0) } ?? .all, shutdownSignals: [.terminate, .interrupt])
        try await Runtime.run(configuration) { runtime in
            try await runtime.serve(on: .any(port: port), onListening: announce) { connection in
                let (member, lines) = await room.enter()
                do {
                    // The first of the two to throw cancels the other, and the connection is reset.
                    try await withThrowingDiscardingTaskGroup { group in
                        group.addTask {
                            for await line in lines { try await connection.send(line, within: .seconds(2)) }
                        }
                        group.addTask {
                            try await listen(to: connection) { await room.say($0, from: member) }
                            await room.leave(member)  // ends the other task when it has sent what is left
                        }
                    }
                } catch {
                    await room.leave(member)
                    throw error
                }
            }
        }
    }
}

/// Cuts what comes in into lines of at most 4 KiB.
private func listen(to connection: TCPConnection, _ heard: (Bytes) async -> Void) async throws {
    var line: [UInt8] = []
    for try await bytes in connection {
        for byte in bytes {
            line.append(byte)
            if byte == UInt8(ascii: "\n") || line.count == 4096 {
                await heard(Bytes(line))
                line.removeAll(keepingCapacity: true)
            }
        }
    }
}

/// Who is there. Handlers on every core talk to it, so it is an actor of its own.
actor Room {
    private var outboxes: [Int: AsyncStream<Bytes>.Continuation] = [:]
    private var entered = 0

    func enter() -> (member: Int, lines: AsyncStream<Bytes>) {
        let (lines, outbox) = AsyncStream.makeStream(of: Bytes.self, bufferingPolicy: .bufferingOldest(1000))
        entered += 1
        outboxes[entered] = outbox
        return (entered, lines)
    }

    func leave(_ member: Int) { outboxes.removeValue(forKey: member)?.finish() }

    /// Does not wait for anybody: `Bytes` share their storage, so a line for thousands is there once.
    func say(_ line: Bytes, from speaker: Int) {
        for (member, outbox) in outboxes where member != speaker {
            if case .dropped = outbox.yield(line) { leave(member) }
        }
    }
}

/// Prints the address at once, even into a pipe.
@Sendable private func announce(_ address: SocketAddress) {
    print("listening on \(address)")
    fflush(nil)
}
