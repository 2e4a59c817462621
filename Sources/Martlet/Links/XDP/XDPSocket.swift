// One AF_XDP socket with its four rings, from socket(2) to bind(2): Documentation/networking/af_xdp.rst.
//
//     socket ─▶ UMEM ─▶ sizes of the rings ─▶ mmap ─▶ bind to a queue of an interface
//
// The UMEM is the whole arena of a pool. Sockets over one arena share its registration where the kernel lets them, so that its
// pages are locked and accounted once; where it does not, each registers the arena for itself. Frames move between them either
// way, because an address means the same in all.

internal import CMartlet
internal import Glibc
internal import MartletStack
internal import Synchronization

/// What opening an interface takes, as setcap(8) is told of it.
let xdpPrivileges = "CAP_NET_RAW,CAP_NET_ADMIN,CAP_BPF"

/// What a socket is made with.
struct XDPSocketPlan {
    /// The link's name, for errors.
    var link: String
    var interfaceIndex: UInt32
    var queue: Int
    var arena: XDPArena
    /// Entries of each ring, a power of two.
    var ringSize: UInt32
    var copying: XDPOptions.Copying
}

/// The memory of a pool, as the kernel is told of it.
@safe struct XDPArena {
    // SAFETY: the pool outlives its links, and a link its socket.
    let base: UnsafeMutableRawPointer
    let byteCount: Int
    let frameCapacity: Int

    /// What tells it from other arenas.
    var key: UInt { unsafe UInt(bitPattern: base) }

    /// The arena of a pool, if the kernel can share it.
    init(of pool: borrowing FramePool, link: String) throws(LinkError) {
        let page = Int(getpagesize())
        frameCapacity = pool.frameCapacity
        byteCount = pool.slotCount * frameCapacity
        unsafe base = pool.arena
        guard frameCapacity.nonzeroBitCount == 1, frameCapacity >= 2048, frameCapacity <= page else {
            let reason =
                "frames of \(frameCapacity) bytes: AF_XDP has them of 2048, or a larger power of two up to \(page)"
            throw .invalid(link: link, reason: reason)
        }
        guard key % UInt(page) == 0 else {
            let reason = "the pool's arena does not begin at a page, and so cannot be shared with the kernel: map one"
            throw .invalid(link: link, reason: reason)
        }
    }
}

@safe struct XDPSocket: ~Copyable {
    let descriptor: Int32
    /// Whether driver and arena exchange frames without copying.
    let isZeroCopy: Bool
    var fill: XDPProducer<UInt64>
    var completion: XDPConsumer<UInt64>
    var receive: XDPConsumer<martlet_xdp_descriptor>
    var transmit: XDPProducer<martlet_xdp_descriptor>
    private let arena: UInt

    /// Makes a socket and binds it to the queue.
    init(_ plan: XDPSocketPlan) throws(LinkError) {
        if plan.copying == .automatic, let other = UMEMs.borrow(arena: plan.arena) {
            defer { _ = martlet_close(other) }
            // Sharing is refused if the two would not both copy, or both not copy: then the arena is registered once more.
            if let socket = try? XDPSocket(Self.open(for: plan.link), plan: plan, sharing: other) {
                self = socket
                return
            }
        }
        try self.init(Self.open(for: plan.link), plan: plan, sharing: nil)
    }

    /// Takes a socket that a process with privileges has made, and binds it to the queue.
    init(adopting descriptor: Int32, plan: XDPSocketPlan) throws(LinkError) {
        try self.init(descriptor, plan: plan, sharing: nil)
    }

    /// Takes a socket that is bound already, to this arena, and whose rings are untouched.
    init(bound descriptor: Int32, plan: XDPSocketPlan) throws(LinkError) {
        var rings = try unsafe Self.mapRings(descriptor, plan: plan)
        try self.init(descriptor, &rings, plan: plan)
    }

    /// The socket is this value's from here on, also if it fails.
    private init(_ descriptor: Int32, plan: XDPSocketPlan, sharing other: Int32?) throws(LinkError) {
        var isDone = false
        var rings = RingMaps()
        defer {
            if !isDone {
                unsafe rings.unmap()
                _ = martlet_close(descriptor)
            }
        }
        if other == nil {
            let limit = martlet_raise_lock_limit()
            let result = unsafe martlet_xdp_register(
                descriptor, plan.arena.base, UInt64(plan.arena.byteCount), UInt32(plan.arena.frameCapacity))
            if result == -ENOBUFS {
                throw .lockedMemoryLimit(link: plan.link, needed: UInt64(plan.arena.byteCount), limit: limit)
            }
            try Self.check(result, "XDP_UMEM_REG", plan.link)
        }
        for ring in Self.rings {
            let result = martlet_xdp_set_ring_size(descriptor, Int32(ring), plan.ringSize)
            try Self.check(result, "setting a ring's size", plan.link)
        }
        unsafe rings = try Self.mapRings(descriptor, plan: plan)
        try Self.bind(descriptor, plan: plan, sharing: other)
        self = try XDPSocket(descriptor, &rings, plan: plan)
        isDone = true
    }

