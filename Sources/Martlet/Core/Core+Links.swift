// How a core sleeps for its links: one operation of the driver a wait, whatever the link is.

internal import CMartlet
internal import MartletStack

extension Core {
    /// The core's pool of frames, which is made when the first link is opened.
    func withFramePool<Result: ~Copyable>(
        _ body: (borrowing FramePool) throws(LinkError) -> Result
    ) throws(LinkError) -> Result {
        if framePool == nil { framePool = try links.makePool() }
        return try body(framePool!)
    }

    /// Parks the calling task until a link is ready, the link's own deadline or the given one passes, or the task is cancelled.
    ///
    /// `asleep` is told the waiter, by which another task can end the sleep: ``rouse(_:from:)``.
    func sleep(
        on sleep: LinkSleep, deadline: Int64, asleep: (Int32) -> Void = { _ in }
    ) async -> Outcome {
        if CurrentTask.isCancelled { return .cancelled }
        let waiter = takeWaiter(in: .link)
        asleep(waiter)
        let token = unsafe Token(.link, slot: waiter, generation: state.pointee.waiters[waiter].pointee.ticket)
        if sleep.descriptor >= 0 { transport.driver.watchLink(token, sleep) }
        let outcome = unsafe await park(waiter, deadline: min(deadline, sleep.deadline))
        if outcome != .ready, sleep.descriptor >= 0 {
            transport.driver.unwatchLink(token, descriptor: sleep.descriptor)
        }
        return outcome
    }

    /// Parks the calling task until another task of this core ends its wait, the deadline passes, or it is cancelled.
    func follow(_ waiter: Int32, deadline: Int64) async -> Outcome {
        unsafe await park(waiter, deadline: deadline)
    }

    /// Ends the sleep of another task of this core, which goes on as if its link were ready.
    func rouse(_ waiter: Int32, from sleep: LinkSleep) {
        guard unsafe state.pointee.waiters[waiter].pointee.isParked else { return }
        let token = unsafe Token(.link, slot: waiter, generation: state.pointee.waiters[waiter].pointee.ticket)
        if sleep.descriptor >= 0 { transport.driver.unwatchLink(token, descriptor: sleep.descriptor) }
        transport.end(waiter, .ready)
    }
}
