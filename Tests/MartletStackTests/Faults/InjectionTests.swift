// Strangers who know the addresses and ports of a connection, and guess its numbers: RFC 5961.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct InjectionTests {
    /// Bytes that the victim's window reaches beyond RCV.NXT.
    static let window: UInt32 = 65_535

    @Test(
        "RFC 5961 §3.2: a reset ends a connection at RCV.NXT alone; in the window it is challenged, elsewhere dropped",
        arguments: Family.allCases)
    func resets(family: Family) {
        var stage = FaultStage(family)
        let p = stage[.victim].p
        for flags in [PacketScript.Flags.rst, [.rst, .ack]] {
            for (offset, isInWindow) in [
                (1 as UInt32, true), (1000, true), (Self.window - 1, true), (Self.window, false),
                (Self.window + 1, false),
                (.max, false), (.max - 70_000, false), (1 << 31, false),
            ] {
                let (challenges, outside) = (
                    stage.host.stack.counters.tcp.challengeAcks, stage.host.stack.counters.tcp.outOfWindow
                )
                stage[.victim].heard = []
                stage.arrives(.victim, flags, at: p &+ offset, ack: flags.contains(.ack) ? stage[.victim].n : nil)
                #expect(stage.state(.victim) == .established, "\(flags) at \(offset)")
                let heard = stage.takeHeard(.victim)
                #expect(heard.count == (isInWindow ? 1 : 0), "\(flags) at \(offset)")
                #expect(stage.host.stack.counters.tcp.challengeAcks == challenges + (isInWindow ? 1 : 0))
                #expect(stage.host.stack.counters.tcp.outOfWindow == outside + (isInWindow ? 0 : 1))
                // What is answered is the truth: an honest peer that has lost its state resets by that.
                if let answer = heard.first {
                    #expect(answer.absolute.flags == .ack)
                    #expect(answer.relative(to: stage[.victim].flow.reversed)?.acknowledgment == p)
                }
                stage.wait(.seconds(6))
            }
        }
        stage.goesOn(.victim)
        stage.goesOn()
        stage.arrives(.victim, .rst, at: stage[.victim].p)
        #expect(stage.host.stack.error(of: stage[.victim].id!) == .reset)
        stage.goesOn()
    }

    @Test(
        "RFC 5961 §4.2: no SYN ends a connection or moves its numbers, wherever it lies; each is challenged",
        arguments: Family.allCases)
    func synchronizing(family: Family) {
        var stage = FaultStage(family)
        let p = stage[.victim].p
        for flags in [PacketScript.Flags.syn, [.syn, .ack], [.syn, .fin]] {
            for offset in [0, 1, 1000, Self.window - 1, Self.window, .max, 1 << 31] as [UInt32] {
                let answers = stage.host.stack.counters.tcp.challengeAcks + stage.host.stack.counters.tcp.outOfWindow
                stage.arrives(.victim, flags, at: p &+ offset, ack: flags.contains(.ack) ? stage[.victim].n : nil)
                #expect(
                    stage.host.stack.counters.tcp.challengeAcks + stage.host.stack.counters.tcp.outOfWindow == answers
                        + 1)
                #expect(stage.state(.victim) == .established)
                stage.wait(.seconds(6))
            }
        }
        stage.goesOn(.victim)
        stage.goesOn()
    }

    @Test(
        "RFC 5961 §5.2: bytes with an ACK older than any window, or newer than SND.NXT, are not taken and challenged",
        arguments: Family.allCases)
    func dataWithStrangeAcks(family: Family) {
        var stage = FaultStage(family)
        let (p, n, id) = (stage[.victim].p, stage[.victim].n, stage[.victim].id!)
        for (number, ack) in [n &+ 1, n &+ 100_000, n &- 70_000, n &- (1 << 30), n &+ (1 << 31)].enumerated() {
            stage.arrives(.victim, [.ack, .psh], at: p, 100, ack: ack)
            #expect(
                stage.host.stack.counters.tcp.challengeAcks == UInt64(number) + 1, "ACK \(Int32(bitPattern: ack &- n))")
            let bytes = stage.host.stack.receiveAll(id)
            #expect(bytes == [], "ACK \(Int32(bitPattern: ack &- n))")
        }
        stage.goesOn(.victim)
        stage.goesOn()
    }

    @Test(
        "RFC 5961 §7: a flood is answered ten times at once, and then twice a second; the rest is counted",
        arguments: [PacketScript.Flags.rst, .syn])
    func flood(flags: PacketScript.Flags) {
        var stage = FaultStage()
        let p = stage[.victim].p
        stage[.victim].heard = []
        for offset in 1...3000 as ClosedRange<UInt32> { stage.arrives(.victim, flags, at: p &+ offset) }
        let challenges = stage.host.stack.counters.tcp.challengeAcks
        #expect(challenges == 10)
        #expect(stage.host.stack.counters.tcp.answersWithheld == 2990)
        #expect(stage[.victim].heard.count == 10)
        for _ in 0..<20 {
            stage.wait(.seconds(1))
            for offset in 1...10 as ClosedRange<UInt32> { stage.arrives(.victim, flags, at: p &+ offset) }
        }
        #expect(stage.host.stack.counters.tcp.challengeAcks - challenges <= 41)
        #expect(stage.host.stack.counters.tcp.challengeAcks - challenges >= 38)
        stage.goesOn(.victim)
        stage.goesOn()
    }

    @Test("bytes injected beyond RCV.NXT are overwritten by what the peer sends for the same place in its turn")
    func dataBeyond() {
        var stage = FaultStage()
        let (p, n, id) = (stage[.victim].p, stage[.victim].n, stage[.victim].id!)
        var segment = PacketScript.Segment(
            flags: .ack, sequence: p &+ 50, length: 100, acknowledgment: n, window: 60_000)
        segment.options = .exactly([])
        var packet = SegmentBytes.packet(segment, on: stage[.victim].flow)
        for index in 40..<packet.count { packet[index] ^= 0xFF }
        var injected = Array(packet[20...])
        FuzzEnds(isIPv4: true, local: Array(packet[16..<20]), remote: Array(packet[12..<16])).complete(&injected, 6)
        stage.arrives(packet[..<20] + injected)
        #expect(stage.host.stack.receiveAll(id) == [])
        stage.arrives(.victim, [.ack, .psh], at: p, 300, ack: n)
        #expect(stage.host.stack.receiveAll(id) == SegmentBytes.data(from: p, count: 300))
        stage.goesOn()
    }
}
