// What a core knows of its stack's sockets, by the numbers that stand for descriptors above a driver.
//
//     bit 30   it is a socket of the stack's, and no descriptor of the kernel's
//     bit 29   … a listener
//     bit 28   … a datagram socket
//     0 … 27   its place in the stack's own table

internal import MartletStack

/// The number of a socket of the stack's, where the kernel's have their descriptors.
struct StackDescriptor: BitwiseCopyable, Equatable {
    enum Kind: BitwiseCopyable { case connection, listener, datagrams }

    let number: Int32

    private static var ours: Int32 { 1 << 30 }
    private static var listener: Int32 { 1 << 29 }
    private static var datagrams: Int32 { 1 << 28 }

    /// Nil if it is one of the kernel's.
    init?(_ descriptor: Int32) {
        guard descriptor & Self.ours != 0, descriptor >= 0 else { return nil }
        number = descriptor
    }

    init(_ kind: Kind, _ place: Int) {
        switch kind {
        case .connection: number = Self.ours | Int32(place)
        case .listener: number = Self.ours | Self.listener | Int32(place)
        case .datagrams: number = Self.ours | Self.datagrams | Int32(place)
        }
    }

    var kind: Kind {
        if number & Self.listener != 0 { return .listener }
        return number & Self.datagrams != 0 ? .datagrams : .connection
    }

    var place: Int { Int(number & (Self.datagrams - 1)) }
}

struct StackSocketFlags: OptionSet, BitwiseCopyable {
    let rawValue: UInt16

    /// The transport knows of it.
    static let isOpen = StackSocketFlags(rawValue: 1 << 0)
    /// A receive, accept or poll is armed.
    static let isArmed = StackSocketFlags(rawValue: 1 << 1)
    /// There may be something for it.
    static let isReadable = StackSocketFlags(rawValue: 1 << 2)
    /// It waits in the queue of those that are served.
    static let isQueued = StackSocketFlags(rawValue: 1 << 3)
    static let connects = StackSocketFlags(rawValue: 1 << 4)
    static let waitsToWrite = StackSocketFlags(rawValue: 1 << 5)
    /// No bytes will come behind those that wait: the peer has finished, or the connection has ended.
    static let isAtEnd = StackSocketFlags(rawValue: 1 << 6)
    /// Closing it resets the connection.
    static let resetsOnClose = StackSocketFlags(rawValue: 1 << 7)
    /// A listener's port is claimed among the cores.
    static let hasClaim = StackSocketFlags(rawValue: 1 << 8)
}

/// A socket of the stack's, in the table of its kind.
struct StackSocket<ID: BitwiseCopyable>: BitwiseCopyable {
    var id: ID
    /// The socket's name above: what completions carry.
    var slot: Int32 = -1
    var generation: UInt32 = 0
    var flags: StackSocketFlags = .isOpen

    func token(_ operation: Operation) -> Token { Token(operation, slot: slot, generation: generation) }
}

/// Sockets of one kind by their places in the stack's table.
@safe struct StackSocketTable<ID: BitwiseCopyable>: ~Copyable {
    // SAFETY: allocated here with `capacity` places, initialised up to `touched`, and freed in the deinit.
    private let sockets: UnsafeMutablePointer<StackSocket<ID>?>
    private let capacity: Int
    private var touched = 0

    init(capacity: Int) {
        self.capacity = capacity
        unsafe sockets = .allocate(capacity: capacity)
    }

    deinit { unsafe sockets.deallocate() }

    /// Whether a socket is open in that place.
    func isOpen(_ place: Int) -> Bool {
        guard place < touched else { return false }
        return unsafe sockets[place] != nil
    }

    /// The socket in a place.
    ///
    /// - Precondition: it is open.
    subscript(place: Int) -> StackSocket<ID> {
        @inline(__always) get { unsafe sockets[place].unsafelyUnwrapped }
        @inline(__always) nonmutating set { unsafe sockets[place] = newValue }
    }

    mutating func open(_ place: Int, _ id: ID) {
        precondition(place < capacity, "a socket beyond the stack's own table")
        while touched <= place {
            unsafe (sockets + touched).initialize(to: nil)
            touched += 1
        }
        unsafe sockets[place] = StackSocket(id: id)
    }

    func close(_ place: Int) { unsafe sockets[place] = nil }

    /// The places of open sockets.
    var open: [Int] { (0..<touched).filter { unsafe sockets[$0] != nil } }
}
