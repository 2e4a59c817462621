// RST at every stage of a connection's life, and FIN in each direction. RFC 9293 §3.5.2, §3.6.

import Glibc
import Testing

@testable import Martlet

@Suite(.serialized) struct FaultReset {
    @Test("a connection reset in the backlog does no harm to those behind it", arguments: bothDrivers)
    func inBacklog(driver: DriverChoice) async throws {
        try await within(seconds: 30) {
            try await Runtime.run(faultConfiguration(driver)) { runtime in
                let core = runtime.cores[0]
                let server = FaultServer(runtime: runtime, port: 0, errors: Log())
                do {
                    let listener = try await core.listen(on: .loopback(port: 0))
                    let port = listener.address.port!
                    for round in 0..<20 {
                        // The core is held up, so that all of these are in the backlog, dead and alive, when it looks.
                        let peer = try await core.perform {
                            for _ in 0..<10 { try Peer(port: port).reset() }
                            return try Peer(port: port)
                        }
                        var alive = 0
                        while alive == 0 {
                            guard let connection = try await listener.accept() else { throw Failed("no listener") }
                            try? await connection.send([UInt8(round)])
                            do throws(NetworkError) {
                                while try await connection.receive(within: .milliseconds(1)) != nil {}
                            } catch {
                                if error == .deadlineExceeded { alive += 1 } else { #expect(error == .reset) }
                            }
                        }
                        #expect(try await onThread { try peer.receive(exactly: 1) } == [UInt8(round)])
                    }
                    try await server.eventually("listener only, all dropped") { $0.open == 1 }
                    _ = listener
                }
                try await server.eventually("nothing is open") { $0.open == 0 }
            }
        }
    }

    @Test("a reset before the first byte reaches a waiting receive", arguments: bothDrivers)
    func beforeFirstByte(driver: DriverChoice) async throws {
        try await serving(driver, handler: echo) { server in
            try await onThread { try Peer(port: server.port).reset() }
            try await server.eventually("the handler hears of it") { server.errors.count == 1 && $0.open == 1 }
            #expect(server.errors.entries.first as? NetworkError == .reset)
        }
    }

    @Test("a reset in the middle of a message: what came before it can still be read", arguments: bothDrivers)
    func midMessage(driver: DriverChoice) async throws {
        let received = Log<Int>()
        let handler: ConnectionHandler = { connection in
            for try await bytes in connection { received.append(bytes.count) }
        }
        try await serving(driver, handler: handler) { server in
            let peer = try await onThread {
                let peer = try Peer(port: server.port)
                try peer.send([1, 2, 3])
                return peer
            }
            try await server.eventually("the first part is there") { received.count == 1 && $0.bytesReceived == 3 }
            peer.reset()
            try await server.eventually("the handler hears of it") { _ in server.errors.count == 1 }
            #expect(server.errors.entries.first as? NetworkError == .reset)
            #expect(received.entries == [3])
        }
    }

    @Test("a reset while sending into full buffers ends the waiting send", arguments: bothDrivers)
    func whileSending(driver: DriverChoice) async throws {
        let handler: ConnectionHandler = { connection in
            let chunk = Bytes([UInt8](repeating: 7, count: 100_000))
            while true { try await connection.send(chunk) }
        }
        try await serving(driver, handler: handler) { server in
            let peer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096) }
            var before: UInt64 = 0
            var still = 0
            while still < 20 {
                let sent = await server.counters().bytesSent
                still = sent == before && sent > 0 ? still + 1 : 0
                before = sent
                try await server.core.sleep(for: .milliseconds(1))
            }
            peer.reset()
            try await server.eventually("the handler hears of it") { server.errors.count == 1 && $0.open == 1 }
            #expect(server.errors.entries.first as? NetworkError == .reset)
        }
    }

    @Test("a reset after the peer's FIN reaches a sender", arguments: bothDrivers)
    func afterHalfClose(driver: DriverChoice) async throws {
        let finished = Log<Int>()
        let handler: ConnectionHandler = { connection in
            while try await connection.receive() != nil {}
            finished.append(1)
            while true {
                try await connection.send("x")
                try await connection.core.sleep(for: .milliseconds(1))
            }
        }
        try await serving(driver, handler: handler) { server in
            let peer = try await onThread {
                let peer = try Peer(port: server.port)
                peer.finish()
                return peer
            }
            try await server.eventually("the FIN is there", holds: { finished.count == 1 })
            peer.reset()
            try await server.eventually("the handler hears of it") { server.errors.count == 1 && $0.open == 1 }
            #expect(server.errors.entries.first as? NetworkError == .reset)
        }
    }

    @Test("a reset while the connection is closing ends the closing", arguments: bothDrivers)
    func duringClose(driver: DriverChoice) async throws {
        let results = Log<NetworkError?>()
        let handler: ConnectionHandler = { connection in
            try await connection.send(Bytes([UInt8](repeating: 7, count: 200_000)))
            do throws(NetworkError) {
                try await connection.close()
                results.append(nil)
            } catch { results.append(error) }
        }
        var options = ConnectionOptions()
        options.kernelSendBuffer = 4096
        try await serving(driver, options: options, handler: handler) { server in
            let peer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096) }
            try await server.eventuallyOneSocket(
                "it waits for room", is: { $0.flags.isSuperset(of: [.finishWanted, .sendPending]) })
            #expect(results.count == 0)
            peer.reset()
            try await server.eventually("the closing ended") { results.count == 1 && $0.open == 1 }
            #expect(results.entries.first == .reset)
        }
    }

    @Test("a reset while a forgotten connection lingers frees it", arguments: bothDrivers)
    func whileLingering(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.kernelSendBuffer = 4096
        let handler: ConnectionHandler = { try await $0.send(Bytes([UInt8](repeating: 7, count: 200_000))) }
        try await serving(driver, options: options, handler: handler) { server in
            let peer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096) }
            try await server.eventuallyOneSocket(
                "it waits for room", is: { $0.flags.isSuperset(of: [.isClosing, .sendPending]) })
            peer.reset()
            try await server.eventually("the slot is free") { $0.open == 1 }
        }
    }

    @Test("a forgotten connection delivers all that it accepted", arguments: bothDrivers)
    func lingeringDelivers(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.kernelSendBuffer = 4096
        let size = 250_000
        let handler: ConnectionHandler = { try await $0.send(stream(from: 0, count: size)) }
        try await serving(driver, options: options, handler: handler) { server in
            let answers = try await onThread {
                let peers = try (0..<20).map { _ in try Peer(port: server.port, receiveBuffer: 4096) }
                return try peers.map { try $0.receiveToEnd() }
            }
            for answer in answers {
                #expect(answer.count == size)
                #expect(firstDifference(answer, from: 0) == nil)
            }
        }
    }

    @Test("a closing connection whose peer takes nothing is reset after the close timeout", arguments: bothDrivers)
    func closeTimeout(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.kernelSendBuffer = 4096
        options.closeTimeout = .milliseconds(50)
        let handler: ConnectionHandler = { try await $0.send(Bytes([UInt8](repeating: 7, count: 200_000))) }
        try await serving(driver, options: options, handler: handler) { server in
            let peer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096) }
            try await server.eventually("the slot is free") { $0.open == 1 && $0.closed == 1 }
            let end = try await onThread { peer.receiveEnd() }
            #expect(end == ECONNRESET)
        }
    }

    @Test("the longest close timeout is no close timeout", arguments: bothDrivers)
    func endlessCloseTimeout(driver: DriverChoice) async throws {
        var options = ConnectionOptions()
        options.kernelSendBuffer = 4096
        options.closeTimeout = .seconds(Int64.max)
        let handler: ConnectionHandler = { try await $0.send(stream(from: 0, count: 200_000)) }
        try await serving(driver, options: options, handler: handler) { server in
            let peer = try await onThread { try Peer(port: server.port, receiveBuffer: 4096) }
            try await server.eventuallyOneSocket(
                "it waits for room", is: { $0.flags.isSuperset(of: [.isClosing, .sendPending]) })
            let answer = try await onThread { try peer.receiveToEnd() }
            #expect(answer.count == 200_000)
        }
    }

    // MARK: FIN in each direction

    @Test("the peer finishes first: what is sent after that arrives", arguments: bothDrivers)
    func peerFinishesFirst(driver: DriverChoice) async throws {
        let handler: ConnectionHandler = { connection in
            var count = 0
            for try await bytes in connection { count += bytes.count }
            for _ in 0..<count { try await connection.send(stream(from: 0, count: 1000)) }
        }
        try await serving(driver, handler: handler) { server in
            let answer = try await onThread {
                let peer = try Peer(port: server.port)
                try peer.send([UInt8](repeating: 1, count: 300))
                peer.finish()
                return try peer.receiveToEnd()
            }
            #expect(answer.count == 300_000)
        }
    }

    @Test("this side finishes first: what the peer sends after that arrives", arguments: bothDrivers)
    func thisSideFinishesFirst(driver: DriverChoice) async throws {
        let received = Log<[UInt8]>()
        let refused = Log<NetworkError>()
        let handler: ConnectionHandler = { connection in
            try await connection.send("first")
            try await connection.finish()
            do throws(NetworkError) { try await connection.send("too late") } catch { refused.append(error) }
            var all: [UInt8] = []
            for try await bytes in connection { all += bytes }
            received.append(all)
        }
        try await serving(driver, handler: handler) { server in
            try await onThread {
                let peer = try Peer(port: server.port)
                let greeting = try peer.receiveToEnd()
                #expect(greeting == Array("first".utf8))
                try peer.send(stream(from: 0, count: 100_000))
                peer.close()
            }
            try await server.eventually("all is read", holds: { received.count == 1 })
            #expect(received.entries.first?.count == 100_000)
            #expect(firstDifference(received.entries.first ?? [], from: 0) == nil)
            #expect(refused.entries == [.closed])
            #expect(server.errors.count == 0)
        }
    }

    @Test("unread bytes make the close a reset", arguments: bothDrivers)
    func unreadBytesReset(driver: DriverChoice) async throws {
        let handler: ConnectionHandler = { connection in
            _ = try await connection.receive { bytes in min(1, bytes.byteCount) }
        }
        try await serving(driver, handler: handler) { server in
            let end = try await onThread {
                let peer = try Peer(port: server.port)
                try peer.send([1, 2, 3, 4])
                return peer.receiveEnd()
            }
            #expect(end == ECONNRESET)
        }
    }

    @Test("abort resets, and whoever waits hears that it was this side", arguments: bothDrivers)
    func abortResets(driver: DriverChoice) async throws {
        let outcomes = Log<NetworkError>()
        let handler: ConnectionHandler = { connection in
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    do throws(NetworkError) { _ = try await connection.receive() } catch { outcomes.append(error) }
                }
                group.addTask {
                    let bytes = Bytes([UInt8](repeating: 7, count: 100_000))
                    do throws(NetworkError) { while true { try await connection.send(bytes) } } catch {
                        outcomes.append(error)
                    }
                }
                group.addTask {
                    try? await connection.core.sleep(for: .milliseconds(20))
                    await connection.abort()
                }
            }
        }
        try await serving(driver, handler: handler) { server in
            let end = try await onThread {
                let peer = try Peer(port: server.port, receiveBuffer: 4096)
                var wait = pollfd(fd: peer.descriptor, events: Int16(POLLPRI), revents: 0)
                _ = unsafe poll(&wait, 1, 10_000)
                return peer.receiveEnd()
            }
            #expect(end == ECONNRESET)
            try await server.eventually("both heard") { outcomes.count == 2 && $0.open == 1 }
            #expect(outcomes.entries == [.closed, .closed])
        }
    }
}
