// The core's plain tables and queues: run queue, tokens, sockets, waiters, policies, send segments.

import CMartlet
import Glibc
import MartletStack
import Testing

@testable import Martlet

@Suite struct CoreTables {
    // MARK: Run queue

    @Test("jobs run in the order in which they were appended, through any mixture of appending and taking")
    func jobQueue() {
        let jobs = FakeJobs(count: 64)
        var queue = JobQueue()
        var model: [Int] = []
        var unused = Array(0..<64)
        var random = SplitMix(seed: 42)
        check(queue.isEmpty)
        check(unsafe queue.popFirst() == nil)
        for _ in 0..<10_000 {
            if random.next() % 2 == 0, let job = unused.popLast() {
                unsafe queue.append(jobs[job], origin: job % 2 == 0 ? .task : .serial)
                model.append(job)
            } else if let job = unsafe queue.popFirst() {
                let index = unsafe jobs.index(of: job)
                check(index == model.removeFirst())
                let tag = unsafe martlet_job_tag(job)
                check(tag == (index % 2 == 0 ? JobOrigin.task : .serial).rawValue)
                unused.append(index)
            } else {
                check(model.isEmpty)
            }
            check(queue.isEmpty == model.isEmpty)
        }
    }

    // MARK: Tokens

    @Test("a token gives back its operation, slot and generation")
    func token() {
        let operations: [Operation] = [.receive, .send, .accept, .connect, .readable, .writable, .discard, .wake]
        for operation in operations {
            for slot: Int32 in [0, 1, 65_535, 1_000_000, .max, -1] {
                for generation: UInt32 in [0, 1, 0x12_3456, 0xff_ffff] {
                    let token = Token(word: Token(operation, slot: slot, generation: generation).word)
                    check(token.operation == operation)
                    check(token.slot == slot)
                    check(token.generation == generation)
                }
            }
        }
        check(Token(.send, slot: 3, generation: 0x0100_0002).generation == 2, "a generation has 24 bits")
        check(Token(word: .max).operation == .discard, "an operation nobody knows does nothing")
    }

    // MARK: Sockets

    @Test("the socket table hands out each slot once, and says when it is full")
    func socketExhaustion() throws {
        var table = SocketTable(capacity: 5)
        let slots = (0..<5).compactMap { _ in table.take() }
        check(Set(slots) == [0, 1, 2, 3, 4])
        check(table.take() == nil)
        check(table.freeCount == 0)
        table.release(3)
        check(table.freeCount == 1)
        check(table.take() == 3)
        check(table.take() == nil)
        for slot in slots { table.release(slot) }
        check(table.inUse == 0)
        check(Set((0..<5).compactMap { _ in table.take() }) == [0, 1, 2, 3, 4])
    }

    @Test("a slot used again has another generation and nothing of its former life")
    func socketGenerations() throws {
        var table = SocketTable(capacity: 2)
        let slot = try present(table.take())
        let first = table[slot].generation
        table[slot].sendBytes = 77
        table[slot].flags.insert(.hasFailed)
        check(table.isCurrent(slot, first))
        table.release(slot)
        check(!table.isCurrent(slot, first), "a free slot is nobody's")
        check(table.take() == slot)
        check(!table.isCurrent(slot, first))
        check(table.isCurrent(slot, table[slot].generation))
        check(table[slot].sendBytes == 0)
        check(table[slot].flags == .inUse)
        // Generations have as many bits as a token has for them, and go round.
        table[slot].generation = 0xff_ffff
        table.release(slot)
        check(table.take() == slot)
        check(table[slot].generation == 0)
        check(!table.isCurrent(-1, 0))
        check(!table.isCurrent(1, 0), "never used")
    }

    // MARK: Waiters

    @Test("a waiter used again has another ticket: a late cancellation or timer finds nothing")
    func waiterTickets() {
        var waiters = WaiterTable(inbox: Inbox(eventDescriptor: -1))
        let jobs = FakeJobs(count: 2)
        let index = waiters.take(in: .receive, slot: 7)
        let ticket = unsafe waiters[index].pointee.ticket
        unsafe waiters[index].pointee.job = jobs[0]
        check(unsafe waiters.resume(index, .ready) == jobs[0])
        check(unsafe waiters.resume(index, .cancelled) == nil, "it is resumed already")
        check(unsafe waiters[index].pointee.outcome == .ready)
        waiters.release(index)
        check(unsafe waiters.resume(index, .deadline) == nil, "nobody uses it")

        check(waiters.take(in: .send, slot: 8) == index)
        check(unsafe waiters[index].pointee.ticket != ticket)
        check(unsafe waiters[index].pointee.slot == 8)
        check(unsafe waiters[index].pointee.next == -1)
        unsafe waiters[index].pointee.job = jobs[1]
        check(unsafe waiters.resume(index, .cancelled) == jobs[1])
    }

