// What RFC 9293 §3.9.1.8 to §3.9.2.2 demands between TCP and IP: errors that are reported, service, hops, and the way of packets.

import Testing

@testable import MartletStack

/// One end of a connection whose other end is a stack: writes and reads segments by hand, over IPv4 or IPv6.
struct PlainPeer {
    var here: String
    var there: String
    var ports: (here: UInt16, there: UInt16)
    var next: UInt32 = 5000
    var expected: UInt32 = 0

    static func octets(_ number: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) }
    }
    static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt32 {
        bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Bytes of the IP header of a packet.
    static func headerLength(_ packet: [UInt8]) -> Int { packet[0] >> 4 == 4 ? Int(packet[0] & 15) * 4 : 40 }

    /// The TCP sum of a packet that ends at `destination`: 0 if it is right.
    static func sum(_ packet: [UInt8], to destination: String) -> UInt16 {
        let segment = Array(packet[headerLength(packet)...])
        let source = packet[0] >> 4 == 4 ? Array(packet[12..<16]) : Array(packet[8..<24])
        let addresses = source + FrameBytes.octets(IPAddress(destination)!)
        return FrameBytes.sum(addresses + [0, 6, UInt8(segment.count >> 8), UInt8(segment.count & 0xFF)] + segment)
    }

    /// A packet to the stack; `route` are options of its IPv4 header, padded.
    func packet(_ flags: UInt8, payload: [UInt8] = [], route: [UInt8] = []) -> [UInt8] {
        var segment = [
            UInt8(ports.here >> 8), UInt8(ports.here & 0xFF), UInt8(ports.there >> 8), UInt8(ports.there & 0xFF),
        ]
        segment += Self.octets(next) + Self.octets(flags & 0x10 == 0 ? 0 : expected)
        segment += [0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0] + payload
        var packet = FrameBytes.ip(segment, from: here, to: there, 6)
        let checksum = Self.sum(packet, to: there)
        let field = Self.headerLength(packet) + 16
        (packet[field], packet[field + 1]) = (UInt8(checksum >> 8), UInt8(checksum & 0xFF))
        return route.isEmpty ? packet : Self.inserted(route, packet)
    }

    private static func inserted(_ options: [UInt8], _ packet: [UInt8]) -> [UInt8] {
        var header = Array(packet[..<20]) + options
        header[0] = 0x40 | UInt8(header.count / 4)
        let length = packet.count + options.count
        (header[2], header[3], header[10], header[11]) = (UInt8(length >> 8), UInt8(length & 0xFF), 0, 0)
        let checksum = FrameBytes.sum(header)
        (header[10], header[11]) = (UInt8(checksum >> 8), UInt8(checksum & 0xFF))
        return header + packet[20...]
    }

    /// Reads a packet of the stack's: what is expected next follows from it.
    mutating func heard(_ packet: [UInt8]) {
        let start = Self.headerLength(packet)
        ports.there = UInt16(Self.number(packet, start, 2))
        let flags = packet[start + 13]
        let count = packet.count - start - Int(packet[start + 12] >> 4) * 4
        expected = Self.number(packet, start + 4, 4) &+ UInt32(count) &+ (flags & 3 == 0 ? 0 : 1)
    }

    /// An ICMP error about a packet of the stack's: type, code, four bytes, and what is quoted.
    static func error(_ type: UInt8, _ code: UInt8, about packet: [UInt8], to host: String) -> [UInt8] {
        let quote = packet.prefix(headerLength(packet) + 8)
        return FrameBytes.icmp([type, code, 0, 0, 0, 0, 0, 0] + quote, from: "10.0.0.254", to: host)
    }
}

@Suite struct NetworkRequirementTests {
    static let own = "10.0.0.1"
    static let peer = "10.0.0.9"

    /// A host on bare IP, with addresses of both versions.
    private static func host(acceptsSourceRoutes: Bool = false) -> Host {
        var interface = InterfaceConfiguration(.ip)
        interface.addresses = [InterfaceAddress("10.0.0.1/8")!, InterfaceAddress("2001:db8::1/64")!]
        interface.acceptsSourceRoutes = acceptsSourceRoutes
        return Host([interface])
    }

