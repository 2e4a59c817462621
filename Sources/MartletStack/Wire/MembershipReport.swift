// A member says so: the reports of IGMP and MLD, and the farewells of their older versions.
//
//      third version                                older versions
//     ┌──────┬──────┬──────────┐ ┌──────────────┐  ┌──────┬──────┬──────────┬───────┐
//     │ type │ 0    │ checksum │ │ a record for │  │ type │ time │ checksum │ group │
//     │ 0           │ records  │ │ each group   │  └──────┴──────┴──────────┴───────┘
//     └──────┴──────┴──────────┘ └──────────────┘
//
// Hold RFC 3376 §4.2 and RFC 3810 §5.2 beside it, RFC 2236 §2 and RFC 2710 §3 for the older ones. All of them go one hop, with
// the Router Alert option (RFC 2113, RFC 2711), as routers look at packets for groups that are not theirs only if told to.

/// What a record says of a group.
enum MembershipRecord: UInt8, BitwiseCopyable {
    /// We are in it, from whatever source: an answer.
    case isMember = 2
    /// We are in it no more.
    case left = 3
    /// We are in it now.
    case joined = 4
}

enum MembershipReport {
    /// Bytes of a report with so many records.
    static func length(records: Int, isIPv4: Bool) -> Int { 8 + records * recordLength(isIPv4: isIPv4) }

    static func recordLength(isIPv4: Bool) -> Int { isIPv4 ? 8 : 20 }

    /// Writes what comes before the records, with a checksum of 0.
    static func writeHeader(records: Int, isIPv4: Bool, _ bytes: inout MutableRawSpan) {
        bytes.store(UInt64(isIPv4 ? 0x22 : 143) << 56 | UInt64(records), at: 0)
    }

    /// Writes the record of a group as the `number`th.
    static func write(_ record: MembershipRecord, of group: IPAddress, number: Int, _ bytes: inout MutableRawSpan) {
        let isIPv4 = group.bitWidth == 32
        let offset = length(records: number, isIPv4: isIPv4)
        bytes.store(UInt32(record.rawValue) << 24, at: offset)
        writeAddress(group, at: offset + 4, &bytes)
    }

    /// Bytes of a message of an older version.
    static func olderLength(isIPv4: Bool) -> Int { isIPv4 ? 8 : 24 }

    /// Writes a message of an older version, with a checksum of 0.
    static func writeOlder(
        _ record: MembershipRecord, of group: IPAddress, _ version: MembershipVersion, _ bytes: inout MutableRawSpan
    ) {
        let isIPv4 = group.bitWidth == 32
        let type: UInt8 =
            switch (isIPv4, record == .left) {
            case (true, true): 0x17
            case (true, false): version == .first ? 0x12 : 0x16
            case (false, true): 132
            case (false, false): 131
            }
        bytes.store(UInt32(type) << 24, at: 0)
        if !isIPv4 { bytes.store(0 as UInt32, at: 4) }
        writeAddress(group, at: isIPv4 ? 4 : 8, &bytes)
    }

    private static func writeAddress(_ address: IPAddress, at offset: Int, _ bytes: inout MutableRawSpan) {
        switch address {
        case .v4(let address): bytes.store(address.bits, at: offset)
        case .v6(let address):
            bytes.store(address.high, at: offset)
            bytes.store(address.low, at: offset + 8)
        }
    }
}

extension IPAddress {
    /// Where reports of the third version go: all routers that understand them (RFC 3376 §4.2.14, RFC 3810 §5.2.14).
    static func reportDestination(isIPv4: Bool) -> IPAddress {
        isIPv4 ? .v4(IPv4Address(224, 0, 0, 22)) : .v6(IPv6Address(high: 0xFF02 << 48, low: 0x16))
    }

    /// Where farewells of older versions go: all routers of the link.
    static func allRouters(isIPv4: Bool) -> IPAddress {
        isIPv4 ? .v4(IPv4Address(224, 0, 0, 2)) : .v6(.allRouters)
    }
}
