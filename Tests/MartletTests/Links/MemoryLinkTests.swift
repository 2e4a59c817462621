import Glibc
import Martlet
import MartletStack
import Testing

@Suite struct NullLinkTests {
    @Test("a source gives as many frames as was said, and then none")
    func source() {
        let pool = FramePool(count: 100)
        var link = NullLink(frameLength: 100, frames: 70)
        var burst = pool.makeBurst()
        #expect(link.receive(into: &burst) == 64)
        #expect(link.receive(into: &burst) == 0, "the burst is full")
        burst.removeAll()
        #expect(link.prepareToSleep(for: LinkWish()) == .ready)
        #expect(link.receive(into: &burst) == 6 && burst.byteCount == 600)
        #expect(link.receive(into: &burst) == 0)
        #expect(link.prepareToSleep(for: LinkWish()).descriptor == -1)
        #expect(!link.prepareToSleep(for: LinkWish()).isReady)
        #expect(link.counters.received.frames == 70 && link.counters.received.bytes == 7000)
    }

    @Test("a sink takes everything and gives the frames back to their pool")
    func sink() {
        let pool = FramePool(count: 10)
        var link = AnyLink(NullLink(frames: 0))
        var burst = pool.makeBurst()
        burst.appendFrames(10, length: 60)
        #expect(link.transmit(&burst) == 10)
        let isEmpty = burst.isEmpty
        #expect(isEmpty && pool.freeCount == 10)
        #expect(link.counters.transmitted.frames == 10 && link.counters.transmitted.bytes == 600)
        link.counters = LinkCounters()
        #expect(link.counters.transmitted.frames == 0)
    }

    @Test("a source whose pool is empty gives nothing, and goes on when frames are back")
    func arenaEmpty() {
        let pool = FramePool(count: 3)
        var link = NullLink()
        var burst = pool.makeBurst()
        #expect(link.receive(into: &burst) == 3)
        #expect(link.receive(into: &burst) == 0)
        burst.removeAll()
        #expect(link.receive(into: &burst) == 3)
    }
}

@Suite struct MemoryLinkTests {
    @Test("frames come out at the other end in their order, and nothing is copied")
    func order() {
        let pool = FramePool(count: 300)
        let pipe = MemoryLink.pipe(pool: pool, frames: 8)
        var left = pipe.left
        var right = pipe.right
        var burst = pool.makeBurst()
        var other = pool.makeBurst(capacity: 3)
        for round in 0..<20 {
            burst.appendNumbered(round * 5..<round * 5 + 5)
            #expect(left.transmit(&burst) == 5)
            #expect(right.receive(into: &other) == 3)
            #expect(other.takeNumbers() == Array(round * 5..<round * 5 + 3))
            #expect(right.receive(into: &other) == 2)
            #expect(other.takeNumbers() == Array(round * 5 + 3..<round * 5 + 5))
            #expect(right.receive(into: &other) == 0)
        }
        #expect(left.counters.transmitted.frames == 100 && right.counters.received.frames == 100)
        #expect(left.counters.transmitted.bytes == 6400 && right.counters.received.bytes == 6400)
        #expect(pool.freeCount == 300)
    }

    @Test("both ways are apart")
    func bothWays() {
        let pool = FramePool(count: 10)
        let pipe = MemoryLink.pipe(pool: pool)
        var left = pipe.left
        var right = pipe.right
        var burst = pool.makeBurst()
        burst.appendNumbered(1..<2)
        _ = left.transmit(&burst)
        burst.appendNumbered(2..<3)
        _ = right.transmit(&burst)
        #expect(left.receive(into: &burst) == 1)
        #expect(burst.takeNumbers() == [2])
        #expect(right.receive(into: &burst) == 1)
        #expect(burst.takeNumbers() == [1])
    }

    @Test("a full ring takes what fits; the rest stays, or is dropped and counted")
    func ringFull() {
        let pool = FramePool(count: 40)
        let pipe = MemoryLink.pipe(pool: pool, frames: 16)
        var left = pipe.left
        var right = pipe.right
        var burst = pool.makeBurst()
        burst.appendNumbered(0..<20)
        #expect(left.transmit(&burst) == 16)
        #expect(burst.count == 4 && left.transmit(&burst) == 0)
        #expect(left.counters.transmitted.drops.total == 0)
        #expect(left.transmitOrDrop(&burst) == 0)
        #expect(left.counters.transmitted.drops[.ringFull] == 4)
        let isEmpty = burst.isEmpty
        #expect(isEmpty && pool.freeCount == 24)
        #expect(right.receive(into: &burst) == 16)
        #expect(burst.takeNumbers() == Array(0..<16))
    }

