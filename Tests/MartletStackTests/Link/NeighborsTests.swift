// The neighbor table: the state machine of RFC 4861 §7.3, the bounds, and everything at random against its invariants.

import Testing

@testable import MartletStack

@Suite struct NeighborsTests {
    static let us: UInt8 = 1
    static let peer = IPAddress.v4(IPv4Address(192, 0, 2, 1))
    static let router = IPAddress.v6(IPv6Address(high: 0xfe80 << 48, low: 1))
    static let mac = MACAddress(bits: 0x02_00_00_00_00_01)
    static let otherMAC = MACAddress(bits: 0x02_00_00_00_00_02)

    /// A pool, a table and a clock. Frames that leave are told by their length.
    struct Fixture: ~Copyable {
        // Fields go in this order: the frames first, and then their pool.
        var table: Neighbors
        let pool = FramePool(count: 64, capacity: 256)
        var random = SeededGenerator(seed: 1)
        var now = Instant(nanoseconds: 1_000)

        init(entries: Int = 16, framesPerNeighbor: Int = 3, frames: Int = 16) {
            var limits = NeighborLimits()
            (limits.entries, limits.framesPerNeighbor, limits.frames) = (entries, framesPerNeighbor, frames)
            table = Neighbors(pool: pool, limits: limits, now: now, using: &random)
        }

        mutating func send(_ length: Int = 1, to address: IPAddress = NeighborsTests.peer) -> NeighborOutcome {
            var frame = pool.take()
            frame?.setLength(length)
            return table.resolve(address, on: NeighborsTests.us, holding: &frame, at: now)
        }

        /// Lets time pass, and lists what is to be done.
        mutating func wait(_ duration: Duration) -> [NeighborAction] {
            now = now + duration
            table.advance(to: now, using: &random)
            var actions: [NeighborAction] = []
            while let action = table.nextAction() { actions.append(action) }
            return actions
        }

        mutating func readyLengths() -> [Int] {
            var lengths: [Int] = []
            while let ready = table.popReady() { lengths.append(ready.frame.length) }
            return lengths
        }

        mutating func advertise(
            _ target: IPAddress = NeighborsTests.peer, _ mac: MACAddress? = NeighborsTests.mac, solicited: Bool = true,
            override: Bool = true, router: Bool = false
        ) -> NeighborUpdate {
            table.receiveAdvertisement(
                for: target, linkAddress: mac, isSolicited: solicited, isOverride: override, isRouter: router,
                on: NeighborsTests.us, at: now)
        }

        func state(_ address: IPAddress = NeighborsTests.peer) -> NeighborState? {
            table.state(of: address, on: NeighborsTests.us)
        }

        /// The table with the peer in the given state.
        mutating func bring(to state: NeighborState) {
            _ = send()
            if state == .incomplete { return }
            _ = advertise(solicited: state == .reachable)
            _ = readyLengths()
            if state == .delay || state == .probe { _ = send() }
            if state == .probe { _ = wait(.seconds(5)) }
            #expect(self.state() == state)
        }
    }

    static func address(_ number: Int) -> IPAddress { .v6(IPv6Address(high: 0x2001_0db8 << 32, low: UInt64(number))) }

    // MARK: The machine

    @Test func `The first frame asks, the next ones wait, and the answer lets them go in order`() {
        var fixture = Fixture()
        let first = fixture.send(10)
        let second = fixture.send(11)
        #expect(first == .queued(solicit: true))
        #expect(second == .queued(solicit: false))
        let update = fixture.advertise()
        #expect(update == .updated)
        let ready = fixture.table.popReady()
        if let ready {
            #expect(ready.frame.length == 10)
            #expect(ready.linkAddress == Self.mac)
            #expect(ready.interface == Self.us)
        } else {
            Issue.record("no frame is ready")
        }
        let rest = fixture.readyLengths()
        #expect(rest == [11])
        guard case .ready(let mac, let name) = fixture.send() else {
            Issue.record("not resolved")
            return
        }
        #expect(mac == Self.mac)
        let cached = fixture.table.linkAddress(of: name, at: fixture.now)
        #expect(cached == Self.mac)
        expect(fixture.pool.freeCount, is: 64)
    }

    @Test func `A fourth frame displaces the oldest`() {
        var fixture = Fixture()
        for length in 1...5 { _ = fixture.send(length) }
        expect(fixture.table.counters.displacedFrames, is: 2)
        _ = fixture.advertise()
        let lengths = fixture.readyLengths()
        #expect(lengths == [3, 4, 5])
    }

