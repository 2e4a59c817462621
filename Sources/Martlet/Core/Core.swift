// A core: one thread, pinned to one CPU, that alone touches its driver, sockets, timers and tasks. Everything on one screen is
// `round()`. From elsewhere a core is reached through its inbox and in no other way.

internal import CMartlet
internal import Logging
internal import MartletStack

/// One of a runtime's cores: a CPU with a thread of its own, and all the connections and tasks that live on it.
///
/// Code that runs on a core must not block: a blocking call holds up every connection of that core. Use `Task.detached`, or
/// a thread, for work that blocks.
public final class Core: @unchecked Sendable {
    /// The core's number in its runtime, from 0.
    public let index: Int
    /// The CPU that the core is pinned to, or nil if it is not pinned.
    public let cpu: Int?

    let configuration: Runtime.Configuration
    let inbox: Inbox
    private(set) var transport: KernelTransport! = nil
    var timers: TimerWheel
    var counters = CoreCounters()
    /// The instant at which this round began.
    private(set) var now: Instant

    private(set) var taskExecutor: CoreTaskExecutor! = nil
    private(set) var serialExecutor: CoreSerialExecutor! = nil
    private(set) var isolation: CoreIsolation! = nil

    private var jobs = JobQueue()
    private var waiters: [Waiter] = []
    private var freeWaiters: [Int32] = []
    private var isStopping = false
    /// The runtime is shutting down: nothing listens any more.
    var isShuttingDown = false
    private let stallThreshold: Int64
    private let spin: Int64
    private var onSignal: (() -> Void)?

    init(index: Int, cpu: Int?, configuration: Runtime.Configuration) {
        self.index = index
        self.cpu = cpu
        self.configuration = configuration
        inbox = Inbox(eventDescriptor: martlet_eventfd())
        now = Instant(nanoseconds: martlet_monotonic_ns())
        timers = TimerWheel(capacity: configuration.limits.connectionsPerCore + 1024, now: now)
        stallThreshold = configuration.limits.stallThreshold.nanoseconds
        if case .spin(let duration) = configuration.idle { spin = duration.nanoseconds } else { spin = 0 }
        taskExecutor = CoreTaskExecutor(core: self)
        serialExecutor = CoreSerialExecutor(core: self)
        isolation = CoreIsolation(executor: serialExecutor)
    }

    deinit { _ = martlet_close(inbox.eventDescriptor) }

    /// Whether the caller runs on this core's thread.
    var isCurrent: Bool { unsafe martlet_current_core() == Unmanaged.passUnretained(self).toOpaque() }

    // MARK: The thread

    /// Starts the thread and returns when it is up, with the driver's description.
    func start() async throws(NetworkError) -> String {
        let result: Result<String, NetworkError> = unsafe await withUnsafeContinuation { continuation in
            let start = unsafe Unmanaged.passRetained(
                ThreadStart(core: self, started: { unsafe continuation.resume(returning: $0) }))
            let error = unsafe martlet_thread_start(
                { unsafe Unmanaged<ThreadStart>.fromOpaque($0!).takeRetainedValue().run() }, start.toOpaque())
            if error != 0 {
                unsafe start.release()
                unsafe continuation.resume(returning: .failure(NetworkError(errno: -error, during: "pthread_create")))
            }
        }
        return try result.get()
    }

    fileprivate func run(started: (Result<String, NetworkError>) -> Void) {
        unsafe martlet_set_current_core(Unmanaged.passUnretained(self).toOpaque())
        unsafe martlet_thread_name("martlet-\(index)")
        if let cpu, configuration.pinsThreads { _ = martlet_thread_pin(Int32(cpu)) }
        do throws(NetworkError) {
            let (driver, description) = try Driver.open(
                configuration.effectiveDriver, sqpoll: configuration.sqpoll, limits: configuration.limits,
                eventDescriptor: inbox.eventDescriptor)
            transport = KernelTransport(core: self, driver: driver, limits: configuration.limits)
            started(.success(description))
        } catch {
            started(.failure(error))
            return
        }
        while !isStopping { round() }
        transport.closeEverything()
        martlet_set_current_core(nil)
    }

