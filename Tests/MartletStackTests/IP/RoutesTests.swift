// Longest match against a search of all routes, and what changes tables.

import Testing

@testable import MartletStack

@Suite struct RoutesTests {
    static func v4(_ text: String) -> IPAddress { .v4(IPv4Address(text)!) }
    static func v6(_ text: String) -> IPAddress { .v6(IPv6Address(text)!) }

    /// A host with two links and two routers.
    static func host() -> Routes {
        var routes = Routes(capacity: 16)
        _ = routes.insert(v4("192.0.2.0"), length: 24, on: 1, from: .connected)
        _ = routes.insert(v4("198.51.100.0"), length: 24, on: 2, from: .connected)
        _ = routes.insert(v4("0.0.0.0"), length: 0, via: v4("192.0.2.1"), on: 1, metric: 10, from: .dhcp)
        _ = routes.insert(v4("0.0.0.0"), length: 0, via: v4("198.51.100.1"), on: 2, metric: 20)
        _ = routes.insert(v4("10.0.0.0"), length: 8, via: v4("198.51.100.2"), on: 2)
        _ = routes.insert(v4("10.1.0.0"), length: 16, via: v4("198.51.100.3"), on: 2, mtu: 1400)
        return routes
    }

    @Test(
        arguments: [
            ("192.0.2.77", nil, 1), ("198.51.100.255", nil, 2), ("8.8.8.8", "192.0.2.1", 1),
            ("10.2.3.4", "198.51.100.2", 2),
            ("10.1.3.4", "198.51.100.3", 2), ("10.0.255.255", "198.51.100.2", 2), ("11.0.0.0", "192.0.2.1", 1),
            ("255.255.255.255", "192.0.2.1", 1), ("0.0.0.0", "192.0.2.1", 1),
        ] as [(String, String?, UInt8)])
    func `The longest prefix wins, and then the lowest metric`(destination: String, gateway: String?, interface: UInt8)
    {
        let routes = Self.host()
        let route = routes.lookup(Self.v4(destination), at: .zero)
        #expect(route?.gateway == gateway.map(Self.v4))
        #expect(route?.interface == interface)
    }

    @Test func `A route carries its MTU, and without a route there is none`() {
        let routes = Self.host()
        expect(routes.lookup(Self.v4("10.1.0.1"), at: .zero)?.mtu, is: 1400)
        expect(routes.lookup(Self.v6("2001:db8::1"), at: .zero), is: nil)
        expect(Routes().lookup(Self.v4("10.1.0.1"), at: .zero), is: nil)
    }

    @Test func `A lookup on one interface sees only its routes, the shorter ones too`() {
        let routes = Self.host()
        expect(routes.lookup(Self.v4("10.1.0.1"), on: 1, at: .zero)?.gateway, is: Self.v4("192.0.2.1"))
        expect(routes.lookup(Self.v4("8.8.8.8"), on: 2, at: .zero)?.gateway, is: Self.v4("198.51.100.1"))
        expect(routes.lookup(Self.v4("8.8.8.8"), on: 3, at: .zero), is: nil)
    }

    @Test func `A dead gateway is passed over while another serves the same prefix`() {
        var routes = Self.host()
        routes.mark(gateway: Self.v4("192.0.2.1"), on: 1, isDead: true)
        expect(routes.lookup(Self.v4("8.8.8.8"), at: .zero)?.gateway, is: Self.v4("198.51.100.1"))
        routes.mark(gateway: Self.v4("198.51.100.1"), on: 2, isDead: true)
        expect(routes.lookup(Self.v4("8.8.8.8"), at: .zero)?.gateway, is: Self.v4("192.0.2.1"))
        routes.mark(gateway: Self.v4("192.0.2.1"), on: 1, isDead: false)
        expect(routes.lookup(Self.v4("8.8.8.8"), at: .zero)?.gateway, is: Self.v4("192.0.2.1"))
        // The only way to a prefix is used even if it is dead: a shorter one leads elsewhere.
        routes.mark(gateway: Self.v4("198.51.100.3"), on: 2, isDead: true)
        expect(routes.lookup(Self.v4("10.1.0.1"), at: .zero)?.gateway, is: Self.v4("198.51.100.3"))
    }

    @Test func `A route ends with its lifetime, even before it is removed`() {
        var routes = Self.host()
        let end = Instant(nanoseconds: 1_000)
        expect(routes.insert(Self.v4("10.1.2.0"), length: 24, on: 1, from: .dhcp, validUntil: end), is: true)
        let next = routes.nextExpiry
        #expect(next == end)
        expect(routes.lookup(Self.v4("10.1.2.3"), at: Instant(nanoseconds: 999))?.interface, is: 1)
        expect(routes.lookup(Self.v4("10.1.2.3"), at: end)?.gateway, is: Self.v4("198.51.100.3"))
        expect(routes.expire(at: Instant(nanoseconds: 999)), is: 0)
        expect(routes.expire(at: end), is: 1)
        let after = routes.nextExpiry
        #expect(after == .distantFuture)
    }