    private init(_ descriptor: Int32, _ rings: inout RingMaps, plan: XDPSocketPlan) throws(LinkError) {
        let zeroCopy = martlet_xdp_is_zero_copy(descriptor)
        try Self.check(zeroCopy, "XDP_OPTIONS", plan.link)
        self.descriptor = descriptor
        isZeroCopy = zeroCopy == 1
        unsafe fill = XDPProducer(rings.maps[MARTLET_XDP_FILL], size: plan.ringSize)
        unsafe completion = XDPConsumer(rings.maps[MARTLET_XDP_COMPLETION], size: plan.ringSize)
        unsafe receive = XDPConsumer(rings.maps[MARTLET_XDP_RECEIVE], size: plan.ringSize)
        unsafe transmit = XDPProducer(rings.maps[MARTLET_XDP_TRANSMIT], size: plan.ringSize)
        arena = plan.arena.key
        UMEMs.add(descriptor, arena: arena)
    }

    deinit {
        UMEMs.remove(descriptor, arena: arena)
        fill.unmap()
        completion.unmap()
        receive.unmap()
        transmit.unmap()
        _ = martlet_close(descriptor)
    }
}

extension XDPSocket {
    fileprivate static var rings: [Int] {
        [MARTLET_XDP_FILL, MARTLET_XDP_COMPLETION, MARTLET_XDP_RECEIVE, MARTLET_XDP_TRANSMIT]
    }

    static func open(for link: String) throws(LinkError) -> Int32 {
        let descriptor = martlet_xdp_socket()
        switch -descriptor {
        case EPERM, EACCES: throw .missingPrivilege(link: link, privilege: xdpPrivileges, during: "an AF_XDP socket")
        case EAFNOSUPPORT: throw .unsupported(link: link, what: "AF_XDP", remedy: newKernel)
        default: try check(descriptor, "socket(AF_XDP)", link)
        }
        return descriptor
    }

    static var newKernel: String { "use a kernel of Linux 5.9 or newer with CONFIG_XDP_SOCKETS" }

    fileprivate static func check(_ result: Int32, _ operation: String, _ link: String) throws(LinkError) {
        if result < 0 { throw .system(link: link, errno: -result, during: operation) }
    }

    /// Maps all four, or none.
    @unsafe fileprivate static func mapRings(_ descriptor: Int32, plan: XDPSocketPlan) throws(LinkError) -> RingMaps {
        var rings = RingMaps()
        for ring in Self.rings {
            let result = unsafe martlet_xdp_map_ring(descriptor, Int32(ring), plan.ringSize, &rings.maps[ring])
            if result < 0 {
                unsafe rings.unmap()
                throw .system(link: plan.link, errno: -result, during: "mapping a ring")
            }
        }
        return rings
    }

    fileprivate static func bind(_ descriptor: Int32, plan: XDPSocketPlan, sharing other: Int32?) throws(LinkError) {
        func attempt(_ flags: Int) -> Int32 {
            // A socket that has just been closed lets its queue go a little later.
            retryingWhileBusy {
                martlet_xdp_bind(descriptor, plan.interfaceIndex, UInt32(plan.queue), other ?? 0, UInt16(flags))
            }
        }
        var result: Int32
        if other != nil {
            result = attempt(MARTLET_XDP_BIND_SHARED)
        } else {
            let wakeup = MARTLET_XDP_BIND_NEED_WAKEUP
            switch plan.copying {
            case .automatic:
                // The kernel falls back to copying by itself where the driver says that it cannot; some drivers fail instead.
                result = attempt(wakeup)
                if result == -EOPNOTSUPP || result == -EINVAL { result = attempt(wakeup | MARTLET_XDP_BIND_COPY) }
            case .never:
                result = attempt(wakeup | MARTLET_XDP_BIND_ZERO_COPY)
                if result == -EOPNOTSUPP || result == -EINVAL {
                    let remedy = "allow the link to copy, or use a network card whose driver has AF_XDP"
                    throw .unsupported(link: plan.link, what: "a link that does not copy", remedy: remedy)
                }
            case .always: result = attempt(wakeup | MARTLET_XDP_BIND_COPY)
            }
        }
        switch -result {
        case EBUSY: throw .queueInUse(link: plan.link)
        case ENODEV: throw .noSuchInterface(link: plan.link)
        default: try check(result, "binding to the queue", plan.link)
        }
    }

    /// Repeats what returns -EBUSY for a tenth of a second at most.
    static func retryingWhileBusy(_ attempt: () -> Int32) -> Int32 {
        for _ in 0..<20 {
            let result = attempt()
            if result != -EBUSY { return result }
            usleep(5_000)
        }
        return attempt()
    }
}

/// The maps of the four rings, by number.
@safe private struct RingMaps {
    // SAFETY: passive; whoever maps also unmaps.
    var maps: InlineArray<4, martlet_xdp_ring> = unsafe InlineArray(repeating: martlet_xdp_ring())

    @unsafe mutating func unmap() {
        for ring in 0..<4 { unsafe martlet_xdp_unmap_ring(&maps[ring]) }
    }
}

/// The bound sockets of this process by the arena that is their UMEM: one of them lends it to the next.
private enum UMEMs {
    private static let sockets = Mutex<[UInt: [Int32]]>([:])

    /// A second descriptor of a socket that has the arena registered, if there is one: it stays so until that is closed.
    static func borrow(arena: XDPArena) -> Int32? {
        sockets.withLock {
            guard let first = $0[arena.key]?.first else { return nil }
            let duplicate = martlet_duplicate(first)
            return duplicate < 0 ? nil : duplicate
        }
    }

    static func add(_ descriptor: Int32, arena: UInt) {
        sockets.withLock { $0[arena, default: []].append(descriptor) }
    }

    static func remove(_ descriptor: Int32, arena: UInt) {
        sockets.withLock {
            $0[arena]?.removeAll { $0 == descriptor }
            if $0[arena]?.isEmpty == true { $0[arena] = nil }
        }
    }
}
