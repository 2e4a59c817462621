import Testing

@testable import MartletStack

@Suite struct ConnectionTableTests {
    static func tuple(_ number: Int) -> FourTuple {
        FourTuple(
            localAddress: .v4(IPv4Address(10, 0, 0, 1)), localPort: 7,
            remoteAddress: .v4(IPv4Address(bits: 0x0a01_0000 | UInt32(number >> 4))),
            remotePort: UInt16(number & 15) + 1)
    }

    @Test(
        "connections that come and go are found as long as they are there, and not afterwards",
        arguments: 0..<10 as Range<UInt64>)
    func demultiplexer(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var table = ConnectionTable(capacity: 64)
        var demultiplexer = Demultiplexer(capacity: 64, secret: .init(low: seed, high: 0))
        var there: [Int: UInt32] = [:]
        for _ in 0..<3000 {
            let number = Int.random(in: 0..<100, using: &random)
            if let slot = there[number] {
                demultiplexer.remove(slot, in: table)
                table.release(slot)
                there[number] = nil
            } else if let slot = table.take() {
                table[slot].tuple = Self.tuple(number)
                demultiplexer.insert(demultiplexer.hash(of: Self.tuple(number)), slot)
                there[number] = slot
            }
            for number in 0..<100 {
                #expect(demultiplexer.find(Self.tuple(number), in: table) == there[number], "seed \(seed)")
            }
        }
        #expect(table.count == there.count)
    }

    @Test("a slot used again has another generation, and the old name names nothing")
    func generations() {
        var table = ConnectionTable(capacity: 1)
        let slot = table.take()!
        let id = table.id(of: slot)
        #expect(table.slot(of: id) == slot)
        #expect(table.take() == nil)
        table.release(slot)
        #expect(table.slot(of: id) == nil)
        #expect(table.take() == slot)
        #expect(table.slot(of: id) == nil)
        #expect(table.id(of: slot) != id)
    }

    @Test("a queue of slots keeps their order and holds each once")
    func slotQueue() {
        var queue = SlotQueue(capacity: 4)
        for slot in [2, 0, 2, 3, 0] as [UInt32] { queue.append(slot) }
        #expect(queue.popFirst() == 2)
        queue.append(2)
        #expect(queue.popFirst() == 0)
        #expect(queue.popFirst() == 3)
        #expect(queue.popFirst() == 2)
        #expect(queue.popFirst() == nil)
        queue.append(1)
        #expect(queue.popFirst() == 1)
        #expect(queue.popFirst() == nil)
    }

    @Test(
        "a connection that has sent more than 2³¹ bytes goes on as before",
        arguments: [0x7fff_ffff, 0x9000_0000, 0xffff_ffff] as [UInt32])
    func farFromTheStart(distance: UInt32) {
        var connections = Connections(limits: TCPLimits(), secret: .init(low: 1, high: 2), now: .zero)
        var tcb = TCB()
        tcb.state = .established
        tcb.snd.una = SequenceNumber(5 &+ distance)
        tcb.statistics.bytesAcked = UInt64(distance)
        (tcb.snd.nxt, tcb.snd.end) = (tcb.snd.una, tcb.snd.una)
        let bytes = [UInt8](repeating: 1, count: 5000)
        #expect(unsafe tcb.send(bytes.span.bytes, &connections) == 5000)
        #expect(unsafe tcb.send(bytes.span.bytes, &connections) == 5000)
        #expect(tcb.snd.end - tcb.snd.una == 10_000)
    }

