// Where a task waits. A waiter is plain memory that holds the job of the task parked in it, until the core runs it because
// the event has come.
//
// A task parks through `martlet_park`: it stores where the task goes on and leaves, with no executor asked and no reference
// counted. A third of a message's user space is saved by that, against entering an actor that keeps the job.
//
// A parked operation has an identity, (waiter, ticket), so that any one of them can be cancelled: the ticket changes when
// the waiter is used again, and a late cancellation or timer then finds nothing.

internal import CMartlet
internal import MartletStack

/// Suspends the calling task and stores it at `job`: whoever runs it from there resumes it. In `job.c`.
///
/// The caller must not be isolated to an actor of the program's: it would not be left.
@_silgen_name("martlet_park")
@usableFromInline
nonisolated(nonsending) func parkTask(_ job: UnsafeMutableRawPointer) async

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
    case link
}

/// The state of a waiter. Plain memory at a fixed address, so that waking a task touches no reference count.
@safe struct WaiterRecord {
    /// The job of the parked task. At the start of the record: `martlet_park` stores it there.
    var job: UnsafeMutableRawPointer?
    var ticket: UInt32 = 0
    /// The socket it waits on, or -1.
    var slot: Int32 = -1
    /// The next waiter of the same queue, or -1.
    var next: Int32 = -1
    var queue = WaitQueue.none
    var isParked = false
    var hasTimer = false
    /// The executor that the job runs on.
    var origin = JobOrigin.task
    var outcome = Outcome.ready
    /// What watches over the task's cancellation: its scope, or a handler for this wait alone.
    var scope: UnsafeMutablePointer<ScopeRecord>?
    var handler: UnsafeMutableRawPointer?
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

extension Core {
    /// Makes a waiter ready for the calling task to be parked in it by `parkTask`, until something resumes it, the deadline passes or
    /// the task is cancelled. ``unpark(_:)`` follows.
    ///
    /// The caller has seen that the task is not cancelled, without suspending since. `scope` is the task's scope if one watches
    /// over its cancellation already.
    func prepareToPark(
        _ waiter: Int32, _ actor: (any Actor)?, deadline: Int64, scope: UnsafeMutablePointer<ScopeRecord>?
    ) -> UnsafeMutablePointer<WaiterRecord> {
        let record = unsafe prepare(waiter, actor)
        if deadline != .max {
            unsafe state.pointee.timers.arm(
                CoreState.timer(ofWaiter: waiter), at: Instant(nanoseconds: deadline))
            unsafe record.pointee.hasTimer = true
        }
        if let scope = unsafe scope {
            unsafe scope.pointee.parked = waiter
            unsafe record.pointee.scope = scope
        } else {
            unsafe record.pointee.handler = martlet_watch_cancellation(record)
        }
        return unsafe record
    }

    @inline(__always)
    private func prepare(_ waiter: Int32, _ actor: (any Actor)?) -> UnsafeMutablePointer<WaiterRecord> {
        precondition(isHome(actor), "a task parks on its core, and in no actor of the program's")
        let record = unsafe state.pointee.waiters[waiter]
        unsafe assert(record.pointee.job == nil, "a waiter takes one task at a time")
        unsafe record.pointee.origin = actor == nil ? .task : .serial
        return unsafe record
    }

    /// The task goes on: takes down what watched over it. Returns why.
    func unpark(_ record: UnsafeMutablePointer<WaiterRecord>) -> Outcome {
        if let scope = unsafe record.pointee.scope {
            unsafe scope.pointee.parked = -1
            unsafe record.pointee.scope = nil
        } else if let handler = unsafe record.pointee.handler {
            unsafe martlet_unwatch_cancellation(handler)
            unsafe record.pointee.handler = nil
        }
        let waiter = unsafe record.pointee.index
        if unsafe record.pointee.hasTimer {
            unsafe state.pointee.timers.cancel(CoreState.timer(ofWaiter: waiter))
            unsafe record.pointee.hasTimer = false
        }
        let outcome = unsafe record.pointee.outcome
        unsafe state.pointee.waiters.release(waiter)
        return outcome
    }

    /// Parks the calling task in a waiter until something ends that.
    @inline(__always)
    nonisolated(nonsending) func park(
        _ waiter: Int32, deadline: Int64 = .max, scope: UnsafeMutablePointer<ScopeRecord>? = nil
    ) async -> Outcome {
        let record = unsafe prepareToPark(waiter, #isolation, deadline: deadline, scope: scope)
        unsafe await parkTask(record)
        return unsafe unpark(record)
    }

    /// Parks the calling task in `waiter`. Neither its cancellation nor time ends that.
    nonisolated(nonsending) func parkUncancellably(_ waiter: Int32) async {
        let record = unsafe prepare(waiter, #isolation)
        unsafe await parkTask(record)
        _ = unsafe unpark(record)
    }
}

/// A core's waiters, by number. The table grows to as many as were ever parked at once, and keeps them.
@safe struct WaiterTable: ~Copyable {
    private let inbox: Inbox
    private var records: UnsafeMutablePointer<UnsafeMutablePointer<WaiterRecord>>
    private(set) var count = 0
    private var capacity = 256
    /// The first of the unused ones, which are linked through their `next`.
    private var firstFree: Int32 = -1

    init(inbox: Inbox) {
        self.inbox = inbox
        unsafe records = .allocate(capacity: capacity)
    }

    deinit {
        for index in 0..<count { unsafe records[index].deallocate() }
        unsafe records.deallocate()
    }

    subscript(index: Int32) -> UnsafeMutablePointer<WaiterRecord> { unsafe records[Int(index)] }

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
        if count == capacity {
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<WaiterRecord>>.allocate(capacity: capacity * 2)
            unsafe larger.moveInitialize(from: records, count: capacity)
            unsafe records.deallocate()
            unsafe records = larger
            capacity *= 2
        }
        let record = UnsafeMutablePointer<WaiterRecord>.allocate(capacity: 1)
        unsafe record.initialize(to: WaiterRecord(index: Int32(count), inbox: .passUnretained(inbox)))
        unsafe (records + count).initialize(to: record)
        count += 1
        return Int32(count - 1)
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
