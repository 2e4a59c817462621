// The timer wheel: its promises one by one, and then all of them at random against a model.

import MartletStack
import Testing

@Suite struct TimerWheelTests {
    static let tick: Int64 = 1_024
    /// The width of a slot at each level: 64 of one level make one of the next.
    static let slotWidths: [Int64] = (0..<9).map { level in tick << (6 * Int64(level)) }

    static func armed(_ deadlines: [Int64], now: Int64 = 0) -> TimerWheel {
        var wheel = TimerWheel(capacity: deadlines.count, now: Instant(nanoseconds: now))
        for (timer, deadline) in deadlines.enumerated() {
            wheel.arm(Int32(timer), at: Instant(nanoseconds: deadline))
        }
        return wheel
    }

    // MARK: Expiry

    @Test(arguments: slotWidths)
    func `A timer expires at its deadline and not a nanosecond before, on every level`(width: Int64) {
        for deadline in [width - 1, width, width + 1, 63 * (width / 64) + 5, width + width / 2 + 3] where deadline > 1 {
            var wheel = Self.armed([deadline])
            let before = wheel.popped(at: deadline - 1)
            let after = wheel.popped(at: deadline)
            #expect(before == [], "deadline \(deadline)")
            #expect(after == [0], "deadline \(deadline)")
        }
    }

    @Test(arguments: slotWidths)
    func `A timer just past a boundary of a level expires on time from just before it`(width: Int64) {
        var wheel = Self.armed([width * 5 + 1], now: width * 5 - 1)
        let before = wheel.popped(at: width * 5)
        let after = wheel.popped(at: width * 5 + 1)
        #expect(before == [])
        #expect(after == [0])
    }

    @Test func `Timers come out in the order of their deadlines, whatever the jump`() {
        let deadlines = Self.slotWidths.flatMap { [$0 * 3, $0 * 2, $0 * 20] }
        let byDeadline = deadlines.indices.sorted { deadlines[$0] < deadlines[$1] }.map(Int32.init)
        var wheel = Self.armed(deadlines)
        let popped = wheel.popped(at: .max)
        #expect(popped == byDeadline)
    }

    @Test func `A timer armed for the past or the present expires in the next advance`() {
        var wheel = Self.armed([900, 1_000, .min], now: 1_000)
        let withoutAdvance = wheel.popExpired()
        #expect(withoutAdvance == nil)
        let popped = wheel.popped(at: 1_000)
        #expect(popped == [0, 1, 2])
    }

    @Test func `Arming again at once while draining does not make the drain endless`() {
        var wheel = Self.armed([10, 20])
        wheel.advance(to: Instant(nanoseconds: 50))
        var pops = 0
        while let timer = wheel.popExpired(), pops < 10 {
            wheel.arm(timer, at: wheel.now)
            pops += 1
        }
        #expect(pops == 2)
        let again = wheel.popped(at: 50)
        #expect(again == [0, 1])
    }

    @Test func `Time does not go back`() {
        var wheel = Self.armed([2_000, 5_000], now: 1_000)
        let first = wheel.popped(at: 3_000)
        let second = wheel.popped(at: 10)
        let now = wheel.now
        #expect(first == [0])
        #expect(second == [])
        #expect(now == Instant(nanoseconds: 3_000))
    }

    @Test func `A wheel works over the whole range of instants`() {
        var wheel = Self.armed([.min + 1, -1, 0, .max - 1, .max], now: .min)
        #expect(wheel.popped(at: -2) == [0])
        #expect(wheel.popped(at: -1) == [1])
        #expect(wheel.popped(at: .max - 2) == [2])
        #expect(wheel.popped(at: .max - 1) == [3])
        #expect(wheel.popped(at: .max) == [4])
    }

    // MARK: Cancelling and arming again

    @Test func `A cancelled timer is not popped, even if it had expired`() {
        var wheel = Self.armed([10, 10, 5_000])
        wheel.advance(to: Instant(nanoseconds: 10))
        wheel.cancel(0)
        wheel.cancel(2)
        wheel.cancel(2)
        let popped = wheel.popped(at: 10_000)
        let count = wheel.count
        #expect(popped == [1])
        #expect(count == 0)
    }

    @Test func `A timer that expired can be armed again before it is popped`() {
        var wheel = Self.armed([10])
        wheel.advance(to: Instant(nanoseconds: 10))
        wheel.arm(0, at: Instant(nanoseconds: 700_000))
        #expect(wheel.popped(at: 699_999) == [])
        #expect(wheel.popped(at: 700_000) == [0])
    }

    @Test func `Arming an armed timer moves it, within its slot and away from it`() {
        var wheel = Self.armed([200_000_000, 300_000_000])
        wheel.arm(0, at: Instant(nanoseconds: 200_000_700))
        wheel.arm(1, at: Instant(nanoseconds: 50))
        let count = wheel.count
        #expect(count == 2)
        #expect(wheel.popped(at: 50) == [1])
        #expect(wheel.popped(at: 200_000_699) == [])
        #expect(wheel.popped(at: 200_000_700) == [0])
    }

    // MARK: The next deadline

    @Test(arguments: slotWidths)
    func `The next deadline is exact for a few timers, on every level`(width: Int64) {
        let deadlines = (0..<8).map { width + (width / 8) * $0 + 3 }
        let wheel = Self.armed(deadlines.reversed())
        let next = wheel.nextDeadline
        #expect(next == Instant(nanoseconds: deadlines[0]))
    }

