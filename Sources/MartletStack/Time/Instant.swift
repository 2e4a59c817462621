// Time as the stack knows it: a number of nanoseconds that whoever drives the stack passes in.
//
// The stack reads no clock. An `Instant` means something only beside another instant of the same clock, which
// is why there is no way to get one from a date. A real core takes it from CLOCK_MONOTONIC, a simulation
// counts it up by itself.

/// A point in time: signed nanoseconds from the unspecified origin of a monotonic clock.
///
/// Arithmetic saturates and never traps. `distantFuture` is absorbing: it stays itself whatever is added to it,
/// so "no deadline" survives every computation.
public struct Instant: BitwiseCopyable, Comparable, Hashable, Sendable {
    /// Nanoseconds from the clock's origin; negative before it.
    public var nanoseconds: Int64

    /// The instant `nanoseconds` after the clock's origin.
    @inlinable
    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// The clock's origin.
    @inlinable
    public static var zero: Instant { Instant(nanoseconds: 0) }

    /// Later than every other instant: 292 years after the origin, to be read as "never".
    @inlinable
    public static var distantFuture: Instant { Instant(nanoseconds: .max) }

    /// This instant moved by `duration`, saturated at both ends of the range.
    ///
    /// Fractions of a nanosecond are cut off towards zero. A `Duration` is 128 bits wide, and cutting it down takes
    /// 2 to 4 ns, which ``advanced(byNanoseconds:)`` does without.
    @inlinable
    public func advanced(by duration: Duration) -> Instant {
        advanced(byNanoseconds: duration.saturatedNanoseconds)
    }

    /// This instant moved by `nanoseconds`, saturated at both ends of the range.
    @inlinable
    public func advanced(byNanoseconds nanoseconds: Int64) -> Instant {
        if self == .distantFuture { return self }
        let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
        if overflow { return Instant(nanoseconds: nanoseconds < 0 ? .min : .max) }
        return Instant(nanoseconds: sum)
    }

    /// `instant` moved by `duration`; see ``advanced(by:)``.
    @inlinable
    public static func + (instant: Instant, duration: Duration) -> Instant {
        instant.advanced(by: duration)
    }

    /// The time from `earlier` to `later`, negative if they are the other way round. Exact for every pair.
    ///
    /// `distantFuture` counts here as the plain number it is made of: 2⁶³ − 1 nanoseconds.
    @inlinable
    public static func - (later: Instant, earlier: Instant) -> Duration {
        let (difference, overflow) = later.nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
        if overflow { return .nanoseconds(Int128(later.nanoseconds) - Int128(earlier.nanoseconds)) }
        return .nanoseconds(difference)
    }

    /// Whether the left one is earlier.
    @inlinable
    public static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }
}

extension Duration {
    /// Whole nanoseconds, cut off towards zero, and clamped to what an `Int64` holds.
    @inlinable
    var saturatedNanoseconds: Int64 {
        let attosecondsInNanosecond: Int128 = 1_000_000_000
        return Int64(clamping: attoseconds / attosecondsInNanosecond)
    }
}
