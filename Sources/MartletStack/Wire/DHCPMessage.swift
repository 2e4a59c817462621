// The fixed part of a DHCP message. Its options are in DHCPOptions.swift.
//
//      0       1       2       3       4                               8
//     ┌───────┬───────┬───────┬───────┬───────────────────────────────┐
//   0 │  op   │ htype │ hlen  │ hops  │              xid              │
//   8 │     secs      │     flags     │            ciaddr             │
//  16 │            yiaddr             │            siaddr             │
//  24 │            giaddr             │ chaddr, 16 bytes …            │
//  44 │ sname, 64 bytes …                                             │
// 108 │ file, 128 bytes …                                             │
// 236 │        magic cookie           │ options …                     │
//     └───────────────────────────────────────────────────────────────┘
//
// Hold RFC 2131 §2 beside it. The hardware is Ethernet; messages of other hardware are not read.

/// The fixed part of a DHCP message.
struct DHCPMessage: BitwiseCopyable, Hashable, Sendable {
    /// BOOTREPLY, what servers send; else BOOTREQUEST.
    var isReply: Bool
    /// The transaction that the message belongs to.
    var xid: UInt32
    /// Seconds since the client began.
    var secs: UInt16 = 0
    /// The client cannot receive unicast yet, and wants the answer broadcast.
    var isBroadcast = false
    /// The address that the client has and answers ARP for.
    var ciaddr = IPv4Address.any
    /// The address that the client gets.
    var yiaddr = IPv4Address.any
    var chaddr: MACAddress

    /// Bytes before the first option.
    static var optionsOffset: Int { 240 }
    static var sname: Range<Int> { 44..<108 }
    static var file: Range<Int> { 108..<236 }
    static var magicCookie: UInt32 { 0x6382_5363 }

    init(xid: UInt32, chaddr: MACAddress) {
        (isReply, self.xid, self.chaddr) = (false, xid, chaddr)
    }

    /// Reads the fixed part; `nil` if it is cut, not of DHCP, or of other hardware than Ethernet.
    init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= Self.optionsOffset, bytes.uint32(at: 236) == Self.magicCookie else { return nil }
        let op = bytes.byte(at: 0)
        guard op == 1 || op == 2, bytes.byte(at: 1) == 1, bytes.byte(at: 2) == 6 else { return nil }
        isReply = op == 2
        xid = bytes.uint32(at: 4)
        secs = bytes.uint16(at: 8)
        isBroadcast = bytes.uint16(at: 10) & 0x8000 != 0
        ciaddr = bytes.ipv4Address(at: 12)
        yiaddr = bytes.ipv4Address(at: 16)
        chaddr = bytes.macAddress(at: 28)
    }

    /// Writes the fixed part, with zeros for what a client has nothing to say of.
    ///
    /// - Precondition: `bytes` has 240 bytes or more.
    func write(to bytes: inout MutableRawSpan) {
        for offset in stride(from: 0, to: Self.optionsOffset, by: 8) { bytes.store(0 as UInt64, at: offset) }
        bytes.store((isReply ? 2 : 1) as UInt8, at: 0)
        bytes.store(1 as UInt8, at: 1)
        bytes.store(6 as UInt8, at: 2)
        bytes.store(xid, at: 4)
        bytes.store(secs, at: 8)
        bytes.store((isBroadcast ? 0x8000 : 0) as UInt16, at: 10)
        bytes.store(ciaddr, at: 12)
        bytes.store(yiaddr, at: 16)
        bytes.store(chaddr, at: 28)
        bytes.store(Self.magicCookie, at: 236)
    }
}

/// Option 53.
enum DHCPMessageType: UInt8, BitwiseCopyable, Sendable {
    case discover = 1
    case offer = 2
    case request = 3
    case decline = 4
    case ack = 5
    case nak = 6
}
