// A ring that the kernel maps too: Documentation/networking/af_xdp.rst, "Rings".
//
//          consumer                    producer
//             ▼                           ▼
//     ┌──┬──┬──┬──┬──┬──┬──┬──┬──┬──┬──┬──┬──┬──┐     an index counts up for ever; its low bits are the place.
//     │  │  │██│██│██│██│██│██│██│██│██│  │  │  │     producer - consumer entries are full, the rest is free.
//     └──┴──┴──┴──┴──┴──┴──┴──┴──┴──┴──┴──┴──┴──┘
//
// Each side owns one index and publishes it with a release, after the entries; it reads the other with an acquire, and only when
// what it knew of it is used up, because that cache line belongs to somebody else.

internal import CMartlet

/// The side that fills a ring: fill and transmit.
@safe struct XDPProducer<Entry: BitwiseCopyable>: ~Copyable {
    // SAFETY: the map outlives the ring, which ``XDPSocket`` unmaps when it goes; `mask + 1` entries lie at `entries`; no index
    // that is written to was seen as the consumer's since.
    private let ring: martlet_xdp_ring
    private let entries: UnsafeMutablePointer<Entry>
    private let mask: UInt32
    /// Where the next entry goes; what lies before has been published or is about to be.
    private var next: UInt32
    /// The consumer's index, as it was when it was last read, and the size of the ring ahead of that.
    private var limit: UInt32

    /// - Precondition: `size` is a power of two, and the ring has been mapped for so many entries.
    init(_ ring: martlet_xdp_ring, size: UInt32) {
        precondition(size > 0 && size.nonzeroBitCount == 1, "a ring has a power of two of entries")
        unsafe self.ring = ring
        unsafe entries = ring.entries.assumingMemoryBound(to: Entry.self)
        mask = size - 1
        next = unsafe martlet_ring_load(ring.producer)
        limit = unsafe martlet_ring_load(ring.consumer) &+ size
    }

    var size: Int { Int(mask) + 1 }

    /// Entries that can be put now. Looks at the consumer's index if fewer than `wanted` are known of.
    @inline(__always)
    mutating func room(for wanted: Int) -> Int {
        if Int(limit &- next) < wanted { limit = unsafe martlet_ring_load(ring.consumer) &+ mask &+ 1 }
        return Int(limit &- next)
    }

    /// Entries that the consumer has not taken yet.
    mutating func occupied() -> Int { size - room(for: size) }

    /// Writes the next entry. The kernel sees it with the next ``publish()``.
    ///
    /// - Precondition: ``room(for:)`` has said that there is room.
    @inline(__always)
    mutating func put(_ entry: Entry) {
        assert(limit &- next > 0, "the ring is full")
        unsafe entries[Int(next & mask)] = entry
        next &+= 1
    }

    @inline(__always)
    func publish() { unsafe martlet_ring_store(ring.producer, next) }

    /// Whether the kernel takes nothing until it is woken.
    @inline(__always)
    var needsWakeup: Bool { unsafe martlet_ring_needs_wakeup(ring.flags) }

    func unmap() {
        var ring = unsafe ring
        unsafe martlet_xdp_unmap_ring(&ring)
    }
}

/// The side that empties a ring: completion and receive.
@safe struct XDPConsumer<Entry: BitwiseCopyable>: ~Copyable {
    // SAFETY: as for the producer; what lies before `limit` was published before the index was.
    private let ring: martlet_xdp_ring
    private let entries: UnsafeMutablePointer<Entry>
    private let mask: UInt32
    /// The next entry to be taken, and where the producer was when it was last looked at.
    private var next: UInt32
    private var limit: UInt32

    /// - Precondition: as for the producer.
    init(_ ring: martlet_xdp_ring, size: UInt32) {
        precondition(size > 0 && size.nonzeroBitCount == 1, "a ring has a power of two of entries")
        unsafe self.ring = ring
        unsafe entries = ring.entries.assumingMemoryBound(to: Entry.self)
        mask = size - 1
        next = unsafe martlet_ring_load(ring.consumer)
        limit = unsafe martlet_ring_load(ring.producer)
    }

    /// Entries that can be taken now. Looks at the producer's index if fewer than `wanted` are known of.
    @inline(__always)
    mutating func available(for wanted: Int) -> Int {
        if Int(limit &- next) < wanted { limit = unsafe martlet_ring_load(ring.producer) }
        return Int(limit &- next)
    }

    /// The next entry. Its place is the producer's again with the next ``release()``.
    ///
    /// - Precondition: ``available(for:)`` has said that there is one.
    @inline(__always)
    mutating func take() -> Entry {
        assert(limit != next, "the ring is empty")
        let entry = unsafe entries[Int(next & mask)]
        next &+= 1
        return entry
    }

    @inline(__always)
    func release() { unsafe martlet_ring_store(ring.consumer, next) }

    func unmap() {
        var ring = unsafe ring
        unsafe martlet_xdp_unmap_ring(&ring)
    }
}
