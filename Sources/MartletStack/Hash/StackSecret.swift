// What keeps strangers from guessing: sequence numbers, ports, identifications and the places of hash tables all follow from it.

/// 128 random bits that nobody else knows.
///
/// A stack draws everything random from them (RFC 6528, RFC 6056): two stacks with one secret that live through the same do the
/// same, so a program takes them from the system's randomness, and a simulation from its seed.
public struct StackSecret: BitwiseCopyable, Sendable {
    /// The first eight bytes, least significant first, and the last eight.
    var low: UInt64
    var high: UInt64

    /// The secret of these bits.
    public init(low: UInt64, high: UInt64) {
        (self.low, self.high) = (low, high)
    }

    /// A secret of the next 128 bits of `random`.
    public init(using random: inout some RandomNumberGenerator) {
        (low, high) = (random.next(), random.next())
    }
}
