// An IPv6 address: 128 bits as two halves, and the text forms of RFC 4291 (read) and RFC 5952 (written).
//
// Hold RFC 4291 §2.2 beside the parser and RFC 5952 §4 and §5 beside the description. Zones (`%eth0`) belong to a host
// and not to an address, and are refused here.
//
//     2001:0db8:0000:0001  :  0000:0000:0000:0001
//     └────── high ──────┘    └────── low ──────┘     the first octet is the most significant byte of `high`

/// An IPv6 address.
public struct IPv6Address: BitwiseCopyable, Hashable, Sendable {
    /// The first eight octets, the first of them most significant.
    public var high: UInt64
    /// The last eight octets, the last of them least significant.
    public var low: UInt64

    /// The address of two halves, each with its first octet most significant.
    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The address of eight groups of 16 bits, in the order in which they are written.
    @inlinable
    public init(groups: InlineArray<8, UInt16>) {
        high = 0
        low = 0
        for index in 0..<4 {
            high = high << 16 | UInt64(groups[index])
            low = low << 16 | UInt64(groups[index + 4])
        }
    }

    /// The IPv4-mapped address `::ffff:a.b.c.d`, by which an IPv6 socket names an IPv4 peer (RFC 4291 §2.5.5.2).
    @inlinable
    public init(mapping address: IPv4Address) {
        high = 0
        low = 0xFFFF_0000_0000 | UInt64(address.bits)
    }

    /// The eight groups of 16 bits, in the order in which they are written.
    @inlinable
    public var groups: InlineArray<8, UInt16> {
        InlineArray { index in
            UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(48 - 16 * (index & 3)))
        }
    }

    /// The sixteen octets, in the order in which they are written and sent.
    @inlinable
    public var octets: InlineArray<16, UInt8> {
        InlineArray { index in
            UInt8(truncatingIfNeeded: (index < 8 ? high : low) >> UInt64(56 - 8 * (index & 7)))
        }
    }

    /// `::`: no address, or all of a host's own.
    @inlinable
    public static var any: IPv6Address { IPv6Address(high: 0, low: 0) }

    /// `::1`.
    @inlinable
    public static var loopback: IPv6Address { IPv6Address(high: 0, low: 1) }

    /// Whether the address is `::1`. The IPv4-mapped `::ffff:127.0.0.1` is not.
    @inlinable
    public var isLoopback: Bool { self == .loopback }

    /// Whether the address is in `fe80::/10`.
    @inlinable
    public var isLinkLocal: Bool { high >> 54 == 0xFE80 >> 6 }

    /// Whether the address is in `ff00::/8`.
    @inlinable
    public var isMulticast: Bool { high >> 56 == 0xFF }

    /// Whether the address is in `::ffff:0:0/96`.
    @inlinable
    public var isIPv4Mapped: Bool { high == 0 && low >> 32 == 0xFFFF }

    /// The IPv4 address that this one maps; `nil` if it is not IPv4-mapped.
    @inlinable
    public var mappedIPv4: IPv4Address? {
        isIPv4Mapped ? IPv4Address(bits: UInt32(truncatingIfNeeded: low)) : nil
    }
}

// MARK: - Writing

extension IPv6Address: LosslessStringConvertible {
    /// The canonical text of RFC 5952: `2001:db8::1`, and `::ffff:192.0.2.1` for an IPv4-mapped address.
    public var description: String {
        if let mapped = mappedIPv4 { return "::ffff:\(mapped)" }  // RFC 5952 §5
        let groups = groups
        let zeros = longestRunOfZeros
        var text = ""
        for index in 0..<8 {
            if zeros.contains(index) {
                if index == zeros.lowerBound { text += "::" }
                continue
            }
            if index > 0 && index != zeros.upperBound { text += ":" }
            text += String(groups[index], radix: 16)
        }
        return text
    }

    /// The groups that "::" stands for: the longest run of zeros, the first of several (§4.2.3), and empty
    /// unless two groups or more are zero, as "::" is not for one (§4.2.2).
    private var longestRunOfZeros: Range<Int> {
        let groups = groups
        var longest = 0..<0
        var start = 0
        for index in 0..<8 {
            if groups[index] != 0 {
                start = index + 1
            } else if index + 1 - start > longest.count {
                longest = start..<index + 1
            }
        }
        return longest.count >= 2 ? longest : 0..<0
    }
}

// MARK: - Reading

extension IPv6Address {
    /// Reads any form of RFC 4291 §2.2: groups of one to four hexadecimal digits of either case, at most one `::`,
    /// and perhaps a dotted quad for the last two groups.
    ///
    /// `::` stands for one group of zeros or more. Zones, brackets and prefix lengths are refused.
    public init?(_ text: String) {
        self.init(ascii: text.utf8.span)
    }

    init?(ascii: Span<UInt8>) {
        let colon = UInt8(ascii: ":")
        var groups = InlineArray<8, UInt16>(repeating: 0)
        var count = 0
        var gap: Int?  // how many groups stand before the "::"
        var index = 0
        if ascii.count >= 2 && ascii[0] == colon && ascii[1] == colon {
            gap = 0
            index = 2
        }
        while index < ascii.count {
            guard count < 8 else { return nil }
            let start = index
            var group: UInt32 = 0
            while index < ascii.count, index - start < 5, let digit = Self.hexadecimalDigit(ascii[index]) {
                group = group << 4 | UInt32(digit)
                index += 1
            }
            if index < ascii.count && ascii[index] == UInt8(ascii: ".") {
                guard count <= 6, let quad = IPv4Address(ascii: ascii.extracting(start...)) else { return nil }
                groups[count] = UInt16(truncatingIfNeeded: quad.bits >> 16)
                groups[count + 1] = UInt16(truncatingIfNeeded: quad.bits)
                count += 2
                break
            }
            guard index > start, index - start <= 4 else { return nil }
            groups[count] = UInt16(group)
            count += 1
            if index == ascii.count { break }
            guard ascii[index] == colon, index + 1 < ascii.count else { return nil }
            index += 1
            if ascii[index] == colon {
                guard gap == nil else { return nil }
                gap = count
                index += 1
            }
        }
        guard gap == nil ? count == 8 : count < 8 else { return nil }
        // Move what came after the "::" to the end.
        if let gap {
            for moved in stride(from: count - 1, through: gap, by: -1) {
                groups[moved + 8 - count] = groups[moved]
                groups[moved] = 0
            }
        }
        self.init(groups: groups)
    }

    private static func hexadecimalDigit(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
