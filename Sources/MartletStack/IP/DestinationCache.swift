// Where packets to a destination went last: the Destination Cache of RFC 4861 §5.1, for both versions.
//
// A destination has one place, which its hash says; another one with the same place takes it. So nothing is ever searched for,
// and who talks to thousands pays a route lookup at times. What is remembered counts as long as nothing has changed that
// routes depend on: whoever changes it calls `forgetAll`.

/// A next hop that was found before.
struct Destination: BitwiseCopyable {
    var address = IPAddress.v4(.any)
    /// Whom to send to; nil on interfaces without link addresses.
    var neighbor: Neighbor?
    var interface: UInt8 = 0
    /// It is ourselves.
    var isOurs = false
    /// A route may end by then.
    var validUntil = Instant.zero
    /// Which state of routes it is of; 0 is none.
    var epoch: UInt32 = 0
}

/// Where the connection that was opened last went: the next one goes there too, mostly.
struct LatestOpening: BitwiseCopyable {
    fileprivate var destination = IPAddress.v4(.any)
    fileprivate var source = IPAddress.v4(.any)
    fileprivate var validUntil = Instant.zero
    /// As it was of routes and of addresses; 0 is none.
    fileprivate var epoch: UInt32 = 0
    fileprivate var addressChanges: UInt32 = 0
}

struct DestinationCache: ~Copyable {
    private var entries: PlainTable<Destination>
    private let mask: Int
    private let multiplier: UInt64
    private var epoch: UInt32 = 1
    private var latest = LatestOpening()

    /// - Precondition: `capacity` is a power of two.
    init(capacity: Int, using random: inout some RandomNumberGenerator) {
        precondition(capacity > 0 && capacity & (capacity - 1) == 0, "a power of two")
        entries = PlainTable(repeating: Destination(), count: capacity)
        mask = capacity - 1
        multiplier = random.next() | 1
    }

    /// What is remembered of a destination; nil if nothing, or if it may not be so any more.
    @inline(__always)
    func find(_ address: IPAddress, at now: Instant) -> Destination? {
        let entry = entries[place(address)]
        return entry.epoch == epoch && entry.address == address && entry.validUntil > now ? entry : nil
    }

    mutating func remember(_ destination: Destination) {
        var destination = destination
        destination.epoch = epoch
        entries[place(destination.address)] = destination
    }

    /// From where the last connection was opened, if it went to the same destination and nothing has changed since.
    @inline(__always)
    func latestSource(for destination: IPAddress, _ addressChanges: UInt32, at now: Instant) -> IPAddress? {
        latest.epoch == epoch && latest.addressChanges == addressChanges && latest.validUntil > now
            && latest.destination == destination ? latest.source : nil
    }

    /// A connection may be opened from `source` to `destination`; until `validUntil` no route ends.
    mutating func remember(
        source: IPAddress, for destination: IPAddress, _ addressChanges: UInt32, until validUntil: Instant
    ) {
        latest = LatestOpening(
            destination: destination, source: source, validUntil: validUntil, epoch: epoch,
            addressChanges: addressChanges)
    }

    /// Routes, gateways or addresses have changed.
    mutating func forgetAll() { epoch &+= 1 }

    @inline(__always)
    private func place(_ address: IPAddress) -> Int {
        let folded =
            switch address {
            case .v4(let address): UInt64(address.bits)
            case .v6(let address): address.high ^ (address.low &* multiplier)
            }
        return Int(truncatingIfNeeded: (folded &* multiplier) &>> 40) & mask
    }
}
