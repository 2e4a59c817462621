// The own stack as a runtime's transport, in memory: what it is told, what it refuses, and how a runtime with it ends.

import MartletStack
import Testing

@testable import Martlet

@Suite("A runtime over its own stack")
struct StackRuntimeTests {
    private static func configuration(_ interfaces: [StackInterface] = []) -> Runtime.Configuration {
        var configuration = Runtime.Configuration(transport: .stack(interfaces), cores: .count(1), logger: nil)
        configuration.pinsThreads = false
        return configuration
    }

    @Test("an echo over IPv4 and IPv6 reaches a listener on all addresses", arguments: ["127.0.0.1", "::1"])
    func echo(_ host: String) async throws {
        try await Runtime.run(Self.configuration()) { runtime in
            try await runtime.cores[0].onCore {
                let core = runtime.cores[0]
                let listener = try await core.listen(on: .any(port: 0))
                let port = try #require(listener.address.port)
                async let served: Void = {
                    guard let connection = try await listener.accept() else { return }
                    for try await bytes in connection { try await connection.send(bytes) }
                }()
                try await runtime.withConnection(to: host, port: port) { connection in
                    try await connection.send("hello")
                    #expect(try await connection.receive() == "hello")
                    #expect(await connection.info?.state == .established)
                    try await connection.finish()
                    #expect(try await connection.receive() == nil)
                }
                try await served
            }
        }
    }

