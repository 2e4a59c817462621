// Datagrams that arrive: checks, whose they are, and what waits.

import Testing

@testable import MartletStack

@Suite struct UDPReceiveTests {
    typealias Fixture = UDPFixture

    // MARK: Checks

    @Test(arguments: [false, true]) func `A datagram is handed over with all that is known of it`(isIPv6: Bool) throws {
        var fixture = Fixture()
        let (source, destination) = isIPv6 ? (Fixture.theirs6, Fixture.ours6) : (Fixture.theirs, Fixture.ours)
        let id = try fixture.bind(isIPv6 ? Fixture.any6 : Fixture.any, 7)
        let packet = Fixture.datagram([1, 2, 3], from: source, port: 53, to: destination, port: 7)
        let outcome = fixture.arrive(packet, from: source, to: destination, on: 200, ce: true)
        #expect(outcome == .delivered)
        let envelope = DatagramEnvelope(
            source: source, sourcePort: 53, destination: destination, interface: 200, isCongestionExperienced: true)
        let events = fixture.events()
        #expect(events == [id: .readable])
        let received = fixture.receive(id)
        #expect(received == Received(bytes: [1, 2, 3], envelope: envelope))
        expect(fixture.receive(id) == nil, is: true)
        expect(fixture.events().isEmpty, is: true)
    }

    @Test(arguments: [false, true]) func `Every bit of a datagram is covered by its checksum`(isIPv6: Bool) throws {
        var fixture = Fixture()
        let (source, destination) = isIPv6 ? (Fixture.theirs6, Fixture.ours6) : (Fixture.theirs, Fixture.ours)
        _ = try fixture.bind(isIPv6 ? Fixture.any6 : Fixture.any, 7)
        let packet = Fixture.datagram([0x55, 2, 3, 4, 5], from: source, port: 53, to: destination, port: 7)
        for bit in 0..<packet.count * 8 {
            var broken = packet
            broken[bit / 8] ^= 1 << (bit % 8)
            // Its length may be cut or be too long, and its checksum be none.
            let outcome = fixture.arrive(broken, from: source, to: destination)
            #expect(outcome != .delivered && outcome != .noSocket, "bit \(bit)")
        }
        for wrong in [IPAddress("192.0.2.3")!, IPAddress("2001:db8::3")!] where wrong.bitWidth == source.bitWidth {
            expect(fixture.arrive(packet, from: wrong, to: destination), is: .dropped(.badChecksum))
        }
        expect(fixture.udp.counters.datagramsIn, is: 0)
    }

    @Test(arguments: [false, true])
    func `A checksum that a link has verified, or that the other kernel has left out, is not looked at`(isIPv6: Bool)
        throws
    {
        var fixture = Fixture()
        let (source, destination) = isIPv6 ? (Fixture.theirs6, Fixture.ours6) : (Fixture.theirs, Fixture.ours)
        let socket = try fixture.bind(isIPv6 ? Fixture.any6 : Fixture.any, 7)
        var packet = Fixture.datagram([1, 2, 3], from: source, port: 53, to: destination, port: 7)
        packet[6] ^= 0x55
        expect(fixture.arrive(packet, from: source, to: destination), is: .dropped(.badChecksum))
        expect(fixture.arrive(packet, from: source, to: destination, isVerified: true), is: .delivered)
        #expect(fixture.receive(socket)?.bytes == [1, 2, 3])
    }

    @Test func `A checksum of zero is none: allowed over IPv4, and not over IPv6`() throws {
        var fixture = Fixture()
        _ = try fixture.bind(Fixture.any, 7)
        _ = try fixture.bind(Fixture.any6, 7)
        var packet = Fixture.datagram([1], from: Fixture.theirs, port: 53, to: Fixture.ours, port: 7)
        packet.put(0 as UInt16, at: 6)
        expect(fixture.arrive(packet), is: .delivered)
        expect(
            fixture.arrive(packet, from: Fixture.theirs6, to: Fixture.ours6), is: .dropped(.noChecksum))
        expect(fixture.udp.counters[drops: .noChecksum], is: 1)
    }

