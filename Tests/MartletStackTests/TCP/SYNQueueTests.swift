// The queue of handshakes by itself: when a SYN-ACK goes again, and what is left of one that has gone.

import Testing

@testable import MartletStack

@Suite struct SYNQueueTests {
    private static func halfOpen(_ number: UInt32, listener: UInt16 = 0) -> HalfOpen {
        HalfOpen(
            initialSend: SequenceNumber(number), initialReceive: SequenceNumber(number), maximumSegmentSize: 1460,
            listener: listener)
    }

    private static func tuple(_ number: UInt32) -> FourTuple { Strangers.ends(number) }

    /// A queue with handshakes of these numbers, a millisecond apart from each other, which have sent their SYN-ACKs.
    private static func queue(_ numbers: Range<UInt32>, capacity: Int = 8) -> SYNQueue {
        var queue = SYNQueue(capacity: capacity)
        for number in numbers {
            let isIn = queue.insert(
                halfOpen(number), tuple(number), hash: number, at: Instant(nanoseconds: Int64(number) * 1_000_000))
            #expect(isIn)
        }
        while queue.popOwing() != nil {}
        return queue
    }

    @Test("a handshake owes its SYN-ACK once, is found by its ends, and there are no more than were said")
    func insertion() {
        var queue = SYNQueue(capacity: 2)
        let before = (queue.isOwing, queue.count, queue.nextDeadline)
        #expect(before == (false, 0, .distantFuture))
        // The same hash, and other ends.
        let one = queue.insert(Self.halfOpen(1), Self.tuple(1), hash: 9, at: .zero)
        let between = (queue.isFull, queue.isOwing)
        let two = queue.insert(Self.halfOpen(2), Self.tuple(2), hash: 9, at: .zero)
        let after = (queue.isFull, queue.count)
        let three = queue.insert(Self.halfOpen(3), Self.tuple(3), hash: 3, at: .zero)
        #expect(one && two && !three)
        #expect(between == (false, true) && after == (true, 2))
        let count = queue.count
        #expect(count == 2)
        for number in [1, 2] as [UInt32] {
            let place = queue.find(Self.tuple(number), hash: 9)
            let found = place.map { queue[$0].initialSend.bits }
            #expect(found == number)
            let ends = place.map { queue.tuple(at: $0) }
            #expect(ends == Self.tuple(number))
        }
        let stranger = queue.find(Self.tuple(3), hash: 9)
        #expect(stranger == nil)
        let owing = [queue.popOwing(), queue.popOwing(), queue.popOwing()].map { $0.map { queue[$0].initialSend.bits } }
        #expect(owing == [1, 2, nil])
        let isOwing = queue.isOwing
        #expect(!isOwing)
    }

    @Test("RFC 6298 §5.5: the waits are 1, 2, 4 … 64 s, and 120 s at most; what was waited is their sum")
    func waits() {
        var queue = Self.queue(0..<1)
        let place = queue.find(Self.tuple(0), hash: 0)!
        var now = Instant.zero
        var sum: Int64 = 0
        for (number, wait) in [1, 2, 4, 8, 16, 32, 64, 120, 120, 120].enumerated() {
            let sentAt = queue.sentAt(place)
            #expect(sentAt == now, "the \(number)th")
            let deadline = now + .seconds(wait)
            let next = queue.nextDeadline
            #expect(next == deadline, "the \(number)th")
            let due = [queue.firstDue(at: deadline.advanced(byNanoseconds: -1)), queue.firstDue(at: deadline)]
            #expect(due == [nil, place])
            let retransmissions = queue.retransmissions(at: place)
            #expect(retransmissions == UInt8(min(number, 7)))
            sum += Int64(wait) * 1_000_000_000
            if number < 8 { #expect(SYNQueue.waited(UInt8(number)) == sum, "the \(number)th") }
            now = deadline
            queue.retransmit(place, at: now)
            let owing = queue.popOwing()
            #expect(owing == place)
            let second = queue.popOwing()
            #expect(second == nil)
        }
    }

    @Test("who waits for the third time comes after who waits for the second, as the deadlines say")
    func order() {
        var queue = Self.queue(0..<3)
        let places = (0..<3 as Range<UInt32>).map { queue.find(Self.tuple($0), hash: $0)! }
        queue.retransmit(places[0], at: Instant(nanoseconds: 1_000_000_000))
        // The others' first second ends before this one's two.
        let first = queue.firstDue(at: .zero + .seconds(100))
        #expect(first == places[1])
        var deadlines = [queue.nextDeadline]
        queue.remove(places[1])
        deadlines.append(queue.nextDeadline)
        queue.remove(places[2])
        deadlines.append(queue.nextDeadline)
        #expect(deadlines.map(\.nanoseconds) == [1_001_000_000, 1_002_000_000, 3_000_000_000])
        let count = queue.count
        #expect(count == 1)
    }

    @Test("a handshake that has gone owes nothing, and whoever has its place owes once")
    func gone() {
        var queue = SYNQueue(capacity: 1)
        func add(_ number: UInt32) {
            let isIn = queue.insert(Self.halfOpen(number), Self.tuple(number), hash: number, at: .zero)
            #expect(isIn)
        }
        func remove(_ number: UInt32) {
            let place = queue.find(Self.tuple(number), hash: number)
            queue.remove(place!)
        }
        add(1)
        remove(1)
        let count = queue.count
        #expect(count == 0)
        let none = queue.popOwing()
        #expect(none == nil)
        add(1)
        remove(1)
        add(2)
        let owing = [queue.popOwing(), queue.popOwing()].map { $0.map { queue[$0].initialSend.bits } }
        #expect(owing == [2, nil])
    }

    @Test("a SYN that comes again owes a SYN-ACK, and its timer stays as it is")
    func again() {
        var queue = Self.queue(0..<1)
        let place = queue.find(Self.tuple(0), hash: 0)!
        queue.owe(place)
        queue.owe(place)
        let state = (queue.isOwing, queue.nextDeadline.nanoseconds, queue.retransmissions(at: place))
        #expect(state == (true, 1_000_000_000, 0))
        let owing = [queue.popOwing(), queue.popOwing()]
        #expect(owing == [place, nil])
    }

    @Test("what counts a Fast Open request owes nothing, is no retransmission of others, and goes after two minutes")
    func fastOpen() {
        var queue = Self.queue(0..<1)
        var request = Self.halfOpen(7)
        request.flags = .fastOpen
        let isIn = queue.insertFastOpen(request, Self.tuple(7), hash: 7, at: .zero)
        #expect(isIn)
        let place = queue.find(Self.tuple(7), hash: 7)!
        queue.owe(place)
        let owing = queue.popOwing()
        #expect(owing == nil)
        queue.remove(queue.find(Self.tuple(0), hash: 0)!)
        let deadline = queue.nextDeadline
        #expect(deadline == .zero + .seconds(120))
    }

    @Test("the handshakes of a listener are found one after the other, and no others")
    func ofListener() {
        var queue = SYNQueue(capacity: 8)
        for number in 0..<6 as Range<UInt32> {
            let isIn = queue.insert(
                Self.halfOpen(number, listener: UInt16(number % 2)), Self.tuple(number), hash: number, at: .zero)
            #expect(isIn)
        }
        queue.remove(queue.find(Self.tuple(3), hash: 3)!)
        var found: [UInt32] = []
        var from: UInt32 = 0
        while let place = queue.first(from: from, of: 1) {
            found.append(queue[place].initialSend.bits)
            from = place + 1
        }
        #expect(found == [1, 5])
    }
}
