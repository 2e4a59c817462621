// Frames that wait until their next hop's link address is known, and frames that have waited long enough.
//
// A neighbor's queue is a list through one array of nodes that all neighbors share, so that the bound on all of them is
// the array's length. When the address comes, the nodes move to the ready queue with what the Ethernet header needs, and
// the neighbor may be forgotten before they are sent. Must not know states, timers or addresses of the network layer.

/// A frame whose next hop is resolved.
struct ReadyFrame: ~Copyable {
    let interface: UInt8
    let linkAddress: MACAddress
    let frame: Frame
}

/// Up to `capacity` frames in as many queues as there are neighbors. Every operation is O(1) but those that say so.
struct PendingFrames: ~Copyable {
    /// A list of nodes. Whoever holds it owes them to ``PendingFrames``.
    struct Queue: BitwiseCopyable {
        fileprivate var first: UInt32 = .max
        fileprivate var last: UInt32 = .max
        fileprivate(set) var count = 0
    }

    private struct Node: BitwiseCopyable {
        var descriptor = FrameDescriptor()
        var linkAddress = MACAddress.zero
        var next: UInt32 = .max
        var interface: UInt8 = 0
        var isTaken = false
    }

    private let pool: FramePool.Storage
    /// Empty. A frame passes through it because it refuses those of another pool.
    private var gate: Burst
    private var nodes: [Node]
    private var free: UInt32 = .max
    private var ready = Queue()
    private var undeliverable = Queue()

    /// Frames that could still be added.
    private(set) var room: Int

    /// Frames in the ready queue.
    var readyCount: Int { ready.count }

    init(pool: borrowing FramePool, capacity: Int) {
        self.pool = pool.storage
        gate = pool.makeBurst()
        nodes = Array(repeating: Node(), count: capacity)
        room = capacity
        for index in 0..<capacity {
            nodes[index].next = free
            free = UInt32(index)
        }
    }

    deinit {
        for index in nodes.indices where nodes[index].isTaken { pool.release(nodes[index].descriptor.slot) }
    }

    /// Adds a frame at the end of `queue`.
    ///
    /// - Precondition: there is room, and the frame is of the pool that was given to `init`.
    mutating func append(_ frame: consuming Frame, to queue: inout Queue) {
        precondition(room > 0, "more frames pending than there is room for")
        gate.append(frame)
        guard let frame = gate.popFirst() else { return }
        let index = free
        free = nodes[Int(index)].next
        room -= 1
        nodes[Int(index)].descriptor = frame.relinquish()
        nodes[Int(index)].isTaken = true
        nodes[Int(index)].next = .max
        if queue.last == .max {
            queue.first = index
        } else {
            nodes[Int(queue.last)].next = index
        }
        queue.last = index
        queue.count += 1
    }

    /// Takes the oldest frame out of `queue`; `nil` if there is none.
    mutating func popFirst(_ queue: inout Queue) -> Frame? {
        let index = queue.first
        guard index != .max else { return nil }
        queue.first = nodes[Int(index)].next
        if queue.first == .max { queue.last = .max }
        queue.count -= 1
        nodes[Int(index)].isTaken = false
        nodes[Int(index)].next = free
        free = index
        room += 1
        return Frame(pool: pool, descriptor: nodes[Int(index)].descriptor)
    }

    /// Gives all frames of `queue` back to the pool, and says how many. O(frames).
    mutating func removeAll(_ queue: inout Queue) -> Int {
        let count = queue.count
        while let frame = popFirst(&queue) { _ = consume frame }
        return count
    }

    /// Moves all frames of `queue` behind those that are ready. O(frames).
    mutating func moveToReady(_ queue: inout Queue, interface: UInt8, linkAddress: MACAddress) {
        guard queue.first != .max else { return }
        var index = queue.first
        while index != .max {
            nodes[Int(index)].interface = interface
            nodes[Int(index)].linkAddress = linkAddress
            index = nodes[Int(index)].next
        }
        if ready.last == .max {
            ready.first = queue.first
        } else {
            nodes[Int(ready.last)].next = queue.first
        }
        ready.last = queue.last
        ready.count += queue.count
        queue = Queue()
    }

    /// Moves all frames of `queue` behind those that nobody takes, and says how many. O(frames).
    mutating func giveUp(_ queue: inout Queue) -> Int {
        let count = queue.count
        var list = undeliverable
        while let frame = popFirst(&queue) { append(frame, to: &list) }
        undeliverable = list
        return count
    }

    /// Takes a frame that nobody takes; `nil` if there is none.
    mutating func popUndeliverable() -> Frame? {
        var queue = undeliverable
        let first = popFirst(&queue)
        undeliverable = queue
        return first
    }

    /// Takes the frame that has been ready longest; `nil` if there is none.
    mutating func popReady() -> ReadyFrame? {
        guard ready.first != .max else { return nil }
        let node = nodes[Int(ready.first)]
        var queue = ready
        let first = popFirst(&queue)
        ready = queue
        guard let frame = first else { return nil }
        return ReadyFrame(interface: node.interface, linkAddress: node.linkAddress, frame: frame)
    }
}
