// UDP: datagrams come whole, in batches, and a receive can be cancelled without losing one.

import Martlet
import MartletStack
import Synchronization
import Testing

@Suite("UDP", .timeLimit(.minutes(1)))
struct APIDatagramTests {
    private static let loopbacks: [SocketAddress] = [.loopback(port: 0), .ipv6(.loopback, port: 0)]

    /// Runs `body` on one core with two sockets.
    private func withSockets(
        _ driver: DriverChoice, _ address: SocketAddress = .loopback(port: 0),
        _ body: @escaping @Sendable (Core, UDPSocket, UDPSocket) async throws -> Void
    ) async throws {
        try await Runtime.run(.test(driver)) { runtime in
            try await runtime.forEachCore { core in
                try await body(core, core.bindUDP(on: address), core.bindUDP(on: address))
            }
        }
    }

    @Test("a datagram is echoed to its sender", arguments: everyDriver, loopbacks)
    func echo(_ driver: DriverChoice, _ address: SocketAddress) async throws {
        try await withSockets(driver, address) { (_, client, server) async throws in
            #expect(server.address.port != 0)
            for round in 0..<2000 {
                #expect(try await client.send(Datagram(Bytes("ping \(round)"), to: server.address)))
                let question = try #require(try await server.receive())
                #expect(question.bytes == Bytes("ping \(round)"))
                #expect(question.peer == client.address)
                try await server.send(Datagram(Bytes("pong \(round)"), to: question.peer))
                let answer = try #require(try await client.receive())
                #expect(answer.bytes == Bytes("pong \(round)"))
                #expect(answer.peer == server.address)
            }
        }
    }

