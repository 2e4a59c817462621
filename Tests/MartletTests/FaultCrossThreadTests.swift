// Handles used, closed and dropped on threads that are not the connection's core.

import Glibc
import MartletSimulation
import Testing

@testable import Martlet

@Suite(.serialized) struct FaultCrossThread {
    @Test("connections served by tasks of other threads carry every byte", arguments: bothDrivers)
    func servedElsewhere(driver: DriverChoice) async throws {
        let handler: ConnectionHandler = { connection in
            try await Task.detached {
                for try await bytes in connection { try await connection.send(bytes) }
            }.value
        }
        try await serving(driver, handler: handler) { server in
            try await onThread { try FaultPressure.exchange(port: server.port, connections: 20, turns: 20, size: 5000) }
            try await server.eventually("all have ended") { $0.open == 1 }
            #expect(server.errors.count == 0)
        }
    }

    @Test("bytes seen in place by tasks of other threads are seen once", arguments: bothDrivers)
    func spansElsewhere(driver: DriverChoice) async throws {
        let received = Log<[UInt8]>()
        let handler: ConnectionHandler = { connection in
            let all = try await Task.detached {
                var all: [UInt8] = []
                var turn = 0
                while try await connection.receive({ span in
                    turn += 1
                    let count = turn % 3 == 0 ? 0 : max(1, span.byteCount / 2)
                    for index in 0..<count { all.append(unsafe span.unsafeLoad(fromByteOffset: index, as: UInt8.self)) }
                    return count
                }) {}
                return all
            }.value
            received.append(all)
        }
        try await serving(driver, handler: handler) { server in
            try await onThread {
                let peer = try Peer(port: server.port)
                for turn in 0..<50 { try peer.send(stream(from: turn * 1000, count: 1000)) }
                peer.finish()
                #expect(peer.receiveEnd() == nil)
            }
            #expect(received.entries.first?.count == 50_000)
            #expect(firstDifference(received.entries.first ?? [], from: 0) == nil)
        }
    }

    @Test("a receive from another thread, cancelled 2,000 times, loses and doubles no byte", arguments: bothDrivers)
    func cancelledElsewhere(driver: DriverChoice) async throws {
        let isDone = SharedFlag()
        let received = Tally()
        let handler: ConnectionHandler = { connection in
            try await Task.detached {
                var offset = 0
                for round in 0... {
                    if round == 2000 / slowness { isDone.set() }
                    let receive = Task.detached { try await connection.receive() }
                    if round < 2000 / slowness {
                        for _ in 0..<(round % 5) { sched_yield() }
                        receive.cancel()
                    }
                    switch await receive.result {
                    case .success(let bytes?):
                        if let place = firstDifference(bytes, from: offset) { throw Failed("wrong at \(place)") }
                        offset += bytes.count
                    case .success(nil):
                        received.add(offset)
                        return
                    case .failure(let error): if error as? NetworkError != .cancelled { throw error }
                    }
                }
            }.value
        }
        try await serving(driver, deadline: 60, handler: handler) { server in
            let sent = try await onThread {
                try FaultCancellation.feed(try Peer(port: server.port), until: isDone, seed: 7)
            }
            try await server.eventually("the handler has ended") { $0.open == 1 }
            #expect(server.errors.entries.isEmpty)
            #expect(received.value == sent)
        }
    }

    @Test("a handle that outlives its connection does no harm and keeps only its slot", arguments: bothDrivers)
    func afterTheEnd(driver: DriverChoice) async throws {
        let handles = Guarded<[TCPConnection]>([])
        let handler: ConnectionHandler = { connection in
            handles.withLock { $0.append(connection) }
            try await connection.send("bye")
        }
        try await serving(driver, handler: handler) { server in
            try await onThread {
                for _ in 0..<50 {
                    let answer = try Peer(port: server.port).receiveToEnd()
                    #expect(answer == Array("bye".utf8))
                }
            }
            try await server.eventually("all are closed") { $0.closed == 50 }
            #expect(await server.counters().open == 51)
            for connection in handles.withLock({ $0 }) {
                await #expect(throws: NetworkError.closed) { try await connection.send("x") }
                await #expect(throws: NetworkError.closed) { _ = try await connection.receive() }
                await #expect(throws: NetworkError.closed) { try await connection.finish() }
                await #expect(throws: NetworkError.closed) { try await connection.flush() }
                await #expect(throws: NetworkError.closed) { try await connection.close() }
                #expect(await connection.peer == nil)
                #expect(await connection.info == nil)
                await connection.abort()
            }
            // Dropped on this thread, which is not the core's.
            handles.withLock { $0.removeAll() }
        }
    }

    @Test("handles dropped and used on many threads at once, while connections come and go", arguments: bothDrivers)
    func storm(driver: DriverChoice) async throws {
        let handler: ConnectionHandler = { connection in
            for number in 0..<3 {
                Task.detached {
                    switch number {
                    case 0: try await connection.send("hello")
                    case 1: _ = try await connection.receive(within: .milliseconds(1))
                    default: await connection.abort()
                    }
                }
            }
            await Task.yield()
        }
        try await serving(driver, handler: handler) { server in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await onThread {
                            for round in 0..<500 {
                                let peer = try Peer(port: server.port)
                                if round % 2 == 0 { try? peer.send([1, 2, 3]) }
                                if round % 3 == 0 { peer.reset() } else { _ = peer.receiveEnd() }
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("a task of one core uses a connection of another", arguments: bothDrivers)
    func ofAnotherCore(driver: DriverChoice) async throws {
        try await serving(driver, cores: 2, handler: echo) { server in
            let cores = server.runtime.cores
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask(executorPreference: cores[number % 2].taskExecutor) {
                        try await cores[(number + 1) % 2].withConnection(to: server.address) { connection in
                            let elsewhere = Task(executorPreference: cores[number % 2].taskExecutor) {
                                for turn in 0..<50 {
                                    try await connection.send(stream(from: turn, count: 700))
                                    var answer: [UInt8] = []
                                    while answer.count < 700 {
                                        let bytes = try await connection.receive(within: .seconds(10))
                                        guard let bytes else { throw Failed("FIN") }
                                        answer += bytes
                                    }
                                    if firstDifference(answer, from: turn) != nil { throw Failed("wrong bytes") }
                                }
                                try await connection.close(within: .seconds(10))
                            }
                            try await elsewhere.value
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await server.eventually("the clients are gone too") { $0.open <= 1 }
        }
    }

    @Test("connections between the cores of one runtime", arguments: bothDrivers)
    func betweenCores(driver: DriverChoice) async throws {
        try await serving(driver, cores: 2, handler: echo) { server in
            try await server.runtime.forEachCore { core in
                for number in 0..<200 {
                    try await core.withConnection(to: server.address) { connection in
                        try await connection.send(stream(from: number, count: 1000))
                        try await connection.finish()
                        var answer: [UInt8] = []
                        for try await bytes in connection { answer += bytes }
                        #expect(answer.count == 1000 && firstDifference(answer, from: number) == nil)
                    }
                }
            }
            try await server.eventually("the clients are gone too") { $0.open <= 1 }
        }
    }
}
