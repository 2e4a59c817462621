// What is remembered of ways, and when it counts no more.

import Testing

@testable import MartletStack

@Suite struct DestinationCacheTests {
    private static var remote: IPAddress { IPAddress("192.0.2.1")! }
    private static var own: IPAddress { IPAddress("10.0.0.1")! }
    private static var limit: Instant { Instant(nanoseconds: 1_000_000_000) }

    private static func cache() -> DestinationCache {
        var random = SeededGenerator(seed: 1)
        return DestinationCache(capacity: 16, using: &random)
    }

    @Test(
        "the source of the last opening holds for the same destination, state of addresses and routes, and until then")
    func latestSource() {
        var cache = Self.cache()
        func source(
            _ destination: IPAddress = DestinationCacheTests.remote, changes: UInt32 = 5, at now: Instant = .zero
        ) -> IPAddress? {
            cache.latestSource(for: destination, changes, at: now)
        }
        #expect(source() == nil)
        cache.remember(source: Self.own, for: Self.remote, 5, until: Self.limit)
        #expect(source() == Self.own)
        #expect(source(IPAddress("192.0.2.2")!) == nil)
        #expect(source(changes: 6) == nil)
        #expect(source(at: Self.limit.advanced(byNanoseconds: -1)) == Self.own)
        #expect(source(at: Self.limit) == nil)
        cache.forgetAll()
        #expect(source() == nil)
        // Before anything was remembered no destination matches, not even the one that stands there.
        let empty = Self.cache()
        let none = empty.latestSource(for: .v4(.any), 0, at: Instant(nanoseconds: -1))
        #expect(none == nil)
    }

    @Test("a way holds for its destination, until routes change or one ends")
    func destinations() {
        var cache = Self.cache()
        var way = Destination()
        (way.address, way.interface, way.validUntil) = (Self.remote, 3, Self.limit)
        cache.remember(way)
        let found = cache.find(Self.remote, at: .zero)
        #expect(found?.interface == 3)
        // Of 256 others some have the same place.
        for number in 0..<256 as Range<UInt32> {
            let other = cache.find(.v4(IPv4Address(bits: 0x0C00_0000 + number)), at: .zero)
            #expect(other == nil)
        }
        let late = cache.find(Self.remote, at: Self.limit)
        #expect(late == nil)
        cache.forgetAll()
        let forgotten = cache.find(Self.remote, at: .zero)
        #expect(forgotten == nil)
        way.interface = 4
        cache.remember(way)
        let again = cache.find(Self.remote, at: .zero)
        #expect(again?.interface == 4)
    }

    @Test("a connection is opened from the address that fits now, whatever the last one to its peer was opened from")
    func connect() throws {
        var host = Strangers(addresses: ["192.168.0.1", "192.168.0.2"])
        func source(to remote: String = "11.0.0.1") throws -> IPAddress? {
            let id = try host.stack.connect(to: IPAddress(remote)!, port: 80)
            return host.stack.tcp.numbers(of: id)?.0.localAddress
        }
        let first = try source()
        #expect(first == IPAddress("192.168.0.1"))
        let second = try source()
        #expect(second == first)
        let isRemoved = host.stack.removeAddress(IPAddress("192.168.0.1")!)
        #expect(isRemoved)
        let third = try source()
        #expect(third == IPAddress("192.168.0.2"))
        let isGone = host.stack.removeAddress(IPAddress("192.168.0.2")!)
        #expect(isGone)
        #expect(throws: ConnectError.self) { try source() }
    }
}
