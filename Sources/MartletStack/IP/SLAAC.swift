// Addresses that hosts give themselves: Stateless Address Autoconfiguration, RFC 4862 §5.5, on one interface.
//
//     ├──── tentative ────┼──────── preferred ────────┼── deprecated ──┤ invalid
//     DAD: AddressConflict │                     preferredUntil     validUntil
//
// It keeps prefixes and the addresses made from them. That an advertisement is valid (RFC 4861 §6.1.2: hop limit 255, from a
// link-local address, …) the caller has seen; routers themselves are routes to everywhere and live in Routes.

/// An address made from an advertised prefix.
struct AutoconfiguredAddress: BitwiseCopyable, Equatable {
    var address: IPv6Address
    /// New connections do not use it after that.
    var preferredUntil: Instant
    /// Nothing uses it after that.
    var validUntil: Instant
    /// Identifiers for this prefix that were somebody else's (RFC 7217 §6, DAD_Counter).
    var duplicates: UInt8 = 0

    var prefix: UInt64 { address.high }

    func isDeprecated(at now: Instant) -> Bool { now >= preferredUntil }
}

/// What became of a Prefix Information option.
enum PrefixOutcome: BitwiseCopyable, Equatable {
    /// A new address: it is tentative, and DAD is to begin.
    case created(IPv6Address)
    /// The lifetimes of the address were set.
    case updated(IPv6Address)
    case ignored(PrefixDrop)
}

enum PrefixDrop: UInt8, BitwiseCopyable {
    /// The A flag is not set.
    case notAutonomous
    /// The link-local prefix, or a multicast one.
    case badPrefix
    /// The prefix and the identifier together are not 128 bits (§5.5.3 d).
    case badLength
    /// It would be preferred longer than it is valid (§5.5.3 c).
    case badLifetimes
    /// A new prefix that is valid for no time.
    case zeroLifetime
    /// There are as many addresses as may be.
    case full
}

/// The addresses of one interface. Changes are O(addresses). Allocates in `init` only.
struct SLAAC {
    /// §5.5.3 e: a message that nobody has signed must not end an address sooner than in two hours.
    static var twoHours: Duration { .seconds(2 * 3600) }
    /// 0xFFFFFFFF seconds: for ever (RFC 4861 §4.6.2).
    static var infinity: UInt32 { .max }
    /// IDGEN_RETRIES (RFC 7217 §7).
    static var maxDuplicates: UInt8 { 3 }

    private let identifiers: StableInterfaceIdentifier
    private let networkInterface: UInt64
    private let capacity: Int
    private(set) var addresses: [AutoconfiguredAddress] = []
    /// Prefix Information options that had no room.
    private(set) var overflows: UInt64 = 0

    /// Addresses for an interface that `networkInterface` names, up to `capacity`.
    init(identifiers: StableInterfaceIdentifier, networkInterface: UInt64, capacity: Int = 16) {
        precondition(capacity > 0, "a table without room")
        self.identifiers = identifiers
        self.networkInterface = networkInterface
        self.capacity = capacity
        addresses.reserveCapacity(capacity)
    }

    /// The link-local address to begin with, after so many of them were somebody else's.
    func linkLocalAddress(duplicates: UInt8 = 0) -> IPv6Address {
        let prefix: UInt64 = 0xfe80 << 48
        return IPv6Address(high: prefix, low: identifier(prefix, duplicates))
    }

    /// A Prefix Information option with its two lifetimes in seconds (RFC 4862 §5.5.3).
    mutating func receivePrefix(
        _ prefix: IPv6Address, length: UInt8, isAutonomous: Bool, validLifetime: UInt32, preferredLifetime: UInt32,
        at now: Instant
    ) -> PrefixOutcome {
        if !isAutonomous { return .ignored(.notAutonomous) }
        if prefix.isLinkLocal || prefix.isMulticast || prefix.high == 0 { return .ignored(.badPrefix) }
        if preferredLifetime > validLifetime { return .ignored(.badLifetimes) }
        if length != 64 { return .ignored(.badLength) }
        let preferredUntil = Self.end(of: preferredLifetime, from: now)
        let validUntil = Self.end(of: validLifetime, from: now)
        guard let position = addresses.firstIndex(where: { $0.prefix == prefix.high }) else {
            if validLifetime == 0 { return .ignored(.zeroLifetime) }
            guard addresses.count < capacity else {
                overflows += 1
                return .ignored(.full)
            }
            let address = IPv6Address(high: prefix.high, low: identifier(prefix.high, 0))
            addresses.append(
                AutoconfiguredAddress(address: address, preferredUntil: preferredUntil, validUntil: validUntil))
            return .created(address)
        }
        addresses[position].preferredUntil = preferredUntil
        // §5.5.3 e 1 to 3: longer than two hours or than what is left is taken; what has two hours left or less stays as it is;
        // the rest is cut to two hours.
        let inTwoHours = now + Self.twoHours
        let left = addresses[position].validUntil
        if validUntil > inTwoHours || validUntil > left {
            addresses[position].validUntil = validUntil
        } else if left > inTwoHours {
            addresses[position].validUntil = inTwoHours
        }
        return .updated(addresses[position].address)
    }

    /// DAD has found that `address` is somebody else's. The next one for its prefix is to be tried; `nil` if that was the last
    /// try, or the address is none of ours.
    mutating func replaceDuplicate(_ address: IPv6Address) -> IPv6Address? {
        guard let position = addresses.firstIndex(where: { $0.address == address }) else { return nil }
        addresses[position].duplicates += 1
        let duplicates = addresses[position].duplicates
        guard duplicates <= Self.maxDuplicates else {
            addresses.remove(at: position)
            return nil
        }
        addresses[position].address.low = identifier(address.high, duplicates)
        return addresses[position].address
    }

    /// Removes an address whose time is over, and returns it; `nil` if there is none. To be called until it is.
    mutating func nextExpired(at now: Instant) -> IPv6Address? {
        guard let position = addresses.firstIndex(where: { $0.validUntil <= now }) else { return nil }
        return addresses.remove(at: position).address
    }

    /// The next instant at which an address is deprecated or ends.
    func nextDeadline(after now: Instant) -> Instant {
        var next = Instant.distantFuture
        for address in addresses {
            if address.preferredUntil > now { next = min(next, address.preferredUntil) }
            next = min(next, address.validUntil)
        }
        return next
    }

    private func identifier(_ prefix: UInt64, _ duplicates: UInt8) -> UInt64 {
        identifiers.identifier(prefix: prefix, networkInterface: networkInterface, duplicates: duplicates)
    }

    private static func end(of lifetime: UInt32, from now: Instant) -> Instant {
        lifetime == infinity ? .distantFuture : now + .seconds(Int64(lifetime))
    }
}
