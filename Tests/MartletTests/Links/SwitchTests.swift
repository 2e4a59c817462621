import Martlet
import MartletStack
import Testing

@Suite struct AddressTableTests {
    @Test("an address is found where it was heard of last, until it has aged")
    func ages() {
        var table = AddressTable(capacity: 64, ageing: 300)
        let address = MACAddress(bits: 0x0200_0000_0001)
        #expect(table.port(of: address, now: 5) == nil)
        table.learn(address, port: 3, now: 10)
        #expect(table.port(of: address, now: 310) == 3)
        #expect(table.port(of: address, now: 311) == nil)
        table.learn(address, port: 0, now: 310)
        #expect(table.port(of: address, now: 610) == 0)
        #expect(table.count(now: 610) == 1)
        table.forget(port: 0)
        #expect(table.port(of: address, now: 610) == nil)
    }

    @Test("group addresses and zero are nobody's")
    func groups() {
        var table = AddressTable(capacity: 64, ageing: 300)
        for bits: UInt64 in [0xFFFF_FFFF_FFFF, 0x0100_5E00_0001, 0] {
            table.learn(MACAddress(bits: bits), port: 1, now: 1)
            #expect(table.port(of: MACAddress(bits: bits), now: 1) == nil)
        }
        #expect(table.count(now: 1) == 0)
    }

    @Test("a flood of made-up addresses stays within the table, and one that is heard of often stays in it")
    func bounded() {
        var table = AddressTable(capacity: 256, ageing: 300)
        let kept = MACAddress(bits: 0x0200_0000_0001)
        for number in 0..<100_000 as Range<UInt64> {
            let now = UInt32(number / 1000)
            table.learn(MACAddress(bits: 0x0600_0000_0000 + number * 7919), port: 2, now: now)
            if number % 8 == 0 { table.learn(kept, port: 1, now: now + 1) }
        }
        #expect(table.count(now: 100) <= 256)
        #expect(table.port(of: kept, now: 100) == 1)
    }

    @Test("as many addresses as the table is for are remembered nearly all")
    func load() {
        var table = AddressTable(capacity: 4096, ageing: 300)
        for number in 0..<2048 as Range<UInt64> {
            table.learn(MACAddress(bits: 0x0200_0000_0000 + number), port: 1, now: 1)
        }
        let known = (0..<2048 as Range<UInt64>).count {
            table.port(of: MACAddress(bits: 0x0200_0000_0000 + $0), now: 1) == 1
        }
        #expect(known > 2000)
    }
}

@Suite struct SwitchTests {
    /// A switch of pipes, of which the test has the other ends.
    private struct Bench: ~Copyable {
        let pool = FramePool(count: 2048, capacity: 256)
        var bridge: Switch
        var hosts: LinkSet
        var burst: Burst

        init(ports: Int, frames: Int = 256, limits: Switch.Limits = Switch.Limits()) {
            bridge = Switch(ports: ports, pool: pool, limits: limits)
            hosts = LinkSet(capacity: ports)
            burst = pool.makeBurst(capacity: 512)
            for port in 0..<ports {
                let pipe = MemoryLink.pipe("port\(port)", pool: pool, frames: frames)
                bridge.addPort(pipe.left)
                hosts.append(pipe.right)
            }
        }

        mutating func send(_ numbers: Range<Int>, from host: Int, to destination: UInt8, source: UInt8) {
            burst.appendNumbered(numbers, to: destination, from: source)
            _ = hosts[host].transmit(&burst)
        }

        /// What each host has received.
        mutating func received() -> [[Int]] {
            var all: [[Int]] = []
            for host in 0..<hosts.count {
                _ = hosts[host].receive(into: &burst)
                all.append(burst.takeNumbers())
            }
            return all
        }
    }

    @Test("a frame for an unknown address goes everywhere but back; one for a known address goes there alone")
    func learns() {
        var bench = Bench(ports: 4)
        bench.send(1..<2, from: 0, to: 2, source: 1)
        #expect(bench.bridge.forward(now: 1) == 1)
        #expect(bench.received() == [[], [1], [1], [1]])
        bench.send(2..<3, from: 2, to: 1, source: 2)
        #expect(bench.bridge.forward(now: 2) == 1)
        #expect(bench.received() == [[2], [], [], []])
        bench.send(3..<8, from: 0, to: 2, source: 1)
        #expect(bench.bridge.forward(now: 3) == 5)
        #expect(bench.received() == [[], [], [3, 4, 5, 6, 7], []])
        #expect(bench.bridge.forward(now: 4) == 0)
        #expect(bench.pool.freeCount == 2048)
    }

