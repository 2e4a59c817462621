// Our own addresses: of which interface, from where, and whether they may be used.

/// Who has given us an address.
public enum AddressOrigin: UInt8, BitwiseCopyable, Hashable, Sendable {
    /// The program.
    case manual
    /// Ourselves: an address of `fe80::/10` (RFC 4862 §5.3).
    case linkLocal
    /// Ourselves, from a prefix that a router advertised (RFC 4862 §5.5).
    case autoconfigured
    /// A DHCP server (RFC 2131).
    case dhcp
}

/// One of our addresses.
struct LocalAddress: BitwiseCopyable {
    var address: IPAddress
    var prefixLength: UInt8
    var interface: UInt8
    var origin: AddressOrigin
    /// New connections are not to use it (RFC 4862 §5.5.4).
    var isDeprecated = false
    /// Whether anybody else has it; nil if nobody is asked.
    var claim: AddressConflict?

    /// Whether packets may be sent from it, and are taken for it.
    var isUsable: Bool { claim?.isAssigned ?? true }

    /// Whether the other address is in the same network.
    func sharesNetwork(with other: IPAddress) -> Bool {
        other.bitWidth == address.bitWidth
            && RoutePrefix(bits: address.routeBits, length: Int(prefixLength)).contains(other.routeBits)
    }

    /// The address of everybody in its network (RFC 919); nil for networks of two or fewer, and for IPv6.
    var broadcast: IPv4Address? {
        guard case .v4(let address) = address, prefixLength < 31 else { return nil }
        return IPv4Address(bits: address.bits | UInt32.max >> UInt32(prefixLength))
    }
}

/// The addresses of a stack, 64 at most; a search goes through them all, and mostly ends at the first.
struct LocalAddresses: ~Copyable {
    static var capacity: Int { 64 }
    private(set) var entries: [LocalAddress] = [] {
        didSet {
            latest = .any
            changes &+= 1
        }
    }
    /// How often something has changed.
    private(set) var changes: UInt32 = 0
    /// The address that a packet came for last, IPv4 mapped; `::`, which is never ours, if something has changed since.
    private var latest = IPv6Address.any

    init() { entries.reserveCapacity(Self.capacity) }

    subscript(position: Int) -> LocalAddress {
        get { entries[position] }
        set { entries[position] = newValue }
    }

    var count: Int { entries.count }

    /// Where an address stands, usable or not.
    func position(of address: IPAddress) -> Int? { entries.firstIndex { $0.address == address } }

    /// Whether packets to this address are for us.
    func contains(_ address: IPAddress) -> Bool {
        for entry in entries where entry.address == address { return entry.isUsable }
        return false
    }

    /// The same for an address of a packet, IPv4 mapped. Packets are mostly for the one that the last was for.
    @inline(__always)
    mutating func isOurs(_ address: IPv6Address) -> Bool {
        if address == latest, address != .any { return true }
        return found(address)
    }

    private mutating func found(_ address: IPv6Address) -> Bool {
        guard contains(IPAddress.v6(address).unmapped) else { return false }
        latest = address
        return true
    }

    /// The interface that an address is of, usable or not.
    func interface(of address: IPAddress) -> UInt8? {
        for entry in entries where entry.address == address { return entry.interface }
        return nil
    }

    /// Whether an address is everybody's, on the link or in a network of this interface (RFC 1122 §3.3.6).
    func isBroadcast(_ address: IPv4Address, on interface: UInt8) -> Bool {
        if address == .broadcast { return true }
        for entry in entries where entry.interface == interface && entry.broadcast == address { return true }
        return false
    }

    /// Whether a group is that of the solicited nodes of an address of ours (RFC 4291 §2.7.1).
    func isSolicitedNode(_ group: IPv6Address, on interface: UInt8) -> Bool {
        for entry in entries where entry.interface == interface {
            if case .v6(let address) = entry.address, address.solicitedNode == group { return true }
        }
        return false
    }

    /// Adds an address. Returns false if there is no room; one that is there already stays as it is.
    mutating func add(_ entry: LocalAddress) -> Bool {
        if position(of: entry.address) != nil { return true }
        guard entries.count < Self.capacity else { return false }
        entries.append(entry)
        return true
    }

    /// Takes an address out. Returns false if it was not in.
    mutating func remove(_ address: IPAddress) -> Bool {
        guard let position = position(of: address) else { return false }
        entries.remove(at: position)
        return true
    }
}

extension IPv6Address {
    /// ff02::1 and ff02::2: all nodes and all routers of a link (RFC 4291 §2.7.1).
    static var allNodes: IPv6Address { IPv6Address(high: 0xFF02 << 48, low: 1) }
    static var allRouters: IPv6Address { IPv6Address(high: 0xFF02 << 48, low: 2) }

    /// ff02::1:ff00:0/104 and the last 24 bits: the group of all who may have the address (RFC 4291 §2.7.1).
    var solicitedNode: IPv6Address {
        IPv6Address(high: 0xFF02 << 48, low: 0x1_FF00_0000 | low & 0xFF_FFFF)
    }
}
