import Testing

@testable import MartletStack

@Suite struct InterfaceTests {
    static let ipv4: UInt16 = 0x0800
    static let arp: UInt16 = 0x0806
    static let ipv6: UInt16 = 0x86DD

    // MARK: ARP and next hops

    @Test func `A request for our address is answered to who asks`() {
        var host = Host("10.0.0.1/24")
        let request = FrameBytes.arp(1, from: "10.0.0.9", to: "10.0.0.1")
        host.receive(FrameBytes.ethernet(request, Self.arp, to: .broadcast))
        let frames = host.take()
        let reply = FrameBytes.arp(2, from: "10.0.0.1", Host.mac, to: "10.0.0.9", Host.peerMAC)
        #expect(frames == [FrameBytes.ethernet(reply, Self.arp, to: Host.peerMAC, from: Host.mac)])
    }

    @Test func `A request for another address is not answered`() {
        var host = Host("10.0.0.1/24")
        host.receive(FrameBytes.ethernet(FrameBytes.arp(1, from: "10.0.0.9", to: "10.0.0.2"), Self.arp, to: .broadcast))
        let frames = host.take()
        #expect(frames.isEmpty)
    }

    @Test func `A packet waits for the link address of its neighbor and then goes there`() throws {
        var host = Host("10.0.0.1/24")
        let socket = try host.stack.bind(.v4(.any), port: 5000)
        let sent = host.send(socket, [1, 2, 3], to: "10.0.0.9", 7)
        #expect(sent == .sent)
        host.flush()
        var frames = host.take()
        let request = FrameBytes.arp(1, from: "10.0.0.1", Host.mac, to: "10.0.0.9")
        #expect(frames == [FrameBytes.ethernet(request, Self.arp, to: .broadcast, from: Host.mac)])
        host.receive(
            FrameBytes.ethernet(FrameBytes.arp(2, from: "10.0.0.9", to: "10.0.0.1", Host.mac), Self.arp))
        frames = host.take()
        try #require(frames.count == 1)
        #expect(Array(frames[0].prefix(14)) == FrameBytes.ethernet([], Self.ipv4, to: Host.peerMAC, from: Host.mac))
        #expect(Array(frames[0].suffix(3)) == [1, 2, 3])
        // And the next one does not wait.
        _ = host.send(socket, [4], to: "10.0.0.9", 7)
        host.flush()
        frames = host.take()
        #expect(frames.count == 1 && frames[0].last == 4)
    }

    @Test func `A packet to another network goes to the gateway, and to the next one if that does not answer`() throws {
        var interface = InterfaceConfiguration(.ethernet(Host.mac), addresses: [InterfaceAddress("10.0.0.1/24")!])
        interface.gateways = [IPAddress("10.0.0.253")!, IPAddress("10.0.0.254")!]
        (interface.detectsConflicts, interface.usesAutoconfiguration) = (false, false)
        var host = Host([interface])
        let socket = try host.stack.bind(.v4(.any), port: 5000)
        _ = host.send(socket, [1], to: "192.0.2.1", 7)
        host.wait(.seconds(5))
        var frames = host.take()
        // Three requests, and nobody is there.
        #expect(frames.count == 3)
        #expect(frames.allSatisfy { Array($0.suffix(4)) == [10, 0, 0, 253] })
        _ = host.send(socket, [2], to: "192.0.2.1", 7)
        host.flush()
        frames = host.take()
        try #require(frames.count == 1)
        #expect(Array(frames[0].suffix(4)) == [10, 0, 0, 254])
        let reply = FrameBytes.arp(2, from: "10.0.0.254", to: "10.0.0.1", Host.mac)
        host.receive(FrameBytes.ethernet(reply, Self.arp))
        frames = host.take()
        try #require(frames.count == 1)
        #expect(frames[0].last == 2)
    }

    @Test func `Where there is no route nothing is sent, and who asks is told`() throws {
        var host = Host("10.0.0.1/24")
        let socket = try host.stack.bind(.v4(.any), port: 5000)
        let outcome = host.send(socket, [1], to: "192.0.2.1", 7)
        #expect(outcome == .unreachable)
        let connection = try? host.stack.connect(to: IPAddress("192.0.2.1")!, port: 7)
        #expect(connection == nil)
        host.flush()
        let frames = host.take()
        #expect(frames.isEmpty)
    }

    @Test func `Packets to ourselves come back to us`() throws {
        var host = Host("10.0.0.1/24")
        let listener = host.stack.listen(port: 80, backlog: 4)
        let opened = try? host.stack.connect(to: IPAddress("10.0.0.1")!, port: 80)
        let client = try #require(opened)
        host.wait(.seconds(1))
        let frames = host.take()
        #expect(frames.isEmpty)
        #expect(host.stack.state(of: client) == .established)
        let accepted = host.stack.accept(listener)
        #expect(accepted != nil)
    }

