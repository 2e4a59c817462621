// Deadlines of connections against a plain list of them.

import Testing

@testable import MartletStack

@Suite struct ConnectionTimersTests {
    @Test(
        "timers armed, moved and cancelled at random expire when they are due, each once, and no others",
        arguments: 0..<8 as Range<UInt64>)
    func random(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let connections = 8
        var timers = ConnectionTimers(connections: connections, now: .zero)
        let kinds = TCPTimer.allCases.count
        var model = [Instant](repeating: .distantFuture, count: connections * kinds)
        var now = Instant.zero
        for turn in 0..<4000 {
            let slot = UInt32.random(in: 0..<UInt32(connections), using: &random)
            let kind = TCPTimer.allCases.randomElement(using: &random)!
            let number = Int(slot) * kinds + Int(kind.rawValue)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                let reach: Int64 = Bool.random(using: &random) ? 2_000 : 5_000_000_000
                let deadline = now.advanced(byNanoseconds: Int64.random(in: -100...reach, using: &random))
                timers.arm(kind, of: slot, at: deadline)
                model[number] = deadline
            case 5:
                timers.cancel(kind, of: slot)
                model[number] = .distantFuture
            case 6:
                timers.cancelAll(of: slot)
                for kind in 0..<kinds { model[Int(slot) * kinds + kind] = .distantFuture }
            default:
                let earliest = model.min()!
                let next = timers.nextDeadline ?? .distantFuture
                #expect(next <= max(earliest, now), "seed \(seed), turn \(turn)")
                let step = now.advanced(byNanoseconds: Int64.random(in: 0...3_000_000, using: &random))
                now = Bool.random(using: &random) && next != .distantFuture ? max(now, next) : step
                timers.advance(to: now)
                var popped = Set<Int>()
                while let (slot, kind) = timers.popExpired() {
                    let number = Int(slot) * kinds + Int(kind.rawValue)
                    #expect(model[number] <= now, "seed \(seed), turn \(turn): too early, or cancelled")
                    #expect(popped.insert(number).inserted, "seed \(seed), turn \(turn): twice")
                    model[number] = .distantFuture
                }
                #expect(model.allSatisfy { $0 > now }, "seed \(seed), turn \(turn): too late")
            }
            #expect(timers.isArmed(kind, of: slot) == (model[number] != .distantFuture))
        }
    }

    @Test("a timer that arms itself for the past expires again in the next advance, not for ever in this one")
    func past() {
        var timers = ConnectionTimers(connections: 1, now: .zero)
        timers.arm(.slow, of: 0, at: .zero)
        timers.arm(.retransmit, of: 0, at: .zero)
        for _ in 0..<3 {
            timers.advance(to: .zero)
            var count = 0
            while let (slot, kind) = timers.popExpired() {
                timers.arm(kind, of: slot, at: .zero)
                count += 1
                if count > 10 { break }
            }
            #expect(count == 2)
        }
    }

    @Test(
        "a deadline that moves away is not met early, and one that is cancelled leaves nothing to wake for in the end")
    func moving() {
        var timers = ConnectionTimers(connections: 1, now: .zero)
        for millisecond in 1...500 as ClosedRange<Int64> {
            timers.arm(.retransmit, of: 0, at: Instant(nanoseconds: (millisecond + 200) * 1_000_000))
            timers.advance(to: Instant(nanoseconds: millisecond * 1_000_000))
            #expect(timers.popExpired() == nil)
        }
        timers.cancel(.retransmit, of: 0)
        var wakes = 0
        while let next = timers.nextDeadline, wakes < 20 {
            timers.advance(to: next)
            #expect(timers.popExpired() == nil)
            wakes += 1
        }
        #expect(wakes < 20)
    }
}
