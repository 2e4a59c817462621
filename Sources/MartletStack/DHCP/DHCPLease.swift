// What a server offers or grants: read from its message, and believed only as far as it makes sense.
//
// Hold RFC 2131 §4.3.1 and RFC 2132 beside it, RFC 3442 for classless routes. A message that contradicts itself is dropped whole;
// an option that does is as good as absent, and lists have bounds.

/// A route that a server tells of.
public struct DHCPRoute: BitwiseCopyable, Hashable, Sendable {
    /// The network.
    public var destination: IPv4Address
    /// Bits of the destination that count, 0 ... 32.
    public var prefixLength: UInt8
    /// The next hop; `nil` if the destination is on the link (RFC 3442: a router of 0.0.0.0).
    public var router: IPv4Address?

    /// The default route.
    init(defaultVia router: IPv4Address) {
        (destination, prefixLength, self.router) = (.any, 0, router)
    }

    fileprivate init(_ destination: IPv4Address, _ prefixLength: UInt8, via router: IPv4Address?) {
        (self.destination, self.prefixLength, self.router) = (destination, prefixLength, router)
    }
}

/// An address on loan, and what goes with it.
public struct DHCPLease: BitwiseCopyable, Sendable {
    /// The address that is lent.
    public internal(set) var address: IPv4Address
    /// Bits of the address that are of its network, 1 ... 32.
    public internal(set) var prefixLength: UInt8
    /// The server identifier: where renewals go.
    public internal(set) var server: IPv4Address
    /// How many of `routes` there are.
    public internal(set) var routeCount = 0
    /// The classless routes if the server told any (RFC 3442), else a default route for each router, the preferred first.
    public internal(set) var routes = InlineArray<16, DHCPRoute>(repeating: DHCPRoute(defaultVia: .any))
    /// How many of `nameServers` there are.
    public internal(set) var nameServerCount = 0
    /// The preferred first.
    public internal(set) var nameServers = InlineArray<4, IPv4Address>(repeating: .any)
    /// The domain of the host; empty if the server told none.
    public internal(set) var domainName = DHCPDomainName()
    /// Bytes; 576 or more.
    public internal(set) var mtu: UInt16?
    /// T1: when the server is asked to renew it. `distantFuture` for this and the next two if it is for ever.
    public internal(set) var renewal = Instant.distantFuture
    /// T2: when any server is asked.
    public internal(set) var rebinding = Instant.distantFuture
    /// When the address must not be used any more.
    public internal(set) var expiry = Instant.distantFuture
}

/// A domain name: letters, digits, hyphens and dots, at most 253 of them; empty if there is none.
public struct DHCPDomainName: BitwiseCopyable, Sendable {
    /// Characters of the name.
    public private(set) var count = 0
    /// The name in ASCII, in the first ``count`` places.
    public private(set) var characters = InlineArray<253, UInt8>(repeating: 0)

    init() {}

    /// Anything else is no domain name: it would find its way into files and logs.
    fileprivate init(_ value: DHCPOptionValue) {
        var length = value.count
        // Some servers end it with a zero, as they would a string.
        if length > 0, length <= value.keptCount, value[length - 1] == 0 { length -= 1 }
        guard length > 0, length <= 253 else { return }
        for index in 0..<length {
            guard Self.isAllowed(value[index]) else { return }
            characters[index] = value[index]
        }
        count = length
    }

