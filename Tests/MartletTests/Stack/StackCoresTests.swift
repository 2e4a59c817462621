// Several cores, each with a stack of its own, that are one host: whose flows are whose, and what passes between the cores.

import MartletStack
import Testing

@testable import Martlet

@Suite("A stack on several cores")
struct StackCoresTests {
    /// The sum of a counter over the cores.
    private static func sum(_ runtime: Runtime, _ counter: any KeyPath<CoreCounters, UInt64> & Sendable) async -> UInt64
    {
        await runtime.counters().reduce(0) { $0 + $1[keyPath: counter] }
    }

    @Test(
        "a thousand connections between runtimes of two cores are served by both, and none of their frames is handed over"
    )
    func thousand() async throws {
        let network = MemoryNetwork()
        let seed = UInt64.random(in: 0...UInt64.max)
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 1, cores: 2)) { server in
                try await Runtime.run(StackRuntime.member(network, 2, cores: 2)) { client in
                    try await server.serving(on: StackRuntime.address(1, 7)) { address in
                        // The cores learn each other's addresses first: what they say of that is for all.
                        for core in client.cores {
                            try await core.withConnection(to: address) {
                                try await Stream.exchange($0, count: 10, seed: seed)
                            }
                        }
                        let before = await (
                            Self.sum(server, \.framesHandedOver), Self.sum(client, \.framesHandedOver)
                        )
                        try await client.forEachCore { core in
                            try await withThrowingTaskGroup(of: Void.self) { group in
                                for number in 0..<500 {
                                    group.addTask(executorPreference: core.taskExecutor) {
                                        try await core.withConnection(to: address) {
                                            try await Stream.exchange(
                                                $0, count: 2000 + number, seed: seed &+ UInt64(number))
                                        }
                                    }
                                }
                                try await group.waitForAll()
                            }
                        }
                        let accepted = await server.counters().map(\.accepted)
                        #expect(accepted.reduce(0, +) == 1002)
                        #expect(accepted.allSatisfy { $0 > 300 }, "\(accepted)")
                        let connected = await client.counters().map(\.connected)
                        #expect(connected == [501, 501])
                        let after = await (
                            Self.sum(server, \.framesHandedOver), Self.sum(client, \.framesHandedOver)
                        )
                        #expect(before == after)
                        #expect(await Self.sum(server, \.handoversDropped) == 0)
                    }
                }
            }
        }
    }

    @Test("a runtime of three cores is served by one of one, and the other way round")
    func unequal() async throws {
        let network = MemoryNetwork()
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 1, cores: 3)) { many in
                try await Runtime.run(StackRuntime.member(network, 2)) { one in
                    for (server, client, host) in [(many, one, 1), (one, many, 2)] as [(Runtime, Runtime, UInt8)] {
                        try await server.serving(on: StackRuntime.address(host, 7)) { address in
                            try await client.forEachCore { core in
                                for number in 0..<20 {
                                    try await core.withConnection(to: address) {
                                        try await Stream.exchange($0, count: 20_000, seed: UInt64(number))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    @Test("a host reaches itself, whichever core calls and whichever listens", arguments: ["127.0.0.1", "::1"])
    func itself(_ host: String) async throws {
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.configuration(cores: 2)) { runtime in
                try await runtime.serving(on: .any(port: 7)) { _ in
                    for core in runtime.cores {
                        for number in 0..<10 {
                            try await core.withConnection(to: host, port: 7) {
                                try await Stream.exchange($0, count: 50_000, seed: UInt64(number))
                            }
                        }
                    }
                }
                // Who calls chooses a port that comes home, and so does the listener's end: nothing was handed over.
                #expect(await Self.sum(runtime, \.framesHandedOver) == 0)
                for (server, client) in [(0, 1), (1, 0)] {
                    try await Self.apart(runtime, server, client, host)
                }
                #expect(await Self.sum(runtime, \.framesHandedOver) > 0)
                #expect(await Self.sum(runtime, \.handoversDropped) == 0)
            }
        }
    }

    /// A listener of one core alone, and a client on another. The listener closes before the connection does.
    private static func apart(_ runtime: Runtime, _ server: Int, _ client: Int, _ host: String) async throws {
        let core = runtime.cores[server]
        try await core.onCore {
            let listener = try await core.listen(on: .any(port: 0))
            let port = try #require(listener.address.port)
            async let served: Void = {
                let connection = try #require(try await listener.accept())
                await listener.close()
                for try await bytes in connection { try await connection.send(bytes) }
            }()
            try await runtime.cores[client].withConnection(to: host, port: port) {
                try await Stream.exchange($0, count: 100_000, seed: 5)
            }
            try await served
        }
    }

    @Test("a listener that one core has is reached from another runtime, however the flows hash")
    func alone() async throws {
        let network = MemoryNetwork()
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 1, cores: 2)) { server in
                try await Runtime.run(StackRuntime.member(network, 2)) { client in
                    let core = server.cores[1]
                    try await core.onCore {
                        let listener = try await core.listen(on: StackRuntime.address(1, 7))
                        async let served: Void = {
                            for _ in 0..<20 {
                                let connection = try #require(try await listener.accept())
                                for try await bytes in connection { try await connection.send(bytes) }
                            }
                        }()
                        for number in 0..<20 {
                            try await client.withConnection(to: listener.address) {
                                try await Stream.exchange($0, count: 10_000, seed: UInt64(number))
                            }
                        }
                        try await served
                    }
                    // Of twenty flows some belong to the other core.
                    #expect(await server.counters()[0].framesHandedOver > 20)
                    #expect(await server.counters()[1].accepted == 20)
                }
            }
        }
    }

    @Test("a port that any will do for is one that no other core has")
    func ports() async throws {
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.configuration(cores: 2)) { runtime in
                var listeners: [TCPListener] = []
                var sockets: [UDPSocket] = []
                for number in 0..<200 {
                    let core = runtime.cores[number % 2]
                    listeners.append(try await core.listen(on: .any(port: 0)))
                    sockets.append(try await core.bindUDP(on: .any(port: 0)))
                }
                #expect(Set(listeners.map(\.address.port)).count == 200)
                #expect(Set(sockets.map(\.address.port)).count == 200)
                let taken = sockets[0].address
                await #expect(throws: NetworkError.addressInUse(taken)) {
                    _ = try await runtime.cores[1].bindUDP(on: taken)
                }
                await sockets[0].close()
                _ = try await runtime.cores[1].bindUDP(on: taken)
                await #expect(throws: NetworkError.addressInUse(listeners[1].address)) {
                    try await runtime.serve(on: listeners[1].address) { _ in }
                }
            }
        }
    }

    @Test("datagrams find the one core that has their socket, whole or in pieces, and once")
    func datagrams() async throws {
        let network = MemoryNetwork()
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 1, cores: 2)) { server in
                try await Runtime.run(StackRuntime.member(network, 2, cores: 2)) { client in
                    for place in 0..<2 {
                        let core = server.cores[place]
                        let socket = try await core.bindUDP(on: StackRuntime.address(1, 5000 + UInt16(place)))
                        for size in [10, 5000] {
                            for sender in 0..<8 {
                                let other = try await client.cores[sender % 2].bindUDP(on: StackRuntime.address(2, 0))
                                let sent = Stream.bytes(0..<size, seed: UInt64(sender))
                                try await other.send(Datagram(sent, to: socket.address))
                                let received = try #require(try await socket.receive(within: .seconds(10)))
                                #expect(received.bytes == sent && received.peer == other.address)
                                // And the answer, which is the next that comes.
                                try await socket.send(Datagram(sent, to: other.address))
                                #expect(try await other.receive(within: .seconds(10))?.bytes == sent)
                                await other.close()
                            }
                        }
                        await socket.close()
                    }
                }
            }
        }
    }

    @Test("a socket on every core gets its share of the senders, and none of another's")
    func sharedDatagrams() async throws {
        let network = MemoryNetwork()
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 1, cores: 2)) { server in
                try await Runtime.run(StackRuntime.member(network, 2)) { client in
                    let address = StackRuntime.address(1, 53)
                    var sockets: [UDPSocket] = []
                    for core in server.cores { sockets.append(try await core.bindUDP(on: address, sharesPort: true)) }
                    let counts = Log<Int>()
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for (place, socket) in sockets.enumerated() {
                            group.addTask {
                                for try await datagram in socket {
                                    counts.append(place)
                                    try await socket.send(Datagram(datagram.bytes, to: datagram.peer))
                                }
                            }
                        }
                        for size in [10, 4000] {
                            for number in 0..<50 {
                                let sender = try await client.cores[0].bindUDP(on: StackRuntime.address(2, 0))
                                let sent = Stream.bytes(0..<size, seed: UInt64(number))
                                try await sender.send(Datagram(sent, to: address))
                                #expect(try await sender.receive(within: .seconds(10))?.bytes == sent)
                                await sender.close()
                            }
                        }
                        for socket in sockets { await socket.close() }
                        try await group.waitForAll()
                    }
                    #expect(counts.count == 100)
                    #expect(Set(counts.entries) == [0, 1])
                }
            }
        }
    }

    @Test("connections of all cores deliver what they have accepted before their runtime ends")
    func delivers() async throws {
        let network = MemoryNetwork()
        let total = 1 << 20
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 1)) { server in
                let checksums = Log<Stream.Checksum>()
                try await server.serving(on: StackRuntime.address(1, 7), options: .brief) { connection in
                    var checksum = Stream.Checksum()
                    for try await bytes in connection { checksum.add(bytes) }
                    checksums.append(checksum)
                } client: { address in
                    try await Runtime.run(StackRuntime.member(network, 2, cores: 3)) { client in
                        try await client.forEachCore { core in
                            try await core.withConnection(to: address) {
                                try await $0.send(Stream.bytes(0..<total, seed: 9))
                            }
                        }
                    }
                    // All is acknowledged; the handlers may have some of it to read yet.
                    while checksums.count < 3 { await Task.yield() }
                }
                var sent = Stream.Checksum()
                sent.add(Stream.bytes(0..<total, seed: 9))
                #expect(checksums.entries == [sent, sent, sent])
            }
        }
    }

    // MARK: The exchange, frame by frame

    @Test("a core that takes nothing in loses frames, which are counted, and no memory")
    func slowCore() throws {
        let cores = StackCores(count: 2)
        let arena = try FrameArena(count: 8192, pages: .plain, locked: false)
        let pool = arena.makePool(share: 4096)
        let otherPool = arena.makePool(share: 4096)
        let free = pool.freeCount + otherPool.freeCount
        let sent = 5000
        var drops: UInt64 = 0
        do {
            let exchange = CoreExchange(cores, index: 0, pool: pool, eventDescriptor: -1)
            let other = CoreExchange(cores, index: 1, pool: otherPool, eventDescriptor: -1)
            exchange.isEthernet = [false]
            other.isEthernet = [false]
            var stack = Self.stack(cores, 0, pool)
            var otherStack = Self.stack(cores, 1, otherPool)
            var burst = pool.makeBurst()
            let now = Instant(nanoseconds: 1)
            for number in 0..<sent {
                burst.append(Self.segment(port: UInt16(number), burst))
                if burst.isFull || number == sent - 1 { exchange.sort(&burst, on: 0, into: &stack, at: now) }
            }
            let (handedOver, dropped) = (exchange.counters.handedOver, exchange.counters.dropped)
            let arrived = stack.counters.network.packetsIn
            #expect(arrived > 2000 && handedOver == 1024 && dropped > 1000)
            #expect(arrived + handedOver + dropped == UInt64(sent))
            drops = dropped
            // It goes on later, and gets what there was room for.
            while other.takeOver(into: &otherStack, at: now) {}
            let (takenOver, otherArrived) = (other.counters.takenOver, otherStack.counters.network.packetsIn)
            #expect(takenOver == 1024 && otherArrived == 1024)
        }
        // What lies in the ring has come from both pools, and nothing else is missing.
        let left = pool.freeCount + otherPool.freeCount
        #expect(drops > 0 && left == free - 1024)
        let isWhole = pool.freeCount == pool.count && otherPool.freeCount == otherPool.count
        #expect(isWhole)
    }

    private static func stack(_ cores: StackCores, _ place: Int, _ pool: borrowing FramePool) -> Stack {
        let interface = InterfaceConfiguration(.ip, addresses: [InterfaceAddress("10.0.0.1/24")!])
        return Stack(
            [interface], limits: StackLimits(), pool: pool, secret: StackSecret(low: 1, high: UInt64(place)),
            share: StackShare(place: place, of: cores.spread), now: Instant(nanoseconds: 1))
    }

    /// A bare IPv4 packet with a TCP header's ports, from 10.0.0.2.
    private static func segment(port: UInt16, _ burst: borrowing Burst) -> Frame {
        var frame = burst.takeFrame()!
        frame.setLength(40)
        var bytes = frame.mutableBytes
        for offset in stride(from: 0, to: 40, by: 4) { bytes.store(0 as UInt32, at: offset) }
        bytes.store(0x4500_0028 as UInt32, at: 0)
        bytes.store(0x4006_0000 as UInt32, at: 8)
        bytes.store(0x0A00_0002 as UInt32, at: 12)
        bytes.store(0x0A00_0001 as UInt32, at: 16)
        bytes.store(port, at: 20)
        bytes.store(80 as UInt16, at: 22)
        return frame
    }
}