    private static func events(_ host: inout Host, of id: ConnectionID) -> ConnectionEvents {
        var all: ConnectionEvents = []
        while let event = host.stack.nextEvent() {
            if case .connection(id, let events) = event { all.formUnion(events) }
        }
        return all
    }

    /// A connection that the host opens. Returns what the peer knows, and its SYN.
    private static func opened(
        _ host: inout Host, _ settings: TCPSettings = TCPSettings(), to remote: String = peer, port: UInt16 = 80
    ) throws -> (ConnectionID, PlainPeer, [UInt8]) {
        let id = try host.stack.connect(to: IPAddress(remote)!, port: port, settings)
        host.flush()
        let sent = host.take()
        try #require(sent.count == 1)
        var peer = PlainPeer(here: remote, there: remote == Self.peer ? own : "2001:db8::1", ports: (port, 0))
        peer.heard(sent[0])
        return (id, peer, sent[0])
    }

    /// The same, answered: established.
    private static func established(
        _ host: inout Host, _ settings: TCPSettings = TCPSettings(), to remote: String = peer
    ) throws -> (ConnectionID, PlainPeer) {
        var (id, peer, _) = try opened(&host, settings, to: remote)
        host.receive(peer.packet(0x12))
        peer.next &+= 1
        #expect(host.stack.state(of: id) == .established)
        _ = events(&host, of: id)
        return (id, peer)
    }

    private static func sent(_ host: inout Host, _ id: ConnectionID, count: Int = 10) throws -> [UInt8] {
        _ = host.take()
        _ = host.stack.send(id, [UInt8](repeating: 1, count: count))
        host.flush()
        let frames = host.take()
        return try #require(frames.first)
    }

    // MARK: Errors

    /// Type and code, and what is reported.
    static let softErrors: [(UInt8, UInt8, TCPSoftError)] = [
        (3, 0, .unreachable), (3, 1, .unreachable), (3, 5, .unreachable), (3, 13, .unreachable), (11, 0, .timeExceeded),
        (11, 1, .timeExceeded), (12, 0, .parameterProblem),
    ]

    @Test(
        "MUST-47, MUST-56: errors of the network that may pass are reported and end no connection",
        arguments: softErrors)
    func softError(type: UInt8, code: UInt8, error: TCPSoftError) throws {
        var host = Self.host()
        var (id, peer, syn) = try Self.opened(&host)
        host.receive(PlainPeer.error(type, code, about: syn, to: Self.own))
        #expect(Self.events(&host, of: id) == .suspect)
        #expect(host.stack.softError(of: id) == error)
        #expect(host.stack.state(of: id) == .synSent)
        host.receive(peer.packet(0x12))
        peer.next &+= 1
        #expect(host.stack.state(of: id) == .established)

        _ = Self.events(&host, of: id)
        let data = try Self.sent(&host, id)
        host.receive(PlainPeer.error(type, code, about: data, to: Self.own))
        #expect(Self.events(&host, of: id).contains(.suspect))
        #expect(host.stack.softError(of: id) == error)
        #expect(host.stack.state(of: id) == .established)
        #expect(host.stack.error(of: id) == nil)
        // What is acknowledged has arrived: the error has passed.
        peer.heard(data)
        host.receive(peer.packet(0x10))
        #expect(host.stack.softError(of: id) == nil)
    }

    @Test("MUST-47: that nothing is acknowledged is reported too, after three times")
    func silence() throws {
        var host = Self.host()
        let (id, _) = try Self.established(&host)
        _ = try Self.sent(&host, id)
        host.wait(.seconds(1))
        #expect(!Self.events(&host, of: id).contains(.suspect))
        host.wait(.seconds(10))
        #expect(Self.events(&host, of: id).contains(.suspect))
        #expect(host.stack.softError(of: id) == .unacknowledged)
        #expect(host.stack.state(of: id) == .established)
    }

