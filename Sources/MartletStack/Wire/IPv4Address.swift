// An IPv4 address: one 32-bit number, and the dotted quad it is written as.
//
// Hold RFC 791 §3.2 and the special-purpose registry of RFC 6890 beside it. Must not know headers, routes or names.

/// An IPv4 address.
///
/// As text it is a dotted quad, `192.0.2.1`, and nothing else: not the shorter, octal and hexadecimal forms that C
/// libraries accept as well, because two programs that read `010.0.0.1` differently are a security hole.
public struct IPv4Address: BitwiseCopyable, Hashable, Sendable {
    /// The address as a number, whose most significant byte is the first octet: `192.0.2.1` is `0xC0_00_02_01`.
    public var bits: UInt32

    /// The address whose first octet is the most significant byte of `bits`.
    @inlinable
    public init(bits: UInt32) {
        self.bits = bits
    }

    /// The address `first.second.third.fourth`.
    @inlinable
    public init(_ first: UInt8, _ second: UInt8, _ third: UInt8, _ fourth: UInt8) {
        bits = UInt32(first) << 24 | UInt32(second) << 16 | UInt32(third) << 8 | UInt32(fourth)
    }

    /// The four octets, in the order in which they are written and sent.
    @inlinable
    public var octets: InlineArray<4, UInt8> {
        InlineArray { index in UInt8(truncatingIfNeeded: bits >> UInt32(24 - 8 * index)) }
    }

    /// `0.0.0.0`: no address, or all of a host's own.
    @inlinable
    public static var any: IPv4Address { IPv4Address(bits: 0) }

    /// `127.0.0.1`.
    @inlinable
    public static var loopback: IPv4Address { IPv4Address(127, 0, 0, 1) }

    /// `255.255.255.255`: every host on the link.
    @inlinable
    public static var broadcast: IPv4Address { IPv4Address(bits: .max) }

    /// Whether the address is in `127.0.0.0/8`.
    @inlinable
    public var isLoopback: Bool { bits >> 24 == 127 }

    /// Whether the address is in `224.0.0.0/4`.
    @inlinable
    public var isMulticast: Bool { bits >> 28 == 0xE }

    /// Whether the address is in `169.254.0.0/16` (RFC 3927).
    @inlinable
    public var isLinkLocal: Bool { bits >> 16 == 0xA9FE }

    /// Whether the address is in `10.0.0.0/8`, `172.16.0.0/12` or `192.168.0.0/16` (RFC 1918).
    @inlinable
    public var isPrivate: Bool {
        bits >> 24 == 10 || bits >> 20 == 0xAC1 || bits >> 16 == 0xC0A8
    }
}

extension IPv4Address: LosslessStringConvertible {
    /// Reads a dotted quad: four decimal numbers of 0 ... 255 without leading zeros, and not a character more.
    public init?(_ text: String) {
        self.init(ascii: text.utf8.span)
    }

    /// The dotted quad.
    public var description: String {
        let octets = octets
        return "\(octets[0]).\(octets[1]).\(octets[2]).\(octets[3])"
    }

    init?(ascii: Span<UInt8>) {
        var bits: UInt32 = 0
        var octetCount = 1
        var octet: UInt32 = 0
        var digits = 0
        for index in ascii.indices {
            switch ascii[index] {
            case UInt8(ascii: "."):
                guard digits > 0, octetCount < 4 else { return nil }
                bits = bits << 8 | octet
                octetCount += 1
                (octet, digits) = (0, 0)
            case let digit where digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9"):
                if digits > 0 && octet == 0 { return nil }
                octet = octet * 10 + UInt32(digit - UInt8(ascii: "0"))
                if octet > 255 { return nil }
                digits += 1
            default:
                return nil
            }
        }
        guard digits > 0, octetCount == 4 else { return nil }
        self.init(bits: bits << 8 | octet)
    }
}
