import MartletSimulation
import Testing

@testable import MartletStack

/// Connections whose link sums and cuts for them, and connections whose link merges.
@Suite struct OffloadTests {
    private static func limits(_ segments: UInt8) -> TCPLimits {
        var limits = TCPLimits()
        limits.checksumPartial = true
        limits.segmentsPerFrame = segments
        return limits
    }

    @Test(
        "a link completes the checksums, and cuts frames of up to 16 segments", arguments: [1, 4, 16, 255] as [UInt8])
    func cut(segments: UInt8) throws {
        var pair = Pair(limits: Self.limits(segments), frameCapacity: 32_768)
        let counters = try SpuriousTests.transfer(&pair, count: 500_000) { _, _ in }
        #expect(pair.largestFrame == Int(min(segments, 16)) * 1448 + 52)
        #expect(counters.retransmits == 0)
        #expect(counters.segmentsOut > 500_000 / 1448)
        #expect(pair.server.counters.tcp.badChecksum == 0)
    }

    @Test("frames are no larger than their slots, and not large at all if the link does not sum")
    func bounds() throws {
        for (sums, capacity, largest) in [(true, 8192, 5 * 1448 + 52), (true, 2048, 1500), (false, 32_768, 1500)] {
            var limits = Self.limits(16)
            limits.checksumPartial = sums
            var pair = Pair(limits: limits, frameCapacity: capacity)
            _ = try SpuriousTests.transfer(&pair, count: 200_000) { _, _ in }
            #expect(pair.largestFrame == largest)
        }
    }

    @Test("what is lost of a large frame goes again, segment by segment", arguments: 0..<4 as Range<UInt64>)
    func lossy(seed: UInt64) throws {
        var pair = Pair(WireConditions(lost: 30, late: 20), limits: Self.limits(16), seed: seed, frameCapacity: 32_768)
        let counters = try SpuriousTests.transfer(&pair, count: 500_000) { _, _ in }
        #expect(counters.retransmits > 0, "seed \(seed)")
    }

    @Test("to ourselves frames go as they are: nothing is summed or cut, and each segment of them counts")
    func loopback() throws {
        var hosts = Hosts(LinkConditions(), limits: Self.limits(16), seed: 1, frameCapacity: 32_768)
        let listener = hosts[0].listen(port: 7, backlog: 8)
        let opened = try? hosts[0].connect(to: Hosts.address(0), port: 7)
        let client = try #require(opened)
        let data = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 / 251) }
        var (sent, received): (Int, [UInt8]) = (0, [])
        var server: ConnectionID?
        hosts.run(for: .seconds(10), stepLimit: 100_000) { hosts in
            while hosts[0].nextEvent() != nil {}
            if server == nil { server = hosts[0].accept(listener) }
            if hosts[0].state(of: client) == .established { sent += hosts[0].send(client, data, from: sent) }
            if let server { received += hosts[0].receiveAll(server) }
            return received.count == data.count
        }
        let isIntact = received == data
        #expect(isIntact)
        let counters = hosts[0].counters.tcp
        #expect(counters.segmentsIn * 2 < counters.segmentsOut, "\(counters)")
        #expect(counters.badChecksum == 0 && counters.retransmits == 0)
        #expect(hosts.largestFrame == 0)
        // A frame of two segments and more is acknowledged at once: no ACK waits for 40 ms.
        #expect(hosts.now.seconds < 0.1)
    }

    @Test("a paced connection's frames hold no more than leaves at once")
    func paced() throws {
        var limits = Self.limits(16)
        limits.pacesAll = true
        var pair = Pair(WireConditions(latency: 20_000_000), limits: limits, frameCapacity: 32_768)
        _ = try SpuriousTests.transfer(&pair, count: 300_000) { _, _ in }
        // 256 KiB in 40 ms, twice that in slow start: 13 kB a millisecond.
        #expect(pair.largestFrame < 14_000)
    }
}