    @Test func `A neighbor that never answers is asked three times, a second apart, and then forgotten`() {
        var fixture = Fixture()
        _ = fixture.send()
        _ = fixture.send()
        let early = fixture.wait(.milliseconds(999))
        let second = fixture.wait(.milliseconds(1))
        let third = fixture.wait(.seconds(1))
        let last = fixture.wait(.seconds(1))
        #expect(early == [])
        #expect(second == [.solicitMulticast(Self.peer, interface: Self.us)])
        #expect(third == second)
        #expect(last == [.unreachable(Self.peer, interface: Self.us, dropped: 2)])
        expect(fixture.state(), is: nil)
        // They wait to be told of.
        expect(fixture.pool.freeCount, is: 62)
        var told = 0
        while let frame = fixture.table.popUndeliverable() {
            _ = consume frame
            told += 1
        }
        expect(told, is: 2)
        expect(fixture.pool.freeCount, is: 64)
        expect(fixture.table.counters.unreachableFrames, is: 2)
        let again = fixture.send()
        #expect(again == .queued(solicit: true))
    }

    @Test func `ReachableTime is 15 to 45 seconds, and then the neighbor is STALE`() {
        var fixture = Fixture()
        var times: Set<Duration> = []
        for _ in 0..<200 {
            fixture.table.setBaseReachableTime(.seconds(30), at: fixture.now, using: &fixture.random)
            times.insert(fixture.table.reachableTime)
        }
        #expect(times.count > 100)
        #expect(times.allSatisfy { $0 >= .seconds(15) && $0 <= .seconds(45) })
        fixture.bring(to: .reachable)
        _ = fixture.wait(fixture.table.reachableTime - .nanoseconds(1))
        expect(fixture.state(), is: .reachable)
        _ = fixture.wait(.nanoseconds(1))
        expect(fixture.state(), is: .stale)
    }

    @Test func `A STALE neighbor is sent to, asked alone after 5 seconds, and forgotten after three tries`() {
        var fixture = Fixture()
        fixture.bring(to: .stale)
        expect(fixture.wait(.seconds(100)), is: [])
        _ = fixture.send()
        expect(fixture.state(), is: .delay)
        expect(fixture.wait(.milliseconds(4_999)), is: [])
        let probe = [NeighborAction.solicitUnicast(Self.peer, interface: Self.us, to: Self.mac)]
        expect(fixture.wait(.milliseconds(1)), is: probe)
        expect(fixture.state(), is: .probe)
        expect(fixture.wait(.seconds(1)), is: probe)
        expect(fixture.wait(.seconds(1)), is: probe)
        expect(fixture.wait(.seconds(1)), is: [.unreachable(Self.peer, interface: Self.us, dropped: 0)])
        expect(fixture.state(), is: nil)
    }

    @Test(arguments: [NeighborState.stale, .delay, .probe, .reachable])
    func `Progress of TCP makes a neighbor REACHABLE, and keeps it so`(state: NeighborState) {
        var fixture = Fixture()
        fixture.bring(to: state)
        guard let slot = fixture.table.find(Self.peer, on: Self.us) else { return }
        let name = fixture.table.name(slot)
        for _ in 0..<100 {
            fixture.table.confirmReachability(of: name, at: fixture.now)
            expect(fixture.state(), is: .reachable)
            let actions = fixture.wait(.seconds(10))
            #expect(actions == [])
        }
        _ = fixture.wait(.seconds(46))
        expect(fixture.state(), is: .stale)
    }

    @Test func `A name is nobody's once its neighbor was forgotten`() {
        var fixture = Fixture()
        fixture.bring(to: .reachable)
        let name = fixture.table.name(fixture.table.find(Self.peer, on: Self.us)!)
        fixture.table.removeAll(on: 2)
        expect(fixture.table.linkAddress(of: name, at: fixture.now), is: Self.mac)
        fixture.table.removeAll(on: Self.us)
        expect(fixture.table.linkAddress(of: name, at: fixture.now), is: nil)
        fixture.bring(to: .reachable)
        expect(fixture.table.linkAddress(of: name, at: fixture.now), is: nil)
        fixture.table.confirmReachability(of: name, at: fixture.now)
        fixture.table.confirmReachability(of: Neighbor(slot: 1_000, generation: 0), at: fixture.now)
    }

    // MARK: Advertisements

