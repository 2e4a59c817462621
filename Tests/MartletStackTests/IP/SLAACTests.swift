// Addresses from advertisements, the two-hour rule to the second, identifiers, and the schedule of solicitations.

import Testing

@testable import MartletStack

@Suite struct SLAACTests {
    static let identifiers = StableInterfaceIdentifier(secret: SipHash.Key(1, 2))
    static let prefix = IPv6Address(high: 0x2001_0db8_0000_0001, low: 0)

    static func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

    static func table(capacity: Int = 4) -> SLAAC {
        SLAAC(identifiers: identifiers, networkInterface: 7, capacity: capacity)
    }

    static func receive(
        _ table: inout SLAAC, prefix: IPv6Address = prefix, length: UInt8 = 64, autonomous: Bool = true, valid: UInt32,
        preferred: UInt32? = nil, at now: Int64 = 0
    ) -> PrefixOutcome {
        table.receivePrefix(
            prefix, length: length, isAutonomous: autonomous, validLifetime: valid,
            preferredLifetime: preferred ?? valid,
            at: at(now))
    }

    // MARK: Prefixes

    @Test func `A prefix makes an address, once`() {
        var table = Self.table()
        guard case .created(let address) = Self.receive(&table, valid: 100, preferred: 50) else {
            Issue.record("no address")
            return
        }
        #expect(address.high == Self.prefix.high && address.low != 0)
        expect(Self.receive(&table, valid: 100), is: .updated(address))
        expect(table.addresses.count, is: 1)
    }

    @Test func `Prefixes that cannot be used make none`() {
        var table = Self.table()
        let linkLocal = IPv6Address(high: 0xfe80 << 48, low: 0)
        let multicast = IPv6Address(high: 0xff02 << 48, low: 0)
        expect(Self.receive(&table, autonomous: false, valid: 9), is: .ignored(.notAutonomous))
        expect(Self.receive(&table, prefix: linkLocal, valid: 9), is: .ignored(.badPrefix))
        expect(Self.receive(&table, prefix: multicast, valid: 9), is: .ignored(.badPrefix))
        expect(Self.receive(&table, prefix: .any, valid: 9), is: .ignored(.badPrefix))
        expect(Self.receive(&table, valid: 9, preferred: 10), is: .ignored(.badLifetimes))
        expect(Self.receive(&table, valid: 0), is: .ignored(.zeroLifetime))
        for length in UInt8.min...UInt8.max where length != 64 {
            expect(Self.receive(&table, length: length, valid: 9), is: .ignored(.badLength))
        }
        expect(table.addresses.count, is: 0)
    }

    @Test func `The table is bounded, and what is in it stays`() {
        var table = Self.table(capacity: 4)
        for number in 0..<100 {
            let prefix = IPv6Address(high: 0x2001_0db8_0001_0000 + UInt64(number), low: 0)
            let outcome = Self.receive(&table, prefix: prefix, valid: 9)
            #expect((outcome == .ignored(.full)) == (number >= 4))
        }
        expect(table.addresses.count, is: 4)
        expect(table.overflows, is: 96)
    }

    /// Seconds left, the lifetime received, and the seconds left then (RFC 4862 §5.5.3 e).
    @Test(
        arguments: [
            (10_000, 20_000, 20_000), (10_000, 7_201, 7_201), (10_000, 7_200, 7_200), (10_000, 100, 7_200),
            (10_000, 0, 7_200),
            (5_000, 100, 5_000), (5_000, 0, 5_000), (5_000, 5_001, 5_001), (5_000, 5_000, 5_000), (7_200, 1, 7_200),
            (7_201, 1, 7_200), (100, 7_200, 7_200),
        ] as [(UInt32, UInt32, Int64)])
    func `Nobody ends an address sooner than in two hours`(left: UInt32, received: UInt32, then: Int64) {
        var table = Self.table()
        _ = Self.receive(&table, valid: left)
        _ = Self.receive(&table, valid: received, preferred: 0)
        expect(table.addresses[0].validUntil, is: Self.at(then))
        // The preferred lifetime is taken as it is.
        expect(table.addresses[0].isDeprecated(at: .zero), is: true)
    }

    @Test func `An address is preferred, deprecated, and gone`() {
        var table = Self.table()
        _ = Self.receive(&table, valid: 100, preferred: 50)
        let address = table.addresses[0].address
        expect(table.nextDeadline(after: Self.at(0)), is: Self.at(50))
        expect(table.addresses[0].isDeprecated(at: Self.at(49)), is: false)
        expect(table.addresses[0].isDeprecated(at: Self.at(50)), is: true)
        expect(table.nextDeadline(after: Self.at(50)), is: Self.at(100))
        expect(table.nextExpired(at: Self.at(99)), is: nil)
        expect(table.nextExpired(at: Self.at(100)), is: address)
        expect(table.nextExpired(at: Self.at(100)), is: nil)
        expect(table.nextDeadline(after: Self.at(100)), is: .distantFuture)
    }

