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
    func sleep(on sleep: LinkSleep, deadline: Int64) async -> Outcome {
        if CurrentTask.isCancelled { return .cancelled }
        let waiter = takeWaiter(in: .link)
        let token = unsafe Token(.link, slot: waiter, generation: state.pointee.waiters[waiter].pointee.ticket)
        if sleep.descriptor >= 0 { transport.driver.watchLink(token, sleep) }
        let outcome = unsafe await park(waiter, deadline: min(deadline, sleep.deadline))
        if outcome != .ready, sleep.descriptor >= 0 {
            transport.driver.unwatchLink(token, descriptor: sleep.descriptor)
        }
        return outcome
    }
}
