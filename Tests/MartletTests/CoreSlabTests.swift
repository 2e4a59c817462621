// Receive buffers: filled, unread, lent and back again, whatever the program does with its bytes.

import Testing

@testable import Martlet

@Suite struct CoreSlab {
    /// Fills a slab as a driver would. The bytes are `value`.
    private func fill(_ pool: inout SlabPool, count: Int, with value: UInt8 = 1) throws -> Int32 {
        let slab = try present(pool.popFree())
        unsafe pool.base(of: slab).initializeMemory(as: UInt8.self, repeating: value, count: count)
        pool.setFilled(slab, count: count)
        return slab
    }

    @Test("a lent slab comes back when the last of its bytes is gone, and not before")
    func lendAndReclaim() throws {
        var pool = SlabPool(initial: 4, maximum: 4, slabCapacity: 100)
        let slab = try fill(&pool, count: 80, with: 7)
        check(pool.freeCount == 3)
        var bytes: Bytes? = pool.lend(slab)
        check(bytes?.count == 80)
        var part: Bytes? = bytes?[10..<20]
        pool.reclaim()
        check(pool.freeCount == 3)
        bytes = nil
        pool.reclaim()
        check(pool.freeCount == 3, "a part keeps the whole")
        check(part.map { $0.allSatisfy { $0 == 7 } } == true)
        part = nil
        pool.reclaim()
        check(pool.freeCount == 4)
        check(pool.replaced == 0 && pool.copied == 0)
    }

    @Test("when slabs are short, small messages are copied out and their slabs come back at once")
    func copyOut() throws {
        var pool = SlabPool(initial: 4, maximum: 4, slabCapacity: 800)
        let plenty = pool.lend(try fill(&pool, count: 100))
        check(pool.copied == 0)
        let second = try fill(&pool, count: 100)
        let third = try fill(&pool, count: 100, with: 9)
        let fourth = try fill(&pool, count: 100)
        let copy = pool.lend(third)
        check(pool.copied == 1)
        check(pool.freeCount == 1)
        check(copy.count == 100 && copy.allSatisfy { $0 == 9 })
        let large = pool.lend(second)
        check(pool.copied == 2)
        let whole = pool.lend(try fill(&pool, count: 800))
        check(pool.copied == 2, "a large one is not")
        _ = (plenty, large, whole)
        pool.release(fourth)
    }

    @Test("bytes that the program keeps are replaced by new slabs, and stay as they were")
    func hoard() throws {
        var pool = SlabPool(initial: 4, maximum: 4, slabCapacity: 100)
        var kept: [Bytes] = []
        for value in 0..<4 { kept.append(pool.lend(try fill(&pool, count: 100, with: UInt8(value)))) }
        check(pool.popFree() == nil)
        var rounds = 0
        while pool.freeCount == 0, rounds < 100 {
            pool.reclaim()
            rounds += 1
        }
        check(pool.freeCount == 4)
        check(pool.replaced == 4)
        check(rounds > 2, "not at once: most programs let go soon")
        for value in 0..<4 {
            _ = try fill(&pool, count: 100, with: 99)
            check(kept[value].allSatisfy { $0 == UInt8(value) }, "the kernel writes into bytes of the program's")
        }
    }

    @Test("when somebody starves, the oldest lent slabs are replaced at once")
    func replaceLent() throws {
        var pool = SlabPool(initial: 8, maximum: 8, slabCapacity: 100)
        check(!pool.replaceLent(), "nothing is lent")
        var kept: [Bytes] = []
        for value in 0..<8 { kept.append(pool.lend(try fill(&pool, count: 100, with: UInt8(value)))) }
        check(pool.replaceLent())
        check(pool.freeCount == 2, "a quarter")
        check(pool.replaced == 2)
        let first = try fill(&pool, count: 100, with: 99)
        _ = try fill(&pool, count: 100, with: 99)
        for value in 0..<8 { check(kept[value].allSatisfy { $0 == UInt8(value) }) }
        // What was given up is not taken back a second time.
        kept.removeAll()
        pool.reclaim()
        check(pool.freeCount == 6)
        pool.release(first)
        check(pool.freeCount == 7)
    }

