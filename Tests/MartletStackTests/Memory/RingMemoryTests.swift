import Testing

@testable import MartletStack

@Suite struct RingMemoryTests {
    @Test(
        "a ring is the next power of two, from one block on",
        arguments: [
            (0, 2048), (1, 2048), (2048, 2048), (2049, 4096), (4096, 4096), (65_535, 65_536), (65_537, 131_072),
        ])
    func sizes(wanted: Int, capacity: Int) {
        var memory = RingMemory(byteCount: 1 << 20)
        let ring = memory.take(atLeast: wanted)
        #expect(ring?.capacity == capacity)
        #expect(memory.bytesTaken == capacity)
        if let ring { memory.release(ring) }
        #expect(memory.bytesTaken == 0)
    }

    @Test("all of the memory can be taken in the smallest rings and, given back, in the largest")
    func everything() {
        var memory = RingMemory(byteCount: 1 << 20)
        for _ in 0..<3 {
            var rings: [ByteRing] = []
            while let ring = memory.take(atLeast: 1) { rings.append(ring) }
            #expect(rings.count == 512)
            #expect(Set(rings.map(\.block)).count == 512)
            #expect(memory.take(atLeast: 1)?.capacity == nil)
            for ring in rings.shuffled() { memory.release(ring) }
            let whole = memory.take(atLeast: 1 << 20)
            #expect(whole?.capacity == 1 << 20)
            #expect(memory.take(atLeast: 1)?.capacity == nil)
            memory.release(whole!)
        }
        #expect(memory.take(atLeast: 1 << 21)?.capacity == nil)
    }

    @Test("memory that is no power of two is used whole")
    func odd() {
        var memory = RingMemory(byteCount: 2048 * 1003 + 5)
        var rings: [ByteRing] = []
        while let ring = memory.take(atLeast: 1) { rings.append(ring) }
        #expect(rings.count == 1003)
        for ring in rings { memory.release(ring) }
        #expect(memory.take(atLeast: 512 * 2048)?.capacity == 512 * 2048)
    }

    @Test("rings taken and given back at random never overlap, and what is written is read")
    func random() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        var memory = RingMemory(byteCount: 1 << 20)
        var held: [(ring: ByteRing, place: UInt32, bytes: [UInt8])] = []
        for _ in 0..<5000 {
            if Bool.random(using: &random), let ring = memory.take(atLeast: 1 << Int.random(in: 0...16, using: &random))
            {
                let place = UInt32.random(in: 0...UInt32.max, using: &random)
                let count = Int.random(in: 0...ring.capacity, using: &random)
                let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
                unsafe memory.write(bytes.span.bytes, to: ring, at: place)
                held.append((ring, place, bytes))
            } else if !held.isEmpty {
                let one = held.remove(at: Int.random(in: 0..<held.count, using: &random))
                var read = [UInt8](repeating: 0, count: one.bytes.count)
                var span = read.mutableSpan
                var raw = unsafe span.mutableBytes
                memory.read(one.ring, at: one.place, into: &raw)
                #expect(read == one.bytes, "seed \(seed)")
                memory.release(one.ring)
            }
        }
        for one in held { memory.release(one.ring) }
        #expect(memory.bytesTaken == 0)
        #expect(memory.take(atLeast: 1 << 20)?.capacity == 1 << 20, "seed \(seed): neighbours are not joined again")
    }

    @Test("a run ends where the ring's memory does, and a copy goes on behind it")
    func wrap() {
        var memory = RingMemory(byteCount: 1 << 16)
        let ring = memory.take(atLeast: 2048)!
        let larger = memory.take(atLeast: 4096)!
        let place: UInt32 = .max - 99  // 100 bytes before the numbers, and the ring, wrap
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        unsafe memory.write(bytes.span.bytes, to: ring, at: place)
        #expect(memory.withRun(of: ring, at: place, count: 1000) { $0.byteCount } == 100)
        #expect(memory.withRun(of: ring, at: place &+ 100, count: 900) { $0.byte(at: 0) } == bytes[100])
        memory.copy(from: ring, to: larger, at: place, count: 1000)
        var read = [UInt8](repeating: 0, count: 1000)
        var span = read.mutableSpan
        var raw = unsafe span.mutableBytes
        memory.read(larger, at: place, into: &raw)
        #expect(read == bytes)
        #expect(memory.withRun(of: .none, at: 5, count: 0) { $0.byteCount } == 0)
    }

    @Test("a ring given back twice traps")
    func twice() async {
        await #expect(processExitsWith: .failure) {
            var memory = RingMemory(byteCount: 1 << 16)
            let ring = memory.take(atLeast: 2048)!
            memory.release(ring)
            memory.release(ring)
        }
    }
}