    /// RFC 4861 §7.2.5 and Appendix C: (state, solicited, override, another address, then the state and the address).
    static let rules: [(NeighborState, Bool, Bool, Bool, NeighborState, Bool)] = [
        (.reachable, true, false, false, .reachable, false), (.reachable, true, false, true, .stale, false),
        (.reachable, true, true, false, .reachable, false), (.reachable, true, true, true, .reachable, true),
        (.reachable, false, false, false, .reachable, false), (.reachable, false, false, true, .stale, false),
        (.reachable, false, true, false, .reachable, false), (.reachable, false, true, true, .stale, true),
        (.stale, true, false, false, .reachable, false), (.stale, true, false, true, .stale, false),
        (.stale, true, true, false, .reachable, false), (.stale, true, true, true, .reachable, true),
        (.stale, false, false, false, .stale, false), (.stale, false, true, true, .stale, true),
        (.delay, true, false, true, .delay, false), (.delay, false, true, false, .delay, false),
        (.delay, true, true, true, .reachable, true), (.delay, false, true, true, .stale, true),
        (.probe, true, false, false, .reachable, false), (.probe, true, false, true, .probe, false),
        (.probe, false, false, true, .probe, false), (.probe, false, true, true, .stale, true),
        (.probe, true, true, true, .reachable, true),
    ]

    @Test(arguments: rules)
    func `An advertisement changes what RFC 4861 Appendix C says`(
        state: NeighborState, solicited: Bool, override: Bool, isOther: Bool, then: NeighborState, isTaken: Bool
    ) {
        var fixture = Fixture()
        fixture.bring(to: state)
        let mac = isOther ? Self.otherMAC : Self.mac
        _ = fixture.advertise(Self.peer, mac, solicited: solicited, override: override)
        expect(fixture.state(), is: then)
        let slot = fixture.table.find(Self.peer, on: Self.us)!
        expect(fixture.table.entries[slot].linkAddress, is: (isTaken ? Self.otherMAC : Self.mac))
    }

    @Test func `An advertisement without a link address confirms, but resolves nothing`() {
        var fixture = Fixture()
        _ = fixture.send()
        expect(fixture.advertise(Self.peer, nil), is: .ignored)
        expect(fixture.state(), is: .incomplete)
        fixture.bring(to: .stale)
        expect(fixture.advertise(Self.peer, nil, override: false), is: .updated)
        expect(fixture.state(), is: .reachable)
    }

    @Test func `An advertisement that nobody asked for creates nothing`() {
        var fixture = Fixture()
        expect(fixture.advertise(), is: .ignored)
        expect(fixture.table.count, is: 0)
    }

    @Test func `A router that says it is none any more is reported once`() {
        var fixture = Fixture()
        _ = fixture.send(to: Self.router)
        expect(fixture.advertise(Self.router, router: true), is: .updated)
        expect(fixture.advertise(Self.router, router: false), is: .noLongerRouter)
        expect(fixture.advertise(Self.router, router: false), is: .updated)
        let update = fixture.table.receiveSource(
            Self.router, linkAddress: Self.mac, of: .routerAdvertisement, on: Self.us, at: fixture.now)
        #expect(update == .ignored)
        let asHost = fixture.table.receiveSource(
            Self.router, linkAddress: Self.mac, of: .routerSolicitation, on: Self.us, at: fixture.now)
        #expect(asHost == .noLongerRouter)
    }

    @Test(arguments: [.zero, .broadcast, MACAddress(bits: 0x0100_5e00_0001), MACAddress(bits: 0x3333_0000_0001)])
    func `A link address that nobody can have is refused`(mac: MACAddress) {
        var fixture = Fixture()
        _ = fixture.send()
        expect(fixture.advertise(Self.peer, mac), is: .ignored)
        let update = fixture.table.receiveSource(
            Self.router, linkAddress: mac, of: .neighborSolicitation, on: Self.us, at: fixture.now)
        #expect(update == .ignored)
        expect(fixture.table.counters.badLinkAddress, is: 2)
        expect(fixture.state(), is: .incomplete)
    }

    @Test func `A solicitation makes its sender STALE, whether new, waited for or moved, and never REACHABLE`() {
        var fixture = Fixture()
        func receive(_ mac: MACAddress, _ fixture: inout Fixture) -> NeighborUpdate {
            fixture.table.receiveSource(
                Self.peer, linkAddress: mac, of: .neighborSolicitation, on: Self.us, at: fixture.now)
        }
        expect(receive(Self.mac, &fixture), is: .created)
        expect(fixture.state(), is: .stale)
        fixture.table.removeAll(on: Self.us)
        _ = fixture.send(7)
        expect(receive(Self.mac, &fixture), is: .updated)
        expect(fixture.state(), is: .stale)
        expect(fixture.readyLengths(), is: [7])
        _ = fixture.advertise()
        expect(receive(Self.mac, &fixture), is: .ignored)
        expect(fixture.state(), is: .reachable)
        expect(receive(Self.otherMAC, &fixture), is: .updated)
        expect(fixture.state(), is: .stale)
    }