    @Test func `A lifetime of all ones is for ever, and can still be cut to two hours`() {
        var table = Self.table()
        _ = Self.receive(&table, valid: SLAAC.infinity)
        expect(table.nextExpired(at: Instant(nanoseconds: .max - 1)), is: nil)
        expect(table.nextDeadline(after: .zero), is: .distantFuture)
        _ = Self.receive(&table, valid: 1, at: 10)
        expect(table.addresses[0].validUntil, is: Self.at(10 + 7_200))
    }

    @Test func `A duplicate is replaced three times, and then given up`() {
        var table = Self.table()
        _ = Self.receive(&table, valid: 100)
        var seen: Set<IPv6Address> = [table.addresses[0].address]
        for _ in 0..<3 {
            let next = table.replaceDuplicate(table.addresses[0].address)
            if let next { seen.insert(next) }
        }
        #expect(seen.count == 4)
        expect(table.replaceDuplicate(.loopback), is: nil)
        expect(table.replaceDuplicate(table.addresses[0].address), is: nil)
        expect(table.addresses.count, is: 0)
    }

    // MARK: Identifiers

    @Test func `Identifiers depend on everything they are made of, and on nothing else`() {
        let other = StableInterfaceIdentifier(secret: SipHash.Key(1, 3))
        let all: Set<UInt64> = [
            Self.identifiers.identifier(prefix: 1, networkInterface: 1),
            other.identifier(prefix: 1, networkInterface: 1),
            Self.identifiers.identifier(prefix: 2, networkInterface: 1),
            Self.identifiers.identifier(prefix: 1, networkInterface: 2),
            Self.identifiers.identifier(prefix: 1, networkInterface: 1, network: 1),
            Self.identifiers.identifier(prefix: 1, networkInterface: 1, duplicates: 1),
        ]
        #expect(all.count == 6)
        #expect(all.contains(Self.identifiers.identifier(prefix: 1, networkInterface: 1)))
        let linkLocal = Self.table().linkLocalAddress()
        #expect(linkLocal.isLinkLocal && linkLocal.high == 0xfe80 << 48)
    }

    @Test(
        arguments: [
            (0, true), (1, false), (0xFDFF_FFFF_FFFF_FF7F, false), (0xFDFF_FFFF_FFFF_FF80, true),
            (0xFDFF_FFFF_FFFF_FFFF, true),
            (0xFE00_0000_0000_0000, false), (0x0200_5EFF_FE00_0000, true), (0x0200_5EFF_FEFF_FFFF, true),
            (0x0200_5EFF_FF00_0000, false),
        ] as [(UInt64, Bool)])
    func `Reserved identifiers are known`(identifier: UInt64, isReserved: Bool) {
        #expect(StableInterfaceIdentifier.isReserved(identifier) == isReserved)
    }

    // MARK: Solicitations

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `Solicitations come ever more seldom, never end, and stay within a tenth of an hour`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var schedule = RouterSolicitation(now: .zero, using: &random)
        #expect(schedule.deadline >= .zero && schedule.deadline <= Self.at(1))
        var last: Double = 0
        for number in 0..<30 {
            let now = schedule.deadline
            expect(schedule.isDue(at: now.advanced(byNanoseconds: -1), using: &random), is: false)
            expect(schedule.isDue(at: now, using: &random), is: true)
            expect(schedule.isDue(at: now, using: &random), is: false)
            let wait = Double(schedule.deadline.nanoseconds - now.nanoseconds) / 1e9
            if number == 0 {
                #expect(wait >= 3.6 && wait <= 4.4)
            } else if number < 8 {
                #expect(wait >= 1.9 * last - 0.001 && wait <= 2.1 * last + 0.001)
            }
            if number >= 12 { #expect(wait >= 3_240 && wait <= 3_960) }
            last = wait
        }
    }

    @Test func `A router that answers ends them, and one that is none does not`() {
        var random = SeededGenerator(seed: 1)
        var schedule = RouterSolicitation(now: .zero, using: &random)
        schedule.receiveRouterAdvertisement(lifetime: .zero)
        expect(schedule.isDue(at: Self.at(1), using: &random), is: true)
        schedule.receiveRouterAdvertisement(lifetime: .seconds(1800))
        expect(schedule.isDue(at: Instant(nanoseconds: .max - 1), using: &random), is: false)
    }
}
