// The address of a network interface on an Ethernet: 48 bits, and the text they are written as.
//
// Hold RFC 9542 §2 beside it for the two lowest bits of the first octet, RFC 1112 §6.4 and RFC 2464 §7 for multicast.

/// A 48-bit Ethernet address.
///
/// As text it is six pairs of hexadecimal digits with colons between them, `02:00:00:00:00:01`, and nothing else.
public struct MACAddress: BitwiseCopyable, Hashable, Sendable {
    /// The address as a number below 2⁴⁸, whose most significant byte is the first octet.
    public let bits: UInt64

    /// The address whose first octet is the most significant of the lower six bytes of `bits`. The upper two do not count.
    @inlinable
    public init(bits: UInt64) {
        self.bits = bits & 0xFFFF_FFFF_FFFF
    }

    /// The address `first:second:third:fourth:fifth:sixth`.
    @inlinable
    public init(_ first: UInt8, _ second: UInt8, _ third: UInt8, _ fourth: UInt8, _ fifth: UInt8, _ sixth: UInt8) {
        let high = UInt64(first) << 40 | UInt64(second) << 32 | UInt64(third) << 24
        bits = high | UInt64(fourth) << 16 | UInt64(fifth) << 8 | UInt64(sixth)
    }

    /// The six octets, in the order in which they are written and sent.
    @inlinable
    public var octets: InlineArray<6, UInt8> {
        InlineArray { index in UInt8(truncatingIfNeeded: bits >> UInt64(40 - 8 * index)) }
    }

    /// `00:00:00:00:00:00`: no address.
    @inlinable
    public static var zero: MACAddress { MACAddress(bits: 0) }

    /// `ff:ff:ff:ff:ff:ff`: every interface on the link.
    @inlinable
    public static var broadcast: MACAddress { MACAddress(bits: .max) }

    /// Where packets to the multicast group `address` go: `01:00:5e` and the lower 23 bits of the group (RFC 1112 §6.4).
    @inlinable
    public static func multicast(_ address: IPv4Address) -> MACAddress {
        MACAddress(bits: 0x0100_5E00_0000 | UInt64(address.bits & 0x7F_FFFF))
    }

    /// Where packets to the multicast group `address` go: `33:33` and the lower 32 bits of the group (RFC 2464 §7).
    @inlinable
    public static func multicast(_ address: IPv6Address) -> MACAddress {
        MACAddress(bits: 0x3333_0000_0000 | address.low & 0xFFFF_FFFF)
    }

    /// Whether the address is that of a group of interfaces, such as ``broadcast``.
    @inlinable
    public var isMulticast: Bool { bits >> 40 & 1 != 0 }

    /// Whether the address is every interface's.
    @inlinable
    public var isBroadcast: Bool { self == .broadcast }

    /// Whether the address is given by a local administrator, or by chance, instead of by the maker.
    @inlinable
    public var isLocallyAdministered: Bool { bits >> 40 & 2 != 0 }
}

extension MACAddress: LosslessStringConvertible {
    /// Reads six pairs of hexadecimal digits of either case, with a colon between them, and not a character more.
    public init?(_ text: String) {
        let ascii = text.utf8.span
        guard ascii.count == 17 else { return nil }
        var bits: UInt64 = 0
        for index in 0..<17 {
            if index % 3 == 2 {
                guard ascii[index] == UInt8(ascii: ":") else { return nil }
            } else {
                guard let digit = Self.hexadecimalDigit(ascii[index]) else { return nil }
                bits = bits << 4 | UInt64(digit)
            }
        }
        self.init(bits: bits)
    }

    /// Six pairs of lower-case hexadecimal digits, with a colon between them.
    public var description: String {
        var text = ""
        let octets = octets
        for index in octets.indices {
            if index > 0 { text += ":" }
            if octets[index] < 16 { text += "0" }
            text += String(octets[index], radix: 16)
        }
        return text
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
