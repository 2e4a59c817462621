// Many at once: ten thousand connections opened and dropped, and a million messages checked byte for byte.

import CMartlet
import Glibc
import Synchronization
import Testing

@testable import Martlet

@Suite(.serialized) struct FaultLoad {
    @Test("ten thousand connections opened and dropped at once leave nothing behind", arguments: bothDrivers)
    func tenThousand(driver: DriverChoice) async throws {
        // In a process of its own: both ends live there, and each connection takes two descriptors.
        await #expect(processExitsWith: .success) { [driver = driver.rawValue as String] in
            var limit = rlimit(rlim_cur: 24_000, rlim_max: 24_000)
            _ = unsafe setrlimit(__rlimit_resource_t(7), &limit)  // RLIMIT_NOFILE
            _ = unsafe getrlimit(__rlimit_resource_t(7), &limit)
            let count = min(10_000, (Int(limit.rlim_cur) - 200) / 2)
            do {
                try await serving(DriverChoice(rawValue: driver)!, deadline: 60, handler: echo) { server in
                    try await onThread { try Self.openAndDrop(count, port: server.port) }
                    try await server.eventually("all are gone") { $0.open == 1 }
                    let counters = await server.counters()
                    #expect(counters.accepted == UInt64(count))
                    #expect(counters.closed == UInt64(count))
                    #expect(counters.bytesReceived == UInt64(count / 2))
                    let free = await server.core.perform {
                        let transport = server.core.transport
                        return (
                            slots: transport.sockets.freeCount, slabs: transport.slabs.available,
                            all: transport.slabs.count
                        )
                    }
                    #expect(free.slots == Limits().connectionsPerCore - 1)
                    #expect(free.slabs == free.all, "receive buffers are lost")
                }
            } catch { Issue.record(error) }
        }
    }

    /// Every other one sends a byte. Some read their answer first, some close with it unread, some reset.
    static func openAndDrop(_ count: Int, port: UInt16) throws {
        var peers: [Peer] = []
        for number in 0..<count {
            peers.append(try Peer(port: port))
            if number % 2 == 0 { try peers[number].send([1]) }
        }
        for (number, peer) in peers.enumerated() {
            switch number % 4 {
            case 0: #expect(try peer.receive(exactly: 1) == [1])
            case 1: peer.reset()
            default: break
            }
            peer.close()
        }
    }

    /// Plays with every size from 1 to 200 bytes, 64 messages in flight on each of 16 connections.
    static func echoMessages(_ driver: DriverChoice, count: Int, deadline: Int) async throws {
        try await serving(driver, deadline: deadline, handler: echo) { server in
            try await withThrowingTaskGroup(of: Int.self) { group in
                for thread in 0..<2 {
                    group.addTask {
                        try await onThread {
                            let peers = try (0..<8).map { _ in try Peer(port: server.port) }
                            var offsets = peers.indices.map { ($0 + thread * 8) * 1000 }
                            var random = SplitMix(seed: UInt64(thread))
                            var messages = 0
                            while messages < count / 2 {
                                var sizes: [Int] = []
                                for (index, peer) in peers.enumerated() {
                                    var size = 0
                                    var batch: [UInt8] = []
                                    for _ in 0..<64 {
                                        let length = 1 + Int(random.next() % 200)
                                        batch += stream(from: offsets[index] + size, count: length)
                                        size += length
                                        messages += 1
                                    }
                                    try peer.send(batch)
                                    sizes.append(size)
                                }
                                for (index, peer) in peers.enumerated() {
                                    let answer = try peer.receive(exactly: sizes[index])
                                    if let place = firstDifference(answer, from: offsets[index]) {
                                        throw Failed("seed \(thread), connection \(index) differs at \(place)")
                                    }
                                    offsets[index] += sizes[index]
                                }
                            }
                            return messages
                        }
                    }
                }
                var total = 0
                for try await messages in group { total += messages }
                #expect(total >= count)
            }
            #expect(server.errors.count == 0)
        }
    }

    @Test("a million echoed messages come back byte for byte", arguments: bothDrivers)
    func million(driver: DriverChoice) async throws {
        try await Self.echoMessages(driver, count: 1_000_000, deadline: 120)
    }

    @Test(
        "echo while tasks of other threads watch, time out and cancel (for the thread sanitizer)",
        arguments: bothDrivers)
    func forTheSanitizer(driver: DriverChoice) async throws {
        let handler: ConnectionHandler = { connection in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await echo(connection) }
                group.addTask {
                    await Task.detached {
                        for _ in 0..<20 {
                            _ = await connection.info
                            _ = await connection.peer
                            let wait = Task.detached { try await connection.core.sleep(for: .seconds(10)) }
                            wait.cancel()
                            _ = await wait.result
                        }
                    }.value
                }
                try await group.waitForAll()
            }
        }
        try await serving(driver, cores: 2, deadline: 120, handler: handler) { server in
            try await onThread { try FaultPressure.exchange(port: server.port, connections: 20, turns: 20, size: 6000) }
            try await server.eventually("all have ended") { $0.open == 1 }
            #expect(server.errors.count == 0)
        }
    }
}