    @Test func `A checksum that comes out as zero stands there as all ones, and is taken`() throws {
        // The payload makes up for all the rest.
        var packet = Fixture.datagram([0, 0], from: Fixture.theirs, port: 53, to: Fixture.ours, port: 7)
        let sum = UInt16(packet[6]) << 8 | UInt16(packet[7])
        packet = Fixture.datagram(
            [UInt8(sum >> 8), UInt8(sum & 255)], from: Fixture.theirs, port: 53, to: Fixture.ours, port: 7)
        #expect(Array(packet[6...7]) == [0xFF, 0xFF])
        var fixture = Fixture()
        _ = try fixture.bind(Fixture.any, 7)
        expect(fixture.arrive(packet), is: .delivered)
    }

    @Test func `A packet may be longer than its datagram, and must not be shorter`() throws {
        var fixture = Fixture()
        let id = try fixture.bind(Fixture.any, 7)
        let packet = Fixture.datagram([1, 2, 3, 4], from: Fixture.theirs, port: 53, to: Fixture.ours, port: 7)
        for length in 0..<packet.count {
            expect(fixture.arrive(Array(packet.prefix(length))), is: .dropped(.malformed))
        }
        expect(fixture.udp.counters[drops: .malformed], is: 12)
        expect(fixture.arrive(packet + [0xAA, 0xBB, 0xCC]), is: .delivered)
        let received = fixture.receive(id)
        #expect(received?.bytes == [1, 2, 3, 4])
        for length in 0..<8 as Range<UInt16> {
            var short = packet
            short.put(length, at: 4)
            expect(fixture.arrive(short), is: .dropped(.malformed))
        }
    }

    @Test func `A source that is a group or everybody is not believed`() throws {
        var fixture = Fixture()
        _ = try fixture.bind(Fixture.any, 7)
        _ = try fixture.bind(Fixture.any6, 7)
        for source in ["224.0.0.1", "239.1.2.3", "255.255.255.255"] {
            expect(fixture.arrive([1], from: IPAddress(source)!, port: 7), is: .dropped(.invalidSource))
        }
        expect(
            fixture.arrive([1], from: IPAddress("ff02::1")!, to: Fixture.ours6, port: 7), is: .dropped(.invalidSource))
        // What has no address yet may ask for one.
        expect(fixture.arrive([1], from: Fixture.any, port: 7), is: .delivered)
    }

    // MARK: Whose

    @Test func `A socket on no address hears both IP versions, unless another one hears IPv4`() throws {
        var fixture = Fixture()
        let both = try fixture.bind(Fixture.any6, 7)
        expect(fixture.arrive([1], port: 7), is: .delivered)
        let received = fixture.receive(both)
        #expect(received?.bytes == [1] && received?.envelope.source == Fixture.theirs)
        expect(fixture.arrive([2], from: Fixture.theirs6, to: Fixture.ours6, port: 7), is: .delivered)
        #expect(fixture.receive(both)?.bytes == [2])
        let narrow = try fixture.bind(Fixture.any, 7)
        expect(fixture.arrive([3], port: 7), is: .delivered)
        #expect(fixture.receive(narrow)?.bytes == [3])
        #expect(fixture.receive(both) == nil)
        // Not the other way about: IPv4's own hears nothing of IPv6.
        _ = try fixture.bind(Fixture.any, 8)
        expect(fixture.arrive([4], from: Fixture.theirs6, to: Fixture.ours6, port: 8), is: .noSocket)
    }

