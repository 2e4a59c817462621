// A run that did not do what it should, with all that is needed to see why.

public import MartletStack

/// A failed run: replay it by its seed, and look at its capture.
public struct SimulationFailure: Error, CustomStringConvertible, Sendable {
    /// The seed of the run.
    public let seed: UInt64
    /// The network's clock when it failed.
    public let now: Instant
    /// What was expected.
    public let message: String
    /// Where the capture is, or why there is none.
    public let capture: String
    /// What was thrown, if that is why it failed.
    public var cause: (any Error)?

    /// All of it in a line.
    public var description: String { "seed \(seed), at \(now.seconds) s: \(message). \(capture)" }
}

extension Instant {
    /// Seconds since the start of a simulation.
    package var seconds: Double { Double(nanoseconds) / 1e9 }
}
