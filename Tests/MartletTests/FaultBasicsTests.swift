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

    @Test("a kernel thread that submits changes nothing of this")
    func polledByTheKernel() async throws {
        try await within(seconds: 30) {
            var configuration = faultConfiguration(.ioUring)
            configuration.sqpoll = true
            try await Runtime.run(configuration) { runtime in
                #expect(runtime.driver == "io_uring (SQPOLL)")
                let port = Promise<UInt16>()
                let serve = Task {
                    try await runtime.serve(
                        on: .loopback(port: 0), onListening: { port.keep($0.port!) }, handler: echo)
                }
                let server = FaultServer(runtime: runtime, port: await port.value, errors: Log())
                try await onThread {
                    try FaultPressure.exchange(port: server.port, connections: 50, turns: 20, size: 5000)
                }
                try await server.eventually("only the listener is open") { $0.open == 1 }
                serve.cancel()
                try await serve.value
            }
        }
    }
}