    @Test func `The most specific socket gets a datagram`() throws {
        var fixture = Fixture()
        let wide = try fixture.bind(Fixture.any, 7)
        let bound = try fixture.bind(Fixture.ours, 7)
        let connected = try fixture.bind(Fixture.any, 8)
        try fixture.udp.connect(connected, from: Fixture.ours, to: Fixture.theirs, port: 53)
        let both = try fixture.bind(Fixture.ours6, 7)
        let other = IPAddress("192.0.2.2")!

        func arrive(_ to: IPAddress, _ port: UInt16, _ from: IPAddress, _ fromPort: UInt16) -> SocketID? {
            let outcome = fixture.arrive([9], from: from, fromPort: fromPort, to: to, port: port)
            let events = fixture.events()
            #expect(events.count == (outcome == .delivered ? 1 : 0))
            #expect(outcome == .delivered || outcome == .noSocket)
            return events.keys.first
        }
        #expect(arrive(Fixture.ours, 7, Fixture.theirs, 53) == bound)
        #expect(arrive(other, 7, Fixture.theirs, 53) == wide)
        #expect(arrive(Fixture.ours, 8, Fixture.theirs, 53) == connected)
        // A connected socket gets nothing from others, and nothing for another address.
        #expect(arrive(Fixture.ours, 8, Fixture.theirs, 54) == nil)
        #expect(arrive(Fixture.ours, 8, other, 53) == nil)
        #expect(arrive(other, 8, Fixture.theirs, 53) == nil)
        #expect(arrive(Fixture.ours6, 7, Fixture.theirs6, 53) == both)
        #expect(arrive(IPAddress("2001:db8::2")!, 7, Fixture.theirs6, 53) == nil)

        // Beside the connected socket there is room for one that hears all others.
        let rest = try fixture.bind(Fixture.ours, 8)
        #expect(arrive(Fixture.ours, 8, Fixture.theirs, 53) == connected)
        #expect(arrive(Fixture.ours, 8, Fixture.theirs, 54) == rest)
        fixture.udp.close(connected)
        #expect(arrive(Fixture.ours, 8, Fixture.theirs, 53) == rest)
        expect(fixture.udp.counters.noSocket, is: 4)
    }

    @Test func `What is sent to a group or everybody is not for a socket that has an address of its own`() throws {
        let group = IPAddress("239.1.2.3")!
        for destination in [group, IPAddress("255.255.255.255")!, IPAddress("192.0.2.255")!] {
            var fixture = Fixture()
            let bound = try fixture.bind(Fixture.ours, 7)
            expect(fixture.arrive([1], to: destination, port: 7), is: .noSocket)
            let wide = try fixture.bind(Fixture.any, 7)
            expect(fixture.arrive([1], to: destination, port: 7), is: .delivered)
            let inGroup = try fixture.bind(group, 7)
            expect(fixture.arrive([1], to: destination, port: 7), is: .delivered)
            expect(fixture.receive(bound) == nil, is: true)
            expect(fixture.receive(wide)?.envelope.destination, is: destination)
            expect(fixture.receive(destination == group ? inGroup : wide)?.envelope.destination, is: destination)
        }
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func `Sockets that come, go and connect get just what a plain list says`(seed: UInt64) throws {
        struct Model { var tuple: FourTuple, id: SocketID }
        var limits = UDPLimits()
        limits.sockets = 24
        var fixture = Fixture(limits, seed: seed)
        var random = SeededGenerator(seed: seed)
        var open: [Model] = []
        let locals = ["0.0.0.0", "192.0.2.1", "192.0.2.2"].map { IPAddress($0)! }
        let remotes = ["198.51.100.1", "198.51.100.2"].map { IPAddress($0)! }
        for step in 0..<1500 {
            let comment: Comment = "seed \(seed), step \(step)"
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1:
                let tuple = FourTuple(
                    localAddress: locals.randomElement(using: &random)!,
                    localPort: UInt16.random(in: 1...6, using: &random), remoteAddress: Fixture.any, remotePort: 0)
                let isTaken = open.contains { $0.tuple == tuple }
                do {
                    let id = try fixture.bind(tuple.localAddress, tuple.localPort)
                    #expect(!isTaken && open.count < 24, comment)
                    open.append(Model(tuple: tuple, id: id))
                } catch UDPBindError.inUse {
                    #expect(isTaken, comment)
                } catch UDPBindError.noSocket {
                    #expect(open.count == 24, comment)
                }
            case 2 where !open.isEmpty:
                let index = Int.random(in: 0..<open.count, using: &random)
                var tuple = open[index].tuple
                if tuple.localAddress.isUnspecified { tuple.localAddress = locals[1] }
                (tuple.remoteAddress, tuple.remotePort) = (remotes.randomElement(using: &random)!, 1)
                let isTaken = open.indices.contains { $0 != index && open[$0].tuple == tuple }
                do {
                    try fixture.udp.connect(
                        open[index].id, from: tuple.localAddress, to: tuple.remoteAddress, port: tuple.remotePort)
                    #expect(!isTaken, comment)
                    open[index].tuple = tuple
                } catch {
                    #expect(isTaken && error == .inUse, comment)
                }
            case 3 where !open.isEmpty:
                let closed = open.remove(at: Int.random(in: 0..<open.count, using: &random))
                fixture.udp.close(closed.id)
                expect(fixture.udp.tuple(of: closed.id) == nil, is: true, comment)
            default:
                let (to, from) = (locals[Int.random(in: 1...2, using: &random)], remotes.randomElement(using: &random)!)
                let (toPort, fromPort) = (
                    UInt16.random(in: 1...7, using: &random), UInt16.random(in: 1...2, using: &random)
                )
                let best = open.filter { model in
                    let tuple = model.tuple
                    return tuple.localPort == toPort && (tuple.localAddress.isUnspecified || tuple.localAddress == to)
                        && (tuple.remotePort == 0 || tuple.remoteAddress == from && tuple.remotePort == fromPort)
                }.max { left, right in
                    func rank(_ tuple: FourTuple) -> Int {
                        tuple.remotePort != 0 ? 2 : tuple.localAddress.isUnspecified ? 0 : 1
                    }
                    return rank(left.tuple) < rank(right.tuple)
                }
                let mark = UInt8(truncatingIfNeeded: step)
                let outcome = fixture.arrive([mark], from: from, fromPort: fromPort, to: to, port: toPort)
                #expect(outcome == (best == nil ? .noSocket : .delivered), comment)
                if let best {
                    let received = fixture.receive(best.id)
                    #expect(received?.bytes == [mark], comment)
                }
            }
        }
        expect(fixture.udp.socketCount, is: open.count)
        expect(fixture.udp.bytesTaken, is: 0)
    }

