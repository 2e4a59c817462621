import Testing

@testable import MartletStack

@Suite struct BurstTests {
    /// Frames whose lengths say which they are.
    private func fill(_ burst: inout Burst, _ lengths: Range<Int>) {
        for length in lengths {
            var frame = burst.takeFrame()!
            frame.setLength(length)
            burst.append(frame)
        }
    }

    private func lengths(_ burst: inout Burst) -> [Int] {
        var lengths: [Int] = []
        burst.changeEach { lengths.append($0.length) }
        return lengths
    }

    @Test("a burst has room for as many frames as was said", arguments: [1, 8, 256, 512])
    func capacity(_ capacity: Int) {
        let pool = FramePool(count: 600, capacity: 256)
        var burst = pool.makeBurst(capacity: capacity)
        #expect(burst.appendFrames(.max, length: 60) == capacity)
        let isFull = burst.isFull
        #expect(isFull && burst.room == 0 && burst.byteCount == 60 * capacity)
        #expect(burst.appendFrames(1, length: 60) == 0)
        #expect(pool.freeCount == 600 - capacity)
        burst.removeAll()
        #expect(burst.room == capacity && pool.freeCount == 600)
    }

    @Test("an appended frame more than a burst has room for traps")
    func overfull() async {
        await #expect(processExitsWith: .failure) {
            let pool = FramePool(count: 2, capacity: 256)
            var burst = pool.makeBurst(capacity: 1)
            burst.append(pool.take()!)
            burst.append(pool.take()!)
        }
    }

    @Test("room in front of the first frame is room, and the order stays")
    func room() {
        let pool = FramePool(count: 20, capacity: 256)
        var burst = pool.makeBurst(capacity: 8)
        fill(&burst, 0..<8)
        burst.removeFirst(3)
        #expect(burst.room == 3)
        fill(&burst, 8..<11)
        let isFull = burst.isFull
        #expect(isFull)
        #expect(lengths(&burst) == Array(3..<11))
        #expect(pool.freeCount == 12)
    }

    @Test("frames are taken as far as the pool has some")
    func exhausted() {
        let pool = FramePool(count: 5, capacity: 256)
        var burst = pool.makeBurst()
        #expect(burst.appendFrames(10, length: 14) == 5)
        #expect(burst.appendFrames(1, length: 14) == 0)
        let isNone = burst.takeFrame() == nil
        #expect(isNone)
    }

    @Test("frames move to another burst in their order, as far as there is room")
    func move() {
        let pool = FramePool(count: 20, capacity: 256)
        var from = pool.makeBurst()
        var to = pool.makeBurst(capacity: 4)
        fill(&from, 0..<6)
        #expect(to.moveFrames(from: &from) == 4)
        #expect(lengths(&to) == [0, 1, 2, 3] && lengths(&from) == [4, 5])
        to.removeFirst(1)
        #expect(to.moveFrames(from: &from) == 1)
        #expect(lengths(&to) == [1, 2, 3, 4] && lengths(&from) == [5])
        #expect(pool.freeCount == 15)
    }

    @Test("frames of another pool are copied, and one that is too long stays", arguments: [1, 3])
    func copy(_ long: Int) {
        let large = FramePool(count: 8, capacity: 2048)
        let small = FramePool(count: 8, capacity: 512)
        var from = large.makeBurst()
        for index in 0..<4 {
            var frame = from.takeFrame()!
            frame.setLength(index == long ? 1000 : 10 + index)
            frame.mark = UInt16(index)
            var bytes = frame.mutableBytes
            bytes.store(UInt16(index), at: 4)
            from.append(frame)
        }
        var to = small.makeBurst()
        #expect(to.copyFrames(from: &from) == long)
        #expect(from.count == 4 - long && to.count == long)
        let next = from.popFirst()!
        #expect(next.length == 1000 && next.mark == UInt16(long))
        for index in 0..<long {
            let frame = to.popFirst()!
            #expect(frame.length == 10 + index && frame.mark == UInt16(index) && frame.bytes.uint16(at: 4) == index)
        }
        #expect(large.freeCount == 8 - 1 - (3 - long) && small.freeCount == 8)
    }

    @Test("what is done to frames where they lie stays, also if it throws")
    func inPlace() {
        let pool = FramePool(count: 4, capacity: 256)
        var burst = pool.makeBurst()
        fill(&burst, 0..<4)
        #expect(throws: Stop.self) {
            try burst.changeEach { (frame) throws(Stop) in
                if frame.length == 2 {
                    frame.setLength(50)
                    throw Stop()
                }
                frame.setLength(frame.length + 10)
            }
        }
        #expect(lengths(&burst) == [10, 11, 50, 3])
        #expect(burst.removeAll { $0.length > 10 } == 2)
        #expect(lengths(&burst) == [10, 3])
        #expect(pool.freeCount == 2)
        #expect(burst.removeAll { _ in true } == 2)
        #expect(pool.freeCount == 4)
    }

    private struct Stop: Error {}

    @Test("a part of a burst can be taken from as if it were all", arguments: [0, 1, 3])
    func part(_ taken: Int) {
        let pool = FramePool(count: 10, capacity: 256)
        var burst = pool.makeBurst()
        fill(&burst, 0..<6)
        burst.withFirst(3) { part in
            #expect(part.count == 3)
            part.removeFirst(taken)
        }
        #expect(lengths(&burst) == Array(taken..<6))
        #expect(pool.freeCount == 4 + taken)
    }

    @Test("a burst outlives its pool as long as it is empty, and its room is used again")
    func outlives() {
        var burst: Burst
        do {
            let pool = FramePool(count: 10, capacity: 256)
            burst = pool.makeBurst()
            burst.appendFrames(10, length: 14)
            burst.removeAll()
        }
        let another = burst.makeBurst()
        let isShared = another.sharesPool(with: burst)
        #expect(isShared && burst.freeFrames == 10)
    }

    @Test("two pools over one arena swap frames for free slots, and each keeps as many as it had")
    func swap() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 16 * 256, alignment: 64)
        defer { unsafe memory.deallocate() }
        let left = unsafe FramePool(arena: memory, count: 16, capacity: 256, slots: 0..<8)
        let right = unsafe FramePool(arena: memory, count: 16, capacity: 256, slots: 8..<16)
        #expect(left.freeCount == 8 && right.freeCount == 8)
        let ring = UnsafeMutablePointer<FrameDescriptor>.allocate(capacity: 4)
        unsafe ring.initialize(
            repeating: FrameDescriptor(slot: FrameDescriptor.noSlot, start: 0, length: 0), count: 4)
        defer { unsafe ring.deallocate() }
        var there = left.makeBurst()
        var here = right.makeBurst()
        for round in 0..<20 {
            fill(&there, round..<round + 4)
            unsafe there.swapFirst(4, into: ring)
            let taken = unsafe here.appendSwapping(4, from: ring)
            #expect(taken == 4 && lengths(&here) == Array(round..<round + 4))
            here.removeAll()
            // The ring's four came from the left, once.
            #expect(left.count == 4 && left.freeCount == 4)
            #expect(right.count == 8 && right.freeCount == 8)
        }
        var all = Set<UInt32>()
        for position in 0..<4 {
            all.insert(unsafe ring[position].slot)
            unsafe there.adoptSlot(ring[position].slot)
        }
        #expect(left.count == 8 && left.freeCount == 8 && all.count == 4)
        var (lefts, rights) = ([UInt32](), [UInt32]())
        while let slot = unsafe there.takeSlot() { lefts.append(slot) }
        while let slot = unsafe here.takeSlot() { rights.append(slot) }
        #expect(
            all.isSubset(of: lefts) && Set(lefts + rights) == Set(0..<16), "no slot is lost, and none is there twice")
        for slot in lefts { unsafe there.releaseSlot(slot) }
        for slot in rights { unsafe here.releaseSlot(slot) }
    }

    @Test("a pool with no free slots takes nothing from a ring, and loses nothing")
    func swapExhausted() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 8 * 256, alignment: 64)
        defer { unsafe memory.deallocate() }
        let left = unsafe FramePool(arena: memory, count: 8, capacity: 256, slots: 0..<6)
        let right = unsafe FramePool(arena: memory, count: 8, capacity: 256, slots: 6..<8)
        let ring = UnsafeMutablePointer<FrameDescriptor>.allocate(capacity: 4)
        unsafe ring.initialize(
            repeating: FrameDescriptor(slot: FrameDescriptor.noSlot, start: 0, length: 0), count: 4)
        defer { unsafe ring.deallocate() }
        var there = left.makeBurst()
        var here = right.makeBurst()
        fill(&there, 0..<4)
        unsafe there.swapFirst(4, into: ring)
        #expect(unsafe here.appendSwapping(4, from: ring) == 2)
        #expect(unsafe here.appendSwapping(2, from: ring + 2) == 0)
        here.removeFirst(1)
        #expect(unsafe here.appendSwapping(2, from: ring + 2) == 1)
        #expect(lengths(&here) == [1, 2])
        here.removeAll()
        for position in 0..<4 { unsafe there.adoptSlot(ring[position].slot) }
    }
}

