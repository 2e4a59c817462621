import Martlet
import MartletStack
import Testing

@Suite(.serialized) struct OpenLinkTests {
    /// Runs `body` with a runtime of one core, on that core.
    private func onCore(
        _ driver: DriverChoice, limits: Limits = Limits(), _ body: @escaping @Sendable (Runtime) async throws -> Void
    ) async throws {
        var configuration = Runtime.Configuration.test(driver)
        configuration.limits = limits
        try await Runtime.run(configuration) { runtime in
            try await runtime.forEachCore { _ in try await body(runtime) }
        }
    }

    @Test("a burst that is there comes at once, and one that is not when it is transmitted", arguments: everyDriver)
    func bursts(_ driver: DriverChoice) async throws {
        try await onCore(driver) { runtime in
            try await runtime.withLink(.memory("a")) { left in
                try await runtime.withLink(.memory("a")) { right in
                    var burst = left.makeBurst()
                    burst.appendNumbered(0..<3)
                    #expect(left.transmit(burst) == 3)
                    var first = try await right.nextBurst()!
                    #expect(first.takeNumbers() == [0, 1, 2])
                    async let later: [Int] = {
                        var burst = try await right.nextBurst()!
                        return burst.takeNumbers()
                    }()
                    await Task.yield()
                    var second = left.makeBurst()
                    second.appendNumbered(3..<4)
                    left.transmit(second)
                    #expect(try await later == [3])
                }
            }
        }
    }

    @Test("between two cores frames are swapped, sleep by sleep", arguments: everyDriver)
    func cores(_ driver: DriverChoice) async throws {
        try await Runtime.run(.test(driver, cores: 2)) { runtime in
            let (left, right) = (runtime.cores[0], runtime.cores[1])
            async let echoed: Void = right.withLink(.memory("b")) { link in
                while let burst = try await link.nextBurst() { link.transmit(burst) }
            }
            try await left.withLink(.memory("b")) { link in
                for round in 0..<200 {
                    var burst = link.makeBurst()
                    burst.appendNumbered(round * 10..<round * 10 + 10)
                    #expect(link.transmit(burst) == 10)
                    var back: [Int] = []
                    while back.count < 10 {
                        var some = try await link.nextBurst(within: .seconds(30))!
                        back += some.takeNumbers()
                    }
                    #expect(back == Array(round * 10..<round * 10 + 10))
                }
            }
            try await echoed
        }
    }

    @Test("the end of a pipe whose other end is closed gives what was under way, and then nil", arguments: everyDriver)
    func gone(_ driver: DriverChoice) async throws {
        try await onCore(driver) { runtime in
            try await runtime.withLink(.memory("c")) { right in
                async let ended: [Int] = {
                    var numbers: [Int] = []
                    while var burst = try await right.nextBurst() { numbers += burst.takeNumbers() }
                    return numbers
                }()
                await Task.yield()
                try await runtime.withLink(.memory("c")) { left in
                    var burst = left.makeBurst()
                    burst.appendNumbered(0..<5)
                    left.transmit(burst)
                }
                #expect(try await ended == [0, 1, 2, 3, 4])
                #expect(right.state == .gone)
            }
        }
    }

