// The hash behind every table whose keys a stranger chooses, and behind numbers that a stranger must not guess.
//
// Without the key nobody can pick addresses that share a bucket (tables), or predict the next identification (RFC 6864,
// RFC 7739).

/// SipHash-2-4 of words absorbed one by one.
struct KeyedHash: BitwiseCopyable {
    private var state: SipHash
    private var byteCount = 0

    init(key: SipHash.Key) { state = SipHash(key: key) }

    mutating func absorb(_ word: UInt64) {
        state.absorb(word)
        byteCount &+= 8
    }

    /// Absorbs an address, in one form for each version, so that an address never looks like one it maps.
    mutating func absorb(_ address: IPAddress) {
        switch address {
        case .v4(let address):
            absorb(4 << 32 | UInt64(address.bits))
        case .v6(let address):
            absorb(6 << 32)
            absorb(address.high)
            absorb(address.low)
        }
    }

    consuming func finish() -> UInt64 { state.finish(0, byteCount: byteCount) }
}

extension SipHash.Key {
    init(_ low: UInt64, _ high: UInt64) {
        self.low = low
        self.high = high
    }
}