    // MARK: What waits

    @Test func `Datagrams wait in order, and a socket for which none waits has no memory`() throws {
        var fixture = Fixture()
        let id = try fixture.bind(Fixture.any, 7)
        expect(fixture.udp.bytesTaken, is: 0)
        for number in 0..<100 as Range<UInt8> {
            let outcome = fixture.arrive([UInt8](repeating: number, count: Int(number) * 13), port: 7)
            #expect(outcome == .delivered)
        }
        #expect(fixture.udp.bytesTaken > 0)
        for number in 0..<100 as Range<UInt8> {
            let received = fixture.receive(id)
            #expect(received?.bytes == [UInt8](repeating: number, count: Int(number) * 13))
        }
        expect(fixture.udp.bytesTaken, is: 0)
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `Rings that wrap, grow and are given back hand out every byte`(seed: UInt64) throws {
        var limits = UDPLimits()
        limits.receiveLimit = 1 << 16
        var fixture = Fixture(limits, seed: seed)
        var random = SeededGenerator(seed: seed)
        let ids = [try fixture.bind(Fixture.any, 1), try fixture.bind(Fixture.any, 2)]
        var expected: [[[UInt8]]] = [[], []]
        var full = 0
        for step in 0..<600 {
            let which = Int.random(in: 0...1, using: &random)
            if Bool.random(using: &random) {
                let count = Int(random.anyMagnitude(below: 13))
                let bytes = [UInt8].random(count: count, using: &random)
                switch fixture.arrive(bytes, port: UInt16(which + 1)) {
                case .delivered: expected[which].append(bytes)
                case .dropped(.socketFull): full += 1
                default: Issue.record("seed \(seed), step \(step)")
                }
            } else {
                let received = fixture.receive(ids[which])
                let first = expected[which].isEmpty ? nil : expected[which].removeFirst()
                #expect(received?.bytes == first, "seed \(seed), step \(step)")
            }
        }
        for which in 0...1 {
            for bytes in expected[which] {
                let received = fixture.receive(ids[which])
                #expect(received?.bytes == bytes, "seed \(seed)")
            }
        }
        expect(fixture.udp.bytesTaken, is: 0)
        expect(fixture.udp.counters[drops: .socketFull], is: UInt64(full))
    }

    @Test func `A flood fills one socket as far as its bytes go, empty datagrams too, and others go on`() throws {
        var limits = UDPLimits()
        (limits.receiveLimit, limits.ringMemory, limits.datagrams) = (1 << 16, 1 << 18, 2000)
        var fixture = Fixture(limits)
        let flooded = try fixture.bind(Fixture.any, 7)
        let other = try fixture.bind(Fixture.any, 8)
        for size in [0, 1, 64, 65, 1400] {
            var kept = 0
            while fixture.arrive([UInt8](repeating: 1, count: size), port: 7) == .delivered { kept += 1 }
            #expect(kept == (1 << 16) / (max(64, (size + 63) / 64 * 64)))
            #expect(fixture.udp.bytesTaken == 1 << 16)
            expect(fixture.arrive([1], port: 8), is: .delivered)
            expect(fixture.receive(other)?.bytes, is: [1])
            var read = 0
            while fixture.receive(flooded) != nil { read += 1 }
            #expect(read == kept)
        }
        // The longest datagram there is fits in when nothing else waits.
        expect(fixture.arrive([UInt8](repeating: 1, count: 65_507), port: 7), is: .delivered)
        expect(fixture.arrive([], port: 7), is: .dropped(.socketFull))
        expect(fixture.receive(flooded)?.bytes.count, is: 65_507)
    }

    @Test func `When memory or records are used up, datagrams are dropped, and room comes back`() throws {
        for records in [10, 10_000] {
            var limits = UDPLimits()
            (limits.receiveLimit, limits.ringMemory, limits.datagrams) = (1 << 18, 1 << 14, records)
            var fixture = Fixture(limits)
            let ids = [try fixture.bind(Fixture.any, 1), try fixture.bind(Fixture.any, 2)]
            var kept = [0, 0]
            var isFull = false
            for turn in 0..<200 {
                switch fixture.arrive([UInt8](repeating: 7, count: 100), port: UInt16(turn & 1 + 1)) {
                case .delivered: kept[turn & 1] += 1
                case .dropped(.noMemory): isFull = true
                case let other: Issue.record("\(other)")
                }
            }
            // Two rings of 4 KiB, each datagram in 128 bytes: where they lie leaves no run of 8 KiB.
            #expect(isFull && kept[0] + kept[1] == (records == 10 ? 10 : 64))
            for which in 0...1 {
                var read = 0
                while fixture.receive(ids[which]) != nil { read += 1 }
                #expect(read == kept[which])
            }
            expect(fixture.udp.bytesTaken, is: 0)
            expect(fixture.arrive([1], port: 1), is: .delivered)
        }
    }

    @Test func `A closed socket leaves nothing behind, and its old name names nothing`() throws {
        var limits = UDPLimits()
        limits.sockets = 1
        var fixture = Fixture(limits)
        let old = try fixture.bind(Fixture.any, 7)
        _ = fixture.arrive([1], port: 7)
        fixture.udp.close(old)
        expect(fixture.udp.bytesTaken, is: 0)
        expect(fixture.events().isEmpty, is: true)
        expect(fixture.arrive([1], port: 7), is: .noSocket)
        let new = try fixture.bind(Fixture.any, 7)
        #expect(new != old)
        _ = fixture.arrive([2], port: 7)
        fixture.udp.close(old)
        fixture.udp.setDontFragment(old, true)
        #expect(throws: UDPBindError.closed) {
            try fixture.udp.connect(old, from: Fixture.ours, to: Fixture.theirs, port: 1)
        }
        expect(fixture.receive(old) == nil, is: true)
        expect(fixture.receive(new)?.bytes, is: [2])
    }

