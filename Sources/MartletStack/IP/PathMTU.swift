// The largest packet for each destination of which something is known: RFC 1191 and RFC 8201 by ICMP, RFC 8899 by probes.
//
// A destination that is not in the table takes what its link takes. Whether an ICMP message is plausible, that is quotes a
// segment in flight (RFC 5927 §7), the caller has seen; still nothing it says is believed below the minimum,
// and nothing raises. All sizes are bytes of whole IP packets.

/// What became of a Fragmentation Needed or Packet Too Big.
enum PathMTUOutcome: BitwiseCopyable, Equatable {
    case lowered(Int)
    /// It says no less than is known.
    case notLower
    /// IPv6 carries 1,280 bytes everywhere (RFC 8201 §4): whoever says less is wrong.
    case belowMinimum
}

/// A bounded table. Reading is O(1), adding O(capacity) when it is full. Allocates in `init` only.
struct PathMTU: ~Copyable {
    private struct Path: BitwiseCopyable {
        var destination = IPAddress.v4(.any)
        var search = PathSearch(mtu: 0, isIPv4: true, at: .zero)
        var hash: UInt64 = 0
    }

    private let key: SipHash.Key
    private let capacity: Int
    private var index: HashIndex
    private var paths: [Path] = []

    /// Destinations given up for newer ones.
    private(set) var evicted: UInt64 = 0
    /// Paths that turned out to be black holes.
    private(set) var blackHoles: UInt64 = 0

    init(capacity: Int = 256, using random: inout some RandomNumberGenerator) {
        precondition(capacity > 0, "a table without room")
        self.capacity = capacity
        key = SipHash.Key(using: &random)
        index = HashIndex(capacity: capacity)
        paths.reserveCapacity(capacity)
    }

    /// Destinations of which something is known.
    var count: Int { paths.count }

    /// The largest packet to `destination` over a link that takes `linkMTU`.
    func mtu(to destination: IPAddress, linkMTU: Int, at now: Instant) -> Int {
        guard let slot = find(destination), !paths[slot].search.isAged(at: now) else { return linkMTU }
        return min(paths[slot].search.mtu, linkMTU)
    }

    /// A router says that a packet of `packetLength` bytes to `destination` did not fit, and that `mtu` bytes would.
    ///
    /// Routers older than RFC 1191 leave `mtu` 0: then the next plateau below the packet is taken (§7.1).
    mutating func receiveTooBig(
        for destination: IPAddress, mtu: Int, packetLength: Int, linkMTU: Int, at now: Instant
    ) -> PathMTUOutcome {
        var size = mtu
        if destination.bitWidth == 32 {
            if size < 68 { size = Self.plateau(below: packetLength) }
        } else if size < 1280 {
            return .belowMinimum
        }
        let current = self.mtu(to: destination, linkMTU: linkMTU, at: now)
        guard size < current else { return .notLower }
        let slot = slot(for: destination, linkMTU: linkMTU, at: now)
        paths[slot].search.lower(to: size, at: now)
        let lowered = paths[slot].search.mtu
        return lowered < current ? .lowered(lowered) : .notLower
    }

    // MARK: What TCP reports

    /// A full-size segment was lost; see ``PathSearch/fullSizeLost(at:)``. Returns whether the MTU is lower now.
    mutating func fullSizeLost(to destination: IPAddress, linkMTU: Int, at now: Instant) -> Bool {
        let slot = slot(for: destination, linkMTU: linkMTU, at: now)
        let isBlackHole = paths[slot].search.fullSizeLost(at: now)
        if isBlackHole { blackHoles += 1 }
        return isBlackHole
    }

    /// A full-size segment has arrived. Does nothing for destinations that nothing is known of.
    mutating func fullSizeAcknowledged(to destination: IPAddress, at now: Instant) {
        guard let slot = find(destination) else { return }
        paths[slot].search.fullSizeAcknowledged(at: now)
    }

    /// How long a probe to `destination` is to be that TCP may send now; `nil` if none is due.
    mutating func nextProbe(to destination: IPAddress, linkMTU: Int, at now: Instant) -> Int? {
        guard let slot = find(destination) else { return nil }
        return paths[slot].search.nextProbe(linkMTU: linkMTU, at: now)
    }

    mutating func probeAcknowledged(to destination: IPAddress, size: Int, at now: Instant) {
        guard let slot = find(destination) else { return }
        paths[slot].search.probeAcknowledged(size: size, at: now)
    }

    mutating func probeLost(to destination: IPAddress, size: Int, at now: Instant) {
        guard let slot = find(destination) else { return }
        paths[slot].search.probeLost(size: size, at: now)
    }

    // MARK: Paths

    /// RFC 1191 §7.1, table 7-1.
    static func plateau(below length: Int) -> Int {
        let plateaus: InlineArray<9, Int> = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296]
        for index in plateaus.indices where plateaus[index] < length { return plateaus[index] }
        return 68
    }

    private func find(_ destination: IPAddress) -> Int? {
        var probe = index.probe(hash(destination))
        while let slot = index.next(&probe) {
            if paths[slot].destination == destination { return slot }
        }
        return nil
    }

    private func hash(_ destination: IPAddress) -> UInt64 {
        var hash = KeyedHash(key: key)
        hash.absorb(destination)
        return hash.finish()
    }

    /// The path, new or grown old and begun anew.
    private mutating func slot(for destination: IPAddress, linkMTU: Int, at now: Instant) -> Int {
        let search = PathSearch(mtu: linkMTU, isIPv4: destination.bitWidth == 32, at: now)
        if let slot = find(destination) {
            if paths[slot].search.isAged(at: now) { paths[slot].search = search }
            return slot
        }
        let path = Path(destination: destination, search: search, hash: hash(destination))
        var slot = paths.count
        if slot == capacity {
            slot = longestUnchanged()
            index.remove(slot, hash: paths[slot].hash)
            paths[slot] = path
            evicted += 1
        } else {
            paths.append(path)
        }
        index.insert(slot, hash: path.hash)
        return slot
    }

    private func longestUnchanged() -> Int {
        var oldest = 0
        for slot in paths.indices where paths[slot].search.changedAt < paths[oldest].search.changedAt { oldest = slot }
        return oldest
    }
}