    @Test("broadcasts go everywhere but back, whoever is known")
    func broadcast() {
        var bench = Bench(ports: 3)
        bench.send(1..<4, from: 2, to: 255, source: 9)
        _ = bench.bridge.forward(now: 1)
        #expect(bench.received() == [[1, 2, 3], [1, 2, 3], []])
        #expect(bench.pool.freeCount == 2048)
    }

    @Test("an address that moves to another port is followed")
    func moves() {
        var bench = Bench(ports: 3)
        bench.send(0..<1, from: 0, to: 255, source: 1)
        _ = bench.bridge.forward(now: 1)
        bench.send(1..<2, from: 1, to: 255, source: 1)
        _ = bench.bridge.forward(now: 2)
        _ = bench.received()
        bench.send(2..<3, from: 2, to: 1, source: 2)
        _ = bench.bridge.forward(now: 3)
        #expect(bench.received() == [[], [2], []])
    }

    @Test("what has not been heard of for the ageing time is unknown again")
    func ageing() {
        var bench = Bench(ports: 3)
        bench.send(0..<1, from: 1, to: 255, source: 2)
        _ = bench.bridge.forward(now: 1_000_000_000)
        _ = bench.received()
        bench.send(1..<2, from: 0, to: 2, source: 1)
        _ = bench.bridge.forward(now: 301_000_000_000)
        #expect(bench.received() == [[], [1], []])
        bench.send(2..<3, from: 0, to: 2, source: 1)
        _ = bench.bridge.forward(now: 302_000_000_000)
        #expect(bench.received() == [[], [2], [2]])
    }

    @Test("a frame for an address on its own port goes nowhere, and is counted")
    func noWay() {
        var bench = Bench(ports: 2)
        bench.send(0..<1, from: 0, to: 255, source: 2)
        bench.send(1..<3, from: 0, to: 2, source: 1)
        _ = bench.bridge.forward(now: 1)
        #expect(bench.received() == [[], [0]])
        #expect(bench.bridge.ports[0].counters.received.drops[.noWay] == 2)
        #expect(bench.pool.freeCount == 2048)
    }

    @Test("a runt is dropped and counted, and nothing is learnt of it")
    func runt() {
        var bench = Bench(ports: 2)
        for length in [0, 1, 13] { bench.burst.appendFrames(1, length: length) }
        _ = bench.hosts[0].transmit(&bench.burst)
        #expect(bench.bridge.forward(now: 1) == 3)
        #expect(bench.received() == [[], []])
        #expect(bench.bridge.ports[0].counters.received.drops[.runt] == 3)
        #expect(bench.bridge.addresses.count(now: 0) == 0)
    }

