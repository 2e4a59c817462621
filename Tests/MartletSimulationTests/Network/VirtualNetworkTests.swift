// The network as a whole: order, determinism, segments, and that every frame is accounted for.

import MartletSimulation
import MartletStack
import Testing

@Suite struct VirtualNetworkTests {
    /// Conditions with some of everything.
    static func stormy(_ random: inout RandomStream) -> LinkConditions {
        var conditions = LinkConditions(
            latency: .microseconds(random.number(in: 0...500)), bandwidth: random.number(in: 1_000_000...1_000_000_000))
        conditions.jitter = .microseconds(random.number(in: 0...300))
        conditions.jitterReorders = random.happens(withProbability: 0.5)
        conditions.queueLimit = Int(random.number(in: 0...20_000))
        conditions.markingThreshold = Int(random.number(in: 0...5000))
        conditions.loss =
            random.happens(withProbability: 0.5)
            ? .uniform(0.05) : .burst(LinkConditions.Burst(goodToBad: 0.05, badToGood: 0.3, lossGood: 0.01))
        conditions.reordering = 0.05
        conditions.duplication = 0.05
        conditions.corruption = 0.05
        conditions.mtu = 1400
        conditions.isPartitioned = random.happens(withProbability: 0.05)
        return conditions
    }

    struct Run: Equatable {
        var deliveries: [VirtualNetwork.Delivery] = []
        var outcomes: [VirtualNetwork.Outcome] = []
        var counters: [LinkCounters] = []
        var underway = 0
    }

    /// Four nodes, frames between all of them, and conditions that change on the way.
    static func run(seed: UInt64) -> Run {
        var network = VirtualNetwork(seed: seed, frameLimit: 200)
        var random = RandomStream(seed: seed ^ 0xABCD)
        for _ in 0..<4 { _ = network.addNode() }
        for one in 0..<4 {
            for other in one + 1..<4 { network.connect(one, other, framing: .ip, conditions: stormy(&random)) }
        }
        var run = Run()
        var now = Instant.zero
        for _ in 0..<2000 {
            now = now.advanced(byNanoseconds: random.number(in: 0...20_000))
            run.deliveries += network.deliveries(until: now)
            let from = Int(random.number(below: 4))
            let to = (from + 1 + Int(random.number(below: 3))) % 4
            if random.happens(withProbability: 0.01) { network[from: from, to: to] = stormy(&random) }
            let length = Int(random.number(in: 0...1500))
            let frame = [0x45, 0x02] + (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            run.outcomes.append(network.send(frame, from: from, to: to, at: now))
        }
        run.underway = network.frameCount
        for from in 0..<4 {
            for to in 0..<4 where to != from { run.counters.append(network.counters(from: from, to: to)) }
        }
        return run
    }

    @Test(arguments: UInt64(1)...6)
    func `Equal seeds give equal runs, bit for bit`(seed: UInt64) {
        let one = Self.run(seed: seed)
        #expect(one == Self.run(seed: seed), "seed \(seed)")
        #expect(one != Self.run(seed: seed + 100), "seed \(seed)")
        #expect(one.deliveries.count > 100)
    }

    @Test func `A seed gives the same run in every process, today and later`() {
        // FNV-1a over all that was delivered. A change of this number is a change of every simulation that has a seed.
        var digest: UInt64 = 0xCBF2_9CE4_8422_2325
        for delivery in Self.run(seed: 1).deliveries {
            let instants = [delivery.instant.nanoseconds, delivery.sentAt.nanoseconds].map { UInt64(bitPattern: $0) }
            for word in instants + [UInt64(delivery.from), UInt64(delivery.to)] + delivery.frame.map(UInt64.init) {
                digest = (digest ^ word) &* 0x100_0000_01B3
            }
        }
        #expect(digest == 13_272_613_936_723_880_081)
    }

    @Test(arguments: UInt64(1)...6)
    func `Every frame is delivered, dropped for one reason, or under way`(seed: UInt64) {
        let run = Self.run(seed: seed)
        let sum = { (count: (LinkCounters) -> Int) in run.counters.map(count).reduce(0, +) }
        #expect(sum(\.sent) == run.outcomes.count)
        #expect(sum(\.sent) + sum(\.duplicated) == sum(\.delivered) + sum(\.dropped) + run.underway, "seed \(seed)")
        #expect(sum(\.delivered) == run.deliveries.count)
        for (drop, count) in [
            (VirtualNetwork.Drop.loss, sum(\.lost)), (.queue, sum(\.droppedByQueue)), (.mtu, sum(\.droppedByMTU)),
            (.partition, sum(\.droppedByPartition)), (.limit, sum(\.droppedByLimit)),
        ] {
            #expect(run.outcomes.filter { $0 == .dropped(drop) }.count == count, "\(drop), seed \(seed)")
        }
        for (name, count) in [
            ("lost", sum(\.lost)), ("queue", sum(\.droppedByQueue)), ("mtu", sum(\.droppedByMTU)),
            ("duplicated", sum(\.duplicated)), ("reordered", sum(\.reordered)), ("corrupted", sum(\.corrupted)),
            ("marked", sum(\.marked)),
        ] {
            #expect(count > 0, "nothing \(name), seed \(seed)")
        }
    }

    @Test(arguments: UInt64(1)...6)
    func `Frames arrive in the order of time, and in that of sending at the same instant`(seed: UInt64) {
        let deliveries = Self.run(seed: seed).deliveries
        for (one, next) in zip(deliveries, deliveries.dropFirst()) {
            #expect(one.instant <= next.instant && one.sentAt <= one.instant, "seed \(seed)")
        }
        var network = VirtualNetwork(seed: seed)
        for _ in 0..<9 { _ = network.addNode() }
        for node in 1..<9 { network.addLink(from: node, to: 0) }
        var random = RandomStream(seed: seed)
        var expected: [UInt8] = []
        for number in UInt8(0)...200 {
            network.send([number], from: 1 + Int(random.number(below: 8)), to: 0, at: .zero)
            expected.append(number)
        }
        #expect(network.deliveries(until: .zero).map { $0.frame[0] } == expected)
    }

    @Test(arguments: UInt64(1)...4)
    func `A fault that is switched on leaves the fate that the others give as it was`(seed: UInt64) {
        var plain = LinkConditions(latency: .milliseconds(1))
        plain.loss = .uniform(0.2)
        plain.jitter = .microseconds(10)
        plain.jitterReorders = true
        var more = plain
        more.corruption = 0.3
        more.duplication = 0.3
        more.markingThreshold = 0
        var one = VirtualLinkTests.pair(plain, seed: seed)
        var other = VirtualLinkTests.pair(more, seed: seed)
        for number in 0..<500 {
            let frame = VirtualLinkTests.frame(number)
            #expect(
                one.send(frame, from: 0, to: 1, at: .zero) == other.send(frame, from: 0, to: 1, at: .zero),
                "seed \(seed), frame \(number)")
        }
    }