    @Test("the pool doubles up to its maximum, and exceeds it only when asked to")
    func growth() {
        var pool = SlabPool(initial: 3, maximum: 10, slabCapacity: 16)
        check(pool.count == 3)
        check(pool.grow())
        check(pool.count == 6)
        check(pool.grow())
        check(pool.count == 10 && pool.freeCount == 10)
        check(!pool.grow())
        check(pool.exceedMaximum())
        check(pool.count == 11)
        var seen: Set<Int32> = []
        while let slab = pool.popFree() { seen.insert(slab) }
        check(seen == Set(0..<11))
    }

    @Test("the pool is under pressure when it cannot grow and less than a quarter is free")
    func pressure() {
        var pool = SlabPool(initial: 4, maximum: 8, slabCapacity: 16)
        for _ in 0..<4 { _ = pool.popFree() }
        check(!pool.isUnderPressure, "it can grow")
        check(pool.grow())
        for _ in 0..<2 { _ = pool.popFree() }
        check(!pool.isUnderPressure)
        let last = pool.popFree()
        check(pool.isUnderPressure)
        pool.release(last!)
        check(!pool.isUnderPressure)
        _ = pool.popFreeToProvide()
        check(!pool.isUnderPressure, "what the kernel may fill counts as free")
        pool.takeBack()
        check(pool.isUnderPressure)
    }

    @Test("bytes that wait are put together while they fit, in order, and their slab comes back")
    func merge() throws {
        var pool = SlabPool(initial: 4, maximum: 4, slabCapacity: 100)
        let tail = try fill(&pool, count: 60, with: 1)
        pool.consume(10, of: tail)
        let small = try fill(&pool, count: 40, with: 2)
        check(pool.merge(small, into: tail))
        check(pool.freeCount == 3)
        check(pool.unreadCount(of: tail) == 90)
        let all = unsafe Array(pool.unread(of: tail))
        check(all == [UInt8](repeating: 1, count: 50) + [UInt8](repeating: 2, count: 40))
        let more = try fill(&pool, count: 1, with: 3)
        check(!pool.merge(more, into: tail), "it is full, although some of it is read")
        pool.link(more, after: tail)
        check(pool.next(after: tail) == more)
    }

    @Test("a thousand rounds of random use lose and double no slab")
    func randomUse() throws {
        let seed: UInt64 = 11
        var random = SplitMix(seed: seed)
        var pool = SlabPool(initial: 2, maximum: 16, slabCapacity: 64)
        var held: [Bytes] = []
        var expected: [UInt8] = []
        for round in 0..<5000 {
            switch random.next() % 4 {
            case 0, 1:
                if pool.freeCount == 0, !pool.grow() { _ = pool.replaceLent() }
                guard pool.freeCount > 0 else { continue }
                let value = UInt8(truncatingIfNeeded: round)
                let size = 1 + Int(random.next() % 64)
                held.append(pool.lend(try fill(&pool, count: size, with: value)))
                expected.append(value)
            case 2:
                guard !held.isEmpty else { continue }
                let index = Int(random.next() % UInt64(held.count))
                held.remove(at: index)
                expected.remove(at: index)
            default: pool.reclaim()
            }
            if held.count > 40 {
                held.removeFirst(20)
                expected.removeFirst(20)
            }
        }
        for (bytes, value) in zip(held, expected) { check(bytes.allSatisfy { $0 == value }, "seed \(seed)") }
        held.removeAll()
        pool.reclaim()
        check(pool.freeCount == pool.count, "seed \(seed)")
        var seen: Set<Int32> = []
        while let slab = pool.popFree() { check(seen.insert(slab).inserted, "seed \(seed)") }
    }
}