    @Test("frames of any content pass or are dropped, and none is lost from the pool")
    func garbage() {
        let seed: UInt64 = 0x5EED
        print("seed \(seed)")
        var random = Generator(state: seed)
        var bench = Bench(ports: 4)
        for round in 0..<200 {
            for host in 0..<4 {
                for _ in 0..<8 {
                    bench.burst.appendFrames(1, length: Int(random.next() % 128))
                }
                bench.burst.changeEach { frame in
                    let length = frame.length
                    var bytes = frame.mutableBytes
                    for index in 0..<length { bytes.store(UInt8(truncatingIfNeeded: random.next() >> 30), at: index) }
                }
                _ = bench.hosts[host].transmit(&bench.burst)
            }
            _ = bench.bridge.forward(now: Int64(round) * 1_000_000)
            for host in 0..<4 {
                _ = bench.hosts[host].receive(into: &bench.burst)
                bench.burst.removeAll()
            }
        }
        #expect(bench.pool.freeCount == 2048)
        #expect(bench.bridge.ports[0].counters.received.drops[.runt] > 0)
    }

    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state
        }
    }

    @Test("a port whose ring is full loses its own frames only")
    func fullPort() {
        var bench = Bench(ports: 3, frames: 16)
        bench.send(0..<1, from: 1, to: 255, source: 2)
        bench.send(0..<1, from: 2, to: 255, source: 3)
        _ = bench.bridge.forward(now: 1)
        _ = bench.received()
        for round in 0..<3 {
            bench.send(round * 8..<round * 8 + 8, from: 0, to: 2, source: 1)
            _ = bench.bridge.forward(now: 2)
        }
        bench.send(90..<95, from: 0, to: 3, source: 1)
        _ = bench.bridge.forward(now: 2)
        #expect(bench.received() == [[], Array(0..<16), Array(90..<95)])
        #expect(bench.bridge.ports[1].counters.transmitted.drops[.ringFull] == 8)
    }

    @Test(
        "two switches in a loop: a broadcast goes round no more often than the limit says, and other frames still pass")
    func storm() {
        let pool = FramePool(count: 4096, capacity: 256)
        var limits = Switch.Limits()
        limits.floodsPerSecond = 100
        var one = Switch(ports: 3, pool: pool, limits: limits)
        var other = Switch(ports: 3, pool: pool, limits: limits)
        for name in ["first", "second"] {
            let cable = MemoryLink.pipe(name, pool: pool)
            one.addPort(cable.left)
            other.addPort(cable.right)
        }
        let hosts = MemoryLink.pipe("host", pool: pool)
        one.addPort(hosts.left)
        var host = hosts.right
        let others = MemoryLink.pipe("other host", pool: pool)
        other.addPort(others.left)
        var otherHost = others.right
        var burst = pool.makeBurst(capacity: 512)
        var seen = 0
        burst.appendNumbered(0..<1, to: 255, from: 1)
        _ = host.transmit(&burst)
        for millisecond in 0..<10_000 as Range<Int64> {
            _ = one.forward(now: 1 + millisecond * 1_000_000)
            _ = other.forward(now: 1 + millisecond * 1_000_000)
            while otherHost.receive(into: &burst) > 0 {
                seen += burst.count
                burst.removeAll()
            }
            while host.receive(into: &burst) > 0 { burst.removeAll() }
        }
        // Without a limit it would be two a millisecond. Each of the two cables may bring 100 at once, and 100 a second.
        #expect(seen >= 100 && seen <= 2 * 1_100)
        let drops = (0..<2).reduce(0 as UInt64) {
            $0 + one.ports[$1].counters.received.drops[.storm] + other.ports[$1].counters.received.drops[.storm]
        }
        #expect(drops > 0)
        burst.appendNumbered(7..<8, to: 1, from: 2)
        _ = otherHost.transmit(&burst)
        _ = other.forward(now: 10_001_000_000)
        #expect(one.ports[2].counters.transmitted.frames > 0)
    }

    @Test("a port that is gone is forgotten, and the others go on")
    func gone() {
        let pool = FramePool(count: 256, capacity: 256)
        var bridge = Switch(ports: 3, pool: pool)
        let first = MemoryLink.pipe("first", pool: pool)
        let second = MemoryLink.pipe("second", pool: pool)
        let third = MemoryLink.pipe("third", pool: pool)
        bridge.addPort(first.left)
        bridge.addPort(second.left)
        bridge.addPort(third.left)
        var host = first.right
        var last = third.right
        var burst = pool.makeBurst()
        do {
            var leaving = second.right
            burst.appendNumbered(0..<1, to: 255, from: 2)
            _ = leaving.transmit(&burst)
            _ = bridge.forward(now: 1)
        }
        _ = last.receive(into: &burst)
        _ = host.receive(into: &burst)
        burst.removeAll()
        burst.appendNumbered(1..<2, to: 2, from: 1)
        _ = host.transmit(&burst)
        _ = bridge.forward(now: 2)
        #expect(bridge.ports[1].counters.transmitted.drops[.linkDown] == 1)
        bridge.refresh()
        burst.appendNumbered(2..<3, to: 2, from: 1)
        _ = host.transmit(&burst)
        _ = bridge.forward(now: 3)
        #expect(last.receive(into: &burst) == 1, "the address is nobody's again")
        #expect(burst.takeNumbers() == [2])
    }
}
