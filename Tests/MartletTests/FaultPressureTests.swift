// Every limit run into: receive buffers, send buffers, the completion queue, slots, and peers that do not take what is sent.
// Running into a limit is counted and slows down; it loses nothing, stops nothing for ever, and does not spin.

import Glibc
import MartletSimulation
import Synchronization
import Testing

@testable import Martlet

@Suite(.serialized) struct FaultPressure {
    /// Sends and receives in turn on many connections, and checks every byte.
    static func exchange(port: UInt16, connections: Int, turns: Int, size: Int) throws {
        let peers = try (0..<connections).map { _ in try Peer(port: port) }
        for turn in 0..<turns {
            for (index, peer) in peers.enumerated() { try peer.send(stream(from: turn * size + index, count: size)) }
            for (index, peer) in peers.enumerated() {
                let answer = try peer.receive(exactly: size)
                if let offset = firstDifference(answer, from: turn * size + index) {
                    throw Failed("connection \(index) differs at \(offset) in turn \(turn)")
                }
            }
        }
    }

    @Test("with four receive buffers all bytes of many connections arrive", arguments: bothDrivers)
    func fewReceiveBuffers(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.receiveBuffers = 4
        limits.maximumReceiveBuffers = 4
        limits.receiveBufferSize = 1024
        try await serving(driver, limits: limits, handler: echo) { server in
            try await onThread { try Self.exchange(port: server.port, connections: 100, turns: 10, size: 5000) }
            #expect(await server.counters().bytesReceived == 5_000_000)
            #expect(await server.counters().receiveBuffersExhausted > 0)
        }
    }

    @Test("a program that keeps what it receives does not stop the receiving", arguments: bothDrivers)
    func hoarder(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.receiveBuffers = 4
        limits.maximumReceiveBuffers = 4
        limits.receiveBufferSize = 1024
        let hoard = Log<Bytes>()
        let handler: ConnectionHandler = { connection in
            for try await bytes in connection {
                hoard.append(bytes)
                try await connection.send("k")
            }
        }
        try await serving(driver, limits: limits, handler: handler) { server in
            try await onThread {
                let peer = try Peer(port: server.port, patience: 5)
                for turn in 0..<50 {
                    try peer.send(stream(from: turn * 1000, count: 1000))
                    _ = try peer.receive(exactly: 1)
                }
            }
            let all = hoard.entries.flatMap { Array($0) }
            #expect(all.count == 50_000)
            #expect(firstDifference(all, from: 0) == nil)
            #expect(await server.counters().receiveBuffersReplaced > 0)
        }
    }

    @Test("buffers let go on another thread are noticed by a core that sleeps", arguments: bothDrivers)
    func letGoElsewhere(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.receiveBuffers = 4
        limits.maximumReceiveBuffers = 4
        limits.receiveBufferSize = 1024
        let held = Guarded<[Bytes]>([])
        let count = Atomic<Int>(0)
        let handler: ConnectionHandler = { connection in
            for try await bytes in connection {
                held.withLock { $0.append(bytes) }
                count.add(bytes.count, ordering: .relaxed)
            }
        }
        try await serving(driver, limits: limits, handler: handler) { server in
            let peer = try await onThread {
                let peer = try Peer(port: server.port, patience: 5)
                try peer.send(stream(from: 0, count: 20_000))
                return peer
            }
            // Not a round of the core's is asked for from here on: it must come to it by itself.
            try await onThread {
                var rounds = 0
                while count.load(ordering: .relaxed) < 20_000 {
                    usleep(1000)
                    held.withLock { $0.removeAll() }
                    rounds += 1
                    if rounds == 5000 { throw Failed("stuck at \(count.load(ordering: .relaxed)) bytes") }
                }
            }
            _ = peer
        }
    }