    // MARK: Frames that are not for us

    @Test func `Frames are dropped for as many reasons as they have`() {
        var host = Host("10.0.0.1/24")
        let ping = FrameBytes.icmp([8, 0, 0, 0, 0, 1, 0, 1], from: "10.0.0.9", to: "10.0.0.1")
        host.receive([1, 2, 3])
        #expect(host.dropped(.badFrame) == 1)
        host.receive(FrameBytes.ethernet(ping, Self.ipv4, from: .broadcast))
        #expect(host.dropped(.badFrame) == 2)
        host.receive(FrameBytes.ethernet(ping, Self.ipv4, to: Host.peerMAC))
        #expect(host.dropped(.otherHost) == 1)
        host.receive(FrameBytes.ethernet(ping, Self.ipv4, tag: 5))
        #expect(host.dropped(.vlan) == 1)
        host.receive(FrameBytes.ethernet(ping, 0x88CC))
        #expect(host.dropped(.unknownEtherType) == 1)
        host.receive(FrameBytes.ethernet(Array(ping.prefix(19)), Self.ipv4))
        #expect(host.dropped(.malformed) == 1)
        host.receive(FrameBytes.ethernet(ping, Self.ipv6))
        #expect(host.dropped(.malformed) == 2)
        var wrong = ping
        wrong[8] ^= 1
        host.receive(FrameBytes.ethernet(wrong, Self.ipv4))
        #expect(host.dropped(.badChecksum) == 1)
        for source in ["224.0.0.5", "255.255.255.255", "10.0.0.255", "127.0.0.1", "0.0.0.0"] {
            let packet = FrameBytes.icmp([8, 0, 0, 0, 0, 1, 0, 1], from: source, to: "10.0.0.1")
            host.receive(FrameBytes.ethernet(packet, Self.ipv4))
        }
        #expect(host.dropped(.badSource) == 5)
        let other = FrameBytes.icmp([8, 0, 0, 0, 0, 1, 0, 1], from: "10.0.0.9", to: "10.0.0.2")
        host.receive(FrameBytes.ethernet(other, Self.ipv4))
        #expect(host.dropped(.notForUs) == 1)
        let frames = host.take()
        #expect(frames.isEmpty)
    }

    @Test(arguments: [VLANPolicy.untagged, .anyTag, .member(7)])
    func `Tags are dropped, skipped or told apart as configured`(policy: VLANPolicy) throws {
        var interface = InterfaceConfiguration(.ethernet(Host.mac), addresses: [InterfaceAddress("10.0.0.1/24")!])
        (interface.detectsConflicts, interface.usesAutoconfiguration, interface.vlan) = (false, false, policy)
        var host = Host([interface])
        let request = FrameBytes.arp(1, from: "10.0.0.9", to: "10.0.0.1")
        var answered: [UInt16?] = []
        for tag in [nil, 7, 8] as [UInt16?] {
            host.receive(FrameBytes.ethernet(request, Self.arp, to: .broadcast, tag: tag))
            let frames = host.take()
            if let frame = frames.first {
                answered.append(tag)
                let isTagged = frame[12] == 0x81
                #expect(isTagged == (policy == .member(7)))
                if isTagged { #expect(frame[14] == 0 && frame[15] == 7) }
            }
        }
        switch policy {
        case .untagged: #expect(answered == [nil])
        case .anyTag: #expect(answered == [nil, 7, 8])
        case .member: #expect(answered == [7])
        }
    }
}

extension Host {
    mutating func send(_ socket: SocketID, _ bytes: [UInt8], to address: String, _ port: UInt16) -> UDPSent {
        unsafe stack.send(socket, bytes.span.bytes, to: IPAddress(address)!, port: port)
    }

    @Test func `Without a frame egress is done at once, and what was owed goes when there are some`() throws {
        var host = Host("192.0.2.1/24")
        let listener = try host.stack.listen(on: 7)
        var hoard = host.pool.makeBurst(capacity: 256)
        hoard.appendFrames(host.pool.freeCount, length: 64)
        let client = try host.stack.connect(to: IPAddress("192.0.2.1")!, port: 7)
        var burst = host.pool.makeBurst()
        let isPaid = host.stack.egress(into: &burst, at: host.now)
        let (isEmpty, state) = (burst.isEmpty, host.stack.state(of: client))
        #expect(isPaid && isEmpty && state == .synSent)
        hoard.removeAll()
        host.wait(.seconds(3))
        let isThere = host.stack.accept(listener) != nil
        let later = host.stack.state(of: client)
        #expect(isThere && later == .established)
    }
}