@Suite("Ports that cores share")
struct SharedPortsTests {
    @Test("a port is one core's, or several cores', as those who open it want")
    func claims() {
        let ports = SharedPorts(cores: 3)
        #expect(!ports.hasPartial && ports.mask(80, isDatagrams: false) == 0)
        #expect(ports.claim(80, isDatagrams: false, by: 1, isNew: false, isExclusive: false))
        #expect(ports.hasPartial && ports.mask(80, isDatagrams: false) == 0b010)
        #expect(ports.mask(80, isDatagrams: true) == 0)
        #expect(!ports.claim(80, isDatagrams: false, by: 0, isNew: true, isExclusive: false))
        #expect(!ports.claim(80, isDatagrams: false, by: 0, isNew: false, isExclusive: true))
        #expect(ports.claim(80, isDatagrams: false, by: 0, isNew: false, isExclusive: false))
        #expect(ports.claim(80, isDatagrams: false, by: 2, isNew: false, isExclusive: false))
        #expect(!ports.hasPartial && ports.mask(80, isDatagrams: false) == 0b111)
        for core in 0..<3 { ports.release(80, isDatagrams: false, by: core) }
        #expect(!ports.hasPartial && ports.mask(80, isDatagrams: false) == 0)
        #expect(ports.claim(80, isDatagrams: false, by: 0, isNew: true, isExclusive: true))
        #expect(!ports.claim(80, isDatagrams: false, by: 1, isNew: false, isExclusive: false))
    }

    @Test("a core has a port until the last of its sockets on it is closed, and all cores get one at once")
    func counts() {
        let ports = SharedPorts(cores: 2)
        ports.claimForAll(7)
        #expect(ports.mask(7, isDatagrams: false) == 0b11 && !ports.hasPartial)
        #expect(ports.claim(7, isDatagrams: false, by: 1, isNew: false, isExclusive: false))
        ports.release(7, isDatagrams: false, by: 1)
        #expect(ports.mask(7, isDatagrams: false) == 0b11)
        ports.release(7, isDatagrams: false, by: 1)
        #expect(ports.mask(7, isDatagrams: false) == 0b01 && ports.hasPartial)
    }
}