    @Test("an overflown completion queue loses nothing", arguments: bothDrivers)
    func completionQueueOverflow(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.submissionEntries = 4
        limits.completionEntries = 4
        try await serving(driver, limits: limits, handler: echo) { server in
            try await onThread { try Self.exchange(port: server.port, connections: 200, turns: 10, size: 3000) }
            #expect(await server.counters().bytesReceived == 6_000_000)
            if driver == .ioUring { #expect(await server.counters().completionQueueOverflows > 0) }
        }
    }

    // MARK: Peers that do not take what is sent

    @Test(
        "a peer that never reads: send suspends, memory is bounded, the write timeout ends it", arguments: bothDrivers)
    func neverReads(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.sendLimit = 64 * 1024
        options.writeTimeout = .milliseconds(100)
        let queued = Atomic<Int>(0)
        let handler: ConnectionHandler = { connection in
            while true {
                try await connection.send([UInt8](repeating: 1, count: 1000))
                queued.add(1000, ordering: .relaxed)
            }
        }
        try await serving(driver, options: options, handler: handler) { server in
            let peer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096) }
            try await server.eventuallyOneSocket(
                "the queue is full", is: { $0.sendBytes > 60_000 && $0.senderHead >= 0 })
            let highest = await server.core.perform {
                server.core.transport.sockets.slots.map { server.core.transport.sockets[$0].sendBytes }.max() ?? 0
            }
            #expect(highest <= 64 * 1024)
            try await server.eventually("it timed out") { server.errors.count == 1 && $0.open == 1 }
            #expect(server.errors.entries.first as? NetworkError == .writeTimeout)
            #expect(try await onThread { peer.receiveEnd() } == ECONNRESET)
        }
    }

    @Test("a peer that reads slowly is not timed out", arguments: bothDrivers)
    func readsSlowly(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.kernelSendBuffer = 4096
        options.writeTimeout = .milliseconds(100)
        let size = 200_000
        let handler: ConnectionHandler = { connection in
            try await connection.send(stream(from: 0, count: size))
            try await connection.flush()
        }
        try await serving(driver, options: options, handler: handler) { server in
            let peer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096) }
            var received: [UInt8] = []
            while true {
                let more = try await onThread { try peer.receive(atMost: 2000) }
                if more.isEmpty { break }
                received += more
                try await server.core.sleep(for: .milliseconds(4))
            }
            #expect(received.count == size)
            #expect(firstDifference(received, from: 0) == nil)
            #expect(server.errors.count == 0)
        }
    }

    @Test("senders that find no buffer wait without spinning, and go on when there is one", arguments: bothDrivers)
    func fewSendBuffers(driver: DriverChoice) async throws {
        for large in [false, true] {
            var limits = Limits()
            limits.maximumSendBuffers = 2
            var options = ConnectionOptions()
            options.kernelSendBuffer = 4096
            let size = large ? 100_000 : 3000
            let message = Bytes(stream(from: 0, count: size))
            let handler: ConnectionHandler = { connection in
                _ = try await connection.receive()
                for _ in 0..<(300_000 / size) { try await connection.send(message) }
                _ = try await connection.receive()
            }
            try await serving(driver, limits: limits, options: options, handler: handler) { server in
                let stalled = try await onThread {
                    try (0..<6).map { _ in try Peer(port: server.port, receiveBuffer: 4096) }
                }
                try await onThread { for peer in stalled { try peer.send([1]) } }
                try await server.eventuallyOneSocket(
                    "one waits for a buffer", is: { $0.senderHead >= 0 && $0.sendBytes == 0 })
                var before = await server.counters().rounds
                var calm = false
                for _ in 0..<200 where !calm {
                    try await server.core.sleep(for: .milliseconds(20))
                    let now = await server.counters().rounds
                    calm = now - before < 20
                    before = now
                }
                #expect(calm, "the core spins, large: \(large)")
                // All read at once: each is served in the end.
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for peer in stalled {
                        group.addTask {
                            try await onThread {
                                let answer = try peer.receive(exactly: 300_000 / size * size)
                                for start in Swift.stride(from: 0, to: answer.count, by: size) {
                                    #expect(firstDifference(answer[start..<start + size], from: 0) == nil)
                                }
                                peer.finish()
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("echo to a peer that reads only when nothing goes any more loses nothing", arguments: bothDrivers)
    func readsLate(driver: DriverChoice) async throws {
        // Small writes: under io_uring each echo is a silent send, until one of them finds the kernel's buffer full.
        var options = ConnectionOptions()
        options.kernelSendBuffer = 4096
        let size = 300_000
        try await serving(driver, options: options, handler: echo) { server in
            let peer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096) }
            for round in 0..<5 {
                async let sent: Void = onThread {
                    for offset in Swift.stride(from: 0, to: size, by: 500) {
                        try peer.send(stream(from: round + offset, count: 500))
                    }
                }
                try await server.eventuallyOneSocket("a send waits for room", is: { $0.flags.contains(.sendPending) })
                let answer = try await onThread { try peer.receive(exactly: size) }
                try await sent
                #expect(firstDifference(answer, from: round) == nil)
            }
            peer.finish()
        }
    }

    // MARK: Slots

    @Test("connections beyond the slots wait in the backlog and are served in their turn", arguments: bothDrivers)
    func fewSlots(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.connectionsPerCore = 4
        try await serving(driver, limits: limits, handler: echo) { server in
            try await onThread {
                let peers = try (0..<50).map { _ in try Peer(port: server.port) }
                for (index, peer) in peers.enumerated() {
                    try peer.send([UInt8(index)])
                    peer.finish()
                }
                for (index, peer) in peers.enumerated() { #expect(try peer.receiveToEnd() == [UInt8(index)]) }
            }
            let counters = await server.counters()
            #expect(counters.accepted == 50)
            #expect(counters.acceptPauses > 0)
        }
    }

    @Test("a listener holds no more connections than it may", arguments: bothDrivers)
    func fewConnectionsAListener(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.maximumConnectionsPerCore = 3
        let now = Atomic<Int>(0)
        let most = Atomic<Int>(0)
        let handler: ConnectionHandler = { connection in
            let open = now.add(1, ordering: .relaxed).newValue
            most.max(open, ordering: .relaxed)
            try await echo(connection)
            now.subtract(1, ordering: .relaxed)
        }
        try await serving(driver, options: options, handler: handler) { server in
            try await onThread {
                let peers = try (0..<50).map { _ in try Peer(port: server.port) }
                for (index, peer) in peers.enumerated() {
                    try peer.send([UInt8(index)])
                    peer.finish()
                }
                for (index, peer) in peers.enumerated() { #expect(try peer.receiveToEnd() == [UInt8(index)]) }
            }
            #expect(most.load(ordering: .relaxed) <= 3)
        }
    }

    @Test("idle connections at the limit do not make the core spin", arguments: bothDrivers)
    func fullAndIdle(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.connectionsPerCore = 4
        try await serving(driver, limits: limits, handler: echo) { server in
            let peers = try await onThread { try (0..<10).map { _ in try Peer(port: server.port) } }
            try await server.eventually("the slots are full") { $0.open == 4 }
            let before = await server.counters().rounds
            for _ in 0..<10 { try await server.core.sleep(for: .milliseconds(5)) }
            #expect(await server.counters().rounds - before < 100)
            for peer in peers { peer.close() }
        }
    }
}
