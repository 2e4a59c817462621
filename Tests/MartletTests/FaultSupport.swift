// What the fault tests share: a server in a runtime of its own, peers that are plain sockets on threads of their own and can
// misbehave as no `TCPConnection` would, a deadline that turns a hang into a failure, and the look for leaks at the end.

import CMartlet
import Glibc
import MartletSimulation
import Synchronization
import Testing

@testable import Martlet

/// Every fault is played to both.
let bothDrivers: [DriverChoice] = [.ioUring, .epoll]

/// Under the thread sanitizer everything takes many times as long: deadlines are longer and repetitions fewer by this.
let slowness: Int = unsafe dlsym(nil, "__tsan_init") == nil ? 1 : 20

struct Failed: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

// MARK: Deadlines

/// A value that arrives once.
final class Promise<Value: Sendable>: Sendable {
    private enum State {
        case empty
        case waiting(CheckedContinuation<Value, Never>)
        case kept(Value)
    }
    private let state = Guarded(State.empty)

    /// Returns whether this was the first value.
    @discardableResult
    func keep(_ value: Value) -> Bool {
        let waiting: CheckedContinuation<Value, Never>? = state.withLock { state in
            switch state {
            case .empty:
                state = .kept(value)
                return nil
            case .waiting(let continuation):
                state = .kept(value)
                return continuation
            case .kept: return nil
            }
        }
        waiting?.resume(returning: value)
        return waiting != nil
    }

    var value: Value {
        get async {
            await withCheckedContinuation { continuation in
                let value: Value? = state.withLock { state in
                    if case .kept(let value) = state { return value }
                    state = .waiting(continuation)
                    return nil
                }
                if let value { continuation.resume(returning: value) }
            }
        }
    }
}

/// Runs `body`, and fails when it has not ended after so many seconds, even if it cannot be cancelled.
func within(seconds: Int, _ body: @escaping @Sendable () async throws -> Void) async throws {
    let ended = Promise<Result<Void, any Error>>()
    let doorbell = martlet_eventfd()
    let task = Task {
        do {
            try await body()
            ended.keep(.success(()))
        } catch {
            ended.keep(.failure(error))
        }
        martlet_eventfd_signal(doorbell)
    }
    startThread {
        var wait = pollfd(fd: doorbell, events: Int16(POLLIN), revents: 0)
        if unsafe poll(&wait, 1, Int32(seconds * slowness) * 1000) == 0 {
            ended.keep(.failure(Failed("HANG: not done after \(seconds) s")))
            task.cancel()
        } else {
            _ = martlet_close(doorbell)
        }
    }
    try await ended.value.get()
}

// MARK: Threads

private final class Work: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

func startThread(_ body: @escaping @Sendable () -> Void) {
    let argument = unsafe Unmanaged.passRetained(Work(body))
    let result = unsafe martlet_thread_start(
        { unsafe Unmanaged<Work>.fromOpaque($0!).takeRetainedValue().body() }, argument.toOpaque())
    precondition(result == 0, "no thread: \(result)")
}

/// Runs blocking code on a thread of its own.
func onThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    let result = Promise<Result<R, any Error>>()
    startThread { result.keep(Result { try body() }) }
    return try await result.value.get()
}

// MARK: The server

/// Collects what happens elsewhere.
final class Log<Entry: Sendable>: Sendable {
    private let contents = Guarded<[Entry]>([])

    func append(_ entry: Entry) { contents.withLock { $0.append(entry) } }

    var entries: [Entry] { contents.withLock { $0 } }
    var count: Int { contents.withLock { $0.count } }
}

struct FaultServer: Sendable {
    let runtime: Runtime
    let port: UInt16
    /// What handlers threw.
    let errors: Log<any Error>

    var core: Core { runtime.cores[0] }
    var address: SocketAddress { .loopback(port: port) }

    func counters() async -> CoreCounters { await runtime.counters()[0] }

    /// Waits until the counters satisfy `condition`.
    func eventually(_ what: String, patience: Int = 5000, _ condition: (CoreCounters) -> Bool) async throws {
        var last: CoreCounters?
        for _ in 0..<patience * slowness {
            let counters = await runtime.counters()
            if counters.allSatisfy(condition) { return }
            last = counters.first
            try await core.sleep(for: .milliseconds(1))
        }
        throw Failed("never happened: \(what). Counters: \(String(describing: last))")
    }

    /// Waits until something else is so.
    func eventually(_ what: String, patience: Int = 5000, holds condition: () -> Bool) async throws {
        for _ in 0..<patience * slowness {
            if condition() { return }
            try await core.sleep(for: .milliseconds(1))
        }
        throw Failed("never happened: \(what)")
    }
}

