// Numbers in frames: big-endian, at any alignment, and checked against the span's bounds.
//
// One of the few files of the stack that say `unsafe`, so that none in Wire/, Link/, IP/ or TCP/ has to.

extension RawSpan {
    /// The byte at `offset`.
    ///
    /// - Precondition: it is within the span.
    @inlinable
    public func byte(at offset: Int) -> UInt8 {
        // SAFETY: the bounds are checked; any bits make a UInt8.
        precondition(offset >= 0 && offset < byteCount, "a byte beyond the span")
        return unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt8.self)
    }

    /// The number in network byte order at `offset`.
    ///
    /// - Precondition: all its bytes are within the span.
    @inlinable
    public func number<Number: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as _: Number.Type = Number.self)
        -> Number
    {
        // SAFETY: the bounds are checked; any bits make an integer.
        precondition(offset >= 0 && offset &+ MemoryLayout<Number>.size <= byteCount, "a number beyond the span")
        return unsafe Number(bigEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: Number.self))
    }

    /// Eight bytes as they lie in memory, for comparisons and sums that do not care what they mean.
    ///
    /// - Precondition: all of them are within the span.
    @inlinable
    func word(at offset: Int) -> UInt64 {
        // SAFETY: the bounds are checked; any bits make an integer.
        precondition(offset >= 0 && offset &+ 8 <= byteCount, "a word beyond the span")
        return unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self)
    }

    /// The 16-bit number in network byte order at `offset`.
    @inlinable
    public func uint16(at offset: Int) -> UInt16 { number(at: offset) }

    /// The 32-bit number in network byte order at `offset`.
    @inlinable
    public func uint32(at offset: Int) -> UInt32 { number(at: offset) }

    /// The bytes from `offset` to the end.
    ///
    /// - Precondition: `offset` is at most the span's length.
    @inlinable
    @_lifetime(copy self)
    public func from(_ offset: Int) -> RawSpan { extracting(droppingFirst: offset) }
}

extension MutableRawSpan {
    /// Stores a number in network byte order at `offset`.
    ///
    /// - Precondition: all its bytes are within the span.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func store<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number, at offset: Int) {
        // SAFETY: the bounds are checked; an integer has no bits that must not be seen.
        precondition(offset >= 0 && offset &+ MemoryLayout<Number>.size <= byteCount, "a number beyond the span")
        unsafe storeBytes(of: number.bigEndian, toUncheckedByteOffset: offset, as: Number.self)
    }
}

extension MutableRawSpan {
    /// Turns one bit over. Bit 0 is the lowest of the first byte.
    ///
    /// - Precondition: it is within the span.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func invertBit(_ bit: Int) {
        precondition(bit >= 0 && bit >> 3 < byteCount, "a bit beyond the span")
        // SAFETY: the bounds are checked; any bits make a UInt8.
        let byte = unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: bit >> 3, as: UInt8.self)
        unsafe storeBytes(of: byte ^ 1 << UInt8(bit & 7), toUncheckedByteOffset: bit >> 3, as: UInt8.self)
    }
}
