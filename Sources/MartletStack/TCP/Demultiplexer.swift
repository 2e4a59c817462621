// From a segment's addresses and ports to its connection: open addressing with linear probing, half full at most.
//
// A place is 4 bytes: the slot, and above it as much of the hash as there is room for, so that a wrong connection is hardly ever
// looked at; a run of probes is on one cache line mostly. The hash is keyed with a secret, so that nobody can choose
// connections that collide.

struct Demultiplexer: ~Copyable {
    /// `.max` for an empty place.
    private var places: PlainTable<UInt32>
    /// The bits of a place that are a slot. No slot has all of them.
    private let slotBits: UInt32
    /// The connection that was found last, or `.max`: the next segment is often of the same.
    private(set) var latest = UInt32.max
    /// What its packets begin with, if they are of IPv4.
    var flow = FlowPrediction()
    private let mask: Int
    let hash: ConnectionHash
    /// The connections that were found last, by a few bits of their ports: most segments are of one of these. Whoever chooses ports
    /// that meet here gains nothing but the way by the hash.
    private var recent: PlainTable<UInt32>

    init(capacity: Int, secret: SipHash.Key) {
        let size = Self.places(forConnections: capacity)
        places = PlainTable(repeating: .max, count: size)
        slotBits = UInt32.max &>> UInt32(UInt32(capacity).leadingZeroBitCount)
        mask = size - 1
        recent = PlainTable(repeating: .max, count: 1 << Self.recentBits)
        hash = ConnectionHash(secret: secret)
    }

    /// How many places the table has: a power of two, and twice as many as there can be connections, or more.
    static func places(forConnections capacity: Int) -> Int {
        1 << (Int.bitWidth - (max(capacity * 2, 16) - 1).leadingZeroBitCount)
    }

    /// The hash of a connection's ends, which is sooner computed than kept.
    @inline(__always)
    func hash(of tuple: FourTuple) -> UInt32 { UInt32(truncatingIfNeeded: hash.tableHash(tuple)) }

    private static var recentBits: UInt32 { 10 }

    /// The place among the recent ones of a connection with these ports, as they stand in the header of a segment that has come.
    @inline(__always)
    private static func recentPlace(_ ports: UInt32) -> Int { Int((ports &* 0x9E37_79B1) &>> (32 &- recentBits)) }

    /// The connection of a plain packet that has come.
    @inline(__always)
    mutating func connection(of packet: PlainPacket, _ ports: UInt32, in table: borrowing ConnectionTable) -> UInt32? {
        let slot = recent[Self.recentPlace(ports)]
        guard slot != .max, table[slot].tuple.isOf(packet, ports) else { return other(packet.ends(ports), in: table) }
        latest = slot
        return slot
    }

    /// The connection of a segment that has come.
    @inline(__always)
    mutating func connection(of tuple: FourTuple, in table: borrowing ConnectionTable) -> UInt32? {
        latest != .max && table[latest].tuple == tuple ? latest : other(tuple, in: table)
    }

    /// The same, if it is none of those that were found last.
    @inline(never)
    private mutating func other(_ tuple: FourTuple, in table: borrowing ConnectionTable) -> UInt32? {
        guard let slot = find(tuple, hash: hash(of: tuple), in: table) else { return nil }
        latest = slot
        recent[Self.recentPlace(UInt32(tuple.remotePort) &<< 16 | UInt32(tuple.localPort))] = slot
        return slot
    }

    func find(_ tuple: FourTuple, in table: borrowing ConnectionTable) -> UInt32? {
        find(tuple, hash: hash(of: tuple), in: table)
    }

    @inline(__always)
    func find(_ tuple: FourTuple, hash: UInt32, in table: borrowing ConnectionTable) -> UInt32? {
        var place = Int(hash) & mask
        while places[place] != .max {
            let slot = places[place] & slotBits
            if places[place] == hash & ~slotBits | slot, table[slot].tuple == tuple { return slot }
            place = (place + 1) & mask
        }
        return nil
    }

    /// - Precondition: the connection with this hash is not in, and there are fewer than `capacity`.
    mutating func insert(_ hash: UInt32, _ slot: UInt32) {
        var place = Int(hash) & mask
        while places[place] != .max { place = (place + 1) & mask }
        places[place] = hash & ~slotBits | slot
    }

    /// Takes a connection out, and closes the gap (Knuth, TAOCP 3, §6.4, algorithm R). Does nothing if it is not in.
    mutating func remove(_ slot: UInt32, in table: borrowing ConnectionTable) {
        if latest == slot { latest = .max }
        if flow.slot == slot { flow = FlowPrediction() }
        let tuple = table[slot].tuple
        let place = Self.recentPlace(UInt32(tuple.remotePort) &<< 16 | UInt32(tuple.localPort))
        if recent[place] == slot { recent[place] = .max }
        removePlace(slot, in: table)
    }

    private mutating func removePlace(_ slot: UInt32, in table: borrowing ConnectionTable) {
        var place = Int(hash(of: table[slot].tuple)) & mask
        while places[place] & slotBits != slot {
            guard places[place] != .max else { return }
            place = (place + 1) & mask
        }
        var gap = place
        place = (place + 1) & mask
        while places[place] != .max {
            let home = Int(hash(of: table[places[place] & slotBits].tuple)) & mask
            // It may move into the gap unless its home lies behind the gap.
            if (place &- home) & mask >= (place &- gap) & mask {
                places[gap] = places[place]
                gap = place
            }
            place = (place + 1) & mask
        }
        places[gap] = .max
    }
}