@Suite struct FrameDetailTests {
    @Test("the addresses of an Ethernet frame swap, and a runt stays as it is")
    func swapAddresses() {
        let pool = FramePool(count: 1, capacity: 256)
        var frame = pool.take()!
        frame.setLength(14)
        do {
            var bytes = frame.mutableBytes
            for index in 0..<14 { bytes.store(UInt8(index), at: index) }
        }
        frame.swapEthernetAddresses()
        #expect((0..<14).map { frame.bytes.byte(at: $0) } == [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 12, 13])
        let addresses = frame.ethernetAddressBits
        #expect(addresses.destination == 0x0607_0809_0A0B && addresses.source == 0x0001_0203_0405)
        frame.setLength(13)
        frame.swapEthernetAddresses()
        #expect(frame.bytes.byte(at: 0) == 6)
    }

    @Test("a timestamp stays with its frame until headers are prepended over it")
    func timestamp() {
        let pool = FramePool(count: 2, capacity: 256, headroom: 16)
        var frame = pool.take()!
        #expect(frame.timestamp == nil)
        frame.timestamp = 1_234_567_890_123
        #expect(frame.timestamp == 1_234_567_890_123)
        frame.prepend(8)
        #expect(frame.timestamp == 1_234_567_890_123)
        frame.prepend(1)
        #expect(frame.timestamp == nil)
        frame.timestamp = 5
        #expect(!frame.offload.contains(.timestamped))
    }

