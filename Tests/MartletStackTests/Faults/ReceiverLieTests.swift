// Receivers that lie: about what has arrived, about what they have room for. Savage et al., 1999; RFC 9293 §3.8.6.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct ReceiverLieTests {
    private static let sackPermitted: [PacketScript.Option] = [
        .maximumSegmentSize(1460), .noOperation, .noOperation, .sackPermitted,
    ]

    /// The victim has as much in flight as its window lets it, of 60,000 bytes.
    private static func flying(_ stage: inout FaultStage) {
        let taken = stage.host.stack.send(stage[.victim].id!, [UInt8](repeating: 7, count: 60_000))
        #expect(taken == 60_000)
        stage.wait(.zero)
    }

    @Test(
        "reports of what was never sent, is acknowledged, or is backwards move no counter of the scoreboard",
        arguments: Family.allCases)
    func lies(family: Family) {
        var stage = FaultStage(family, options: Self.sackPermitted)
        Self.flying(&stage)
        let (p, n, id) = (stage[.victim].p, stage[.victim].n, stage[.victim].id!)
        let cwnd = stage.host.stack.tcp.number("cwnd", of: id)!
        let segments = stage.host.stack.counters.tcp.segmentsOut
        let lies: [(UInt32, UInt32)] = [
            (n, n + 1000), (n + 1, n + 2), (n - 100, n + 100), (5000, 4000), (3000, 3000), (1 &- 5000, 1 &- 4000),
            (1 << 31, 1 << 31 + 1000), (0, .max), (n, 1),
        ]
        for (number, lie) in lies.enumerated() {
            stage.arrives(
                .victim, .ack, at: p, 0, ack: 1,
                options: [.noOperation, .noOperation, .sack([.init(start: lie.0, end: lie.1)])])
            let info = stage.host.stack.info(of: id)!
            #expect(info.sacked == 0 && info.lost == 0, "\(lie)")
            #expect(stage.host.stack.tcp.number("snd_una", of: id) == 1, "\(lie)")
            #expect(stage.host.stack.tcp.number("cwnd", of: id)! <= cwnd, "\(lie)")
            #expect(stage.host.stack.counters.tcp.retransmits == 0, "\(lie), the \(number).")
        }
        #expect(stage.host.stack.counters.tcp.segmentsOut == segments)
        #expect(stage.host.stack.counters.tcp.fastRecoveries == 0)
        stage.goesOn()
        // What is true is believed.
        stage.arrives(.victim, .ack, at: p, 0, ack: n)
        #expect(stage.host.stack.tcp.number("snd_una", of: id) == Int64(n))
    }

    @Test("a receiver that reports all but the first segment, and then that it has none, gets every byte again")
    func reneging() {
        var stage = FaultStage(.v4, options: Self.sackPermitted)
        Self.flying(&stage)
        let (p, n, id) = (stage[.victim].p, stage[.victim].n, stage[.victim].id!)
        stage.arrives(
            .victim, .ack, at: p, 0, ack: 1,
            options: [.noOperation, .noOperation, .sack([.init(start: 1461, end: n)])])
        #expect(stage.host.stack.info(of: id)!.sacked > 0)
        _ = stage.takeHeard(.victim)
        // RFC 2018 §8: after a timeout what was reported counts for nothing.
        stage.wait(.seconds(20))
        var reached: UInt32 = 1
        var held: [PacketScript.SACKBlock] = []
        var turns = 0
        while reached < n, turns < 400 {
            for segment in stage.takeHeard(.victim) {
                let relative = segment.relative(to: stage[.victim].flow.reversed)!
                held.append(.init(start: relative.sequence, end: relative.end))
            }
            while let next = held.firstIndex(where: { $0.start <= reached }) {
                reached = max(reached, held.remove(at: next).end)
            }
            // From now on it says what is so.
            stage.arrives(
                .victim, .ack, at: p, 0, ack: reached,
                options: held.isEmpty ? [] : [.noOperation, .noOperation, .sack(Array(held.suffix(1)))])
            stage.wait(.seconds(1))
            turns += 1
        }
        #expect(reached >= n)
        #expect(stage.host.stack.counters.tcp.timeouts > 0)
        #expect(stage.host.stack.counters.tcp.reneges == 1)
        stage.goesOn()
    }

    @Test(
        "ACKs of what has not been sent yet, ahead by any distance, are challenged and open no window",
        arguments: Family.allCases)
    func optimistic(family: Family) {
        var stage = FaultStage(family)
        Self.flying(&stage)
        let (p, n, id) = (stage[.victim].p, stage[.victim].n, stage[.victim].id!)
        let cwnd = stage.host.stack.tcp.number("cwnd", of: id)
        for (number, ahead) in [1, 1460, 14_600, 65_535, 1 << 20, 1 << 31 - 1].enumerated() {
            stage.arrives(.victim, .ack, at: p, 0, ack: n &+ UInt32(ahead))
            #expect(stage.host.stack.counters.tcp.challengeAcks == UInt64(number) + 1)
        }
        #expect(stage.host.stack.tcp.number("cwnd", of: id) == cwnd)
        #expect(stage.host.stack.tcp.number("snd_una", of: id) == 1)
        #expect(stage[.victim].n == n)
        stage.goesOn()
    }

    @Test(
        "a hundred peers whose window is closed for ever hold what they were sent, no more, and the honest one goes on")
    func closedForEver() {
        var limits = StackLimits(network: .few)
        limits.network.neighbors.entries = 256
        limits.tcp.connections = 128
        limits.tcp.ringMemory = 4 << 20
        limits.tcp.initialSendLimit = 16 << 10
        limits.tcp.sendLimit = 16 << 10
        var stage = FaultStage(.v4, limits: limits)
        var ids: [ConnectionID] = []
        for number in 0..<100 as Range<UInt16> {
            stage[.victim].end.port = 10_000 + number
            stage[.victim].n = 0
            stage.arrives(.victim, .syn, at: 0, 0, ack: nil, window: 0)
            stage.arrives(.victim, .ack, at: 1, 0, ack: 1, window: 0)
            if let id = stage.host.stack.accept(stage.listener) { ids.append(id) }
        }
        #expect(ids.count == 100)
        for id in ids {
            let taken = stage.host.stack.send(id, [UInt8](repeating: 7, count: 100_000))
            #expect(taken <= 16 << 10)
        }
        let memory = stage.host.stack.tcp.ringBytesTaken
        #expect(memory <= 100 * 16 << 10)
        let probes = stage.host.stack.counters.tcp.segmentsOut
        for _ in 0..<20 {
            stage.wait(.seconds(60))
            stage.goesOn()
        }
        // R2 of those that answer nothing has passed (RFC 9293 §3.8.3), and what they held is free.
        let asked = stage.host.stack.counters.tcp.segmentsOut - probes
        #expect(asked < 100 * 40 + 200)
        for id in ids { #expect(stage.host.stack.error(of: id) == .timedOut) }
        for id in ids { stage.host.stack.release(id) }
        stage.wait(.seconds(1))
        #expect(stage.host.stack.tcp.ringBytesTaken <= 2048 * 2)
        #expect(stage.host.stack.connectionCount == 2)
    }

    @Test(
        "MUST-34: a window that shrinks below what is in flight stops new bytes; what is lost goes again",
        arguments: Family.allCases)
    func shrinking(family: Family) {
        var stage = FaultStage(family)
        Self.flying(&stage)
        let (p, n, id) = (stage[.victim].p, stage[.victim].n, stage[.victim].id!)
        // All but the first segment's ACK, and a window that ends before what is out.
        for window in [10_000, 3000, 100, 1, 0] as [UInt16] {
            stage.arrives(.victim, .ack, at: p, 0, ack: 1461, window: window)
            #expect(stage[.victim].n == n, "window \(window)")
        }
        // What is beyond goes again all the same: it was allowed when it went.
        stage.wait(.seconds(5))
        #expect(stage[.victim].n <= n + 1)
        #expect(stage.host.stack.counters.tcp.retransmits > 0 || stage.host.stack.counters.tcp.segmentsOut > 0)
        #expect(stage.state(.victim) == .established)
        stage.arrives(.victim, .ack, at: p, 0, ack: n, window: 60_000)
        stage.wait(.seconds(1))
        #expect(stage[.victim].n > n)
        #expect(stage.host.stack.tcp.number("snd_una", of: id) == Int64(n))
        stage.goesOn()
    }

    @Test(
        "bytes with holes between them are held up to the limits on ranges and bytes, counted beyond, and freed",
        arguments: Family.allCases)
    func outOfOrderFlood(family: Family) {
        var limits = StackLimits(network: .few)
        limits.tcp.ranges = 64
        limits.tcp.rangesPerConnection = 48
        limits.tcp.ringMemory = 512 << 10
        var stage = FaultStage(family, limits: limits)
        let (p, n, id) = (stage[.victim].p, stage[.victim].n, stage[.victim].id!)
        for hole in 0..<5000 as Range<UInt32> { stage.arrives(.victim, .ack, at: p &+ 1 &+ hole &* 2, 1, ack: n) }
        #expect(64 - stage.host.stack.tcp.rangesFree == 48)
        #expect(stage.host.stack.counters.tcp.tooManyRanges == 5000 - 48)
        #expect(stage.host.stack.tcp.ringBytesTaken <= 64 << 10)
        // Beyond the window nothing is held at all.
        let outside = stage.host.stack.counters.tcp.outOfWindow
        for ahead in 0..<100 as Range<UInt32> { stage.arrives(.victim, .ack, at: p &+ 70_000 &+ ahead &* 2, 1, ack: n) }
        #expect(stage.host.stack.counters.tcp.outOfWindow == outside + 100)
        stage.goesOn()
        // What is in order is taken still, and frees the ranges it reaches.
        stage.arrives(.victim, .ack, at: p, 1000, ack: n)
        #expect(stage.host.stack.receiveAll(id) == SegmentBytes.data(from: p, count: 1000))
        stage.arrives(.victim, .rst, at: p &+ 1000)
        stage.host.stack.release(id)
        stage.wait(.seconds(1))
        #expect(stage.host.stack.tcp.rangesFree == 64)
        stage.goesOn()
    }

    @Test(
        "a FIN behind bytes that fill the window to its edge is taken, and the peer's ACKs count from there on",
        arguments: Family.allCases)
    func finBehindFullWindow(family: Family) {
        var limits = StackLimits(network: .few)
        limits.tcp.initialReceiveLimit = 1000
        var stage = FaultStage(family, limits: limits)
        let (p, n, id) = (stage[.victim].p, stage[.victim].n, stage[.victim].id!)
        stage.arrives(.victim, [.ack, .fin], at: p, 1000, ack: n)
        #expect(stage.state(.victim) == .closeWait)
        #expect(stage.host.stack.send(id, [UInt8](repeating: 7, count: 50)) == 50)
        stage.wait(.zero)
        stage.arrives(.victim, .ack, at: p &+ 1001, 0, ack: n + 50)
        #expect(stage.host.stack.tcp.number("snd_una", of: id) == Int64(n) + 50)
        #expect(stage.host.stack.counters.tcp.outOfWindow == 0)
        #expect(stage.host.stack.receiveAll(id) == SegmentBytes.data(from: p, count: 1000))
        stage.goesOn()
    }
}
