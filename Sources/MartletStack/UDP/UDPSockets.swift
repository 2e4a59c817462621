// The sockets of a stack: a table allocated once, whose slots are named with a generation, and an index by both ends.
//
// An end that is not known is the unspecified address, and port 0. The most specific socket gets a datagram: three searches,
// each O(1), by a hash whose secret keeps strangers from choosing ports that collide.

/// Names a socket of a stack. A name outlives its socket, and then names nothing.
public struct SocketID: BitwiseCopyable, Hashable, Sendable {
    let slot: UInt32
    let generation: UInt32

    /// A number below ``UDPLimits/sockets`` that no other open socket has: the place of what a program keeps for this one.
    public var index: Int { Int(slot) }
}

/// What a socket has to tell.
public struct SocketEvents: OptionSet, BitwiseCopyable, Sendable {
    /// A bit for each.
    public var rawValue: UInt8

    /// The events of these bits.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// A datagram has come.
    @inlinable public static var readable: SocketEvents { SocketEvents(rawValue: 1) }
    /// A datagram did not go because there was no room; now there is again.
    @inlinable public static var writable: SocketEvents { SocketEvents(rawValue: 2) }
    /// An ICMP error has come about a datagram.
    @inlinable public static var error: SocketEvents { SocketEvents(rawValue: 4) }
}

/// What the IP headers of a socket's datagrams say, besides between whom they go.
public struct DatagramMarking: BitwiseCopyable, Hashable, Sendable {
    /// Routers that a datagram for one host, or for everybody on the link, may pass, and one more: 1 keeps it on the link (RFC 791's
    /// time to live, RFC 8200's hop limit). 64, or what a router advertises for IPv6, unless it is set to something else.
    public var timeToLive: UInt8 = 64
    /// The same for groups: they stay on the link unless somebody says otherwise (RFC 1112 §6.1).
    public var groupTimeToLive: UInt8 = 1
    /// The differentiated services codepoint, 0 ... 63: what routers that care are to do with it (RFC 2474).
    public var codepoint: UInt8 = 0

    /// The defaults.
    public init() {}
}

/// What the stack knows of one socket.
struct UDPControlBlock: BitwiseCopyable {
    var tuple = FourTuple(localAddress: .v4(.any), localPort: 0, remoteAddress: .v4(.any), remotePort: 0)
    var hash: UInt64 = 0
    var queue = DatagramQueue()
    var generation: UInt32 = 0
    var events: SocketEvents = []
    var error: UDPError?
    var isOpen = false
    var dontFragment = false
    var marking = DatagramMarking()
    /// A datagram did not go for lack of room.
    var isRefused = false
    /// Sockets of other stacks of the same host are bound to the same port.
    var sharesPort = false
}

/// A bounded table of sockets. Allocates in `init` only.
struct UDPSockets: ~Copyable {
    private var table: PlainTable<UDPControlBlock>
    private var nextFree: PlainTable<UInt32>
    private var index: HashIndex
    private let hash: ConnectionHash
    private var firstFree: UInt32 = .max
    private var touched = 0
    private(set) var count = 0

    init(capacity: Int, secret: SipHash.Key) {
        table = PlainTable(capacity: capacity)
        nextFree = PlainTable(capacity: capacity)
        index = HashIndex(capacity: capacity)
        hash = ConnectionHash(secret: secret)
    }

    subscript(slot: UInt32) -> UDPControlBlock {
        _read { yield table[Int(slot)] }
        _modify { yield &table[Int(slot)] }
    }

    // MARK: Slots

    /// Takes a slot for a socket with these ends. Nil when all are taken.
    ///
    /// - Precondition: no socket has these ends.
    mutating func open(_ tuple: FourTuple) -> UInt32? {
        let slot: UInt32
        var block = UDPControlBlock()
        if firstFree != .max {
            slot = firstFree
            firstFree = nextFree[Int(slot)]
            block.generation = table[Int(slot)].generation &+ 1
        } else {
            guard touched < table.count else { return nil }
            slot = UInt32(touched)
            touched += 1
        }
        (block.tuple, block.hash, block.isOpen) = (tuple, hash.tableHash(tuple), true)
        table[Int(slot)] = block
        index.insert(Int(slot), hash: block.hash)
        count += 1
        return slot
    }

    /// Gives a slot back. Its queue has to be empty.
    mutating func close(_ slot: UInt32) {
        precondition(table[Int(slot)].queue.isEmpty, "datagrams of a closed socket")
        index.remove(Int(slot), hash: table[Int(slot)].hash)
        table[Int(slot)].isOpen = false
        table[Int(slot)].isRefused = false
        table[Int(slot)].events = []
        nextFree[Int(slot)] = firstFree
        firstFree = slot
        count -= 1
    }

    func id(of slot: UInt32) -> SocketID { SocketID(slot: slot, generation: table[Int(slot)].generation) }

    /// The slot that an id names, if its socket is still there.
    func slot(of id: SocketID) -> UInt32? {
        guard id.slot < UInt32(touched) else { return nil }
        return table[Int(id.slot)].isOpen && table[Int(id.slot)].generation == id.generation ? id.slot : nil
    }

    // MARK: Ends

    /// Gives an open socket other ends.
    ///
    /// - Precondition: no other socket has them.
    mutating func rename(_ slot: UInt32, _ tuple: FourTuple) {
        index.remove(Int(slot), hash: table[Int(slot)].hash)
        table[Int(slot)].tuple = tuple
        table[Int(slot)].hash = hash.tableHash(tuple)
        index.insert(Int(slot), hash: table[Int(slot)].hash)
    }

    /// The socket that has exactly these ends.
    func find(_ tuple: FourTuple) -> UInt32? {
        var probe = index.probe(hash.tableHash(tuple))
        while let slot = index.next(&probe) {
            if table[slot].tuple == tuple { return UInt32(slot) }
        }
        return nil
    }

    /// The socket that a datagram between these ends is for: one that is connected to the remote end, else one that is bound to
    /// the local address, else one that is bound to the port alone: that of its IP version, else that of both.
    func findMostSpecific(_ tuple: FourTuple) -> UInt32? {
        if let slot = find(tuple) { return slot }
        var wider = tuple
        (wider.remoteAddress, wider.remotePort) = (tuple.remoteAddress.unspecified, 0)
        if let slot = find(wider) { return slot }
        wider.localAddress = tuple.localAddress.unspecified
        if let slot = find(wider) { return slot }
        guard case .v4 = tuple.localAddress else { return nil }
        (wider.localAddress, wider.remoteAddress) = (.v6(.any), .v6(.any))
        return find(wider)
    }
}

extension IPAddress {
    /// `0.0.0.0` or `::`, of the same version.
    var unspecified: IPAddress {
        switch self {
        case .v4: .v4(.any)
        case .v6: .v6(.any)
        }
    }

    /// Whether the address is `0.0.0.0` or `::`.
    var isUnspecified: Bool { self == unspecified }
}
