// The stack's own randomness: from its secret, without asking anybody. Two stacks with one secret draw the same.

/// SipHash-2-4 of a counter: nobody without the secret can tell the next number.
struct StackRandom: RandomNumberGenerator, BitwiseCopyable {
    private let key: SipHash.Key
    private var counter: UInt64 = 0

    init(secret: SipHash.Key) { key = secret }

    mutating func next() -> UInt64 {
        counter &+= 1
        var hash = KeyedHash(key: key)
        hash.absorb(counter)
        return hash.finish()
    }
}
