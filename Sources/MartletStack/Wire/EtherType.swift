// What an Ethernet frame carries.
//
// Hold the registry "IEEE 802 Numbers" and RFC 9542 §3 beside it.

/// The type field of an Ethernet header. Below 0x0600 it is a length, and the frame one of IEEE 802.3: no type of ours.
@usableFromInline
struct EtherType: RawRepresentable, BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var rawValue: UInt16

    @inlinable
    init(rawValue: UInt16) { self.rawValue = rawValue }

    @inlinable static var ipv4: EtherType { EtherType(rawValue: 0x0800) }
    @inlinable static var arp: EtherType { EtherType(rawValue: 0x0806) }
    /// A VLAN tag of IEEE 802.1Q: the type of what follows stands behind it.
    @inlinable static var vlan: EtherType { EtherType(rawValue: 0x8100) }
    @inlinable static var ipv6: EtherType { EtherType(rawValue: 0x86DD) }
}
