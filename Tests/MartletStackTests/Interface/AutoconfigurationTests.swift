import Testing

@testable import MartletStack

@Suite struct AutoconfigurationTests {
    static let arp: UInt16 = 0x0806
    static let ipv4: UInt16 = 0x0800
    static let ipv6: UInt16 = 0x86DD
    static let router = "fe80::1"

    static func host(_ addresses: String..., dhcp: Bool = false) -> Host {
        var interface = InterfaceConfiguration(.ethernet(Host.mac), addresses: addresses.map { InterfaceAddress($0)! })
        interface.usesDHCP = dhcp
        return Host([interface])
    }

    static func state(of address: String, _ host: borrowing Host) -> Bool? {
        let addresses = host.stack.network.addresses.entries
        return addresses.first { $0.address == IPAddress(address)! }?.isUsable
    }

    static func usable(_ host: borrowing Host) -> [IPAddress] {
        host.stack.network.addresses.entries.filter { $0.isUsable }.map { $0.address }
    }

    /// A router advertisement with one prefix, and what else is given.
    static func advertisement(
        lifetime: UInt16 = 1800, hopLimit: UInt8 = 0, prefix: String = "2001:db8:1::", valid: UInt32 = 86_400,
        mtu: UInt16? = nil, hops: UInt8 = 255, from source: String = router
    ) -> [UInt8] {
        func octets(_ number: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }
        var message: [UInt8] = [134, 0, 0, 0, hopLimit, 0, UInt8(lifetime >> 8), UInt8(lifetime & 0xFF)]
        message += octets(0) + octets(0)
        message += [1, 1] + FrameBytes.octets(Host.peerMAC)
        message += [3, 4, 64, 0xC0] + octets(valid) + octets(valid) + octets(0)
        message += FrameBytes.octets(IPAddress(prefix)!)
        if let mtu { message += [5, 1, 0, 0] + octets(UInt32(mtu)) }
        var packet = FrameBytes.icmp(message, from: source, to: "ff02::1")
        packet[7] = hops
        return FrameBytes.ethernet(packet, ipv6, to: MACAddress(bits: 0x3333_0000_0001))
    }

    // MARK: Claims

    @Test func `An IPv4 address is asked for three times, used, and announced twice`() {
        var host = Self.host("10.0.0.1/24")
        host.receive(FrameBytes.ethernet(FrameBytes.arp(1, from: "10.0.0.9", to: "10.0.0.1"), Self.arp, to: .broadcast))
        host.wait(.seconds(12))
        let frames = host.take().filter { $0[12] == 8 && $0[13] == 6 }
        let probe = FrameBytes.ethernet(
            FrameBytes.arp(1, from: "0.0.0.0", Host.mac, to: "10.0.0.1"), Self.arp, to: .broadcast, from: Host.mac)
        let announcement = FrameBytes.ethernet(
            FrameBytes.arp(1, from: "10.0.0.1", Host.mac, to: "10.0.0.1"), Self.arp, to: .broadcast, from: Host.mac)
        #expect(frames == [probe, probe, probe, announcement, announcement])
        #expect(Self.state(of: "10.0.0.1", host) == true)
    }

    @Test(arguments: [true, false])
    func `An IPv4 address that another has, or wants too, is given up`(hasIt: Bool) {
        var host = Self.host("10.0.0.1/24")
        host.wait(.seconds(2))
        #expect(Self.state(of: "10.0.0.1", host) == false)
        let other =
            hasIt
            ? FrameBytes.arp(2, from: "10.0.0.1", to: "10.0.0.1") : FrameBytes.arp(1, from: "0.0.0.0", to: "10.0.0.1")
        host.receive(FrameBytes.ethernet(other, Self.arp, to: .broadcast))
        #expect(Self.state(of: "10.0.0.1", host) == nil)
        #expect(host.stack.network.counters.addressConflicts == 1)
    }

    @Test func `An address in use is defended once in ten seconds, and then given up`() {
        var host = Self.host("10.0.0.1/24")
        host.wait(.seconds(20))
        _ = host.take()
        let other = FrameBytes.ethernet(FrameBytes.arp(1, from: "10.0.0.1", to: "10.0.0.7"), Self.arp, to: .broadcast)
        host.receive(other)
        #expect(host.take().count == 1)
        #expect(Self.state(of: "10.0.0.1", host) == true)
        host.wait(.seconds(11))
        _ = host.take()
        host.receive(other)
        #expect(host.take().count == 1)
        host.receive(other)
        #expect(Self.state(of: "10.0.0.1", host) == nil)
    }

