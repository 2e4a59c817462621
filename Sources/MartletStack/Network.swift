// What is below the transports: the interfaces, our addresses, who is near, and which way packets go.
//
//     transports ──▶ packets ──▶ IP/Forwarding ──▶ Link/EthernetOut ──▶ the burst of egress
//                                      │                 ╰──▶ neighbors, until their link address is known
//                                      ╰──▶ loopback, if the destination is ourselves
//
// Packets that are made while others arrive wait in `packets` until egress, and finished frames in `frames`; both are of 64 at
// most. What does not fit is dropped and counted: its sender, or the one who asked, sends again.

/// Bounds of what a stack keeps below its transports.
public struct NetworkLimits: BitwiseCopyable, Sendable {
    /// Routes of each IP version. Beyond, routes of routers and servers are dropped (``PacketDrop/noRoom``).
    public var routes = 256
    /// Hosts on the links whose link addresses are known or looked for.
    public var neighbors = NeighborLimits()
    /// How long they are believed, and how often they are asked.
    public var neighborTimes = NeighborTimes()
    /// Datagrams that come in pieces.
    public var reassembly = ReassemblyLimits()
    /// Destinations whose path MTU is known to be smaller than the link's. Beyond, the oldest is forgotten.
    public var paths = 256
    /// Destinations whose next hop is remembered: a power of two.
    public var destinations = 256
    /// ICMP errors that are sent a second at most (RFC 1812 §4.3.2.8, RFC 4443 §2.4(f)).
    public var icmpErrors = 1000
    /// ICMP errors that are sent in a row at most.
    public var icmpBurst = 50

    /// The defaults.
    public init() {}
}

/// Interfaces, addresses, routes, neighbors, and the queues between them.
struct Network: ~Copyable {
    var interfaces: [Interface]
    var addresses = LocalAddresses()
    var groups = MulticastGroups()
    /// Who asks for groups on each interface: for IPv4, and for IPv6.
    var queriers: [GroupQuerier]
    var routes: Routes
    var destinations: DestinationCache
    var neighbors: Neighbors
    var paths: PathMTU
    var reassembly: Reassembly
    var identification: IPIdentification
    var icmpLimit: ICMPLimit
    var random: StackRandom
    /// IP packets that are to go.
    var packets: Burst
    /// Frames that are to go as they are.
    var frames: Burst
    /// IP packets from ourselves to ourselves.
    var loopback: Burst
    var autoconfigurations: [Autoconfiguration]
    /// Nil if the stack is all that the host has.
    var share: StackShare?
    var counters = NetworkCounters()
    var news = InterfaceNews()
    /// When addresses, prefixes, routes or solicitations want to be looked at.
    var maintenanceAt = Instant.distantFuture

    /// Interfaces without addresses: those come by ``configure(_:at:)``.
    init(
        _ configurations: [InterfaceConfiguration], limits: NetworkLimits, pool: borrowing FramePool,
        secret: SipHash.Key, now: Instant
    ) {
        precondition(!configurations.isEmpty && configurations.count <= 255, "a stack has 1 ... 255 interfaces")
        interfaces = configurations.map { Interface($0) }
        queriers = Array(repeating: GroupQuerier(), count: 2 * configurations.count)
        random = StackRandom(secret: secret)
        routes = Routes(capacity: limits.routes)
        destinations = DestinationCache(capacity: limits.destinations, using: &random)
        neighbors = Neighbors(
            pool: pool, limits: limits.neighbors, times: limits.neighborTimes, now: now, using: &random)
        paths = PathMTU(capacity: limits.paths, using: &random)
        reassembly = Reassembly(limits: limits.reassembly, now: now, using: &random)
        identification = IPIdentification(using: &random)
        icmpLimit = ICMPLimit(messagesPerSecond: limits.icmpErrors, burst: limits.icmpBurst, now: now)
        packets = pool.makeBurst()
        frames = pool.makeBurst()
        loopback = pool.makeBurst(capacity: 256)
        autoconfigurations = []
        let identifiers = StableInterfaceIdentifier(secret: SipHash.Key(using: &random))
        for (number, configuration) in configurations.enumerated() {
            let isActive = configuration.usesAutoconfiguration && interfaces[number].linkAddress != nil
            precondition(
                !configuration.usesDHCP || interfaces[number].linkAddress != nil, "DHCP is for Ethernet interfaces")
            autoconfigurations.append(
                Autoconfiguration(
                    isActive: isActive, identifiers: identifiers,
                    networkInterface: interfaces[number].linkAddress?.bits ?? UInt64(number), now: now, using: &random))
        }
        for (number, configuration) in configurations.enumerated() {
            configure(configuration, UInt8(number), at: now)
        }
    }

