// The header of an Ethernet frame, with or without one VLAN tag.
//
//      0            6            12     14                     0            6            12     14     16     18
//     ┌────────────┬────────────┬──────┐                      ┌────────────┬────────────┬──────┬──────┬──────┐
//     │ destination│   source   │ type │          or          │ destination│   source   │ 8100 │ TCI  │ type │
//     └────────────┴────────────┴──────┘                      └────────────┴────────────┴──────┴──────┴──────┘
//
// Hold IEEE 802.3 §3.2 and IEEE 802.1Q §9.6 beside it. Frames come without their checksum and may have padding behind
// what they carry; only the header inside knows where that ends.

/// An Ethernet header.
@usableFromInline
struct EthernetHeader: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var destination: MACAddress
    @usableFromInline var source: MACAddress
    /// What follows the header, and the tag if there is one. Of several tags only the first is read: then this is
    /// ``EtherType/vlan`` again.
    @usableFromInline var etherType: EtherType
    @usableFromInline var isTagged: Bool
    /// The tag control information: priority (3 bits), drop eligible (1 bit), VLAN identifier (12 bits); 0 without a tag.
    @usableFromInline var tagControl: UInt16

    /// Bytes of a header without a tag.
    @inlinable
    static var minimumLength: Int { 14 }

    /// Bytes of this header.
    @inlinable
    var length: Int { isTagged ? 18 : 14 }

    /// The VLAN, 1 ... 4,094; 0 for frames of none.
    @inlinable
    var vlan: UInt16 { tagControl & 0xFFF }

    /// A header without a tag.
    @inlinable
    init(destination: MACAddress, source: MACAddress, etherType: EtherType) {
        self.destination = destination
        self.source = source
        self.etherType = etherType
        isTagged = false
        tagControl = 0
    }

    /// Reads the header at the start of `bytes`; `nil` if there are too few.
    @inlinable
    init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= EthernetHeader.minimumLength else { return nil }
        self.init(
            destination: bytes.macAddress(at: 0), source: bytes.macAddress(at: 6),
            etherType: EtherType(rawValue: bytes.uint16(at: 12)))
        guard etherType == .vlan else { return }
        guard bytes.byteCount >= 18 else { return nil }
        isTagged = true
        tagControl = bytes.uint16(at: 14)
        etherType = EtherType(rawValue: bytes.uint16(at: 16))
    }

    /// Writes ``length`` bytes.
    ///
    /// - Precondition: `bytes` has so many or more.
    @inlinable
    func write(to bytes: inout MutableRawSpan) {
        bytes.store(destination, at: 0)
        bytes.store(source, at: 6)
        if isTagged {
            bytes.store(EtherType.vlan.rawValue, at: 12)
            bytes.store(tagControl, at: 14)
        }
        bytes.store(etherType.rawValue, at: length &- 2)
    }
}