    @Test("the waiter table grows, and its records stay where they are")
    func waiterGrowth() {
        let inbox = Inbox(eventDescriptor: -1)
        var waiters = WaiterTable(inbox: inbox)
        let first = waiters.take(in: .sleep, slot: -1)
        let record = unsafe waiters[first]
        let others = (0..<2000).map { _ in waiters.take(in: .sleep, slot: -1) }
        check(Set(others + [first]).count == 2001)
        check(unsafe waiters[first] == record)
        for index in others { waiters.release(index) }
        _ = (0..<2000).map { _ in waiters.take(in: .sleep, slot: -1) }
        check(waiters.count == 2001, "those given back are used first")
    }

    // MARK: Policies and durations

    @Test("timeouts that are not set never come, and the longest do not wrap")
    func policy() {
        let plain = Policy(ConnectionOptions())
        check(plain.idleTimeout == .max && plain.firstByteTimeout == .max && plain.writeTimeout == .max)
        check(!plain.hasTimers)
        check(plain.closeTimeout == 30_000_000_000)
        check(plain.receiveLimit == 256 * 1024 && plain.sendLimit == 256 * 1024)

        var options = ConnectionOptions()
        options.idleTimeout = .seconds(Int64.max)
        options.writeTimeout = .milliseconds(1500)
        options.sendLimit = .max
        options.receiveLimit = -5
        let policy = Policy(options)
        check(policy.idleTimeout == .max)
        check(policy.writeTimeout == 1_500_000_000)
        check(policy.hasTimers)
        check(policy.sendLimit == .max)
        check(policy.receiveLimit == 1)
    }

    @Test("durations become nanoseconds, cut to what fits")
    func durations() {
        check(Duration.seconds(2).nanoseconds == 2_000_000_000)
        check(Duration.nanoseconds(1).nanoseconds == 1)
        check(Duration.milliseconds(-3).nanoseconds == -3_000_000)
        check(Duration.seconds(Int64.max).nanoseconds == .max)
        check(Duration.seconds(Int64.min).nanoseconds == .min)
        check(Duration(secondsComponent: 0, attosecondsComponent: 999_999_999).nanoseconds == 0)
    }

    // MARK: Segments

    @Test("segments: buffers fill and empty, references keep their slab alive, both run out apart")
    func segments() throws {
        var pool = SegmentPool(buffers: 2)
        let first = try present(pool.takeBuffer())
        check(pool.room(in: first) == SegmentPool.bufferCapacity)
        pool.append(100, to: first)
        pool.consume(40, of: first)
        check(pool.count(of: first) == 60)
        check(pool.room(in: first) == SegmentPool.bufferCapacity - 100)
        check(unsafe pool.piece(of: first).iov_len == 60)
        let second = try present(pool.takeBuffer())
        check(first != second)
        pool.link(second, after: first)
        check(pool.next(after: first) == second)
        check(pool.takeBuffer() == nil)
        check(pool.exhausted == 1)

        weak var watched: Slab?
        do {
            let slab = Slab(capacity: 1000)
            watched = slab
            let reference = try present(pool.takeReference(to: slab, start: 10, count: 90))
            check(pool.room(in: reference) == 0, "nothing is appended to what is the program's")
            check(unsafe pool.piece(of: reference).iov_base == slab.base + 10)
            _ = try present(pool.takeReference(to: slab, start: 0, count: 1))
            check(pool.takeReference(to: slab, start: 0, count: 1) == nil)
            check(pool.exhausted == 2)
            check(pool.releases == 0)
            pool.release(reference)
            pool.release(reference ^ 1)
        }
        check(watched == nil, "the slab outlives its references")
        check(pool.releases == 2)
        pool.release(first)
        let again = try present(pool.takeBuffer())
        check(again == first)
        check(pool.count(of: again) == 0 && pool.room(in: again) == SegmentPool.bufferCapacity)
        check(pool.next(after: again) == -1)
    }
}
