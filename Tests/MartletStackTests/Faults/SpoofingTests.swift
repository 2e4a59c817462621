// Claims on the link that are not true: of our addresses, of the honest peer's, of routers. RFC 5227, RFC 4861 §11, RFC 3756.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct SpoofingTests {
    private static let allNodes = MACAddress(bits: 0x3333_0000_0001)

    /// A neighbor advertisement from the enemy.
    private static func advertisement(
        of target: IPAddress, flags: UInt8, hops: UInt8 = 255, linkAddress: MACAddress = FaultStage.enemyMAC
    ) -> [UInt8] {
        let message: [UInt8] =
            [136, 0, 0, 0, flags, 0, 0, 0] + FrameBytes.octets(target) + [2, 1] + FrameBytes.octets(linkAddress)
        var packet = FrameBytes.icmp(message, from: "\(target)", to: "fd00::1")
        packet[7] = hops
        return packet
    }

    private static func arp(
        _ operation: UInt8, from sender: IPAddress, to target: String = "10.0.0.1",
        _ mac: MACAddress = FaultStage.enemyMAC
    ) -> [UInt8] {
        FrameBytes.ethernet(
            FrameBytes.arp(operation, from: "\(sender)", mac, to: target, Host.mac), 0x0806, to: .broadcast, from: mac)
    }

    @Test("RFC 5227 §2.4: who uses our IPv4 address is told so once in ten seconds, and we keep it while that is all")
    func ourIPv4Address() {
        var stage = FaultStage(.v4) { $0.detectsConflicts = true }
        #expect(stage.host.stack.network.addresses.contains(.v4(IPv4Address(10, 0, 0, 1))) == true)
        _ = stage.takeOthers()
        stage.arrives(frame: Self.arp(1, from: Family.v4.local, to: "10.0.0.1"))
        #expect(stage.host.stack.network.counters.addressConflicts == 1)
        let defences = stage.takeOthers().filter { $0[7] == 1 && Array($0[14..<18]) == [10, 0, 0, 1] }
        #expect(defences.count == 1)
        stage.wait(.seconds(11))
        stage.arrives(frame: Self.arp(2, from: Family.v4.local))
        #expect(stage.host.stack.network.counters.addressConflicts == 2)
        stage.goesOn()
    }

    @Test(
        "where addresses are fixed, claims of ours are counted and change nothing, however many",
        arguments: Family.allCases)
    func ourFixedAddress(family: Family) {
        var stage = FaultStage(family)
        for number in 1...1000 as ClosedRange<UInt64> {
            if family == .v4 {
                stage.arrives(frame: Self.arp(2, from: family.local))
            } else {
                stage.arrives(Self.advertisement(of: family.local, flags: 0x20))
            }
            #expect(stage.host.stack.network.counters.addressConflicts == number)
        }
        stage.goesOn()
    }

    @Test("RFC 4861 §7.2.5: an advertisement without the override flag does not move a neighbor that is known")
    func withoutOverride() {
        var stage = FaultStage(.v6)
        for flags in [0, 0x40] as [UInt8] {
            stage.arrives(Self.advertisement(of: stage[.honest].end.address, flags: flags))
            stage.goesOn(.honest, "flags \(flags)")
        }
        // A solicited one, without override, raises no doubt that is not cleared up by asking the one who is known.
        stage.wait(.seconds(20))
        stage.goesOn()
    }

    @Test(
        "a neighbor that is moved by a lie is asked there, does not answer, and is found again: within seconds the connection goes on",
        arguments: Family.allCases)
    func moved(family: Family) {
        var stage = FaultStage(family)
        let honest = stage[.honest]
        let sent = stage.host.stack.counters.tcp.retransmits
        if family == .v4 {
            stage.arrives(frame: Self.arp(2, from: honest.end.address))
        } else {
            stage.arrives(Self.advertisement(of: honest.end.address, flags: 0x20))
        }
        // What we send goes to the enemy for now, who swallows it.
        let id = honest.id!
        #expect(stage.host.stack.send(id, [UInt8](repeating: 7, count: 50)) == 50)
        stage.wait(.zero)
        #expect(stage[.honest].n == honest.n, "the lie is not believed")
        // The enemy is asked within five seconds, and given up three later; who really has the address answers the next question.
        stage.wait(.seconds(16))
        #expect(stage.host.stack.counters.tcp.retransmits > sent)
        #expect(stage[.honest].n == honest.n &+ 50)
        stage.arrives(.honest, .ack, at: stage[.honest].p, 0, ack: stage[.honest].n)
        #expect(stage.state(.honest) == .established)
        stage.goesOn()
    }

    @Test(
        "RFC 4861 §7.1, §6.1: messages that a router has passed on, or whose link address is a group's, are dropped and counted"
    )
    func fromElsewhere() {
        var stage = FaultStage(.v6)
        let honest = stage[.honest].end.address
        for hops in [0, 1, 64, 254] as [UInt8] {
            let ignored = stage.host.dropped(.ignoredNeighbor)
            stage.arrives(Self.advertisement(of: honest, flags: 0x20, hops: hops))
            #expect(stage.host.dropped(.ignoredNeighbor) == ignored + 1, "\(hops) hops")
        }
        let bad = stage.host.stack.network.neighbors.counters.badLinkAddress
        for mac in [MACAddress.broadcast, .zero, Self.allNodes] {
            stage.arrives(Self.advertisement(of: honest, flags: 0x20, linkAddress: mac))
        }
        #expect(stage.host.stack.network.neighbors.counters.badLinkAddress == bad + 3)
        stage.goesOn()
    }

    @Test("ARP from a group or nobody creates and moves no neighbor, and is counted")
    func arpOfGroups() {
        var stage = FaultStage(.v4)
        let bad = stage.host.stack.network.neighbors.counters.badLinkAddress
        for mac in [MACAddress.broadcast, .zero] {
            let packet = FrameBytes.arp(2, from: "10.0.0.10", mac, to: "10.0.0.1", Host.mac)
            stage.arrives(frame: FrameBytes.ethernet(packet, 0x0806, from: FaultStage.enemyMAC))
        }
        #expect(stage.host.stack.network.neighbors.counters.badLinkAddress == bad + 2)
        stage.goesOn()
    }

    @Test("RFC 4861 §8.1: redirects that do not come from the first hop are dropped and counted, and no route is made")
    func redirects() {
        var stage = FaultStage(.v6)
        let routes = stage.host.stack.network.routes.v6.routes.count
        for source in ["fd00::66", "fe80::66"] {
            let ignored = stage.host.dropped(.ignoredNeighbor)
            let target = FrameBytes.octets(IPAddress("fe80::66")!)
            let message = [137, 0, 0, 0, 0, 0, 0, 0] + target + FrameBytes.octets(stage[.honest].end.address)
            stage.arrives(FrameBytes.icmp(message, from: source, to: "fd00::1"))
            #expect(stage.host.dropped(.ignoredNeighbor) == ignored + 1, "\(source)")
        }
        #expect(stage.host.stack.network.routes.v6.routes.count == routes)
        stage.goesOn()
    }
}
