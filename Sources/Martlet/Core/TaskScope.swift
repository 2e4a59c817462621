// One cancellation handler for a whole scope. Installing one costs more than a resume does, so `serve` and `withConnection`
// install one for their task, and every operation of that task on its connection parks without one of its own.

/// A task that has a cancellation handler, and where it is parked. Touched on the core's thread only.
final class TaskScope: @unchecked Sendable {
    /// The task, as an identity to compare.
    var task: UInt = 0
    /// The waiter that the task is parked in through this scope, or -1.
    var parked: Int32 = -1
}

/// The identity of the running task.
var currentTaskIdentity: UInt {
    unsafe withUnsafeCurrentTask { task in
        guard let task = unsafe task else { return 0 }
        return unsafe unsafeBitCast(task, to: UInt.self)
    }
}
