// The way into a core: whoever pushes and whoever goes to sleep never miss each other, and what is pushed comes out once, in
// the order of each producer.

import CMartlet
import Glibc
import MartletStack
import Synchronization
import Testing

@testable import Martlet

/// The protocol of `Inbox`, one memory access a step, for every interleaving of one core and some producers under sequential
/// consistency.
private struct SleepModel: Hashable {
    enum CoreStep: Hashable {
        case declare, look, retract, sleep, awake, drain, done
    }
    enum ProducerStep: Hashable {
        case push, readFlag, signal, done
    }

    var hasPushed = false
    var flag = false
    var doorbell = false
    var core: CoreStep
    var producers: [ProducerStep]
    /// The order of the core's first two steps, and of a producer's.
    let coreLooksFirst: Bool
    let producerReadsFirst: Bool
    var sawFlag: [Bool]
    var received = 0
    var pushes = 0

    init(producers count: Int, coreLooksFirst: Bool = false, producerReadsFirst: Bool = false) {
        self.coreLooksFirst = coreLooksFirst
        self.producerReadsFirst = producerReadsFirst
        core = coreLooksFirst ? .look : .declare
        producers = Array(repeating: producerReadsFirst ? .readFlag : .push, count: count)
        sawFlag = Array(repeating: false, count: count)
    }

    /// The states that one step of the core leads to: none if it sleeps and nobody has rung.
    func coreSteps() -> [SleepModel] {
        var next = self
        switch core {
        case .declare:
            next.flag = true
            next.core = coreLooksFirst ? .sleep : .look
        case .look:
            if hasPushed {
                next.core = coreLooksFirst ? .drain : .retract
            } else {
                next.core = coreLooksFirst ? .declare : .sleep
            }
        case .retract:
            next.flag = false
            next.core = .drain
        case .sleep:
            guard doorbell else { return [] }
            next.doorbell = false
            next.core = .awake
        case .awake:
            next.flag = false
            next.core = .drain
        case .drain:
            if hasPushed { next.received = pushes }
            next.hasPushed = false
            next.core = next.received == producers.count ? .done : (coreLooksFirst ? .look : .declare)
        case .done: return []
        }
        return [next]
    }

    func producerSteps() -> [SleepModel] {
        producers.indices.compactMap { index in
            var next = self
            switch producers[index] {
            case .push:
                next.hasPushed = true
                next.pushes += 1
                next.producers[index] = producerReadsFirst ? (sawFlag[index] ? .signal : .done) : .readFlag
            case .readFlag:
                next.sawFlag[index] = flag
                next.producers[index] = producerReadsFirst ? .push : (flag ? .signal : .done)
            case .signal:
                next.doorbell = true
                next.producers[index] = .done
            case .done: return nil
            }
            return next
        }
    }

    /// All states that can be reached, and those from which nothing leads on although something was never received.
    func explore() -> (states: Int, lost: Int) {
        var seen: Set<SleepModel> = [self]
        var open = [self]
        var lost = 0
        while let state = open.popLast() {
            let next = state.coreSteps() + state.producerSteps()
            if next.isEmpty, state.core != .done { lost += 1 }
            for state in next where seen.insert(state).inserted { open.append(state) }
        }
        return (seen.count, lost)
    }
}

@Suite struct InboxTests {
    @Test("no interleaving of producers and a core that goes to sleep loses a wake-up", arguments: 1...4)
    func noLostWakeUp(producers: Int) {
        let result = SleepModel(producers: producers).explore()
        #expect(result.lost == 0)
        #expect(result.states > 10 * producers)
    }

    @Test("the model finds the lost wake-up when either side does its two steps in the other order")
    func swappedOrderLoses() {
        #expect(SleepModel(producers: 1, coreLooksFirst: true).explore().lost > 0)
        #expect(SleepModel(producers: 1, producerReadsFirst: true).explore().lost > 0)
    }

