// RFC 5227's schedule and its defence, and DAD, by the instants at which they speak.

import Testing

@testable import MartletStack

@Suite struct AddressConflictTests {
    static let second: Int64 = 1_000_000_000

    /// Runs a claim until it has no more to say; lists actions with the nanoseconds between them.
    static func run(_ claim: inout AddressConflict, seed: UInt64) -> [(AddressConflict.Action, Int64)] {
        var random = SeededGenerator(seed: seed)
        var list: [(AddressConflict.Action, Int64)] = []
        var now: Int64 = 0
        while claim.deadline < .distantFuture, list.count < 20 {
            let deadline = claim.deadline
            let early = claim.nextAction(at: deadline.advanced(byNanoseconds: -1), using: &random)
            #expect(early == nil)
            guard let action = claim.nextAction(at: deadline, using: &random) else { break }
            list.append((action, deadline.nanoseconds - now))
            now = deadline.nanoseconds
        }
        return list
    }

    static func settled(neverYields: Bool = false) -> AddressConflict {
        var random = SeededGenerator(seed: 1)
        var claim = AddressConflict(ipv4ClaimAfter: 0, neverYields: neverYields, now: .zero, using: &random)
        _ = run(&claim, seed: 1)
        return claim
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func `IPv4 probes three times, then assigns, and announces twice`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var claim = AddressConflict(ipv4ClaimAfter: 9, now: .zero, using: &random)
        #expect(!claim.isAssigned)
        let list = Self.run(&claim, seed: seed)
        #expect(list.map(\.0) == [.probe, .probe, .probe, .assign, .announce, .announce])
        let second = Self.second
        #expect(list[0].1 >= 0 && list[0].1 <= second)
        for index in 1...2 { #expect(list[index].1 >= second && list[index].1 <= 2 * second) }
        #expect(list[3...].map(\.1) == [2 * second, 0, 2 * second])
        #expect(claim.phase == .settled && claim.isAssigned)
    }

    @Test func `Waits are random, and a link of many conflicts is tried once a minute`() {
        var random = SeededGenerator(seed: 6)
        let waits = (0..<20).map { _ in AddressConflict(ipv4ClaimAfter: 0, now: .zero, using: &random).deadline }
        #expect(Set(waits).count > 10)
        let late = AddressConflict(ipv4ClaimAfter: 10, now: .zero, using: &random).deadline
        #expect(late.nanoseconds >= 60 * Self.second && late.nanoseconds <= 61 * Self.second)
    }

    @Test(arguments: [AddressConflict.Evidence.use, .probe], [true, false])
    func `Any sign of another while probing loses the address, for good`(
        evidence: AddressConflict.Evidence, isIPv4: Bool
    ) {
        for steps in 0..<(isIPv4 ? 4 : 2) {
            var random = SeededGenerator(seed: 2)
            var claim =
                isIPv4
                ? AddressConflict(ipv4ClaimAfter: 0, now: .zero, using: &random)
                : AddressConflict(now: .zero, using: &random)
            for _ in 0..<steps { _ = claim.nextAction(at: claim.deadline, using: &random) }
            expect(claim.receive(evidence, at: claim.deadline), is: .lost)
            #expect(!claim.isAssigned)
            expect(claim.nextAction(at: .distantFuture, using: &random), is: nil)
            expect(claim.receive(evidence, at: .zero), is: .ignored)
        }
    }

    @Test func `An address in use is defended once in ten seconds, and then given up`() {
        var claim = Self.settled()
        func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * Self.second) }
        expect(claim.receive(.probe, at: at(100)), is: .ignored)
        expect(claim.receive(.use, at: at(100)), is: .defend)
        expect(claim.receive(.use, at: at(110)), is: .defend)
        expect(claim.receive(.probe, at: at(111)), is: .ignored)
        expect(claim.receive(.use, at: at(119)), is: .lost)
        #expect(!claim.isAssigned)
    }

    @Test func `An address that never yields is announced once in ten seconds`() {
        var claim = Self.settled(neverYields: true)
        var defences = 0
        for step in 0..<100 where claim.receive(.use, at: Instant(nanoseconds: Int64(step) * Self.second)) == .defend {
            defences += 1
        }
        #expect(defences == 10)
        #expect(claim.isAssigned)
    }

    @Test(arguments: [0, 1, 3] as [UInt8])
    func `IPv6 solicits as often as it is told, and then assigns`(transmits: UInt8) {
        var random = SeededGenerator(seed: 3)
        var claim = AddressConflict(
            ipv6Transmits: transmits, retransTimer: .seconds(3), now: .zero, using: &random)
        let list = Self.run(&claim, seed: 3)
        #expect(list.map(\.0) == Array(repeating: .probe, count: Int(transmits)) + [.assign])
        #expect(list[0].1 <= Self.second)
        for (_, wait) in list.dropFirst() { #expect(wait == 3 * Self.second) }
        expect(claim.receive(.use, at: .zero), is: .ignored)
        #expect(claim.isAssigned)
    }
}
