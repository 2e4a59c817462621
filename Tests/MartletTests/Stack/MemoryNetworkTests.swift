// Networks in memory: runtimes that reach each other, and the links under them, frame by frame.

import MartletStack
import Testing

@testable import Martlet

@Suite("A network in memory between runtimes")
struct MemoryNetworkTests {
    @Test("a mebibyte comes back as it was sent from another runtime", arguments: [576, 1500, 1800])
    func echo(mtu: Int) async throws {
        let network = MemoryNetwork(mtu: mtu)
        let seed = UInt64.random(in: 0...UInt64.max)
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 1)) { server in
                try await Runtime.run(StackRuntime.member(network, 2)) { client in
                    try await server.serving(on: StackRuntime.address(1, 7)) { address in
                        try await client.withConnection(to: address) { connection in
                            #expect(await connection.peer == address)
                            try await Stream.exchange(connection, count: 1 << 20, seed: seed)
                        }
                    }
                }
            }
        }
    }

    @Test("a port that nobody listens on refuses")
    func refused() async throws {
        let network = MemoryNetwork()
        try await within(seconds: 30) {
            try await Runtime.run(StackRuntime.member(network, 1)) { _ in
                try await Runtime.run(StackRuntime.member(network, 2)) { client -> Void in
                    let address = StackRuntime.address(1, 9)
                    await #expect(throws: NetworkError.connectionRefused(address)) {
                        try await client.withConnection(to: address) { _ in }
                    }
                }
            }
        }
    }

    @Test("a runtime that ends delivers its last bytes to the others, and is not reached any more")
    func ends() async throws {
        let network = MemoryNetwork()
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 2)) { client in
                let connected = Promise<SocketAddress>()
                async let ended: Void = Runtime.run(StackRuntime.member(network, 1)) { server in
                    try await server.serve(
                        on: StackRuntime.address(1, 7), onListening: { connected.keep($0) },
                        handler: { connection in
                            _ = try await connection.receive()
                            try await connection.send(Stream.bytes(0..<300_000, seed: 3))
                            Task { await server.shutdown(within: .seconds(10)) }
                        })
                }
                let address = await connected.value
                // Its FIN comes when the other has left.
                try await client.withConnection(to: address, options: .brief) { connection in
                    try await connection.send("go")
                    var checksum = Stream.Checksum()
                    for try await bytes in connection { checksum.add(bytes) }
                    var sent = Stream.Checksum()
                    sent.add(Stream.bytes(0..<300_000, seed: 3))
                    #expect(checksum == sent)
                }
                try await ended
                await #expect(throws: (any Error).self) {
                    try await client.withConnection(to: address, within: .milliseconds(50)) { _ in }
                }
            }
        }
    }

    @Test("three runtimes reach each other, and the third may come later")
    func three() async throws {
        let network = MemoryNetwork()
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 1)) { first in
                try await first.serving(on: StackRuntime.address(1, 7)) { atFirst in
                    try await Runtime.run(StackRuntime.member(network, 2)) { second in
                        try await second.withConnection(to: atFirst) {
                            try await Stream.exchange($0, count: 100_000, seed: 1)
                        }
                        try await second.serving(on: StackRuntime.address(2, 7)) { atSecond in
                            try await Runtime.run(StackRuntime.member(network, 3)) { third in
                                for (address, seed) in [(atFirst, 2), (atSecond, 3), (atFirst, 4)]
                                    as [(SocketAddress, UInt64)]
                                {
                                    try await third.withConnection(to: address) {
                                        try await Stream.exchange($0, count: 100_000, seed: seed)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    @Test("frames that have no room for the network's packets are refused, with what is needed")
    func smallFrames() async {
        let network = MemoryNetwork("jumbo", mtu: 9000)
        let error = await #expect(throws: NetworkError.self) {
            try await Runtime.run(StackRuntime.member(network, 1)) { _ in }
        }
        #expect("\(error as Any)".contains("limits.frameCapacity"))
    }

    // MARK: Links

    /// The link of a member of one core, with a pool of its own.
    private struct Member: ~Copyable {
        let pool: FramePool
        var link: MemoryNetworkLink

        init(_ network: MemoryNetwork, _ address: UInt8, frames: Int = 8192) throws {
            let arena = try FrameArena(count: frames, pages: .plain, locked: false)
            let pool = arena.makePool()
            var link = try MemoryNetworkLink(
                network, member: network.makeMember(), queue: 0, queues: 1,
                address: MACAddress(bits: 0x0200_0000_0000 | UInt64(address)), pool: pool, arena: arena)
            // It looks who is there.
            var nothing = pool.makeBurst()
            _ = link.receive(into: &nothing)
            self.pool = pool
            self.link = link
        }

        /// Takes in what there is, and returns the numbers of the frames.
        mutating func receive() -> [Int] {
            var burst = pool.makeBurst()
            _ = link.receive(into: &burst)
            return burst.takeNumbers()
        }

        /// Transmits numbered frames and returns how many were taken.
        mutating func send(_ numbers: Range<Int>, to destination: UInt8, from source: UInt8) -> Int {
            var burst = pool.makeBurst(capacity: max(1, numbers.count))
            burst.appendNumbered(numbers, to: destination, from: source)
            return link.transmit(&burst)
        }
    }

    @Test("a full ring holds its sender up, and loses nothing")
    func backPressure() throws {
        let network = MemoryNetwork()
        var left = try Member(network, 1)
        var right = try Member(network, 2)
        #expect(left.receive().isEmpty)
        var sent = 0
        while true {
            let taken = left.send(sent..<sent + 64, to: 2, from: 1)
            sent += taken
            if taken < 64 { break }
        }
        #expect(sent == NetworkPeer.ringCapacity + NetworkPeer.outputCapacity)
        var received: [Int] = []
        while received.count < sent {
            let numbers = right.receive()
            #expect(!numbers.isEmpty)
            if numbers.isEmpty { break }
            received += numbers
            // What waits goes when there is room.
            _ = left.send(0..<0, to: 2, from: 1)
        }
        #expect(received == Array(0..<sent))
        let drops = left.link.counters.transmitted.drops.total
        let (transmitted, arrived) = (left.link.counters.transmitted.frames, right.link.counters.received.frames)
        #expect(drops == 0 && transmitted == UInt64(sent) && arrived == UInt64(sent))
    }

    @Test("who takes nothing for long is not waited for: it is counted, and heard again when it goes on")
    func deaf() throws {
        let network = MemoryNetwork()
        var left = try Member(network, 1)
        var right = try Member(network, 2)
        #expect(left.receive().isEmpty)
        var sent = 0
        var drops: UInt64 = 0
        while drops == 0 {
            sent += left.send(sent..<sent + 64, to: 2, from: 1)
            drops = left.link.counters.transmitted.drops[.ringFull]
        }
        // From now on nobody is held up.
        let taken = left.send(0..<128, to: 2, from: 1)
        #expect(taken == 128)
        var received = 0
        while true {
            let count = right.receive().count
            if count == 0 { break }
            received += count
        }
        #expect(received == NetworkPeer.ringCapacity)
        _ = left.send(7..<8, to: 2, from: 1)
        let numbers = right.receive()
        #expect(numbers.last == 7)
    }

    @Test("frames go to who has been heard, to everybody else until then, and copies to all who are asked for")
    func learns() throws {
        let network = MemoryNetwork()
        var one = try Member(network, 1)
        var two = try Member(network, 2)
        var three = try Member(network, 3)
        for _ in 0..<2 {
            _ = one.receive()
            _ = two.receive()
            _ = three.receive()
        }
        _ = one.send(0..<1, to: 255, from: 1)
        let (everybody, others) = (two.receive(), three.receive())
        #expect(everybody == [0] && others == [0])
        _ = two.send(1..<2, to: 1, from: 2)
        let (known, spared) = (one.receive(), three.receive())
        #expect(known == [1] && spared.isEmpty)
        _ = one.send(2..<3, to: 3, from: 1)
        let (flooded, meant) = (two.receive(), three.receive())
        #expect(flooded == [2] && meant == [2])
    }

    @Test("what a member transmitted before it left arrives, its slots come back, and what is for it then is counted")
    func leaves() throws {
        let network = MemoryNetwork()
        var left = try Member(network, 1)
        let free = left.pool.freeCount
        do {
            var right = try Member(network, 2)
            _ = left.receive()
            let lent = free - left.pool.freeCount
            #expect(lent == NetworkPeer.ringCapacity)
            _ = right.receive()
            _ = right.send(0..<10, to: 1, from: 2)
        }
        var numbers: [Int] = []
        for _ in 0..<3 { numbers += left.receive() }
        #expect(numbers == Array(0..<10))
        let back = left.pool.freeCount
        #expect(back == free)
        let taken = left.send(0..<5, to: 2, from: 1)
        let drops = left.link.counters.transmitted.drops[.linkDown]
        #expect(taken == 5 && drops == 5)
    }

    @Test("a member that sleeps is woken once for many frames")
    func wakes() throws {
        let network = MemoryNetwork()
        var left = try Member(network, 1)
        var right = try Member(network, 2)
        _ = left.receive()
        _ = right.receive()
        _ = left.receive()
        right.link.wokeUp()
        _ = right.receive()
        // News of who is there may have been signalled.
        var sleep = right.link.prepareToSleep(for: LinkWish(frames: 1))
        right.link.wokeUp()
        sleep = right.link.prepareToSleep(for: LinkWish(frames: 1))
        #expect(!sleep.isReady && !isReadable(sleep.descriptor))
        for number in 0..<10 { _ = left.send(number..<number + 1, to: 2, from: 1) }
        #expect(isReadable(sleep.descriptor))
        right.link.wokeUp()
        #expect(!isReadable(sleep.descriptor))
        let numbers = right.receive()
        #expect(numbers == Array(0..<10))
    }
}
