// Numbers and clocks that wrap, and clocks that jump, under a connection in use.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct WrapTests {
    @Test(
        "sequence numbers wrap under exchanges in both directions, from any distance",
        arguments: Family.allCases, [0, 1, 50, 101, 1000, 1 << 31] as [UInt32])
    func sequence(family: Family, distance: UInt32) {
        var stage = FaultStage(family, initialSequence: 0 &- distance)
        for _ in 0..<30 { stage.goesOn(.victim) }
        #expect(stage[.victim].p == 3001)
        #expect(stage.host.stack.counters.tcp.outOfWindow == 0)
        #expect(stage.host.stack.counters.tcp.retransmits == 0)
        stage.goesOn()
    }

    @Test("ranges out of order lie across the wrap, and are read in order", arguments: 0..<40 as Range<UInt32>)
    func ranges(distance: UInt32) {
        var stage = FaultStage(.v4, initialSequence: 0 &- distance)
        let (n, id) = (stage[.victim].n, stage[.victim].id!)
        for start in [31, 21, 11] as [UInt32] { stage.arrives(.victim, .ack, at: start, 10, ack: n) }
        #expect(stage.host.stack.receiveAll(id) == [])
        stage.arrives(.victim, .ack, at: 1, 10, ack: n)
        #expect(stage.host.stack.receiveAll(id) == SegmentBytes.data(from: 1, count: 40))
        stage.goesOn()
    }

    @Test(
        "RFC 7323 §5.5: a timestamp older than TS.Recent is refused and counted, until it has been idle for 24 days",
        arguments: [(1, false), (23 * 86_400, false), (24 * 86_400 + 1, true), (60 * 86_400, true)] as [(Int64, Bool)])
    func idle(seconds: Int64, isTaken: Bool) {
        var stage = FaultStage(
            .v4,
            options: [.maximumSegmentSize(1460), .noOperation, .noOperation, .timestamps(value: 1000, echoReply: 0)])
        let (p, n, id) = (stage[.victim].p, stage[.victim].n, stage[.victim].id!)
        func stamped(_ value: UInt32) -> [PacketScript.Option] {
            [.noOperation, .noOperation, .timestamps(value: value, echoReply: 0)]
        }
        stage.arrives(.victim, [.ack, .psh], at: p, 100, ack: n, options: stamped(2000))
        #expect(stage.host.stack.receiveAll(id).count == 100)
        stage.wait(.seconds(seconds))
        stage.arrives(.victim, [.ack, .psh], at: p &+ 100, 100, ack: n, options: stamped(1999))
        #expect(stage.host.stack.receiveAll(id).count == (isTaken ? 100 : 0))
        #expect(stage.host.stack.counters.tcp.oldTimestamps == (isTaken ? 0 : 1))
        stage.goesOn()
        stage.arrives(
            .victim, [.ack, .psh], at: p &+ (isTaken ? 200 : 100), 100, ack: n, options: stamped(isTaken ? 2000 : 2000))
        #expect(stage.host.stack.receiveAll(id).count == 100)
    }

    @Test(
        "a clock that jumps forward an hour, a day or a month ends no connection that answers, and loses no byte",
        arguments: Family.allCases, [3600, 86_400, 30 * 86_400] as [Int64])
    func jump(family: Family, seconds: Int64) {
        var stage = FaultStage(family)
        let (n, id) = (stage[.victim].n, stage[.victim].id!)
        #expect(stage.host.stack.send(id, [UInt8](repeating: 7, count: 1000)) == 1000)
        stage.wait(.zero)
        #expect(stage[.victim].n == n + 1000)
        // Nobody has run in between: everything is due at once.
        stage.host.now = stage.host.now + .seconds(seconds)
        stage.host.stack.advance(to: stage.host.now)
        stage.wait(.zero)
        #expect(stage.state(.victim) == .established)
        #expect(stage.host.stack.counters.tcp.timeouts + stage.host.stack.counters.tcp.tailProbes <= 2)
        stage.arrives(.victim, .ack, at: stage[.victim].p, 0, ack: n + 1000)
        stage.goesOn(.victim)
        stage.goesOn()
    }
}
