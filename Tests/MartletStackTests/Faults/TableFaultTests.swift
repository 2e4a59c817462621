// Tables that an enemy fills: neighbors, routes, addresses, sockets' memory. Each is bounded and counted, and the honest peer keeps
// its place.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct TableFaultTests {
    private static func limits() -> StackLimits {
        var limits = StackLimits(network: .few)
        limits.network.neighbors.entries = 32
        limits.network.routes = 16
        return limits
    }

    @Test(
        "ten thousand strangers who ask for our link address fill no more than the table, and displace no one in use",
        arguments: Family.allCases)
    func neighborFlood(family: Family) {
        var stage = FaultStage(family, limits: Self.limits())
        for number in 0..<10_000 {
            let mac = MACAddress(bits: 0x02_00_00_01_00_00 + UInt64(number))
            if family == .v4 {
                let sender = "10.0.0.\(30 + number % 200)"
                stage.arrives(
                    frame: FrameBytes.ethernet(
                        FrameBytes.arp(1, from: sender, mac, to: "10.0.0.1"), 0x0806, to: .broadcast, from: mac))
            } else {
                let sender = "fd00::1:" + String(number, radix: 16)
                let message: [UInt8] =
                    [135, 0, 0, 0, 0, 0, 0, 0] + FrameBytes.octets(family.local) + [1, 1] + FrameBytes.octets(mac)
                stage.arrives(FrameBytes.icmp(message, from: sender, to: "fd00::1"), from: mac)
            }
            if number % 500 == 0 { stage.goesOn(.honest, "after \(number)") }
        }
        let counters = stage.host.stack.network.neighbors.counters
        #expect(stage.host.stack.network.neighbors.count <= 32)
        #expect(counters.evictedStale + counters.notCreated > 0)
        #expect(counters.evictedReachable == 0)
        stage.goesOn()
    }

    @Test(
        "datagrams to ten thousand neighbors that are not there wait within the bounds, and all frames come back",
        arguments: Family.allCases)
    func neighborsThatAreNotThere(family: Family) throws {
        var stage = FaultStage(family, limits: Self.limits())
        let socket = try stage.host.stack.bind(IPAddress(family == .v4 ? "0.0.0.0" : "::")!, port: 0)
        for number in 0..<10_000 {
            let remote =
                family == .v4 ? "10.0.0.\(30 + number % 200)" : "fd00::2:" + String(number, radix: 16)
            _ = stage.host.stack.send(socket, [1, 2, 3].raw, to: IPAddress(remote)!, port: 9)
            stage.wait(.zero)
            #expect(stage.host.stack.network.neighbors.count <= 32)
            if number % 500 == 0 { stage.goesOn(.honest, "after \(number)") }
        }
        let counters = stage.host.stack.network.neighbors.counters
        #expect(counters.evictedReachable == 0)
        #expect(counters.evictedFrames + counters.displacedFrames + counters.pendingFull + counters.tableFull > 0)
        stage.goesOn()
        stage.wait(.seconds(10))
        #expect(stage.host.pool.freeCount == stage.host.pool.count)
        stage.goesOn()
    }

    @Test("a thousand routers with prefixes of their own fill no more than the tables, and those of the user stay")
    func routerFlood() {
        var stage = FaultStage(.v6, limits: Self.limits()) { $0.usesAutoconfiguration = true }
        stage.wait(.seconds(5))
        for number in 0..<1000 {
            let mac = MACAddress(bits: 0x02_00_00_02_00_00 + UInt64(number))
            var message: [UInt8] = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
            message += FrameBytes.octets(mac)
            message += [3, 4, 64, 0xC0, 0, 0, 0x0E, 0x10, 0, 0, 0x0E, 0x10, 0, 0, 0, 0]
            message += [0x20, 0x01, 0x0D, 0xB8, UInt8(number >> 8), UInt8(number & 255), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            let router = "fe80::" + String(number + 1, radix: 16)
            let packet = FrameBytes.icmp(message, from: router, to: "ff02::1")
            stage.arrives(
                frame: FrameBytes.ethernet(packet, 0x86DD, to: MACAddress(bits: 0x3333_0000_0001), from: mac))
            if number % 100 == 0 { stage.goesOn(.honest, "after \(number)") }
        }
        stage.wait(.seconds(5))
        #expect(stage.host.stack.network.routes.v6.routes.count <= 16)
        #expect(stage.host.stack.network.addresses.count <= LocalAddresses.capacity)
        #expect(stage.host.dropped(.noRoom) > 0)
        let connected = stage.host.stack.network.routes.lookup(stage[.honest].end.address, at: stage.host.now)
        #expect(connected?.source == .connected && connected?.gateway == nil)
        stage.goesOn()
    }

    @Test(
        "a flood of datagrams fills its socket and no other, is counted, and leaves TCP its memory",
        arguments: Family.allCases)
    func datagramFlood(family: Family) throws {
        var limits = Self.limits()
        limits.udp.sockets = 4
        limits.udp.datagrams = 64
        limits.udp.ringMemory = 64 << 10
        limits.udp.receiveLimit = 16 << 10
        var stage = FaultStage(family, limits: limits)
        let any = IPAddress(family == .v4 ? "0.0.0.0" : "::")!
        let flooded = try stage.host.stack.bind(any, port: 53)
        let other = try stage.host.stack.bind(any, port: 54)
        func datagram(_ source: IPAddress, _ port: UInt16) -> [UInt8] {
            var bytes = FrameBytes.udp([UInt8](repeating: 3, count: 1000), from: 9, to: port)
            let ends = FuzzEnds(
                isIPv4: family == .v4, local: FrameBytes.octets(family.local), remote: FrameBytes.octets(source))
            ends.complete(&bytes, 17)
            return ends.packet(bytes, 17)
        }
        for number in 0..<5000 {
            stage.arrives(datagram(family.peer(30 + number % 200), 53))
            if number % 500 == 0 { stage.goesOn(.honest, "after \(number)") }
        }
        #expect(stage.host.stack.udp.bytesTaken == 16 << 10)
        let counters = stage.host.stack.udp.counters
        #expect(counters.datagramsIn == 16)
        #expect(counters[drops: .socketFull] == 5000 - 16)
        stage.arrives(datagram(family.peer(10), 54), from: stage[.honest].mac)
        var count = 0
        while stage.host.stack.receive(other, { _, _ in count += 1 }) {}
        #expect(count == 1)
        while stage.host.stack.receive(flooded, { _, _ in count += 1 }) {}
        #expect(count == 17)
        #expect(stage.host.stack.udp.bytesTaken == 0)
        stage.goesOn()
    }

    @Test("who completes a handshake that began at a listener closed meanwhile is reset, and keeps no place")
    func closedMeanwhile() {
        var stage = FaultStage()
        for port in 7000..<7500 as Range<UInt16> {
            stage[.victim].end.port = port
            stage[.victim].n = 0
            guard let listener = try? stage.host.stack.listen(on: 81, backlog: 4) else {
                Issue.record("no listener")
                return
            }
            stage[.victim].local.port = 81
            stage.arrives(.victim, .syn, at: 0)
            stage.host.stack.close(listener)
            _ = stage.takeHeard(.victim)
            stage.arrives(.victim, .ack, at: 1, 0, ack: 1)
            let heard = stage.takeHeard(.victim)
            #expect(heard.map(\.absolute.flags.rawValue) == [0x14] || heard.map(\.absolute.flags.rawValue) == [0x04])
        }
        stage.wait(.zero)
        #expect(stage.host.stack.connectionCount == 2)
        stage.goesOn()
    }
}