    @Test("a core that is about to sleep sees what was pushed before, and is signalled for what comes after")
    func stepByStep() {
        let inbox = Inbox(eventDescriptor: martlet_eventfd())
        defer { _ = martlet_close(inbox.eventDescriptor) }
        #expect(inbox.isEmpty)
        #expect(inbox.prepareToSleep())
        inbox.wokeUp()

        inbox.push(Message(.cancel(waiter: 1, ticket: 2)))
        #expect(!inbox.isEmpty)
        #expect(!isSignalled(inbox.eventDescriptor), "a core that is awake needs no signal")
        #expect(!inbox.prepareToSleep())
        #expect(count(inbox).messages == 1)
        #expect(inbox.isEmpty)

        #expect(inbox.prepareToSleep())
        inbox.push(Message(.cancel(waiter: 1, ticket: 2)))
        #expect(isSignalled(inbox.eventDescriptor))
        inbox.wokeUp()
        #expect(count(inbox).messages == 1)
    }

    @Test("jobs and messages come out in the order in which they went in, with their origins")
    func order() {
        let inbox = Inbox(eventDescriptor: -1)
        let jobs = FakeJobs(count: 100)
        for number in 0..<100 {
            unsafe inbox.push(job: jobs[number], origin: number % 3 == 0 ? .serial : .task)
            inbox.push(Message(.cancel(waiter: Int32(number), ticket: 0)))
        }
        var arrived: [Int] = []
        unsafe inbox.drain(
            job: { job in
                let number = unsafe jobs.index(of: job)
                let origin = unsafe martlet_job_tag(job)
                #expect(origin == (number % 3 == 0 ? JobOrigin.serial : .task).rawValue)
                arrived.append(number * 2)
            },
            message: { if case .cancel(let waiter, _) = $0.kind { arrived.append(Int(waiter) * 2 + 1) } })
        #expect(arrived == Array(0..<200))
    }

    @Test("what many threads push arrives once each and in each thread's order, and no sleep lasts for ever")
    func stress() async throws {
        let threads = 4
        let each = 100_000 / slowness
        let inbox = Inbox(eventDescriptor: martlet_eventfd())
        let outcome = try await onThread { () -> String? in
            for thread in 0..<threads {
                startThread {
                    for number in 0..<each {
                        inbox.push(Message(.cancel(waiter: Int32(thread), ticket: UInt32(number))))
                        if number % 64 == 0 { sched_yield() }
                    }
                }
            }
            var next = [UInt32](repeating: 0, count: threads)
            var total = 0
            var sleeps = 0
            var wrong: String?
            while total < threads * each, wrong == nil {
                if inbox.prepareToSleep() {
                    sleeps += 1
                    var wait = pollfd(fd: inbox.eventDescriptor, events: Int16(POLLIN), revents: 0)
                    if unsafe poll(&wait, 1, 10_000) == 0 {
                        return "a lost wake-up after \(total) of \(threads * each)"
                    }
                    inbox.wokeUp()
                    martlet_eventfd_drain(inbox.eventDescriptor)
                }
                unsafe inbox.drain(
                    job: { _ in },
                    message: {
                        guard case .cancel(let thread, let number) = $0.kind else { return }
                        if next[Int(thread)] != number {
                            wrong = "thread \(thread): \(number) after \(next[Int(thread)])"
                        }
                        next[Int(thread)] = number &+ 1
                        total += 1
                    })
            }
            return wrong ?? (inbox.isEmpty ? nil : "more came than was sent")
        }
        _ = martlet_close(inbox.eventDescriptor)
        #expect(outcome == nil)
    }

    private func isSignalled(_ descriptor: Int32) -> Bool {
        var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&wait, 1, 0) == 1
    }

    private func count(_ inbox: Inbox) -> (jobs: Int, messages: Int) {
        var counts = (jobs: 0, messages: 0)
        unsafe inbox.drain(job: { _ in counts.jobs += 1 }, message: { _ in counts.messages += 1 })
        return counts
    }
}

/// Memory of the shape of jobs: queues link them and never look inside.
@safe final class FakeJobs {
    private let memory: UnsafeMutablePointer<martlet_job>
    private let count: Int

    init(count: Int) {
        self.count = count
        unsafe memory = .allocate(capacity: count)
        unsafe memory.initialize(repeating: martlet_job(), count: count)
    }

    deinit { unsafe memory.deallocate() }

    subscript(index: Int) -> UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(memory + index) }

    func index(of job: UnsafeMutableRawPointer) -> Int {
        unsafe job.assumingMemoryBound(to: martlet_job.self) - memory
    }
}
