// Many connections whose handlers wait beside few that are busy: what they cost in memory, and what they cost the others.

import Glibc
import Martlet
import PeerSupport

struct IdleResult: Sendable {
    var alone = 0.0
    var beside = 0.0
    var bytesPerEnd = 0.0
    /// Processor time over time while nobody says anything.
    var idleCPU = 0.0
    var errors = 0
}

extension CommonOptions {
    /// A client address has some 16,000 ports towards one of the server's, so the server listens on several.
    private static var connectionsPerPort: Int { 10_000 }

    func idle(connections: Int, active: Int) async throws -> IdleResult {
        peer_raise_file_limit()
        let configuration = configuration(connections: 2 * (connections + active))
        let ports = 1 + (connections + Self.connectionsPerPort - 1) / Self.connectionsPerPort
        return try await serve(configuration, ports: ports, handler: countedEcho) { [seconds] pair in
            for _ in 0..<active { pair.addClient { client in try await client.exchange(size: 64) } }
            let alone = try await pair.withClients { try await pair.window(seconds).perSecond }
            let before = residentBytes()
            var result = try await Self.withIdle(connections, pair) {
                var result = IdleResult()
                result.bytesPerEnd = Double(residentBytes() - before) / Double(2 * connections)
                result.beside = try await pair.withClients { try await pair.window(seconds).perSecond }
                // What the busy ones left: last ACKs, and timers that find nothing to do.
                try await pair.core.sleep(for: .seconds(1))
                let (cpu, start) = (processorNanoseconds(), nanoseconds())
                try await pair.core.sleep(for: .seconds(2))
                result.idleCPU = Double(processorNanoseconds() - cpu) / Double(nanoseconds() - start)
                return result
            }
            (result.alone, result.errors) = (alone, pair.errors)
            return result
        }[0]
    }

    /// Runs `body` while so many connections are open. At each end a task waits for bytes that do not come.
    private static func withIdle(
        _ count: Int, _ pair: Pair, _ body: @Sendable () async throws -> IdleResult
    ) async throws -> IdleResult {
        let handlersBefore = pair.begunCount
        return try await withThrowingTaskGroup(of: Void.self) { group in
            for place in 0..<count {
                let address = SocketAddress.loopback(port: pair.ports[1 + place / connectionsPerPort])
                group.addTask {
                    try await pair.core.withConnection(to: address) { connection in
                        pair.opened()
                        _ = try await connection.receive()
                    }
                }
                // No more at once than a listener's queue holds.
                while place - pair.openedCount >= 512 { try await pair.core.sleep(for: .microseconds(50)) }
            }
            // Both ends: a client hears that it is connected before there is a handler for it.
            while pair.openedCount < count || pair.begunCount - handlersBefore < count {
                try await pair.core.sleep(for: .milliseconds(1))
            }
            let result = try await body()
            group.cancelAll()
            while await group.nextResult() != nil {}
            return result
        }
    }
}

/// An echo that says when it begins.
@Sendable private func countedEcho(_ pair: Pair, _ connection: TCPConnection) async throws {
    pair.began()
    try await echo(connection)
}

/// Resident memory of the process, proc(5).
private func residentBytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var buffer = [CChar](repeating: 0, count: 128)
    guard fgets(&buffer, 128, file) != nil else { return 0 }
    let fields = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).split(
        separator: " ")
    return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
}

private func processorNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