    @Test func `A link that is added leaves the others as they were, and no two are alike`() {
        var conditions = LinkConditions.perfect
        conditions.loss = .uniform(0.5)
        func fates(_ network: inout VirtualNetwork, from: Int, to: Int) -> [VirtualNetwork.Outcome] {
            (0..<64).map { _ in network.send([0], from: from, to: to, at: .zero) }
        }
        var small = VirtualLinkTests.pair(conditions)
        var large = VirtualNetwork(seed: 1)
        for _ in 0..<3 { _ = large.addNode() }
        large.connect(1, 2, conditions: conditions)
        large.connect(0, 1, conditions: conditions)
        let forward = fates(&small, from: 0, to: 1)
        _ = fates(&large, from: 1, to: 2)
        #expect(fates(&large, from: 0, to: 1) == forward)
        #expect(fates(&large, from: 1, to: 0) != forward)
        #expect(fates(&large, from: 2, to: 1) != forward)
    }

    @Test func `A copy is another network that goes its own way`() {
        var network = VirtualLinkTests.pair(LinkConditions(latency: .milliseconds(1)))
        network.send([1], from: 0, to: 1, at: .zero)
        var copy = network
        copy.send([2], from: 0, to: 1, at: .zero)
        #expect(network.deliveries(until: .distantFuture).map(\.frame) == [[1]])
        #expect(copy.deliveries(until: .distantFuture).map(\.frame) == [[1], [2]])
    }

    @Test func `Deliveries go up to the instant and include it`() {
        var network = VirtualLinkTests.pair(LinkConditions(latency: .nanoseconds(10)))
        for time: Int64 in [0, 1, 2] { network.send([UInt8(time)], from: 0, to: 1, at: VirtualLinkTests.at(time)) }
        #expect(network.deliveries(until: VirtualLinkTests.at(9)).isEmpty)
        #expect(network.deliveries(until: VirtualLinkTests.at(11)).map(\.frame) == [[0], [1]])
        #expect(network.nextArrival == VirtualLinkTests.at(12))
        #expect(network.frameCount == 1)
        #expect(network.now == VirtualLinkTests.at(11))
    }

