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

/// The state of a waiter. Plain memory at a fixed address, so that waking a task touches no reference count.
@safe struct WaiterRecord {
    /// The job of the parked task.
    var job: UnsafeMutableRawPointer?
    var ticket: UInt32 = 0
    /// The socket it waits on, or -1.
    var slot: Int32 = -1
    /// The next waiter of the same queue, or -1.
    var next: Int32 = -1
    var queue = WaitQueue.none
    var isParked = false
    var outcome = Outcome.ready
    let index: Int32
    /// Where a cancellation goes.
    let inbox: Unmanaged<Inbox>
}

/// The task parked in a waiter was cancelled, on whatever thread. The ticket cannot change meanwhile: the task takes the handler
/// down before it goes on, and that waits for a handler that runs.
@c(martlet_waiter_cancelled)
func waiterCancelled(_ waiter: UnsafeMutableRawPointer) {
    let record = unsafe waiter.assumingMemoryBound(to: WaiterRecord.self)
    let message = Message(.cancel(waiter: unsafe record.pointee.index, ticket: unsafe record.pointee.ticket))
    unsafe record.pointee.inbox._withUnsafeGuaranteedRef { $0.push(message) }
}

@safe final actor Waiter: SerialExecutor {
    nonisolated(unsafe) let record: UnsafeMutablePointer<WaiterRecord>

    /// Isolated state: changing it is what makes `park` a real suspension that no optimiser may drop.
    private var parks: UInt = 0

    init(index: Int32, inbox: Inbox) {
        unsafe record = .allocate(capacity: 1)
        unsafe record.initialize(to: WaiterRecord(index: index, inbox: .passUnretained(inbox)))
    }

    deinit { unsafe record.deallocate() }

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe UnownedSerialExecutor(ordinary: self) }

    /// Suspends the calling task until `WaiterTable.resume`.
    @inline(never)
    func park() -> Outcome {
        parks &+= 1
        return unsafe record.pointee.outcome
    }

    nonisolated func enqueue(_ job: consuming ExecutorJob) {
        unsafe assert(martlet_current_core() != nil, "a task parks on its waiter's core's thread")
        unsafe assert(record.pointee.job == nil, "a waiter takes one task at a time")
        unsafe record.pointee.job = UnownedJob(job).pointer
    }
}

/// A core's waiters, by number. The table grows to as many as were ever parked at once, and keeps them.
@safe struct WaiterTable: ~Copyable {
    private let inbox: Inbox
    private var waiters: [Waiter] = []
    private var records: UnsafeMutablePointer<UnsafeMutablePointer<WaiterRecord>>
    private var capacity = 256
    /// The first of the unused ones, which are linked through their `next`.
    private var firstFree: Int32 = -1

    init(inbox: Inbox) {
        self.inbox = inbox
        unsafe records = .allocate(capacity: capacity)
    }

    deinit { unsafe records.deallocate() }

    var count: Int { waiters.count }

    subscript(index: Int32) -> UnsafeMutablePointer<WaiterRecord> { unsafe records[Int(index)] }

    /// The object to park in.
    func object(_ index: Int32) -> Waiter { waiters[Int(index)] }

    /// Takes an unused waiter into use. Its ticket names this use.
    mutating func take(in queue: WaitQueue, slot: Int32) -> Int32 {
        let index = firstFree >= 0 ? firstFree : add()
        let record = unsafe records[Int(index)]
        unsafe firstFree = record.pointee.next
        unsafe record.pointee.queue = queue
        unsafe record.pointee.slot = slot
        unsafe record.pointee.next = -1
        unsafe record.pointee.isParked = true
        unsafe record.pointee.ticket &+= 1
        return index
    }

    private mutating func add() -> Int32 {
        let waiter = Waiter(index: Int32(waiters.count), inbox: inbox)
        if waiters.count == capacity {
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<WaiterRecord>>.allocate(capacity: capacity * 2)
            unsafe larger.moveInitialize(from: records, count: capacity)
            unsafe records.deallocate()
            unsafe records = larger
            capacity *= 2
        }
        unsafe (records + waiters.count).initialize(to: waiter.record)
        waiters.append(waiter)
        return Int32(waiters.count - 1)
    }

    /// Returns a waiter whose task goes on, or never parked.
    mutating func release(_ index: Int32) {
        unsafe records[Int(index)].pointee.isParked = false
        unsafe records[Int(index)].pointee.queue = .none
        unsafe records[Int(index)].pointee.next = firstFree
        firstFree = index
    }

    /// Ends a waiter's wait. Returns the parked task's job, or nil if the wait has ended before.
    mutating func resume(_ index: Int32, _ outcome: Outcome) -> UnsafeMutableRawPointer? {
        let record = unsafe records[Int(index)]
        guard unsafe record.pointee.isParked else { return nil }
        guard let job = unsafe record.pointee.job else {
            preconditionFailure("a waiter was resumed before its task had parked")
        }
        unsafe record.pointee.isParked = false
        unsafe record.pointee.queue = .none
        unsafe record.pointee.outcome = outcome
        unsafe record.pointee.job = nil
        return unsafe job
    }
}