extension FaultServer {
    /// Waits until the state of some socket of the first core satisfies `condition`.
    func eventuallyOneSocket(_ what: String, patience: Int = 5000, is condition: @Sendable (SocketState) -> Bool)
        async throws
    {
        for _ in 0..<patience * slowness {
            let core = core
            let holds = await core.perform {
                core.transport.sockets.slots.contains {
                    core.transport.sockets[$0].flags.contains(.inUse) && condition(core.transport.sockets[$0])
                }
            }
            if holds { return }
            try await core.sleep(for: .milliseconds(1))
        }
        throw Failed("never happened: \(what)")
    }
}

extension CoreIsolation {
    fileprivate func perform<R: Sendable>(_ body: @Sendable () throws -> R) rethrows -> R { try body() }
}

extension Core {
    /// Runs `body` on the core's thread, between two rounds of I/O.
    func perform<R: Sendable>(_ body: @Sendable () throws -> R) async rethrows -> R {
        try await isolation.perform {
            precondition(isCurrent)
            return try body()
        }
    }
}

func faultConfiguration(_ driver: DriverChoice, cores: Int = 1, limits: Limits = .init()) -> Runtime.Configuration {
    var configuration = Runtime.Configuration(cores: .count(cores), driver: driver, limits: limits)
    configuration.pinsThreads = false
    configuration.logger = nil
    return configuration
}

/// Serves in a runtime of its own while `body` runs, then checks that every slot has come back.
func serving(
    _ driver: DriverChoice, cores: Int = 1, limits: Limits = .init(), options: ConnectionOptions = .init(),
    deadline: Int = 30,
    handler: @escaping ConnectionHandler, _ body: @escaping @Sendable (FaultServer) async throws -> Void
) async throws {
    try await within(seconds: deadline) {
        try await Runtime.run(faultConfiguration(driver, cores: cores, limits: limits)) { runtime in
            #expect(runtime.driver.hasPrefix(driver.rawValue))
            let errors = Log<any Error>()
            let port = Promise<UInt16>()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await runtime.serve(
                        on: .loopback(port: 0), options: options, onListening: { port.keep($0.port!) },
                        onError: { errors.append($0) }, handler: handler)
                }
                let server = FaultServer(runtime: runtime, port: await port.value, errors: errors)
                try await body(server)
                try await server.eventually("only the listener is open") { $0.open == 1 }
                group.cancelAll()
                try await group.waitForAll()
                try await server.eventually("nothing is open") { $0.open == 0 }
            }
        }
    }
}

@Sendable func echo(_ connection: TCPConnection) async throws {
    for try await bytes in connection { try await connection.send(bytes) }
}

// MARK: Peers

/// A socket that does what it is told. Its calls block: call them on a thread of their own.
final class Peer: Sendable {
    struct Errno: Error, Equatable, CustomStringConvertible {
        let number: Int32
        let during: String

        var description: String { "\(during): errno \(number)" }
    }

    private let state: Guarded<Int32>

    var descriptor: Int32 { state.withLock { $0 } }

    /// A socket that is not connected. No call on it blocks for longer than `patience` seconds.
    init(patience: Int = 20, receiveBuffer: Int32? = nil, sendBuffer: Int32? = nil) throws {
        var address = martlet_address_ipv4(0x7f00_0001, 0)
        let descriptor = unsafe martlet_stream_socket(&address, false)
        state = Guarded(descriptor)
        guard descriptor >= 0 else { throw Errno(number: -descriptor, during: "socket") }
        if receiveBuffer != nil || sendBuffer != nil {
            _ = martlet_set_buffers(descriptor, receiveBuffer ?? 0, sendBuffer ?? 0)
        }
        // A timeval, which release builds find in no module.
        var limit = (seconds: patience * slowness, microseconds: 0)
        let size = socklen_t(MemoryLayout.size(ofValue: limit))
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
        _ = martlet_set_nodelay(descriptor, true)
    }

    /// Connects to a port of 127.0.0.1.
    convenience init(port: UInt16, patience: Int = 20, receiveBuffer: Int32? = nil, sendBuffer: Int32? = nil) throws {
        try self.init(patience: patience, receiveBuffer: receiveBuffer, sendBuffer: sendBuffer)
        try connect(to: port)
    }

    func connect(to port: UInt16) throws {
        var address = martlet_address_ipv4(0x7f00_0001, port)
        let result = unsafe martlet_connect(descriptor, &address)
        if result < 0 { throw Errno(number: -result, during: "connect") }
    }

