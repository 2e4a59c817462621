// Sockets: ports, events and ICMP errors.

import Testing

@testable import MartletStack

@Suite struct UDPSocketTests {
    typealias Fixture = UDPFixture

    @Test func `An address and port are given once`() throws {
        var fixture = Fixture()
        _ = try fixture.bind(Fixture.any, 7)
        #expect(throws: UDPBindError.inUse) { try fixture.bind(Fixture.any, 7) }
        _ = try fixture.bind(Fixture.any6, 7)
        _ = try fixture.bind(Fixture.ours, 7)
        #expect(throws: UDPBindError.inUse) { try fixture.bind(Fixture.ours, 7) }
    }

    @Test func `Two sockets of one port cannot be connected to the same end`() throws {
        var fixture = Fixture()
        let first = try fixture.bind(Fixture.any, 7)
        try fixture.udp.connect(first, from: Fixture.ours, to: Fixture.theirs, port: 53)
        let second = try fixture.bind(Fixture.any, 7)
        #expect(throws: UDPBindError.inUse) {
            try fixture.udp.connect(second, from: Fixture.ours, to: Fixture.theirs, port: 53)
        }
        try fixture.udp.connect(second, from: Fixture.ours, to: Fixture.theirs, port: 54)
        // Again, and elsewhere.
        try fixture.udp.connect(first, from: Fixture.ours, to: Fixture.theirs, port: 53)
        try fixture.udp.connect(first, from: Fixture.ours, to: Fixture.theirs, port: 55)
        try fixture.udp.connect(second, from: Fixture.ours, to: Fixture.theirs, port: 53)
        let tuple = FourTuple(
            localAddress: Fixture.ours, localPort: 7, remoteAddress: Fixture.theirs, remotePort: 55)
        expect(fixture.udp.tuple(of: first), is: tuple)
    }

    @Test func `Ephemeral ports are of the range, all of them are given, and none twice`() throws {
        var random = SeededGenerator(seed: 1)
        var limits = UDPLimits()
        limits.sockets = 64
        var udp = UDP(limits: limits, ports: 50_000...50_019, using: &random)
        var ports: Set<UInt16> = []
        for _ in 0..<20 {
            let id = try udp.bind(Fixture.any, port: 0, using: &random)
            ports.insert(udp.tuple(of: id)!.localPort)
        }
        #expect(ports == Set(50_000...50_019))
        #expect(throws: UDPBindError.noPort) { try udp.bind(Fixture.any, port: 0, using: &random) }
        // Another address has ports of its own.
        _ = try udp.bind(Fixture.ours, port: 0, using: &random)
    }

    @Test func `Ephemeral ports do not follow one another`() throws {
        var fixture = Fixture()
        var steps: Set<Int> = []
        var last = 0
        for _ in 0..<100 {
            let id = try fixture.bind(Fixture.any, 0)
            let port = Int(fixture.udp.tuple(of: id)!.localPort)
            #expect(port >= 49_152)
            steps.insert(port - last)
            last = port
        }
        #expect(steps.count > 90)
    }

    @Test func `There are no more sockets than the limit says`() throws {
        var limits = UDPLimits()
        limits.sockets = 3
        var fixture = Fixture(limits)
        let ids = try (1...3).map { try fixture.bind(Fixture.any, $0) }
        #expect(throws: UDPBindError.noSocket) { try fixture.bind(Fixture.any, 4) }
        #expect(throws: UDPBindError.noSocket) { try fixture.bind(Fixture.any, 0) }
        fixture.udp.close(ids[1])
        _ = try fixture.bind(Fixture.any, 4)
    }

    @Test func `An ICMP error reaches the connected socket that it is about, once`() throws {
        var fixture = Fixture()
        let connected = try fixture.bind(Fixture.any, 7)
        try fixture.udp.connect(connected, from: Fixture.ours, to: Fixture.theirs, port: 53)
        let bound = try fixture.bind(Fixture.ours, 7)
        let quoted = Fixture.datagram([1, 2], from: Fixture.ours, port: 7, to: Fixture.theirs, port: 53)
        func error(_ bytes: [UInt8], from: IPAddress = Fixture.ours, to: IPAddress = Fixture.theirs) {
            fixture.udp.errorArrives(.refused, quoted: bytes.raw, from: from, to: to)
        }
        error(quoted)
        expect(fixture.events(), is: [connected: .error])
        expect(fixture.udp.takeError(of: connected), is: .refused)
        expect(fixture.udp.takeError(of: connected), is: nil)

        // About others: another port on either side, another address, and a datagram of a socket that is not connected.
        var other = quoted
        other.put(8 as UInt16, at: 0)
        error(other)
        other = quoted
        other.put(54 as UInt16, at: 2)
        error(other)
        other.put(0 as UInt16, at: 2)
        error(other, to: Fixture.any)
        error(quoted, from: IPAddress("192.0.2.9")!)
        error(quoted, to: IPAddress("192.0.2.9")!)
        for length in 0..<8 { error(Array(quoted.prefix(length))) }
        expect(fixture.events().isEmpty, is: true)
        expect(fixture.udp.takeError(of: connected), is: nil)
        expect(fixture.udp.takeError(of: bound), is: nil)
        expect(fixture.udp.counters.errorsIn, is: 1)
        expect(fixture.udp.counters.errorsForNobody, is: 13)
        // RFC 792 has 8 bytes quoted; more need not be there.
        error(Array(quoted.prefix(8)))
        expect(fixture.events(), is: [connected: .error])
    }

    @Test func `Whoever was refused room is told once there is some`() throws {
        var fixture = Fixture(frames: 2)
        let ids = try (1...3).map { try fixture.bind(Fixture.any, $0) }
        var burst = fixture.pool.makeBurst()
        expect(fixture.send(ids[0], [1], into: &burst), is: .sent)
        expect(fixture.send(ids[0], [1], into: &burst), is: .sent)
        for id in ids { expect(fixture.send(id, [1], into: &burst), is: .noRoom) }
        expect(fixture.events().isEmpty, is: true)
        #expect(packets(of: &burst).count == 2)
        // The slot of one that was closed is another's then.
        fixture.udp.close(ids[2])
        let new = try fixture.bind(Fixture.any, 9)
        fixture.udp.roomReturns()
        expect(fixture.events(), is: [ids[0]: .writable, ids[1]: .writable])
        fixture.udp.roomReturns()
        expect(fixture.events().isEmpty, is: true)
        expect(fixture.send(new, [1], into: &burst), is: .sent)
        expect(fixture.udp.counters.noRoom, is: 3)
    }

    @Test func `Groups are joined as often as they are left, and there are no more than the bound`() {
        var groups = MulticastGroups()
        let group = IPAddress("239.1.2.3")!
        expect(groups.contains(group, on: 1), is: false)
        expect(groups.join(group, on: 1, at: .zero), is: true)
        expect(groups.join(group, on: 1, at: .zero), is: true)
        expect(groups.contains(group, on: 1), is: true)
        expect(groups.contains(group, on: 2), is: false)
        expect(groups.leave(group, on: 2, at: .zero), is: false)
        expect(groups.leave(group, on: 1, at: .zero), is: true)
        expect(groups.contains(group, on: 1), is: true)
        for number in 1..<UInt32(MulticastGroups.capacity) {
            expect(groups.join(.v4(IPv4Address(bits: 0xE800_0000 + number)), on: 1, at: .zero), is: true)
        }
        expect(groups.join(IPAddress("ff05::2")!, on: 1, at: .zero), is: false)
        // One that is in the list can still be joined again.
        expect(groups.join(.v4(IPv4Address(bits: 0xE800_0001)), on: 1, at: .zero), is: true)
        expect(groups.leave(group, on: 1, at: .zero), is: true)
        expect(groups.contains(group, on: 1), is: false)
        expect(groups.join(IPAddress("ff05::2")!, on: 1, at: .zero), is: true)
        for number in 1..<UInt32(MulticastGroups.capacity) {
            expect(groups.contains(.v4(IPv4Address(bits: 0xE800_0000 + number)), on: 1), is: true)
        }
        for all in ["224.0.0.1", "ff02::1"] { expect(MulticastGroups().contains(IPAddress(all)!, on: 9), is: true) }
    }
}
