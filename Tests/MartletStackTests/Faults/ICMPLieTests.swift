// Errors that nobody on the path has sent: RFC 5927, for both versions.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct ICMPLieTests {
    typealias Reason = PacketScript.ICMPMessage.Reason

    /// A message about a segment of the victim's connection, from the enemy.
    private static func lie(
        _ reason: Reason, mtu: UInt16? = nil, about sequence: UInt32, _ stage: inout FaultStage
    ) {
        let message = PacketScript.ICMPMessage(
            reason, mtu: mtu, quoted: PacketScript.ICMPMessage.Quoted(sequence: sequence, length: 100))
        stage.arrives(SegmentBytes.packet(message, on: stage[.victim].flow, from: stage.family.peer(66)))
    }

    /// Leaves 1,000 bytes of the victim's in flight, and returns where they begin.
    private static func fly(_ stage: inout FaultStage) -> UInt32 {
        let start = stage[.victim].n
        #expect(stage.host.stack.send(stage[.victim].id!, [UInt8](repeating: 7, count: 1000)) == 1000)
        stage.wait(.zero)
        #expect(stage[.victim].n == start + 1000)
        return start
    }

    private static func land(_ stage: inout FaultStage) {
        stage.arrives(.victim, .ack, at: stage[.victim].p, 0, ack: stage[.victim].n)
    }

    @Test(
        "RFC 5927 §5: no error ends an established connection, also if it quotes what is in flight",
        arguments: Family.allCases)
    func hardErrors(family: Family) {
        var stage = FaultStage(family)
        let start = Self.fly(&stage)
        for reason in Reason.allCases where reason != .fragmentationNeeded {
            let (believed, ignored) = (
                stage.host.stack.network.counters.icmpErrorsIn, stage.host.dropped(.ignoredICMP)
            )
            Self.lie(reason, about: start, &stage)
            #expect(stage.state(.victim) == .established, "\(reason)")
            #expect(stage.host.stack.network.counters.icmpErrorsIn == believed + 1, "\(reason)")
            #expect(stage.host.dropped(.ignoredICMP) == ignored, "\(reason)")
        }
        Self.land(&stage)
        stage.goesOn(.victim)
        stage.goesOn()
    }

    @Test(
        "RFC 5927 §4.1: an error that quotes no number in flight is counted, and changes nothing",
        arguments: Family.allCases)
    func notInFlight(family: Family) {
        var stage = FaultStage(family)
        let start = Self.fly(&stage)
        let mss = stage.host.stack.tcp.number("mss", of: stage[.victim].id!)
        var lies: UInt64 = 0
        for sequence in [start &- 1, start &- 100_000, start + 1000, start + 5000, start &+ 1 << 31] {
            for reason in [Reason.fragmentationNeeded, .portUnreachable, .hostUnreachable] {
                Self.lie(reason, mtu: 1280, about: sequence, &stage)
                lies += 1
                #expect(stage.host.stack.counters.tcp.strangeICMP == lies, "\(reason) about \(sequence &- start)")
                #expect(stage.host.dropped(.ignoredICMP) == lies)
            }
        }
        #expect(stage.host.stack.tcp.number("mss", of: stage[.victim].id!) == mss)
        #expect(stage.host.stack.network.paths.count == 0)
        #expect(stage.state(.victim) == .established)
        Self.land(&stage)
        stage.goesOn(.victim)
        stage.goesOn()
    }

    @Test(
        "RFC 5927 §7: a lie about the MTU costs segments no smaller than the minimum, raises nothing, and ends",
        arguments: Family.allCases)
    func pathMTU(family: Family) throws {
        var stage = FaultStage(family)
        let id = stage[.victim].id!
        let start = Self.fly(&stage)
        let known = stage.host.stack.tcp.number("mss", of: id)
        let full = try #require(known)
        // None is larger than before.
        for mtu in [1500, 1501, 9000, 65_535] as [UInt16] {
            Self.lie(.fragmentationNeeded, mtu: mtu, about: start, &stage)
        }
        #expect(stage.host.stack.tcp.number("mss", of: id) == full)
        for mtu in [1, 67, 68, 296, 551, 552, 1279, 1280] as [UInt16] {
            Self.lie(.fragmentationNeeded, mtu: mtu, about: start, &stage)
        }
        let least = family == .v4 ? 552 - 40 : 1280 - 60
        #expect(stage.host.stack.tcp.number("mss", of: id) == Int64(least))
        // Each was believed to be about this connection, and each is counted.
        #expect(stage.host.stack.network.counters.icmpErrorsIn == 12)
        Self.land(&stage)
        stage.goesOn(.victim)
        // The honest peer's path is another.
        #expect(stage.host.stack.tcp.number("mss", of: stage[.honest].id!) == full)
        stage.goesOn()
        // A new connection begins with the whole path once the lie is ten minutes old.
        stage.wait(.seconds(601))
        let path = stage.host.stack.network.path(to: stage[.victim].end.address, from: family.local, at: stage.host.now)
        #expect(path?.mtu == 1500)
    }

    @Test("RFC 6633, RFC 4443: source quench, types that nobody knows, and messages cut short are ignored and counted")
    func nonsense() {
        for family in Family.allCases {
            var stage = FaultStage(family)
            let start = Self.fly(&stage)
            let message = PacketScript.ICMPMessage(
                .portUnreachable, mtu: nil,
                quoted: PacketScript.ICMPMessage.Quoted(sequence: start, length: 0))
            let packet = SegmentBytes.packet(message, on: stage[.victim].flow)
            let body = Array(packet[family.headerLength...])
            let (from, to) = ("\(family.peer(20))", "\(family.local)")
            var dropped = { stage.host.dropped(.ignoredICMP) + stage.host.dropped(.malformed) }()
            // With less than the ports and the number of what it quotes.
            for count in 4..<8 + family.headerLength + 8 {
                stage.arrives(FrameBytes.icmp(Array(body.prefix(count)), from: from, to: to))
                let now = stage.host.dropped(.ignoredICMP) + stage.host.dropped(.malformed)
                #expect(now == dropped + 1, "\(count) bytes")
                dropped = now
            }
            for type in [4, 6, 7, 15, 30, 40, 200, 255] as [UInt8]
            where family == .v4 || type > 4 && type < 128 || type >= 200 {
                stage.arrives(FrameBytes.icmp([type, 0] + body.dropFirst(2), from: from, to: to))
                let now = stage.host.dropped(.ignoredICMP) + stage.host.dropped(.malformed)
                #expect(now == dropped + 1, "type \(type)")
                dropped = now
            }
            #expect(stage.host.stack.network.counters.icmpErrorsIn == 0)
            #expect(stage.state(.victim) == .established)
            Self.land(&stage)
            stage.goesOn(.victim)
            stage.goesOn()
        }
    }

    @Test(
        "errors about packets for nobody are as many as the limit says, however many ask for them",
        arguments: Family.allCases)
    func errorsOut(family: Family) {
        var stage = FaultStage(family)
        let (from, to) = ("\(family.peer(10))", "\(family.local)")
        for number in 0..<2000 as Range<UInt16> {
            var datagram = FrameBytes.udp([1], from: 9, to: 10_000 &+ number)
            let ends = FuzzEnds(
                isIPv4: family == .v4, local: FrameBytes.octets(family.local),
                remote: FrameBytes.octets(family.peer(10)))
            ends.complete(&datagram, 17)
            stage.arrives(FrameBytes.ip(datagram, from: from, to: to, 17))
        }
        let sent = stage.host.stack.network.counters.icmpErrorsOut
        #expect(sent > 0 && sent <= UInt64(NetworkLimits().icmpBurst))
        #expect(stage.host.stack.udp.counters.noSocket == 2000)
        stage.goesOn()
    }
}
