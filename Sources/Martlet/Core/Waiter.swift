// Where a task waits. A waiter is an actor that is its own serial executor: entering it hands the task's job to `enqueue`,
// which keeps it instead of running it, and the core runs it when the event has come. That suspends and resumes a task
// with one enqueue and no continuation record: 120 ns against 175 ns for a continuation.
//
// A parked operation has an identity, (waiter, ticket), so that any one of them can be cancelled: the ticket changes when
// the waiter is used again, and a late cancellation or timer then finds nothing.

internal import CMartlet
internal import MartletStack

/// Why a parked operation was resumed.
enum Outcome: UInt8 {
    /// What it waited for may be there: look again.
    case ready
    case cancelled
    case deadline
}

@safe final actor Waiter: SerialExecutor {
    private unowned(unsafe) let core: Core
    /// The waiter's number in its core's pool, and of its timer.
    nonisolated let index: Int32

    // Below: touched on the core's thread only.
    nonisolated(unsafe) private var job: UnsafeMutableRawPointer?
    nonisolated(unsafe) private(set) var ticket: UInt32 = 0
    nonisolated(unsafe) private(set) var isParked = false
    /// What the waiter waits in, so that it can leave when it is cancelled.
    nonisolated(unsafe) var queue: WaitQueue = .none
    nonisolated(unsafe) var slot: Int32 = -1
    nonisolated(unsafe) var next: Int32 = -1
    nonisolated(unsafe) private var pending: Outcome = .ready

    /// Isolated state: reading it is what makes `park` a real suspension that no optimiser may drop.
    private var parks: UInt = 0

    init(core: Core, index: Int32) {
        unsafe self.core = core
        self.index = index
    }

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe UnownedSerialExecutor(ordinary: self) }

    /// Suspends the calling task until `resume`.
    @inline(never)
    func park() -> Outcome {
        parks &+= 1
        return unsafe pending
    }

    nonisolated func enqueue(_ job: consuming ExecutorJob) {
        unsafe assert(core.isCurrent && self.job == nil, "a waiter takes one task at a time, on its core's thread")
        unsafe self.job = UnownedJob(job).pointer
    }

    /// Takes the waiter into use. Returns the ticket that names this use.
    nonisolated func begin(in queue: WaitQueue, slot: Int32) -> UInt32 {
        unsafe self.queue = queue
        unsafe self.slot = slot
        unsafe isParked = true
        unsafe ticket &+= 1
        return unsafe ticket
    }

    /// Puts the parked task on the run queue. Once a use.
    nonisolated func resume(_ outcome: Outcome) {
        guard unsafe isParked else { return }
        unsafe isParked = false
        unsafe queue = .none
        unsafe pending = outcome
        guard let job = unsafe job else { preconditionFailure("a waiter was resumed before its task had parked") }
        unsafe self.job = nil
        // The job runs on the task executor although it was enqueued here. What runs inside the waiter is `park`'s two
        // lines; going on on the executor that the caller returns to saves a second enqueue.
        unsafe core.enqueueLocally(job, origin: .task)
    }

    /// Takes back `begin`: the task did not park after all.
    nonisolated func withdraw() {
        unsafe isParked = false
        unsafe queue = .none
    }
}

/// What a waiter is linked into, so that a cancelled one can be taken out again.
enum WaitQueue: UInt8 {
    case none
    case receive
    case send
    case flush
    case connect
    case accept
    case handler
    case sleep
    case datagram
}
