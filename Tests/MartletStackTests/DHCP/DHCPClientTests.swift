// The client's states, against a model server: what goes when, and what is believed.

import Testing

@testable import MartletStack

@Suite struct DHCPClientTests {
    typealias Scene = DHCPScene
    static let second = DHCPScene.second
    static let address = IPv4Address(192, 0, 2, 50)
    static let server = IPv4Address(192, 0, 2, 1)

    // MARK: The way to a lease

    @Test func `Discover, request, check, and the lease is there with all that the server told`() throws {
        let scene = Scene.bound()
        #expect(scene.events == [.discover, .request, .configure(Self.address)])
        let lease = try #require(scene.client.lease)
        #expect(lease.address == Self.address && lease.prefixLength == 24 && lease.server == Self.server)
        #expect(lease.routeCount == 1 && lease.routes[0] == DHCPRoute(defaultVia: Self.server))
        #expect(lease.nameServerCount == 2 && lease.nameServers[1] == IPv4Address(192, 0, 2, 3))
        #expect((0..<lease.domainName.count).map { lease.domainName.characters[$0] } == Array("example.com".utf8))
        #expect(lease.mtu == 1500)
        // Counted from when the request went, 1 ms after the discover.
        #expect(lease.expiry.nanoseconds == 3600 * Self.second + 1_000_000)
        #expect(scene.client.deadline == lease.renewal)
    }

    @Test func `The messages say what RFC 2131 table 5 wants of them`() {
        var scene = Scene.bound()
        scene.servers[0].isSilent = true
        scene.run(until: 3500)
        let (discover, request) = (scene.sent[0], scene.sent[1])
        for message in scene.sent {
            #expect(Array(message.bytes[0..<4]) == [1, 1, 6, 0])
            #expect(Array(message.bytes[28..<44]) == [2, 0, 0, 0, 0, 7] + [UInt8](repeating: 0, count: 10))
            #expect(message.bytes[16..<28].allSatisfy { $0 == 0 } && message.bytes[44..<236].allSatisfy { $0 == 0 })
            #expect(message.options[61] == [1, 2, 0, 0, 0, 0, 7])
            #expect(message.options[57] == [0x05, 0xC0])
            #expect(message.options[55] == [1, 121, 3, 6, 15, 26, 51, 58, 59])
            #expect(message.bytes[10] == 0)
            #expect(message.order.count == Set(message.order).count)
        }
        #expect(discover.type == 1 && discover.requested == nil && discover.server == nil && discover.ciaddr == .any)
        #expect(request.type == 3 && request.xid == discover.xid && request.secs == discover.secs)
        #expect(request.requested == Self.address && request.server == Self.server && request.ciaddr == .any)
        // RENEWING and REBINDING.
        let renewals = scene.sent[2...]
        #expect(renewals.count > 4)
        for message in renewals {
            #expect(message.type == 3 && message.ciaddr == Self.address)
            #expect(message.requested == nil && message.server == nil)
        }
        #expect(Set(scene.sent.map(\.xid)).count == scene.sent.count - 1)
    }

    @Test func `Answers are broadcast for an interface without an address, if it wants that`() {
        var scene = Scene { $0.wantsBroadcast = true }
        scene.run(until: 1900)
        #expect(scene.sent.map { $0.bytes[10] } == [0x80, 0x80, 0])
    }

    @Test func `A client can be known by an identifier of RFC 4361`() {
        let identifier = DHCPClientIdentifier(interface: 0x0102_0304, duid: Scene.mac)
        var scene = Scene { $0.identifier = identifier }
        scene.servers[0].extra = [(61, [255, 1, 2, 3, 4, 0, 3, 0, 1, 2, 0, 0, 0, 0, 7])]
        scene.run(until: 7)
        #expect(scene.sent[0].options[61] == [255, 1, 2, 3, 4, 0, 3, 0, 1, 2, 0, 0, 0, 0, 7])
        #expect(scene.client.state == .bound)
    }