    private static func isAllowed(_ character: UInt8) -> Bool {
        switch character {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}

// MARK: - Reading

extension DHCPLease {
    /// Reads what a DHCPOFFER or DHCPACK grants, counted from `start`; `nil` if it cannot be used: no server identifier, no
    /// lease time, an address that is no host's, a mask with holes.
    ///
    /// T1 and T2 are the server's if they are in order, else a half and seven eighths of the lease (RFC 2131 §4.4.5). Both are
    /// earlier by up to a thirty-second of themselves, so that machines which came up together do not renew together.
    init?(
        _ reply: DHCPMessage, _ options: DHCPOptions, in message: RawSpan, from start: Instant,
        using random: inout some RandomNumberGenerator
    ) {
        guard let server = options.value(of: .serverIdentifier, in: message).address, server.isHost,
            let seconds = options.value(of: .leaseTime, in: message).uint32, seconds > 0, reply.yiaddr.isHost,
            let prefixLength = Self.prefixLength(of: reply.yiaddr, options.value(of: .subnetMask, in: message))
        else { return nil }
        (address, self.prefixLength, self.server) = (reply.yiaddr, prefixLength, server)
        readRoutes(options.value(of: .classlessRoutes, in: message), routers: options.value(of: .router, in: message))
        readNameServers(options.value(of: .domainNameServer, in: message))
        domainName = DHCPDomainName(options.value(of: .domainName, in: message))
        // Less than every host takes in one piece (RFC 1122 §3.3.2) would be an attack.
        if let mtu = options.value(of: .interfaceMTU, in: message).uint16, mtu >= 576 { self.mtu = mtu }
        // All ones are for ever.
        guard seconds != .max else { return }
        setTimes(
            Int64(seconds), t1: options.value(of: .renewalTime, in: message).uint32,
            t2: options.value(of: .rebindingTime, in: message).uint32, from: start, using: &random)
    }

    private mutating func setTimes(
        _ seconds: Int64, t1: UInt32?, t2: UInt32?, from start: Instant, using random: inout some RandomNumberGenerator
    ) {
        let second: Int64 = 1_000_000_000
        var first = t1.map { Int64($0) * second } ?? seconds * second / 2
        var then = t2.map { Int64($0) * second } ?? seconds * second / 8 * 7
        if first <= 0 || first > then || then >= seconds * second {
            (first, then) = (seconds * second / 2, seconds * second / 8 * 7)
        }
        // The same part of both, which keeps their order.
        let part = Int64.random(in: 0...1024, using: &random)
        renewal = start.advanced(byNanoseconds: first - first / 32_768 * part)
        rebinding = start.advanced(byNanoseconds: then - then / 32_768 * part)
        expiry = start.advanced(byNanoseconds: seconds * second)
    }

    /// The length of the mask; without one, that of the address's class (RFC 791 §3.2).
    private static func prefixLength(of address: IPv4Address, _ value: DHCPOptionValue) -> UInt8? {
        guard value.count > 0 else { return address.bits >> 31 == 0 ? 8 : address.bits >> 30 == 2 ? 16 : 24 }
        guard let mask = value.uint32, mask != 0 else { return nil }
        let length = (~mask).leadingZeroBitCount
        guard length == 32 || mask << UInt32(length) == 0 else { return nil }
        // The first and the last address of a network are no host's, but where there are only two (RFC 3021).
        let host = address.bits & ~mask
        guard length >= 31 || host != 0 && host != ~mask else { return nil }
        return UInt8(length)
    }

    /// RFC 3442: who tells classless routes means them instead of the routers.
    private mutating func readRoutes(_ value: DHCPOptionValue, routers: DHCPOptionValue) {
        if value.count > 0, readClasslessRoutes(value) { return }
        routeCount = 0
        guard routers.count % 4 == 0 else { return }
        for offset in stride(from: 0, to: routers.keptCount, by: 4) where routeCount < 4 {
            let router = routers.address(at: offset)
            guard router.isHost, router != address else { continue }
            routes[routeCount] = DHCPRoute(defaultVia: router)
            routeCount += 1
        }
    }

    /// Width of the destination, as many of its octets as that has, and the router. Returns false if the value is malformed.
    private mutating func readClasslessRoutes(_ value: DHCPOptionValue) -> Bool {
        var offset = 0
        // Each turn takes 5 bytes or more of 256.
        while offset < value.keptCount {
            let width = value[offset]
            guard width <= 32 else { return false }
            let octets = (Int(width) + 7) / 8
            guard value.keptCount - offset >= 5 + octets else {
                // Cut off here, or by whoever has sent it.
                return value.count > value.keptCount
            }
            var bits: UInt32 = 0
            for index in 0..<octets { bits |= UInt32(value[offset + 1 + index]) << UInt32(24 - 8 * index) }
            // What is behind the width is none of the destination.
            if width < 32 { bits &= ~(UInt32.max >> UInt32(width)) }
            let router = value.address(at: offset + 1 + octets)
            offset += 5 + octets
            guard routeCount < routes.count, router == .any || router.isHost, router != address else { continue }
            routes[routeCount] = DHCPRoute(IPv4Address(bits: bits), width, via: router == .any ? nil : router)
            routeCount += 1
        }
        return true
    }

    private mutating func readNameServers(_ value: DHCPOptionValue) {
        guard value.count % 4 == 0 else { return }
        for offset in stride(from: 0, to: value.keptCount, by: 4) where nameServerCount < nameServers.count {
            let server = value.address(at: offset)
            guard server.isHost else { continue }
            nameServers[nameServerCount] = server
            nameServerCount += 1
        }
    }
}

extension IPv4Address {
    /// Whether the address may be that of a host on a network: not of this network (0/8), loopback, a group or reserved (RFC 6890).
    var isHost: Bool { bits >> 24 != 0 && !isLoopback && bits >> 28 < 0xE }
}