    @Test func `A link-local address that another has is replaced by the next`() throws {
        var host = Self.host()
        let first = host.stack.network.addresses.entries[0].address
        guard case .v6(let address) = first else { return }
        host.wait(.milliseconds(900))
        let message: [UInt8] =
            [136, 0, 0, 0, 0x20, 0, 0, 0] + FrameBytes.octets(first) + [2, 1] + FrameBytes.octets(Host.peerMAC)
        let packet = FrameBytes.icmp(message, from: address.description, to: "ff02::1")
        host.receive(FrameBytes.ethernet(packet, Self.ipv6, to: MACAddress(bits: 0x3333_0000_0001)))
        #expect(Self.state(of: address.description, host) == nil)
        host.wait(.seconds(5))
        let usable = Self.usable(host)
        #expect(usable.count == 1 && usable[0] != first && usable[0].isLinkLocal)
    }

    // MARK: Routers

    @Test func `A host asks for routers until one answers`() {
        var host = Self.host()
        host.wait(.seconds(60))
        let asked = host.take().filter { $0[12] == 0x86 && $0[54] == 133 }.count
        #expect(asked >= 4)
        host.receive(Self.advertisement())
        host.wait(.seconds(600))
        let later = host.take().filter { $0[12] == 0x86 && $0[54] == 133 }.count
        #expect(later == 0)
    }

    @Test func `An advertisement makes an address, a route, an MTU and a hop limit`() throws {
        var host = Self.host()
        host.wait(.seconds(5))
        host.receive(Self.advertisement(hopLimit: 99, mtu: 1400))
        host.wait(.seconds(5))
        let usable = Self.usable(host)
        let global = try #require(usable.first { !$0.isLinkLocal })
        guard case .v6(let address) = global else { return }
        #expect(address.high == 0x2001_0db8_0001_0000)
        let path = host.stack.network.path(to: IPAddress("2001:db8:9::1")!, from: global, at: host.now)
        #expect(path?.mtu == 1400)
        _ = host.take()
        let socket = try host.stack.bind(.v6(.any), port: 5000)
        let outcome = host.send(socket, [1, 2], to: "2001:db8:9::1", 7)
        #expect(outcome == .sent)
        host.flush()
        let frames = host.take()
        try #require(frames.count == 1)
        // The router's link address was in its advertisement.
        #expect(Array(frames[0].prefix(6)) == FrameBytes.octets(Host.peerMAC))
        #expect(frames[0][14 + 7] == 99)
    }

    @Test func `Addresses and routes end when nobody advertises them any more`() {
        var host = Self.host()
        host.wait(.seconds(5))
        host.receive(Self.advertisement(lifetime: 100, valid: 200))
        host.wait(.seconds(50))
        let destination = IPAddress("2001:db8:9::1")!
        #expect(Self.usable(host).count == 2)
        #expect(host.stack.network.routes.lookup(destination, at: host.now) != nil)
        host.wait(.seconds(100))
        #expect(host.stack.network.routes.lookup(destination, at: host.now) == nil)
        #expect(Self.usable(host).count == 2)
        host.wait(.seconds(100))
        #expect(Self.usable(host).count == 1)
    }

    @Test func `Advertisements that a router has passed on, or that come from afar, are not believed`() {
        var host = Self.host()
        host.wait(.seconds(5))
        host.receive(Self.advertisement(hops: 254))
        host.receive(Self.advertisement(from: "2001:db8::1"))
        host.wait(.seconds(5))
        #expect(Self.usable(host).count == 1)
        #expect(host.dropped(.ignoredNeighbor) == 2)
    }

    @Test func `A solicitation for our address is answered, and teaches who asks`() throws {
        var host = Host("2001:db8::1/64")
        // Until all is said of the group.
        host.wait(.seconds(2))
        _ = host.take()
        let message: [UInt8] =
            [135, 0, 0, 0, 0, 0, 0, 0] + FrameBytes.octets(IPAddress("2001:db8::1")!) + [1, 1]
            + FrameBytes.octets(Host.peerMAC)
        let packet = FrameBytes.icmp(message, from: "2001:db8::9", to: "ff02::1:ff00:1")
        host.receive(FrameBytes.ethernet(packet, Self.ipv6, to: MACAddress(bits: 0x3333_FF00_0001)))
        let frames = host.take()
        try #require(frames.count == 1)
        let answer: [UInt8] =
            [136, 0, 0, 0, 0x60, 0, 0, 0] + FrameBytes.octets(IPAddress("2001:db8::1")!) + [2, 1]
            + FrameBytes.octets(Host.mac)
        let expected = FrameBytes.icmp(answer, from: "2001:db8::1", to: "2001:db8::9")
        #expect(frames[0] == FrameBytes.ethernet(expected, Self.ipv6, to: Host.peerMAC, from: Host.mac))
        let state = host.stack.network.neighbors.state(of: IPAddress("2001:db8::9")!, on: 0)
        #expect(state == .stale)
    }

