// Which TCP/IP a runtime's connections run over, and what its own stack is connected to.

public import MartletStack

/// What carries a runtime's connections and datagrams.
public enum TransportChoice: Sendable {
    /// The kernel's TCP/IP, through io_uring or epoll.
    case kernel
    /// Martlet's own TCP/IP stack, one a core, over these interfaces. Unix-domain sockets stay the kernel's.
    ///
    /// The loopback addresses are always there: a stack without any interface reaches itself.
    case stack([StackInterface])
}

extension TransportChoice {
    /// The choice as on a command line: the kernel's TCP/IP if there is no link, else the own stack with one interface.
    ///
    /// - Parameters:
    ///   - link: what ``LinkName/init(_:)`` reads, such as `tap:tap0`.
    ///   - addresses: the stack's own with their prefixes, such as `10.0.0.2/24`. None: IPv4 by DHCP, IPv6 by what routers announce.
    ///   - gateways: routers to everywhere, such as `10.0.0.1`.
    /// - Throws: ``NetworkError/invalidAddress(_:)`` and ``NetworkError/link(_:)``, which say what is wrong with the text.
    public init(link: String?, addresses: [String] = [], gateways: [String] = []) throws(NetworkError) {
        guard let link else {
            guard addresses.isEmpty, gateways.isEmpty else {
                throw .link(
                    .invalid(
                        link: "no link", reason: "an address or a gateway is one of a link's: say which, e.g. tap:tap0")
                )
            }
            self = .kernel
            return
        }
        var interface: StackInterface
        do throws(LinkError) { interface = StackInterface(link: try LinkName(link)) } catch { throw .link(error) }
        for text in addresses {
            guard let address = InterfaceAddress(text), text.contains("/") else {
                throw .invalidAddress("\(text) (an address of an interface has a prefix, as 10.0.0.2/24)")
            }
            interface.addresses.append(address)
        }
        for text in gateways {
            guard let gateway = IPAddress(text) else { throw .invalidAddress(text) }
            interface.gateways.append(gateway)
        }
        interface.usesDHCP = addresses.isEmpty
        interface.usesAutoconfiguration = addresses.isEmpty
        self = .stack([interface])
    }
}

/// An interface of a runtime's own stack: a link, and what the stack is called on it.
public struct StackInterface: Sendable {
    /// What carries its frames.
    public var link: LinkName
    /// The network in this process's memory that carries them instead. Nil, the default, if it is the link.
    public var network: MemoryNetwork?
    /// Addresses with their prefixes, such as `10.0.0.2/24` and `fd00::2/64`.
    public var addresses: [InterfaceAddress]
    /// Routers to everywhere, by the order in which they are tried.
    public var gateways: [IPAddress]
    /// Routes to other networks.
    public var routes: [RouteConfiguration] = []
    /// Asks for an IPv4 address by DHCP (RFC 2131). Default false.
    public var usesDHCP = false
    /// Makes addresses of the prefixes that routers announce (RFC 4862). Default false.
    public var usesAutoconfiguration = false
    /// Claims addresses before they are used (RFC 5227, RFC 4862 §5.4), which takes seconds. Default false.
    public var detectsConflicts = false
    /// The address on the wire. Nil, the default, is the interface's own where the link has one, and else a random one.
    public var macAddress: MACAddress?
    /// Bytes of the largest packet, if it is to be less than the link takes.
    public var mtu: Int?
    /// Each core opens a queue of the link for itself: one of a TAP that has several, a socket of a group on AF_PACKET, or, on AF_XDP,
    /// the queues from the link's on. Default false: the first core has the link, and transmits for the others. A network in memory
    /// has a queue for each core in any case.
    ///
    /// Whoever spreads the frames over the queues, the kernel or a card, does it by another hash than the cores: these hand over what
    /// has come to the wrong one.
    public var usesQueues = false
    /// What is done with VLAN tags.
    public var vlan = VLANPolicy.untagged
    /// What goes wrong on purpose with frames, to see how a program bears it. Default: nothing.
    public var faults: StackFaults?

    public init(link: LinkName, addresses: [InterfaceAddress] = [], gateways: [IPAddress] = []) {
        self.link = link
        self.addresses = addresses
        self.gateways = gateways
    }

    /// An interface on a network in memory, which needs no privilege and reaches the other runtimes on it.
    public init(network: MemoryNetwork, addresses: [InterfaceAddress] = [], gateways: [IPAddress] = []) {
        self.init(link: .memory(network.name), addresses: addresses, gateways: gateways)
        self.network = network
    }
}

/// What goes wrong on purpose between a stack and its link: a ``FaultLink`` in between.
public struct StackFaults: Sendable {
    /// What happens to frames on their way in, and on their way out.
    public var receive: LinkFaults
    public var transmit: LinkFaults
    /// The same seed makes the same mistakes of the same frames.
    public var seed: UInt64

    public init(receive: LinkFaults = LinkFaults(), transmit: LinkFaults = LinkFaults(), seed: UInt64) {
        (self.receive, self.transmit, self.seed) = (receive, transmit, seed)
    }

    /// The same chance of loss, 0 ... 1, for every frame in either direction.
    public init(loss: Double, seed: UInt64) {
        var faults = LinkFaults()
        faults.loss = loss
        self.init(receive: faults, transmit: faults, seed: seed)
    }
}

extension StackInterface {
    /// The link with its faults, if it is to have some.
    func faulty(_ link: consuming AnyLink, pool: borrowing FramePool) -> AnyLink {
        guard let faults else { return link }
        return AnyLink(
            FaultLink(link, receive: faults.receive, transmit: faults.transmit, seed: faults.seed, pool: pool))
    }

    /// What the stack is to know of it, once its link is open. `address` is for a link that has none of its own.
    func configuration(on link: LinkProperties, address: @autoclosure () -> MACAddress) -> InterfaceConfiguration {
        let kind: InterfaceKind =
            switch link.medium {
            case .ethernet: .ethernet(macAddress ?? link.macAddress ?? address())
            case .ip: .ip
            }
        var configuration = InterfaceConfiguration(kind, addresses: addresses, gateways: gateways)
        configuration.routes = routes
        configuration.mtu = min(mtu ?? .max, link.mtu)
        configuration.usesDHCP = usesDHCP
        configuration.usesAutoconfiguration = usesAutoconfiguration
        configuration.detectsConflicts = detectsConflicts
        configuration.vlan = vlan
        configuration.completesChecksums = link.capabilities.contains(.transmitChecksum)
        configuration.cutsSegments = link.capabilities.isSuperset(of: [.transmitChecksum, .segmentation])
        return configuration
    }
}

extension InterfaceConfiguration {
    /// The stack's way to itself. Nothing behind it: what is not ours is dropped.
    static var loopback: InterfaceConfiguration {
        var configuration = InterfaceConfiguration(
            .ip,
            addresses: [
                InterfaceAddress(.v4(.loopback), prefixLength: 8), InterfaceAddress(.v6(.loopback), prefixLength: 128),
            ])
        // Nothing is on a wire that could be cut or changed.
        configuration.mtu = 65_535
        configuration.completesChecksums = true
        configuration.cutsSegments = true
        return configuration
    }
}

extension MACAddress {
    /// An address of nobody's: a random one, locally administered, of one station (IEEE 802 §8.4).
    static func random(using random: inout some RandomNumberGenerator) -> MACAddress {
        MACAddress(bits: random.next() & 0xfcff_ffff_ffff | 0x0200_0000_0000)
    }
}