    /// Asks the thread to end. Its connections are reset.
    func stop() { inbox.push(Message(.stop)) }

    // MARK: The round

    private func round() {
        now = Instant(nanoseconds: martlet_monotonic_ns())   // the only clock reading of the round
        transport.reap()                                      // what the kernel finished: data in, waiters awake
        expireTimers()
        drainInbox()
        runJobs()                                             // tasks run: they receive, send, close
        transport.prepare()                                   // what they left to send, one operation a connection
        counters.rounds &+= 1
        wait()                                                // one system call: submits all of it, sleeps when idle
    }

    private func wait() {
        guard jobs.isEmpty, inbox.isEmpty, !isStopping, !transport.hasWork else {
            transport.driver.submit(timeout: 0)
            return
        }
        noteStall()
        if spin > 0 && spinForWork() { return }
        guard inbox.prepareToSleep() else {
            transport.driver.submit(timeout: 0)
            return
        }
        counters.sleeps &+= 1
        transport.driver.submit(timeout: timeUntilNextTimer())
        inbox.wokeUp()
    }

    /// Nanoseconds until the next timer, or -1 if there is none.
    private func timeUntilNextTimer() -> Int64 {
        guard let deadline = timers.nextDeadline else { return -1 }
        return max(1, deadline.nanoseconds - martlet_monotonic_ns())
    }

    /// Looks for work without sleeping, for as long as the configuration says. Returns whether there is some.
    private func spinForWork() -> Bool {
        let end = martlet_monotonic_ns() + spin
        repeat {
            transport.driver.submit(timeout: 0)
            if transport.driver.hasCompletion || !inbox.isEmpty { return true }
            if let deadline = timers.nextDeadline, deadline.nanoseconds <= martlet_monotonic_ns() { return true }
        } while martlet_monotonic_ns() < end
        return false
    }

    /// The watchdog: the coarse clock is a few nanoseconds to read, and its 4 ms are fine enough to see a job that blocks.
    private func noteStall() {
        if martlet_coarse_ns() - now.nanoseconds > stallThreshold { counters.stalls &+= 1 }
    }

    private func expireTimers() {
        timers.advance(to: now)
        while let timer = timers.popExpired() {
            let waiter = Int(timer) - configuration.limits.connectionsPerCore
            if waiter < 0 {
                transport.timerExpired(slot: timer)
            } else {
                resume(waiters[waiter], .deadline)
            }
        }
    }

    private func drainInbox() {
        unsafe inbox.drain(
            job: {
                counters.inboxArrivals &+= 1
                unsafe jobs.append(tagged: $0)
            },
            message: {
                counters.inboxArrivals &+= 1
                handle($0)
            })
    }

    private func handle(_ message: Message) {
        switch message.kind {
        case .cancel(let index, let ticket):
            let waiter = waiters[Int(index)]
            if unsafe waiter.ticket == ticket { resume(waiter, .cancelled) }
        case .ready(let index, let ticket):
            let waiter = waiters[Int(index)]
            if unsafe waiter.ticket == ticket { resume(waiter, .ready) }
        case .cancelScope(let scope):
            if scope.parked >= 0 { resume(waiters[Int(scope.parked)], .cancelled) }
        case .dropConnection(let slot, let generation): transport.dropHandle(slot, generation)
        case .dropListener(let slot, let generation): transport.dropListener(slot, generation)
        case .dropDatagramSocket(let slot, let generation): transport.dropDatagramSocket(slot, generation)
        case .onSignal(let action): onSignal = action
        case .stop: isStopping = true
        }
    }

    /// Somebody signalled the eventfd: perhaps a signal handler.
    func wasWoken() {
        if let onSignal, martlet_signal_take_pending() != 0 { onSignal() }
    }

