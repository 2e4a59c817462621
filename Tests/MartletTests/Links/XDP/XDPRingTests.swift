// Both sides of a ring, with the test as the kernel: every order of what the two do, across the wrap of the indices.

import CMartlet
import Testing

@testable import Martlet

/// A ring in memory of the test's own.
@safe private final class TestRing {
    let size: UInt32
    private let indices: UnsafeMutablePointer<UInt32>
    private let entries: UnsafeMutablePointer<UInt64>

    init(size: UInt32, startingAt index: UInt32) {
        self.size = size
        unsafe indices = .allocate(capacity: 3)
        unsafe indices.initialize(repeating: index, count: 2)
        unsafe (indices + 2).initialize(to: 0)
        unsafe entries = .allocate(capacity: Int(size))
        unsafe entries.initialize(repeating: .max, count: Int(size))
    }

    deinit {
        unsafe indices.deallocate()
        unsafe entries.deallocate()
    }

    var map: martlet_xdp_ring {
        unsafe martlet_xdp_ring(
            producer: indices, consumer: indices + 1, flags: indices + 2, entries: entries, map: nil, map_length: 0)
    }

    /// What the other side has published.
    var producer: UInt32 {
        get { unsafe indices[0] }
        set { unsafe indices[0] = newValue }
    }
    var consumer: UInt32 {
        get { unsafe indices[1] }
        set { unsafe indices[1] = newValue }
    }
    var flags: UInt32 {
        get { unsafe indices[2] }
        set { unsafe indices[2] = newValue }
    }
    subscript(index: UInt32) -> UInt64 {
        get { unsafe entries[Int(index & (size - 1))] }
        set { unsafe entries[Int(index & (size - 1))] = newValue }
    }
}

@Suite struct XDPRing {
    private static let starts: [UInt32] = [0, 5, UInt32.max, UInt32.max - 3]

    @Test(
        "whatever is put comes out once, in order, and a full ring has no room, for every interleaving",
        arguments: starts)
    func producer(start: UInt32) throws {
        // Each bit of a schedule is a turn: the program's, which puts one and publishes, or the kernel's, which takes one.
        for schedule in 0..<(1 << 14) {
            let ring = TestRing(size: 4, startingAt: start)
            var producer = unsafe XDPProducer<UInt64>(ring.map, size: 4)
            var (put, taken) = (UInt64(0), UInt64(0))
            for turn in 0..<14 {
                if schedule >> turn & 1 == 0 {
                    guard producer.room(for: 1) > 0 else {
                        if put - taken != 4 { throw Failed("schedule \(schedule): no room beside \(put - taken)") }
                        continue
                    }
                    producer.put(put)
                    producer.publish()
                    put += 1
                } else if ring.consumer != ring.producer {
                    guard ring[ring.consumer] == taken else {
                        throw Failed("schedule \(schedule): \(ring[ring.consumer]) instead of \(taken)")
                    }
                    taken += 1
                    ring.consumer &+= 1
                }
            }
            guard put - taken == UInt64(ring.producer &- ring.consumer), put - taken <= 4 else {
                throw Failed("schedule \(schedule): \(put) put, \(taken) taken")
            }
        }
    }

    @Test("whatever the kernel puts is taken once, in order, for every interleaving", arguments: starts)
    func consumer(start: UInt32) throws {
        for schedule in 0..<(1 << 14) {
            let ring = TestRing(size: 4, startingAt: start)
            var consumer = unsafe XDPConsumer<UInt64>(ring.map, size: 4)
            var (put, taken) = (UInt64(0), UInt64(0))
            for turn in 0..<14 {
                if schedule >> turn & 1 == 0 {
                    guard ring.producer &- ring.consumer < 4 else { continue }
                    ring[ring.producer] = put
                    ring.producer &+= 1
                    put += 1
                } else {
                    guard consumer.available(for: 1) > 0 else {
                        if put != taken { throw Failed("schedule \(schedule): entry \(taken) is not seen") }
                        continue
                    }
                    guard consumer.take() == taken else {
                        throw Failed("schedule \(schedule): entry \(taken) did not come")
                    }
                    taken += 1
                    consumer.release()
                }
            }
            guard put - taken == UInt64(ring.producer &- ring.consumer) else {
                throw Failed("schedule \(schedule): \(put) put, \(taken) taken")
            }
        }
    }

    @Test("nothing is seen by the other side before it is published or released")
    func published() {
        let ring = TestRing(size: 8, startingAt: UInt32.max - 1)
        var producer = unsafe XDPProducer<UInt64>(ring.map, size: 8)
        #expect(producer.room(for: 8) == 8)
        for number in 0..<5 { producer.put(UInt64(number)) }
        #expect(ring.producer == UInt32.max - 1)
        producer.publish()
        #expect(ring.producer == 3)
        var consumer = unsafe XDPConsumer<UInt64>(ring.map, size: 8)
        #expect(consumer.available(for: 8) == 5)
        for number in 0..<5 { #expect(consumer.take() == UInt64(number)) }
        #expect(ring.consumer == UInt32.max - 1)
        #expect(producer.room(for: 8) == 3)
        consumer.release()
        #expect(ring.consumer == 3)
        #expect(producer.room(for: 8) == 8)
    }

    @Test("a ring that is taken over goes on where it stands")
    func takenOver() {
        let ring = TestRing(size: 4, startingAt: 7)
        ring.producer = 9
        var consumer = unsafe XDPConsumer<UInt64>(ring.map, size: 4)
        var producer = unsafe XDPProducer<UInt64>(ring.map, size: 4)
        #expect(consumer.available(for: 4) == 2)
        #expect(producer.room(for: 4) == 2)
        #expect(producer.occupied() == 2)
    }

    @Test("the kernel's wish to be woken is its flag")
    func wakeup() {
        let ring = TestRing(size: 4, startingAt: 0)
        let producer = unsafe XDPProducer<UInt64>(ring.map, size: 4)
        let before = producer.needsWakeup
        #expect(!before)
        ring.flags = 1
        let after = producer.needsWakeup
        #expect(after)
    }
}