    @Test("an end that nobody has come for is gone when its other end is closed", arguments: everyDriver)
    func abandoned(_ driver: DriverChoice) async throws {
        try await onCore(driver) { runtime in
            for _ in 0..<3 {
                try await runtime.withLink(.memory("d")) { link in
                    var burst = link.makeBurst()
                    burst.appendNumbered(0..<5)
                    #expect(link.transmit(burst) == 5)
                }
            }
            try await runtime.withLink(.memory("d")) { link in
                await #expect(throws: LinkError.deadlineExceeded) {
                    _ = try await link.nextBurst(within: .milliseconds(1))
                }
                #expect(link.makeBurst().freeFrames == 4096, "what lay in the rings came back")
            }
        }
    }

    @Test("waiting ends by cancellation and by the deadline, and no frame is lost", arguments: everyDriver)
    func ends(_ driver: DriverChoice) async throws {
        try await onCore(driver) { runtime in
            try await runtime.withLink(.memory("e")) { left in
                try await runtime.withLink(.memory("e")) { right in
                    await #expect(throws: LinkError.deadlineExceeded) {
                        _ = try await right.nextBurst(within: .milliseconds(2))
                    }
                    let waiting = Task.immediate(executorPreference: nil) {
                        _ = try await right.nextBurst()
                    }
                    waiting.cancel()
                    await #expect(throws: LinkError.cancelled) { try await waiting.value }
                    var burst = left.makeBurst()
                    burst.appendNumbered(0..<2)
                    left.transmit(burst)
                    var received = try await right.nextBurst()!
                    #expect(received.takeNumbers() == [0, 1])
                }
            }
        }
    }

    @Test("a wish for several frames is met when they are there, or by what the deadline finds", arguments: everyDriver)
    func atLeast(_ driver: DriverChoice) async throws {
        try await onCore(driver) { runtime in
            try await runtime.withLink(.memory("f")) { left in
                try await runtime.withLink(.memory("f")) { right in
                    async let three: [Int] = {
                        var burst = try await right.nextBurst(atLeast: 3)!
                        return burst.takeNumbers()
                    }()
                    for number in 0..<3 {
                        await Task.yield()
                        var burst = left.makeBurst()
                        burst.appendNumbered(number..<number + 1)
                        left.transmit(burst)
                    }
                    #expect(try await three == [0, 1, 2])
                    var burst = left.makeBurst()
                    burst.appendNumbered(9..<10)
                    left.transmit(burst)
                    var late = try await right.nextBurst(atLeast: 3, within: .milliseconds(2))!
                    #expect(late.takeNumbers() == [9])
                }
            }
        }
    }

    @Test("a core with no free frames waits until some are back", arguments: everyDriver)
    func arenaEmpty(_ driver: DriverChoice) async throws {
        var limits = Limits()
        limits.framesPerCore = 64
        try await onCore(driver, limits: limits) { runtime in
            try await runtime.withLink(.null()) { link in
                let all = try await link.nextBurst()!
                #expect(all.count == 64)
                await #expect(throws: LinkError.deadlineExceeded) {
                    _ = try await link.nextBurst(within: .milliseconds(5))
                }
                async let next: Int = {
                    let burst = try await link.nextBurst()!
                    return burst.count
                }()
                await Task.yield()
                link.transmit(all)
                #expect(try await next == 64)
            }
        }
    }

    @Test(
        "a link that always has frames leaves the core to other tasks too, and can be cancelled", arguments: everyDriver
    )
    func fairness(_ driver: DriverChoice) async throws {
        try await onCore(driver) { runtime in
            try await runtime.withLink(.null()) { link in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        do throws(LinkError) {
                            while let burst = try await link.nextBurst() { link.transmit(burst) }
                        } catch .cancelled {}
                    }
                    for _ in 0..<10 { await Task.yield() }
                    group.cancelAll()
                    try await group.waitForAll()
                }
                #expect(link.counters.received.frames > 0)
                #expect(link.counters.received.frames == link.counters.transmitted.frames)
            }
        }
    }

    @Test("a link that cannot be opened says why")
    func errors() async throws {
        #expect(throws: LinkError.self) { _ = try LinkName("pigeon:a") }
        #expect(throws: LinkError.self) { _ = try LinkName("memory:") }
        #expect(throws: LinkError.self) { _ = try LinkName("xdp:eth0/x") }
        #expect(try LinkName("xdp:eth0/3") == .xdp("eth0", queue: 3))
        #expect(try LinkName("tap:tap0").description == "tap:tap0")
        _ = try await Runtime.run(.test(.automatic)) { runtime in
            await #expect(throws: LinkError.queueInUse(link: "mine")) {
                try await runtime.withLink(opening: { _ throws(LinkError) -> NullLink in
                    throw LinkError.queueInUse(link: "mine")
                }) { _ in }
            }
        }
    }
}
