// The pair as programs outside of this package use it: nothing here is imported for testing.

import MartletSimulation
import MartletStack
import Testing

@Suite struct PairTests {
    /// Bytes that are in the wrong place tell so.
    private static func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 * 31 + $0 >> 8) }
    }

    /// Sends bytes from the client to the server and back, and returns what came back.
    private static func echo(_ bytes: [UInt8], _ pair: inout Pair, isIPv6: Bool = false) throws -> [UInt8] {
        let (client, server) = try pair.connect(port: 7, isIPv6: isIPv6)
        var sent = 0
        var waiting: [UInt8] = []
        var answer: [UInt8] = []
        func received(_ run: RawSpan, _ bytes: inout [UInt8]) -> Int {
            bytes += unsafe run.withUnsafeBytes { unsafe Array($0) }
            return run.byteCount
        }
        sent += unsafe pair.client.send(client, bytes.span.bytes)
        try pair.drive(for: .seconds(600)) { pair in
            if sent < bytes.count {
                sent += unsafe pair.client.send(client, bytes.span.bytes.extracting(droppingFirst: sent))
            }
            while pair.server.receive(server, { received($0, &waiting) }) > 0 {}
            if !waiting.isEmpty { unsafe waiting.removeFirst(pair.server.send(server, waiting.span.bytes)) }
            while pair.client.receive(client, { received($0, &answer) }) > 0 {}
            return answer.count == bytes.count
        }
        return answer
    }

    @Test("bytes come back as they went, over a path that loses and turns them round", arguments: [false, true])
    func echo(isIPv6: Bool) throws {
        for seed in 1...3 as ClosedRange<UInt64> {
            var link = LinkConditions(latency: .milliseconds(10))
            link.loss = .uniform(0.03)
            link.reordering = 0.05
            link.reorderingDelay = .milliseconds(15)
            var pair = Pair(link, seed: seed)
            let bytes = Self.pattern(100_000)
            let answer = try Self.echo(bytes, &pair, isIPv6: isIPv6)
            #expect(answer == bytes, "seed \(seed)")
            #expect(pair.client.counters.tcp.retransmits > 0, "seed \(seed)")
        }
    }

    @Test("a link that sums and cuts gets large frames, of both IP versions", arguments: [false, true])
    func offload(isIPv6: Bool) throws {
        var pair = Pair(seed: 1)
        pair.hosts = VirtualHosts(there: LinkConditions(latency: .milliseconds(1)), seed: 1, frameCapacity: 32_768) {
            ($0.completesChecksums, $0.cutsSegments) = (true, true)
        }
        let bytes = Self.pattern(200_000)
        let answer = try Self.echo(bytes, &pair, isIPv6: isIPv6)
        #expect(answer == bytes)
        #expect(pair.hosts.largestFrame > 10_000)
        #expect(pair.server.counters.tcp.badChecksum == 0)
    }

    @Test("equal seeds give equal runs, packet by packet, and other seeds others")
    func determinism() throws {
        func run(seed: UInt64) throws -> [UInt8] {
            var link = LinkConditions(latency: .milliseconds(10))
            link.loss = .uniform(0.1)
            var pair = Pair(link, seed: seed)
            _ = try Self.echo(Self.pattern(20_000), &pair)
            return pair.hosts.capture().bytes
        }
        let first = try run(seed: 5)
        let again = try run(seed: 5)
        let other = try run(seed: 6)
        #expect(first == again)
        #expect(first != other)
    }

    @Test("a run that is not done in time fails with its seed, and leaves the capture of what went")
    func late() throws {
        var pair = Pair(seed: 42)
        _ = try pair.connect(port: 7)
        let capture = pair.hosts.capture()
        let failure = #expect(throws: SimulationFailure.self) { try pair.drive(for: .seconds(5)) { _ in false } }
        let failed = try #require(failure)
        #expect(failed.seed == 42)
        #expect(failed.description.contains("seed 42, at"))
        #expect(failed.message == "not done after 5.0 seconds")
        let path = try #require(failed.capture.split(separator: " ").last.map(String.init))
        #expect(OtherPrograms.contents(of: path) == capture.bytes)
        _ = OtherPrograms.output(of: "rm -f \(path)")
    }

    @Test("a run that goes on for ever without an end fails after so many steps")
    func livelock() throws {
        var pair = Pair(seed: 1)
        let (client, server) = try pair.connect(port: 7)
        var asked = 0
        let failure = #expect(throws: SimulationFailure.self) {
            try pair.drive(for: .seconds(1_000_000), stepLimit: 1000) { pair in
                asked += 1
                // The two talk for ever.
                if pair.client.receive(client, { $0.byteCount }) > 0 || asked == 1 {
                    _ = unsafe pair.client.send(client, [1].span.bytes)
                }
                if pair.server.receive(server, { $0.byteCount }) > 0 {
                    _ = unsafe pair.server.send(server, [2].span.bytes)
                }
                return false
            }
        }
        #expect(failure?.message == "not done after 1000 steps")
        #expect(asked == 1000)
    }

    @Test("packets that the test drops do not arrive, and are sent again")
    func filter() throws {
        var pair = Pair(seed: 1)
        var syns = 0
        pair.hosts.filter = { host, packet in
            guard host == 0, packet[33] & 2 != 0 else { return true }
            syns += 1
            return syns > 2
        }
        _ = try pair.connect(port: 7)
        #expect(syns == 3)
        #expect(pair.now >= Instant.zero + .seconds(3))
    }
}
