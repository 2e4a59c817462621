// From a segment's addresses and ports to its connection: open addressing with linear probing, half full at most.
//
// Entries are hash and slot, 8 bytes; a run of probes is on one cache line mostly. The hash is keyed with a secret, so that nobody
// can choose connections that collide.

struct Demultiplexer: ~Copyable {
    struct Entry: BitwiseCopyable {
        var hash: UInt32
        /// The connection, or `.max` for an empty place.
        var slot: UInt32
    }

    private var entries: PlainTable<Entry>
    /// The connection that was found last, or `.max`: the next segment is often of the same.
    private var latest = UInt32.max
    private let mask: Int
    let hash: ConnectionHash

    init(capacity: Int, secret: SipHash.Key) {
        let size = Self.places(forConnections: capacity)
        entries = PlainTable(repeating: Entry(hash: 0, slot: .max), count: size)
        mask = size - 1
        hash = ConnectionHash(secret: secret)
    }

    /// How many places the table has: a power of two, and twice as many as there can be connections, or more.
    static func places(forConnections capacity: Int) -> Int {
        1 << (Int.bitWidth - (max(capacity * 2, 16) - 1).leadingZeroBitCount)
    }

    /// The hash of a connection's ends, which the connection keeps.
    @inline(__always)
    func hash(of tuple: FourTuple) -> UInt32 { UInt32(truncatingIfNeeded: hash.tableHash(tuple)) }

    /// The connection of a segment that has come.
    @inline(__always)
    mutating func connection(of tuple: FourTuple, in table: borrowing ConnectionTable) -> UInt32? {
        if latest != .max, table[latest].tuple == tuple { return latest }
        guard let slot = find(tuple, in: table) else { return nil }
        latest = slot
        return slot
    }

    func find(_ tuple: FourTuple, in table: borrowing ConnectionTable) -> UInt32? {
        let hash = hash(of: tuple)
        var place = Int(hash) & mask
        while entries[place].slot != .max {
            if entries[place].hash == hash, table[entries[place].slot].tuple == tuple { return entries[place].slot }
            place = (place + 1) & mask
        }
        return nil
    }

    /// - Precondition: the connection with this hash is not in, and there are fewer than `capacity`.
    mutating func insert(_ hash: UInt32, _ slot: UInt32) {
        var place = Int(hash) & mask
        while entries[place].slot != .max { place = (place + 1) & mask }
        entries[place] = Entry(hash: hash, slot: slot)
    }

    /// Takes a connection out, and closes the gap (Knuth, TAOCP 3, §6.4, algorithm R).
    mutating func remove(_ hash: UInt32, _ slot: UInt32) {
        if latest == slot { latest = .max }
        var place = Int(hash) & mask
        while entries[place].slot != slot {
            guard entries[place].slot != .max else { return }
            place = (place + 1) & mask
        }
        var gap = place
        place = (place + 1) & mask
        while entries[place].slot != .max {
            let home = Int(entries[place].hash) & mask
            // It may move into the gap unless its home lies behind the gap.
            if (place &- home) & mask >= (place &- gap) & mask {
                entries[gap] = entries[place]
                gap = place
            }
            place = (place + 1) & mask
        }
        entries[gap].slot = .max
    }
}