    @Test("an end that is dropped leaves the other one gone, with what was under way")
    func gone() {
        let pool = FramePool(count: 10)
        var burst = pool.makeBurst()
        do {
            var right: MemoryLink
            do {
                let pipe = MemoryLink.pipe(pool: pool)
                var left: MemoryLink
                left = pipe.left
                right = pipe.right
                burst.appendNumbered(0..<3)
                _ = left.transmit(&burst)
                burst.appendNumbered(7..<9)
                _ = right.transmit(&burst)
                #expect(right.state == .up)
            }
            #expect(right.state == .gone)
            #expect(right.receive(into: &burst) == 3)
            #expect(burst.takeNumbers() == [0, 1, 2])
            burst.appendNumbered(0..<2)
            #expect(right.transmit(&burst) == 2)
            #expect(right.counters.transmitted.drops[.linkDown] == 2)
            #expect(right.prepareToSleep(for: LinkWish()).isReady, "nothing would wake it")
            right.wokeUp()
            #expect(pool.freeCount == 8, "two that nobody received are in the ring still")
        }
        #expect(pool.freeCount == 10)
    }

    @Test("the mark wakes when so many frames are there, and not before")
    func mark() {
        let pool = FramePool(count: 10)
        let pipe = MemoryLink.pipe(pool: pool, frames: 8)
        var left = pipe.left
        var right = pipe.right
        var burst = pool.makeBurst()
        let sleep = right.prepareToSleep(for: LinkWish(frames: 3))
        #expect(!sleep.isReady && sleep.descriptor >= 0)
        for number in 0..<3 {
            #expect(!isReadable(sleep.descriptor))
            burst.appendNumbered(number..<number + 1)
            _ = left.transmit(&burst)
        }
        #expect(isReadable(sleep.descriptor))
        right.wokeUp()
        #expect(!isReadable(sleep.descriptor))
        #expect(right.prepareToSleep(for: LinkWish(frames: 3)).isReady)
        right.wokeUp()
        #expect(!right.prepareToSleep(for: LinkWish(frames: 4)).isReady)
        right.wokeUp()
        // A wish for more than the ring holds is one for all that it holds.
        burst.appendNumbered(3..<8)
        _ = left.transmit(&burst)
        #expect(right.prepareToSleep(for: LinkWish(frames: 100)).isReady)
        right.wokeUp()
    }

    @Test("who waits for room is woken when there is so much")
    func room() {
        let pool = FramePool(count: 10)
        let pipe = MemoryLink.pipe(pool: pool, frames: 4)
        var left = pipe.left
        var right = pipe.right
        var burst = pool.makeBurst()
        #expect(left.prepareToSleep(for: LinkWish(frames: 0, room: 4)).isReady)
        left.wokeUp()
        burst.appendNumbered(0..<4)
        _ = left.transmit(&burst)
        let sleep = left.prepareToSleep(for: LinkWish(frames: 0, room: 2))
        #expect(!sleep.isReady)
        var one = pool.makeBurst(capacity: 1)
        _ = right.receive(into: &one)
        #expect(!isReadable(sleep.descriptor))
        one.removeAll()
        _ = right.receive(into: &one)
        #expect(isReadable(sleep.descriptor))
        left.wokeUp()
    }

    @Test("a dropped end wakes the other")
    func goneWakes() {
        let pool = FramePool(count: 10)
        var right: MemoryLink
        let sleep: LinkSleep
        do {
            let pipe = MemoryLink.pipe(pool: pool)
            let left: MemoryLink
            left = pipe.left
            right = pipe.right
            sleep = right.prepareToSleep(for: LinkWish())
            #expect(!sleep.isReady && !isReadable(sleep.descriptor))
            _ = left.name
        }
        #expect(isReadable(sleep.descriptor))
        right.wokeUp()
    }

    @Test("a link that receives what it transmits")
    func loopback() {
        let pool = FramePool(count: 10)
        do {
            var link = MemoryLink.loopback(pool: pool)
            var burst = pool.makeBurst()
            burst.appendNumbered(0..<5)
            _ = link.transmit(&burst)
            burst.appendNumbered(5..<7)
            _ = link.transmit(&burst)
            #expect(link.receive(into: &burst) == 7)
            #expect(link.transmit(&burst) == 7)
        }
        #expect(pool.freeCount == 10)
    }
}

@Suite struct SharedPipeTests {
    @Test("each end keeps as many frames as its pool had, however many pass one way")
    func swaps() throws {
        let arena = try FrameArena(count: 64, capacity: 256, pages: .plain)
        let leftPool = arena.makePool(share: 32)
        let rightPool = arena.makePool()
        do {
            let pipe = MemoryLink.pipe(between: leftPool, and: rightPool, frames: 8)
            var left = pipe.left
            var right = pipe.right
            var there = leftPool.makeBurst(capacity: 8)
            var here = rightPool.makeBurst(capacity: 8)
            for round in 0..<100 {
                there.appendNumbered(round * 6..<round * 6 + 6)
                #expect(left.transmit(&there) == 6)
                #expect(right.receive(into: &here) == 6)
                #expect(here.takeNumbers() == Array(round * 6..<round * 6 + 6))
            }
            #expect(leftPool.freeCount == 24, "the ring has eight")
            #expect(rightPool.freeCount == 32)
        }
        #expect(leftPool.freeCount + rightPool.freeCount == 64, "the last end gives the ring's back")
    }

