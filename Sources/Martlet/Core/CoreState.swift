// What a round touches, in one place that no reference count guards: the core and its transport both hold its address.

internal import MartletStack

struct CoreState: ~Copyable {
    /// The instant at which this round began.
    var now: Instant
    var counters = CoreCounters()
    /// Even timers are the sockets' by slot, odd ones the waiters': both are used from low numbers up, so the table's memory
    /// is touched as far as it is needed.
    var timers: TimerWheel
    var jobs = JobQueue()
    var waiters: WaiterTable

    init(sockets: Int, now: Instant, inbox: Inbox) {
        self.now = now
        waiters = WaiterTable(inbox: inbox)
        timers = TimerWheel(capacity: sockets * 2, now: now)
    }

    static func timer(ofSocket slot: Int32) -> Int32 { slot * 2 }
    static func timer(ofWaiter index: Int32) -> Int32 { index * 2 + 1 }

    /// Takes a waiter into use.
    mutating func takeWaiter(in queue: WaitQueue, slot: Int32) -> Int32 {
        let index = waiters.take(in: queue, slot: slot)
        if Int(Self.timer(ofWaiter: index)) >= timers.capacity { timers.grow(to: timers.capacity * 2) }
        return index
    }

    /// Lets a parked task go on. -1 is nobody.
    mutating func resume(_ waiter: Int32, _ outcome: Outcome = .ready) {
        guard waiter >= 0, let job = unsafe waiters.resume(waiter, outcome) else { return }
        unsafe jobs.append(job, origin: waiters[waiter].pointee.origin)
    }
}
