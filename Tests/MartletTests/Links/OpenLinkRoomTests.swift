// Waiting for room to transmit, alone and beside a task that waits for frames on the same link.

import Martlet
import MartletStack
import Testing

@Suite(.serialized) struct OpenLinkRoomTests {
    /// Frames that a pipe's end takes before it is full.
    private static let ring = 1024

    /// Runs `body` with both ends of a pipe, the left one's ring full, on one core.
    private func onFullPipe(
        _ driver: DriverChoice, _ body: @escaping @Sendable (_ left: OpenLink, _ right: OpenLink) async throws -> Void
    ) async throws {
        try await Runtime.run(.test(driver)) { runtime in
            try await runtime.forEachCore { _ in
                try await runtime.withLink(.memory("r")) { left in
                    try await runtime.withLink(.memory("r")) { right in
                        try await left.room(for: Self.ring)
                        #expect(Self.fill(left) == Self.ring)
                        try await body(left, right)
                    }
                }
            }
        }
    }

    private static func fill(_ link: OpenLink) -> Int {
        var sum = 0
        while true {
            var burst = link.makeBurst()
            burst.appendNumbered(sum..<sum + 64)
            let taken = link.transmit(whatFits: &burst)
            sum += taken
            if taken < 64 { return sum }
        }
    }

    /// Takes a burst of 64 out at the other end.
    private static func take(_ link: OpenLink) async throws {
        var burst = try await link.nextBurst()!
        #expect(burst.count == 64)
        burst.removeAll()
    }

    private static func send(_ number: Int, on link: OpenLink) {
        var burst = link.makeBurst()
        burst.appendNumbered(number..<number + 1)
        #expect(link.transmit(burst) == 1)
    }

    @Test(
        "room is waited for until the other end has made so much, and what is there is not waited for",
        arguments: everyDriver)
    func waits(_ driver: DriverChoice) async throws {
        try await onFullPipe(driver) { left, right in
            let steps = Log<String>()
            let waiting = Task.immediate(executorPreference: nil) {
                try await left.room(for: 100)
                steps.append("room")
            }
            for _ in 0..<2 {
                for _ in 0..<5 { await Task.yield() }
                steps.append("taken")
                try await Self.take(right)
            }
            try await waiting.value
            #expect(steps.entries == ["taken", "taken", "room"])
            try await left.room(for: 100)
            #expect(Self.fill(left) == 128)
        }
    }

    @Test("waiting for room ends by the deadline and by cancellation, and can be begun again", arguments: everyDriver)
    func ends(_ driver: DriverChoice) async throws {
        try await onFullPipe(driver) { left, right in
            await #expect(throws: LinkError.deadlineExceeded) { try await left.room(within: .zero) }
            await #expect(throws: LinkError.deadlineExceeded) { try await left.room(within: .milliseconds(2)) }
            let waiting = Task.immediate(executorPreference: nil) { try await left.room() }
            waiting.cancel()
            await #expect(throws: LinkError.cancelled) { try await waiting.value }
            async let again: Void = left.room(within: .seconds(30))
            await Task.yield()
            try await Self.take(right)
            try await again
        }
    }

    @Test("an end whose other end goes has nobody to make room for it", arguments: everyDriver)
    func gone(_ driver: DriverChoice) async throws {
        try await Runtime.run(.test(driver)) { runtime in
            try await runtime.forEachCore { _ in
                try await runtime.withLink(.memory("g")) { left in
                    let waiting = try await runtime.withLink(.memory("g")) { right in
                        #expect(Self.fill(left) == Self.ring)
                        return Task.immediate(executorPreference: nil) { try await left.room() }
                    }
                    await #expect(throws: LinkError.gone(link: "memory:g")) { try await waiting.value }
                    await #expect(throws: LinkError.gone(link: "memory:g")) { try await left.room() }
                }
            }
        }
    }

    @Test(
        "one task waits for room and another for frames, whoever comes first, and each has what it waits for",
        arguments: everyDriver, [false, true])
    func besideReceiving(_ driver: DriverChoice, framesFirst: Bool) async throws {
        try await onFullPipe(driver) { left, right in
            let steps = Log<String>()
            let receive: @Sendable () async throws -> Void = {
                var burst = try await left.nextBurst()!
                steps.append("frame \(burst.takeNumbers())")
            }
            let room: @Sendable () async throws -> Void = {
                try await left.room(for: 10)
                steps.append("room")
            }
            for round in 0..<20 {
                let first = Task.immediate(executorPreference: nil) {
                    if framesFirst { try await receive() } else { try await room() }
                }
                let second = Task.immediate(executorPreference: nil) {
                    if framesFirst { try await room() } else { try await receive() }
                }
                for _ in 0..<3 { await Task.yield() }
                #expect(steps.count == 2 * round)
                // The one that is served goes on, and the other waits on.
                if round % 2 == 0 {
                    Self.send(round, on: right)
                    for _ in 0..<100_000 where steps.count == 2 * round { await Task.yield() }
                    for _ in 0..<3 { await Task.yield() }
                    #expect(steps.entries[(2 * round)...] == ["frame [\(round)]"])
                    try await Self.take(right)
                } else {
                    try await Self.take(right)
                    for _ in 0..<100_000 where steps.count == 2 * round { await Task.yield() }
                    for _ in 0..<3 { await Task.yield() }
                    #expect(steps.entries[(2 * round)...] == ["room"])
                    Self.send(round, on: right)
                }
                try await first.value
                try await second.value
                #expect(Self.fill(left) == 64)
            }
        }
    }

    @Test(
        "one of two that wait is cancelled, and the other is served all the same", arguments: everyDriver, [0, 1, 2, 3])
    func cancelled(_ driver: DriverChoice, which: Int) async throws {
        let (framesFirst, cancelsFirst) = (which & 1 == 0, which & 2 == 0)
        try await onFullPipe(driver) { left, right in
            let receive: @Sendable () async throws -> Void = { _ = try await left.nextBurst() }
            let room: @Sendable () async throws -> Void = { try await left.room(for: 10) }
            let first = Task.immediate(executorPreference: nil) {
                if framesFirst { try await receive() } else { try await room() }
            }
            let second = Task.immediate(executorPreference: nil) {
                if framesFirst { try await room() } else { try await receive() }
            }
            for _ in 0..<3 { await Task.yield() }
            let (ended, other) = cancelsFirst ? (first, second) : (second, first)
            ended.cancel()
            await #expect(throws: LinkError.cancelled) { try await ended.value }
            Self.send(1, on: right)
            try await Self.take(right)
            try await other.value
        }
    }

    @Test("a transmitter that waits for room loses nothing, between two cores", arguments: everyDriver)
    func backPressure(_ driver: DriverChoice) async throws {
        let total = 20_000
        try await Runtime.run(.test(driver, cores: 2)) { runtime in
            async let received: [Int] = runtime.cores[1].withLink(.memory("p")) { link in
                var numbers: [Int] = []
                while var burst = try await link.nextBurst() { numbers += burst.takeNumbers() }
                return numbers
            }
            try await runtime.cores[0].withLink(.memory("p")) { link in
                var next = 0
                var burst = link.makeBurst()
                while next < total || !burst.isEmpty {
                    let count = min(burst.room, total - next, burst.freeFrames)
                    burst.appendNumbered(next..<next + count)
                    next += count
                    try await link.room(within: .seconds(30))
                    link.transmit(whatFits: &burst)
                }
                #expect(link.counters.transmitted.drops.total == 0)
            }
            #expect(try await received == Array(0..<total))
        }
    }
}
