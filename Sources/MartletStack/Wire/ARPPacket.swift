// Who has this address: the question and the answer of IPv4 on Ethernet.
//
//      0       2       4    5    6       8            14           18           24           28
//     ┌───────┬───────┬────┬────┬───────┬────────────┬────────────┬────────────┬────────────┐
//     │ hrd 1 │pro 800│ 6  │ 4  │  op   │ sender MAC │  sender IP │ target MAC │  target IP │
//     └───────┴───────┴────┴────┴───────┴────────────┴────────────┴────────────┴────────────┘
//
// Hold RFC 826 beside it. Whether a sender may be believed is decided by Link/Neighbors.

/// An ARP packet for IPv4 on Ethernet.
@usableFromInline
struct ARPPacket: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline
    enum Operation: UInt16, BitwiseCopyable, Sendable {
        case request = 1
        case reply = 2
    }

    @usableFromInline var operation: Operation
    @usableFromInline var senderMAC: MACAddress
    /// The sender's address; 0.0.0.0 if it asks whether it may have the target's (RFC 5227).
    @usableFromInline var senderIP: IPv4Address
    /// Means nothing in a request.
    @usableFromInline var targetMAC: MACAddress
    @usableFromInline var targetIP: IPv4Address

    /// Bytes of a packet.
    @inlinable
    static var length: Int { 28 }

    @inlinable
    init(
        operation: Operation, senderMAC: MACAddress, senderIP: IPv4Address, targetMAC: MACAddress, targetIP: IPv4Address
    ) {
        self.operation = operation
        self.senderMAC = senderMAC
        self.senderIP = senderIP
        self.targetMAC = targetMAC
        self.targetIP = targetIP
    }

    /// Reads the packet at the start of `bytes`, which may have padding behind it; `nil` if it is cut short, is not
    /// about IPv4 on Ethernet, or is neither a request nor a reply.
    @inlinable
    init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= ARPPacket.length,
            bytes.uint32(at: 0) == 0x0001_0800, bytes.uint16(at: 4) == 0x0604,
            let operation = Operation(rawValue: bytes.uint16(at: 6))
        else { return nil }
        self.operation = operation
        senderMAC = bytes.macAddress(at: 8)
        senderIP = bytes.ipv4Address(at: 14)
        targetMAC = bytes.macAddress(at: 18)
        targetIP = bytes.ipv4Address(at: 24)
    }

    /// Writes 28 bytes.
    ///
    /// - Precondition: `bytes` has so many or more.
    @inlinable
    func write(to bytes: inout MutableRawSpan) {
        bytes.store(0x0001_0800 as UInt32, at: 0)
        bytes.store(0x0604 as UInt16, at: 4)
        bytes.store(operation.rawValue, at: 6)
        bytes.store(senderMAC, at: 8)
        bytes.store(senderIP, at: 14)
        bytes.store(targetMAC, at: 18)
        bytes.store(targetIP, at: 24)
    }
}
