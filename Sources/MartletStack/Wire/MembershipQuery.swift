// Who is in a group? What a multicast router asks on its link, by IGMP for IPv4 and by MLD for IPv6, in all of their versions.
//
// Hold RFC 3376 §4.1 and §7.1 beside it for IGMP, RFC 3810 §5.1 and §8.1 for MLD. Both say the same in different numbers, so
// there is one value for both. Lists of sources are not read: a host that wants all sources gives the same answer to each.

/// The versions, oldest first. IGMP has three; MLDv1 is the second's like, and MLDv2 the third's.
enum MembershipVersion: UInt8, BitwiseCopyable, Comparable {
    case first, second, third

    static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// A question for the members of a group, or of all groups.
struct MembershipQuery: BitwiseCopyable {
    var version: MembershipVersion
    /// Nil for all groups.
    var group: IPAddress?
    /// Nanoseconds within which members answer, each at an instant of its own choice.
    var responseTime: Int64
    /// How often changes are reported, so that a loss does no harm; 0 if that is not said.
    var robustness: UInt8 = 0
    /// Nanoseconds from one general question to the next; 0 if that is not said.
    var interval: Int64 = 0

    /// An IGMP query; nil if it is none, or of a length or group that cannot be. The checksum has been looked at.
    init?(igmp message: RawSpan) {
        guard message.byteCount >= 8, message.byte(at: 0) == 0x11 else { return nil }
        let code = message.byte(at: 1)
        let address = IPAddress.v4(message.ipv4Address(at: 4))
        guard address == .v4(.any) || address.isMulticast else { return nil }
        group = address == .v4(.any) ? nil : address
        responseTime = Int64(code) * 100_000_000
        version = .second
        if message.byteCount == 8 {
            // The first version had no such field, and ten seconds.
            if code == 0 { (version, responseTime) = (.first, 10_000_000_000) }
            return
        }
        guard message.byteCount >= 12 else { return nil }
        version = .third
        responseTime = Self.number(code) * 100_000_000
        robustness = message.byte(at: 8) & 7
        interval = Self.number(message.byte(at: 9)) * 1_000_000_000
    }

    /// The same for MLD.
    init?(mld message: RawSpan) {
        guard message.byteCount >= 24, message.byte(at: 0) == 130 else { return nil }
        let code = message.uint16(at: 4)
        let address = IPAddress.v6(message.ipv6Address(at: 8))
        guard address == .v6(.any) || address.isMulticast else { return nil }
        group = address == .v6(.any) ? nil : address
        responseTime = Int64(code) * 1_000_000
        version = .second
        if message.byteCount == 24 { return }
        guard message.byteCount >= 28 else { return nil }
        version = .third
        if code >= 0x8000 { responseTime = Int64(code & 0xFFF | 0x1000) << (Int64(code >> 12 & 7) + 3) * 1_000_000 }
        robustness = message.byte(at: 24) & 7
        interval = Self.number(message.byte(at: 25)) * 1_000_000_000
    }

    /// RFC 3376 §4.1.1: from 128 on, four bits of mantissa and three of exponent.
    private static func number(_ code: UInt8) -> Int64 {
        code < 128 ? Int64(code) : Int64(code & 0xF | 0x10) << (Int64(code >> 4 & 7) + 3)
    }

    /// The group that another member reports by an older version; nil if a message says something else.
    static func groupReported(igmp message: RawSpan) -> IPAddress? {
        guard message.byteCount >= 8, message.byte(at: 0) == 0x12 || message.byte(at: 0) == 0x16 else { return nil }
        return .v4(message.ipv4Address(at: 4))
    }

    /// The same for MLD.
    static func groupReported(mld message: RawSpan) -> IPAddress? {
        guard message.byteCount >= 24, message.byte(at: 0) == 131 else { return nil }
        return .v6(message.ipv6Address(at: 8))
    }
}
