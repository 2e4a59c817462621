// What the core knows of its sockets: plain values in one preallocated table, addressed by (slot, generation).
// The fields that a message touches come first.

internal import CMartlet
internal import MartletStack

struct SocketFlags: OptionSet, BitwiseCopyable {
    let rawValue: UInt32

    /// The slot is in use.
    static let inUse = SocketFlags(rawValue: 1 << 0)
    /// The descriptor is open.
    static let hasDescriptor = SocketFlags(rawValue: 1 << 1)
    /// The program still holds the handle.
    static let hasHandle = SocketFlags(rawValue: 1 << 2)
    static let isConnecting = SocketFlags(rawValue: 1 << 3)

    /// The driver receives for this socket.
    static let receiveArmed = SocketFlags(rawValue: 1 << 4)
    /// … and has been told to stop.
    static let receiveCancelled = SocketFlags(rawValue: 1 << 5)
    /// The peer's FIN has come.
    static let peerFinished = SocketFlags(rawValue: 1 << 6)
    /// Waits in the list of sockets that found no receive buffer.
    static let isStarved = SocketFlags(rawValue: 1 << 7)
    static let awaitsFirstByte = SocketFlags(rawValue: 1 << 8)

    /// The driver holds a send, or waits for room for one.
    static let sendPending = SocketFlags(rawValue: 1 << 9)
    /// … which is silent: no completion means success.
    static let sendSilent = SocketFlags(rawValue: 1 << 10)
    /// In the list of sockets that have bytes to send.
    static let isDirty = SocketFlags(rawValue: 1 << 11)
    /// FIN goes after what is queued …
    static let finishWanted = SocketFlags(rawValue: 1 << 12)
    /// … and has gone.
    static let finishSent = SocketFlags(rawValue: 1 << 13)

    /// To be closed when its last bytes have gone.
    static let isClosing = SocketFlags(rawValue: 1 << 14)
    /// Has failed: `failure` says how.
    static let hasFailed = SocketFlags(rawValue: 1 << 15)
    /// A sender that had waited for room is filling the queue.
    static let senderActive = SocketFlags(rawValue: 1 << 18)
    static let isUnix = SocketFlags(rawValue: 1 << 16)
    /// A handler task of `serve` owns the connection.
    static let isServed = SocketFlags(rawValue: 1 << 17)
}

/// Why a connection failed.
enum Failure: BitwiseCopyable, Equatable {
    case errno(Int32)
    case idle
    case write
    case aborted
    /// The task that owns it was cancelled.
    case cancelled
}

@safe struct SocketState: BitwiseCopyable {
    var flags: SocketFlags = []
    var generation: UInt32 = 0
    var descriptor: Int32 = -1
    /// Operations that the driver holds.
    var outstanding: Int32 = 0

    // Receiving: a queue of slabs, and who waits for it.
    var unreadHead: Int32 = -1
    var unreadTail: Int32 = -1
    var unreadBytes: Int32 = 0
    var receiver: Int32 = -1

    // Sending: a queue of segments, of which the first `inFlight` bytes are with the driver, and who waits for room.
    var sendHead: Int32 = -1
    var sendTail: Int32 = -1
    var sendBytes: Int32 = 0
    var inFlight: Int32 = 0
    var senderHead: Int32 = -1
    var senderTail: Int32 = -1
    /// Who waits until all that was queued has been taken by the kernel.
    var flusher: Int32 = -1

    /// The next of a list the socket is in: dirty, starved or free.
    var nextDirty: Int32 = -1
    var nextStarved: Int32 = -1
    var nextFree: Int32 = -1

    /// The scope that has installed the one cancellation handler that its task's operations need (`TaskScope`).
    var scope: UnsafeMutablePointer<ScopeRecord>?
    var policy: Unmanaged<Policy>?
    var listener: Int32 = -1
    var failure: Failure = .aborted

    // Instants in nanoseconds.
    var openedAt: Int64 = 0
    var lastActivity: Int64 = 0
    var lastSendProgress: Int64 = 0
    var closeDeadline: Int64 = .max
    /// What the peer had acknowledged when the write timeout last looked.
    var acknowledged: UInt64 = 0
}

/// The table and its free list.
@safe struct SocketTable: ~Copyable {
    // First, or the thread sanitizer crashes Swift 6.3's compiler on the addressors below.
    private let states: UnsafeMutablePointer<SocketState>
    let capacity: Int
    /// Slots that have been used before are below.
    private var touched = 0
    private var firstFree: Int32 = -1
    private(set) var inUse = 0

    init(capacity: Int) {
        self.capacity = capacity
        unsafe states = .allocate(capacity: capacity)
    }

    deinit { unsafe states.deallocate() }

    var freeCount: Int { capacity - inUse }

    subscript(slot: Int32) -> SocketState {
        @inline(__always) unsafeAddress { unsafe UnsafePointer(states + Int(slot)) }
        @inline(__always) nonmutating unsafeMutableAddress { unsafe states + Int(slot) }
    }

    /// Whether the slot still means what it meant when the generation was noted.
    func isCurrent(_ slot: Int32, _ generation: UInt32) -> Bool {
        guard slot >= 0, slot < touched else { return false }
        return unsafe states[Int(slot)].generation == generation && states[Int(slot)].flags.contains(.inUse)
    }

    /// Takes a free slot, or returns nil when the table is full.
    mutating func take() -> Int32? {
        let slot: Int32
        if firstFree >= 0 {
            slot = firstFree
            firstFree = unsafe states[Int(slot)].nextFree
        } else {
            guard touched < capacity else { return nil }
            slot = Int32(touched)
            unsafe (states + touched).initialize(to: SocketState())
            touched += 1
        }
        let generation = unsafe states[Int(slot)].generation
        unsafe states[Int(slot)] = SocketState()
        unsafe states[Int(slot)].generation = (generation + 1) & 0xff_ffff
        unsafe states[Int(slot)].flags = .inUse
        inUse += 1
        return slot
    }

    mutating func release(_ slot: Int32) {
        unsafe states[Int(slot)].flags = []
        unsafe states[Int(slot)].nextFree = firstFree
        firstFree = slot
        inUse -= 1
    }

    /// All slots that may be in use.
    var slots: Range<Int32> { 0..<Int32(touched) }
}

/// Options in the form that the packet path wants: nanoseconds and Int32. One for a listener and its connections.
final class Policy: Sendable {
    let idleTimeout: Int64
    let firstByteTimeout: Int64
    let writeTimeout: Int64
    let closeTimeout: Int64
    let receiveLimit: Int32
    let sendLimit: Int32
    let options: ConnectionOptions

    init(_ options: ConnectionOptions) {
        self.options = options
        idleTimeout = options.idleTimeout?.nanoseconds ?? .max
        firstByteTimeout = options.firstByteTimeout?.nanoseconds ?? .max
        writeTimeout = options.writeTimeout?.nanoseconds ?? .max
        closeTimeout = options.closeTimeout.nanoseconds
        receiveLimit = Int32(clamping: max(1, options.receiveLimit))
        sendLimit = Int32(clamping: max(1, options.sendLimit))
    }

    var hasTimers: Bool { idleTimeout != .max || firstByteTimeout != .max || writeTimeout != .max }
}