    @Test("datagrams keep their sizes, the empty one too", arguments: everyDriver)
    func sizes(_ driver: DriverChoice) async throws {
        try await withSockets(driver) { (_, client, server) async throws in
            for size in [0, 1, 512, 1472, 1473, 9000, 16_384] {
                let bytes = Bytes((0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) })
                #expect(try await client.send(Datagram(bytes, to: server.address)))
                #expect(try await server.receive()?.bytes == bytes)
            }
        }
    }

    @Test("a datagram larger than a receive buffer is cut", arguments: everyDriver)
    func cut(_ driver: DriverChoice) async throws {
        try await withSockets(driver) { (_, client, server) async throws in
            let bytes = Bytes([UInt8](repeating: 7, count: 20_000))
            #expect(try await client.send(Datagram(bytes, to: server.address)))
            #expect(try await server.receive()?.bytes == bytes[0..<16_384])
            try await client.send(Datagram("next", to: server.address))
            #expect(try await server.receive()?.bytes == "next")
        }
    }

    @Test("a thousand datagrams in batches of a hundred arrive in order", arguments: everyDriver)
    func batch(_ driver: DriverChoice) async throws {
        try await withSockets(driver) { (_, client, server) async throws in
            for _ in 0..<5 {
                // The kernel's buffer holds some hundreds of the smallest: the sender waits for the receiver now and then.
                let total = 1000
                let count = Atomic<Int>(0)
                async let received: [Int] = {
                    var numbers: [Int] = []
                    while numbers.count < total, let datagram = try await server.receive(within: .seconds(5)) {
                        numbers.append(Int(datagram.bytes[0]) << 8 | Int(datagram.bytes[1]))
                        count.store(numbers.count, ordering: .relaxed)
                    }
                    return numbers
                }()
                for start in stride(from: 0, to: total, by: 100) {
                    let datagrams = (start..<start + 100).map {
                        Datagram([UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)], to: server.address)
                    }
                    #expect(try await client.send(contentsOf: datagrams) == 100)
                    while count.load(ordering: .relaxed) < start + 100 { await Task.yield() }
                }
                #expect(try await received == Array(0..<total))
            }
        }
    }

    @Test(
        "one call sends a thousand datagrams, and none of those it counts is lost before the kernel",
        arguments: everyDriver)
    func oneCall(_ driver: DriverChoice) async throws {
        try await withSockets(driver) { (_, client, server) async throws in
            let datagrams = (0..<1000).map {
                Datagram([UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)], to: server.address)
            }
            let sent = try await client.send(contentsOf: datagrams)
            #expect(sent == 1000)
            // What the receiver's kernel buffer could not hold is dropped: what does come is in order.
            var last = -1
            var count = 0
            while count < 100, let datagram = try await server.receive(within: .seconds(2)) {
                let number = Int(datagram.bytes[0]) << 8 | Int(datagram.bytes[1])
                #expect(number > last)
                last = number
                count += 1
            }
            #expect(count == 100)
        }
    }

    @Test("a program that keeps every datagram goes on receiving", arguments: everyDriver)
    func keeping(_ driver: DriverChoice) async throws {
        var configuration = Runtime.Configuration.test(driver)
        configuration.limits.receiveBuffers = 16
        configuration.limits.maximumReceiveBuffers = 64
        try await Runtime.run(configuration) { runtime in
            try await runtime.forEachCore { core in
                let client = try await core.bindUDP(on: .loopback(port: 0))
                let server = try await core.bindUDP(on: .loopback(port: 0))
                var kept: [Bytes] = []
                for round in 0..<500 {
                    let bytes = Bytes([UInt8](repeating: UInt8(round & 0xff), count: 3000))
                    #expect(try await client.send(Datagram(bytes, to: server.address)))
                    kept.append(try #require(try await server.receive(within: .seconds(5))).bytes)
                }
                for (round, bytes) in kept.enumerated() {
                    #expect(bytes.count == 3000 && bytes.allSatisfy { $0 == UInt8(round & 0xff) })
                }
            }
        }
    }

    @Test("a receive that is cancelled or passes its deadline throws, and loses nothing", arguments: everyDriver)
    func cancellation(_ driver: DriverChoice) async throws {
        try await withSockets(driver) { (_, client, server) async throws in
            await #expect(throws: NetworkError.deadlineExceeded) { try await server.receive(within: .milliseconds(2)) }
            for round in 0..<50 {
                await withTaskGroup(of: Void.self) { group in
                    group.addTask { await #expect(throws: NetworkError.cancelled) { try await server.receive() } }
                    await Task.yield()
                    group.cancelAll()
                }
                let task = Task.detached { try await server.receive() }
                await Task.yield()
                task.cancel()
                await #expect(throws: NetworkError.cancelled) { try await task.value }
                #expect(try await client.send(Datagram(Bytes("\(round)"), to: server.address)))
                #expect(try await server.receive()?.bytes == Bytes("\(round)"))
            }
        }
    }

    @Test("a closed socket ends its sequence, and sending on it throws .closed", arguments: everyDriver)
    func closing(_ driver: DriverChoice) async throws {
        try await withSockets(driver) { (_, client, server) async throws in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    var count = 0
                    for try await _ in server { count += 1 }
                    #expect(count == 0)
                }
                await Task.yield()
                await server.close()
                try await group.waitForAll()
            }
            #expect(try await server.receive() == nil)
            await server.close()
            await #expect(throws: NetworkError.closed) { try await server.send(Datagram("x", to: client.address)) }
        }
    }

    @Test("a socket works from elsewhere than its core", arguments: everyDriver)
    func elsewhere(_ driver: DriverChoice) async throws {
        try await Runtime.run(.test(driver)) { runtime in
            let client = try await runtime.cores[0].bindUDP(on: .loopback(port: 0))
            let server = try await runtime.cores[0].bindUDP(on: .loopback(port: 0))
            let echo = Task {
                for try await datagram in server { try await server.send(datagram) }
            }
            for round in 0..<300 {
                try await client.send(Datagram(Bytes("\(round)"), to: server.address))
                #expect(try await client.receive()?.bytes == Bytes("\(round)"))
            }
            await server.close()
            try await echo.value
        }
    }

    @Test("a socket whose last copy is dropped gives its port back", arguments: everyDriver)
    func dropping(_ driver: DriverChoice) async throws {
        try await Runtime.run(.test(driver)) { runtime in
            try await runtime.forEachCore { core in
                let address: SocketAddress
                do {
                    let socket = try await core.bindUDP(on: .loopback(port: 0))
                    address = socket.address
                }
                // io_uring closes at the end of the round: a moment later at most.
                try await core.sleep(for: .milliseconds(1))
                let again = try await core.bindUDP(on: address)
                #expect(again.address == address)
                await #expect(throws: NetworkError.addressInUse(address)) { try await core.bindUDP(on: address) }
            }
        }
    }

    @Test("a port that is shared by choice is shared", arguments: everyDriver)
    func sharing(_ driver: DriverChoice) async throws {
        try await Runtime.run(.test(driver)) { runtime in
            let core = runtime.cores[0]
            let one = try await core.bindUDP(on: .loopback(port: 0), sharesPort: true)
            let other = try await core.bindUDP(on: one.address, sharesPort: true)
            #expect(one.address == other.address)
        }
    }

    @Test("a destination that cannot be reached is said, and the socket is usable after that", arguments: everyDriver)
    func unreachable(_ driver: DriverChoice) async throws {
        try await withSockets(driver) { (_, client, server) async throws in
            // Nobody listens there: loopback answers with ICMP, which an unconnected socket does not hear of.
            try await client.send(Datagram("x", to: .loopback(port: 1)))
            let tooLarge = Bytes([UInt8](repeating: 0, count: 70_000))
            await #expect(throws: NetworkError.self) { try await client.send(Datagram(tooLarge, to: server.address)) }
            await #expect(throws: NetworkError.self) {
                try await client.send(Datagram("x", to: .ipv6(.loopback, port: 9)))
            }
            try await client.send(Datagram("after", to: server.address))
            #expect(try await server.receive(within: .seconds(5))?.bytes == "after")
        }
    }
}
