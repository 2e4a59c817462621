// A queue of a network interface through AF_XDP: the kernel puts frames into the core's arena before its own stack sees them, and
// takes them from there. Documentation/networking/af_xdp.rst.
//
//        pool ──fill──▶ kernel ──receive──▶ burst ──transmit──▶ kernel ──completion──▶ pool
//
// A frame is always somebody's: the pool's, a burst's, or the kernel's. `lent` says of each slot of the arena which the kernel has
// from this link, and what for; so all of them come back when the link goes, wherever the kernel had got with them.

internal import CMartlet
public import MartletStack

/// One queue of an interface. Its frames are of the pool that it was opened with, and are handed over without being copied by this
/// process; whether the kernel copies them, ``isZeroCopy`` says.
///
/// It needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF, or a socket from a process that has them. Where several queues of an interface
/// have links, they share its program (``XDPInterface``), and it goes with the last of them, or with the process.
public struct XDPLink: Link, ~Copyable {
    public let name: String
    public internal(set) var properties: LinkProperties
    public internal(set) var state: LinkState
    public var counters = LinkCounters()

    /// The queue's number.
    public let queue: Int
    /// What all links of the interface share; nil if the socket came from another process.
    public let interface: XDPInterface?

    var socket: XDPSocket
    var watch: XDPWatch
    let lent: LentFrames
    /// The way to the pool. It stays empty.
    let pool: Burst
    let options: XDPOptions
    /// Frames that are to lie with the kernel for what comes, and those that do.
    let receiveTarget: Int
    var receiving = 0
    /// Frames on their way out.
    var transmitting = 0
    /// Calls until the link counts as busy; 0 if it does, or a core sleeps on it.
    var callsUntilBusy = 0
    /// Calls to transmit since the link went down.
    var downCalls = 0
    /// What the kernel had counted when it was last asked.
    var counted = martlet_xdp_statistics()
    private let map: Int32

    /// Opens a queue of an interface. It takes frames from the pool, never more than half of those that are free.
    ///
    /// - Parameters:
    ///   - interface: Its name, in the network namespace of the calling thread.
    ///   - pool: A pool over an arena that is mapped, with frames of 2048 or 4096 bytes.
    /// - Throws: ``LinkError``, whose description says what to do about it.
    public init(interface: String, queue: Int = 0, pool: borrowing FramePool, options: XDPOptions = XDPOptions())
        throws(LinkError)
    {
        let name = "xdp:\(interface)/\(queue)"
        try options.check(for: name)
        let shared = try XDPInterface.open(interface, options, for: name)
        let count = shared.queueCount ?? 64
        guard queue >= 0, queue < count else {
            let reason =
                "the interface has \(count) queues, counted from 0: `ethtool -l \(interface)` shows them, -L changes them"
            throw .invalid(link: name, reason: reason)
        }
        let plan = try XDPSocketPlan(
            link: name, interfaceIndex: shared.index, queue: queue, arena: XDPArena(of: pool, link: name),
            ringSize: UInt32(options.ringSize), copying: options.copying)
        let socket = try XDPSocket(plan)
        try self.init(socket, plan, on: interface, shared: shared, map: shared.map, pool: pool, options: options)
    }

    /// Opens a queue with a socket that a process with privileges has made (``XDPInterface/makeSocket()``). Linux 5.19 lets any
    /// process bind such a socket, and enter it into a map that it was given.
    ///
    /// - Parameters:
    ///   - socket: The socket. It is the link's from here on, also if this throws.
    ///   - isBound: It is bound already: the pool's arena, in memory shared with the process that has bound it, is its UMEM, its
    ///     rings have ``XDPOptions/ringSize`` entries, and nobody has used them.
    ///   - map: The map of the interface's program, or -1 if the socket is in it already. It stays the caller's, and open while the
    ///     link lives.
    /// - Throws: ``LinkError``.
    public init(
        socket: Int32, isBound: Bool = false, map: Int32 = -1, interface: String, queue: Int = 0,
        pool: borrowing FramePool, options: XDPOptions = XDPOptions()
    ) throws(LinkError) {
        let name = "xdp:\(interface)/\(queue)"
        let plan: XDPSocketPlan
        do throws(LinkError) {
            try options.check(for: name)
            plan = try XDPSocketPlan(
                link: name, interfaceIndex: XDPInterface.look(at: interface, link: name).index, queue: queue,
                arena: XDPArena(of: pool, link: name), ringSize: UInt32(options.ringSize), copying: options.copying)
        } catch {
            _ = martlet_close(socket)
            throw error
        }
        let socket = try isBound ? XDPSocket(bound: socket, plan: plan) : XDPSocket(adopting: socket, plan: plan)
        try self.init(socket, plan, on: interface, shared: nil, map: map, pool: pool, options: options)
    }

