// The options behind messages of neighbor discovery.
//
//     │ type, 1 │ length, 1: in units of 8 bytes, these two included │ content …
//
// Hold RFC 4861 §4.6 beside it.

/// A prefix that a router announces.
@usableFromInline
struct NDPPrefix: BitwiseCopyable, Hashable, Sendable {
    /// The address; its bits behind the prefix mean nothing.
    @usableFromInline var address = IPv6Address.any
    /// Bits of the prefix, 0 ... 128.
    @usableFromInline var length: UInt8 = 0
    /// L: whether addresses with the prefix are on this link.
    @usableFromInline var isOnLink = false
    /// A: whether hosts may make themselves addresses with the prefix (RFC 4862).
    @usableFromInline var isAutonomous = false
    /// Seconds; all ones for ever.
    @usableFromInline var validLifetime: UInt32 = 0
    /// Seconds; all ones for ever.
    @usableFromInline var preferredLifetime: UInt32 = 0

    @usableFromInline
    init() {}
}

/// The options of one message.
@usableFromInline
struct NDPOptions: BitwiseCopyable, Sendable {
    @usableFromInline var sourceLink: MACAddress?
    @usableFromInline var targetLink: MACAddress?
    /// Bytes; 0 if absent.
    @usableFromInline var mtu: UInt32 = 0
    /// How many of `prefixes` there are.
    @usableFromInline var prefixCount: UInt8 = 0
    /// Prefixes for which there was no room.
    @usableFromInline var prefixesIgnored: UInt8 = 0
    @usableFromInline var prefixes = InlineArray<4, NDPPrefix>(repeating: NDPPrefix())

    /// Options that a message may have. One that fits an Ethernet frame with prefixes of 32 bytes has room for 46.
    static var maximumCount: Int { 64 }

    /// Reads the options from the first to the end of the packet; `nil` if there is one of length 0, or one that is
    /// longer than what is left, or if there are more than 64.
    ///
    /// Options that are unknown, or of a length that their type does not have, are skipped (RFC 4861 §4.6). Of a link
    /// address or MTU that stands there twice, the first counts.
    @usableFromInline
    init?(parsing bytes: RawSpan) {
        var offset = 0
        for _ in 0..<NDPOptions.maximumCount {
            let left = bytes.byteCount &- offset
            if left == 0 { return }
            guard left >= 8 else { return nil }
            let length = Int(bytes.byte(at: offset &+ 1)) &* 8
            guard length > 0, length <= left else { return nil }
            read(bytes.extracting(offset..<offset &+ length))
            offset &+= length
        }
        if offset < bytes.byteCount { return nil }
    }

    private mutating func read(_ option: RawSpan) {
        switch (option.byte(at: 0), option.byteCount) {
        case (Kind.sourceLink, 8):
            if sourceLink == nil { sourceLink = option.macAddress(at: 2) }
        case (Kind.targetLink, 8):
            if targetLink == nil { targetLink = option.macAddress(at: 2) }
        case (Kind.mtu, 8):
            if mtu == 0 { mtu = option.uint32(at: 4) }
        case (Kind.prefix, 32):
            readPrefix(option)
        default:
            break
        }
    }

    private mutating func readPrefix(_ option: RawSpan) {
        guard option.byte(at: 2) <= 128 else { return }
        guard prefixCount < 4 else {
            prefixesIgnored &+= 1  // Of at most 64 options.
            return
        }
        var prefix = NDPPrefix()
        prefix.length = option.byte(at: 2)
        prefix.isOnLink = option.byte(at: 3) & 0x80 != 0
        prefix.isAutonomous = option.byte(at: 3) & 0x40 != 0
        prefix.validLifetime = option.uint32(at: 4)
        prefix.preferredLifetime = option.uint32(at: 8)
        prefix.address = option.ipv6Address(at: 16)
        prefixes[Int(prefixCount)] = prefix
        prefixCount &+= 1
    }

    /// Writes a link-address option of eight bytes, if there is an address.
    @usableFromInline
    static func write(_ address: MACAddress?, kind: UInt8, to bytes: inout MutableRawSpan, at offset: Int) {
        guard let address else { return }
        bytes.store(kind, at: offset)
        bytes.store(1 as UInt8, at: offset &+ 1)
        bytes.store(address, at: offset &+ 2)
    }

    /// The types of RFC 4861 §4.6 that have a meaning here.
    enum Kind {
        static var sourceLink: UInt8 { 1 }
        static var targetLink: UInt8 { 2 }
        static var prefix: UInt8 { 3 }
        static var mtu: UInt8 { 5 }
    }
}
