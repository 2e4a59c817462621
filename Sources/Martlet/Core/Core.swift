// A core: one thread, pinned to one CPU, that alone touches its driver, sockets, timers and tasks. Everything on one screen is
// `round()`. From elsewhere a core is reached through its inbox and in no other way.

internal import CMartlet
internal import Logging
internal import MartletStack

/// One of a runtime's cores: a CPU with a thread of its own, and all the connections and tasks that live on it.
///
/// Code that runs on a core must not block: a blocking call holds up every connection of that core. Use `Task.detached`, or
/// a thread, for work that blocks.
@safe public final class Core: @unchecked Sendable {
    /// The core's number in its runtime, from 0.
    public let index: Int
    /// The CPU that the core is pinned to, or nil if it is not pinned.
    public let cpu: Int?

    let configuration: Runtime.Configuration
    let inbox: Inbox
    /// What the core runs on in place of a machine, if it is simulated, and has no thread then.
    let machine: (any SimulatedMachine)?
    let clock: CoreClock
    let transport: KernelTransport
    let state: UnsafeMutablePointer<CoreState>

    private(set) var taskExecutor: CoreTaskExecutor! = nil
    private(set) var serialExecutor: CoreSerialExecutor! = nil
    private(set) var isolation: CoreIsolation! = nil

    /// What the cores share of their links, and this core's frames for them, once there is a link.
    let links: RuntimeLinks
    var framePool: FramePool?

    private var isStopping = false
    /// The runtime ends, and this core has nothing to deliver any more.
    private var hasDelivered = false
    /// Whom to tell when the thread has ended.
    private var ended: (() -> Void)?
    /// The runtime is shutting down: nothing listens any more.
    var isShuttingDown = false
    private let jobsPerRound: Int
    private let stallThreshold: Int64
    private let spin: Int64
    /// When a core with a stack last had something to do, and how many jobs it had run by then.
    private var idleSince: Int64 = 0
    private var jobsSeen: UInt64 = 0
    private var onSignal: (() -> Void)?
    /// Of the options that were connected with last.
    var lastPolicy: Policy?
    /// Scopes of connections that are over, for those to come.
    var spareScopes: [TaskScope] = []

    init(
        index: Int, cpu: Int?, configuration: Runtime.Configuration, links: RuntimeLinks? = nil,
        machine: (any SimulatedMachine)? = nil
    ) {
        self.index = index
        self.cpu = cpu
        self.configuration = configuration
        self.links = links ?? RuntimeLinks(limits: configuration.limits, cores: 1)
        self.machine = machine
        clock = CoreClock(machine)
        inbox = Inbox(eventDescriptor: machine == nil ? martlet_eventfd() : -1)
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(
            to: CoreState(
                sockets: configuration.limits.connectionsPerCore, now: Instant(nanoseconds: clock.nanoseconds),
                inbox: inbox))
        transport = unsafe KernelTransport(state: state, limits: configuration.limits)
        jobsPerRound = configuration.limits.jobsPerRound
        stallThreshold = configuration.limits.stallThreshold.nanoseconds
        if case .spin(let duration) = configuration.idle { spin = duration.nanoseconds } else { spin = 0 }
        taskExecutor = CoreTaskExecutor(core: self)
        serialExecutor = CoreSerialExecutor(core: self)
        isolation = CoreIsolation(executor: serialExecutor)
    }

    deinit {
        if inbox.eventDescriptor >= 0 { _ = martlet_close(inbox.eventDescriptor) }
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
    }

    /// Whether the caller runs on this core's thread.
    var isCurrent: Bool { unsafe martlet_current_core() == Unmanaged.passUnretained(self).toOpaque() }

    /// Whether code isolated to `actor` may wait here: on this thread, and in no actor but the core's own.
    ///
    /// An actor of the program's may run on this thread by chance, and where it goes on after waiting is its own affair.
    /// Its calls come to the core by a hop, as from another thread.
    @inline(__always)
    func isHome(_ actor: (any Actor)?) -> Bool { isCurrent && (actor == nil || actor === isolation) }

    /// The transport without a count of references, which the compiler would keep: it lives as long as the core does.
    @inline(__always)
    func withTransport<R>(_ body: (KernelTransport) -> R) -> R {
        unsafe Unmanaged.passUnretained(transport)._withUnsafeGuaranteedRef { body($0) }
    }

    /// Traps unless the caller runs on this core's thread.
    ///
    /// It is also what keeps a hop to the core where it is written. The optimiser of Swift 6.3 drops one that is followed by
    /// nothing but a call of an async function, which it takes to hop for itself; one that goes on as its caller does, does not.
    @inline(never)
    func mustBeCurrent() { precondition(isCurrent, "this runs on the thread of core \(index) only") }

