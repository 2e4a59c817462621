// Which cores of a runtime have a listener, or a UDP socket, on which port: what leads a frame to a socket that is on another core
// than its flow.
//
// Written when sockets are opened and closed, under a lock. The packet path reads one word of it, and only while there is a port
// at all that some cores have and others have not.

internal import Synchronization

@safe final class SharedPorts: @unchecked Sendable {
    private struct Key: Hashable {
        var place: Int
        var core: Int
    }

    private struct Users {
        /// Sockets of each core on each port.
        var counts: [Key: Int] = [:]
        /// Ports whose one core has them for itself.
        var exclusive: Set<Int> = []
    }

    // SAFETY: allocated and initialised here for all ports of both protocols, and freed in the deinit; places are below that.
    private let masks: UnsafeMutablePointer<Atomic<UInt64>>
    private static var ports: Int { 65_536 }
    /// The cores, a bit each.
    let everybody: UInt64
    private let cores: Int
    private let users = Mutex(Users())
    /// Ports that some cores have, and not all.
    private let partial = Atomic<Int>(0)

    /// - Precondition: there are 1 ... 64 cores.
    init(cores: Int) {
        precondition(cores >= 1 && cores <= 64, "ports are shared by 1 ... 64 cores")
        self.cores = cores
        everybody = UInt64.max &>> UInt64(64 - cores)
        unsafe masks = .allocate(capacity: 2 * Self.ports)
        for place in 0..<2 * Self.ports { unsafe (masks + place).initialize(to: Atomic(0)) }
    }

    deinit {
        unsafe masks.deinitialize(count: 2 * Self.ports)
        unsafe masks.deallocate()
    }

    /// Whether there is a port that some cores have, and not all: else every frame is for the core of its flow.
    var hasPartial: Bool { partial.load(ordering: .relaxed) != 0 }

    /// The cores that have a port.
    func mask(_ port: UInt16, isDatagrams: Bool) -> UInt64 {
        unsafe masks[Self.place(port, isDatagrams)].load(ordering: .relaxed)
    }

    private static func place(_ port: UInt16, _ isDatagrams: Bool) -> Int { (isDatagrams ? ports : 0) + Int(port) }

    /// A core has opened a socket on a port. Returns false if it may not have it: another core has, and one of the two wants it for itself,
    /// or nobody else may have it now (`isNew`).
    func claim(_ port: UInt16, isDatagrams: Bool, by core: Int, isNew: Bool, isExclusive: Bool) -> Bool {
        let place = Self.place(port, isDatagrams)
        return users.withLock { users in
            let others = unsafe masks[place].load(ordering: .relaxed) & ~(1 &<< UInt64(core))
            if others != 0, isNew || isExclusive || users.exclusive.contains(place) { return false }
            if isExclusive { users.exclusive.insert(place) }
            users.counts[Key(place: place, core: core), default: 0] += 1
            set(place, others | 1 &<< UInt64(core))
            return true
        }
    }

    /// All cores have opened a listener on a port: they get it at once, so that none has it alone in between.
    func claimForAll(_ port: UInt16) {
        let place = Self.place(port, false)
        users.withLock { users in
            for core in 0..<cores { users.counts[Key(place: place, core: core), default: 0] += 1 }
            set(place, everybody)
        }
    }

    /// A core has closed a socket.
    func release(_ port: UInt16, isDatagrams: Bool, by core: Int) {
        let place = Self.place(port, isDatagrams)
        users.withLock { users in
            let key = Key(place: place, core: core)
            let left = (users.counts[key] ?? 1) - 1
            users.counts[key] = left > 0 ? left : nil
            guard left <= 0 else { return }
            users.exclusive.remove(place)
            set(place, unsafe masks[place].load(ordering: .relaxed) & ~(1 &<< UInt64(core)))
        }
    }

    private func set(_ place: Int, _ mask: UInt64) {
        let before = unsafe masks[place].exchange(mask, ordering: .sequentiallyConsistent)
        let change = (isPartial(mask) ? 1 : 0) - (isPartial(before) ? 1 : 0)
        if change != 0 { partial.add(change, ordering: .sequentiallyConsistent) }
    }

    private func isPartial(_ mask: UInt64) -> Bool { mask != 0 && mask != everybody }
}
