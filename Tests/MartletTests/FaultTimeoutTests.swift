// Peers that are slow, or silent.

import Glibc
import Synchronization
import Testing

@testable import Martlet

@Suite(.serialized) struct FaultTimeout {
    @Test("a peer that says nothing is reset after the first-byte timeout", arguments: bothDrivers)
    func firstByte(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.firstByteTimeout = .milliseconds(50)
        try await serving(driver, options: options, handler: echo) { server in
            let end = try await onThread { try Peer(port: server.port).receiveEnd() }
            #expect(end == ECONNRESET)
            try await server.eventually("the handler hears of it", holds: { server.errors.count == 1 })
            #expect(server.errors.entries.first as? NetworkError == .idleTimeout)
            #expect(await server.counters().idleTimeouts == 1)
        }
    }

    @Test("a peer that sends a byte now and then is kept, and reset when it stops", arguments: bothDrivers)
    func byteByByte(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.firstByteTimeout = .milliseconds(500)
        options.idleTimeout = .milliseconds(500)
        try await serving(driver, options: options, handler: echo) { server in
            let peer = try await onThread {
                let peer = try Peer(port: server.port)
                // Far longer than the timeout in all, each pause far shorter.
                for number in 0..<80 {
                    try peer.send([UInt8(number)])
                    #expect(try peer.receive(exactly: 1) == [UInt8(number)])
                    usleep(10_000)
                }
                return peer
            }
            #expect(server.errors.count == 0)
            #expect(try await onThread { peer.receiveEnd() } == ECONNRESET)
            try await server.eventually("the handler hears of it", holds: { server.errors.count == 1 })
            #expect(server.errors.entries.first as? NetworkError == .idleTimeout)
        }
    }

    @Test("a first byte in time lifts the first-byte timeout for good", arguments: bothDrivers)
    func firstByteInTime(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.firstByteTimeout = .milliseconds(60)
        try await serving(driver, options: options, handler: echo) { server in
            let peer = try await onThread {
                let peer = try Peer(port: server.port)
                try peer.send([1])
                _ = try peer.receive(exactly: 1)
                return peer
            }
            for _ in 0..<15 { try await server.core.sleep(for: .milliseconds(10)) }
            try await onThread {
                try peer.send([2])
                #expect(try peer.receive(exactly: 1) == [2])
                peer.close()
            }
        }
    }

    @Test("a thousand connections time out, each in its time, and none stays", arguments: bothDrivers)
    func many(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.idleTimeout = .milliseconds(300)
        try await serving(driver, options: options, handler: echo) { server in
            let peers = try await onThread { try (0..<1000).map { _ in try Peer(port: server.port) } }
            let ends = try await onThread { peers.map { $0.receiveEnd() } }
            #expect(ends.allSatisfy { $0 == ECONNRESET })
            try await server.eventually("all timed out") { $0.idleTimeouts == 1000 }
        }
    }

    @Test("a deadline on connecting to an address that does not answer", arguments: bothDrivers)
    func connectDeadline(driver: DriverChoice) async throws {
        // A listener whose backlog is full drops the SYNs that follow.
        let silent = try SilentListener()
        try await serving(driver, handler: echo) { server in
            await #expect(throws: NetworkError.deadlineExceeded) {
                try await server.core.withConnection(to: .loopback(port: silent.port), within: .milliseconds(50)) { _ in
                }
            }
        }
        _ = silent
    }
}
