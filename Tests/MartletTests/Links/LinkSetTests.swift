// Several links at once: whose turn it is, and the sleep until any of them has something.

import Glibc
import MartletStack
import Synchronization
import Testing

@testable import Martlet

@Suite struct LinkSetTests {
    @Test("links are numbered as they come, and each is itself")
    func numbers() {
        var links = LinkSet(capacity: 3)
        #expect(links.append(NullLink(name: "a")) == 0)
        #expect(links.append(NullLink(name: "b", frames: 0)) == 1)
        #expect(links.count == 2 && links.capacity == 3)
        #expect(links[0].name == "a" && links[1].name == "b")
        links[1].counters.received.frames = 7
        #expect(links[0].counters.received.frames == 0 && links[1].counters.received.frames == 7)
    }

    @Test("more links than there is room for, and a number that no link has, are mistakes of the program")
    func traps() async {
        await #expect(processExitsWith: .failure) {
            var links = LinkSet(capacity: 1)
            links.append(NullLink())
            links.append(NullLink())
        }
        await #expect(processExitsWith: .failure) {
            var links = LinkSet(capacity: 2)
            links.append(NullLink())
            _ = links[1].name
        }
    }

    @Test("a link that always has frames does not keep the others waiting")
    func turns() {
        let pool = FramePool(count: 64)
        var links = LinkSet(capacity: 4)
        for frames in [nil, 0, 3, nil] as [Int?] { links.append(NullLink(frames: frames)) }
        var burst = pool.makeBurst(capacity: 4)
        var order: [Int] = []
        for _ in 0..<7 {
            order.append(links.receive(into: &burst) ?? -1)
            burst.removeAll()
        }
        #expect(order == [0, 2, 3, 0, 3, 0, 3])
    }

    @Test("where no link has a frame there is none, and the sleep ends with its time")
    func nothing() {
        let pool = FramePool(count: 8)
        var links = LinkSet(capacity: 2)
        links.append(NullLink(frames: 0))
        links.append(MemoryLink.loopback(pool: pool))
        var burst = pool.makeBurst()
        #expect(links.receive(into: &burst) == nil)
        #expect(links.sleep(atMost: .milliseconds(1)) == false)
        #expect(links.sleep(atMost: .zero) == false)
    }

    @Test("the sleep ends at once if one link has frames or room, whichever is wished")
    func ready() {
        let pool = FramePool(count: 8)
        var links = LinkSet(capacity: 2)
        links.append(NullLink(frames: 0))
        links.append(MemoryLink.loopback(pool: pool, frames: 2))
        #expect(links.sleep(for: LinkWish(frames: 0, room: 2)) == true)
        var burst = pool.makeBurst()
        burst.appendNumbered(0..<2)
        #expect(links[1].transmit(&burst) == 2)
        #expect(links.sleep() == true)
        #expect(links.receive(into: &burst) == 1)
        #expect(burst.takeNumbers() == [0, 1])
    }

    @Test("room that another thread makes ends the sleep of who has none")
    func room() throws {
        let arena = try FrameArena(count: 64)
        let left = arena.makePool(share: 32)
        let right = arena.makePool()
        let pipe = MemoryLink.pipe(between: left, and: right, frames: 4)
        var links = LinkSet(capacity: 1)
        links.append(pipe.left)
        var burst = left.makeBurst()
        burst.appendNumbered(0..<4)
        #expect(links[0].transmit(&burst) == 4)
        #expect(links.sleep(for: LinkWish(frames: 0, room: 1), atMost: .zero) == false)
        let (other, pool, kept) = (Holder(pipe.right), Holder(right), Kept())
        startThread {
            var link = other.take()
            let pool = pool.take()
            var burst = pool.makeBurst(capacity: 2)
            _ = link.receive(into: &burst)
            burst.removeAll()
            // The end stays, so that it is its room that wakes, and not its leaving.
            kept.wait()
            _ = link.state
        }
        defer { kept.release() }
        #expect(links.sleep(for: LinkWish(frames: 0, room: 2), atMost: .seconds(30)) == true)
    }

    @Test("a frame that another thread transmits while the set goes to sleep ends the sleep, thousands of times")
    func wakes() throws {
        let arena = try FrameArena(count: 256)
        let left = arena.makePool(share: 128)
        let right = arena.makePool()
        let pipe = MemoryLink.pipe(between: left, and: right, frames: 64)
        let (near, far) = (Holder(pipe.left), Holder(pipe.right))
        let pool = Holder(right)
        var links = LinkSet(capacity: 3)
        for _ in 0..<2 { links.append(NullLink(frames: 0)) }
        links.append(near.take())
        let rounds = 2000
        startThread {
            let link = far.take()
            let pool = pool.take()
            var burst = pool.makeBurst()
            // An echo: the next frame comes when this thread has answered, at any point of the other's way to its sleep.
            var echoed = 0
            var own = LinkSet(capacity: 1)
            own.append(consume link)
            while echoed < rounds, own[0].state == .up {
                guard own[0].receive(into: &burst) > 0 else {
                    _ = own.sleep(atMost: .seconds(30))
                    continue
                }
                echoed += burst.count
                _ = own[0].transmit(&burst)
            }
            // The last answer is taken before this end goes.
            while own[0].state == .up { _ = own.sleep(atMost: .seconds(30)) }
        }
        var burst = left.makeBurst()
        for round in 0..<rounds {
            burst.appendNumbered(round..<round + 1)
            #expect(links[2].transmit(&burst) == 1)
            var back: [Int] = []
            while back.isEmpty {
                if links.receive(into: &burst) == nil {
                    try #require(links.sleep(atMost: .seconds(30)) == true, "round \(round)")
                }
                back = burst.takeNumbers()
            }
            #expect(back == [round])
        }
    }

    @Test("a link that a fault delays ends the sleep by its own time")
    func deadline() throws {
        let pool = FramePool(count: 8)
        var faults = LinkFaults()
        faults.delay = .milliseconds(2)
        var links = LinkSet(capacity: 1)
        links.append(FaultLink(MemoryLink.loopback(pool: pool), receive: faults, seed: 1, pool: pool))
        var burst = pool.makeBurst()
        burst.appendNumbered(5..<6)
        #expect(links[0].transmit(&burst) == 1)
        for _ in 0..<1000 where burst.isEmpty {
            if links.receive(into: &burst) == nil { #expect(links.sleep(atMost: .seconds(30)) == true) }
        }
        #expect(burst.takeNumbers() == [5])
    }

    @Test("the set is gone when the last of its links is, and that ends the sleep")
    func gone() {
        let pool = FramePool(count: 8)
        let first = MemoryLink.pipe("a", pool: pool)
        let second = MemoryLink.pipe("b", pool: pool)
        var links = LinkSet(capacity: 2)
        links.append(first.left)
        links.append(second.left)
        #expect(links.isGone == false)
        var others = LinkSet(capacity: 2)
        others.append(first.right)
        do {
            var last = LinkSet(capacity: 1)
            last.append(second.right)
            #expect(links.sleep(atMost: .zero) == false)
        }
        #expect(links.sleep() == true, "one of them is at its end")
        #expect(links.isGone == false)
        others = LinkSet(capacity: 1)
        #expect(links.isGone == true)
    }
}

/// What one thread waits for until another lets it go.
private final class Kept: @unchecked Sendable {
    private var semaphore = sem_t()

    init() { unsafe sem_init(&semaphore, 0, 0) }
    func wait() { while unsafe sem_wait(&semaphore) != 0 {} }
    func release() { unsafe sem_post(&semaphore) }
}
