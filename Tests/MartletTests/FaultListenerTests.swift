// Listeners that close with connections in their backlog, addresses that cannot be had, tables that are full.

import CMartlet
import Glibc
import MartletStack
import Synchronization
import Testing

@testable import Martlet

@Suite(.serialized) struct FaultListener {
    /// A runtime with one core, and the check that nothing is open at its end.
    static func running(
        _ driver: DriverChoice, limits: Limits = .init(), _ body: @escaping @Sendable (FaultServer) async throws -> Void
    ) async throws {
        try await within(seconds: 30) {
            try await Runtime.run(faultConfiguration(driver, limits: limits)) { runtime in
                let server = FaultServer(runtime: runtime, port: 0, errors: Log())
                try await body(server)
                try await server.eventually("nothing is open") { $0.open == 0 }
            }
        }
    }

    @Test("a listener closed without draining resets its backlog", arguments: bothDrivers)
    func closeWithoutDraining(driver: DriverChoice) async throws {
        try await Self.running(driver) { server in
            let core = server.core
            let listener = try await core.listen(on: .loopback(port: 0))
            let port = listener.address.port!
            // The core's thread connects them itself: it cannot accept any of them before it closes.
            let peers = try await core.perform {
                let peers = try (0..<20).map { _ in try Peer(port: port) }
                #expect(core.isCurrent)
                core.transport.closeListener(listener.handle.slot, drain: false)
                return peers
            }
            #expect(try await listener.accept() == nil)
            let ends = try await onThread { peers.map { $0.receiveEnd() } }
            #expect(ends.allSatisfy { $0 == ECONNRESET })
            #expect(throws: Peer.Errno(number: ECONNREFUSED, during: "connect")) { try Peer(port: port) }
        }
    }

    @Test("a listener closed with draining still yields its backlog, then ends", arguments: bothDrivers)
    func closeWithDraining(driver: DriverChoice) async throws {
        try await Self.running(driver) { server in
            let core = server.core
            do {
                let listener = try await core.listen(on: .loopback(port: 0))
                let port = listener.address.port!
                let peers = try await core.perform {
                    let peers = try (0..<20).map { _ in try Peer(port: port) }
                    core.transport.closeListener(listener.handle.slot, drain: true)
                    return peers
                }
                #expect(throws: Peer.Errno(number: ECONNREFUSED, during: "connect")) { try Peer(port: port) }
                var accepted = 0
                for try await connection in listener {
                    try await connection.send("x")
                    accepted += 1
                }
                #expect(accepted == 20)
                let answers = try await onThread { try peers.map { try $0.receiveToEnd() } }
                #expect(answers.allSatisfy { $0 == [0x78] })
            }
        }
    }

    @Test("a dropped listener resets what nobody has taken", arguments: bothDrivers)
    func dropped(driver: DriverChoice) async throws {
        try await Self.running(driver) { server in
            let peers: [Peer]
            do {
                let listener = try await server.core.listen(on: .loopback(port: 0))
                let port = listener.address.port!
                peers = try await onThread { try (0..<20).map { _ in try Peer(port: port) } }
                try await server.eventually("all are accepted") { $0.accepted == 20 }
                _ = listener
            }
            let ends = try await onThread { peers.map { $0.receiveEnd() } }
            #expect(ends.allSatisfy { $0 == ECONNRESET })
        }
    }

