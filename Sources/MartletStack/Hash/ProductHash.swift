// The hash of tables whose keys a stranger chooses and whose values nobody sees: a few instructions, for it is taken of nearly
// every segment, where SipHash takes more than a hundred.
//
// Keyed words are multiplied in pairs, and the halves of the product are joined. What two keys have to do with each other says
// nothing about their hashes to those who do not know the secret, so nobody can choose connections that collide. Who saw
// values could find the secret out, though: numbers that leave the stack come of SipHash.

/// Products of keyed words.
struct ProductHash: BitwiseCopyable, Sendable {
    private let keys: (UInt64, UInt64, UInt64, UInt64, UInt64)

    /// Keys that follow from a secret, and say nothing of it.
    init(secret: SipHash.Key) {
        func key(_ number: UInt64) -> UInt64 {
            var hash = SipHash(key: secret)
            return hash.finish(number, byteCount: 1)
        }
        // Odd: an even factor would lose bits.
        keys = (key(101), key(102), key(103), key(104), key(105) | 1)
    }

    /// The hash of both ends.
    @inline(__always)
    func callAsFunction(_ tuple: FourTuple) -> UInt64 {
        let ports = UInt64(tuple.localPort) &<< 16 | UInt64(tuple.remotePort)
        var hash = Self.product(tuple.local.low ^ keys.0, tuple.remote.low ^ keys.1) ^ ports
        if !tuple.isIPv4 { hash ^= Self.product(tuple.local.high ^ keys.2, tuple.remote.high ^ keys.3) }
        return Self.product(hash ^ keys.2, keys.4)
    }

    @inline(__always)
    private static func product(_ first: UInt64, _ second: UInt64) -> UInt64 {
        let (high, low) = first.multipliedFullWidth(by: second)
        return high ^ low
    }
}
