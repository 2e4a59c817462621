// What a program says of an interface when it makes a stack.

/// An address with the length of its network's prefix, as `192.0.2.1/24` or `2001:db8::1/64`.
public struct InterfaceAddress: BitwiseCopyable, Hashable, Sendable {
    /// The address itself.
    public var address: IPAddress
    /// Bits that all addresses on the link share.
    public var prefixLength: UInt8

    /// An address in the network of its first bits.
    ///
    /// - Precondition: the prefix is not longer than the address.
    public init(_ address: IPAddress, prefixLength: UInt8) {
        precondition(Int(prefixLength) <= address.bitWidth, "a prefix longer than its address")
        self.address = address
        self.prefixLength = prefixLength
    }
}

extension InterfaceAddress: LosslessStringConvertible {
    /// Reads an address, a slash and a decimal length. Without a slash the prefix is the whole address.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(String(parts[0])) else { return nil }
        guard parts.count == 2 else {
            self.init(address, prefixLength: UInt8(address.bitWidth))
            return
        }
        guard let length = UInt8(parts[1]), parts[1].first != "+", Int(length) <= address.bitWidth else { return nil }
        self.init(address, prefixLength: length)
    }

    /// The address, a slash and the length.
    public var description: String { "\(address)/\(prefixLength)" }
}

/// A route to a network.
public struct RouteConfiguration: BitwiseCopyable, Hashable, Sendable {
    /// The network: the bits behind the prefix do not count.
    public var destination: InterfaceAddress
    /// The router that packets go to; nil if the network is on the link.
    public var gateway: IPAddress?
    /// Of two routes to one network, that with the lower metric is taken.
    public var metric: UInt16
    /// Bytes of the largest packet, if that is less than the interface takes.
    public var mtu: UInt16?

    /// - Precondition: the gateway is of the IP version of the destination.
    public init(to destination: InterfaceAddress, via gateway: IPAddress? = nil, metric: UInt16 = 0, mtu: UInt16? = nil)
    {
        precondition(
            gateway == nil || gateway?.bitWidth == destination.address.bitWidth, "a gateway of the other IP version")
        self.destination = destination
        self.gateway = gateway
        self.metric = metric
        self.mtu = mtu
    }
}

/// What the frames of an interface are.
public enum InterfaceKind: BitwiseCopyable, Hashable, Sendable {
    /// Ethernet frames without checksums, of the interface with this address.
    case ethernet(MACAddress)
    /// IP packets without anything before them, as of a TUN device.
    case ip
}

/// What is done with tags of IEEE 802.1Q.
public enum VLANPolicy: BitwiseCopyable, Hashable, Sendable {
    /// Frames with a tag are dropped.
    case untagged
    /// Tags are skipped, whatever they say; frames that go have none.
    case anyTag
    /// Frames of this VLAN alone, 1 ... 4,094, are taken; frames that go carry its tag.
    case member(UInt16)
}

/// An interface of a stack.
public struct InterfaceConfiguration: Sendable {
    /// What its frames are.
    public var kind: InterfaceKind
    /// Addresses that are given by hand. Each makes its network reachable through this interface.
    public var addresses: [InterfaceAddress] = []
    /// Routers to everywhere, by the order in which they are tried.
    public var gateways: [IPAddress] = []
    /// Routes to other networks.
    public var routes: [RouteConfiguration] = []
    /// Bytes of the largest IP packet: 1,500 on Ethernet. At least 576, and 1,280 for IPv6.
    public var mtu = 1500
    /// What is done with VLAN tags, on Ethernet.
    public var vlan = VLANPolicy.untagged
    /// Whether addresses of routers' prefixes are made (RFC 4862), on Ethernet.
    public var usesAutoconfiguration = true
    /// Whether an IPv4 address is asked for by DHCP, on Ethernet.
    public var usesDHCP = false
    /// Whether addresses are claimed before they are used: RFC 5227 for IPv4, RFC 4862 §5.4 for IPv6; on Ethernet. Without,
    /// an address is used from the first instant on.
    public var detectsConflicts = true
    /// Whether connections that come by a source route are answered by the same routers (RFC 9293 MUST-53). Who may choose the way
    /// back can pretend to be anybody, so that hosts refuse nowadays (RFC 7126 §4.3): without, they are answered directly.
    public var acceptsSourceRoutes = false
    /// The link completes transport checksums of frames that go (``FrameOffload/checksumPartial``). TCP leaves them to it if all
    /// links of the stack do.
    public var completesChecksums = false
    /// The link cuts frames with a ``Frame/segmentSize``; needs ``completesChecksums``.
    public var cutsSegments = false

    /// An interface of this kind; everything else can be set before the stack is made.
    public init(_ kind: InterfaceKind, addresses: [InterfaceAddress] = [], gateways: [IPAddress] = []) {
        self.kind = kind
        self.addresses = addresses
        self.gateways = gateways
    }
}
