// The running task, and scopes of cancellation. Installing a cancellation handler costs more than a resume does, so `serve` and
// `withConnection` install one for their task, and every operation of that task on its connection parks without one of its own.

internal import CMartlet

/// The state of a scope. Plain memory at a fixed address, so that an operation may look at it without counting references.
struct ScopeRecord {
    /// The task, as an identity to compare.
    var task: UInt = 0
    /// The waiter that the task is parked in through this scope, or -1.
    var parked: Int32 = -1
    /// The connection that is reset when the task is cancelled, or -1.
    var slot: Int32 = -1
}

/// A task that has a cancellation handler for all it does on its connection. Its record is touched on the core's thread only.
@safe final class TaskScope: @unchecked Sendable {
    let record: UnsafeMutablePointer<ScopeRecord>

    init() {
        unsafe record = .allocate(capacity: 1)
        unsafe record.initialize(to: ScopeRecord())
    }

    deinit { unsafe record.deallocate() }
}

/// The running task, without the reference counting of `withUnsafeCurrentTask`.
enum CurrentTask {
    /// An identity to compare, or 0 outside of tasks.
    static var identity: UInt { martlet_task_identity() }

    static var isCancelled: Bool { martlet_task_is_cancelled() }
}
