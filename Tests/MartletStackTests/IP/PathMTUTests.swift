// What ICMP may and may not do to a path, and the search against paths of every size.

import Testing

@testable import MartletStack

@Suite struct PathMTUTests {
    static let v4 = IPAddress.v4(IPv4Address(192, 0, 2, 1))
    static let v6 = IPAddress.v6(IPv6Address(high: 0x2001_0db8 << 32, low: 1))

    static func table(capacity: Int = 8) -> PathMTU {
        var random = SeededGenerator(seed: 9)
        return PathMTU(capacity: capacity, using: &random)
    }

    static func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

    // MARK: ICMP

    @Test func `An unknown path takes what the link takes`() {
        let table = Self.table()
        expect(table.mtu(to: Self.v4, linkMTU: 9000, at: .zero), is: 9000)
        expect(table.count, is: 0)
    }

    @Test func `ICMP lowers, and never raises`() {
        for destination in [Self.v4, Self.v6] {
            var table = Self.table()
            func receive(_ mtu: Int, _ table: inout PathMTU) -> PathMTUOutcome {
                table.receiveTooBig(for: destination, mtu: mtu, packetLength: 1500, linkMTU: 1500, at: .zero)
            }
            expect(receive(1500, &table), is: .notLower)
            expect(receive(9000, &table), is: .notLower)
            expect(table.count, is: 0)
            expect(receive(1400, &table), is: .lowered(1400))
            expect(receive(1450, &table), is: .notLower)
            expect(receive(1400, &table), is: .notLower)
            expect(receive(1300, &table), is: .lowered(1300))
            expect(table.mtu(to: destination, linkMTU: 1500, at: .zero), is: 1300)
            expect(table.mtu(to: destination, linkMTU: 1290, at: .zero), is: 1290)
        }
    }

    @Test func `Nothing is believed below the minimum`() {
        var table = Self.table()
        for mtu in [0, 1, 68, 1279] {
            let outcome = table.receiveTooBig(for: Self.v6, mtu: mtu, packetLength: 1500, linkMTU: 1500, at: .zero)
            #expect(outcome == .belowMinimum)
        }
        expect(
            table.receiveTooBig(for: Self.v6, mtu: 1280, packetLength: 1500, linkMTU: 1500, at: .zero),
            is: .lowered(1280))
        expect(
            table.receiveTooBig(for: Self.v4, mtu: 68, packetLength: 1500, linkMTU: 1500, at: .zero), is: .lowered(552))
        expect(table.receiveTooBig(for: Self.v4, mtu: 100, packetLength: 1500, linkMTU: 1500, at: .zero), is: .notLower)
    }

    @Test(arguments: [(65_535, 32_000), (1500, 1492), (1492, 1006), (1006, 552), (100, 552), (0, 552)])
    func `An old router that names no MTU costs one plateau`(length: Int, mtu: Int) {
        var table = Self.table()
        let outcome = table.receiveTooBig(for: Self.v4, mtu: 0, packetLength: length, linkMTU: 65_535, at: .zero)
        #expect(outcome == .lowered(mtu))
    }

    @Test func `After ten minutes the path is believed to be whole again`() {
        var table = Self.table()
        _ = table.receiveTooBig(for: Self.v4, mtu: 1400, packetLength: 1500, linkMTU: 1500, at: Self.at(5))
        expect(table.mtu(to: Self.v4, linkMTU: 1500, at: Self.at(604)), is: 1400)
        expect(table.mtu(to: Self.v4, linkMTU: 1500, at: Self.at(605)), is: 1500)
        let outcome = table.receiveTooBig(for: Self.v4, mtu: 1450, packetLength: 1500, linkMTU: 1500, at: Self.at(606))
        #expect(outcome == .lowered(1450))
        expect(table.count, is: 1)
    }

    @Test func `The table is bounded, and the path unchanged longest goes`() {
        var table = Self.table(capacity: 4)
        for number in 0..<10 {
            let destination = IPAddress.v4(IPv4Address(10, 0, 0, UInt8(number)))
            _ = table.receiveTooBig(
                for: destination, mtu: 1000, packetLength: 1500, linkMTU: 1500, at: Self.at(Int64(number)))
        }
        expect(table.count, is: 4)
        expect(table.evicted, is: 6)
        for number in 0..<10 {
            let destination = IPAddress.v4(IPv4Address(10, 0, 0, UInt8(number)))
            expect(table.mtu(to: destination, linkMTU: 1500, at: Self.at(10)), is: number < 6 ? 1500 : 1000)
        }
    }

    // MARK: Search

    /// Sends full-size segments and probes over a path that drops what is longer than `carries`, for `rounds`.
    static func run(_ search: inout PathSearch, carries: Int, link: Int, rounds: Int, from start: Int64 = 0) -> Int {
        var probes = 0
        for round in 0..<rounds {
            let now = at(start + Int64(round))
            if search.mtu <= carries { search.fullSizeAcknowledged(at: now) } else { _ = search.fullSizeLost(at: now) }
            if let size = search.nextProbe(linkMTU: link, at: now) {
                probes += 1
                if size <= carries {
                    search.probeAcknowledged(size: size, at: now)
                } else {
                    search.probeLost(size: size, at: now)
                }
            }
        }
        return probes
    }

    @Test(arguments: [1280, 1281, 1300, 1400, 1492, 1499, 4352, 8999])
    func `A black hole is found, and the search ends within 8 bytes of what the path carries`(carries: Int) {
        for isIPv4 in [true, false] {
            var search = PathSearch(mtu: 9000, isIPv4: isIPv4, at: .zero)
            let probes = Self.run(&search, carries: carries, link: 9000, rounds: 100)
            let (mtu, phase) = (search.mtu, search.phase)
            #expect(phase == .complete)
            #expect(mtu <= carries && mtu > carries - 8)
            #expect(probes <= 3 * 11 + 1)
        }
    }

