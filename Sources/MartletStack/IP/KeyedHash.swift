// The hash behind every table whose keys a stranger chooses, and behind numbers that a stranger must not guess.
//
// SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) over whole 64-bit words. Without the
// key nobody can pick addresses that share a bucket (tables), or predict the next identification (RFC 6864, RFC 7739).

/// A secret of 128 bits, drawn once when the stack starts.
struct HashKey: BitwiseCopyable, Sendable {
    var first: UInt64
    var second: UInt64

    init(_ first: UInt64, _ second: UInt64) {
        self.first = first
        self.second = second
    }

    init(using random: inout some RandomNumberGenerator) {
        first = random.next()
        second = random.next()
    }
}

/// SipHash-2-4 of words absorbed one by one.
struct KeyedHash: BitwiseCopyable {
    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64
    private var byteCount: UInt64 = 0

    init(key: HashKey) {
        v0 = key.first ^ 0x736f_6d65_7073_6575
        v1 = key.second ^ 0x646f_7261_6e64_6f6d
        v2 = key.first ^ 0x6c79_6765_6e65_7261
        v3 = key.second ^ 0x7465_6462_7974_6573
    }

    mutating func absorb(_ word: UInt64) {
        compress(word)
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

    consuming func finish() -> UInt64 {
        compress(byteCount << 56)
        v2 ^= 0xff
        for _ in 0..<4 { round() }
        return v0 ^ v1 ^ v2 ^ v3
    }

    private mutating func compress(_ word: UInt64) {
        v3 ^= word
        round()
        round()
        v0 ^= word
    }

    private mutating func round() {
        v0 = v0 &+ v1
        v1 = v1 &<< 13 | v1 &>> 51
        v1 ^= v0
        v0 = v0 &<< 32 | v0 &>> 32
        v2 = v2 &+ v3
        v3 = v3 &<< 16 | v3 &>> 48
        v3 ^= v2
        v0 = v0 &+ v3
        v3 = v3 &<< 21 | v3 &>> 43
        v3 ^= v0
        v2 = v2 &+ v1
        v1 = v1 &<< 17 | v1 &>> 47
        v1 ^= v2
        v2 = v2 &<< 32 | v2 &>> 32
    }
}