    /// The instant until which nothing happens by itself; nil if nothing ever does.
    var nextDeadline: Instant? {
        var next = maintenanceAt
        if let deadline = neighbors.nextDeadline { next = min(next, deadline) }
        if let deadline = reassembly.nextDeadline { next = min(next, deadline) }
        return next == .distantFuture ? nil : next
    }

    /// Whether something waits for egress, or for the next round.
    var isOwing: Bool {
        !packets.isEmpty || !frames.isEmpty || !loopback.isEmpty || neighbors.pending.readyCount > 0
    }

    /// Whether it is this stack that answers who asks all stacks of the host.
    var answersAll: Bool { share.map { $0.place == 0 } ?? true }

    mutating func drop(_ reason: PacketDrop) { counters[reason] &+= 1 }

    /// The same, for those who return an echo to be answered: there is none.
    mutating func dropped(_ reason: PacketDrop) -> EchoRequest? {
        drop(reason)
        return nil
    }

    /// What the way to `remote` is like; nil if there is none.
    ///
    /// Mutating, as the compiler would copy all of the network to call it otherwise.
    mutating func path(to remote: IPAddress, from local: IPAddress, at now: Instant) -> Path? {
        if addresses.contains(remote) { return Path(mtu: 65_535, interface: 0) }
        guard let route = route(to: remote, from: local, at: now) else { return nil }
        let interface = interfaces[Int(route.interface)]
        let linkMTU = min(interface.mtu(for: remote), Int(route.mtu ?? .max))
        return Path(mtu: paths.mtu(to: remote, linkMTU: linkMTU, at: now), interface: route.interface)
    }
}

/// What a transport needs to know of the way to a peer.
struct Path: BitwiseCopyable {
    /// Bytes of the largest packet.
    var mtu: Int
    var interface: UInt8
}

/// Why a frame or packet went no further.
public enum PacketDrop: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// The frame is shorter than its header, or of a group as its source.
    case badFrame
    /// The frame is for another host on the link.
    case otherHost
    /// The frame's VLAN tag, or its lack of one.
    case vlan
    /// Neither IP nor ARP.
    case unknownEtherType
    /// Lengths or a version that cannot be, or extension headers beyond all limits.
    case malformed
    /// The checksum of an IPv4 header or ICMP message is wrong.
    case badChecksum
    /// A source that no packet can come from.
    case badSource
    /// The packet is for another host, and we forward nothing.
    case notForUs
    /// It carries none of TCP, UDP and ICMP; its sender is told.
    case unknownProtocol
    /// An ICMP message that cannot be believed, or says nothing to us.
    case ignoredICMP
    /// A message of ARP or Neighbor Discovery that cannot be believed.
    case ignoredNeighbor
    /// There is no route.
    case noRoute
    /// The packet is larger than its interface takes.
    case tooBig
    /// A queue was full, or the pool empty.
    case noRoom
    /// A message of a DHCP server that the client does not believe.
    case ignoredDHCP
    /// A message of IGMP or MLD that cannot be believed, or is for routers.
    case ignoredMembership
}

/// Counts of what happened below the transports.
public struct NetworkCounters: BitwiseCopyable, Sendable {
    private var drops = InlineArray<16, UInt64>(repeating: 0)
    /// Frames that came.
    public internal(set) var packetsIn: UInt64 = 0
    /// Packets that went.
    public internal(set) var packetsOut: UInt64 = 0
    /// Echo requests answered.
    public internal(set) var echoReplies: UInt64 = 0
    /// ICMP errors sent.
    public internal(set) var icmpErrorsOut: UInt64 = 0
    /// ICMP errors received with enough of the packet they are about.
    public internal(set) var icmpErrorsIn: UInt64 = 0
    /// Claims of others to addresses of ours.
    public internal(set) var addressConflicts: UInt64 = 0

    /// Frames and packets dropped for a reason.
    public internal(set) subscript(reason: PacketDrop) -> UInt64 {
        get { drops[Int(reason.rawValue)] }
        set { drops[Int(reason.rawValue)] = newValue }
    }
}