    deinit { close() }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count < 0 { throw Errno(number: errno, during: "send") }
            sent += count
        }
    }

    /// The next bytes, none at the FIN.
    func receive(atMost capacity: Int = 65536) throws -> [UInt8] {
        let descriptor = descriptor
        var failure: Int32 = 0
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            let received = unsafe recv(descriptor, buffer.baseAddress, capacity, 0)
            if received < 0 { failure = errno }
            count = max(0, received)
        }
        if failure != 0 { throw Errno(number: failure, during: "recv") }
        return bytes
    }

    func receive(exactly count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try receive(atMost: min(65536, count - bytes.count))
            if more.isEmpty { throw Failed("FIN after \(bytes.count) of \(count) bytes") }
            bytes += more
        }
        return bytes
    }

    func receiveToEnd() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let more = try receive()
            if more.isEmpty { return bytes }
            bytes += more
        }
    }

    /// What ends the connection on the other side: nil for a FIN, or the errno.
    func receiveEnd() -> Int32? {
        do {
            _ = try receiveToEnd()
            return nil
        } catch {
            return (error as? Errno)?.number ?? -1
        }
    }

    func finish() { _ = martlet_shutdown_write(descriptor) }

    func close() {
        state.withLock { descriptor in
            if descriptor >= 0 { _ = martlet_close(descriptor) }
            descriptor = -1
        }
    }

    func reset() {
        _ = martlet_reset_on_close(descriptor)
        close()
    }
}

// MARK: Bytes that can be checked

/// A stream in which bytes tell their place: lost and doubled ones show. It repeats after a prime number of bytes, which no buffer
/// has, and is kept twice over so that a comparison is one memcmp.
private let streamPeriod = 65_521
private let streamTable: [UInt8] = {
    var random = SplitMix(seed: 1)
    let period = (0..<streamPeriod).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    return period + period
}()

func stream(from offset: Int, count: Int) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        unsafe streamTable.withUnsafeBytes { table in
            while initialized < count {
                let start = (offset + initialized) % streamPeriod
                let length = min(streamPeriod, count - initialized)
                unsafe memcpy(buffer.baseAddress! + initialized, table.baseAddress! + start, length)
                initialized += length
            }
        }
    }
}

/// The first offset at which `bytes` are not the stream's from `offset` on.
func firstDifference(_ bytes: some Collection<UInt8>, from offset: Int) -> Int? {
    let expected = stream(from: offset, count: bytes.count)
    let isEqual = bytes.withContiguousStorageIfAvailable { bytes in
        unsafe bytes.isEmpty || memcmp(bytes.baseAddress!, expected, bytes.count) == 0
    }
    if isEqual == true { return nil }
    return zip(bytes, expected).enumerated().first { $0.element.0 != $0.element.1 }.map { offset + $0.offset }
}

// MARK: Small things

/// A flag that closures share.
final class SharedFlag: Sendable {
    private let value = Atomic<Bool>(false)

    var isSet: Bool { value.load(ordering: .relaxed) }

    func set() { value.store(true, ordering: .relaxed) }
}

/// A number that closures share.
final class Tally: Sendable {
    private let number = Atomic<Int>(0)

    var value: Int { number.load(ordering: .relaxed) }

    func add(_ count: Int) { number.add(count, ordering: .relaxed) }

    @discardableResult
    func increment() -> Int { number.add(1, ordering: .relaxed).newValue }
}

/// SplitMix64: small, and the same everywhere.
struct SplitMix {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// A listener that accepts nothing and whose backlog is full: connecting to it takes for ever.
final class SilentListener: Sendable {
    let port: UInt16
    private let descriptor: Int32
    private let fillers: [Int32]

    init() throws {
        var address = martlet_address_ipv4(0x7f00_0001, 0)
        descriptor = unsafe martlet_listen(&address, 0, false, false, true)
        guard descriptor >= 0 else { throw Peer.Errno(number: -descriptor, during: "listen") }
        var bound = martlet_address()
        _ = unsafe martlet_socket_local(descriptor, &bound)
        port = unsafe martlet_address_port(&bound)
        var fillers: [Int32] = []
        for _ in 0..<4 {
            var target = martlet_address_ipv4(0x7f00_0001, port)
            let filler = unsafe martlet_stream_socket(&target, true)
            _ = unsafe martlet_connect(filler, &target)
            fillers.append(filler)
        }
        self.fillers = fillers
    }

    deinit {
        for filler in fillers { _ = martlet_close(filler) }
        _ = martlet_close(descriptor)
    }
}

/// A port that nobody listens on.
func freePort() throws -> UInt16 {
    var address = martlet_address_ipv4(0x7f00_0001, 0)
    let descriptor = unsafe martlet_listen(&address, 1, false, false, true)
    guard descriptor >= 0 else { throw Peer.Errno(number: -descriptor, during: "listen") }
    defer { _ = martlet_close(descriptor) }
    var bound = martlet_address()
    _ = unsafe martlet_socket_local(descriptor, &bound)
    return unsafe martlet_address_port(&bound)
}

/// `#expect` for expressions on values that cannot be copied, which the macro cannot take apart.
func check(_ condition: Bool, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(condition, comment, sourceLocation: sourceLocation)
}

/// `#require`, likewise.
func present<Value>(_ value: Value?, sourceLocation: SourceLocation = #_sourceLocation) throws -> Value {
    try #require(value, sourceLocation: sourceLocation)
}
