// What a server says, in all the ways in which it can be written, cut, split and wrong.

import Testing

@testable import MartletStack

@Suite struct DHCPMessageTests {
    typealias Option = (UInt8, [UInt8])
    static let address = IPv4Address(192, 0, 2, 50)

    /// What every grant has to have.
    static let needed: [Option] = [
        (53, [2]), (54, [192, 0, 2, 1]), (51, [0, 0, 14, 16]), (1, [255, 255, 255, 0]),
    ]

    /// A client that waits for an offer, and its discover.
    static func selecting() -> (DHCPScene, [UInt8]) {
        var scene = DHCPScene()
        scene.settle()
        return (scene, scene.sent[0].bytes)
    }

    static func offer(_ options: [Option], yiaddr: IPv4Address = address) -> [UInt8] {
        ModelDHCPServer.reply(to: selecting().1, yiaddr: yiaddr, options: options)
    }

    /// What becomes of an offer, and what it offers.
    static func take(_ bytes: [UInt8]) -> (DHCPDrop?, DHCPLease?) {
        var (scene, _) = selecting()
        let drop = scene.client.receive(bytes.raw, at: .zero, using: &scene.random)
        #expect(scene.client.state == (drop == nil ? .requesting : .selecting))
        if let drop { #expect(scene.client[drops: drop] == 1) }
        return (drop, scene.client.candidate)
    }

    /// The offer with one more option.
    static func lease(_ more: Option...) -> DHCPLease? { take(offer(needed + more)).1 }

    static func changing(_ code: UInt8, to value: [UInt8]?) -> [UInt8] {
        var options = needed.filter { $0.0 != code }
        if let value { options.append((code, value)) }
        return offer(options)
    }

    // MARK: Belief

    @Test func `An offer with the bare minimum is taken`() throws {
        let (drop, offered) = Self.take(Self.offer(Self.needed))
        let lease = try #require(offered)
        #expect(drop == nil && lease.address == Self.address && lease.prefixLength == 24)
        #expect(lease.routeCount == 0 && lease.nameServerCount == 0 && lease.mtu == nil && lease.domainName.count == 0)
    }

    @Test func `What is not for this client is not believed`() {
        let good = Self.offer(Self.needed)
        func changed(_ offset: Int) -> DHCPDrop? {
            var bytes = good
            bytes[offset] ^= 1
            return Self.take(bytes).0
        }
        for offset in 4..<8 { #expect(changed(offset) == .otherTransaction) }
        for offset in 28..<34 { #expect(changed(offset) == .otherClient) }
        for offset in 236..<240 { #expect(changed(offset) == .malformed) }
        // Another hardware, and another length of its address.
        #expect(changed(1) == .malformed && changed(2) == .malformed && changed(0) == .malformed)
        var request = good
        request[0] = 1
        #expect(Self.take(request).0 == .otherClient)
        // RFC 6842: the client identifier that comes back is ours, or there is none.
        #expect(Self.lease((61, [1, 2, 0, 0, 0, 0, 7])) != nil)
        #expect(Self.take(Self.offer(Self.needed + [(61, [1, 2, 0, 0, 0, 0, 8])])).0 == .otherClient)
        #expect(Self.take(Self.offer(Self.needed + [(61, [1, 2, 0, 0, 0, 0])])).0 == .otherClient)
    }

    @Test func `What no server may say is not believed`() {
        #expect(Self.take(Self.changing(54, to: nil)).0 == .unusable)
        for server in [[0, 0, 0, 0], [255, 255, 255, 255], [224, 0, 0, 1], [127, 0, 0, 1], [192, 0, 2]] as [[UInt8]] {
            #expect(Self.take(Self.changing(54, to: server)).0 == .unusable)
        }
        #expect(Self.take(Self.changing(51, to: nil)).0 == .unusable)
        #expect(Self.take(Self.changing(51, to: [0, 0, 0, 0])).0 == .unusable)
        #expect(Self.take(Self.changing(51, to: [0, 0, 14])).0 == .unusable)
        #expect(Self.take(Self.changing(53, to: nil)).0 == .malformed)
        #expect(Self.take(Self.changing(53, to: [2, 2])).0 == .malformed)
        for type in [0, 1, 3, 4, 5, 6, 7, 8, 255] as [UInt8] {
            #expect(Self.take(Self.changing(53, to: [type])).0 == .unexpected)
        }
        for text in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
            #expect(Self.take(Self.offer(Self.needed, yiaddr: IPv4Address(text)!)).0 == .unusable)
        }
        // The network itself, and everybody in it.
        for last in [0, 255] as [UInt8] {
            #expect(Self.take(Self.offer(Self.needed, yiaddr: IPv4Address(192, 0, 2, last))).0 == .unusable)
        }
    }

    @Test func `A mask is ones and then zeros; without one, the class says`() {
        for length in 1...32 as ClosedRange<UInt32> {
            let mask = ModelDHCPServer.octets(UInt32.max << (32 - length))
            #expect(Self.take(Self.changing(1, to: mask)).1?.prefixLength == UInt8(length))
        }
        for mask in [0, 1, 0x7FFF_FFFF, 0xFF00_FF00, 0xFFFF_FF01, 0xFFFF_FFFD, 0x00FF_FFFF] as [UInt32] {
            #expect(Self.take(Self.changing(1, to: ModelDHCPServer.octets(mask))).0 == .unusable)
        }
        #expect(Self.take(Self.changing(1, to: [255, 255])).0 == .unusable)
        for (text, length) in [("10.0.0.9", 8), ("172.16.0.9", 16), ("192.0.2.9", 24)] as [(String, UInt8)] {
            let bytes = Self.offer(Self.needed.filter { $0.0 != 1 }, yiaddr: IPv4Address(text)!)
            #expect(Self.take(bytes).1?.prefixLength == length)
        }
    }

    // MARK: Lists

    @Test func `Classless routes are read as RFC 3442 has them, and count instead of the routers`() throws {
        let value: [UInt8] =
            [0, 192, 0, 2, 1] + [8, 10, 192, 0, 2, 2] + [24, 10, 0, 0, 192, 0, 2, 3] + [16, 10, 17, 192, 0, 2, 4]
            + [32, 10, 1, 2, 3, 0, 0, 0, 0] + [9, 10, 0xFF, 192, 0, 2, 5]
        let lease = try #require(Self.lease((121, value), (3, [192, 0, 2, 1])))
        let expected: [(String, UInt8, String?)] = [
            ("0.0.0.0", 0, "192.0.2.1"), ("10.0.0.0", 8, "192.0.2.2"), ("10.0.0.0", 24, "192.0.2.3"),
            ("10.17.0.0", 16, "192.0.2.4"), ("10.1.2.3", 32, nil), ("10.128.0.0", 9, "192.0.2.5"),
        ]
        #expect(lease.routeCount == expected.count)
        for (index, (destination, length, router)) in expected.enumerated() {
            let route = lease.routes[index]
            #expect(route.destination == IPv4Address(destination)! && route.prefixLength == length)
            #expect(route.router?.description == router)
        }
    }

    @Test func `Classless routes that make no sense are as good as absent`() throws {
        for value in [[33, 1, 1, 1, 1, 1, 1, 1, 1, 1], [0, 192, 0, 2], [24, 10, 0, 0, 192, 0, 2], [255], [8, 10]]
            as [[UInt8]]
        {
            let lease = try #require(Self.lease((121, value), (3, [192, 0, 2, 7])))
            #expect(lease.routeCount == 1 && lease.routes[0].router == IPv4Address(192, 0, 2, 7), "\(value)")
            let both = try #require(Self.lease((121, [8, 10, 192, 0, 2, 2] + value), (3, [192, 0, 2, 7])))
            #expect(both.routeCount == 1 && both.routes[0].prefixLength == 0)
        }
    }

    @Test func `Lists are bounded, and hold nothing that is no host`() throws {
        let routes = (0..<25 as Range<UInt8>).flatMap { [24, 10, 0, $0, 192, 0, 2, 3] as [UInt8] }
        #expect(try #require(Self.lease((121, routes))).routeCount == 16)
        let many = (1...20 as ClosedRange<UInt8>).flatMap { [192, 0, 2, $0] as [UInt8] }
        let lease = try #require(Self.lease((3, many), (6, many)))
        #expect(lease.routeCount == 4 && lease.nameServerCount == 4)
        #expect(
            lease.routes[3].router == IPv4Address(192, 0, 2, 4) && lease.nameServers[3] == IPv4Address(192, 0, 2, 4))
        let mixed: [UInt8] = [0, 0, 0, 0, 255, 255, 255, 255, 224, 0, 0, 1, 127, 0, 0, 1, 192, 0, 2, 50, 192, 0, 2, 9]
        let sane = try #require(Self.lease((3, mixed), (6, mixed)))
        // A host is not its own router. It may be its own name server.
        #expect(sane.routeCount == 1 && sane.routes[0].router == IPv4Address(192, 0, 2, 9))
        #expect(sane.nameServerCount == 2 && sane.nameServers[1] == IPv4Address(192, 0, 2, 9))
        let odd = try #require(Self.lease((3, [192, 0, 2, 1, 1]), (6, [192, 0, 2])))
        #expect(odd.routeCount == 0 && odd.nameServerCount == 0)
    }

    @Test func `An MTU or a domain name that makes no sense is none`() throws {
        for (mtu, expected) in [(0, nil), (68, nil), (575, nil), (576, 576), (9000, 9000)] as [(UInt16, UInt16?)] {
            #expect(try #require(Self.lease((26, [UInt8(mtu >> 8), UInt8(mtu & 255)]))).mtu == expected)
        }
        #expect(try #require(Self.lease((26, [5]))).mtu == nil)
        for (name, count) in [
            ("example.com", 11), ("a\0", 1), ("\0", 0), ("a b", 0), ("a\nb", 0), ("../etc", 0), ("x;rm", 0), ("Ä", 0),
        ] {
            #expect(try #require(Self.lease((15, Array(name.utf8)))).domainName.count == count, "\(name)")
        }
        #expect(try #require(Self.lease((15, [UInt8](repeating: 97, count: 253)))).domainName.count == 253)
        #expect(try #require(Self.lease((15, [UInt8](repeating: 97, count: 254)))).domainName.count == 0)
    }

    // MARK: Layout

    static func encoded(_ options: [Option]) -> [UInt8] { options.flatMap { [$0.0, UInt8($0.1.count)] + $0.1 } }

    @Test func `Options go on in file and sname, in that order, if option 52 says so`() throws {
        for overload in 1...3 as ClosedRange<UInt8> {
            // The mask and a name server in each field that has options, and what looks like some in those that have none.
            var bytes = Self.offer(Self.needed.filter { $0.0 != 1 } + [(52, [overload]), (6, [192, 0, 2, 1])])
            let inFile = [0, 0] + Self.encoded([(6, [192, 0, 2, 2]), (1, [255, 255, 0, 0])]) + [255]
            let inName = Self.encoded([(6, [192, 0, 2, 3])]) + [255]
            bytes.replaceSubrange(108..<108 + inFile.count, with: inFile)
            bytes.replaceSubrange(44..<44 + inName.count, with: inName)
            let lease = try #require(Self.take(bytes).1)
            let servers = (0..<lease.nameServerCount).map { lease.nameServers[$0].octets[3] }
            #expect(servers == [[1, 2], [1, 3], [1, 2, 3]][Int(overload) - 1])
            #expect(lease.prefixLength == (overload & 1 == 1 ? 16 : 24))
        }
        for bad in [[0], [4], [255], [1, 1], [3, 3, 3]] as [[UInt8]] {
            #expect(Self.take(Self.offer(Self.needed + [(52, bad)])).0 == .malformed)
        }
        // Fields without END, and with an option that is cut.
        #expect(Self.take(Self.offer(Self.needed + [(52, [1])])).0 == .malformed)
        var cut = Self.offer(Self.needed + [(52, [2])])
        cut.replaceSubrange(44..<46, with: [6, 63])
        #expect(Self.take(cut).0 == .malformed)
        cut.replaceSubrange(44..<46, with: [6, 61])
        cut[107] = 255
        #expect(Self.take(cut).0 == nil)
    }

    @Test func `Parts of one option are put together, wherever they are cut`() throws {
        let value: [UInt8] = [0, 192, 0, 2, 1] + [8, 10, 192, 0, 2, 2] + [24, 10, 0, 0, 192, 0, 2, 3]
        for first in 0...value.count {
            for second in first...value.count {
                let parts: [Option] = [
                    (121, Array(value[..<first])), (0, []), (121, Array(value[first..<second])), (6, [192, 0, 2, 9]),
                    (121, Array(value[second...])),
                ]
                // A PAD has no length.
                var bytes = Self.offer(Self.needed)
                bytes.removeLast()
                bytes += parts.flatMap { $0.0 == 0 ? [0, 0] : Self.encoded([$0]) } + [255]
                let lease = try #require(Self.take(bytes).1)
                #expect(lease.routeCount == 3 && lease.routes[2].router == IPv4Address(192, 0, 2, 3))
                #expect(lease.nameServerCount == 1)
            }
        }
        // A number that stands there twice is none.
        #expect(Self.take(Self.offer(Self.needed + [(51, [0, 0, 1, 0])])).0 == .unusable)
        #expect(Self.take(Self.offer(Self.needed + [(53, [2])])).0 == .malformed)
    }

    @Test func `Values of more bytes than are kept do no harm`() throws {
        let route: [UInt8] = [24, 10, 0, 0, 192, 0, 2, 3]
        let some = (0..<31).flatMap { _ in route }
        for repeats in 1...5 {
            let options = (0..<repeats).map { _ in (121, some) as Option }
            #expect(try #require(Self.take(Self.offer(Self.needed + options)).1).routeCount == 16)
        }
        let servers = (0..<63).flatMap { _ in [192, 0, 2, 1] as [UInt8] }
        #expect(try #require(Self.lease((6, servers), (6, servers))).nameServerCount == 4)
        #expect(try #require(Self.lease((15, [UInt8](repeating: 97, count: 255)), (15, [97]))).domainName.count == 0)
    }

    // MARK: Enemies

    @Test func `Every message that is cut anywhere is dropped as malformed`() {
        let server = ModelDHCPServer()
        var (scene, discover) = Self.selecting()
        for bytes in [server.grant(2, to: discover), server.nak(discover), Self.offer(Self.needed + [(52, [3])])] {
            for length in 0..<bytes.count {
                let cut = Array(bytes.prefix(length))
                let drop = scene.client.receive(cut.raw, at: .zero, using: &scene.random)
                #expect(drop == .malformed, "\(length) bytes")
            }
        }
        #expect(scene.client.state == .selecting)
    }

    @Test(arguments: 0..<30 as Range<UInt64>)
    func `Messages that are changed by chance break nothing in any state`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for start in [0.0, 0.0015, 3, 100, 1810, 3300] {
            var scene = DHCPScene(seed: seed)
            scene.run(until: min(start, 7))
            scene.servers[0].isSilent = true
            scene.run(until: start)
            for _ in 0..<150 {
                let type = [2, 5, 5, 6].randomElement(using: &random)! as UInt8
                var bytes =
                    type == 6
                    ? scene.servers[0].nak(scene.sent.last!.bytes)
                    : scene.servers[0].grant(type, to: scene.sent.last!.bytes)
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let offset =
                        Bool.random(using: &random)
                        ? Int.random(in: 0..<bytes.count, using: &random)
                        : Int.random(in: 240..<bytes.count, using: &random)
                    bytes[offset] = UInt8(truncatingIfNeeded: random.next())
                }
                let before = scene.client.state
                let drop = scene.receive(bytes)
                if drop != nil { #expect(scene.client.state == before, "seed \(seed)") }
                if let lease = scene.client.lease {
                    #expect(lease.prefixLength >= 1 && lease.prefixLength <= 32 && lease.address.isHost, "seed \(seed)")
                    #expect(lease.renewal <= lease.rebinding && lease.rebinding <= lease.expiry, "seed \(seed)")
                    #expect(lease.expiry > scene.now, "seed \(seed)")
                }
                expect(scene.isConfigured, is: scene.client.lease != nil, "seed \(seed)")
                if Int.random(in: 0..<20, using: &random) == 0 {
                    scene.now = scene.now + .seconds(Int64.random(in: 0...100, using: &random))
                    scene.settle()
                }
            }
        }
    }

    @Test(arguments: 0..<10 as Range<UInt64>) func `Noise behind a good head is read to its end and no further`(
        seed: UInt64
    ) {
        var random = SeededGenerator(seed: seed)
        var (scene, discover) = Self.selecting()
        for _ in 0..<500 {
            let head = Array(ModelDHCPServer.reply(to: discover, yiaddr: Self.address, options: []).prefix(240))
            var noise = [UInt8].random(count: Int.random(in: 0...400, using: &random), using: &random)
            // Short lengths make long walks.
            for index in noise.indices where Bool.random(using: &random) { noise[index] &= 7 }
            let bytes = head + noise
            _ = scene.client.receive(bytes.raw, at: .zero, using: &scene.random)
            #expect(scene.client.state == .selecting, "seed \(seed)")
        }
    }
}
