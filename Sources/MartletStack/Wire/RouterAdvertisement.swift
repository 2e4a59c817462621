// What a router says of itself and of its link.
//
//      0             4           5            6                 8                12             16
//     ┌─────────────┬───────────┬────────────┬─────────────────┬────────────────┬──────────────┬─ ─ ─
//     │ ICMPv6, 134 │ hop limit │ M O …      │ router lifetime │ reachable time │ retrans time │ options …
//     └─────────────┴───────────┴────────────┴─────────────────┴────────────────┴──────────────┴─ ─ ─
//
// Hold RFC 4861 §4.2 beside it, and §6.3.4 for what a host makes of it.

/// A router advertisement.
@usableFromInline
struct RouterAdvertisement: BitwiseCopyable, Sendable {
    /// The hop limit for packets that hosts send; 0 if the router does not say.
    @usableFromInline var hopLimit: UInt8
    /// M: addresses are given by DHCPv6.
    @usableFromInline var isManaged: Bool
    /// O: other things are told by DHCPv6.
    @usableFromInline var hasOtherConfiguration: Bool
    /// Seconds for which the router is a default router; 0 if it is none.
    @usableFromInline var routerLifetime: UInt16
    /// Milliseconds for which a neighbor counts as reachable; 0 if the router does not say.
    @usableFromInline var reachableTime: UInt32
    /// Milliseconds between solicitations; 0 if the router does not say.
    @usableFromInline var retransTimer: UInt32
    /// The router's link address, the link's MTU and its prefixes.
    @usableFromInline var options: NDPOptions

    /// Reads a message, from its ICMPv6 header to the end of the packet; `nil` if it is cut short or its options have
    /// lengths that cannot be. Type and code are not looked at.
    @usableFromInline
    init?(parsing message: RawSpan) {
        guard message.byteCount >= 16, let options = NDPOptions(parsing: message.from(16)) else { return nil }
        hopLimit = message.byte(at: 4)
        isManaged = message.byte(at: 5) & 0x80 != 0
        hasOtherConfiguration = message.byte(at: 5) & 0x40 != 0
        routerLifetime = message.uint16(at: 6)
        reachableTime = message.uint32(at: 8)
        retransTimer = message.uint32(at: 12)
        self.options = options
    }
}
