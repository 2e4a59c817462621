// Random numbers for simulations: the same for the same seed, on every machine and with every compiler.
//
// Hold "Fast Splittable Pseudorandom Number Generators" (Steele, Lea, Flood; OOPSLA 2014) beside it. What the standard
// library makes of a generator, as `Int.random(in:using:)`, may change between its versions and with it every run that
// a seed is to repeat: so the few shapes of numbers that a network needs are computed here.

/// One stream of random numbers, of which independent ones can be split off.
///
/// A simulation gives each of its concerns a stream of its own. Then one fault that is switched on or off
/// leaves the others where they were, which is what makes two runs comparable.
public struct RandomStream: RandomNumberGenerator, Hashable, Sendable {
    private var state: UInt64
    /// What the state moves by: odd, so that it comes back only after all 2⁶⁴ states, and another one a stream.
    private let step: UInt64

    /// The stream of `seed`.
    public init(seed: UInt64) {
        self.init(state: seed, step: 0x9E37_79B9_7F4A_7C15)
    }

    private init(state: UInt64, step: UInt64) {
        self.state = state
        self.step = step
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        state &+= step
        return Self.mixed(state)
    }

    /// A stream that has nothing to do with what this one gives from here on.
    public mutating func split() -> RandomStream {
        let state = next()
        return RandomStream(state: state, step: Self.step(from: next()))
    }

    /// The stream with this number among those of this stream's present state, which does not change.
    ///
    /// Unlike ``split()``, it does not depend on which others were made before it.
    public func stream(_ number: UInt64) -> RandomStream {
        var root = RandomStream(state: state ^ Self.mixed(number &+ 0x2545_F491_4F6C_DD1D), step: step)
        return root.split()
    }

    /// A number in `0 ..< bound`, each as likely as the others.
    ///
    /// - Precondition: `bound` is not 0.
    public mutating func number(below bound: UInt64) -> UInt64 {
        precondition(bound > 0, "there is no number below 0")
        // Multiplying spreads the bits over the range; what falls into the part that some numbers would have more of
        // than others is drawn again. That happens with a chance below one in two, so the loop ends.
        let surplus = (0 &- bound) % bound
        while true {
            let product = next().multipliedFullWidth(by: bound)
            if product.low >= surplus { return product.high }
        }
    }

    /// A number in the closed range, each as likely as the others.
    public mutating func number(in range: ClosedRange<Int64>) -> Int64 {
        let width = UInt64(bitPattern: range.upperBound &- range.lowerBound)
        if width == .max { return Int64(bitPattern: next()) }
        return range.lowerBound &+ Int64(bitPattern: number(below: width + 1))
    }

    /// A number in `0 ..< 1`.
    public mutating func fraction() -> Double {
        // The 53 bits that a Double holds exactly: nothing is rounded, and so nothing can differ.
        Double(next() >> 11) * 0x1p-53
    }

    /// Whether something happens that has this probability: never at 0 or below, always at 1 or above.
    ///
    /// Takes exactly one number off the stream, whatever the probability.
    public mutating func happens(withProbability probability: Double) -> Bool {
        fraction() < probability
    }

    private static func mixed(_ bits: UInt64) -> UInt64 {
        var bits = bits
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }

    /// An odd number with bits that change often: a step such as 1 would make neighbouring states too alike.
    private static func step(from bits: UInt64) -> UInt64 {
        let step = mixed(bits) | 1
        return (step ^ (step >> 1)).nonzeroBitCount < 24 ? step ^ 0xAAAA_AAAA_AAAA_AAAA : step
    }
}
