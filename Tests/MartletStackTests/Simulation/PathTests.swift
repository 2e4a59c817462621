// Paths that misbehave: whatever they do, the bytes that arrive are those that were sent, and all of them do.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct PathTests {
    /// Sends `byteCount` bytes, lets `disturb` do what it likes after each step, and looks for what is wrong at the end, such as
    /// having taken more than so many seconds.
    static func transfer(
        _ there: LinkConditions, back: LinkConditions? = nil, byteCount: Int, limits: TCPLimits = TCPLimits(),
        seed: UInt64, within seconds: Double = 600, sourceLocation: SourceLocation = #_sourceLocation,
        disturb: (inout Hosts, Transfer) -> Void = { _, _ in }, inspect: (inout Hosts) -> Void = { _ in }
    ) {
        var hosts = Hosts(there, back: back, limits: limits, seed: seed)
        var flows = Transfers(seed: seed)
        flows.start(&hosts, byteCount: byteCount)
        hosts.run(for: .seconds(600), sourceLocation: sourceLocation) {
            flows.turn(&$0)
            disturb(&$0, flows[0])
            return flows.areDone
        }
        let flow = flows[0]
        let end = "\(flow.receivedCount) of \(byteCount) bytes, \(flow.error.map { "\($0)" } ?? "no error")"
        hosts.check(flow.isIntact, "bytes are not those that were sent", sourceLocation: sourceLocation)
        hosts.check(flow.receivedCount == byteCount && flow.isFinished, end, sourceLocation: sourceLocation)
        let took = flow.completedAt?.seconds ?? .infinity
        hosts.check(took < seconds, "took \(took) s", sourceLocation: sourceLocation)
        inspect(&hosts)
        // Nothing is left of it when TIME-WAIT is over.
        flows.release(&hosts)
        hosts.network[from: 0, to: 1] = .perfect
        hosts.network[from: 1, to: 0] = .perfect
        let limit = hosts.now + .seconds(300)
        while hosts.step(until: limit) { flows.turn(&hosts) }
        for host in 0..<2 {
            let (connections, bytes) = (hosts[host].connectionCount, hosts[host].tcp.ringBytesTaken)
            let (records, ranges) = (hosts[host].tcp.sentRecordsFree, hosts[host].tcp.rangesFree)
            hosts.check(
                connections == 0 && bytes == 0 && records == limits.sentRecords && ranges == limits.ranges,
                "host \(host) keeps \(connections) connections, \(bytes) bytes, \(records) and \(ranges) are free",
                sourceLocation: sourceLocation)
        }
    }

    static func link(_ latency: Duration = .milliseconds(10), _ bandwidth: Int64 = 50_000_000) -> LinkConditions {
        LinkConditions(latency: latency, bandwidth: bandwidth)
    }

    @Test(
        "a clock that jumps forward an hour, at either end, costs a few seconds at most", arguments: [0, 1],
        0..<3 as Range<UInt64>)
    func jump(host: Int, seed: UInt64) {
        var jumps = 0
        Self.transfer(Self.link(), byteCount: 4_000_000, seed: seed, within: 10) { hosts, flow in
            guard flow.receivedCount > (1 + jumps) * 1_200_000, jumps < 2 else { return }
            jumps += 1
            hosts.jumpClock(of: host, by: .seconds(3600))
        }
        #expect(jumps == 2)
    }

    @Test("a path that is cut for a minute carries on soon after it is mended", arguments: 0..<4 as Range<UInt64>)
    func partition(seed: UInt64) {
        var cut = Instant.distantFuture
        var isMended = false
        // Cut in the first second. Timeouts double, so the next try comes no later than twice the time since then.
        Self.transfer(Self.link(), byteCount: 2_000_000, seed: seed, within: 2 * 60 + 5) { hosts, flow in
            if cut == .distantFuture, flow.receivedCount > 600_000 + Int(seed) * 1000 {
                cut = hosts.now
                hosts.network.setPartition([0])
            } else if !isMended, cut != .distantFuture, hosts.now > cut + .seconds(60) {
                isMended = true
                hosts.network.setPartition([0], isPartitioned: false)
            }
        }
        #expect(isMended)
    }

    @Test("a narrow and long way back for ACKs hardly slows the way there", arguments: 0..<3 as Range<UInt64>)
    func asymmetric(seed: UInt64) {
        // 40 bytes and 12 of options for two segments: 0.7 Mb/s of ACKs for 40 Mb/s.
        var back = Self.link(.milliseconds(60), 1_000_000)
        back.queueLimit = 20_000
        // A window of 256 KiB in 70 ms, and the beginning.
        Self.transfer(
            Self.link(.milliseconds(10), 40_000_000), back: back, byteCount: 10_000_000, seed: seed, within: 4.5)
    }

    @Test(
        "ACKs that are dropped by a queue that is too short for them cost no timeout", arguments: 0..<3 as Range<UInt64>
    )
    func starvedACKs(seed: UInt64) {
        var back = Self.link(.milliseconds(10), 200_000)
        back.queueLimit = 1_000
        var dropped = 0
        let there = Self.link(.milliseconds(10), 40_000_000)
        Self.transfer(there, back: back, byteCount: 5_000_000, seed: seed, within: 5) {
            _, _ in
        } inspect: { hosts in
            dropped = hosts.network.counters(from: 1, to: 0).droppedByQueue
            let timeouts = hosts[0].counters.tcp.timeouts
            hosts.check(timeouts == 0, "\(timeouts) timeouts")
        }
        #expect(dropped > 100, "seed \(seed): nothing was dropped")
    }

    @Test("no packet is longer than an MTU of 576 on either side", arguments: 0..<3 as Range<UInt64>)
    func smallMTU(seed: UInt64) {
        var limits = TCPLimits()
        limits.mtu = 576
        var link = Self.link()
        link.mtu = 576
        link.loss = .uniform(0.01)
        Self.transfer(link, byteCount: 300_000, limits: limits, seed: seed) { _, _ in
        } inspect: { hosts in
            for (from, to) in [(0, 1), (1, 0)] {
                let counters = hosts.network.counters(from: from, to: to)
                hosts.check(counters.droppedByMTU == 0, "\(counters.droppedByMTU) packets are too long")
            }
        }
    }

    @Test("a connection begins with what those before it have found out about its path")
    func knownMTU() throws {
        var link = Self.link()
        link.mtu = 1000
        var hosts = Hosts(link, seed: 1)
        var flows = Transfers(seed: 1)
        var dropped: [Int] = []
        for number in 0..<2 {
            flows.start(&hosts, byteCount: 100_000)
            try hosts.drive(for: .seconds(100)) {
                flows.turn(&$0)
                return flows.areDone
            }
            hosts.check(flows[number].isIntact && flows[number].receivedCount == 100_000, "not all has come")
            dropped.append(hosts.network.counters(from: 0, to: 1).droppedByMTU)
        }
        hosts.check(dropped[0] > 0 && dropped[1] == dropped[0], "\(dropped) packets were too long")
    }

    @Test(
        "corrupted packets are caught by checksums, and repaired", arguments: [0.001, 0.01, 0.1], 0..<3 as Range<UInt64>
    )
    func corruption(share: Double, seed: UInt64) {
        var link = Self.link()
        link.corruption = share
        Self.transfer(link, byteCount: share > 0.05 ? 200_000 : 2_000_000, seed: seed) { _, _ in
        } inspect: { hosts in
            var corrupted = 0
            var caught: UInt64 = 0
            for (from, to) in [(0, 1), (1, 0)] {
                corrupted += hosts.network.counters(from: from, to: to).corrupted
                caught += hosts[to].counters.tcp.badChecksum + hosts[to].counters.tcp.malformed
                caught += PacketDrop.allCases.reduce(0) { $0 + hosts[to].network.counters[$1] }
            }
            // One bit is always found. The last ones may still be under way.
            let difference = corrupted - Int(caught)
            hosts.check(corrupted > 0 && (0...4).contains(difference), "\(caught) of \(corrupted) were caught")
        }
    }

    @Test("bursts of loss are repaired", arguments: 0..<6 as Range<UInt64>)
    func bursts(seed: UInt64) {
        var link = Self.link()
        // A burst of four packets every five hundred.
        link.loss = .burst(.init(goodToBad: 0.002, badToGood: 0.25))
        Self.transfer(link, byteCount: 5_000_000, seed: seed, within: 20)
    }

    @Test(
        "reordering within a quarter of the round trip, of half of all packets even, costs little and repairs hardly anything",
        arguments: [0.01, 0.1, 0.5], 0..<3 as Range<UInt64>)
    func reordering(share: Double, seed: UInt64) {
        var link = Self.link()
        link.reordering = share
        // Of data and of ACKs: 4 ms of the 5 that RACK allows for.
        link.reorderingDelay = .milliseconds(2)
        Self.transfer(link, byteCount: 5_000_000, seed: seed, within: 2) { _, _ in
        } inspect: { hosts in
            let (timeouts, retransmits) = (hosts[0].counters.tcp.timeouts, hosts[0].counters.tcp.retransmits)
            hosts.check(timeouts == 0 && retransmits < 20, "\(timeouts) timeouts, \(retransmits) sent again")
        }
    }

    @Test("reordering beyond the round trip loses no bytes", arguments: [0.01, 0.1, 0.5], 0..<3 as Range<UInt64>)
    func wildReordering(share: Double, seed: UInt64) {
        var link = Self.link()
        link.reordering = share
        link.reorderingDelay = .milliseconds(50)
        Self.transfer(link, byteCount: 500_000, seed: seed)
    }

    @Test("ACKs that are lost do not make the round trip seem longer", arguments: [1, 3])
    func lostACKs(segments: Int) throws {
        var hosts = Hosts(Self.link(), seed: 1)
        let listener = hosts[1].listen(port: 7, backlog: 1)
        let opened = hosts[0].connect(from: Hosts.address(0), to: Hosts.address(1), port: 7)
        let client = try #require(opened)
        hosts.run(for: .seconds(1)) { $0[1].accept(listener) != nil }
        hosts.rest(until: hosts.now + .milliseconds(100))
        // The first segment is lost once, and all ACKs are for two seconds; the client asks again and again.
        var isFirst = true
        hosts.filter = { host, packet in
            if host == 1 { return false }
            defer { isFirst = false }
            return !(isFirst && packet.count > 52)
        }
        let data = [UInt8](repeating: 1, count: 1448 * segments)
        let count = hosts[0].send(client, data)
        #expect(count == data.count)
        hosts.rest(until: hosts.now + .seconds(2))
        hosts.filter = nil
        hosts.run(for: .seconds(60)) { $0[0].tcp.number("snd_una", of: client) == Int64(1 + data.count) }
        let srtt = hosts[0].tcp.number("srtt", of: client) ?? 0
        let timeouts = hosts[0].counters.tcp.timeouts
        hosts.check(timeouts > 2, "only \(timeouts) timeouts")
        hosts.check((20_000..<30_000).contains(srtt), "srtt is \(srtt) µs")
    }

    @Test("everything at once", arguments: 0..<12 as Range<UInt64>)
    func everything(seed: UInt64) {
        var link = Self.link(.milliseconds(15), 20_000_000)
        link.jitter = .milliseconds(5)
        link.jitterReorders = seed % 2 == 0
        link.queueLimit = 60_000
        link.loss = .burst(.init(goodToBad: 0.002, badToGood: 0.2, lossGood: 0.005, lossBad: 0.7))
        link.reordering = 0.02
        link.reorderingDelay = .milliseconds(20)
        link.duplication = 0.01
        link.corruption = 0.002
        Self.transfer(link, byteCount: 1_000_000, seed: seed)
    }
}
