// The loop of a simulation. As long as there is something to do at an instant, each core that has some gets a turn; when there is
// nothing, time goes on to the next timer or arrival, whoever it is of.

internal import CMartlet
internal import Glibc
internal import Martlet
internal import MartletStack
internal import Synchronization

@safe final class WorldLoop: @unchecked Sendable {
    let seed: UInt64
    private let limit: Int64
    /// The present instant, which all cores read.
    private let present: UnsafeMutablePointer<Int64>
    private let jobs: UnsafeMutablePointer<martlet_world>
    let executor = WorldExecutor()
    var random: RandomStream
    /// What the body itself runs on.
    private(set) var conductor: SimulatedHostMachine?

    var hosts: [SimulatedHost] = []
    var network: VirtualNetwork
    var conditions = LinkConditions.perfect
    private let segment: Int
    private(set) var trace = Trace()
    private var recording = Recording(framing: .ethernet)

    /// A core, and when it wants its next turn.
    private struct Seat {
        let core: Core
        let machine: SimulatedHostMachine
        var due: Int64
    }

    private var seats: [Seat] = []
    private let disturbances = Atomic(0)

    /// Turns at one instant before that is called a livelock.
    private static var turnsAtOnce: Int { 1_000_000 }

    init(seed: UInt64, limit: Duration) {
        self.seed = seed
        self.limit = Int64(clamping: limit.attoseconds / 1_000_000_000)
        // SAFETY: both are initialised here, and freed in the deinit: a core holds its machine, and that the loop.
        unsafe present = .allocate(capacity: 1)
        unsafe present.initialize(to: 0)
        unsafe jobs = .allocate(capacity: 1)
        unsafe jobs.initialize(to: martlet_world())
        random = RandomStream(seed: seed).stream(0x776F_726C_64)
        network = VirtualNetwork(seed: seed)
        segment = network.addSegment()
        conductor = SimulatedHostMachine(self, node: -1)
    }

    deinit {
        unsafe present.deallocate()
        unsafe jobs.deallocate()
    }

    var clock: UnsafePointer<Int64> { unsafe UnsafePointer(present) }
    var now: Int64 { unsafe present.pointee }

    func enter() {
        unsafe martlet_world_enter(jobs)
        executor.begin()
    }
    /// The end: from here on whoever still holds a core holds the loop, and nobody else does.
    func leave() {
        martlet_world_leave()
        (hosts, seats, conductor) = ([], [], nil)
    }

    // MARK: Hosts and cores

    func addNode() -> Int {
        let node = network.addNode()
        network.attach(node, to: segment, conditions: conditions)
        return node
    }

    func host(named name: String) -> SimulatedHost? { hosts.first { $0.name == name } }

    func adopt(_ core: Core, _ machine: SimulatedHostMachine) {
        seats.append(Seat(core: core, machine: machine, due: now))
    }

    /// On whatever thread.
    func wasDisturbed() { disturbances.add(1, ordering: .relaxed) }

    // MARK: The loop

    /// Lets things happen until `isDone`.
    func drive(until isDone: () -> Bool) throws(SimulationFailure) {
        var turns = 0
        while !isDone() {
            if disturbances.load(ordering: .relaxed) > 0 || executor.wasDisturbed {
                throw failure(
                    """
                    a task has come back from outside of the simulation, from another thread (Task.sleep, the main actor, \
                    blocking work): such a run cannot be repeated
                    """)
            }
            if turn() {
                turns += 1
                if turns > Self.turnsAtOnce {
                    throw failure("time does not go on: more than \(Self.turnsAtOnce) turns at one instant." + waits)
                }
                continue
            }
            let next = nextInstant
            guard next < .max else {
                throw failure(
                    "deadlock: the body has not ended, no timer is set and no frame is under way (unless something is waited for "
                        + "that is not simulated, as by Task.sleep)." + waits)
            }
            guard next <= limit else {
                throw failure("not finished after \(Duration.nanoseconds(limit)) of virtual time." + waits)
            }
            if next > now {
                unsafe present.pointee = next
                turns = 0
            }
            deliver()
        }
    }