    @Test("one bit is turned over, and turned back")
    func invert() {
        let pool = FramePool(count: 1, capacity: 256)
        var frame = pool.take()!
        frame.setLength(4)
        var bytes = frame.mutableBytes
        bytes.store(0 as UInt32, at: 0)
        bytes.invertBit(17)
        #expect(bytes.bytes.uint32(at: 0) == 0x0000_0200)
        bytes.invertBit(17)
        #expect(bytes.bytes.uint32(at: 0) == 0)
    }

    @Test("a debug build knows who has the frames that are out")
    func takers() {
        let pool = FramePool(count: 8, capacity: 256)
        #expect(pool.framesOut == "")
        var burst = pool.makeBurst()
        burst.appendFrames(3, length: 14, file: "Here", line: 1)
        var frame = pool.take(file: "There", line: 2)
        #expect(pool.framesOut == "3 taken at Here:1, 1 taken at There:2")
        var popped = burst.popFirst(file: "Behind", line: 3)
        #expect(pool.framesOut == "2 taken at Here:1, 1 taken at Behind:3, 1 taken at There:2")
        burst.removeAll()
        #expect(frame?.length == 0 && popped?.length == 14)
        frame = nil
        popped = nil
        #expect(pool.framesOut == "")
    }

    @Test("a pool says what its memory is")
    func memory() {
        #expect(FramePool(count: 1).memory.description == "heap memory")
        #expect(ArenaMemory(pages: .huge, isLocked: true).description == "huge pages, locked")
    }
}
