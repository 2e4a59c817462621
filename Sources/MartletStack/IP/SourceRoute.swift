// Source routes: the routers that a packet of IPv4 is to pass, one after the other (RFC 791 §3.1, options 131 and 137).
//
// Hold RFC 1122 §3.2.1.8(c) and RFC 9293 §3.9.2.1 beside it. In the header stands the next router, in the option the others and at
// last the peer. Each router that is reached puts its own address in the place of the next:
//
//     S ──▶ G1 ──▶ G2 ──▶ D       S sends    to G1, route G2, D, pointer at G2
//                                 D receives to D,  route G1, G2, pointer behind its end
//                                 D answers  to G2, route G1, S
//
// Must not know connections. RFC 7126 §4.3 and §4.4: routers drop such packets nowadays, and strangers who may choose the way back
// can pretend to be anybody, so that what arrives is obeyed only where a program says so.

/// Up to six routers on the way to an IPv4 peer.
public struct SourceRoute: BitwiseCopyable, Sendable {
    /// Routers that a route may have: with all options of TCP, so many leave room for Ethernet in a frame's headroom.
    public static var capacity: Int { 6 }

    private var hops = InlineArray<6, IPv4Address>(repeating: .any)
    /// How many routers there are.
    public private(set) var count = 0
    /// Whether packets may pass no other routers than these (strict), or may (loose).
    public var isStrict = false

    /// A route by these routers, in this order.
    ///
    /// - Precondition: there are 1 ... 6.
    public init(_ routers: [IPv4Address], isStrict: Bool = false) {
        precondition(!routers.isEmpty && routers.count <= Self.capacity, "a source route has 1 ... 6 routers")
        for router in routers { append(router) }
        self.isStrict = isStrict
    }

    private init() {}

    /// A router, the nearest first.
    ///
    /// - Precondition: `position` is in `0 ..< count`.
    public subscript(position: Int) -> IPv4Address {
        precondition(position >= 0 && position < count, "no such router")
        return hops[position]
    }

    private mutating func append(_ router: IPv4Address) {
        hops[count] = router
        count += 1
    }
}

extension SourceRoute: Hashable {
    /// Whether both lead over the same routers, and with the same strictness.
    public static func == (left: SourceRoute, right: SourceRoute) -> Bool {
        guard left.count == right.count, left.isStrict == right.isStrict else { return false }
        for position in 0..<left.count where left.hops[position] != right.hops[position] { return false }
        return true
    }

    /// Feeds what `==` compares to the hasher.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(isStrict)
        for position in 0..<count { hasher.combine(hops[position]) }
    }
}

// MARK: - In

/// What the options of a packet say of its way.
enum ArrivedRoute {
    /// Nothing.
    case none
    /// The packet has passed these routers and is at its end: they are the way back, in its order.
    case back(SourceRoute)
    /// The packet is to go on to others, or the option cannot be understood.
    case unfinished
}

extension SourceRoute {
    /// Reads the options of an IPv4 header, behind its first 20 bytes. At most one route counts (RFC 1122 §3.2.1.8(c)).
    static func read(_ options: RawSpan) -> ArrivedRoute {
        var offset = 0
        while offset < options.byteCount {
            let kind = options.byte(at: offset)
            if kind == 0 { return .none }
            if kind == 1 {
                offset += 1
                continue
            }
            guard offset + 2 <= options.byteCount else { return .none }
            let length = Int(options.byte(at: offset + 1))
            guard length >= 2, offset + length <= options.byteCount else { return .none }
            if kind == 131 || kind == 137 {
                return route(options.extracting(offset..<offset + length), isStrict: kind == 137)
            }
            offset += length
        }
        return .none
    }

    private static func route(_ option: RawSpan, isStrict: Bool) -> ArrivedRoute {
        let length = option.byteCount
        guard length >= 3, (length - 3) % 4 == 0, Int(option.byte(at: 2)) > length else { return .unfinished }
        var route = SourceRoute()
        route.isStrict = isStrict
        let count = (length - 3) / 4
        for place in 0..<min(count, capacity) { route.append(option.ipv4Address(at: 3 + 4 * (count - 1 - place))) }
        return count == 0 || count > capacity ? .none : .back(route)
    }
}

// MARK: - Out

extension SourceRoute {
    /// Bytes that the route adds to an IP header: the option, and padding to a multiple of four.
    var optionLength: Int { 4 + 4 * count }

    /// Makes the IPv4 header of a packet, which has no options, one that goes this way. The checksum of the transport was made with the
    /// peer as its destination, which is right: that is where the packet ends (RFC 1122 §3.2.1.8(c)).
    ///
    /// - Precondition: the frame has as much headroom as the option is long.
    func insert(into frame: inout Frame) {
        guard var header = IPv4Header(parsing: frame.bytes) else { preconditionFailure("a header of ours") }
        let peer = header.destination
        let added = optionLength
        frame.prepend(added)
        var bytes = frame.mutableBytes
        header.destination = hops[0]
        header.headerLength = UInt8(IPv4Header.minimumLength + added)
        header.totalLength += UInt16(added)
        header.checksum = 0
        header.write(to: &bytes)
        bytes.store(isStrict ? 137 : 131 as UInt8, at: 20)
        bytes.store(UInt8(3 + 4 * count), at: 21)
        bytes.store(4 as UInt8, at: 22)
        for place in 1..<count { bytes.store(hops[place], at: 23 + 4 * (place - 1)) }
        bytes.store(peer, at: 23 + 4 * (count - 1))
        // End of options.
        bytes.store(0 as UInt8, at: 23 + 4 * count)
        var sum = Checksum()
        sum.add(bytes.bytes.extracting(first: Int(header.headerLength)))
        bytes.store(sum.value, at: 10)
    }
}
