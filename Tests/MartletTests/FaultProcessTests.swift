// Faults of a whole process: no descriptors, no io_uring, no privileges, SIGTERM. Each test body runs in a process of its own.

import CMartlet
import Glibc
import MartletStack
import Synchronization
import Testing

@testable import Martlet

/// Calls a function of the C library that Swift does not import because it is variadic.
private func libraryCall(_ name: String, _ arguments: Int...) -> Int {
    typealias Function = @convention(c) (Int, Int, Int, Int, Int, Int) -> Int
    guard let symbol = unsafe dlsym(nil, name) else { preconditionFailure("no \(name)") }
    let function = unsafe unsafeBitCast(symbol, to: Function.self)
    let all = arguments + [Int](repeating: 0, count: 6 - arguments.count)
    return function(all[0], all[1], all[2], all[3], all[4], all[5])
}

/// Makes io_uring_setup(2) fail with `errno` for every thread of this process, as container runtimes do (seccomp(2)).
private func refuseIOUring(_ errno: Int32) {
    struct Instruction {
        var code: UInt16
        var jumpTrue: UInt8
        var jumpFalse: UInt8
        var k: UInt32
    }
    @unsafe struct Program {
        var count: UInt16
        var instructions: UnsafeMutablePointer<Instruction>
    }
    var program = [
        Instruction(code: 0x20, jumpTrue: 0, jumpFalse: 0, k: 0),  // the system call's number
        Instruction(code: 0x15, jumpTrue: 0, jumpFalse: 1, k: 425),  // io_uring_setup, on every architecture
        Instruction(code: 0x06, jumpTrue: 0, jumpFalse: 0, k: 0x0005_0000 | UInt32(errno)),  // SECCOMP_RET_ERRNO
        Instruction(code: 0x06, jumpTrue: 0, jumpFalse: 0, k: 0x7fff_0000),  // SECCOMP_RET_ALLOW
    ]
    let result = unsafe program.withUnsafeMutableBufferPointer { instructions in
        var header = unsafe Program(count: UInt16(instructions.count), instructions: instructions.baseAddress!)
        return unsafe withUnsafeMutablePointer(to: &header) { header in
            _ = libraryCall("prctl", 38, 1, 0, 0, 0)  // PR_SET_NO_NEW_PRIVS
            #if arch(x86_64)
            let seccomp = 317
            #else
            let seccomp = 277
            #endif
            return libraryCall("syscall", seccomp, 1, 1, Int(bitPattern: header))  // SET_MODE_FILTER, FILTER_FLAG_TSYNC
        }
    }
    precondition(result == 0, "seccomp: \(result)")
}

private func descriptorIsOpen(_ descriptor: Int32) -> Bool {
    var status = stat()
    return unsafe fstat(descriptor, &status) == 0
}

/// Lowers the hard limit too, because a runtime raises the soft one to it. An accept under io_uring goes by the limit that held
/// when it was prepared: call this first.
private func limitDescriptors(to count: UInt) {
    var limit = rlimit(rlim_cur: count, rlim_max: count)
    let result = unsafe setrlimit(__rlimit_resource_t(7), &limit)  // RLIMIT_NOFILE
    precondition(result == 0)
}

/// Runs the body of an exit test. What it throws becomes an issue, which the parent hears of, instead of a silent trap.
private func told(within seconds: Int, _ body: @escaping @Sendable () async throws -> Void) async {
    do { try await within(seconds: seconds, body) } catch { Issue.record(error) }
}

