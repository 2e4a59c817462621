// A core without a thread: a simulation gives it its turns, each a round, and lends it what is the machine's otherwise. What runs on
// a core, and all of the core but its sleep, is the same then: the same executors, waiters, timers, transport and stack.

internal import CMartlet
package import MartletStack

/// What cores have in place of a machine when they are simulated.
///
/// Everything happens on one thread: the one that ``Core/turn()`` is called on.
package protocol SimulatedMachine: AnyObject, Sendable {
    /// Where the present instant is, in nanoseconds. It stays there for as long as there are cores.
    var clock: UnsafePointer<Int64> { get }
    /// Runs what a program does outside of its cores.
    var outside: any TaskExecutor { get }
    /// The next of the random numbers that follow from the seed.
    func random() -> UInt64
    /// Opens a link of the machine's.
    func openLink(_ name: LinkName, for pool: borrowing FramePool) throws(LinkError) -> AnyLink
    /// The addresses of a host by its name.
    func addresses(of host: String) -> [IPAddress]
    /// A core is there, and is to be given turns until it has ended.
    func adopt(_ core: Core)
    /// A job has come from another thread than the simulation's: from here on nothing can be repeated.
    func wasDisturbed()
}

extension Core {
    /// When a simulated core wants its next turn.
    package enum Turn: Sendable {
        /// At this instant, in nanoseconds, or as soon as something has come for it; `.max` is not before.
        case again(at: Int64)
        /// Never: it has ended.
        case ended
    }

    /// One round of a simulated core.
    package func turn() -> Turn {
        let outer = unsafe martlet_current_core()
        unsafe martlet_set_current_core(Unmanaged.passUnretained(self).toOpaque())
        defer { unsafe martlet_set_current_core(outer) }
        unsafe round(taskExecutor.asUnownedTaskExecutor(), serialExecutor.asUnownedSerialExecutor())
        guard !hasStopped else {
            end()
            return .ended
        }
        let now = unsafe state.pointee.now.nanoseconds
        guard unsafe state.pointee.jobs.isEmpty, inbox.isEmpty, !transport.hasWork else { return .again(at: now) }
        guard let deadline = transport.driver.prepareToSleep() else { return .again(at: now) }
        transport.driver.wokeUp()
        return .again(at: min(deadline, unsafe state.pointee.timers.nextDeadline?.nanoseconds ?? .max))
    }

    /// Opens a simulated core on the calling thread, and has the machine give it turns.
    func begin(on machine: any SimulatedMachine) throws(NetworkError) -> String {
        let outer = unsafe martlet_current_core()
        unsafe martlet_set_current_core(Unmanaged.passUnretained(self).toOpaque())
        defer { unsafe martlet_set_current_core(outer) }
        let description = try open()
        machine.adopt(self)
        return description
    }

    /// Whether something has come for the core since its last turn.
    package var hasArrivals: Bool { !inbox.isEmpty }

    /// What the tasks of the core wait for, for whoever wonders why nothing happens: a line each kind and connection.
    package var waits: [String] {
        var lines: [String] = []
        for index in 0..<Int32(unsafe state.pointee.waiters.count) {
            let waiter = unsafe state.pointee.waiters[index]
            guard unsafe waiter.pointee.isParked, unsafe waiter.pointee.job != nil else { continue }
            let (queue, slot) = unsafe (waiter.pointee.queue, waiter.pointee.slot)
            lines.append(describe(queue, slot))
        }
        return lines
    }

    private func describe(_ queue: WaitQueue, _ slot: Int32) -> String {
        func connection() -> String {
            guard slot >= 0, transport.sockets[slot].flags.contains(.hasDescriptor) else {
                return "a closed connection"
            }
            let descriptor = transport.sockets[slot].descriptor
            let peer = transport.driver.address(descriptor, local: false).map(\.description) ?? "nobody"
            guard let info = transport.driver.info(descriptor) else { return peer }
            return "\(peer) (\(info.state.map { "\($0)" } ?? "no state"), \(info.unacked) segments unacknowledged)"
        }
        return switch queue {
        case .receive: "receives from \(connection())"
        case .send: "waits for room to send to \(connection())"
        case .flush: "waits until all is sent to \(connection())"
        case .connect: "connects"
        case .accept: "accepts on \(transport.listeners[slot]?.address.description ?? "a closed listener")"
        case .handler: "serves: waits for connections, or for handlers to end"
        case .sleep: "sleeps"
        case .datagram: "receives datagrams"
        case .link: "waits for a link"
        case .none: "waits"
        }
    }
}
