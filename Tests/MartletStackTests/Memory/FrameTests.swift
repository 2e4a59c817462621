import Testing

@testable import MartletStack

@Suite struct FrameTests {
    @Test("a frame that is dropped goes back to its pool, and the last one back is the next one out")
    func lifo() {
        let pool = FramePool(count: 3, capacity: 256)
        do {
            let frame = pool.take()!
            #expect(pool.freeCount == 2)
            #expect(frame.length == 0)
        }
        #expect(pool.freeCount == 3)
        var frame = pool.take()!
        frame.setLength(1)
        var bytes = frame.mutableBytes
        bytes.store(UInt8(42), at: 0)
        release(frame)
        var again = pool.take()!
        again.setLength(1)
        #expect(again.bytes.byte(at: 0) == 42)
    }

    private func release(_ frame: consuming Frame) {}

    @Test("an exhausted pool gives nothing, and recovers")
    func exhausted() {
        let pool = FramePool(count: 2, capacity: 256)
        let first = pool.take()
        do {
            let second = pool.take()
            let isTaken = first != nil && second != nil
            #expect(isTaken)
            let isExhausted = pool.take() == nil
            #expect(isExhausted)
        }
        #expect(pool.freeCount == 1)
    }

    @Test("prepending and removing move the first byte, and the bytes stay where they are")
    func edges() {
        let pool = FramePool(count: 1, capacity: 256, headroom: 64)
        var frame = pool.take()!
        #expect(frame.headroom == 64)
        #expect(frame.tailroom == 192)
        frame.setLength(10)
        do {
            var bytes = frame.mutableBytes
            for index in 0..<10 { bytes.store(UInt8(index), at: index) }
        }
        frame.prepend(4)
        do {
            var bytes = frame.mutableBytes
            bytes.store(0xdead_beef as UInt32, at: 0)
        }
        #expect(frame.length == 14)
        #expect(frame.bytes.uint32(at: 0) == 0xdead_beef)
        #expect(frame.bytes.byte(at: 4) == 0)
        #expect(frame.bytes.byte(at: 13) == 9)
        frame.removeFirst(6)
        #expect(frame.bytes.uint16(at: 0) == 0x0203)
        frame.setLength(0)
        let isEmpty = frame.bytes.isEmpty
        #expect(isEmpty)
        frame.prepend(frame.headroom)
        #expect(frame.headroom == 0)
        frame.setLength(256)
        #expect(frame.tailroom == 0)
    }

    @Test("a burst keeps its frames in order, and gives back what is left in it")
    func burst() {
        let pool = FramePool(count: 100, capacity: 256)
        do {
            var burst = pool.makeBurst()
            for index in 0..<Burst.defaultCapacity {
                var frame = burst.takeFrame()!
                frame.setLength(index)
                burst.append(frame)
            }
            let isFull = burst.isFull
            #expect(isFull)
            #expect(burst.count == 64)
            for index in 0..<10 {
                let frame = burst.popFirst()!
                #expect(frame.length == index)
            }
            #expect(burst.count == 54)
            #expect(pool.freeCount == 46)
        }
        #expect(pool.freeCount == 100)
    }

    @Test("a burst that was emptied has all its room again")
    func burstAgain() {
        let pool = FramePool(count: 64, capacity: 256)
        var burst = pool.makeBurst()
        for _ in 0..<3 {
            while !burst.isFull { burst.append(burst.takeFrame()!) }
            let isExhausted = burst.takeFrame() == nil
            #expect(isExhausted)
            while let frame = burst.popFirst() { #expect(frame.length == 0) }
            let isEmpty = burst.isEmpty
            #expect(isEmpty && pool.freeCount == 64)
        }
    }

    @Test("a pool that goes away before its frames says how many are out")
    func leak() async {
        await #expect(processExitsWith: .failure) {
            let frame: Frame?
            do {
                let pool = FramePool(count: 2, capacity: 256)
                frame = pool.take()
            }
            _ = frame?.length
        }
    }
}
