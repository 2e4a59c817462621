import Martlet
import MartletStack
import Testing

@Suite struct RingViewTests {
    /// Writes a number into the next slots of a transmit ring.
    private func transmit(_ link: inout MemoryLink, _ numbers: Range<Int>) {
        link.withTransmitRing { ring in
            for number in numbers {
                ring.withSlot(ring.head) { frame in
                    frame.setLength(64)
                    frame.writeEthernet(to: 2, from: 1, number)
                }
                ring.advance(to: ring.head + 1)
            }
        }
    }

    private func receive(_ link: inout MemoryLink) -> [Int] {
        link.withReceiveRing { ring in
            var numbers: [Int] = []
            while ring.count > 0 {
                numbers.append(ring.withSlot(ring.head) { $0.number }!)
                ring.advance(to: ring.head + 1)
            }
            return numbers
        }
    }

    @Test("slots are filled, read and filled again, and the pool is asked for each buffer once")
    func laps() {
        let pool = FramePool(count: 16, capacity: 256)
        do {
            let pipe = MemoryLink.pipe(pool: pool, frames: 4, keepsBuffers: true)
            var left = pipe.left
            var right = pipe.right
            #expect(left.withTransmitRing { ($0.count, $0.size) } == (4, 4))
            #expect(right.withReceiveRing { $0.count } == 0)
            for round in 0..<10 {
                transmit(&left, round * 3..<round * 3 + 3)
                #expect(left.withTransmitRing { $0.count } == 1)
                #expect(receive(&right) == Array(round * 3..<round * 3 + 3))
                #expect(pool.freeCount == 16 - min(4, (round + 1) * 3))
            }
            #expect(right.counters.received.frames == 30 && left.counters.transmitted.frames == 30)
        }
        #expect(pool.freeCount == 16)
    }

    @Test("both ways of using a ring can be mixed")
    func mixed() {
        let pool = FramePool(count: 32, capacity: 256)
        let pipe = MemoryLink.pipe(pool: pool, frames: 4, keepsBuffers: true)
        var left = pipe.left
        var right = pipe.right
        var burst = pool.makeBurst()
        transmit(&left, 0..<2)
        #expect(right.receive(into: &burst) == 2)
        #expect(burst.takeNumbers() == [0, 1])
        burst.appendNumbered(2..<6)
        #expect(left.transmit(&burst) == 4)
        #expect(receive(&right) == [2, 3, 4, 5])
    }

    @Test("buffers are swapped from ring to ring, and nothing is copied")
    func swaps() {
        let pool = FramePool(count: 16, capacity: 256)
        let first = MemoryLink.pipe("first", pool: pool, frames: 4, keepsBuffers: true)
        let second = MemoryLink.pipe("second", pool: pool, frames: 4, keepsBuffers: true)
        let (source, near) = (Handed(first.left), Handed(first.right))
        let (far, sink) = (Handed(second.left), Handed(second.right))
        for round in 0..<6 {
            transmit(&source.value!, round * 2..<round * 2 + 2)
            let moved = near.value!.withReceiveRing { incoming in
                far.value!.withTransmitRing { outgoing in
                    let count = min(incoming.count, outgoing.count)
                    for _ in 0..<count {
                        incoming.withSlot(incoming.head) { received in
                            outgoing.withSlot(outgoing.head) { swap(&$0, &received) }
                        }
                        incoming.advance(to: incoming.head + 1)
                        outgoing.advance(to: outgoing.head + 1)
                    }
                    return count
                }
            }
            #expect(moved == 2)
            #expect(receive(&sink.value!) == [round * 2, round * 2 + 1])
        }
        #expect(pool.freeCount == 8, "each ring that was used has four")
        _ = (source, near, far, sink)
    }