    @Test(arguments: slotWidths)
    func `A core that sleeps until the next deadline wakes at most eight times for nothing`(width: Int64) throws {
        let deadline = (width - 1) / 3 * 64 + 1_000_000
        var wheel = Self.armed(Array(repeating: deadline, count: 100))
        var wakes = 0
        while let next = wheel.nextDeadline, next.nanoseconds < deadline / 1_024 * 1_024 {
            #expect(next > wheel.now)
            wheel.advance(to: next)
            wakes += 1
            try #require(wakes <= 8)
        }
        let none = wheel.popExpired()
        #expect(none == nil)
        #expect(wheel.popped(at: deadline).count == 100)
    }

    @Test func `The next deadline is now while there is something to do now`() {
        var wheel = Self.armed([500, 2_000], now: 1_000)
        #expect(wheel.nextDeadline == Instant(nanoseconds: 1_000))
        wheel.advance(to: Instant(nanoseconds: 1_500))
        #expect(wheel.nextDeadline == Instant(nanoseconds: 1_500))
        _ = wheel.popExpired()
        #expect(wheel.nextDeadline == Instant(nanoseconds: 2_000))
        wheel.cancel(1)
        #expect(wheel.nextDeadline == nil)
    }

    // MARK: Capacity

    @Test func `Growing keeps what is armed, has expired or is due, and makes room`() {
        var wheel = Self.armed([10, 80_000, -5])
        wheel.advance(to: Instant(nanoseconds: 10))
        wheel.arm(2, at: .zero)
        wheel.grow(to: 5_000)
        wheel.grow(to: 7)
        let capacity = wheel.capacity
        #expect(capacity == 5_000)
        wheel.arm(4_999, at: Instant(nanoseconds: 70_000))
        #expect(wheel.popped(at: 100_000) == [0, 2, 4_999, 1])
    }

    @Test func `The first and the last index work, and those never armed are not armed`() {
        var wheel = TimerWheel(capacity: 10_000_000, now: .zero)
        let untouched = wheel.isArmed(9_999_999)
        #expect(!untouched)
        wheel.cancel(9_999_999)
        wheel.arm(1_000, at: Instant(nanoseconds: 1))
        wheel.arm(0, at: Instant(nanoseconds: 2_000))
        let below = wheel.deadline(of: 999)
        #expect(below == nil)
        wheel.cancel(999)
        #expect(wheel.popped(at: 2_000) == [1_000, 0])
    }

    @Test func `A wheel without timers has nothing to do`() {
        var wheel = TimerWheel(capacity: 0, now: .zero)
        #expect(wheel.nextDeadline == nil)
        #expect(wheel.popped(at: .max) == [])
        wheel.grow(to: 1)
        wheel.arm(0, at: .zero)
        #expect(wheel.popped(at: 0) == [0])
    }

    @Test(arguments: [Int32(-1), 4, .max, .min])
    func `An index out of range traps`(timer: Int32) async {
        await #expect(processExitsWith: .failure) { [timer] in
            var wheel = TimerWheel(capacity: 4, now: .zero)
            wheel.arm(timer, at: .zero)
        }
        await #expect(processExitsWith: .failure) { [timer] in
            var wheel = TimerWheel(capacity: 4, now: .zero)
            wheel.cancel(timer)
        }
    }

    // MARK: At random

    /// Deadlines and jumps of every magnitude up to 2^`magnitude` ns, from a few nanoseconds to years.
    @Test(arguments: UInt64(1)...40, [14, 24, 40, 60])
    func `A wheel does what the model does`(seed: UInt64, magnitude: Int) throws {
        var random = SeededGenerator(seed: seed)
        let start = Instant(nanoseconds: Int64(bitPattern: random.next()) >> 2)
        var capacity = Int32.random(in: 1...80, using: &random)
        var pair = TimerWheelPair(capacity: Int(capacity), now: start, seed: seed)
        for _ in 0..<600 {
            let timer = Int32.random(in: 0..<capacity, using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<50:
                let delay = random.anyMagnitude(below: magnitude)
                try pair.arm(timer, at: pair.model.now.advanced(byNanoseconds: delay))
            case 50..<55:
                // Upon a boundary of some level, or beside it.
                let width = try #require(Self.slotWidths.randomElement(using: &random))
                let boundary = (pair.model.now.nanoseconds / width + .random(in: 0...2, using: &random)) &* width
                try pair.arm(timer, at: Instant(nanoseconds: boundary + .random(in: -1...1, using: &random)))
            case 55..<58:
                try pair.arm(timer, at: pair.model.now.advanced(byNanoseconds: -random.anyMagnitude(below: magnitude)))
            case 58..<70:
                try pair.cancel(timer)
            case 70..<80:
                try pair.advance(to: pair.model.now.advanced(byNanoseconds: random.anyMagnitude(below: magnitude)))
                try pair.drain()
            case 80..<88:
                // Exactly to the next deadline, or just before it.
                if let earliest = pair.model.earliestDeadline {
                    try pair.advance(to: earliest.advanced(byNanoseconds: .random(in: -1...0, using: &random)))
                }
            case 88..<98:
                try pair.drain(limit: .random(in: 0...3, using: &random))
            default:
                capacity += Int32.random(in: 0...4, using: &random)
                pair.wheel.grow(to: Int(capacity))
            }
        }
        try pair.advance(to: .distantFuture)
        try pair.drain()
        let count = pair.wheel.count
        #expect(count == 0, "seed \(seed)")
    }
}

extension TimerWheel {
    /// Advances to an instant and pops all that has expired by then.
    fileprivate mutating func popped(at nanoseconds: Int64) -> [Int32] {
        advance(to: Instant(nanoseconds: nanoseconds))
        var timers: [Int32] = []
        while let timer = popExpired() { timers.append(timer) }
        return timers
    }
}