    // MARK: DHCP

    /// What a server answers: an offer to a DISCOVER, an acknowledgement to a REQUEST; nil to anything else.
    static func answer(to frame: [UInt8]) -> [UInt8]? {
        guard frame.count > 42 + 240, frame[12] == 8, frame[13] == 0, frame[23] == 17, frame[36] == 0, frame[37] == 67
        else { return nil }
        let request = Array(frame[42...])
        var type: UInt8 = 0
        var offset = 240
        while offset + 1 < request.count, request[offset] != 255 {
            if request[offset] == 0 {
                offset += 1
                continue
            }
            if request[offset] == 53 { type = request[offset + 2] }
            offset += 2 + Int(request[offset + 1])
        }
        guard type == 1 || type == 3 else { return nil }
        var reply = [UInt8](repeating: 0, count: 240)
        reply[0] = 2
        (reply[1], reply[2]) = (1, 6)
        for index in 4..<8 { reply[index] = request[index] }
        for (index, octet) in [192, 0, 2, 44].enumerated() { reply[16 + index] = UInt8(octet) }
        for index in 28..<34 { reply[index] = request[index] }
        for (index, octet) in [0x63, 0x82, 0x53, 0x63].enumerated() { reply[236 + index] = UInt8(octet) }
        reply += [53, 1, type == 1 ? 2 : 5, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 0x0E, 0x10, 1, 4, 255, 255, 255, 0]
        reply += [3, 4, 192, 0, 2, 1, 26, 2, 5, 0x78, 255]
        let packet = FrameBytes.ip(FrameBytes.udp(reply, from: 67, to: 68), from: "192.0.2.1", to: "192.0.2.44", 17)
        return FrameBytes.ethernet(packet, ipv4)
    }

    /// Plays the server for so long.
    static func serve(_ host: inout Host, _ duration: Duration) -> Int {
        var answers = 0
        let end = host.now + duration
        while host.now < end {
            host.wait(.milliseconds(100))
            for frame in host.take() {
                guard let answer = answer(to: frame) else { continue }
                host.receive(answer)
                answers += 1
            }
        }
        return answers
    }

    @Test func `A lease is asked for, claimed, used and renewed`() {
        var host = Self.host(dhcp: true)
        let answers = Self.serve(&host, .seconds(20))
        #expect(answers == 2)
        #expect(Self.state(of: "192.0.2.44", host) == true)
        let path = host.stack.network.path(
            to: IPAddress("198.51.100.1")!, from: IPAddress("192.0.2.44")!, at: host.now)
        #expect(path?.mtu == 1400)
        // The server's link address is asked for when its lease is to be renewed.
        host.wait(.seconds(1800))
        let asked = host.take().contains { $0[12] == 8 && $0[13] == 6 && Array($0.suffix(4)) == [192, 0, 2, 1] }
        #expect(asked)
        host.receive(
            FrameBytes.ethernet(FrameBytes.arp(2, from: "192.0.2.1", to: "192.0.2.44", Host.mac), Self.arp))
        let renewed = Self.serve(&host, .seconds(900))
        #expect(renewed >= 1)
        host.wait(.seconds(1200))
        #expect(Self.state(of: "192.0.2.44", host) == true)
        // Nobody answers any more.
        host.wait(.seconds(7200))
        #expect(Self.state(of: "192.0.2.44", host) == nil)
        #expect(host.stack.network.routes.lookup(IPAddress("198.51.100.1")!, at: host.now) == nil)
    }

    @Test func `A leased address that another has is declined`() {
        var host = Self.host(dhcp: true)
        var isDeclined = false
        for _ in 0..<100 {
            host.wait(.milliseconds(100))
            for frame in host.take() {
                if let answer = Self.answer(to: frame) { host.receive(answer) }
                if frame.count > 300, frame[23] == 17, frame[42 + 240 + 2] == 4 { isDeclined = true }
                // A probe for the address: the other one answers.
                if frame[12] == 8, frame[13] == 6, Array(frame.suffix(4)) == [192, 0, 2, 44] {
                    let reply = FrameBytes.arp(2, from: "192.0.2.44", to: "0.0.0.0", Host.mac)
                    host.receive(FrameBytes.ethernet(reply, Self.arp))
                }
            }
        }
        #expect(isDeclined)
        #expect(Self.state(of: "192.0.2.44", host) != true)
    }
}