    @Test func `Inserting the same way again replaces, and a full table says so`() {
        var routes = Routes(capacity: 2)
        expect(routes.insert(Self.v4("10.0.0.0"), length: 8, on: 1, metric: 1), is: true)
        expect(routes.insert(Self.v4("10.9.9.9"), length: 8, on: 1, metric: 2), is: true)
        expect(routes.v4.routes.count, is: 1)
        expect(routes.lookup(Self.v4("10.0.0.1"), at: .zero)?.metric, is: 2)
        expect(routes.insert(Self.v4("10.0.0.0"), length: 8, on: 2), is: true)
        expect(routes.insert(Self.v4("10.0.0.0"), length: 8, on: 3), is: false)
        expect(routes.insert(Self.v4("10.0.0.0"), length: 8, on: 2, metric: 7), is: true)
        expect(routes.remove(Self.v4("10.0.0.0"), length: 8, on: 2), is: true)
        expect(routes.remove(Self.v4("10.0.0.0"), length: 8, on: 2), is: false)
        expect(routes.insert(Self.v4("10.0.0.0"), length: 8, on: 3), is: true)
    }

    @Test func `Interfaces and routers take their routes with them`() {
        var routes = Self.host()
        _ = routes.insert(Self.v6("::"), length: 0, via: Self.v6("fe80::1"), on: 1, from: .routerAdvertisement)
        _ = routes.insert(Self.v6("::"), length: 0, via: Self.v6("fe80::1"), on: 2, from: .routerAdvertisement)
        _ = routes.insert(Self.v6("::"), length: 0, via: Self.v6("fe80::1"), on: 1, metric: 9)
        expect(routes.removeLearned(via: Self.v6("fe80::1"), on: 1), is: 1)
        expect(routes.lookup(Self.v6("2001:db8::1"), at: .zero)?.interface, is: 2)
        expect(routes.removeAll(on: 1, from: .dhcp), is: 1)
        expect(routes.removeAll(on: 2), is: 5)
        expect(routes.v4.routes.count, is: 1)
        expect(routes.v6.routes.count, is: 1)
    }

    @Test func `Default routes are listed, the best first`() {
        let routes = Self.host()
        let list = routes.v4.defaultRoutes
        expect(list.count, is: 2)
        expect(list[0].metric, is: 10)
        expect(list[1].metric, is: 20)
        expect(Routes().v6.defaultRoutes.count, is: 0)
    }

    @Test(arguments: [32, 128])
    func `Every lookup finds what a search of all routes finds`(width: Int) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        func address() -> IPAddress {
            // Few different bits, so that prefixes enclose each other deeply and addresses hit their ends.
            var bits: UInt128 = 0
            for _ in 0..<Int.random(in: 0...5, using: &random) {
                bits |= 1 << UInt128(Int.random(in: 120...127, using: &random))
            }
            if Bool.random(using: &random) { bits |= UInt128.max >> UInt128(Int.random(in: 2...10, using: &random)) }
            if width == 32 { return .v4(IPv4Address(bits: UInt32(truncatingIfNeeded: bits >> 96))) }
            return .v6(
                IPv6Address(high: UInt64(truncatingIfNeeded: bits >> 64), low: UInt64(truncatingIfNeeded: bits)))
        }
        var routes = Routes(capacity: 40)
        for step in 0..<400 {
            let prefix = address()
            let length = Bool.random(using: &random) ? Int.random(in: 0...10, using: &random) : width
            let interface = UInt8.random(in: 0...2, using: &random)
            if Int.random(in: 0...2, using: &random) > 0 {
                _ = routes.insert(
                    prefix, length: length, on: interface, metric: UInt16.random(in: 0...3, using: &random))
            } else {
                _ = routes.remove(prefix, length: length, on: interface)
            }
            let all = width == 32 ? routes.v4.routes : routes.v6.routes
            for _ in 0..<20 {
                let destination = address()
                let only: UInt8? = Bool.random(using: &random) ? nil : interface
                let matching = all.filter {
                    $0.prefix.contains(destination.routeBits) && (only == nil || $0.interface == only)
                }
                let best = matching.min {
                    (-Int($0.prefix.length), $0.metric, $0.interface) < (
                        -Int($1.prefix.length), $1.metric, $1.interface
                    )
                }
                let found = routes.lookup(destination, on: only, at: .zero)
                guard found == best else {
                    Issue.record("seed \(seed), step \(step): \(destination)")
                    return
                }
            }
        }
    }
}