    @Test("MUST-54: an ICMP error acts on the connection whose segment it quotes, and on no other")
    func directed() throws {
        var host = Self.host()
        let (first, _, _) = try Self.opened(&host, port: 80)
        let (second, _, syn) = try Self.opened(&host, port: 81)
        host.receive(PlainPeer.error(3, 3, about: syn, to: Self.own))
        #expect(host.stack.error(of: second) == .refused)
        #expect(host.stack.state(of: first) == .synSent)
        #expect(host.stack.softError(of: first) == nil)
        // One that quotes nobody's segment acts on nobody.
        var forged = syn
        forged[24] ^= 1
        host.receive(PlainPeer.error(3, 3, about: forged, to: Self.own))
        #expect(host.stack.state(of: first) == .synSent)
    }

    @Test("MUST-55: a source quench is dropped without a word, and slows nobody down")
    func sourceQuench() throws {
        var host = Self.host()
        let (id, _) = try Self.established(&host)
        let data = try Self.sent(&host, id, count: 5000)
        let before = host.stack.info(of: id)
        let dropped = host.dropped(.ignoredICMP)
        host.receive(PlainPeer.error(4, 0, about: data, to: Self.own))
        let frames = host.take()
        #expect(frames.isEmpty)
        #expect(host.stack.info(of: id) == before)
        #expect(Self.events(&host, of: id).isEmpty)
        #expect(host.dropped(.ignoredICMP) == dropped + 1)
    }

    // MARK: Service and hops

    private static func service(_ packet: [UInt8]) -> UInt8 {
        packet[0] >> 4 == 4 ? packet[1] >> 2 : UInt8(PlainPeer.number(packet, 0, 2) >> 6 & 63)
    }

    private static func hops(_ packet: [UInt8]) -> UInt8 { packet[packet[0] >> 4 == 4 ? 8 : 7] }

    private static func isIntact(_ packet: [UInt8], to destination: String) -> Bool {
        let isHeaderRight = packet[0] >> 4 == 6 || FrameBytes.sum(Array(packet[..<PlainPeer.headerLength(packet)])) == 0
        return isHeaderRight && PlainPeer.sum(packet, to: destination) == 0
    }

    @Test(
        "MUST-48, MUST-49: OPEN sets the service and the hops of every packet, and they may change later",
        arguments: [peer, "2001:db8::9"])
    func service(remote: String) throws {
        var host = Self.host()
        var settings = TCPSettings()
        (settings.diffServ, settings.timeToLive) = (46, 3)
        let (_, _, syn) = try Self.opened(&host, settings, to: remote)
        #expect(Self.service(syn) == 46 && Self.hops(syn) == 3)
        #expect(Self.isIntact(syn, to: remote))

        host = Self.host()
        let (id, _) = try Self.established(&host, settings, to: remote)
        let first = try Self.sent(&host, id)
        #expect(Self.service(first) == 46 && Self.hops(first) == 3)
        (settings.diffServ, settings.timeToLive) = (10, nil)
        let isSet = host.stack.set(settings, of: id)
        #expect(isSet)
        host.wait(.seconds(2))
        let second = try #require(host.take().first)
        #expect(Self.service(second) == 10 && Self.hops(second) == 64)
        #expect(Self.isIntact(second, to: remote))
    }

    @Test("MUST-48, MUST-49: connections get the service and the hops of their listener, and others none")
    func serviceOfListener() throws {
        for (settings, service, hops) in [(nil, 0, 64), (TCPSettings.marked, 8, 9)] as [(TCPSettings?, UInt8, UInt8)] {
            var host = Self.host()
            _ = try host.stack.listen(on: 80, settings ?? TCPSettings())
            host.receive(PlainPeer(here: Self.peer, there: Self.own, ports: (999, 80)).packet(2))
            let answer = try #require(host.take().first)
            #expect(Self.service(answer) == service && Self.hops(answer) == hops)
        }
    }

    // MARK: Source routes

    private static func addresses(_ texts: [String]) -> [IPv4Address] { texts.map { IPv4Address($0)! } }

    /// The option of a route whose routers have all been passed, padded.
    private static func passed(_ routers: [String]) -> [UInt8] {
        let length = UInt8(3 + 4 * routers.count)
        return [131, length, length + 1] + routers.flatMap { FrameBytes.octets(IPAddress($0)!) } + [0]
    }