    private func runJobs() {
        let task = unsafe taskExecutor.asUnownedTaskExecutor()
        let serial = unsafe serialExecutor.asUnownedSerialExecutor()
        var budget = configuration.limits.jobsPerRound
        while budget > 0, let pointer = unsafe jobs.popFirst() {
            budget -= 1
            let job = unsafe UnownedJob(pointer: pointer)
            if unsafe martlet_job_tag(pointer) == JobOrigin.task.rawValue {
                unsafe job.runSynchronously(on: task)
            } else {
                unsafe job.runSynchronously(isolatedTo: serial, taskExecutor: task)
            }
        }
        counters.jobs &+= UInt64(configuration.limits.jobsPerRound - budget)
    }

    // MARK: Jobs and waiters

    func enqueue(_ job: UnownedJob, origin: JobOrigin) {
        if isCurrent {
            unsafe jobs.append(job.pointer, origin: origin)
        } else {
            unsafe inbox.push(job: job.pointer, origin: origin)
        }
    }

    func enqueueLocally(_ job: UnsafeMutableRawPointer, origin: JobOrigin) { unsafe jobs.append(job, origin: origin) }

    /// A waiter that nobody uses. The pool grows to as many as were ever parked at once.
    func takeWaiter(in queue: WaitQueue, slot: Int32) -> Waiter {
        let waiter: Waiter
        if let index = freeWaiters.popLast() {
            waiter = waiters[Int(index)]
        } else {
            waiter = Waiter(core: self, index: Int32(waiters.count))
            waiters.append(waiter)
            freeWaiters.reserveCapacity(waiters.capacity)
            timers.grow(to: configuration.limits.connectionsPerCore + waiters.capacity)
        }
        _ = waiter.begin(in: queue, slot: slot)
        return waiter
    }

    /// Returns a waiter that was not parked after all.
    func give(back waiter: Waiter) { freeWaiters.append(waiter.index) }

    func waiter(_ index: Int32) -> Waiter { waiters[Int(index)] }

    /// Takes a parked waiter out of what it waits in, and lets its task go on.
    func resume(_ waiter: Waiter, _ outcome: Outcome) {
        guard unsafe waiter.isParked else { return }
        transport.unlink(waiter)
        waiter.resume(outcome)
    }

    /// Parks the calling task in `waiter` until something resumes it, the deadline passes or the task is cancelled.
    /// `scope` is the task's scope if one watches over its cancellation already.
    func park(_ waiter: Waiter, deadline: Int64 = .max, scope: TaskScope? = nil) async -> Outcome {
        if Task.isCancelled {
            transport.unlink(waiter)
            waiter.withdraw()
            freeWaiters.append(waiter.index)
            return .cancelled
        }
        let timer = Int32(configuration.limits.connectionsPerCore) + waiter.index
        if deadline != .max { timers.arm(timer, at: Instant(nanoseconds: deadline)) }
        let outcome: Outcome
        if let scope {
            scope.parked = waiter.index
            outcome = await waiter.park()
            scope.parked = -1
        } else {
            let ticket = unsafe waiter.ticket
            let index = waiter.index
            outcome = await withTaskCancellationHandler {
                await waiter.park()
            } onCancel: {
                inbox.push(Message(.cancel(waiter: index, ticket: ticket)))
            }
        }
        if deadline != .max { timers.cancel(timer) }
        freeWaiters.append(waiter.index)
        return outcome
    }

    /// Parks the calling task in `waiter`. Neither its cancellation nor time ends that.
    func parkUncancellably(_ waiter: Waiter) async {
        _ = await waiter.park()
        freeWaiters.append(waiter.index)
    }

    /// The instant that lies `timeout` ahead, in nanoseconds, or `.max` for none.
    func deadline(within timeout: Duration?) -> Int64 {
        guard let timeout else { return .max }
        let (instant, overflows) = martlet_monotonic_ns().addingReportingOverflow(max(0, timeout.nanoseconds))
        return overflows ? .max : instant
    }
}

/// What a new thread is handed.
private final class ThreadStart: @unchecked Sendable {
    private let core: Core
    private let started: (Result<String, NetworkError>) -> Void

    init(core: Core, started: @escaping (Result<String, NetworkError>) -> Void) {
        self.core = core
        self.started = started
    }

    func run() { core.run(started: started) }
}
