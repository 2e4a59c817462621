// Places in a byte stream, modulo 2³² (RFC 9293 §3.4).

/// A sequence number. Two of them compare by the shorter way around: `a < b` if b is less than 2³¹ ahead of a.
///
/// The order is not transitive over the whole circle, so this is no `Comparable`; a connection's numbers all lie within
/// one window of each other, where it is.
public struct SequenceNumber: BitwiseCopyable, Hashable, Sendable, CustomStringConvertible {
    /// The number as it stands in a header.
    public var bits: UInt32

    /// The number that stands in a header as `bits`.
    @inlinable
    public init(_ bits: UInt32) { self.bits = bits }

    /// The number `count` bytes further on, around the circle if need be.
    @inlinable
    public static func + (number: SequenceNumber, count: Int) -> SequenceNumber {
        SequenceNumber(number.bits &+ UInt32(truncatingIfNeeded: count))
    }

    /// The number `count` bytes back.
    @inlinable
    public static func - (number: SequenceNumber, count: Int) -> SequenceNumber {
        SequenceNumber(number.bits &- UInt32(truncatingIfNeeded: count))
    }

    /// How far `later` is ahead of `earlier`; negative if it is behind.
    @inlinable
    public static func - (later: SequenceNumber, earlier: SequenceNumber) -> Int {
        Int(Int32(bitPattern: later.bits &- earlier.bits))
    }

    /// Moves on by `count` bytes.
    @inlinable
    public static func += (number: inout SequenceNumber, count: Int) { number = number + count }

    /// Whether the right one is less than 2³¹ ahead of the left one.
    @inlinable
    public static func < (left: SequenceNumber, right: SequenceNumber) -> Bool {
        Int32(bitPattern: left.bits &- right.bits) < 0
    }

    /// The same, or whether they are equal.
    @inlinable
    public static func <= (left: SequenceNumber, right: SequenceNumber) -> Bool {
        Int32(bitPattern: left.bits &- right.bits) <= 0
    }

    /// Whether the left one is ahead of the right one.
    @inlinable
    public static func > (left: SequenceNumber, right: SequenceNumber) -> Bool { right < left }

    /// The same, or whether they are equal.
    @inlinable
    public static func >= (left: SequenceNumber, right: SequenceNumber) -> Bool { right <= left }

    /// The one further ahead.
    @inlinable
    public static func max(_ left: SequenceNumber, _ right: SequenceNumber) -> SequenceNumber {
        left < right ? right : left
    }

    /// The one less far ahead.
    @inlinable
    public static func min(_ left: SequenceNumber, _ right: SequenceNumber) -> SequenceNumber {
        left < right ? left : right
    }

    /// The number in decimal.
    public var description: String { "\(bits)" }
}
