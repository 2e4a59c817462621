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
    /// Where a cancellation goes.
    fileprivate let inbox: Inbox
    /// The handler, while there is one.
    private var handler: UnsafeMutableRawPointer?

    init(inbox: Inbox) {
        self.inbox = inbox
        unsafe record = .allocate(capacity: 1)
        unsafe record.initialize(to: ScopeRecord())
    }

    deinit { unsafe record.deallocate() }

    /// The calling task is watched over from here on, until it calls ``end()``; it holds the scope until then. No closures, and no
    /// frames of the task's for them, which an idle connection would keep.
    func begin() {
        unsafe record.pointee.task = CurrentTask.identity
        unsafe handler = martlet_watch_scope(Unmanaged.passUnretained(self).toOpaque())
    }

    func end() {
        if let handler = unsafe handler { unsafe martlet_unwatch_cancellation(handler) }
        unsafe handler = nil
    }
}

/// The task of a scope was cancelled, on whatever thread. The scope is there: its task ends it first, and waits for a handler that runs.
@c(martlet_scope_cancelled)
func scopeCancelled(_ scope: UnsafeMutableRawPointer) {
    let scope = unsafe Unmanaged<TaskScope>.fromOpaque(scope).takeUnretainedValue()
    scope.inbox.push(Message(.cancelScope(scope)))
}

/// The running task, without the reference counting of `withUnsafeCurrentTask`.
enum CurrentTask {
    /// An identity to compare, or 0 outside of tasks.
    static var identity: UInt { martlet_task_identity() }

    static var isCancelled: Bool { martlet_task_is_cancelled() }
}