    /// Lets cancelled programs end, after a failure, as far as they do.
    func unwind(until isDone: () -> Bool) {
        var turns = 0
        while !isDone(), turns < 100_000 {
            turns += 1
            if turn() { continue }
            let next = nextInstant
            guard next < .max else { return }
            unsafe present.pointee = max(now, next)
            deliver()
        }
    }

    /// Gives everybody a turn who has something to do now. Returns whether there was anybody.
    private func turn() -> Bool {
        var isBusy = executor.runJobs()
        while unsafe martlet_world_run_job(jobs) { isBusy = true }
        var place = 0
        while place < seats.count {
            let seat = seats[place]
            guard seat.machine.stalledUntil <= now, seat.due <= now || seat.core.hasArrivals else {
                place += 1
                continue
            }
            isBusy = true
            switch seat.core.turn() {
            case .again(let due):
                seats[place].due = due
                place += 1
            case .ended: seats.remove(at: place)
            }
        }
        return isBusy
    }

    /// When the next thing happens; `.max` if nothing will.
    private var nextInstant: Int64 {
        var next = network.nextArrival?.nanoseconds ?? .max
        for seat in seats {
            let due = seat.core.hasArrivals ? now : seat.due
            next = min(next, max(due, due == .max ? 0 : seat.machine.stalledUntil))
        }
        return next
    }

    private func deliver() {
        for delivery in network.deliveries(until: Instant(nanoseconds: now)) {
            let host = hosts[delivery.to]
            recording.append(delivery.frame, at: delivery.instant, host: delivery.to, .inbound, nil)
            host.machine.receive(delivery.frame)
            for place in seats.indices where seats[place].machine === host.machine { seats[place].due = now }
        }
    }

    // MARK: Frames

    /// Sends a frame to whom it is for: all of the Ethernet, as on a hub.
    func send(_ frame: [UInt8], from node: Int) {
        let instant = Instant(nanoseconds: now)
        for other in hosts.indices where other != node && isFor(other, frame) {
            let outcome = network.send(frame, from: node, to: other, at: instant)
            switch outcome {
            case .arrives(let arrival):
                trace.append(frame, from: node, to: other, at: now, arrival.nanoseconds)
                recording.append(frame, at: instant, host: node, .outbound, nil)
            case .dropped(let reason):
                trace.append(frame, from: node, to: other, at: now, -1)
                recording.append(frame, at: instant, host: node, .outbound, reason.rawValue)
            }
        }
    }

    private func isFor(_ host: Int, _ frame: [UInt8]) -> Bool {
        guard frame.count >= 14 else { return false }
        return frame[0] & 1 == 1 || frame.starts(with: hosts[host].hardwareAddress)
    }

    func note(lost frame: [UInt8], from node: Int) {
        trace.append(frame, from: node, to: -1, at: now, -1)
        recording.append(frame, at: Instant(nanoseconds: now), host: node, .outbound, "the host's link is down")
    }

    // MARK: Reports

    func failure(_ message: String, _ cause: (any Error)? = nil) -> SimulationFailure {
        SimulationFailure(
            seed: seed, now: Instant(nanoseconds: now),
            message: message
                + "\nReplay: the same body in Simulation.run(seed: \(seed)), or its search with MARTLET_SEED=\(seed)",
            capture: recording.write(names: hosts.map(\.name), seed: seed), cause: cause)
    }

    var capture: Capture { recording.capture(names: hosts.map(\.name)) }

    /// What everybody waits for, in lines of their own.
    private var waits: String {
        var lines: [String] = []
        for seat in seats {
            let name = seat.machine.node < 0 ? "the body" : hosts[seat.machine.node].name
            var counts: [(line: String, count: Int)] = []
            for line in seat.core.waits {
                if let place = counts.firstIndex(where: { $0.line == line }) {
                    counts[place].count += 1
                } else {
                    counts.append((line, 1))
                }
            }
            for (line, count) in counts { lines.append("\n  \(name): " + (count > 1 ? "\(count) × " : "") + line) }
        }
        return lines.isEmpty ? " No core has a task that waits for anything." : lines.joined()
    }
}
