// What each condition of a link does to frames, by itself and exactly.

import MartletSimulation
import MartletStack
import Testing

@Suite struct VirtualLinkTests {
    /// Two nodes with a link each way.
    static func pair(_ conditions: LinkConditions = .perfect, framing: Framing = .ip, seed: UInt64 = 1)
        -> VirtualNetwork
    {
        var network = VirtualNetwork(seed: seed)
        let one = network.addNode()
        let other = network.addNode()
        network.connect(one, other, framing: framing, conditions: conditions)
        return network
    }

    static func at(_ nanoseconds: Int64) -> Instant { Instant(nanoseconds: nanoseconds) }

    /// Everything under way, to the end.
    static func drain(_ network: inout VirtualNetwork) -> [VirtualNetwork.Delivery] {
        network.deliveries(until: .distantFuture)
    }

    /// A frame that says which one it is.
    static func frame(_ number: Int, length: Int = 100) -> [UInt8] {
        [UInt8(number >> 8), UInt8(number & 0xFF)] + [UInt8](repeating: 0, count: length - 2)
    }

    static func number(_ frame: [UInt8]) -> Int { Int(frame[0]) << 8 | Int(frame[1]) }

    @Test func `A perfect link delivers at once, unchanged and in order`() {
        var network = Self.pair()
        for number in 0..<10 {
            #expect(network.send(Self.frame(number), from: 0, to: 1, at: Self.at(5)) == .arrives(Self.at(5)))
        }
        #expect(network.nextArrival == Self.at(5))
        let deliveries = Self.drain(&network)
        #expect(deliveries.map(\.frame) == (0..<10).map { Self.frame($0) })
        #expect(
            deliveries.allSatisfy { $0.from == 0 && $0.to == 1 && $0.instant == Self.at(5) && $0.sentAt == Self.at(5) })
        #expect(network.nextArrival == nil)
    }

    @Test func `Latency delays, and a bandwidth adds the time of the bits`() {
        var network = Self.pair(LinkConditions(latency: .microseconds(10), bandwidth: 1_000_000_000))
        // 125 bytes are 1000 bits are 1000 ns; the second waits for the first.
        #expect(network.send(Self.frame(0, length: 125), from: 0, to: 1, at: .zero) == .arrives(Self.at(11_000)))
        #expect(network.send(Self.frame(1, length: 125), from: 0, to: 1, at: .zero) == .arrives(Self.at(12_000)))
        #expect(
            network.send(Self.frame(2, length: 125), from: 0, to: 1, at: Self.at(1500)) == .arrives(Self.at(13_000)))
        // The other direction is a link of its own.
        #expect(
            network.send(Self.frame(3, length: 125), from: 1, to: 0, at: Self.at(1500)) == .arrives(Self.at(12_500)))
        // After a pause nothing waits.
        #expect(
            network.send(Self.frame(4, length: 125), from: 0, to: 1, at: Self.at(50_000)) == .arrives(Self.at(61_000)))
    }

    @Test func `A clock may begin before its origin`() {
        var network = VirtualNetwork(seed: 1, now: Self.at(-5000))
        for _ in 0..<2 { _ = network.addNode() }
        network.connect(0, 1, conditions: LinkConditions(latency: .nanoseconds(7), bandwidth: 8_000_000_000))
        #expect(network.send([0], from: 0, to: 1, at: Self.at(-5000)) == .arrives(Self.at(-4992)))
        #expect(network.send([0], from: 0, to: 1, at: Self.at(-5000)) == .arrives(Self.at(-4991)))
        #expect(network.deliveries(until: Self.at(-4991)).count == 2)
    }

    @Test func `The time of the bits is rounded up`() {
        var network = Self.pair(LinkConditions(latency: .zero, bandwidth: 3_000_000_000))
        #expect(network.send([0], from: 0, to: 1, at: .zero) == .arrives(Self.at(3)))
        network[from: 0, to: 1].bandwidth = 1
        #expect(network.send([0], from: 0, to: 1, at: Self.at(3)) == .arrives(Self.at(8_000_000_003)))
    }

    @Test func `A queue holds its limit in bytes and not one more, apart from the frame being sent`() {
        var conditions = LinkConditions(latency: .zero, bandwidth: 8_000_000_000)
        conditions.queueLimit = 200
        var network = Self.pair(conditions)
        func send(_ length: Int, _ now: Int64) -> VirtualNetwork.Outcome {
            network.send([UInt8](repeating: 0, count: length), from: 0, to: 1, at: Self.at(now))
        }
        #expect(send(1000, 0) == .arrives(Self.at(1000)))
        #expect(send(100, 0) == .arrives(Self.at(1100)))
        #expect(send(100, 0) == .arrives(Self.at(1200)))
        #expect(send(1, 0) == .dropped(.queue))
        #expect(send(1, 999) == .dropped(.queue))
        // At 1000 the second begins and leaves the queue.
        #expect(send(101, 1000) == .dropped(.queue))
        #expect(send(100, 1000) == .arrives(Self.at(1300)))
        #expect(send(1, 1000) == .dropped(.queue))
        // A frame longer than the queue goes when nothing is being sent, and only then.
        #expect(send(500, 1299) == .dropped(.queue))
        #expect(send(500, 1300) == .arrives(Self.at(1800)))
        #expect(network.counters(from: 0, to: 1).droppedByQueue == 5)
        #expect(network.counters(from: 0, to: 1).sent == 10)
    }

    @Test func `A queue stays exact over many frames`() {
        var conditions = LinkConditions(latency: .zero, bandwidth: 8_000_000_000)
        conditions.queueLimit = 1000
        var network = Self.pair(conditions)
        var random = RandomStream(seed: 3)
        var now: Int64 = 0
        var waiting: [(start: Int64, bytes: Int)] = []
        var free: Int64 = 0
        for _ in 0..<5000 {
            now += random.number(in: 0...300)
            let length = Int(random.number(in: 2...400))
            waiting.removeAll { $0.start <= now }
            let start = max(now, free)
            let fits = start == now || waiting.map(\.bytes).reduce(0, +) + length <= 1000
            let outcome = network.send([UInt8](repeating: 0, count: length), from: 0, to: 1, at: Self.at(now))
            if fits {
                free = start + Int64(length)
                if start > now { waiting.append((start, length)) }
            }
            #expect(outcome == (fits ? .arrives(Self.at(free)) : .dropped(.queue)))
        }
        #expect(network.counters(from: 0, to: 1).droppedByQueue > 100)
    }

    @Test(arguments: [Framing.ip, .ethernet])
    func `The MTU counts the packet and not the header before it`(framing: Framing) {
        var conditions = LinkConditions.perfect
        conditions.mtu = 1500
        var network = Self.pair(conditions, framing: framing)
        let header: [UInt8] = framing == .ip ? [] : [UInt8](repeating: 0, count: 12) + [8, 0]
        let fits = header + [UInt8](repeating: 0x45, count: 1500)
        #expect(network.send(fits, from: 0, to: 1, at: .zero) == .arrives(.zero))
        #expect(network.send(fits + [0], from: 0, to: 1, at: .zero) == .dropped(.mtu))
        if framing == .ethernet {
            let tagged = fits[..<12] + [0x81, 0, 0, 1] + fits[12...]
            #expect(network.send(Array(tagged), from: 0, to: 1, at: .zero) == .arrives(.zero))
            #expect(network.send(tagged + [0], from: 0, to: 1, at: .zero) == .dropped(.mtu))
            let twice = tagged[..<12] + [0x88, 0xA8, 0, 1] + tagged[12...]
            #expect(network.send(Array(twice), from: 0, to: 1, at: .zero) == .arrives(.zero))
        }
        #expect(network.counters(from: 0, to: 1).droppedByMTU == (framing == .ip ? 1 : 2))
    }

    @Test func `A partition drops what is sent and not what is under way`() {
        var network = Self.pair(LinkConditions(latency: .milliseconds(1)))
        network.send(Self.frame(1), from: 0, to: 1, at: .zero)
        network[from: 0, to: 1].isPartitioned = true
        #expect(network.send(Self.frame(2), from: 0, to: 1, at: Self.at(1)) == .dropped(.partition))
        #expect(network.send(Self.frame(3), from: 1, to: 0, at: Self.at(1)) == .arrives(Self.at(1_000_001)))
        network[from: 0, to: 1].isPartitioned = false
        network.send(Self.frame(4), from: 0, to: 1, at: Self.at(2))
        #expect(Self.drain(&network).map { Self.number($0.frame) } == [1, 3, 4])
        #expect(network.counters(from: 0, to: 1).droppedByPartition == 1)
    }

    @Test func `Jitter stays within its bounds, and reorders only if it may`() {
        var conditions = LinkConditions(latency: .microseconds(10))
        conditions.jitter = .microseconds(5)
        for reorders in [false, true] {
            conditions.jitterReorders = reorders
            var network = Self.pair(conditions, seed: 5)
            for number in 0..<2000 {
                network.send(Self.frame(number), from: 0, to: 1, at: Self.at(Int64(number) * 1000))
            }
            let deliveries = Self.drain(&network)
            let delays = deliveries.map { $0.instant.nanoseconds - $0.sentAt.nanoseconds }
            #expect(delays.allSatisfy { (5000...15_000).contains($0) })
            #expect(delays.contains { $0 > 14_500 })
            if reorders { #expect(delays.contains { $0 < 5500 }) }
            let isOrdered = deliveries.map { Self.number($0.frame) } == Array(0..<2000)
            #expect(isOrdered == !reorders)
            #expect((network.counters(from: 0, to: 1).reordered > 0) == reorders)
        }
    }

    @Test func `More jitter than latency never makes a frame arrive before it was sent`() {
        var conditions = LinkConditions(latency: .nanoseconds(10))
        conditions.jitter = .microseconds(5)
        conditions.jitterReorders = true
        var network = Self.pair(conditions)
        for number in 0..<500 { network.send(Self.frame(number), from: 0, to: 1, at: Self.at(Int64(number))) }
        let deliveries = Self.drain(&network)
        #expect(deliveries.count == 500 && deliveries.allSatisfy { $0.instant >= $0.sentAt })
    }

    @Test func `Extreme durations saturate and do not trap`() {
        var conditions = LinkConditions(latency: .seconds(Int64.max))
        conditions.jitter = .seconds(Int64.max)
        conditions.reordering = 1
        conditions.reorderingDelay = .seconds(Int64.max)
        var network = Self.pair(conditions)
        for _ in 0..<50 { network.send(Self.frame(0), from: 0, to: 1, at: .zero) }
        #expect(Self.drain(&network).count == 50)
        conditions.latency = .seconds(Int64.min)
        network = Self.pair(conditions)
        for _ in 0..<50 { network.send(Self.frame(0), from: 0, to: 1, at: .zero) }
        #expect(Self.drain(&network).count == 50)
    }

    @Test func `A frame that is held back arrives later by the delay, and the others do not wait for it`() {
        var conditions = LinkConditions(latency: .microseconds(10))
        conditions.reordering = 0.2
        conditions.reorderingDelay = .microseconds(3)
        var network = Self.pair(conditions, seed: 9)
        for number in 0..<1000 { network.send(Self.frame(number), from: 0, to: 1, at: Self.at(Int64(number) * 1000)) }
        let deliveries = Self.drain(&network)
        var late = 0
        for delivery in deliveries {
            let delay = delivery.instant.nanoseconds - delivery.sentAt.nanoseconds
            #expect(delay == 10_000 || delay == 13_000)
            if delay == 13_000 { late += 1 }
        }
        #expect((150...250).contains(late))
        // Those that arrived behind a later one: counted here over again.
        var furthest = -1
        var reordered = 0
        for delivery in deliveries {
            let number = Self.number(delivery.frame)
            if number < furthest { reordered += 1 }
            furthest = max(furthest, number)
        }
        #expect(reordered > 0)
        #expect(network.counters(from: 0, to: 1).reordered == reordered)
    }

    @Test func `A duplicate follows its frame, and only the copies are more than what was sent`() {
        var conditions = LinkConditions(latency: .microseconds(10))
        conditions.duplication = 0.25
        var network = Self.pair(conditions, seed: 4)
        for number in 0..<1000 { network.send(Self.frame(number), from: 0, to: 1, at: Self.at(Int64(number) * 1000)) }
        let numbers = Self.drain(&network).map { Self.number($0.frame) }
        #expect(numbers == numbers.sorted())
        #expect(Set(numbers) == Set(0..<1000))
        let counters = network.counters(from: 0, to: 1)
        #expect(numbers.count == 1000 + counters.duplicated)
        #expect((190...310).contains(counters.duplicated))
        #expect(counters.delivered == numbers.count)
        #expect(counters.reordered == 0)
    }

    @Test func `A duplicate with a jitter of its own never precedes its frame, and is not counted as reordered`() {
        var conditions = LinkConditions(latency: .microseconds(10))
        conditions.duplication = 0.5
        conditions.jitter = .microseconds(5)
        conditions.jitterReorders = true
        var network = Self.pair(conditions, seed: 4)
        for number in 0..<500 { network.send(Self.frame(number), from: 0, to: 1, at: Self.at(Int64(number) * 1000)) }
        var seen: Set<Int> = []
        var furthest = -1
        var reordered = 0
        var lateDuplicates = 0
        for number in Self.drain(&network).map({ Self.number($0.frame) }) {
            let isDuplicate = !seen.insert(number).inserted
            if number < furthest && !isDuplicate { reordered += 1 }
            if number < furthest && isDuplicate { lateDuplicates += 1 }
            furthest = max(furthest, number)
        }
        #expect(lateDuplicates > 10)
        #expect(network.counters(from: 0, to: 1).reordered == reordered)
    }

    @Test func `Corruption turns over exactly one bit, any of them`() {
        var conditions = LinkConditions.perfect
        conditions.corruption = 0.5
        var network = Self.pair(conditions, seed: 2)
        let frame = [UInt8](repeating: 0xA5, count: 8)
        for _ in 0..<4000 { network.send(frame, from: 0, to: 1, at: .zero) }
        var counts = [Int](repeating: 0, count: 64)
        var corrupted = 0
        for delivery in Self.drain(&network) {
            let bits = (0..<64).filter { (delivery.frame[$0 / 8] ^ frame[$0 / 8]) >> UInt8($0 % 8) & 1 == 1 }
            #expect(bits.count <= 1)
            for bit in bits {
                counts[bit] += 1
                corrupted += 1
            }
        }
        #expect(counts.allSatisfy { $0 > 5 }, "\(counts)")
        #expect(network.counters(from: 0, to: 1).corrupted == corrupted)
        #expect((1850...2150).contains(corrupted))
        // An empty frame has no bit.
        network[from: 0, to: 1].corruption = 1
        #expect(network.send([], from: 0, to: 1, at: .distantFuture) == .arrives(.distantFuture))
        #expect(network.counters(from: 0, to: 1).corrupted == corrupted)
    }

    @Test func `Uniform loss loses its share, all or none`() {
        for (probability, range) in [(0.0, 0...0), (0.1, 850...1150), (1.0, 10_000...10_000)] {
            var conditions = LinkConditions.perfect
            conditions.loss = .uniform(probability)
            var network = Self.pair(conditions, seed: 6)
            for _ in 0..<10_000 { network.send([1], from: 0, to: 1, at: .zero) }
            #expect(range.contains(network.counters(from: 0, to: 1).lost))
            #expect(Self.drain(&network).count + network.counters(from: 0, to: 1).lost == 10_000)
        }
    }

    @Test func `Burst loss loses in runs of the length that the model says`() {
        var conditions = LinkConditions.perfect
        conditions.loss = .burst(LinkConditions.Burst(goodToBad: 0.02, badToGood: 0.2))
        var network = Self.pair(conditions, seed: 8)
        var lost = 0
        var runs = 0
        var wasLost = false
        for _ in 0..<40_000 {
            let isLost = network.send([1], from: 0, to: 1, at: .zero) == .dropped(.loss)
            if isLost { lost += 1 }
            if isLost && !wasLost { runs += 1 }
            wasLost = isLost
        }
        // 0.02 / 0.22 of all, and 5 in a row on average.
        #expect((3200...4100).contains(lost), "\(lost)")
        #expect((4.5...5.5).contains(Double(lost) / Double(runs)), "\(lost) in \(runs) runs")
    }

    @Test func `Each state of burst loss has its own loss`() {
        var conditions = LinkConditions.perfect
        // Always in the state that follows: good, bad, good …, as each frame moves first: the first meets the bad one.
        conditions.loss = .burst(LinkConditions.Burst(goodToBad: 1, badToGood: 1, lossGood: 0, lossBad: 1))
        var network = Self.pair(conditions)
        let outcomes = (0..<6).map { _ in network.send([1], from: 0, to: 1, at: .zero) == .dropped(.loss) }
        #expect(outcomes == [true, false, true, false, true, false])
        conditions.loss = .burst(LinkConditions.Burst(goodToBad: 0, badToGood: 0, lossGood: 1, lossBad: 0))
        network = Self.pair(conditions)
        #expect(network.send([1], from: 0, to: 1, at: .zero) == .dropped(.loss))
    }

    @Test func `A lost frame has taken its time on the link`() {
        var conditions = LinkConditions(latency: .zero, bandwidth: 8_000_000_000)
        conditions.loss = .uniform(1)
        var network = Self.pair(conditions)
        network.send([UInt8](repeating: 0, count: 100), from: 0, to: 1, at: .zero)
        network[from: 0, to: 1].loss = .none
        #expect(network.send([0], from: 0, to: 1, at: .zero) == .arrives(Self.at(101)))
    }
}