    // MARK: ARP

    @Test func `ARP creates who asks for us, merges who is known, and ignores the rest`() {
        var fixture = Fixture()
        func receive(
            _ sender: IPv4Address, _ mac: MACAddress = NeighborsTests.mac, reply: Bool = false, forUs: Bool,
            _ fixture: inout Fixture
        ) -> NeighborUpdate {
            fixture.table.receiveARP(
                from: sender, linkAddress: mac, isReply: reply, isForUs: forUs, on: Self.us, at: fixture.now)
        }
        let sender = IPv4Address(192, 0, 2, 1)
        expect(receive(sender, forUs: false, &fixture), is: .ignored)
        expect(receive(.any, forUs: true, &fixture), is: .ignored)
        expect(receive(.broadcast, forUs: true, &fixture), is: .ignored)
        expect(receive(IPv4Address(224, 0, 0, 1), forUs: true, &fixture), is: .ignored)
        expect(fixture.table.count, is: 0)
        expect(receive(sender, forUs: true, &fixture), is: .created)
        expect(fixture.state(), is: .stale)
        // Gratuitous: the neighbor has another card now.
        expect(receive(sender, Self.otherMAC, forUs: false, &fixture), is: .updated)
        let slot = fixture.table.find(Self.peer, on: Self.us)!
        expect(fixture.table.entries[slot].linkAddress, is: Self.otherMAC)
        // A reply that nobody waits for does not prove that the neighbor hears us.
        expect(receive(sender, reply: true, forUs: true, &fixture), is: .updated)
        expect(fixture.state(), is: .stale)
        fixture.table.removeAll(on: Self.us)
        _ = fixture.send(9)
        expect(receive(sender, reply: true, forUs: true, &fixture), is: .updated)
        expect(fixture.state(), is: .reachable)
        expect(fixture.readyLengths(), is: [9])
    }

    // MARK: Bounds

    @Test func `Asking for strangers displaces a quarter of those in use at most`() {
        var fixture = Fixture(entries: 16)
        for number in 0..<16 {
            _ = fixture.send(to: Self.address(number))
            _ = fixture.advertise(Self.address(number))
            _ = fixture.readyLengths()
            _ = fixture.wait(.milliseconds(1))
        }
        expect(fixture.table[.live], is: 16)
        for number in 100..<400 {
            let outcome = fixture.send(to: Self.address(number))
            #expect(outcome == .queued(solicit: true))
        }
        expect(fixture.table[.live], is: 12)
        expect(fixture.table[.incomplete], is: 4)
        // Those confirmed least recently went.
        for number in 0..<16 {
            let isForgotten = fixture.state(Self.address(number)) == nil
            #expect(isForgotten == (number < 4))
        }
        expect(fixture.pool.freeCount, is: 60)
        expect(fixture.table.counters.evictedFrames, is: 296)
    }

    @Test func `Strangers that ask for us displace STALE neighbors only`() {
        var fixture = Fixture(entries: 8)
        for number in 0..<6 {
            _ = fixture.send(to: Self.address(number))
            _ = fixture.advertise(Self.address(number))
        }
        _ = fixture.readyLengths()
        for number in 100..<200 {
            let update = fixture.table.receiveSource(
                Self.address(number), linkAddress: Self.mac, of: .neighborSolicitation, on: Self.us, at: fixture.now)
            #expect(update == .created)
        }
        expect(fixture.table[.live], is: 6)
        expect(fixture.table[.stale], is: 2)
        expect(fixture.state(Self.address(199)), is: .stale)
        for number in 6..<8 {
            _ = fixture.send(to: Self.address(number))
            _ = fixture.advertise(Self.address(number))
        }
        let update = fixture.table.receiveSource(
            Self.address(300), linkAddress: Self.mac, of: .neighborSolicitation, on: Self.us, at: fixture.now)
        #expect(update == .ignored)
        expect(fixture.table.counters.notCreated, is: 1)
    }