    @Test(arguments: 0..<4 as Range<UInt64>) func `Noise of any length is counted and dropped`(seed: UInt64) throws {
        var fixture = Fixture(seed: seed)
        var random = SeededGenerator(seed: seed)
        let id = try fixture.bind(Fixture.any, 7)
        for _ in 0..<3000 {
            var bytes = [UInt8].random(count: Int.random(in: 0...60, using: &random), using: &random)
            if bytes.count >= 8, Bool.random(using: &random) {
                bytes.put(7 as UInt16, at: 2)
                bytes.put(UInt16.random(in: 6...70, using: &random), at: 4)
                if Bool.random(using: &random) { bytes.put(0 as UInt16, at: 6) }
            }
            let outcome = fixture.arrive(bytes)
            if outcome == .delivered {
                let received = fixture.receive(id)
                #expect(received.map { Array(bytes[8...].prefix($0.bytes.count)) } == received?.bytes, "seed \(seed)")
            }
        }
        let counters = fixture.udp.counters
        let dropped = UDPDrop.allCases.reduce(0) { $0 + counters[drops: $1] }
        #expect(dropped + counters.noSocket + counters.datagramsIn == 3000)
        #expect(counters.datagramsIn > 0 && counters[drops: .badChecksum] > 0 && counters[drops: .malformed] > 0)
    }
}