    @Test("what each segment touches is on the first two cache lines of a TCB")
    func layout() {
        // What each segment reads, and most write.
        for offset in [
            MemoryLayout<TCB>.offset(of: \.rcv), MemoryLayout<TCB>.offset(of: \.snd),
            MemoryLayout<TCB>.offset(of: \.state), MemoryLayout<TCB>.offset(of: \.phase),
            MemoryLayout<TCB>.offset(of: \.sendShift), MemoryLayout<TCB>.offset(of: \.receiveShift),
            MemoryLayout<TCB>.offset(of: \.flags), MemoryLayout<TCB>.offset(of: \.recentTimestamp),
            MemoryLayout<TCB>.offset(of: \.lastAckSent), MemoryLayout<TCB>.offset(of: \.receiveRing),
            MemoryLayout<TCB>.offset(of: \.owed), MemoryLayout<TCB>.offset(of: \.events),
            MemoryLayout<TCB>.offset(of: \.unacknowledgedSegments),
        ] {
            #expect(offset.map { $0 < 64 } == true)
        }
        // Whose segment it is, and what an ACK or a send needs to begin with.
        for offset in [
            MemoryLayout<TCB>.offset(of: \.mss), MemoryLayout<TCB>.offset(of: \.peerSegment),
            MemoryLayout<TCB>.offset(of: \.tuple), MemoryLayout<TCB>.offset(of: \.slot),
            MemoryLayout<TCB>.offset(of: \.sendRing), MemoryLayout<TCB>.offset(of: \.quickAcks),
            MemoryLayout<TCB>.offset(of: \.recordHead), MemoryLayout<TCB>.offset(of: \.duplicateAcks),
            // Behind all of the out-of-order list.
            MemoryLayout<TCB>.offset(of: \.backoff),
        ] {
            #expect(offset.map { $0 < 128 } == true)
        }
        // What each segment counts, and what is asked to know that nothing is missing: together on the third.
        for offset in [
            MemoryLayout<TCB>.offset(of: \.statistics), MemoryLayout<TCB>.offset(of: \.sackedBytes),
            MemoryLayout<TCB>.offset(of: \.lostBytes), MemoryLayout<TCB>.offset(of: \.recordTail),
            MemoryLayout<TCB>.offset(of: \.heardAt), MemoryLayout<TCB>.offset(of: \.timestampOffset),
        ] {
            #expect(offset.map { $0 < 192 } == true)
        }
        #expect(MemoryLayout<FourTuple>.size == 36)
    }

    @Test("a connection for which no bytes wait takes 512 bytes at most, with its share of all tables")
    func size() {
        // Who owes control, an ACK or data, who has news, and who has full-size segments to report.
        let queues = 5 * MemoryLayout<UInt32>.stride
        let timers = MemoryLayout<ConnectionTimers.Deadlines>.stride + MemoryLayout<TimerNode>.stride
        // Of the size that a million connections make: 2²¹ places.
        let places = Demultiplexer.places(forConnections: 1_000_000) * MemoryLayout<UInt32>.stride
        let shares = queues + timers + (places + 999_999) / 1_000_000
        #expect(MemoryLayout<TCB>.stride + shares <= 512, "\(MemoryLayout<TCB>.stride) + \(shares)")
    }

    @Test("what a repair needs is there as often as there are connections, begins anew each time, and is used again")
    func repairs() {
        var repairs = Repairs(capacity: 3)
        let places = (0..<3).map { _ in repairs.take() }
        #expect(Set(places).count == 3)
        let count = repairs.count
        #expect(count == 3)
        repairs[places[1]].allowance = 7
        repairs[places[1]].spurious.isArmed = true
        let others = [places[0], places[2]].map { repairs[$0].allowance }
        #expect(others == [0, 0])
        repairs.release(places[0])
        repairs.release(places[1])
        let next = repairs.take()
        #expect(next == places[1])
        let (allowance, isArmed) = (repairs[next].allowance, repairs[next].spurious.isArmed)
        #expect(allowance == 0 && !isArmed)
        let last = repairs.take()
        #expect(last == places[0])
    }

    @Test("a connection that is gone is not found again by being the last that was")
    func foundLast() {
        var table = ConnectionTable(capacity: 4)
        var demultiplexer = Demultiplexer(capacity: 4, secret: .init(low: 1, high: 2))
        let slot = table.take()!
        table[slot].tuple = Self.tuple(1)
        demultiplexer.insert(demultiplexer.hash(of: Self.tuple(1)), slot)
        for _ in 0..<2 { #expect(demultiplexer.connection(of: Self.tuple(1), in: table) == slot) }
        #expect(demultiplexer.connection(of: Self.tuple(2), in: table) == nil)
        demultiplexer.remove(slot, in: table)
        table.release(slot)
        #expect(demultiplexer.connection(of: Self.tuple(1), in: table) == nil)
        // The slot is another's now.
        #expect(table.take() == slot)
        table[slot].tuple = Self.tuple(2)
        demultiplexer.insert(demultiplexer.hash(of: Self.tuple(2)), slot)
        #expect(demultiplexer.connection(of: Self.tuple(1), in: table) == nil)
        #expect(demultiplexer.connection(of: Self.tuple(2), in: table) == slot)
    }
}