    @Test("two stacks of two runtimes do not share ports")
    func apart() async throws {
        try await Runtime.run(Self.configuration()) { first in
            try await first.cores[0].onCore {
                let core = first.cores[0]
                let listener = try await core.listen(on: .loopback(port: 7))
                try await Runtime.run(Self.configuration()) { second -> Void in
                    await #expect(throws: NetworkError.connectionRefused(.loopback(port: 7))) {
                        try await second.withConnection(to: .loopback(port: 7)) { _ in }
                    }
                }
                await #expect(throws: NetworkError.addressInUse(.loopback(port: 7))) {
                    _ = try await core.listen(on: .loopback(port: 7))
                }
                await listener.close()
            }
        }
    }

    @Test("an address that is not the stack's cannot be listened on, and one without a route cannot be reached")
    func addresses() async throws {
        let stranger = SocketAddress.ipv4(IPv4Address(192, 0, 2, 1), port: 80)
        try await Runtime.run(Self.configuration()) { runtime in
            await #expect(throws: NetworkError.addressNotAvailable(stranger)) {
                try await runtime.serve(on: stranger) { _ in }
            }
            await #expect(throws: NetworkError.unreachable(stranger)) {
                try await runtime.withConnection(to: stranger) { _ in }
            }
        }
    }

    @Test("datagrams go both ways, and one that is too long is refused")
    func datagrams() async throws {
        try await Runtime.run(Self.configuration()) { runtime in
            try await runtime.cores[0].onCore {
                let core = runtime.cores[0]
                let left = try await core.bindUDP(on: .loopback(port: 0))
                let right = try await core.bindUDP(on: .loopback(port: 0))
                for text in ["one", "", "three"] {
                    #expect(try await left.send(Datagram(Bytes(text), to: right.address)))
                    let received = try #require(try await right.receive())
                    #expect(received.bytes == Bytes(text) && received.peer == left.address)
                }
                await #expect(throws: NetworkError.self) {
                    try await left.send(Datagram(Bytes(repeatElement(0, count: 70_000)), to: right.address))
                }
            }
        }
    }

    @Test("a socket on any address hears IPv4 and IPv6, and answers both")
    func bothVersions() async throws {
        try await Runtime.run(Self.configuration()) { runtime in
            try await runtime.cores[0].onCore {
                let core = runtime.cores[0]
                let server = try await core.bindUDP(on: .any(port: 0))
                let port = try #require(server.address.port)
                let clients: [(SocketAddress, SocketAddress)] = [
                    (.ipv4(.loopback, port: 0), .ipv4(.loopback, port: port)),
                    (.ipv6(.loopback, port: 0), .ipv6(.loopback, port: port)),
                ]
                for (local, remote) in clients {
                    let client = try await core.bindUDP(on: local)
                    try await client.send(Datagram(Bytes("call"), to: remote))
                    let heard = try #require(try await server.receive(within: .seconds(10)))
                    #expect(heard.bytes == Bytes("call") && heard.peer == client.address)
                    try await server.send(Datagram(Bytes("answer"), to: heard.peer))
                    #expect(try await client.receive(within: .seconds(10))?.bytes == Bytes("answer"))
                }
            }
        }
    }

    @Test("a datagram that comes while nobody waits is had by whoever comes next")
    func betweenReceives() async throws {
        try await Runtime.run(Self.configuration()) { runtime in
            try await runtime.cores[0].onCore {
                let core = runtime.cores[0]
                let left = try await core.bindUDP(on: .loopback(port: 0))
                let right = try await core.bindUDP(on: .loopback(port: 0))
                for number in UInt64(0)..<5 {
                    try await left.send(Datagram(Bytes("\(number)"), to: right.address))
                    // It has come before it is asked for.
                    while Self.datagrams(of: core) == number { await Task.yield() }
                    #expect(try await right.receive(within: .seconds(10))?.bytes == Bytes("\(number)"))
                }
            }
        }
    }

    /// Datagrams that have come to sockets of a core's stack.
    private static func datagrams(of core: Core) -> UInt64 {
        unsafe core.transport.driver.stack.unsafelyUnwrapped.pointee.stack.counters.udp.datagramsIn
    }

    @Test("connections that a program has closed deliver everything before its runtime ends")
    func delivers() async throws {
        let total = 3 << 20
        try await Runtime.run(Self.configuration()) { runtime in
            try await runtime.cores[0].onCore {
                let core = runtime.cores[0]
                let listener = try await core.listen(on: .loopback(port: 0))
                async let received: Int = {
                    guard let connection = try await listener.accept() else { return 0 }
                    var count = 0
                    for try await bytes in connection { count += bytes.count }
                    return count
                }()
                try await runtime.withConnection(to: listener.address) { connection in
                    try await connection.send(Bytes(repeatElement(7, count: total)))
                }
                #expect(try await received == total)
            }
        }
    }

    @Test("a link that cannot be opened says why, and how to get it")
    func noLink() async {
        let interface = StackInterface(link: .packet("no-such-link"), addresses: [InterfaceAddress("10.0.0.2/24")!])
        await #expect(throws: NetworkError.link(.noSuchInterface(link: "packet:no-such-link"))) {
            try await Runtime.run(Self.configuration([interface])) { _ in }
        }
    }

    @Test("addresses that may change are for one core, and a runtime that asks for more is told so")
    func changingAddresses() async {
        for change in [
            { $0.usesDHCP = true }, { $0.usesAutoconfiguration = true }, { $0.detectsConflicts = true },
        ] as [(inout StackInterface) -> Void] {
            var interface = StackInterface(link: .memory("a"))
            change(&interface)
            var configuration = Self.configuration([interface])
            configuration.cores = .count(2)
            let refused = configuration
            let error = await #expect(throws: NetworkError.self) { try await Runtime.run(refused) { _ in } }
            #expect("\(error as Any)".contains(".count(1)"))
        }
    }

    @Test("a transport is read from the words of a command line, and what is wrong is named")
    func words() throws {
        guard case .kernel = try TransportChoice(link: nil) else {
            Issue.record("no link, and not the kernel's")
            return
        }
        let choice = try TransportChoice(
            link: "tap:tap0", addresses: ["10.0.0.2/24", "fd00::2/64"], gateways: ["10.0.0.1"])
        guard case .stack(let interfaces) = choice else {
            Issue.record("a link, and no stack")
            return
        }
        #expect(interfaces.count == 1 && interfaces[0].link == .tap("tap0") && !interfaces[0].usesDHCP)
        #expect(interfaces[0].addresses.map(\.description) == ["10.0.0.2/24", "fd00::2/64"])
        #expect(interfaces[0].gateways == [IPAddress("10.0.0.1")!])
        guard case .stack(let asking) = try TransportChoice(link: "tap:tap0") else { return }
        #expect(asking[0].usesDHCP && asking[0].usesAutoconfiguration)
        #expect(throws: NetworkError.self) { try TransportChoice(link: nil, addresses: ["10.0.0.2/24"]) }
        #expect(throws: NetworkError.self) { try TransportChoice(link: "tap:tap0", addresses: ["10.0.0.2"]) }
        #expect(throws: NetworkError.self) { try TransportChoice(link: "tap:tap0", addresses: ["10.0.0.2/33"]) }
        #expect(throws: NetworkError.invalidAddress("10.0.0")) {
            try TransportChoice(link: "tap:tap0", addresses: ["10.0.0.2/24"], gateways: ["10.0.0"])
        }
        #expect(throws: NetworkError.self) { try TransportChoice(link: "eth0") }
    }
}