    // MARK: Again

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `A discover goes again after 4, 8, 16, 32, 64, 64 seconds, one more or less`(seed: UInt64) {
        var scene = Scene(seed: seed)
        scene.servers[0].isSilent = true
        scene.run(until: 400)
        #expect(Set(scene.events) == [.discover])
        let times = scene.log.map(\.at)
        for (index, wait) in [4, 8, 16, 32, 64, 64, 64].enumerated() {
            let actual = times[index + 1] - times[index]
            #expect(abs(actual - Int64(wait) * Self.second) <= Self.second, "seed \(seed)")
            #expect(actual % Self.second != 0, "seed \(seed): not at random")
        }
        #expect(Set(scene.sent.map(\.xid)).count == 1)
        for (message, time) in zip(scene.sent, times) { #expect(message.secs == Int(time / Self.second)) }
    }

    @Test func `A request goes four times, and then all begins anew`() {
        var scene = Scene()
        scene.settle()
        let offer = scene.servers[0].grant(2, to: scene.sent[0].bytes)
        scene.servers[0].isSilent = true
        scene.now = scene.now + .seconds(3)
        expect(scene.receive(offer), is: nil)
        scene.run(until: 70)
        #expect(scene.events.prefix(6) == [.discover, .request, .request, .request, .request, .discover])
        #expect(Set(scene.sent.prefix(5).map(\.xid)).count == 1 && scene.sent[5].xid != scene.sent[0].xid)
        #expect(Set(scene.sent.prefix(5).map(\.secs)) == [0] && scene.sent[5].secs == 0)
        #expect(scene.client.lease == nil)
    }

    @Test func `The first offer that can be used is taken, and only its server is believed`() {
        var scene = Scene()
        scene.settle()
        var second = ModelDHCPServer()
        (second.id, second.offered) = (IPv4Address(192, 0, 2, 9), IPv4Address(192, 0, 2, 90))
        let discover = scene.sent[0].bytes
        expect(scene.receive(scene.servers[0].grant(2, to: discover)), is: nil)
        expect(scene.receive(second.grant(2, to: discover)), is: .unexpected)
        #expect(scene.sent[1].server == Self.server)
        expect(scene.receive(second.nak(discover)), is: .otherServer)
        expect(scene.receive(second.grant(5, to: discover)), is: .unusable)
        second.offered = Self.address
        expect(scene.receive(second.grant(5, to: discover)), is: .otherServer)
        #expect(scene.client.state == .requesting)
        expect(scene.receive(scene.servers[0].grant(5, to: discover)), is: nil)
        #expect(scene.client.state == .checking)
        expect(scene.receive(scene.servers[0].grant(5, to: discover)), is: .otherTransaction)
        expect(scene.receive(scene.servers[0].nak(discover)), is: .otherTransaction)
    }

    // MARK: NAK

    @Test func `A NAK while requesting begins anew, ever more slowly if it comes again and again`() {
        var scene = Scene()
        scene.servers[0].refuses = true
        scene.run(until: 600)
        #expect(!scene.events.contains(.configure(Self.address)))
        let discovers = scene.log.filter { $0.event == .discover }.map(\.at)
        // At once, then after 4, 8, 16, 32, 64, 64 … s.
        #expect(discovers.count <= 14 && discovers.count > 9)
        #expect(discovers[1] < Self.second && discovers[2] > 3 * Self.second)
        #expect(discovers.last! - discovers[discovers.count - 2] > 60 * Self.second)
        // One lease makes up for it.
        scene.servers[0].refuses = false
        scene.run(until: 700)
        #expect(scene.client.state == .bound && scene.client.failureCount == 0)
    }

    @Test func `A NAK while renewing or rebinding ends the lease at once`() {
        for silentUntil in [0.0, 3200] {
            var scene = Scene.bound()
            if silentUntil > 0 {
                scene.servers[0].isSilent = true
                scene.run(until: silentUntil)
                #expect(scene.client.state == .rebinding)
                scene.servers[0].isSilent = false
            }
            scene.servers[0].refuses = true
            let before = scene.log.count
            scene.run(until: 3590)
            let after = scene.events.dropFirst(before)
            #expect(after.prefix(3) == [silentUntil > 0 ? .request : .renew(Self.server), .deconfigure, .discover])
        }
    }

    @Test func `A NAK of another server does not end a renewal, nor one that does not say whose it is`() {
        var scene = Scene.bound()
        scene.servers[0].isSilent = true
        scene.run(until: 1810)
        #expect(scene.client.state == .renewing)
        let request = scene.sent.last!.bytes
        var stranger = ModelDHCPServer()
        stranger.id = IPv4Address(192, 0, 2, 66)
        expect(scene.receive(stranger.nak(request)), is: .otherServer)
        let nameless = ModelDHCPServer.reply(to: request, yiaddr: .any, options: [(53, [6])])
        expect(scene.receive(nameless), is: .otherServer)
        #expect(scene.client.state == .renewing && scene.isConfigured)
    }

    // MARK: Renewal

    @Test(arguments: 0..<10 as Range<UInt64>)
    func `A lease is renewed at its server when half of it is over, as often as need be`(seed: UInt64) {
        var scene = Scene.bound(seed: seed)
        scene.run(until: 36_000)
        #expect(!scene.events.contains(.deconfigure))
        let renewals = scene.log.filter { $0.event == .renew(Self.server) }.map(\.at)
        #expect(renewals.count >= 19 && renewals.count <= 21)
        for (before, after) in zip(renewals, renewals.dropFirst()) {
            #expect(after - before <= 1801 * Self.second && after - before >= 1740 * Self.second, "seed \(seed)")
        }
        #expect(Set(renewals.map { $0 % 10_000 }).count > 5, "not at random")
    }

    @Test
    func `Without an answer it is asked for again after half of what is left, at T2 everybody, and then it is over`() {
        var scene = Scene.bound()
        scene.servers[0].isSilent = true
        let lease = scene.client.lease!
        scene.run(until: 3700)
        let renewals = scene.log.filter { $0.event == .renew(Self.server) }.map(\.at)
        #expect(renewals.first == lease.renewal.nanoseconds)
        #expect(renewals[1] == renewals[0] + (lease.rebinding.nanoseconds - renewals[0]) / 2)
        let requests = scene.log.dropFirst(3).filter { $0.event == .request }.map(\.at)
        #expect(requests.first == lease.rebinding.nanoseconds)
        for times in [renewals, requests] {
            for (before, after) in zip(times, times.dropFirst()) { #expect(after - before >= 60 * Self.second) }
        }
        let end = scene.log.first { $0.event == .deconfigure }
        #expect(end?.at == lease.expiry.nanoseconds)
        #expect(scene.events.last == .discover && scene.client.lease == nil)
        // At 0, 675, 1013, 1181, 1266 and 1326 s of 1350 s; and at 0, 225, 337 and 397 s of 450 s, if T2 is not early.
        #expect(renewals.count == 6 && (4...5).contains(requests.count))
    }

    @Test func `Another server may take over the lease at T2`() {
        var scene = Scene.bound()
        scene.servers[0].id = IPv4Address(192, 0, 2, 200)
        scene.servers[0].leaseTime = 7200
        scene.run(until: 3400)
        #expect(scene.client.state == .bound && scene.client.lease?.server == IPv4Address(192, 0, 2, 200))
        #expect(!scene.events.contains(.deconfigure))
        #expect(scene.events.last == .configure(Self.address))
        scene.run(until: 7000)
        #expect(scene.events.contains(.renew(IPv4Address(192, 0, 2, 200))))
    }

    @Test func `A renewal that grants another address is none`() {
        var scene = Scene.bound()
        scene.servers[0].isSilent = true
        scene.run(until: 1810)
        var server = scene.servers[0]
        server.offered = IPv4Address(192, 0, 2, 51)
        expect(scene.receive(server.grant(5, to: scene.sent.last!.bytes)), is: .unusable)
        #expect(scene.client.state == .renewing)
    }

    @Test func `The server's own times count, and a lease for ever is never renewed`() {
        var scene = Scene()
        scene.servers[0].extra = [
            (58, ModelDHCPServer.octets(100 as UInt32)), (59, ModelDHCPServer.octets(200 as UInt32)),
        ]
        scene.run(until: 7)
        let lease = scene.client.lease!
        #expect(lease.renewal.nanoseconds <= 101 * Self.second && lease.renewal.nanoseconds >= 96 * Self.second)
        #expect(lease.rebinding.nanoseconds <= 201 * Self.second && lease.rebinding.nanoseconds >= 193 * Self.second)
        #expect(lease.rebinding > lease.renewal)
        let forEver = Scene.bound(leaseTime: .max)
        #expect(forEver.client.deadline == .distantFuture && forEver.client.lease?.expiry == .distantFuture)
        let long = Scene.bound(leaseTime: .max - 1)
        #expect(long.client.lease!.expiry.nanoseconds == Int64(UInt32.max - 1) * Self.second + 1_000_000)
        #expect(long.client.lease!.renewal < long.client.lease!.rebinding)
    }

    @Test(
        arguments: [
            (200, 100), (3600, 3601), (1800, 3600), (0, 100), (100, 0), (.max, .max),
        ] as [(UInt32, UInt32)])
    func `Times that are out of order are replaced`(t1: UInt32, t2: UInt32) {
        var scene = Scene()
        scene.servers[0].extra = [(58, ModelDHCPServer.octets(t1)), (59, ModelDHCPServer.octets(t2))]
        scene.run(until: 7)
        let lease = scene.client.lease!
        #expect(lease.renewal.nanoseconds <= 1801 * Self.second && lease.renewal.nanoseconds >= 1740 * Self.second)
        #expect(lease.rebinding.nanoseconds <= 3151 * Self.second && lease.rebinding.nanoseconds >= 3050 * Self.second)
    }

    // MARK: INIT-REBOOT

    @Test func `A client that remembers an address asks for that, and for another if it is refused or nobody answers`()
    {
        var scene = Scene(remembers: Self.address)
        scene.run(until: 7)
        #expect(scene.events == [.request, .configure(Self.address)])
        #expect(scene.sent[0].requested == Self.address && scene.sent[0].server == nil && scene.sent[0].ciaddr == .any)
        #expect(scene.client.state == .bound)

        var moved = Scene(remembers: IPv4Address(10, 0, 0, 1))
        moved.run(until: 7)
        #expect(moved.events == [.request, .discover, .request, .configure(Self.address)])

        var alone = Scene(remembers: Self.address)
        alone.servers[0].isSilent = true
        alone.run(until: 70)
        #expect(alone.events.prefix(5) == [.request, .request, .request, .request, .discover])
    }

    // MARK: Conflict

    @Test func `An address that somebody else uses is declined, and ten seconds later all begins anew`() {
        var scene = Scene()
        scene.conflicts = 1
        scene.run(until: 30)
        let next = IPv4Address(192, 0, 2, 51)
        #expect(
            scene.events == [
                .discover, .request, .configure(Self.address), .deconfigure, .decline, .discover, .request,
                .configure(next),
            ])
        #expect(scene.log[5].at - scene.log[4].at == 10 * Self.second)
        let decline = scene.sent[2]
        #expect(decline.requested == Self.address && decline.server == Self.server && decline.ciaddr == .any)
        #expect(decline.options[55] == nil && decline.options[57] == nil && decline.options[61] != nil)
        #expect(scene.servers[0].declined == [Self.address])
        #expect(scene.client.state == .bound)
    }

    @Test func `On a link where every address is taken, one is tried a minute in the end`() {
        var scene = Scene()
        scene.conflicts = .max
        scene.run(until: 3600)
        let declines = scene.log.filter { $0.event == .decline }.map(\.at)
        #expect(declines.count > 30 && declines.count < 65)
        #expect(declines.last! - declines[declines.count - 2] > 60 * Self.second)
    }

    @Test func `An address is given up, too, when the conflict shows while it is used or renewed`() {
        for time in [100.0, 1810] {
            var scene = Scene.bound()
            scene.servers[0].isSilent = true
            scene.run(until: time)
            #expect(scene.client.state == (time == 100 ? .bound : .renewing))
            scene.client.conflict(at: scene.now, using: &scene.random)
            scene.settle()
            #expect(scene.events.suffix(2) == [.deconfigure, .decline])
            #expect(scene.client.lease == nil)
        }
    }

    @Test func `A conflict right behind a renewal still takes the configuration back`() {
        var scene = Scene.bound()
        scene.servers[0].isSilent = true
        scene.run(until: 1810)
        let bytes = scene.servers[0].grant(5, to: scene.sent.last!.bytes)
        let drop = scene.client.receive(bytes.raw, at: scene.now, using: &scene.random)
        #expect(drop == nil)
        scene.client.conflict(at: scene.now, using: &scene.random)
        scene.settle()
        #expect(scene.events.suffix(2) == [.deconfigure, .decline])
    }

    @Test func `Words of the owner that come at the wrong time change nothing`() {
        var scene = Scene()
        scene.client.assigned()
        scene.client.conflict(at: .zero, using: &scene.random)
        scene.run(until: 0)
        #expect(scene.events == [.discover] && scene.client.state == .selecting)
    }

    // MARK: Time

    @Test func `A clock that jumps an hour loses no state for good, and uses nothing that is over`() {
        for jumpAt in [0.0, 0.001, 3, 7, 1810, 3200, 3599] {
            for silent in [false, true] {
                var scene = Scene()
                if silent { scene.run(until: min(jumpAt, 7)) }
                scene.servers[0].isSilent = silent
                scene.run(until: jumpAt)
                scene.jump(3600)
                #expect(!scene.isConfigured || scene.client.lease != nil)
                scene.servers[0].isSilent = false
                scene.run(until: jumpAt + 3600 + 200)
                #expect(scene.client.state == .bound && scene.isConfigured, "\(jumpAt) s, silent: \(silent)")
            }
        }
    }

    @Test func `A clock that jumps over T1 and T2 goes to rebinding at once`() {
        var scene = Scene.bound()
        scene.servers[0].isSilent = true
        scene.jump(3300)
        #expect(scene.client.state == .rebinding && scene.events.last == .request)
        scene.jump(36_000)
        #expect(scene.events.suffix(2) == [.deconfigure, .discover])
    }

    @Test func `A lease that is over before the owner has checked its address is given back`() {
        var scene = Scene()
        scene.servers[0].leaseTime = 4
        scene.run(until: 5)
        #expect(scene.events.prefix(5) == [.discover, .request, .configure(Self.address), .deconfigure, .discover])
    }

    @Test func `A lease that is over when its answer comes is none`() {
        var scene = Scene()
        scene.servers[0].leaseTime = 3
        scene.settle()
        let discover = scene.sent[0].bytes
        expect(scene.receive(scene.servers[0].grant(2, to: discover)), is: nil)
        scene.now = scene.now + .seconds(3)
        expect(scene.receive(scene.servers[0].grant(5, to: discover)), is: .unusable)
        #expect(scene.client.state == .requesting)
        scene.servers[0].leaseTime = 4
        expect(scene.receive(scene.servers[0].grant(5, to: discover)), is: nil)
    }

    // MARK: By chance

    @Test(arguments: 0..<40 as Range<UInt64>)
    func `With loss, duplicates and late answers no address is used that is not ours, and one is found in the end`(
        seed: UInt64
    ) {
        var scene = Scene(seed: seed)
        var random = SeededGenerator(seed: seed &+ 1000)
        scene.lost = Int.random(in: 0...600, using: &random)
        scene.doubled = Int.random(in: 0...500, using: &random)
        scene.conflicts = Int.random(in: 0...2, using: &random)
        scene.servers[0].leaseTime = UInt32.random(in: 20...2000, using: &random)
        if Bool.random(using: &random) {
            var other = ModelDHCPServer()
            (other.id, other.offered) = (IPv4Address(192, 0, 2, 2), IPv4Address(192, 0, 2, 150))
            other.leaseTime = UInt32.random(in: 20...2000, using: &random)
            scene.servers.append(other)
        }
        for step in 1...20 {
            scene.run(until: Double(step) * 500)
            for index in scene.servers.indices {
                scene.servers[index].isSilent = Int.random(in: 0..<4, using: &random) == 0
                scene.servers[index].refuses = Int.random(in: 0..<6, using: &random) == 0
            }
        }
        (scene.lost, scene.doubled, scene.conflicts) = (0, 0, 0)
        for index in scene.servers.indices {
            (scene.servers[index].isSilent, scene.servers[index].refuses) = (false, false)
            scene.servers[index].leaseTime = 3600
        }
        scene.run(until: 14_000)
        #expect(scene.isConfigured && scene.client.lease != nil, "seed \(seed)")
    }
}
