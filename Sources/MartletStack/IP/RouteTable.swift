// The routes of one IP version, sorted so that the longest match is found by halving.
//
// Prefixes never overlap by half: of two, one lies within the other or they are apart. So with routes sorted by first
// address, and shorter prefixes before longer ones, look for the last route that begins at or before an address: if it
// does not hold the address, whatever does encloses it, and each route knows which one encloses it.
//
//     ::/0 ├────────────────────────────────────────────────┤
//            10/8 ├──────────────────────┤   192.0.2/24 ├──┤
//                   10.1/16 ├─────┤   ▲
//                                     └ 10.9.0.1: the last that begins before it is 10.1/16, which 10/8 encloses

/// Who has put a route into the table.
enum RouteSource: UInt8, BitwiseCopyable {
    case manual, connected, routerAdvertisement, dhcp
}

/// The addresses that agree with `bits` in the first `length` bits. IPv4 uses the first 32 bits of the number.
struct RoutePrefix: BitwiseCopyable, Hashable {
    let bits: UInt128
    let length: UInt8

    /// Bits beyond the length are cleared.
    init(bits: UInt128, length: Int) {
        self.bits = bits & Self.mask(length)
        self.length = UInt8(length)
    }

    func contains(_ address: UInt128) -> Bool { (address ^ bits) & Self.mask(Int(length)) == 0 }

    /// Whether the other prefix lies within this one and is not the same.
    func encloses(_ other: RoutePrefix) -> Bool { length < other.length && contains(other.bits) }

    private static func mask(_ length: Int) -> UInt128 { length == 0 ? 0 : UInt128.max << UInt128(128 - length) }
}

/// The way to the addresses of a prefix.
struct Route: BitwiseCopyable, Equatable {
    var prefix: RoutePrefix
    /// The next hop; `nil` if the destination is on the link itself.
    var gateway: IPAddress?
    var interface: UInt8
    /// Of routes with the same prefix the one with the lowest metric is taken.
    var metric: UInt16 = 0
    /// The largest packet in bytes, if the route knows better than the link.
    var mtu: UInt16?
    var source: RouteSource
    /// The route counts until then and is removed by `expire`.
    var validUntil: Instant = .distantFuture
    /// The gateway does not answer: other routes of the same prefix are preferred (RFC 1122 §3.3.1.5, RFC 4861 §6.3.6).
    var isGatewayDead = false

    /// Whether both are the way through the same next hop to the same prefix.
    func isSameWay(as other: Route) -> Bool {
        prefix == other.prefix && gateway == other.gateway && interface == other.interface && source == other.source
    }
}

/// A bounded, sorted table. Lookups are O(log routes + routes that enclose each other); changes are O(routes).
struct RouteTable: ~Copyable {
    let capacity: Int
    private(set) var routes: [Route] = []
    /// For each route the first one with the same prefix.
    private var heads: [UInt16] = []
    /// For each route the first one with the longest prefix that encloses it; `UInt16.max` if none does.
    private var parents: [UInt16] = []
    /// No route expires before.
    private(set) var nextExpiry = Instant.distantFuture

    /// - Precondition: `capacity` is in `1 ..< 65,535`.
    init(capacity: Int) {
        precondition(capacity > 0 && capacity < Int(UInt16.max), "a table has 1 ..< 65,535 routes")
        self.capacity = capacity
        routes.reserveCapacity(capacity)
        heads.reserveCapacity(capacity)
        parents.reserveCapacity(capacity)
    }

    /// The best route to `address` on `interface`, or on any if that is `nil`.
    ///
    /// The longest prefix wins; then a gateway that is not dead; then the lowest metric; then the lower interface number.
    func lookup(_ address: UInt128, on interface: UInt8?, at now: Instant) -> Route? {
        var position = endOfRoutes(notAfter: address)
        guard position > 0 else { return nil }
        position = Int(heads[position - 1])
        while position < routes.count {
            if routes[position].prefix.contains(address), let best = best(from: position, on: interface, at: now) {
                return best
            }
            position = Int(parents[position])
        }
        return nil
    }

    /// Adds a route, or replaces the one that leads the same way.
    ///
    /// - Returns: whether there was room.
    mutating func insert(_ route: Route) -> Bool {
        if let position = routes.firstIndex(where: { $0.isSameWay(as: route) }) {
            routes.remove(at: position)
        } else if routes.count == capacity {
            return false
        }
        let position = routes.firstIndex { Self.isOrdered(route, before: $0) } ?? routes.count
        routes.insert(route, at: position)
        relink()
        return true
    }

    /// Removes all routes for which `isGone` says so, and returns how many.
    mutating func removeAll(where isGone: (Route) -> Bool) -> Int {
        let before = routes.count
        routes.removeAll(where: isGone)
        if routes.count < before { relink() }
        return before - routes.count
    }

    /// Marks the routes through a gateway.
    mutating func mark(gateway: IPAddress, on interface: UInt8, isDead: Bool) {
        for position in routes.indices
        where routes[position].gateway == gateway && routes[position].interface == interface {
            routes[position].isGatewayDead = isDead
        }
    }

    /// The routes to everywhere, the best metric first.
    var defaultRoutes: Span<Route> {
        @_lifetime(borrow self)
        get {
            // They begin at the first address and are the shortest: nothing comes before them.
            var count = 0
            while count < routes.count && routes[count].prefix.length == 0 { count += 1 }
            return routes.span.extracting(first: count)
        }
    }

    private func best(from head: Int, on interface: UInt8?, at now: Instant) -> Route? {
        var dead: Route?
        var position = head
        while position < routes.count && Int(heads[position]) == head {
            let route = routes[position]
            position += 1
            guard route.validUntil > now, interface == nil || route.interface == interface else { continue }
            if !route.isGatewayDead { return route }
            if dead == nil { dead = route }
        }
        return dead
    }

    /// Where the routes end that begin at `address` or before.
    private func endOfRoutes(notAfter address: UInt128) -> Int {
        var low = 0
        var high = routes.count
        while low < high {
            let middle = (low + high) / 2
            if routes[middle].prefix.bits <= address { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private static func isOrdered(_ route: Route, before other: Route) -> Bool {
        (route.prefix.bits, route.prefix.length, route.metric, route.interface)
            < (other.prefix.bits, other.prefix.length, other.metric, other.interface)
    }

    private mutating func relink() {
        heads.removeAll(keepingCapacity: true)
        parents.removeAll(keepingCapacity: true)
        nextExpiry = .distantFuture
        for position in routes.indices {
            nextExpiry = min(nextExpiry, routes[position].validUntil)
            let prefix = routes[position].prefix
            if position > 0 && routes[position - 1].prefix == prefix {
                heads.append(heads[position - 1])
                parents.append(parents[position - 1])
                continue
            }
            heads.append(UInt16(position))
            // The one before encloses this one, or one that encloses that one does, or none.
            var parent = position == 0 ? UInt16.max : heads[position - 1]
            while parent != .max && !routes[Int(parent)].prefix.encloses(prefix) { parent = parents[Int(parent)] }
            parents.append(parent)
        }
    }
}
