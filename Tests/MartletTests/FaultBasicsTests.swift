// First of all: echoed bytes come back, connections end as they should, and nothing stays behind.

import CMartlet
import Glibc
import Martlet
import Testing

@Suite(.serialized) struct FaultBasics {
    @Test("echoed bytes come back whole, whatever the sizes", arguments: bothDrivers)
    func echoComesBack(driver: DriverChoice) async throws {
        try await serving(driver, handler: echo) { server in
            try await onThread {
                for size in [1, 100, 4095, 4096, 16384, 16385, 300_000] {
                    let peer = try Peer(port: server.port)
                    try peer.send(stream(from: size, count: size))
                    peer.finish()
                    let answer = try peer.receiveToEnd()
                    #expect(answer.count == size)
                    #expect(firstDifference(answer, from: size) == nil)
                }
            }
        }
    }

    @Test("a handler that returns after sending closes at once", arguments: bothDrivers)
    func returningCloses(driver: DriverChoice) async throws {
        try await serving(driver, handler: { try await $0.send("hello") }) { server in
            let answer = try await onThread { try Peer(port: server.port, patience: 5).receiveToEnd() }
            #expect(answer == Array("hello".utf8))
        }
    }

    @Test("a handler that throws resets, also after sending", arguments: bothDrivers)
    func throwingResets(driver: DriverChoice) async throws {
        let handler: ConnectionHandler = { connection in
            _ = try await connection.receive()
            throw Failed("on purpose")
        }
        try await serving(driver, handler: handler) { server in
            let end = try await onThread {
                let peer = try Peer(port: server.port, patience: 5)
                try peer.send([1])
                return peer.receiveEnd()
            }
            #expect(end == ECONNRESET)
            try await server.eventually("the error is told", holds: { server.errors.count == 1 })
        }
    }
}