    @Test("a pool with no free frames receives nothing until it has some, and no frame is lost")
    func arenaEmpty() throws {
        let arena = try FrameArena(count: 36, capacity: 256, pages: .plain)
        let leftPool = arena.makePool(share: 32)
        let rightPool = arena.makePool()
        let pipe = MemoryLink.pipe(between: leftPool, and: rightPool, frames: 16)
        var left = pipe.left
        var right = pipe.right
        var there = leftPool.makeBurst()
        var here = rightPool.makeBurst()
        there.appendNumbered(0..<10)
        _ = left.transmit(&there)
        #expect(right.receive(into: &here) == 4)
        #expect(right.receive(into: &here) == 0)
        #expect(here.takeNumbers() == [0, 1, 2, 3])
        #expect(right.receive(into: &here) == 4)
        #expect(here.takeNumbers() == [4, 5, 6, 7])
        #expect(right.receive(into: &here) == 2)
        #expect(here.takeNumbers() == [8, 9])
    }

    @Test("between two threads that sleep whenever they can, every frame arrives once, whole and in order")
    func threads() async throws {
        let arena = try FrameArena(count: 512, capacity: 256, pages: .plain)
        let pools = (Handed(arena.makePool(share: 256)), Handed(arena.makePool()))
        let pipe = MemoryLink.pipe(between: pools.0.value!, and: pools.1.value!, frames: 64)
        let left = pipe.left
        let right = pipe.right
        let ends = (Handed(left), Handed(right))
        let count = 200_000
        async let produced: Bool = onThread {
            let pool = pools.0.value.take()!
            var link = ends.0.value.take()!
            var burst = pool.makeBurst(capacity: 32)
            var next = 0
            while next < count || !burst.isEmpty {
                let wanted = min(burst.room, count - next, burst.freeFrames)
                burst.appendNumbered(next..<next + wanted)
                next += wanted
                if link.transmit(&burst) > 0 { continue }
                let sleep = link.prepareToSleep(for: LinkWish(frames: 0, room: 16))
                if !sleep.isReady { guard isReadable(sleep.descriptor, within: 30_000) else { return false } }
                link.wokeUp()
            }
            return true
        }
        async let received: Int = onThread {
            let pool = pools.1.value.take()!
            var link = ends.1.value.take()!
            var burst = pool.makeBurst(capacity: 48)
            var next = 0
            while next < count {
                if link.receive(into: &burst) == 0 {
                    let sleep = link.prepareToSleep(for: LinkWish(frames: min(8, count - next)))
                    if !sleep.isReady { guard isReadable(sleep.descriptor, within: 30_000) else { return next } }
                    link.wokeUp()
                }
                while let frame = burst.popFirst() {
                    guard frame.length == 64, frame.number == next else { return -next }
                    next += 1
                }
            }
            return next
        }
        #expect(try await received == count)
        #expect(try await produced)
    }
}

/// What a closure of a thread takes along.
final class Handed<Value: ~Copyable>: @unchecked Sendable {
    var value: Value?

    init(_ value: consuming Value) { self.value = .some(value) }
}

@Suite struct FrameArenaTests {
    @Test("an arena says what it became, and plain pages are always to be had", arguments: [false, true])
    func plain(locked: Bool) throws {
        let pool = try FramePool.mapped(count: 16, capacity: 256, pages: .plain, locked: locked)
        #expect(pool.memory.pages == .plain)
        #expect(!pool.memory.isLocked || locked)
        var burst = pool.makeBurst()
        burst.appendNumbered(0..<16)
        #expect(burst.takeNumbers() == Array(0..<16))
    }

    @Test("huge pages are used, or what is next best, and never fail")
    func huge() throws {
        let pool = try FramePool.mapped(count: 2048, capacity: 2048, pages: .huge, locked: false)
        #expect([.huge, .transparentHuge].contains(pool.memory.pages))
        let address = unsafe UInt(bitPattern: pool.arena)
        #expect(address % (2 << 20) == 0)
        var burst = pool.makeBurst(capacity: 2048)
        burst.appendNumbered(0..<2048)
        #expect(burst.takeNumbers() == Array(0..<2048))
    }

    @Test("memory that there cannot be is an error that says so")
    func tooMuch() {
        #expect(throws: LinkError.outOfMemory(bytes: 1 << 57)) {
            _ = try FrameArena(count: 1 << 30, capacity: 1 << 27)
        }
    }

    @Test("an arena lives until the last pool and burst of it are gone")
    func lives() throws {
        weak var seen: FrameArena?
        do {
            let burst: Burst
            do {
                let arena = try FrameArena(count: 8, capacity: 256, pages: .plain)
                seen = arena
                let pool = arena.makePool()
                burst = pool.makeBurst()
            }
            let free = burst.freeFrames
            #expect(seen != nil && free == 8)
        }
        #expect(seen == nil)
    }
}