    // MARK: The thread

    /// Starts the thread and returns when it is up, with the driver's description.
    func start() async throws(NetworkError) -> String {
        if let machine { return try begin(on: machine) }
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
            started(.success(try open()))
        } catch {
            started(.failure(error))
            return
        }
        let task = unsafe taskExecutor.asUnownedTaskExecutor()
        let serial = unsafe serialExecutor.asUnownedSerialExecutor()
        while !hasStopped {
            unsafe round(task, serial)
            wait()  // one system call: submits all of it, sleeps when idle
        }
        end()
        martlet_set_current_core(nil)
    }

    /// Opens what the core works with, on the thread that it works on. Says which driver that is, and why.
    func open() throws(NetworkError) -> String {
        guard machine == nil else {
            transport.open(try withStack(Driver()))
            return "a simulated machine" + stackDescription
        }
        let (driver, description) = try Driver.open(
            configuration.effectiveDriver, sqpoll: configuration.sqpoll, limits: configuration.limits,
            eventDescriptor: inbox.eventDescriptor)
        transport.open(try withStack(driver))
        return description + stackDescription
    }

    /// Closes all that is open, after the last round.
    func end() {
        transport.closeEverything()
        // The last word of connections that are reset.
        transport.driver.endRound(at: unsafe state.pointee.now)
        links.stackCores?.ends()
        if index == 0 { carryLastWords() }
        ended?()
    }

    /// Ends the thread, and returns when it has ended. Connections that are closing may deliver their last data until the
    /// given instant and within their close timeout; what is still open then is reset.
    func stop(lingerUntil deadline: Int64 = 0) async {
        unsafe await withUnsafeContinuation { continuation in
            inbox.push(Message(.stop(lingerUntil: deadline) { unsafe continuation.resume() }))
        }
    }

    var hasStopped: Bool {
        guard isStopping else { return false }
        if !hasDelivered {
            let now = unsafe state.pointee.now.nanoseconds
            hasDelivered =
                !transport.isLingering && !(transport.driver.isDelivering && now < transport.lastCloseDeadline)
            if hasDelivered { links.stackCores?.hasDelivered() }
        }
        return hasDelivered && links.stackCores?.allHaveDelivered ?? true
    }

    /// The first core transmits the last frames of the others, if it has their links.
    private func carryLastWords() {
        guard let cores = links.stackCores else { return }
        while !cores.allHaveEnded {
            transport.driver.endRound(at: unsafe state.pointee.now)
            transport.driver.submit(timeout: 100_000)
        }
        transport.driver.endRound(at: unsafe state.pointee.now)
    }

    // MARK: The round

    func round(_ task: UnownedTaskExecutor, _ serial: UnownedSerialExecutor) {
        unsafe state.pointee.now = Instant(nanoseconds: clock.nanoseconds)  // the only clock reading of the round
        if transport.reap() { wasSignalled() }  // what the kernel finished: data in, waiters awake
        expireTimers()
        drainInbox()
        unsafe runJobs(task, serial)  // tasks run: they receive, send, close
        transport.prepare()  // what they left to send, one operation a connection
        unsafe state.pointee.counters.rounds &+= 1
    }

    private func wait() {
        noteStall()
        guard unsafe state.pointee.jobs.isEmpty, inbox.isEmpty, !hasStopped, !transport.hasWork else {
            transport.driver.submit(timeout: 0)
            return
        }
        if spin > 0 && spinForWork() { return }
        guard inbox.prepareToSleep() else {
            transport.driver.submit(timeout: 0)
            return
        }
        if let deadline = transport.driver.prepareToSleep() {
            unsafe state.pointee.counters.sleeps &+= 1
            transport.driver.submit(timeout: timeUntilNextTimer(orAt: deadline))
            transport.driver.wokeUp()
        } else {
            transport.driver.submit(timeout: 0)
        }
        inbox.wokeUp()
    }

    /// Nanoseconds until the next timer, or until an instant if that comes first; -1 if there is neither.
    private func timeUntilNextTimer(orAt instant: Int64) -> Int64 {
        let deadline = min(unsafe state.pointee.timers.nextDeadline?.nanoseconds ?? .max, instant)
        return deadline == .max ? -1 : max(1, deadline - martlet_monotonic_ns())
    }

    /// Looks for work without sleeping, for as long as the configuration says. Returns whether there is some.
    private func spinForWork() -> Bool {
        if unsafe transport.driver.stack != nil { return spinForFrames() }
        let end = martlet_monotonic_ns() + spin
        repeat {
            transport.driver.submit(timeout: 0)
            if transport.driver.hasCompletion || !inbox.isEmpty { return true }
            if let deadline = unsafe state.pointee.timers.nextDeadline, deadline.nanoseconds <= martlet_monotonic_ns() {
                return true
            }
        } while martlet_monotonic_ns() < end
        return false
    }

    /// The same with a stack, which looks for frames, and at its timers, in rounds: it goes on with those for as long.
    private func spinForFrames() -> Bool {
        let (now, jobs) = unsafe (state.pointee.now.nanoseconds, state.pointee.counters.jobs)
        if jobs != jobsSeen { (idleSince, jobsSeen) = (now, jobs) }
        guard now - idleSince < spin else { return false }
        transport.driver.submit(timeout: 0)
        return true
    }

    /// The watchdog: the coarse clock is a few nanoseconds to read, and its 4 ms are fine enough to see a job that blocks.
    private func noteStall() {
        let elapsed = unsafe martlet_coarse_ns() - state.pointee.now.nanoseconds
        if elapsed > stallThreshold { unsafe state.pointee.counters.stalls &+= 1 }
    }

    private func expireTimers() {
        unsafe state.pointee.timers.advance(to: state.pointee.now)
        while let timer = unsafe state.pointee.timers.popExpired() {
            if timer & 1 == 0 { transport.timerExpired(slot: timer / 2) } else { end(timer / 2, .deadline) }
        }
    }

    private func drainInbox() {
        guard !inbox.isEmpty else { return }
        unsafe inbox.drain(
            job: {
                unsafe state.pointee.counters.inboxArrivals &+= 1
                unsafe state.pointee.jobs.append(tagged: $0)
            },
            message: {
                unsafe state.pointee.counters.inboxArrivals &+= 1
                handle($0)
            })
    }

    private func handle(_ message: Message) {
        switch message.kind {
        case .cancel(let waiter, let ticket):
            if unsafe state.pointee.waiters[waiter].pointee.ticket == ticket { end(waiter, .cancelled) }
        case .ready(let waiter, let ticket):
            if unsafe state.pointee.waiters[waiter].pointee.ticket == ticket { end(waiter, .ready) }
        case .cancelScope(let scope):
            unsafe transport.scopeCancelled(scope.record)
        case .dropConnection(let slot, let generation): transport.dropHandle(slot, generation)
        case .dropListener(let slot, let generation): transport.dropListener(slot, generation)
        case .dropDatagramSocket(let slot, let generation): transport.dropDatagramSocket(slot, generation)
        case .onSignal(let action):
            onSignal = action
            wasSignalled()
        case .stop(let deadline, let ended):
            isStopping = true
            transport.closeAll(until: deadline)
            self.ended = ended
        }
    }

    /// Somebody signalled the eventfd: perhaps a signal handler.
    private func wasSignalled() {
        if let onSignal, martlet_signal_take_pending() != 0 { onSignal() }
    }

    private func runJobs(_ task: UnownedTaskExecutor, _ serial: UnownedSerialExecutor) {
        var budget = jobsPerRound
        while budget > 0, let pointer = unsafe state.pointee.jobs.popFirst() {
            budget -= 1
            let job = unsafe UnownedJob(pointer: pointer)
            if unsafe martlet_job_tag(pointer) == JobOrigin.task.rawValue {
                unsafe job.runSynchronously(on: task)
            } else {
                unsafe job.runSynchronously(isolatedTo: serial, taskExecutor: task)
            }
        }
        unsafe state.pointee.counters.jobs &+= UInt64(jobsPerRound - budget)
    }

    // MARK: Jobs and waiters

    func enqueue(_ job: UnownedJob, origin: JobOrigin) {
        if isCurrent {
            unsafe state.pointee.jobs.append(job.pointer, origin: origin)
        } else {
            if let machine, !martlet_world_is_current() { machine.wasDisturbed() }
            unsafe inbox.push(job: job.pointer, origin: origin)
        }
    }

    func takeWaiter(in queue: WaitQueue, slot: Int32 = -1) -> Int32 {
        unsafe state.pointee.takeWaiter(in: queue, slot: slot)
    }

    /// Ends a wait from outside of what it waits for: the waiter leaves its queue, and its task goes on.
    private func end(_ waiter: Int32, _ outcome: Outcome) { transport.end(waiter, outcome) }

    /// The instant that lies `timeout` ahead, in nanoseconds, or `.max` for none.
    func deadline(within timeout: Duration?) -> Int64 {
        guard let timeout else { return .max }
        let (instant, overflows) = clock.nanoseconds.addingReportingOverflow(max(0, timeout.nanoseconds))
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
