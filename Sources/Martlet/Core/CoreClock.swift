// Where a core has its time and its random numbers from: the machine, or a simulation that lends it its own.

internal import CMartlet
internal import MartletStack

/// What a core takes for the time: CLOCK_MONOTONIC, or the instant that a simulation has come to.
@safe struct CoreClock: BitwiseCopyable, @unchecked Sendable {
    // SAFETY: whoever simulates keeps the instant where it is for as long as there is a core that it has lent its clock to, and
    // moves it on the one thread that all of them run on.
    private let simulated: UnsafePointer<Int64>?

    init(_ machine: (any SimulatedMachine)?) { unsafe simulated = machine?.clock }

    /// Now, in nanoseconds from the clock's origin.
    var nanoseconds: Int64 {
        if let simulated = unsafe simulated { return unsafe simulated.pointee }
        return martlet_monotonic_ns()
    }
}

/// Random numbers of the system's, or those that follow from a simulation's seed.
struct CoreRandom: RandomNumberGenerator {
    private let machine: (any SimulatedMachine)?
    private var system = SystemRandomNumberGenerator()

    init(_ machine: (any SimulatedMachine)?) { self.machine = machine }

    mutating func next() -> UInt64 { machine?.random() ?? system.next() }
}
