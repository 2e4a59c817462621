// Which of our addresses a packet is sent from: RFC 6724 §5 for IPv6, RFC 1122 §3.3.4.3 for IPv4.
//
// Rule 4 (home addresses) is not for us, as there is no Mobile IP. Rule 5.5 (the prefix that the next hop advertised) needs to know
// who advertised what; the candidate says it.

/// One of our IPv6 addresses, with what the choice depends on. Tentative addresses are no candidates (RFC 4862 §5.4).
struct SourceCandidate: BitwiseCopyable {
    var address: IPv6Address
    var prefixLength: UInt8 = 64
    var interface: UInt8
    var isDeprecated = false
    /// An address of RFC 8981, which changes from day to day.
    var isTemporary = false
    /// The prefix of this address was advertised by the next hop that was chosen (rule 5.5).
    var isFromNextHop = false
}

enum SourceAddress {
    /// The address to send from to `destination` through `interface`; `nil` if none may be used. O(candidates).
    static func select(
        for destination: IPv6Address, on interface: UInt8, from candidates: Span<SourceCandidate>
    ) -> IPv6Address? {
        var best: SourceCandidate?
        for index in candidates.indices {
            let candidate = candidates[index]
            guard mayBeUsed(candidate, for: destination, on: interface) else { continue }
            guard let current = best else {
                best = candidate
                continue
            }
            if isBetter(candidate, than: current, for: destination, on: interface) { best = candidate }
        }
        return best?.address
    }

    /// §4: multicast and link-local destinations mean nothing outside of their interface, and so do link-local sources.
    private static func mayBeUsed(
        _ candidate: SourceCandidate, for destination: IPv6Address, on interface: UInt8
    ) -> Bool {
        let address = candidate.address
        if address.isMulticast || address == .any { return false }
        if address == destination { return true }
        if address.isLoopback { return destination.isLoopback }
        let staysOnLink = destination.isMulticast || destination.isLinkLocal || address.isLinkLocal
        return !staysOnLink || candidate.interface == interface
    }

    /// The rules of §5 in their order. The first that tells both apart decides; if none does, the earlier one stays.
    private static func isBetter(
        _ left: SourceCandidate, than right: SourceCandidate, for destination: IPv6Address, on interface: UInt8
    ) -> Bool {
        // Rule 1: the same address.
        if right.address == destination { return false }
        if left.address == destination { return true }
        // Rule 2: appropriate scope. The smaller one, unless it does not reach the destination.
        let (leftScope, rightScope) = (left.address.scope, right.address.scope)
        if leftScope < rightScope { return leftScope >= destination.scope }
        if rightScope < leftScope { return rightScope < destination.scope }
        // Rule 3: avoid deprecated addresses.
        if left.isDeprecated != right.isDeprecated { return right.isDeprecated }
        // Rule 5: the outgoing interface.
        let (leftIsThere, rightIsThere) = (left.interface == interface, right.interface == interface)
        if leftIsThere != rightIsThere { return leftIsThere }
        // Rule 5.5: the prefix that the next hop advertised.
        if left.isFromNextHop != right.isFromNextHop { return left.isFromNextHop }
        // Rule 6: the same label.
        let label = destination.policyLabel
        let (leftMatches, rightMatches) = (left.address.policyLabel == label, right.address.policyLabel == label)
        if leftMatches != rightMatches { return leftMatches }
        // Rule 7: temporary addresses.
        if left.isTemporary != right.isTemporary { return left.isTemporary }
        // Rule 8: the longest matching prefix, not counted beyond the candidate's own (§2.2).
        return matchingLength(left, destination) > matchingLength(right, destination)
    }

    private static func matchingLength(_ candidate: SourceCandidate, _ destination: IPv6Address) -> Int {
        let difference = IPAddress.v6(candidate.address).routeBits ^ IPAddress.v6(destination).routeBits
        return min(difference.leadingZeroBitCount, Int(candidate.prefixLength))
    }
}

// MARK: - IPv4

/// One of our IPv4 addresses.
struct SourceCandidate4: BitwiseCopyable {
    var address: IPv4Address
    var prefixLength: UInt8
    var interface: UInt8
}

extension SourceAddress {
    /// The address to send from to `destination` through `interface` to `nextHop`; `nil` if the interface has none.
    ///
    /// The destination itself, if it is ours; else the address in the next hop's network with the longest prefix; else
    /// the first one configured, link-local ones last unless the destination is link-local too (RFC 3927 §2.6). O(candidates).
    static func select(
        for destination: IPv4Address, nextHop: IPv4Address, on interface: UInt8, from candidates: Span<SourceCandidate4>
    ) -> IPv4Address? {
        var best: SourceCandidate4?
        var bestRank = -1
        for index in candidates.indices {
            let candidate = candidates[index]
            if candidate.address == destination { return destination }
            guard candidate.interface == interface, candidate.address != .any else { continue }
            guard candidate.address.isLoopback == destination.isLoopback else { continue }
            var rank = candidate.address.isLinkLocal == destination.isLinkLocal ? 1 : 0
            let network = RoutePrefix(
                bits: IPAddress.v4(candidate.address).routeBits, length: Int(candidate.prefixLength))
            if network.contains(IPAddress.v4(nextHop).routeBits) { rank += 2 + 2 * Int(candidate.prefixLength) }
            if rank > bestRank { (best, bestRank) = (candidate, rank) }
        }
        return best?.address
    }
}

extension IPv6Address {
    /// The scope as a multicast address writes it (RFC 4291 §2.7); of a unicast address, RFC 6724 §3.1.
    var scope: UInt8 {
        if isMulticast { return UInt8(truncatingIfNeeded: high >> 48) & 0xf }
        if isLinkLocal || isLoopback { return 2 }
        // Site-local addresses are deprecated, and still have their scope (§3.1).
        if high >> 54 == 0xFEC0 >> 6 { return 5 }
        if let mapped = mappedIPv4 { return mapped.isLinkLocal || mapped.isLoopback ? 2 : 14 }
        return 14
    }

    /// The label of the default policy table (§2.1).
    var policyLabel: UInt8 {
        if high == 0 {
            if low == 1 { return 0 }
            if low >> 32 == 0xFFFF { return 4 }
            if low >> 32 == 0 { return 3 }
        }
        if high >> 48 == 0x2002 { return 2 }
        if high >> 32 == 0x2001_0000 { return 5 }
        if high >> 57 == 0xFC >> 1 { return 13 }
        if high >> 54 == 0xFEC0 >> 6 { return 11 }
        if high >> 48 == 0x3FFE { return 12 }
        return 1
    }
}
