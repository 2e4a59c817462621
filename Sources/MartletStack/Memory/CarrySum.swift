// One's complement sums of few bytes (RFC 1071): headers that are in registers already, and short payloads.
//
// The carry of each addition is added at once, which takes two instructions a word and nothing to begin or end with: fewer than
// the vectors of OnesComplementSum, which are faster from a few hundred bytes on.

/// A one's complement sum of 64-bit words.
///
/// Words may be in either byte order, if all are in the same: the sum is in it, too.
struct CarrySum: BitwiseCopyable {
    private(set) var bits: UInt64

    @inline(__always)
    init(_ bits: UInt64 = 0) { self.bits = bits }

    @inline(__always)
    mutating func add(_ word: UInt64) {
        let (sum, carry) = bits.addingReportingOverflow(word)
        // After a carry the sum is below 2⁶⁴ − 1.
        bits = sum &+ (carry ? 1 : 0)
    }

    /// The sum in 16 bits: 0xFFFF for what is intact, and 0 only if all words were.
    @inline(__always)
    var folded: UInt16 {
        // Each half is added to the other with its carry, which comes out of the upper one.
        let half = UInt32(truncatingIfNeeded: (bits &+ (bits &<< 32 | bits &>> 32)) &>> 32)
        return UInt16(truncatingIfNeeded: (half &+ (half &<< 16 | half &>> 16)) &>> 16)
    }
}

extension CarrySum {
    /// Up to so many bytes are summed by words rather than by vectors.
    static var shortCount: Int { 128 }

    /// The sum of bytes as ``Swift/RawSpan/onesComplementSum()`` has it.
    ///
    /// - Precondition: there are `count` bytes.
    @unsafe
    @inline(__always)
    static func sum(_ start: UnsafeRawPointer, count: Int) -> UInt16 {
        // SAFETY: each load ends at `count` or before, and any bits make an integer.
        var sum = CarrySum()
        var offset = 0
        while offset &+ 16 <= count {
            unsafe sum.add(start.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            unsafe sum.add(start.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self))
            offset &+= 16
        }
        while offset &+ 4 <= count {
            unsafe sum.add(UInt64(start.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
            offset &+= 4
        }
        if count & 2 != 0 {
            unsafe sum.add(UInt64(start.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
            offset &+= 2
        }
        if count & 1 != 0 {
            let last = unsafe start.load(fromByteOffset: offset, as: UInt8.self)
            sum.add(UInt64(UInt16(bigEndian: UInt16(last) &<< 8)))
        }
        return UInt16(bigEndian: sum.folded)
    }
}

extension RingMemory {
    /// Payloads of so many bytes are copied and summed at once.
    private static var shortPayload: Int { 256 }

    /// Copies the last `count` bytes of `packet` into `ring`, as ``write(_:to:at:)`` does, and returns a number whose sum, folded, is that
    /// of them as ``Swift/RawSpan/onesComplementSum()`` has it.
    ///
    /// - Precondition: there are so many, and they are at most the ring's capacity.
    @inline(__always)
    mutating func writeAndSum(last count: Int, of packet: RawSpan, to ring: ByteRing, at position: UInt32) -> UInt64 {
        let capacity = ring.capacity
        let offset = Int(position) & (capacity &- 1)
        let before = packet.byteCount &- count
        precondition(count >= 0 && before >= 0, "more bytes than the packet has")
        guard count <= Self.shortPayload, count <= capacity &- offset else {
            return writeAndSumLong(packet.from(before), to: ring, at: position)
        }
        return unsafe packet.withUnsafeBytes { source in
            // SAFETY: offset + count <= capacity, so every store ends within the ring's blocks, which are the caller's alone, and
            // every load within the span. Any bits make an integer.
            guard let start = source.baseAddress else { return 0 }
            let sum = unsafe Self.copyAndSum(start + before, to: address(of: ring) + offset, count: count)
            return UInt64(bigEndian: sum.bits)
        }
    }

    @inline(never)
    private mutating func writeAndSumLong(_ bytes: RawSpan, to ring: ByteRing, at position: UInt32) -> UInt64 {
        write(bytes, to: ring, at: position)
        return UInt64(bytes.onesComplementSum())
    }

    /// Copies bytes out of `ring`, as ``read(_:at:into:)`` does, and returns their sum.
    ///
    /// - Precondition: `destination` is at most the ring's capacity.
    @inline(__always)
    func readAndSum(_ ring: ByteRing, at position: UInt32, into destination: inout MutableRawSpan) -> UInt16 {
        let capacity = ring.capacity
        let offset = Int(position) & (capacity &- 1)
        guard destination.byteCount <= Self.shortPayload, destination.byteCount <= capacity &- offset else {
            read(ring, at: position, into: &destination)
            return destination.bytes.onesComplementSum()
        }
        return unsafe destination.withUnsafeMutableBytes { target in
            // SAFETY: as in `writeAndSum`, the other way round.
            guard let start = target.baseAddress else { return 0 }
            let sum = unsafe Self.copyAndSum(address(of: ring) + offset, to: start, count: target.count)
            return UInt16(bigEndian: sum.folded)
        }
    }

    /// The sum in the order in which the bytes lie in memory.
    ///
    /// - Precondition: both have `count` bytes, and do not overlap.
    @unsafe
    @inline(__always)
    private static func copyAndSum(_ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int)
        -> CarrySum
    {
        var sum = CarrySum()
        var done = 0
        while done &+ 32 <= count {
            // Copied as two vectors, and summed as four words: that is less than to do both with words.
            unsafe (target + done).copyMemory(from: source + done, byteCount: 32)
            unsafe sum.add((source + done).loadUnaligned(as: UInt64.self))
            unsafe sum.add((source + done + 8).loadUnaligned(as: UInt64.self))
            unsafe sum.add((source + done + 16).loadUnaligned(as: UInt64.self))
            unsafe sum.add((source + done + 24).loadUnaligned(as: UInt64.self))
            done &+= 32
        }
        return done < count ? unsafe copyRest(source + done, to: target + done, count: count &- done, sum) : sum
    }

    /// - Precondition: as of ``copyAndSum(_:to:count:)``.
    @unsafe
    @inline(never)
    private static func copyRest(
        _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int, _ before: CarrySum
    ) -> CarrySum {
        var sum = before
        var done = 0
        while done &+ 8 <= count {
            unsafe sum.add(copied(source + done, to: target + done, UInt64.self))
            done &+= 8
        }
        if count & 4 != 0 {
            unsafe sum.add(copied(source + done, to: target + done, UInt32.self))
            done &+= 4
        }
        if count & 2 != 0 {
            unsafe sum.add(copied(source + done, to: target + done, UInt16.self))
            done &+= 2
        }
        if count & 1 != 0 {
            let last = unsafe UInt16(copied(source + done, to: target + done, UInt8.self))
            sum.add(UInt64(UInt16(bigEndian: last &<< 8)))
        }
        return sum
    }

    /// The number at `source`, which is copied as it lies.
    @unsafe
    @inline(__always)
    private static func copied<Number: FixedWidthInteger & BitwiseCopyable>(
        _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _: Number.Type
    ) -> UInt64 {
        let number = unsafe source.loadUnaligned(as: Number.self)
        unsafe target.storeBytes(of: number, as: Number.self)
        return UInt64(truncatingIfNeeded: number)
    }
}