@Suite(.serialized) struct FaultProcess {
    @Test("where io_uring is refused, epoll takes over and says why", arguments: [EPERM, ENOSYS, EACCES])
    func ioUringRefused(errno: Int32) async throws {
        await #expect(processExitsWith: .success) { [errno = errno as Int32] in
            refuseIOUring(errno)
            await told(within: 20) {
                let standardInput = descriptorIsOpen(0)
                var configuration = Runtime.Configuration(cores: .count(2), driver: .automatic)
                configuration.logger = nil
                try await Runtime.run(configuration) { runtime in
                    #expect(runtime.driver.hasPrefix("epoll (io_uring is refused here: "))
                    #expect(runtime.driver.contains("io_uring_setup failed"))
                    #expect(runtime.driver.contains("errno \(errno)"))
                    #expect(descriptorIsOpen(0) == standardInput, "the failed attempt closed somebody's descriptor 0")
                    let port = Promise<UInt16>()
                    let serve = Task {
                        try await runtime.serve(
                            on: .loopback(port: 0), onListening: { port.keep($0.port!) }, handler: echo)
                    }
                    let number = await port.value
                    try await onThread {
                        try FaultPressure.exchange(port: number, connections: 10, turns: 3, size: 1000)
                    }
                    serve.cancel()
                    try await serve.value
                }
                configuration.driver = .ioUring
                let wanted = NetworkError.system(errno: errno, during: "io_uring_setup")
                await #expect(throws: wanted) { try await Runtime.run(configuration) { _ in } }
                #expect(descriptorIsOpen(0) == standardInput, "the failed attempt closed somebody's descriptor 0")
            }
        }
    }

    @Test("a privileged port is refused with an error that names it and says what to do")
    func privilegedPort() async throws {
        await #expect(processExitsWith: .success) {
            guard getuid() != 0 || setuid(65534) == 0 else { return }
            await told(within: 20) {
                for driver in bothDrivers {
                    try await Runtime.run(faultConfiguration(driver)) { runtime in
                        let address = SocketAddress.loopback(port: 7)
                        let wanted = NetworkError.permissionDenied(address)
                        await #expect(throws: wanted) { try await runtime.serve(on: address) { _ in } }
                        await #expect(throws: wanted) { _ = try await runtime.cores[0].listen(on: address) }
                        await #expect(throws: wanted) { _ = try await runtime.cores[0].bindUDP(on: address) }
                        #expect(wanted.description.contains("127.0.0.1:7") && wanted.description.contains("1024"))
                    }
                }
            }
        }
    }

    @Test("without file descriptors existing connections go on, and accepting resumes", arguments: bothDrivers)
    func descriptorsExhausted(driver: DriverChoice) async throws {
        await #expect(processExitsWith: .success) { [driver = driver.rawValue as String] in
            limitDescriptors(to: 128)
            await told(within: 40) {
                try await serving(DriverChoice(rawValue: driver)!, handler: echo) { server in
                    let first = try await onThread {
                        let first = try Peer(port: server.port)
                        try first.send([1])
                        _ = try first.receive(exactly: 1)
                        return first
                    }
                    // The peers' sockets are made while there are descriptors; then all that is left is taken.
                    let waiting = try (0..<10).map { _ in try Peer() }
                    var taken: [Int32] = []
                    while true {
                        let copy = dup(2)
                        if copy < 0 { break }
                        taken.append(copy)
                    }
                    try await onThread { for peer in waiting { try peer.connect(to: server.port) } }
                    try await server.eventually("it has noticed") { $0.descriptorsExhausted > 0 }
                    let before = await server.counters()
                    try await onThread {
                        for number in 0..<50 {
                            try first.send([UInt8(number)])
                            #expect(try first.receive(exactly: 1) == [UInt8(number)])
                        }
                    }
                    for _ in 0..<20 { try await server.core.sleep(for: .milliseconds(10)) }
                    let after = await server.counters()
                    #expect(after.descriptorsExhausted - before.descriptorsExhausted < 10, "it spins")
                    #expect(after.rounds - before.rounds < 500, "it spins")
                    #expect(after.accepted == 1)
                    for descriptor in taken { _ = close(descriptor) }
                    try await onThread {
                        for (number, peer) in waiting.enumerated() {
                            try peer.send([UInt8(number)])
                            #expect(try peer.receive(exactly: 1) == [UInt8(number)])
                        }
                    }
                    #expect(await server.counters().accepted == 11)
                    first.close()
                    for peer in waiting { peer.close() }
                }
            }
        }
    }

    @Test("a runtime that finds no descriptors says so", .disabled(if: slowness > 1, "the sanitizer needs some itself"))
    func noDescriptorsToStart() async throws {
        await #expect(processExitsWith: .success) {
            limitDescriptors(to: 128)
            await told(within: 20) {
                for left in 0..<4 {
                    for driver in bothDrivers {
                        var taken: [Int32] = []
                        while case let copy = dup(2), copy >= 0 { taken.append(copy) }
                        for _ in 0..<left { _ = close(taken.removeLast()) }
                        do {
                            try await Runtime.run(faultConfiguration(driver)) { runtime in
                                _ = try await runtime.cores[0].listen(on: .loopback(port: 0))
                            }
                        } catch {
                            #expect(error as? NetworkError == .outOfDescriptors, "\(driver), \(left) left: \(error)")
                        }
                        for descriptor in taken { _ = close(descriptor) }
                    }
                }
            }
        }
    }

    @Test("SIGTERM under load loses no request of an accepted connection", arguments: bothDrivers)
    func terminated(driver: DriverChoice) async throws {
        await #expect(processExitsWith: .success) { [driver = driver.rawValue as String] in
            await told(within: 40) {
                var configuration = faultConfiguration(DriverChoice(rawValue: driver)!, cores: 2)
                configuration.shutdownSignals = [.terminate]
                configuration.shutdownTimeout = .seconds(20)
                let port = Promise<UInt16>()
                let complete = Tally()
                let cut = Log<String>()
                let accepted = Tally()
                let answered = Tally()
                let turns = 20
                async let run: Void = Runtime.run(configuration) { runtime in
                    try await runtime.serve(
                        on: .loopback(port: 0), onListening: { port.keep($0.port!) },
                        handler: { connection in
                            accepted.increment()
                            try await echo(connection)
                        })
                }
                let number = await port.value
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for thread in 0..<4 {
                        group.addTask {
                            try await onThread {
                                // New connections until nobody listens any more, each with a series of requests.
                                while true {
                                    let peer: Peer
                                    do { peer = try Peer(port: number) } catch let error as Peer.Errno {
                                        guard error.number == ECONNREFUSED else { throw error }
                                        return
                                    }
                                    var turn = 0
                                    do {
                                        while turn < turns {
                                            try peer.send([UInt8(turn)])
                                            guard try peer.receive(exactly: 1) == [UInt8(turn)] else {
                                                throw Failed("wrong")
                                            }
                                            turn += 1
                                            if answered.increment() == 2000 { _ = kill(getpid(), SIGTERM) }
                                        }
                                        peer.finish()
                                        guard try peer.receiveToEnd().isEmpty else { throw Failed("more") }
                                        complete.increment()
                                    } catch {
                                        // Without any answer it was never accepted: the kernel reset it in the backlog.
                                        if turn > 0 { cut.append("thread \(thread), turn \(turn): \(error)") }
                                    }
                                }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                try await run
                #expect(cut.entries.isEmpty, "cut: \(cut.entries)")
                #expect(complete.value == accepted.value, "\(complete.value) complete of \(accepted.value) accepted")
                #expect(complete.value > 50)
            }
        }
    }
}