    @Test("a spare buffer takes the place of one that a program keeps")
    func spare() {
        let pool = FramePool(count: 16, capacity: 256)
        let pipe = MemoryLink.pipe(pool: pool, frames: 4, keepsBuffers: true)
        var left = pipe.left
        var right = pipe.right
        transmit(&left, 5..<6)
        var kept = pool.take()!
        right.withReceiveRing { ring in
            ring.withSlot(ring.head) { swap(&$0, &kept) }
            ring.advance(to: ring.head + 1)
        }
        transmit(&left, 6..<10)
        #expect(kept.number == 5)
        #expect(receive(&right) == [6, 7, 8, 9])
    }

    @Test("cur is how far the tail is to come: the program keeps what it has and waits for more")
    func cur() {
        let pool = FramePool(count: 16, capacity: 256)
        let pipe = MemoryLink.pipe(pool: pool, frames: 8, keepsBuffers: true)
        var left = pipe.left
        var right = pipe.right
        transmit(&left, 0..<2)
        let wish = right.withReceiveRing { ring in
            ring.cur = ring.head + 3
            return ring.wish
        }
        #expect(wish == LinkWish(frames: 4))
        let sleep = right.prepareToSleep(for: wish)
        #expect(!sleep.isReady)
        transmit(&left, 2..<3)
        #expect(!isReadable(sleep.descriptor))
        transmit(&left, 3..<4)
        #expect(isReadable(sleep.descriptor))
        right.wokeUp()
        #expect(receive(&right) == [0, 1, 2, 3])
        let room = left.withTransmitRing { ring in
            ring.cur = ring.head + 1
            return ring.wish
        }
        #expect(room == LinkWish(frames: 0, room: 2))
    }

    @Test("a slot of the other side's is not to be had")
    func bounds() async {
        await #expect(processExitsWith: .failure) {
            let pool = FramePool(count: 16, capacity: 256)
            let pipe = MemoryLink.pipe(pool: pool, frames: 8, keepsBuffers: true)
            var right = pipe.right
            _ = right.withReceiveRing { ring in ring.withSlot(ring.tail) { $0.length } }
        }
    }

    @Test("a ring whose pool is empty gives no slot, and goes on when there are frames again")
    func exhausted() {
        let pool = FramePool(count: 2, capacity: 256)
        let pipe = MemoryLink.pipe(pool: pool, frames: 4, keepsBuffers: true)
        var left = pipe.left
        var hoard = pool.makeBurst()
        hoard.appendFrames(2, length: 14)
        #expect(left.withTransmitRing { ring in ring.withSlot(ring.head) { $0.headroom } } == nil)
        hoard.removeAll()
        #expect(left.withTransmitRing { ring in ring.withSlot(ring.head) { $0.headroom } } == 128)
    }

    @Test("a monitor sees what waits, once, and counts what it came too late for", arguments: [false, true])
    func monitor(keepsBuffers: Bool) {
        let pool = FramePool(count: 32, capacity: 256)
        let pipe = MemoryLink.pipe(pool: pool, frames: 8, keepsBuffers: keepsBuffers)
        var left = pipe.left
        var right = pipe.right
        var monitor = RingMonitor()
        var burst = pool.makeBurst()
        func seen() -> [Int] {
            var numbers: [Int] = []
            right.look(&monitor) { numbers.append(Int($0.uint32(at: 14))) }
            return numbers
        }
        burst.appendNumbered(0..<3)
        _ = left.transmit(&burst)
        #expect(seen() == [0, 1, 2])
        #expect(seen() == [])
        #expect(right.receive(into: &burst) == 3)
        #expect(burst.takeNumbers() == [0, 1, 2])
        burst.appendNumbered(3..<5)
        _ = left.transmit(&burst)
        _ = right.receive(into: &burst)
        burst.removeAll()
        burst.appendNumbered(5..<6)
        _ = left.transmit(&burst)
        #expect(seen() == [5])
        #expect(monitor.missed == 2)
        _ = right.receive(into: &burst)
        #expect(burst.takeNumbers() == [5])
    }
}
