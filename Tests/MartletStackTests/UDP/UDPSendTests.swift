// Datagrams that go: headers, checksums, pieces, and all of them or none.

import Testing

@testable import MartletStack

@Suite struct UDPSendTests {
    typealias Fixture = UDPFixture

    @Test func `A datagram is a whole packet with both headers, over IPv4`() throws {
        var fixture = Fixture()
        let id = try fixture.bind(Fixture.ours, 7)
        var burst = fixture.pool.makeBurst()
        expect(fixture.send(id, [1, 2, 3], into: &burst), is: .sent)
        let list = packets(of: &burst)
        #expect(list.count == 1)
        let header = try #require(IPv4Header(bytes: list[0]))
        #expect(header.isIntact(bytes: list[0]))
        #expect(.v4(header.source) == Fixture.ours && .v4(header.destination) == Fixture.theirs)
        #expect(header.protocol == .udp && header.timeToLive == 64 && header.dontFragment && !header.isFragment)
        #expect(
            Array(list[0][20...])
                == Fixture.datagram([1, 2, 3], from: Fixture.ours, port: 7, to: Fixture.theirs, port: 53))
        expect(fixture.udp.counters.datagramsOut, is: 1)
    }

    @Test func `A datagram is a whole packet with both headers, over IPv6`() throws {
        var fixture = Fixture()
        let id = try fixture.bind(Fixture.any6, 7)
        var burst = fixture.pool.makeBurst()
        expect(fixture.send(id, [1, 2, 3], from: Fixture.ours6, to: Fixture.theirs6, into: &burst), is: .sent)
        let list = packets(of: &burst)
        let header = try #require(IPv6Header(bytes: list[0]))
        #expect(.v6(header.source) == Fixture.ours6 && .v6(header.destination) == Fixture.theirs6)
        #expect(header.nextHeader == .udp && header.hopLimit == 64)
        #expect(
            Array(list[0][40...])
                == Fixture.datagram([1, 2, 3], from: Fixture.ours6, port: 7, to: Fixture.theirs6, port: 53))
    }

    @Test func `A checksum of zero goes as all ones`() throws {
        var fixture = Fixture()
        let id = try fixture.bind(Fixture.ours, 7)
        let plain = Fixture.datagram([0, 0], from: Fixture.ours, port: 7, to: Fixture.theirs, port: 53)
        var burst = fixture.pool.makeBurst()
        expect(fixture.send(id, Array(plain[6...7]), into: &burst), is: .sent)
        #expect(Array(packets(of: &burst)[0][26...27]) == [0xFF, 0xFF])
    }

    @Test func `What is sent to a group stays on the link`() throws {
        var fixture = Fixture()
        let id = try fixture.bind(Fixture.any, 7)
        let id6 = try fixture.bind(Fixture.any6, 7)
        var burst = fixture.pool.makeBurst()
        expect(fixture.send(id, [1], to: IPAddress("239.1.2.3")!, into: &burst), is: .sent)
        expect(fixture.send(id, [1], to: IPAddress("255.255.255.255")!, into: &burst), is: .sent)
        expect(fixture.send(id6, [1], from: Fixture.ours6, to: IPAddress("ff05::1")!, into: &burst), is: .sent)
        let list = packets(of: &burst)
        #expect(IPv4Header(bytes: list[0])?.timeToLive == 1)
        #expect(IPv4Header(bytes: list[1])?.timeToLive == 64)
        #expect(IPv6Header(bytes: list[2])?.hopLimit == 1)
    }

    // MARK: Pieces

    /// Sends, puts the pieces together in some order, and receives.
    static func roundTrip(
        _ byteCount: Int, mtu: Int, isIPv6: Bool, capacity: Int = 2048, seed: UInt64
    ) throws -> (pieces: Int, isRight: Bool) {
        var fixture = Fixture(capacity: capacity, seed: seed)
        let (source, destination) = isIPv6 ? (Fixture.ours6, Fixture.theirs6) : (Fixture.ours, Fixture.theirs)
        let id = try fixture.bind(source, 7)
        let receiver = try fixture.bind(destination, 53)
        let payload = [UInt8].random(count: byteCount, using: &fixture.random)
        var burst = fixture.pool.makeBurst()
        let sent = fixture.send(id, payload, from: source, to: destination, mtu: mtu, into: &burst)
        #expect(sent == .sent)
        let list = packets(of: &burst)
        for packet in list { #expect(packet.count <= mtu) }
        var table = Reassembly(now: .zero, using: &fixture.random)
        var whole: [UInt8]?
        var identifications: Set<UInt32> = []
        for packet in list.shuffled(using: &fixture.random) {
            let (key, fragment, body) = try piece(packet)
            if let fragment {
                identifications.insert(key.identification)
                if case .complete(let datagram) = table.receive(fragment, of: key, bytes: body.raw, at: .zero) {
                    let ring = table.ring(of: datagram)
                    whole = table.memory.withRun(of: ring, at: 0, count: datagram.byteCount) { bytes in
                        (0..<bytes.byteCount).map { bytes.byte(at: $0) }
                    }
                    table.release(datagram)
                }
            } else {
                whole = body
            }
        }
        #expect(identifications.count == (list.count == 1 ? 0 : 1))
        guard let whole, fixture.arrive(whole, from: source, to: destination) == .delivered else {
            return (list.count, false)
        }
        return (list.count, fixture.receive(receiver)?.bytes == payload)
    }

    /// What a packet says of the fragment that it is, and the bytes behind the headers of IP.
    static func piece(_ packet: [UInt8]) throws -> (FragmentKey, Fragment?, [UInt8]) {
        if packet[0] >> 4 == 4 {
            let header = try #require(IPv4Header(bytes: packet))
            #expect(header.isIntact(bytes: packet) && header.protocol == .udp)
            #expect(header.dontFragment == !header.isFragment)
            let key = FragmentKey(
                source: .v4(header.source), destination: .v4(header.destination),
                identification: UInt32(header.identification), transportProtocol: 17)
            let fragment = Fragment(
                offset: Int(header.fragmentOffset), hasMore: header.moreFragments, nextHeader: 17)
            return (key, header.isFragment ? fragment : nil, Array(packet[20...]))
        }
        let header = try #require(IPv6Header(bytes: packet))
        guard case .arrived(let walked) = IPv6Extensions.walk(header, packet.raw) else {
            throw UDPBindError.closed
        }
        let key = FragmentKey(
            source: .v6(header.source), destination: .v6(header.destination),
            identification: walked.fragment?.identification ?? 0, transportProtocol: 0)
        let fragment = walked.fragment.map {
            Fragment(offset: Int($0.offset), hasMore: $0.moreFragments, nextHeader: $0.nextHeader.rawValue)
        }
        #expect(walked.protocol == .udp)
        return (key, fragment, Array(packet[Int(walked.offset)...]))
    }

    @Test(arguments: [false, true]) func `Datagrams of every length around a cut arrive whole`(isIPv6: Bool) throws {
        let whole = 1500 - (isIPv6 ? 40 : 20) - 8
        for byteCount in [0, 1, whole - 1, whole, whole + 1, whole + 2, 2 * whole, 2951, 2952, 2953, 8000] {
            let (pieces, isRight) = try Self.roundTrip(byteCount, mtu: 1500, isIPv6: isIPv6, seed: UInt64(byteCount))
            #expect(isRight, "\(byteCount) bytes")
            let each = (1500 - (isIPv6 ? 48 : 20)) & ~7
            #expect(pieces == (byteCount <= whole ? 1 : (byteCount + 8 + each - 1) / each), "\(byteCount) bytes")
        }
    }

    @Test(arguments: 0..<60 as Range<UInt64>)
    func `Any length, any path and any frame: what is sent arrives whole`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let isIPv6 = Bool.random(using: &random)
        let mtu = Int.random(in: (isIPv6 ? 1280 : 576)...3000, using: &random)
        let capacity = Int.random(in: 700...3200, using: &random)
        let byteCount = Int.random(in: 0...30 * min(mtu, capacity) / 2, using: &random)
        let (_, isRight) = try Self.roundTrip(
            byteCount, mtu: mtu, isIPv6: isIPv6, capacity: capacity, seed: seed)
        #expect(isRight, "seed \(seed): \(byteCount) bytes, MTU \(mtu), frames of \(capacity)")
    }

    @Test func `The longest datagrams go in pieces, and longer ones never`() throws {
        #expect(try Self.roundTrip(65_507, mtu: 1500, isIPv6: false, seed: 1).isRight)
        #expect(try Self.roundTrip(65_527, mtu: 1500, isIPv6: true, seed: 1).isRight)
        var fixture = Fixture()
        let id = try fixture.bind(Fixture.ours, 7)
        let id6 = try fixture.bind(Fixture.ours6, 7)
        var burst = fixture.pool.makeBurst()
        let long = [UInt8](repeating: 1, count: 65_508)
        expect(fixture.send(id, long, into: &burst), is: .tooLarge)
        let longer = [UInt8](repeating: 1, count: 65_528)
        expect(fixture.send(id6, longer, from: Fixture.ours6, to: Fixture.theirs6, into: &burst), is: .tooLarge)
        expect(
            fixture.send(
                id6, [UInt8](repeating: 1, count: 1 << 20), from: Fixture.ours6, to: Fixture.theirs6, into: &burst),
            is: .tooLarge)
        // More pieces than a burst has places for.
        expect(fixture.send(id, [UInt8](repeating: 1, count: 65_507), mtu: 576, into: &burst), is: .tooLarge)
        // No piece at all.
        expect(fixture.send(id, [UInt8](repeating: 1, count: 100), mtu: 27, into: &burst), is: .tooLarge)
        #expect(burst.count == 0 && fixture.pool.freeCount == fixture.pool.count)
        expect(fixture.udp.counters.tooLarge, is: 5)
        expect(fixture.udp.counters.datagramsOut, is: 0)
        fixture.udp.roomReturns()
        expect(fixture.events().isEmpty, is: true)
    }

    @Test(arguments: [false, true]) func `A socket that forbids cutting hears that a datagram is too large`(
        isIPv6: Bool
    ) throws {
        var fixture = Fixture()
        let (source, destination) = isIPv6 ? (Fixture.ours6, Fixture.theirs6) : (Fixture.ours, Fixture.theirs)
        let id = try fixture.bind(source, 7)
        fixture.udp.setDontFragment(id, true)
        var burst = fixture.pool.makeBurst()
        let fitting = [UInt8](repeating: 1, count: 1500 - 8 - (isIPv6 ? 40 : 20))
        expect(fixture.send(id, fitting, from: source, to: destination, into: &burst), is: .sent)
        expect(fixture.send(id, fitting + [1], from: source, to: destination, into: &burst), is: .tooLarge)
        #expect(packets(of: &burst).count == 1)
        fixture.udp.setDontFragment(id, false)
        expect(fixture.send(id, fitting + [1], from: source, to: destination, into: &burst), is: .sent)
        #expect(packets(of: &burst).count == 2)
    }

    @Test func `All pieces go or none, whatever is left of frames and of the burst`() throws {
        for frames in 1...4 {
            var fixture = Fixture(frames: frames + 1)
            let id = try fixture.bind(Fixture.ours, 7)
            var burst = fixture.pool.makeBurst()
            // One frame lies elsewhere; 4 pieces are wanted, in a pool that would have them.
            let kept = fixture.pool.take()
            let outcome = fixture.send(id, [UInt8](repeating: 1, count: 5000), into: &burst)
            #expect(outcome == (frames == 4 ? .sent : frames == 3 ? .noRoom : .tooLarge))
            #expect(burst.count == (outcome == .sent ? 4 : 0))
            #expect(fixture.pool.freeCount == (outcome == .sent ? 0 : frames))
            _ = kept?.length
        }
        for taken in [0, 59, 60, 61, 63, 64] {
            var fixture = Fixture()
            let id = try fixture.bind(Fixture.ours, 7)
            var burst = fixture.pool.makeBurst()
            for _ in 0..<taken { burst.append(burst.takeFrame()!) }
            // A frame that has gone from the front has left its place.
            if taken > 1 { _ = burst.popFirst()?.length }
            let before = burst.count
            let outcome = fixture.send(id, [UInt8](repeating: 1, count: 5000), into: &burst)
            #expect(outcome == (before <= 60 ? .sent : .noRoom))
            #expect(burst.count == before + (before <= 60 ? 4 : 0))
        }
    }

    @Test func `Datagrams in pieces have different identifications, and whole ones none`() throws {
        var fixture = Fixture()
        let id = try fixture.bind(Fixture.ours, 7)
        var seen: Set<UInt16> = []
        for _ in 0..<200 {
            var burst = fixture.pool.makeBurst()
            _ = fixture.send(id, [UInt8](repeating: 1, count: 2000), into: &burst)
            seen.insert(try #require(IPv4Header(bytes: packets(of: &burst)[0])).identification)
        }
        #expect(seen.count == 200)
        expect(fixture.udp.counters.fragmented, is: 200)
        var burst = fixture.pool.makeBurst()
        _ = fixture.send(id, [1], into: &burst)
        #expect(IPv4Header(bytes: packets(of: &burst)[0])?.identification == 0)
    }

    @Test func `A closed socket sends nothing`() throws {
        var fixture = Fixture()
        let id = try fixture.bind(Fixture.ours, 7)
        fixture.udp.close(id)
        var burst = fixture.pool.makeBurst()
        expect(fixture.send(id, [1], into: &burst), is: .closed)
        #expect(burst.count == 0)
    }

    @Test(
        "the time to live, that of groups and the codepoint are in every packet of a datagram, cut or not",
        arguments: ["198.51.100.7", "239.1.2.3", "2001:db8::7", "ff05::7"], [100, 4000])
    func marking(destination: String, length: Int) throws {
        var fixture = UDPFixture()
        let remote = IPAddress(destination)!
        let isIPv4 = remote.bitWidth == 32
        let id = try fixture.bind(isIPv4 ? UDPFixture.any : UDPFixture.any6, 7)
        var burst = fixture.pool.makeBurst()
        var marking = DatagramMarking()
        for (one, group, codepoint) in [(64, 1, 0), (5, 9, 46), (255, 255, 63)] as [(UInt8, UInt8, UInt8)] {
            (marking.timeToLive, marking.groupTimeToLive, marking.codepoint) = (one, group, codepoint)
            fixture.udp.set(marking, of: id)
            #expect(fixture.udp.marking(of: id) == marking)
            let sent = fixture.send(
                id, [UInt8](repeating: 1, count: length), from: isIPv4 ? UDPFixture.ours : UDPFixture.ours6, to: remote,
                into: &burst)
            #expect(sent == .sent)
            let packets = packets(of: &burst)
            #expect(packets.count == (length > 1500 ? 3 : 1))
            for packet in packets {
                #expect(packet[isIPv4 ? 8 : 7] == (remote.isMulticast ? group : one))
                let trafficClass = isIPv4 ? packet[1] : packet[0] << 4 | packet[1] >> 4
                #expect(trafficClass == codepoint << 2)
                if isIPv4 { #expect(Array(packet[0..<20]).naiveSum == 0xFFFF) }
            }
        }
        fixture.udp.close(id)
        #expect(fixture.udp.marking(of: id) == nil)
    }
}