    @Test func `Frames beyond the limit are dropped and counted, duplicates too`() {
        var network = VirtualNetwork(seed: 1, frameLimit: 3)
        for _ in 0..<2 { _ = network.addNode() }
        var conditions = LinkConditions.perfect
        conditions.duplication = 1
        network.connect(0, 1, conditions: conditions)
        #expect(network.send([1], from: 0, to: 1, at: .zero) == .arrives(.zero))
        #expect(network.send([2], from: 0, to: 1, at: .zero) == .arrives(.zero))
        #expect(network.send([3], from: 0, to: 1, at: .zero) == .dropped(.limit))
        #expect(network.counters(from: 0, to: 1).duplicated == 1)
        #expect(network.counters(from: 0, to: 1).droppedByLimit == 1)
        #expect(network.deliveries(until: .zero).map(\.frame) == [[1], [1], [2]])
        #expect(network.send([3], from: 0, to: 1, at: .zero) == .arrives(.zero))
    }

    @Test func `A partition cuts what crosses it, both ways, and nothing else`() {
        var network = VirtualNetwork(seed: 1)
        for _ in 0..<4 { _ = network.addNode() }
        for (one, other) in [(0, 1), (1, 2), (2, 3)] { network.connect(one, other) }
        network.setPartition([0, 1])
        #expect(network.send([], from: 1, to: 2, at: .zero) == .dropped(.partition))
        #expect(network.send([], from: 2, to: 1, at: .zero) == .dropped(.partition))
        #expect(network.send([], from: 0, to: 1, at: .zero) == .arrives(.zero))
        #expect(network.send([], from: 2, to: 3, at: .zero) == .arrives(.zero))
        network.setPartition([0, 1], isPartitioned: false)
        #expect(network.send([], from: 1, to: 2, at: .zero) == .arrives(.zero))
    }

    @Test func `A segment floods what is for a group, and filters what is for one`() {
        var network = VirtualNetwork(seed: 1)
        let segment = network.addSegment()
        let address = { (last: UInt8) -> [UInt8] in [2, 0, 0, 0, 0, last] }
        for last in UInt8(0)..<3 { network.attach(network.addNode(), to: segment, address: address(last)) }
        network.attach(network.addNode(), to: segment)
        func receivers(of frame: [UInt8], from node: Int) -> [Int] {
            let count = network.send(frame, from: node, segment: segment, at: .zero)
            let deliveries = network.deliveries(until: .zero)
            #expect(deliveries.count == count && deliveries.allSatisfy { $0.frame == frame && $0.from == node })
            return deliveries.map(\.to)
        }
        #expect(receivers(of: [UInt8](repeating: 0xFF, count: 6) + [1], from: 0) == [1, 2, 3])
        #expect(receivers(of: [0x33, 0x33, 0, 0, 0, 1, 7], from: 3) == [0, 1, 2])
        #expect(receivers(of: address(1) + [1], from: 0) == [1, 3])
        #expect(receivers(of: address(0) + [1], from: 0) == [3])
        #expect(receivers(of: address(9) + [1], from: 3) == [])
        #expect(receivers(of: Array(address(1)[..<5]), from: 0) == [3])
        #expect(receivers(of: [], from: 0) == [3])
        #expect(receivers(of: [0xFF], from: 0) == [3])
    }

    @Test func `Two members of a segment can be cut off from each other alone`() {
        var network = VirtualNetwork(seed: 1)
        let segment = network.addSegment()
        for _ in 0..<3 { network.attach(network.addNode(), to: segment) }
        network[from: 0, to: 1].isPartitioned = true
        #expect(network.send([1], from: 0, segment: segment, at: .zero) == 2)
        #expect(network.deliveries(until: .zero).map(\.to) == [2])
        #expect(network.counters(from: 0, to: 1).droppedByPartition == 1)
    }

    @Test func `Time that goes back, and a link that is not there, are mistakes of the caller`() async {
        await #expect(processExitsWith: .failure) {
            var network = VirtualLinkTests.pair()
            network.send([], from: 0, to: 1, at: Instant(nanoseconds: 2))
            network.send([], from: 0, to: 1, at: Instant(nanoseconds: 1))
        }
        await #expect(processExitsWith: .failure) {
            var network = VirtualNetwork(seed: 1)
            let nodes = [network.addNode(), network.addNode()]
            network.addLink(from: nodes[0], to: nodes[1])
            network.send([], from: nodes[1], to: nodes[0], at: .zero)
        }
    }
}
