// A core's two executors over its one run queue. Two objects, because one type that is both is slow in the runtime.
// SE-0392 (custom serial executors), SE-0417 (task executor preference).

/// Runs the tasks of a core: handlers, their child tasks and all nonisolated code under them.
final class CoreTaskExecutor: TaskExecutor {
    private unowned let core: Core

    init(core: Core) { self.core = core }

    func enqueue(_ job: consuming ExecutorJob) { core.enqueue(UnownedJob(job), origin: .task) }
}

/// Runs what is isolated to a core: calls that came from elsewhere.
final class CoreSerialExecutor: SerialExecutor {
    private unowned let core: Core

    init(core: Core) { self.core = core }

    func enqueue(_ job: consuming ExecutorJob) { core.enqueue(UnownedJob(job), origin: .serial) }

    func checkIsolated() { precondition(core.isCurrent, "this code belongs on core \(core.index)'s thread") }

    func isIsolatingCurrentContext() -> Bool? { core.isCurrent }
}

/// The isolation of a core: its methods run on the core's thread, whoever calls them.
actor CoreIsolation {
    private let executor: CoreSerialExecutor

    init(executor: CoreSerialExecutor) { self.executor = executor }

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }
}
