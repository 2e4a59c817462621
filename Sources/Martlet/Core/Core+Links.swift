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

    /// Opens a link by its name, for frames of this core's pool.
    ///
    /// - Precondition: it is not an end of a pipe, which has to be told when it is closed.
    func open(_ name: LinkName) throws(LinkError) -> AnyLink {
        try withFramePool { pool throws(LinkError) in
            switch name.kind {
            case .null: return AnyLink(NullLink(name: name.description))
            case .memory: preconditionFailure("an end of a pipe is opened with its pipe")
            case .xdp: return AnyLink(try XDPLink(interface: name.name, queue: name.queue, pool: pool))
            case .tap: return AnyLink(try TAPLink(name.name))
            case .tun:
                var options = TAPLink.Options()
                options.medium = .ip
                return AnyLink(try TAPLink(name.name, options: options))
            case .packet: return AnyLink(try PacketLink(name.name))
            }
        }
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
