// A server and clients on a core of a runtime, and the window in which what the clients do is counted.

import Glibc
import Martlet
import Synchronization

/// What a run has counted between the opening and the closing of its window.
struct Measured: Sendable {
    var seconds = 0.0
    var count = 0
    var errors = 0
    /// Nanoseconds, where each message was timed.
    var times: [Int64] = []
    var perSecond: Double { Double(count) / seconds }

    /// What two cores have done in windows that opened together.
    static func + (first: Measured, second: Measured) -> Measured {
        var sum = first
        sum.count += second.count
        sum.errors += second.errors
        sum.times += second.times
        sum.seconds = max(first.seconds, second.seconds)
        return sum
    }
}

/// What the clients of a core and the clock share. All of them run on that core, so nothing here is ever contended.
final class Pair: Sendable {
    let core: Core
    let ports: [UInt16]
    private let number = Atomic<Int>(0)
    private let failures = Atomic<Int>(0)
    private let idle = Atomic<Int>(0)
    private let handled = Atomic<Int>(0)
    private let hasEnded = Atomic<Bool>(false)
    private let times = Mutex<[Int64]>([])
    private let clients = Mutex<[@Sendable (Client) async throws -> Void]>([])

    init(core: Core, ports: [UInt16]) {
        self.core = core
        self.ports = ports
    }

    var isOver: Bool { hasEnded.load(ordering: .relaxed) }

    /// One more of what is counted. There is one writer, so no atomic addition is needed.
    func done(_ count: Int = 1) { number.store(number.load(ordering: .relaxed) &+ count, ordering: .relaxed) }

    /// An idle connection is open.
    func opened() { idle.add(1, ordering: .relaxed) }
    var openedCount: Int { idle.load(ordering: .relaxed) }

    /// A handler has begun.
    func began() { handled.add(1, ordering: .relaxed) }
    var begunCount: Int { handled.load(ordering: .relaxed) }

    /// Counts an error, and says what the first one was.
    func failed(_ error: any Error) {
        if failures.add(1, ordering: .relaxed).oldValue == 0 { perror("\(error)") }
    }

    func end() { hasEnded.store(true, ordering: .relaxed) }

    func keep(_ measured: [Int64]) { times.withLock { $0 += measured } }

    var count: Int { number.load(ordering: .relaxed) }
    var errors: Int { failures.load(ordering: .relaxed) }
    var allTimes: [Int64] { times.withLock { $0 } }

    func addClient(_ body: @escaping @Sendable (Client) async throws -> Void) { clients.withLock { $0.append(body) } }

    /// Counts for so many seconds, after a quarter of them to warm up.
    func window(_ seconds: Double) async throws -> Measured {
        try await core.sleep(for: .seconds(seconds / 4))
        let (count, start) = (self.count, nanoseconds())
        try await core.sleep(for: .seconds(seconds))
        var measured = Measured()
        (measured.count, measured.seconds) = (self.count - count, Double(nanoseconds() - start) / 1e9)
        return measured
    }

    /// Runs the clients for as long as `body` takes.
    func withClients<R: Sendable>(_ body: @Sendable () async throws -> R) async throws -> R {
        let clients = clients.withLock { $0 }
        hasEnded.store(false, ordering: .relaxed)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            for client in clients {
                group.addTask { [self] in
                    do { try await client(Client(pair: self)) } catch { if !isOver { failed(error) } }
                }
            }
            let result = try await body()
            end()
            try await group.waitForAll()
            return result
        }
    }
}

/// The clock of the machine, in nanoseconds.
func nanoseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}

/// Sends back whatever it receives.
@Sendable func echo(_ connection: TCPConnection) async throws {
    for try await bytes in connection { try await connection.send(bytes) }
}

extension CommonOptions {
    /// Serves with `handler`, adds the clients that `prepare` says, and counts.
    func measure(
        _ configuration: Runtime.Configuration, handler: (@Sendable (Pair, TCPConnection) async throws -> Void)? = nil,
        _ prepare: @escaping @Sendable (Pair) -> Void
    ) async throws -> Measured {
        let all = try await serve(configuration, ports: 1, handler: handler) { [seconds] pair in
            prepare(pair)
            var measured = try await pair.withClients { try await pair.window(seconds) }
            measured.errors = pair.errors
            measured.times = pair.allTimes
            return measured
        }
        return all.dropFirst().reduce(all[0]) { $0 + $1 }
    }

    /// Runs `body` on each core of a runtime that serves on some ports. The results are in the order of the cores.
    func serve<R: Sendable>(
        _ configuration: Runtime.Configuration, ports count: Int,
        handler: (@Sendable (Pair, TCPConnection) async throws -> Void)? = nil,
        _ body: @escaping @Sendable (Pair) async throws -> R
    ) async throws -> [R] {
        try await Runtime.run(configuration) { runtime in
            let listening = AsyncStream<UInt16>.makeStream()
            let shared = Shared<[Pair]>()
            return try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<count {
                    group.addTask {
                        try await runtime.serve(
                            on: .loopback(port: 0), onListening: { listening.continuation.yield($0.port ?? 0) }
                        ) { connection in
                            guard let handler, let pairs = shared.value else {
                                return try await echo(connection)
                            }
                            try await handler(pairs[connection.core.index], connection)
                        }
                    }
                }
                var ports: [UInt16] = []
                for await port in listening.stream {
                    ports.append(port)
                    if ports.count == count { break }
                }
                let pairs = runtime.cores.map { [ports] core in Pair(core: core, ports: ports) }
                shared.value = pairs
                let results = pairs.map { _ in Shared<R>() }
                try await runtime.forEachCore { core in
                    results[core.index].value = try await body(pairs[core.index])
                }
                group.cancelAll()
                return results.map { $0.value! }
            }
        }
    }
}

/// Takes what comes and counts it, without a copy.
@Sendable func sink(_ pair: Pair, _ connection: TCPConnection) async throws {
    while try await connection.receive({ bytes in
        pair.done(bytes.byteCount)
        return bytes.byteCount
    }) {}
}

/// A value that one task leaves for another.
private final class Shared<Value: Sendable>: Sendable {
    private let stored = Mutex<Value?>(nil)

    var value: Value? {
        get { stored.withLock { $0 } }
        set { stored.withLock { $0 = newValue } }
    }
}
