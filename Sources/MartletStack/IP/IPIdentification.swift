// The Identification of packets that are, or may be, cut in pieces: RFC 6864 for IPv4, RFC 7739 for IPv6.
//
// It must not repeat for the same source, destination and protocol while pieces may be on their way, and must not tell strangers
// what we send to others: one counter for all does (the "idle scan"). So destinations are hashed, with a secret, to one of
// many counters; each adds its own offset; and a counter that rested jumps by a random step of its rest.

/// Counters for identifications. Allocates in `init` only.
struct IPIdentification: ~Copyable {
    private struct Counter: BitwiseCopyable {
        var value: UInt32 = 0
        var usedAt = Instant.zero
    }

    private let key: SipHash.Key
    private var counters: [Counter]

    /// - Precondition: `counterCount` is a power of two.
    init(counterCount: Int = 2048, using random: inout some RandomNumberGenerator) {
        precondition(counterCount > 0 && counterCount & (counterCount - 1) == 0, "a power of two")
        key = SipHash.Key(using: &random)
        counters = []
        counters.reserveCapacity(counterCount)
        for _ in 0..<counterCount { counters.append(Counter(value: UInt32.random(in: 0...UInt32.max, using: &random))) }
    }

    /// The identification of a datagram that is whole and stays so: DF is set, and it is no fragment. Nobody may look
    /// at it (RFC 6864 §4.1).
    static var atomic: UInt16 { 0 }

    /// The Identification of the next IPv4 datagram that may be fragmented.
    mutating func next4(
        from source: IPv4Address, to destination: IPv4Address, transportProtocol: UInt8, at now: Instant,
        using random: inout some RandomNumberGenerator
    ) -> UInt16 {
        UInt16(
            truncatingIfNeeded: next(.v4(source), .v4(destination), transportProtocol, at: now, using: &random))
    }

    /// The Identification of the next IPv6 packet that is fragmented.
    mutating func next6(
        from source: IPv6Address, to destination: IPv6Address, at now: Instant,
        using random: inout some RandomNumberGenerator
    ) -> UInt32 {
        next(.v6(source), .v6(destination), 0, at: now, using: &random)
    }

    private mutating func next(
        _ source: IPAddress, _ destination: IPAddress, _ transportProtocol: UInt8, at now: Instant,
        using random: inout some RandomNumberGenerator
    ) -> UInt32 {
        var hash = KeyedHash(key: key)
        hash.absorb(source)
        hash.absorb(destination)
        hash.absorb(UInt64(transportProtocol))
        let hashed = hash.finish()
        let slot = Int(truncatingIfNeeded: hashed) & (counters.count - 1)
        // At most 1,024 at once: 64 rests fit into 16 bits, and pieces live for seconds.
        let rest = (now - counters[slot].usedAt).saturatedNanoseconds / 1_000_000
        let step = UInt32.random(in: 0...UInt32(max(0, min(rest, 1023))), using: &random)
        counters[slot].value &+= 1 &+ step
        counters[slot].usedAt = now
        return counters[slot].value &+ UInt32(truncatingIfNeeded: hashed >> 32)
    }
}
