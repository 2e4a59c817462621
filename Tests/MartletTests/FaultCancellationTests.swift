// Cancelling and timing out single calls, over and over, while data flows: no byte may be lost or doubled, no connection
// forgotten, and what was not cancelled must not notice.

import Glibc
import Synchronization
import Testing

@testable import Martlet

@Suite(.serialized) struct FaultCancellation {
    /// Sends the stream in small pieces until told to stop, then FIN. Returns how much it sent.
    static func feed(_ peer: Peer, until isDone: SharedFlag, seed: UInt64) throws -> Int {
        var random = SplitMix(seed: seed)
        var sent = 0
        while !isDone.isSet, sent < 200_000_000 {
            let count = 1 + Int(random.next() % 300)
            try peer.send(stream(from: sent, count: count))
            sent += count
            if random.next() % 4 == 0 { sched_yield() }
            if random.next() % 64 == 0 { usleep(100) }
        }
        peer.finish()
        return sent
    }

    @Test("a receive cancelled 100,000 times loses and doubles no byte", arguments: bothDrivers)
    func cancelReceive(driver: DriverChoice) async throws {
        let seed: UInt64 = 0x6d61_7274
        let isDone = SharedFlag()
        let received = Atomic<Int>(0)
        let cancelled = Atomic<Int>(0)
        let handler: ConnectionHandler = { connection in
            var random = SplitMix(seed: seed)
            var offset = 0
            for round in 0... {
                if round == 100_000 / slowness { isDone.set() }
                let yields = random.next() % 4
                let ended = try await withThrowingTaskGroup(of: Bytes??.self) { group in
                    group.addTask {
                        do throws(NetworkError) { return .some(try await connection.receive()) } catch {
                            guard error == .cancelled else { throw error }
                            return nil
                        }
                    }
                    if round < 100_000 / slowness {
                        for _ in 0..<yields { await Task.yield() }
                        group.cancelAll()
                    }
                    guard let outcome = try await group.next()! else {
                        cancelled.add(1, ordering: .relaxed)
                        return false
                    }
                    guard let bytes = outcome else { return true }
                    if let place = firstDifference(bytes, from: offset) {
                        throw Failed("wrong at \(place), round \(round)")
                    }
                    offset += bytes.count
                    return false
                }
                if ended { break }
            }
            received.store(offset, ordering: .relaxed)
        }
        try await serving(driver, deadline: 60, handler: handler) { server in
            let sent = try await onThread {
                try Self.feed(try Peer(port: server.port), until: isDone, seed: seed)
            }
            try await server.eventually("the handler has ended") { $0.open == 1 }
            #expect(server.errors.entries.isEmpty, "seed \(seed)")
            #expect(received.load(ordering: .relaxed) == sent, "seed \(seed)")
            #expect(
                cancelled.load(ordering: .relaxed) > 1000 / slowness, "the test cancels too rarely to mean anything")
        }
    }

    @Test("receives that time out again and again lose and double no byte", arguments: bothDrivers)
    func timeOutReceive(driver: DriverChoice) async throws {
        let seed: UInt64 = 0x6c65_7421
        let isDone = SharedFlag()
        let received = Atomic<Int>(0)
        let timeouts = Atomic<Int>(0)
        let handler: ConnectionHandler = { connection in
            var random = SplitMix(seed: seed)
            var offset = 0
            for round in 0... {
                if round == 20_000 / slowness { isDone.set() }
                do throws(NetworkError) {
                    let isTimed = round < 20_000 / slowness
                    let timeout: Duration? = isTimed ? .nanoseconds(Int64(random.next() % 60_000)) : nil
                    guard let bytes = try await connection.receive(within: timeout) else { break }
                    if let place = firstDifference(bytes, from: offset) {
                        isDone.set()
                        received.store(-place, ordering: .relaxed)
                        return
                    }
                    offset += bytes.count
                } catch {
                    guard error == .deadlineExceeded else { throw error }
                    timeouts.add(1, ordering: .relaxed)
                }
            }
            received.store(offset, ordering: .relaxed)
        }
        try await serving(driver, deadline: 60, handler: handler) { server in
            let sent = try await onThread {
                try Self.feed(try Peer(port: server.port), until: isDone, seed: seed)
            }
            try await server.eventually("the handler has ended") { $0.open == 1 }
            #expect(server.errors.entries.isEmpty, "seed \(seed)")
            #expect(received.load(ordering: .relaxed) == sent, "seed \(seed)")
            #expect(
                timeouts.load(ordering: .relaxed) > 100 / slowness, "the test times out too rarely to mean anything")
        }
    }

    @Test("cancelled sends leave a first part at most, and never mix with others", arguments: bothDrivers)
    func cancelSend(driver: DriverChoice) async throws {
        let seed: UInt64 = 0x7365_6e64
        let size = 3000
        // What became of each message: whether its send returned.
        let whole = Log<UInt16>()
        let handler: ConnectionHandler = { connection in
            let next = Tally()
            await withTaskGroup(of: Void.self) { group in
                for sender in 0..<4 {
                    group.addTask {
                        var random = SplitMix(seed: seed &+ UInt64(sender))
                        for _ in 0..<2000 {
                            let number = UInt16(next.increment())
                            // A mark, the number in two parts, and the second part as often as it fits.
                            let second = UInt8(number & 0x7f)
                            let message = Bytes(
                                [0xff, UInt8(number >> 7), second] + [UInt8](repeating: second, count: size - 3))
                            let timeout: Duration? =
                                random.next() % 2 == 0 ? .microseconds(Int64(random.next() % 300)) : nil
                            do {
                                try await connection.send(message, within: timeout)
                                whole.append(number)
                            } catch {}
                        }
                    }
                }
            }
        }
        var options = ConnectionOptions()
        options.sendLimit = 5000
        options.kernelSendBuffer = 4096
        try await serving(driver, options: options, deadline: 60, handler: handler) { server in
            let answer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096).receiveToEnd() }
            #expect(server.errors.entries.isEmpty)
            var arrived: [UInt16: Int] = [:]
            var torn = 0
            for message in answer.split(separator: 0xff) where message.count >= 2 {
                let bytes = Array(message)
                if bytes[1...].contains(where: { $0 != bytes[1] }) { torn += 1 }
                arrived[UInt16(bytes[0]) << 7 | UInt16(bytes[1])] = bytes.count + 1
            }
            let complete = Set(whole.entries)
            #expect(torn == 0, "seed \(seed)")
            #expect(
                complete.allSatisfy { arrived[$0] == size }, "a send returned whose message is not whole; seed \(seed)")
            #expect(complete.count < 8000, "the test cancels too rarely to mean anything")
            #expect(complete.count > 4000)
        }
    }

    @Test("cancelled accepts lose no connection", arguments: bothDrivers)
    func cancelAccept(driver: DriverChoice) async throws {
        try await within(seconds: 60) {
            try await Runtime.run(faultConfiguration(driver)) { runtime in
                let core = runtime.cores[0]
                let server = FaultServer(runtime: runtime, port: 0, errors: Log())
                let count = 500
                do {
                    let listener = try await core.listen(on: .loopback(port: 0))
                    let port = listener.address.port!
                    async let clients: [[UInt8]] = onThread {
                        let peers = try (0..<count).map { _ in
                            sched_yield()
                            return try Peer(port: port)
                        }
                        return try peers.map { try $0.receiveToEnd() }
                    }
                    var accepted = 0
                    var cancelled = 0
                    while accepted < count {
                        let accept = Task(executorPreference: core.taskExecutor) { try await listener.accept() }
                        for _ in 0..<(cancelled % 3) { await Task.yield() }
                        accept.cancel()
                        switch await accept.result {
                        case .success(let connection?):
                            accepted += 1
                            try await connection.send("x")
                        case .success(nil): throw Failed("the listener ended")
                        case .failure(let error):
                            #expect(error as? NetworkError == .cancelled)
                            cancelled += 1
                        }
                    }
                    #expect(try await clients.allSatisfy { $0 == [0x78] })
                }
                try await server.eventually("nothing is open") { $0.open == 0 }
            }
        }
    }

    @Test("a cancelled flush and a cancelled close throw, and the data still arrives", arguments: bothDrivers)
    func cancelFlushAndClose(driver: DriverChoice) async throws {
        let outcomes = Log<NetworkError?>()
        let handler: ConnectionHandler = { connection in
            try await connection.send(stream(from: 0, count: 200_000))
            for call in 0..<2 {
                let task = Task(executorPreference: connection.core.taskExecutor) {
                    do throws(NetworkError) {
                        if call == 0 { try await connection.flush() } else { try await connection.close() }
                        outcomes.append(nil)
                    } catch { outcomes.append(error) }
                }
                for _ in 0..<10 { await Task.yield() }
                task.cancel()
                await task.value
            }
        }
        var options = ConnectionOptions()
        options.kernelSendBuffer = 4096
        try await serving(driver, options: options, handler: handler) { server in
            let peer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096) }
            try await server.eventually("both were cancelled", holds: { outcomes.count == 2 })
            #expect(outcomes.entries == [.cancelled, .cancelled])
            let answer = try await onThread { try peer.receiveToEnd() }
            #expect(answer.count == 200_000)
            #expect(firstDifference(answer, from: 0) == nil)
        }
    }

    @Test("connects that are cancelled leave nothing behind", arguments: bothDrivers)
    func cancelConnect(driver: DriverChoice) async throws {
        try await serving(driver, handler: echo) { server in
            let core = server.core
            var cancelled = 0
            for round in 0..<2000 {
                let connect = Task(executorPreference: core.taskExecutor) {
                    try await core.withConnection(to: server.address) { _ = try await $0.receive() }
                }
                for _ in 0..<(round % 7) { await Task.yield() }
                connect.cancel()
                if case .failure(let error) = await connect.result, error as? NetworkError == .cancelled {
                    cancelled += 1
                }
            }
            #expect(cancelled == 2000)
        }
    }

    // MARK: Whole servers

    @Test("a cancelled server resets its connections and waits for handlers that ignore it", arguments: bothDrivers)
    func ignoresCancellation(driver: DriverChoice) async throws {
        try await within(seconds: 30) {
            try await Runtime.run(faultConfiguration(driver)) { runtime in
                let core = runtime.cores[0]
                let port = Promise<UInt16>()
                let ended = Atomic<Int>(0)
                let mayEnd = Atomic<Bool>(false)
                let serve = Task {
                    try await runtime.serve(on: .loopback(port: 0), onListening: { port.keep($0.port!) }) {
                        connection in
                        do { while try await connection.receive() != nil {} } catch {
                            while !mayEnd.load(ordering: .relaxed) { await Task.yield() }
                            ended.add(1, ordering: .relaxed)
                            throw error
                        }
                    }
                    return ended.load(ordering: .relaxed)
                }
                let server = FaultServer(runtime: runtime, port: await port.value, errors: Log())
                let peers = try await onThread { try (0..<10).map { _ in try Peer(port: server.port) } }
                try await server.eventually("all are served") { $0.accepted == 10 }
                serve.cancel()
                for _ in 0..<10 { try await core.sleep(for: .milliseconds(1)) }
                #expect(ended.load(ordering: .relaxed) == 0)
                mayEnd.store(true, ordering: .relaxed)
                #expect(try await serve.value == 10, "serve returned before its handlers")
                let ends = try await onThread { peers.map { $0.receiveEnd() } }
                #expect(ends.allSatisfy { $0 == ECONNRESET })
                try await server.eventually("nothing is open") { $0.open == 0 }
            }
        }
    }

    @Test("a handler whose receive times out goes on with the same connection", arguments: bothDrivers)
    func goesOnAfterDeadline(driver: DriverChoice) async throws {
        let deadlines = Atomic<Int>(0)
        let handler: ConnectionHandler = { connection in
            while true {
                do throws(NetworkError) {
                    guard let bytes = try await connection.receive(within: .milliseconds(2)) else { return }
                    try await connection.send(bytes)
                } catch {
                    guard error == .deadlineExceeded else { throw error }
                    deadlines.add(1, ordering: .relaxed)
                }
            }
        }
        try await serving(driver, handler: handler) { server in
            let peer = try await onThread { try Peer(port: server.port) }
            for turn in 0..<5 {
                let before = deadlines.load(ordering: .relaxed)
                try await server.eventually("it timed out", holds: { deadlines.load(ordering: .relaxed) > before + 1 })
                try await onThread {
                    try peer.send([UInt8(turn)])
                    #expect(try peer.receive(exactly: 1) == [UInt8(turn)])
                }
            }
            peer.finish()
        }
    }
}
