// The keyed hash of Aumasson and Bernstein ("SipHash: a fast short-input PRF", 2012), fed by the word.

/// SipHash-2-4 of a sequence of words and up to seven bytes more.
struct SipHash: BitwiseCopyable, Sendable {
    typealias Key = StackSecret

    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64

    init(key: Key) {
        // "somepseudorandomlygeneratedbytes"
        v0 = key.low ^ 0x736F_6D65_7073_6575
        v1 = key.high ^ 0x646F_7261_6E64_6F6D
        v2 = key.low ^ 0x6C79_6765_6E65_7261
        v3 = key.high ^ 0x7465_6462_7974_6573
    }

    /// Takes in eight bytes, the first least significant.
    @inline(__always)
    mutating func absorb(_ word: UInt64) {
        v3 ^= word
        for _ in 0..<2 { mix() }
        v0 ^= word
    }

    /// Takes in the last `byteCount % 8` bytes, the first least significant, and gives the hash of all `byteCount`.
    @inline(__always)
    mutating func finish(_ bytes: UInt64, byteCount: Int) -> UInt64 {
        assert(bytes >> UInt64(8 * (byteCount % 8)) == 0, "more bytes than the count says")
        absorb(bytes | UInt64(truncatingIfNeeded: byteCount) << 56)
        v2 ^= 0xFF
        for _ in 0..<4 { mix() }
        return v0 ^ v1 ^ v2 ^ v3
    }

    @inline(__always)
    private mutating func mix() {
        v0 &+= v1
        v1 = Self.rotated(v1, by: 13) ^ v0
        v0 = Self.rotated(v0, by: 32)
        v2 &+= v3
        v3 = Self.rotated(v3, by: 16) ^ v2
        v0 &+= v3
        v3 = Self.rotated(v3, by: 21) ^ v0
        v2 &+= v1
        v1 = Self.rotated(v1, by: 17) ^ v2
        v2 = Self.rotated(v2, by: 32)
    }

    @inline(__always)
    private static func rotated(_ word: UInt64, by bits: UInt64) -> UInt64 {
        word &<< bits | word &>> (64 &- bits)
    }
}
