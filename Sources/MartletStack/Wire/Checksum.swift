// The internet checksum of IPv4, ICMP, UDP and TCP headers.
//
// Hold RFC 1071 beside it, RFC 1624 §3 beside `update`, RFC 9293 §3.1 and RFC 8200 §8.1 beside the pseudo-headers. The
// loop over the bytes is in Memory/OnesComplementSum.swift. Must not know where a header keeps its checksum.

/// A running internet checksum: bytes and numbers are added as if they stood one behind the other in a packet.
///
/// To verify, add everything, the received checksum too: ``value`` is then 0. To write, leave the field out or zero,
/// and store ``value`` there. UDP sends `0xFFFF` for a computed 0, as its 0 means "none": that is left to UDP.
@usableFromInline
struct Checksum: BitwiseCopyable, Sendable {
    /// Numbers of up to 32 bits, not yet folded: room for 2³² of them.
    @usableFromInline var total: UInt64 = 0
    /// Whether an odd number of bytes came before, so that what follows has high and low bytes exchanged.
    @usableFromInline var isOdd = false

    /// The checksum of nothing.
    @inlinable
    init() {}

    /// Adds bytes, of any length.
    @inlinable
    mutating func add(_ bytes: RawSpan) {
        add(sum: bytes.onesComplementSum(), ofByteCount: bytes.byteCount)
    }

    /// Adds `byteCount` bytes whose folded sum is known, as ``Swift/RawSpan/copyAndSum(to:)`` returns it.
    @inlinable
    mutating func add(sum: UInt16, ofByteCount byteCount: Int) {
        total &+= UInt64(isOdd ? sum.byteSwapped : sum)
        isOdd = isOdd != (byteCount & 1 != 0)
    }

    /// Adds a number, as the two bytes that it is in a packet.
    @inlinable
    mutating func add(_ number: UInt16) {
        add(sum: number, ofByteCount: 2)
    }

    /// Adds a number, as the four bytes that it is in a packet.
    @inlinable
    mutating func add(_ number: UInt32) {
        // Its upper half is folded onto its lower half in the end, as all of the total is.
        if !isOdd {
            total &+= UInt64(number)
            return
        }
        add(UInt16(truncatingIfNeeded: number &>> 16))
        add(UInt16(truncatingIfNeeded: number))
    }

    /// Adds a number, as the eight bytes that it is in a packet.
    @inlinable
    mutating func add(_ number: UInt64) {
        add(UInt32(truncatingIfNeeded: number &>> 32))
        add(UInt32(truncatingIfNeeded: number))
    }

    /// The sum, folded to 16 bits and not complemented: what a partial checksum field holds for a link to complete.
    @inlinable
    var sum: UInt16 {
        var sum = (total &>> 32) &+ (total & 0xFFFF_FFFF)
        sum = (sum &>> 16) &+ (sum & 0xFFFF)
        sum = (sum &>> 16) &+ (sum & 0xFFFF)
        sum = (sum &>> 16) &+ (sum & 0xFFFF)
        return UInt16(truncatingIfNeeded: sum)
    }

    /// The complement of ``sum``: what a checksum field holds, and 0 for what was received intact.
    @inlinable
    var value: UInt16 { ~sum }
}

// MARK: - Pseudo-headers

extension Checksum {
    /// The sum of what TCP and UDP over IPv4 cover besides their own bytes.
    ///
    /// - Parameter length: bytes of the transport header and its payload, 0 ... 65,535.
    @inlinable
    static func pseudoHeader(
        source: IPv4Address, destination: IPv4Address, protocol: UInt8, length: Int
    ) -> Checksum {
        var checksum = Checksum()
        checksum.add(source.bits)
        checksum.add(destination.bits)
        checksum.add(UInt16(`protocol`))
        checksum.add(UInt16(truncatingIfNeeded: length))
        return checksum
    }

    /// The sum of what TCP, UDP and ICMPv6 over IPv6 cover besides their own bytes.
    ///
    /// - Parameters:
    ///   - protocol: the header that the checksum is in, whatever extension headers stand before it.
    ///   - length: bytes of that header and its payload.
    @inlinable
    static func pseudoHeader(
        source: IPv6Address, destination: IPv6Address, protocol: UInt8, length: Int
    ) -> Checksum {
        var checksum = Checksum()
        checksum.add(source.high)
        checksum.add(source.low)
        checksum.add(destination.high)
        checksum.add(destination.low)
        checksum.add(UInt32(truncatingIfNeeded: length))
        checksum.add(UInt32(`protocol`))
        return checksum
    }
}

// MARK: - Incremental update

extension Checksum {
    /// The checksum field after one of the 16-bit fields that it covers has changed (RFC 1624 eqn. 3).
    @inlinable
    static func update(_ checksum: UInt16, replacing old: UInt16, with new: UInt16) -> UInt16 {
        var updated = Checksum()
        updated.add(~checksum)
        updated.add(~old)
        updated.add(new)
        return updated.value
    }

    /// The checksum field after one of the 32-bit fields that it covers has changed.
    @inlinable
    static func update(_ checksum: UInt16, replacing old: UInt32, with new: UInt32) -> UInt16 {
        var updated = Checksum()
        updated.add(~checksum)
        updated.add(~old)
        updated.add(new)
        return updated.value
    }
}
