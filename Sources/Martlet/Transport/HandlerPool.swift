// `serve`'s handlers on one core. A handler task takes a connection, runs the handler, and waits for the next one, so a short
// connection costs no task. A task that was cancelled cannot be used again and is replaced.
//
// The tasks are not children of a task group: removing one child of a group scans all of them in Swift 6.3. The pool keeps the
// promise of a group itself: `serve` does not return before every one of them has ended, and cancels them when it is cancelled.

internal import Logging

public typealias ConnectionHandler = @Sendable (TCPConnection) async throws -> Void
/// Hears of each error that a handler threw.
public typealias ErrorHandler = @Sendable (any Error) -> Void

final class HandlerPool: @unchecked Sendable {
    private final class Worker: @unchecked Sendable {
        let scope: TaskScope
        var slot: Int32
        var waiter: Int32 = -1
        /// The worker's place in the pool.
        var place = 0
        var task: Task<Void, Never>?

        init(slot: Int32, inbox: Inbox) {
            self.slot = slot
            scope = TaskScope(inbox: inbox)
        }
    }

    private let core: Core
    private let handler: ConnectionHandler
    private let onError: ErrorHandler?
    private var workers: [Worker] = []
    private var idle: [Worker] = []
    private var isEnding = false
    private var isCancelled = false
    /// Waits for the end of `serve`, and then for the end of the handlers.
    private var supervisor: Int32 = -1

    init(core: Core, handler: @escaping ConnectionHandler, onError: ErrorHandler?) {
        self.core = core
        self.handler = handler
        self.onError = onError
    }

    /// Gives a new connection to a handler task.
    func dispatch(_ slot: Int32) {
        if isCancelled {
            core.transport.sockets[slot].flags.remove(.hasHandle)
            core.transport.abort(slot)
        } else if let worker = idle.popLast() {
            worker.slot = slot
            core.transport.wake(worker.waiter)
        } else {
            let worker = Worker(slot: slot, inbox: core.inbox)
            worker.place = workers.count
            workers.append(worker)
            worker.task = Task.detached(executorPreference: core.taskExecutor) { [self] in await run(worker) }
        }
    }

    // Inlined, as what waits within it is in its frame then.
    @inline(__always)
    private func run(_ worker: Worker) async {
        worker.scope.begin()
        while true {
            await handle(worker.slot, worker.scope)
            guard let waiter = becomeIdle(worker) else { break }
            let outcome = await unsafe core.park(waiter, scope: worker.scope.record)
            worker.waiter = -1
            if worker.slot < 0 || outcome != .ready { break }
        }
        worker.scope.end()
        if worker.slot >= 0 { dispatch(worker.slot) }
        remove(worker)
    }

    /// The waiter in which a worker waits for its next connection; nil if it shall end instead.
    @inline(never)
    private func becomeIdle(_ worker: Worker) -> Int32? {
        worker.slot = -1
        if CurrentTask.isCancelled || isEnding { return nil }
        worker.waiter = core.takeWaiter(in: .handler)
        idle.append(worker)
        return worker.waiter
    }

    @inline(__always)
    private func handle(_ slot: Int32, _ scope: TaskScope) async {
        let connection = begin(slot, scope)
        do {
            try await handler(connection)
            end(slot, scope, nil)
        } catch {
            end(slot, scope, error)
        }
        // Dropping the handle closes: it must not come before a reset.
        withExtendedLifetime(connection) {}
    }

    // What does not wait stands outside of the task's frame: an idle connection keeps that frame.

    @inline(never)
    private func begin(_ slot: Int32, _ scope: TaskScope) -> TCPConnection {
        unsafe core.transport.sockets[slot].scope = unsafe scope.record
        unsafe scope.record.pointee.slot = slot
        return TCPConnection(handle: ConnectionHandle(core: core, slot: slot))
    }

    @inline(never)
    private func end(_ slot: Int32, _ scope: TaskScope, _ failure: (any Error)?) {
        unsafe core.transport.sockets[slot].scope = nil
        unsafe scope.record.pointee.slot = -1
        guard let failure else { return core.transport.close(slot) }
        core.transport.abort(slot)
        if let onError { onError(failure) } else { core.configuration.logger?.debug("a handler threw: \(failure)") }
    }

    private func remove(_ worker: Worker) {
        if let position = idle.firstIndex(where: { $0 === worker }) { idle.remove(at: position) }
        let last = workers.removeLast()
        if last !== worker {
            workers[worker.place] = last
            last.place = worker.place
        }
        worker.task = nil
        if workers.isEmpty { wakeSupervisor() }
    }

    private func wakeSupervisor() {
        let waiter = supervisor
        supervisor = -1
        core.transport.wake(waiter)
    }

    // MARK: The life of a serve

    /// Serves a listener until the task is cancelled or the runtime shuts down, and returns when every handler has ended.
    func serve(_ listener: Int32) async {
        var outcome = Outcome.ready
        while outcome == .ready, core.transport.listeners[listener]?.isClosed == false {
            outcome = await wait()
        }
        if outcome == .cancelled { cancelAll(listener) }
        core.transport.closeListener(listener, drain: !isCancelled)
        end()
        while !workers.isEmpty || core.transport.hasUntaken(listener) {
            if isCancelled {
                await waitForHandlers()
            } else if await wait() == .cancelled {
                cancelAll(listener)
            }
        }
    }

    private func wait() async -> Outcome {
        if CurrentTask.isCancelled { return .cancelled }
        let waiter = core.takeWaiter(in: .handler)
        supervisor = waiter
        return unsafe await core.park(waiter)
    }

    /// Waits although the task is cancelled: handlers may ignore that for a while, and are awaited all the same.
    private func waitForHandlers() async {
        let waiter = core.takeWaiter(in: .handler)
        supervisor = waiter
        await core.parkUncancellably(waiter)
    }

    /// The listener has been closed: look at it.
    func listenerClosed() { wakeSupervisor() }

    /// No more connections: idle handler tasks end.
    private func end() {
        isEnding = true
        for worker in idle { core.transport.wake(worker.waiter) }
        idle.removeAll()
    }

    private func cancelAll(_ listener: Int32) {
        isCancelled = true
        core.transport.refuseSurplus(listener)
        for worker in workers { worker.task?.cancel() }
    }
}