    @Test("a draining listener with one slot serves its whole backlog before serve returns", arguments: bothDrivers)
    func drainsOneByOne(driver: DriverChoice) async throws {
        for peerFinishes in [true, false] {
            try await Self.running(driver) { server in
                let runtime = server.runtime
                let served = Tally()
                let port = Promise<UInt16>()
                var options = ConnectionOptions()
                options.maximumConnectionsPerCore = 1
                let core = server.core
                let serve = Task { [options] in
                    try await runtime.serve(
                        on: .loopback(port: 0), options: options, onListening: { port.keep($0.port!) }
                    ) {
                        let request = try await $0.receive()
                        try await $0.send(request ?? "nothing")
                        served.increment()
                    }
                    return served.value
                }
                let number = await port.value
                let peers = try await core.perform {
                    let peers = try (0..<10).map { _ in try Peer(port: number) }
                    for peer in peers {
                        try peer.send([7])
                        if peerFinishes { peer.finish() }
                    }
                    return peers
                }
                await runtime.shutdown(within: .seconds(10))
                #expect(
                    try await serve.value == 10, "serve returned before its backlog was served; FIN: \(peerFinishes)")
                let answers = try await onThread { peers.map { try? $0.receiveToEnd() } }
                #expect(answers.allSatisfy { $0 == [7] })
            }
        }
    }

    @Test("a shutdown delivers what handlers have sent before the runtime ends", arguments: bothDrivers)
    func shutdownDelivers(driver: DriverChoice) async throws {
        try await within(seconds: 30) {
            var options = ConnectionOptions()
            options.kernelSendBuffer = 4096
            let size = 250_000
            let peer = Promise<Peer>()
            async let run: Void = Runtime.run(faultConfiguration(driver)) { [options] runtime in
                try await runtime.serve(
                    on: .loopback(port: 0), options: options,
                    onListening: { address in
                        Task { peer.keep(try await onThread { try Peer(port: address.port!, receiveBuffer: 4096) }) }
                    },
                    handler: { connection in
                        try await connection.send(stream(from: 0, count: size))
                        Task { await runtime.shutdown(within: .seconds(10)) }
                    })
            }
            let answer = try await { peer in try await onThread { try peer.receiveToEnd() } }(await peer.value)
            #expect(answer.count == size)
            try await run
        }
    }

    // MARK: What cannot be had

    @Test("a full table refuses a listener and gives its port back", arguments: bothDrivers)
    func fullTable(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.connectionsPerCore = 1
        try await Self.running(driver, limits: limits) { server in
            let port: UInt16
            do {
                let listener = try await server.core.listen(on: .loopback(port: 0))
                port = try freePort()
                let wanted = SocketAddress.loopback(port: port)
                await #expect(throws: NetworkError.limitReached("connectionsPerCore")) {
                    _ = try await server.core.listen(on: wanted)
                }
                await #expect(throws: NetworkError.limitReached("connectionsPerCore")) {
                    try await server.runtime.serve(on: wanted) { _ in }
                }
                await #expect(throws: NetworkError.limitReached("connectionsPerCore")) {
                    _ = try await server.core.bindUDP(on: .loopback(port: 0))
                }
                await #expect(throws: NetworkError.limitReached("connectionsPerCore")) {
                    try await server.core.withConnection(to: listener.address) { _ in }
                }
                _ = listener
            }
            #expect(throws: Peer.Errno(number: ECONNREFUSED, during: "connect")) { try Peer(port: port) }
        }
    }

    @Test("an address in use, one of another machine, and none at all are errors that name it", arguments: bothDrivers)
    func badAddresses(driver: DriverChoice) async throws {
        try await Self.running(driver) { server in
            let core = server.core
            do {
                let listener = try await core.listen(on: .loopback(port: 0))
                let used = listener.address
                let inUse = await #expect(throws: NetworkError.addressInUse(used)) {
                    _ = try await core.listen(on: used)
                }
                #expect(inUse?.description.contains("\(used)") == true)
                await #expect(throws: NetworkError.addressInUse(used)) {
                    try await server.runtime.serve(on: used) { _ in }
                }
                let elsewhere = try SocketAddress("192.0.2.1:8080")
                await #expect(throws: NetworkError.addressNotAvailable(elsewhere)) {
                    _ = try await core.listen(on: elsewhere)
                }
                await #expect(throws: NetworkError.addressNotAvailable(elsewhere)) {
                    try await server.runtime.serve(on: elsewhere) { _ in }
                }
                await #expect(throws: NetworkError.addressNotAvailable(elsewhere)) {
                    _ = try await core.bindUDP(on: elsewhere)
                }
                let long = SocketAddress.unix(path: String(repeating: "x", count: 200))
                await #expect(throws: NetworkError.invalidAddress(long.description)) {
                    _ = try await core.listen(on: long)
                }
                await #expect(throws: NetworkError.self) {
                    _ = try await core.listen(on: .unix(path: "/no/such/directory/s"))
                }
                let nobody = SocketAddress.unix(path: "@martlet-nobody-\(getpid())")
                await #expect(throws: NetworkError.connectionRefused(nobody)) {
                    try await core.withConnection(to: nobody) { _ in }
                }
                for text in ["", "1.2.3.4", "1.2.3.4:70000", "1.2.3:80", "[::1:80", "host:80", "unix:"] {
                    #expect(throws: NetworkError.invalidAddress(text)) { _ = try SocketAddress(text) }
                }
            }
            let refused = await #expect(throws: NetworkError.self) {
                let listener = try await core.listen(on: .loopback(port: 0))
                let address = listener.address
                await listener.close()
                try await core.withConnection(to: address) { _ in }
            }
            if case .connectionRefused = refused {} else { Issue.record("\(String(describing: refused))") }
        }
    }

    @Test("listening and serving after a shutdown began are refused", arguments: bothDrivers)
    func afterShutdown(driver: DriverChoice) async throws {
        try await Self.running(driver) { server in
            await server.runtime.shutdown(within: .seconds(1))
            await #expect(throws: NetworkError.shuttingDown) {
                _ = try await server.core.listen(on: .loopback(port: 0))
            }
            await #expect(throws: NetworkError.shuttingDown) {
                try await server.runtime.serve(on: .loopback(port: 0)) { _ in }
            }
        }
    }

    @Test(
        "datagrams are received although all receive buffers are with the kernel or the program", arguments: bothDrivers
    )
    func datagramsWithoutBuffers(driver: DriverChoice) async throws {
        var limits = Limits()
        limits.receiveBuffers = 4
        limits.maximumReceiveBuffers = 4
        try await Self.running(driver, limits: limits) { server in
            let core = server.core
            do {
                let first = try await core.bindUDP(on: .loopback(port: 0))
                let second = try await core.bindUDP(on: .loopback(port: 0))
                var kept: [Datagram] = []
                for number in 0..<100 {
                    try await first.send(Datagram(Bytes("\(number)"), to: second.address))
                    let datagram = try await second.receive(within: .seconds(2))
                    #expect(datagram?.bytes == Bytes("\(number)"))
                    if let datagram { kept.append(datagram) }
                }
                #expect(kept.count == 100)
            }
        }
    }
}
