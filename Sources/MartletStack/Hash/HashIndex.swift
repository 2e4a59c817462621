// From the hash of a key to the slot of a table, for tables that are bounded and keep their keys themselves.
//
// Open addressing with linear probing (Knuth, TAOCP 3, §6.4, algorithm L) and removal that moves later entries up
// (algorithm R), so that there are no tombstones and a table that lives for years is as fast as a new one. It is never
// more than half full, so every probe meets an empty bucket soon. Knows hashes and slots, not keys.

/// Finds slots by hash in O(1) on average. Allocates in `init` only.
struct HashIndex: ~Copyable {
    struct Bucket: BitwiseCopyable {
        var hash: UInt32 = 0
        var slot: UInt32 = .max
    }

    /// Where a search stands.
    struct Probe: BitwiseCopyable {
        fileprivate var position: Int
        fileprivate let hash: UInt32
    }

    private var buckets: PlainTable<Bucket>
    private let mask: Int
    private let capacity: Int
    private(set) var count = 0

    /// An index for up to `capacity` slots.
    ///
    /// - Precondition: `capacity` is in `1 ... 2³⁰`.
    init(capacity: Int) {
        precondition(capacity > 0 && capacity <= 1 << 30, "an index has 1 ... 2³⁰ slots")
        let bucketCount = 1 << (Int.bitWidth - (2 * capacity - 1).leadingZeroBitCount)
        buckets = PlainTable(repeating: Bucket(), count: bucketCount)
        mask = bucketCount - 1
        self.capacity = capacity
    }

    /// A search for the slots of `hash`.
    func probe(_ hash: UInt64) -> Probe {
        let hash = UInt32(truncatingIfNeeded: hash)
        return Probe(position: Int(hash) & mask, hash: hash)
    }

    /// The next slot whose hash is the same. Whether its key is, the caller sees.
    func next(_ probe: inout Probe) -> Int? {
        while true {
            let bucket = buckets[probe.position]
            if bucket.slot == .max { return nil }
            probe.position = (probe.position &+ 1) & mask
            if bucket.hash == probe.hash { return Int(bucket.slot) }
        }
    }

    /// - Precondition: fewer than `capacity` slots are in the index, and this one is not.
    mutating func insert(_ slot: Int, hash: UInt64) {
        precondition(count < capacity, "an index has no room")
        let hash = UInt32(truncatingIfNeeded: hash)
        var position = Int(hash) & mask
        while buckets[position].slot != .max { position = (position &+ 1) & mask }
        buckets[position].hash = hash
        buckets[position].slot = UInt32(slot)
        count += 1
    }

    /// - Precondition: `slot` was inserted with this hash.
    mutating func remove(_ slot: Int, hash: UInt64) {
        var hole = Int(UInt32(truncatingIfNeeded: hash)) & mask
        while buckets[hole].slot != UInt32(slot) {
            precondition(buckets[hole].slot != .max, "a slot that is not in the index")
            hole = (hole &+ 1) & mask
        }
        var position = (hole &+ 1) & mask
        while buckets[position].slot != .max {
            // One whose way from its home leads over the hole may fill it: otherwise a search would stop at the hole.
            let home = Int(buckets[position].hash) & mask
            if (position &- home) & mask >= (position &- hole) & mask {
                buckets[hole] = buckets[position]
                hole = position
            }
            position = (position &+ 1) & mask
        }
        buckets[hole] = Bucket()
        count -= 1
    }
}