    @Test func `A path that carries less than the base ends at the minimum`() {
        var search = PathSearch(mtu: 1500, isIPv4: true, at: .zero)
        _ = Self.run(&search, carries: 600, link: 1500, rounds: 6)
        #expect(search.phase == .error)
        #expect(search.mtu == 552)
        _ = Self.run(&search, carries: 600, link: 1500, rounds: 60, from: 6)
        #expect(search.phase == .complete)
        #expect(search.mtu > 592 && search.mtu <= 600)
    }

    @Test func `Two losses, and then an arrival, are an accident`() {
        var search = PathSearch(mtu: 1500, isIPv4: true, at: .zero)
        for _ in 0..<10 {
            expect(search.fullSizeLost(at: .zero), is: false)
            expect(search.fullSizeLost(at: .zero), is: false)
            search.fullSizeAcknowledged(at: .zero)
        }
        #expect(search.mtu == 1500 && search.phase == .assumed)
        _ = search.fullSizeLost(at: .zero)
        _ = search.fullSizeLost(at: .zero)
        expect(search.fullSizeLost(at: .zero), is: true)
        #expect(search.mtu == 1200 && search.phase == .base)
    }

    @Test func `After ten minutes a path that became better is found to be`() {
        var search = PathSearch(mtu: 1500, isIPv4: false, at: .zero)
        _ = Self.run(&search, carries: 1400, link: 1500, rounds: 100)
        #expect(search.phase == .complete && search.mtu <= 1400)
        _ = Self.run(&search, carries: 1500, link: 1500, rounds: 400, from: 100)
        #expect(search.mtu <= 1400)
        _ = Self.run(&search, carries: 1500, link: 1500, rounds: 300, from: 500)
        #expect(search.mtu == 1500)
    }

    @Test func `One probe is under way at a time, and one that nobody reports is sent again`() {
        var search = PathSearch(mtu: 1500, isIPv4: true, at: .zero)
        for _ in 0..<3 { _ = search.fullSizeLost(at: .zero) }
        expect(search.nextProbe(linkMTU: 1500, at: .zero), is: nil)
        search.fullSizeAcknowledged(at: .zero)
        let probe = search.nextProbe(linkMTU: 1500, at: .zero)
        #expect(probe == 1350)
        expect(search.nextProbe(linkMTU: 1500, at: Self.at(14)), is: nil)
        expect(search.nextProbe(linkMTU: 1500, at: Self.at(15)), is: 1350)
        search.probeLost(size: 1349, at: Self.at(15))
        search.probeAcknowledged(size: 1600, at: Self.at(15))
        #expect(search.mtu == 1200)
    }

    @Test func `ICMP ends a search where it says`() {
        var search = PathSearch(mtu: 1500, isIPv4: true, at: .zero)
        for _ in 0..<3 { _ = search.fullSizeLost(at: .zero) }
        search.fullSizeAcknowledged(at: .zero)
        _ = search.nextProbe(linkMTU: 1500, at: .zero)
        search.lower(to: 1204, at: .zero)
        #expect(search.phase == .complete && search.mtu == 1200 && search.ceiling == 1204)
        search.lower(to: 100, at: .zero)
        #expect(search.mtu == 552)
    }

    @Test func `Whatever is reported in whatever order, the MTU stays between the minimum and the link's`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for isIPv4 in [true, false] {
            var search = PathSearch(mtu: 1500, isIPv4: isIPv4, at: .zero)
            for step in 0..<20_000 {
                let now = Self.at(Int64(step) * 7)
                let size = Int.random(in: 0...2_000, using: &random)
                switch Int.random(in: 0..<6, using: &random) {
                case 0: _ = search.fullSizeLost(at: now)
                case 1: search.fullSizeAcknowledged(at: now)
                case 2: if size % 50 == 0 { search.lower(to: size, at: now) }
                case 3:
                    if let probe = search.nextProbe(linkMTU: 1500, at: now), size < 700 {
                        search.probeLost(size: probe, at: now)
                    }
                case 4: search.probeLost(size: size, at: now)
                default: search.probeAcknowledged(size: size, at: now)
                }
                let mtu = search.mtu
                guard mtu >= (isIPv4 ? 552 : 1280), mtu <= 1500 else {
                    Issue.record("seed \(seed), step \(step): \(mtu)")
                    return
                }
            }
        }
    }

    @Test func `TCP reports by destination`() {
        var table = Self.table()
        table.fullSizeAcknowledged(to: Self.v4, at: .zero)
        expect(table.nextProbe(to: Self.v4, linkMTU: 1500, at: .zero), is: nil)
        expect(table.count, is: 0)
        for _ in 0..<3 { _ = table.fullSizeLost(to: Self.v4, linkMTU: 1500, at: .zero) }
        expect(table.blackHoles, is: 1)
        expect(table.mtu(to: Self.v4, linkMTU: 1500, at: .zero), is: 1200)
        table.fullSizeAcknowledged(to: Self.v4, at: .zero)
        expect(table.nextProbe(to: Self.v4, linkMTU: 1500, at: .zero), is: 1350)
        table.probeAcknowledged(to: Self.v4, size: 1350, at: .zero)
        expect(table.mtu(to: Self.v4, linkMTU: 1500, at: .zero), is: 1350)
        expect(table.mtu(to: Self.v6, linkMTU: 1500, at: .zero), is: 1500)
    }
}