    /// The addresses of a packet's route: its destination, and those of its option, which starts with the next one.
    private static func route(_ packet: [UInt8]) -> [String]? {
        guard packet[0] & 15 > 5, packet[20] == 131, packet[22] == 4 else { return nil }
        let count = (Int(packet[21]) - 3) / 4
        return ([16] + (0..<count).map { 23 + 4 * $0 }).map {
            IPv4Address(bits: PlainPeer.number(packet, $0, 4)).description
        }
    }

    @Test("MUST-51: OPEN takes a source route, and each packet goes by it to its peer")
    func activeRoute() throws {
        var host = Self.host()
        var settings = TCPSettings()
        settings.sourceRoute = SourceRoute(Self.addresses(["10.0.0.3", "10.0.0.4"]))
        let (_, _, syn) = try Self.opened(&host, settings)
        #expect(Self.route(syn) == ["10.0.0.3", "10.0.0.4", Self.peer])
        #expect(Self.isIntact(syn, to: Self.peer))
        host = Self.host()
        let (id, _) = try Self.established(&host, settings)
        let data = try Self.sent(&host, id, count: 5000)
        #expect(Self.route(data) == ["10.0.0.3", "10.0.0.4", Self.peer])
        #expect(Self.isIntact(data, to: Self.peer))
        // The option takes its bytes from the segment (MUST-16), whose peer has offered 536 by saying nothing.
        #expect(data.count <= 576)
    }

    @Test("MUST-53: a connection that came by a source route is answered by the same routers, back to front")
    func returnRoute() throws {
        var host = Self.host(acceptsSourceRoutes: true)
        let listener = try host.stack.listen(on: 80)
        var peer = PlainPeer(here: Self.peer, there: Self.own, ports: (999, 80))
        host.receive(peer.packet(2, route: Self.passed(["10.0.0.3", "10.0.0.4"])))
        let answer = try #require(host.take().first)
        #expect(Self.route(answer) == ["10.0.0.4", "10.0.0.3", Self.peer])
        #expect(Self.isIntact(answer, to: Self.peer))
        peer.heard(answer)
        peer.next &+= 1
        host.receive(peer.packet(0x10, route: Self.passed(["10.0.0.3", "10.0.0.4"])))
        let accepted = host.stack.accept(listener)
        let id = try #require(accepted)
        let data = try Self.sent(&host, id)
        #expect(Self.route(data) == ["10.0.0.4", "10.0.0.3", Self.peer])
    }

    @Test("MUST-52: the route that the user gave takes precedence over the one that a SYN came by")
    func precedence() throws {
        var host = Self.host(acceptsSourceRoutes: true)
        var settings = TCPSettings()
        settings.sourceRoute = SourceRoute(Self.addresses(["10.0.0.7"]))
        _ = try host.stack.listen(on: 80, settings)
        let peer = PlainPeer(here: Self.peer, there: Self.own, ports: (999, 80))
        host.receive(peer.packet(2, route: Self.passed(["10.0.0.3", "10.0.0.4"])))
        let answer = try #require(host.take().first)
        #expect(Self.route(answer) == ["10.0.0.7", Self.peer])
    }

    @Test("a way back is not taken from strangers unless the interface is told to, and nothing is passed on for others")
    func strangers() throws {
        var host = Self.host()
        _ = try host.stack.listen(on: 80)
        let peer = PlainPeer(here: Self.peer, there: Self.own, ports: (999, 80))
        var unfinished = Self.passed(["10.0.0.3", "10.0.0.4"])
        unfinished[2] = 8
        host.receive(peer.packet(2, route: unfinished))
        let nothing = host.take()
        #expect(nothing.isEmpty)
        #expect(host.dropped(.notForUs) == 1)
        host.receive(peer.packet(2, route: Self.passed(["10.0.0.3"])))
        let answer = try #require(host.take().first)
        #expect(answer[0] == 0x45)
        #expect(Array(answer[16..<20]) == FrameBytes.octets(IPAddress(Self.peer)!))
    }
}

extension TCPSettings {
    fileprivate static var marked: TCPSettings {
        var settings = TCPSettings()
        (settings.diffServ, settings.timeToLive) = (8, 9)
        return settings
    }
}