    private init(
        _ socket: consuming XDPSocket, _ plan: XDPSocketPlan, on interface: String, shared: XDPInterface?, map: Int32,
        pool: borrowing FramePool, options: XDPOptions
    ) throws(LinkError) {
        let watch = try XDPWatch(interface, index: plan.interfaceIndex, socket: socket.descriptor, link: plan.link)
        if let polling = options.busyPolling {
            let result = martlet_xdp_busy_poll(socket.descriptor, Int32(polling.microseconds), Int32(polling.budget))
            if result < 0 { throw .system(link: plan.link, errno: -result, during: "SO_PREFER_BUSY_POLL") }
        }
        if map >= 0 {
            let result = martlet_bpf_map_set(map, UInt32(plan.queue), socket.descriptor)
            if result < 0 { throw .system(link: plan.link, errno: -result, during: "entering the socket into the map") }
        }
        try shared?.attach()
        // One call then transmits a whole burst. Kernels that lack this do with several calls.
        _ = martlet_xdp_set_transmit_budget(socket.descriptor, Int32(min(256, options.ringSize)))
        name = plan.link
        queue = plan.queue
        self.interface = shared
        self.map = map
        self.options = options
        properties = LinkProperties()
        state = .up
        lent = LentFrames(slotCount: pool.slotCount)
        self.pool = pool.makeBurst(capacity: 1)
        receiveTarget = min(options.receiveFrames, pool.freeCount / 2)
        self.socket = socket
        self.watch = watch
        look()
        refill()
    }

    deinit {
        // The kernel stops using the frames when the socket closes, which is before anybody else can take one: the pool is of this
        // thread too.
        if map >= 0 { _ = martlet_bpf_map_remove(map, UInt32(queue)) }
        lent.giveBack(to: pool)
    }

    /// Whether driver and arena exchange frames without copying.
    public var isZeroCopy: Bool { socket.isZeroCopy }

    /// Frames that the kernel has from this link at the moment.
    public var framesWithKernel: Int { receiving + transmitting }

    // MARK: State

    public mutating func refresh() -> Bool {
        let before = (properties, state)
        look()
        count()
        return before != (properties, state)
    }

    /// Asks what the interface is.
    mutating func look() {
        guard state != .gone else { return }
        guard let seen = watch.look() else {
            state = .gone
            return
        }
        state = seen.is_up && seen.is_running ? .up : .down
        let address = seen.address
        properties = LinkProperties(
            mtu: Int(seen.mtu),
            macAddress: MACAddress(address.0, address.1, address.2, address.3, address.4, address.5),
            capabilities: options.trustsChecksums
                ? [.zeroCopy, .lateCompletion, .receiveChecksum] : [.zeroCopy, .lateCompletion])
    }

    /// Looks if the kernel has said that the interface changed. Makes one system call if it has not.
    mutating func heed() {
        guard state != .gone else { return }
        switch watch.changes() {
        case .none: break
        case .changed: look()
        case .removed: state = .gone
        }
    }

    /// Adds what the kernel has dropped since it was last asked.
    private mutating func count() {
        var now = martlet_xdp_statistics()
        guard unsafe martlet_xdp_get_statistics(socket.descriptor, &now) == 0 else { return }
        func since(_ count: KeyPath<martlet_xdp_statistics, UInt64>) -> UInt64 {
            now[keyPath: count] &- counted[keyPath: count]
        }
        let empty = since(\.fill_ring_empty)
        counters.received.drops[.ringFull] &+= since(\.receive_ring_full)
        counters.received.drops[.arenaEmpty] &+= empty
        // Where frames are copied, the kernel counts one that found no chunk twice: in both counters.
        let dropped = since(\.receive_dropped)
        counters.received.drops[.oversize] &+= isZeroCopy ? dropped : dropped > empty ? dropped - empty : 0
        counters.received.drops[.malformed] &+= since(\.receive_invalid)
        counters.transmitted.drops[.malformed] &+= since(\.transmit_invalid)
        counted = now
    }
}

extension XDPOptions {
    fileprivate func check(for link: String) throws(LinkError) {
        guard ringSize > 0, ringSize <= 1 << 20, ringSize.nonzeroBitCount == 1 else {
            throw .invalid(link: link, reason: "a ring has a power of two of entries, not \(ringSize)")
        }
        guard receiveFrames > 0, receiveFrames <= ringSize else {
            throw .invalid(link: link, reason: "\(receiveFrames) frames for receiving do not fit a ring of \(ringSize)")
        }
        if let vlan = steering?.vlan, vlan == 0 || vlan > 4094 {
            throw .invalid(link: link, reason: "\(vlan) is not a VLAN: they are 1 ... 4094")
        }
        if (steering?.rules.count ?? 0) > 500 {
            throw .invalid(link: link, reason: "more than 500 rules of steering: use ranges of ports")
        }
    }
}