    @Test func `A pinned neighbor stays, and a table of pinned ones says that it is full`() {
        var fixture = Fixture(entries: 4)
        for number in 0..<4 {
            _ = fixture.table.receiveSource(
                Self.address(number), linkAddress: Self.mac, of: .routerAdvertisement, on: Self.us, at: fixture.now)
            fixture.table.pin(fixture.table.name(fixture.table.find(Self.address(number), on: Self.us)!))
        }
        expect(fixture.send(), is: .dropped(.tableFull))
        expect(fixture.pool.freeCount, is: 64)
        fixture.table.unpin(fixture.table.name(fixture.table.find(Self.address(2), on: Self.us)!))
        expect(fixture.send(), is: .queued(solicit: true))
        expect(fixture.state(Self.address(2)), is: nil)
    }

    @Test func `Pending frames are bounded in all, and a neighbor that has some loses its own oldest`() {
        var fixture = Fixture(entries: 16, framesPerNeighbor: 3, frames: 4)
        for _ in 0..<2 { for number in 0..<2 { _ = fixture.send(number + 1, to: Self.address(number)) } }
        expect(fixture.send(9, to: Self.address(5)), is: .dropped(.pendingFull))
        expect(fixture.state(Self.address(5)), is: nil)
        expect(fixture.send(8, to: Self.address(0)), is: .queued(solicit: false))
        expect(fixture.table.counters.displacedFrames, is: 1)
        expect(fixture.pool.freeCount, is: 60)
        _ = fixture.advertise(Self.address(0))
        expect(fixture.readyLengths(), is: [1, 8])
    }

    @Test func `The table gives its frames back when it goes, pending or ready`() {
        let pool = FramePool(count: 8, capacity: 256)
        do {
            var random = SeededGenerator(seed: 5)
            var table = Neighbors(pool: pool, now: .zero, using: &random)
            for number in 0..<4 {
                var frame = pool.take()
                _ = table.resolve(Self.address(number / 2), on: 0, holding: &frame, at: .zero)
            }
            _ = table.receiveAdvertisement(
                for: Self.address(0), linkAddress: Self.mac, isSolicited: true, isOverride: true, isRouter: false,
                on: 0,
                at: .zero)
            #expect(pool.freeCount == 4)
        }
        #expect(pool.freeCount == 8)
    }

    @Test func `A frame of another pool traps`() async {
        await #expect(processExitsWith: .failure) {
            var fixture = NeighborsTests.Fixture()
            let other = FramePool(count: 1, capacity: 256)
            var frame = other.take()
            _ = fixture.table.resolve(
                NeighborsTests.peer, on: 1, holding: &frame, at: .zero)
        }
    }

    // MARK: At random

    @Test func `Whatever comes in whatever order, no frame is lost and the bounds hold`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        var fixture = Fixture(entries: 8, framesPerNeighbor: 2, frames: 6)
        for step in 0..<20_000 {
            let address = Self.address(Int.random(in: 0..<24, using: &random))
            let mac = Bool.random(using: &random) ? Self.mac : Self.otherMAC
            switch Int.random(in: 0..<8, using: &random) {
            case 0...2:
                _ = fixture.send(to: address)
            case 3:
                _ = fixture.advertise(
                    address, mac, solicited: .random(using: &random), override: .random(using: &random),
                    router: .random(using: &random))
            case 4:
                _ = fixture.table.receiveSource(
                    address, linkAddress: mac, of: .neighborSolicitation, on: Self.us, at: fixture.now)
            case 5:
                _ = fixture.wait(.milliseconds(Int64.random(in: 0..<9_000, using: &random)))
            case 6:
                _ = fixture.readyLengths()
            default:
                let name = Neighbor(slot: UInt32.random(in: 0..<8, using: &random), generation: 3)
                fixture.table.confirmReachability(of: name, at: fixture.now)
            }
            let table = (fixture.table[.incomplete], fixture.table.count, fixture.table.pending.room)
            let rings = fixture.table[.free] + fixture.table[.incomplete] + fixture.table[.stale] + fixture.table[.live]
            guard table.0 <= 2, table.1 <= 8, rings == 8, 64 - fixture.pool.freeCount == 6 - table.2 else {
                Issue.record("seed \(seed), step \(step): \(table), rings \(rings), free \(fixture.pool.freeCount)")
                return
            }
            for slot in 0..<8 where fixture.table.entries[slot].ring != .free {
                let entry = fixture.table.entries[slot]
                guard fixture.table.find(entry.address, on: entry.interface) == slot else {
                    Issue.record("seed \(seed), step \(step): an entry that is not found")
                    return
                }
            }
        }
        _ = fixture.readyLengths()
        while let frame = fixture.table.popUndeliverable() { _ = consume frame }
        fixture.table.removeAll(on: Self.us)
        expect(fixture.pool.freeCount, is: 64, "seed \(seed)")
    }
}
