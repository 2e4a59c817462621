import Martlet
import MartletStack
import Testing

@Suite struct FaultLinkTests {
    /// Sends numbered frames through faults that a loopback's receiving side has, and returns what comes within a time.
    private func pass(_ count: Int, _ faults: LinkFaults, seed: UInt64 = 7, after: Duration = .zero) -> [Int] {
        let pool = FramePool(count: 1024, capacity: 256)
        let clock = HandClock()
        var link = FaultLink(
            MemoryLink.loopback(pool: pool), receive: faults, seed: seed, pool: pool, clock: { clock.now })
        var burst = pool.makeBurst(capacity: 512)
        burst.appendNumbered(0..<count)
        _ = link.transmit(&burst)
        _ = link.receive(into: &burst)
        clock.advance(after)
        _ = link.receive(into: &burst)
        return burst.takeNumbers()
    }

    @Test("without faults everything passes in order")
    func none() { #expect(pass(300, LinkFaults()) == Array(0..<300)) }

    @Test("what is lost is counted, and goes back to its pool")
    func loss() {
        let pool = FramePool(count: 100, capacity: 256)
        var faults = LinkFaults()
        faults.loss = 1
        var link = FaultLink(
            MemoryLink.loopback(pool: pool), receive: faults, transmit: LinkFaults(), seed: 1, pool: pool,
            clock: { 0 })
        var burst = pool.makeBurst()
        burst.appendNumbered(0..<50)
        #expect(link.transmit(&burst) == 50)
        #expect(link.receive(into: &burst) == 0)
        #expect(link.counters.received.drops[.fault] == 50 && pool.freeCount == 100)
        link.receiveFaults.loss = 0
        link.transmitFaults.loss = 1
        burst.appendNumbered(0..<50)
        #expect(link.transmit(&burst) == 50)
        #expect(link.counters.transmitted.drops[.fault] == 50 && pool.freeCount == 100)
    }

    @Test("a share of frames is lost that fits its chance, the same for the same seed and another for another")
    func seeds() {
        var faults = LinkFaults()
        faults.loss = 0.3
        let first = pass(500, faults, seed: 11)
        #expect((300...400).contains(first.count))
        #expect(first == pass(500, faults, seed: 11))
        #expect(first != pass(500, faults, seed: 12))
    }

    @Test("a frame that is held comes when it is due, and the core is told when that is")
    func delay() {
        let pool = FramePool(count: 100, capacity: 256)
        let clock = HandClock()
        var faults = LinkFaults()
        faults.delay = .milliseconds(5)
        var link = FaultLink(
            MemoryLink.loopback(pool: pool), receive: faults, seed: 1, pool: pool, clock: { clock.now })
        var burst = pool.makeBurst()
        burst.appendNumbered(0..<3)
        _ = link.transmit(&burst)
        #expect(link.receive(into: &burst) == 0)
        let sleep = link.prepareToSleep(for: LinkWish())
        #expect(!sleep.isReady && sleep.deadline == clock.now + 5_000_000)
        link.wokeUp()
        clock.advance(.microseconds(4999))
        #expect(link.receive(into: &burst) == 0)
        clock.advance(.microseconds(1))
        #expect(link.receive(into: &burst) == 3)
        #expect(burst.takeNumbers() == [0, 1, 2])
        #expect(link.prepareToSleep(for: LinkWish()).deadline == .max)
        link.wokeUp()
    }

    @Test("frames that are held while they are transmitted leave when they are due, without another call of transmit")
    func delayedTransmit() {
        let pool = FramePool(count: 100, capacity: 256)
        let clock = HandClock()
        var faults = LinkFaults()
        faults.delay = .milliseconds(5)
        let pipe = MemoryLink.pipe(pool: pool, frames: 4)
        var right = pipe.right
        var link = FaultLink(pipe.left, transmit: faults, seed: 1, pool: pool, clock: { clock.now })
        var burst = pool.makeBurst()
        burst.appendNumbered(0..<6)
        #expect(link.transmit(&burst) == 6)
        clock.advance(.milliseconds(5))
        #expect(right.receive(into: &burst) == 0)
        _ = link.reclaim()
        #expect(right.receive(into: &burst) == 4, "the ring has no room for more")
        _ = link.receive(into: &burst)
        #expect(right.receive(into: &burst) == 2)
        #expect(burst.takeNumbers() == Array(0..<6))
    }

    @Test("frames that are reordered are overtaken, and all of them come")
    func reordering() {
        var faults = LinkFaults()
        faults.reordering = 0.2
        let numbers = pass(200, faults, after: .milliseconds(2))
        #expect(numbers != Array(0..<200) && numbers.sorted() == Array(0..<200))
        var jitter = LinkFaults()
        jitter.jitter = .milliseconds(1)
        let jittered = pass(200, jitter, after: .milliseconds(2))
        #expect(jittered != Array(0..<200) && jittered.sorted() == Array(0..<200))
    }

    @Test("a frame that is duplicated comes twice, with the same bytes")
    func duplication() {
        var faults = LinkFaults()
        faults.duplication = 1
        #expect(pass(20, faults) == (0..<20).flatMap { [$0, $0] })
    }

    @Test("a frame that is corrupted differs in one bit")
    func corruption() {
        let pool = FramePool(count: 100, capacity: 256)
        var faults = LinkFaults()
        faults.corruption = 1
        var link = FaultLink(MemoryLink.loopback(pool: pool), receive: faults, seed: 3, pool: pool, clock: { 0 })
        var burst = pool.makeBurst()
        var reference = pool.take()!
        reference.setLength(64)
        for _ in 0..<30 {
            burst.appendFrames(1, length: 64)
            burst.changeEach { frame in
                var bytes = frame.mutableBytes
                for offset in stride(from: 0, to: 64, by: 8) {
                    bytes.store(0x5555_5555_5555_5555 as UInt64, at: offset)
                }
            }
            _ = link.transmit(&burst)
            #expect(link.receive(into: &burst) == 1)
            let frame = burst.popFirst()!
            let differing = (0..<64).reduce(0) { $0 + (frame.bytes.byte(at: $1) ^ 0x55).nonzeroBitCount }
            #expect(differing == 1)
        }
    }

    @Test("when no more can be held, no more is taken, and nothing of it is lost")
    func full() {
        let pool = FramePool(count: 600, capacity: 256)
        let clock = HandClock()
        var faults = LinkFaults()
        faults.delay = .seconds(1)
        do {
            var link = FaultLink(
                MemoryLink.loopback(pool: pool), transmit: faults, seed: 1, pool: pool, heldFrames: 256,
                clock: { clock.now })
            var burst = pool.makeBurst(capacity: 512)
            burst.appendNumbered(0..<400)
            let taken = link.transmit(&burst)
            #expect(taken > 128 && taken <= 256 && burst.count == 400 - taken)
            clock.advance(.seconds(1))
            burst.removeAll()
            #expect(link.receive(into: &burst) == taken)
            #expect(burst.takeNumbers() == Array(0..<taken))
            burst.appendNumbered(0..<10)
            _ = link.transmit(&burst)
        }
        #expect(pool.freeCount == 600, "held frames go back with the link")
    }

    @Test("while frames wait for room in the link behind, a sleep ends when there is some")
    func sleepsForRoom() {
        let pool = FramePool(count: 600, capacity: 256)
        var link = FaultLink(NarrowLink(8), seed: 1, pool: pool)
        var burst = pool.makeBurst()
        burst.appendNumbered(0..<20)
        #expect(link.transmit(&burst) == 20)
        let wish = LinkWish(frames: 1, room: 0)
        #expect(link.prepareToSleep(for: wish).deadline == 1, "the link behind was asked to wait for room")
        for _ in 0..<2 {
            link.wokeUp()
            _ = link.reclaim()
        }
        #expect(link.prepareToSleep(for: wish).deadline == .max, "nothing waits any more")
    }
}

/// A link that takes a few frames between two sleeps, and says as its deadline for how many it was asked to have room.
private struct NarrowLink: Link, ~Copyable {
    private let room: Int
    private var left: Int
    let name = "narrow"
    let properties = LinkProperties()
    let state = LinkState.up
    var counters = LinkCounters()

    init(_ room: Int) { (self.room, left) = (room, room) }

    mutating func receive(into burst: inout Burst) -> Int { 0 }

    mutating func transmit(_ burst: inout Burst) -> Int {
        var taken = 0
        while left > 0, let frame = burst.popFirst() {
            _ = frame.length
            taken += 1
            left -= 1
        }
        return taken
    }

    mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        LinkSleep(descriptor: -1, deadline: wish.room > 0 ? Int64(wish.room) : .max)
    }

    mutating func wokeUp() { left = room }
}
