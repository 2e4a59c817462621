// One end of a network as another one sees it: the ring from it, the ring to it, and the frames that wait for room in that.

internal import CMartlet
internal import MartletStack

struct NetworkPeer: ~Copyable {
    /// Nanoseconds for which a peer whose ring is full is waited for, if it takes nothing at all.
    static var patience: Int64 { 10_000_000 }
    /// Frames that lie in a ring, and that may wait for room in it.
    static var ringCapacity: Int { 256 }
    static var outputCapacity: Int { 128 }

    let end: NetworkEnd
    let member: Int
    let queue: Int
    let queues: Int
    /// From it, made by us; nil while our pool has no slots for it.
    var incoming: FrameRing?
    /// To it, made by it; nil until it has looked.
    var outgoing: FrameRing?
    /// What waits to be transmitted.
    var output: Burst
    /// Since when it has taken nothing of that; 0 if nothing waits.
    private(set) var heldSince: Int64 = 0
    /// It has been waited for in vain, and has taken nothing since.
    private(set) var isDeaf = false
    /// It has left. What it has transmitted before is still to be received.
    var isGone = false

    init(_ end: NetworkEnd, pool: borrowing Burst) {
        self.end = end
        (member, queue, queues) = (end.member, end.queue, end.queues)
        output = pool.makeBurst(capacity: Self.outputCapacity)
    }

    /// Transmits what waits, and counts it. What waits for a peer that has not moved for so long is dropped.
    mutating func flush(_ counters: inout LinkDirection) {
        guard !output.isEmpty else { return }
        let bytes = output.byteCount
        let taken = outgoing?.put(&output) ?? 0
        counters.count(taken, bytes: bytes &- output.byteCount)
        if taken > 0 || output.isEmpty { (heldSince, isDeaf) = (0, false) }
        if output.isEmpty { return }
        let now = martlet_monotonic_ns()
        if heldSince == 0 { heldSince = now }
        guard isDeaf || now &- heldSince >= Self.patience else { return }
        isDeaf = true
        counters.drops[.ringFull] &+= UInt64(output.count)
        output.removeAll()
    }

    /// When waiting for the peer is to end; `.max` if nobody waits.
    var deadline: Int64 { output.isEmpty ? .max : heldSince &+ Self.patience }
}

/// Peers by number, at a fixed address.
@safe struct NetworkPeerTable: ~Copyable {
    // SAFETY: allocated here for `capacity` peers, of which `count` are initialised, and freed in the deinit. Indices are checked.
    private var peers: UnsafeMutablePointer<NetworkPeer>
    private var capacity = 8
    private(set) var count = 0

    init() { unsafe peers = .allocate(capacity: capacity) }

    deinit {
        unsafe peers.deinitialize(count: count)
        unsafe peers.deallocate()
    }

    subscript(index: Int) -> NetworkPeer {
        unsafeAddress {
            precondition(index >= 0 && index < count, "there is no such peer")
            return unsafe UnsafePointer(peers + index)
        }
        unsafeMutableAddress {
            precondition(index >= 0 && index < count, "there is no such peer")
            return unsafe peers + index
        }
    }

    mutating func append(_ peer: consuming NetworkPeer) {
        if count == capacity {
            let larger = UnsafeMutablePointer<NetworkPeer>.allocate(capacity: capacity * 2)
            unsafe larger.moveInitialize(from: peers, count: count)
            unsafe peers.deallocate()
            unsafe peers = larger
            capacity *= 2
        }
        unsafe (peers + count).initialize(to: peer)
        count += 1
    }

    /// Removes a peer. The last one takes its place.
    mutating func remove(_ index: Int) {
        precondition(index >= 0 && index < count, "there is no such peer")
        count -= 1
        unsafe (peers + index).deinitialize(count: 1)
        if index < count { unsafe (peers + index).moveInitialize(from: peers + count, count: 1) }
    }
}
