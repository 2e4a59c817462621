// The groups that this host is in, on which interface (RFC 1112 §7, RFC 4291 §2.8). IP asks before it drops what came for one.
//
// Whoever joins has to leave; several may be in one group. Nobody is told by IGMP or MLD yet: groups of this link work on any
// link that does not watch for that, and those behind routers do not.

/// A bounded list of groups.
struct MulticastGroups: BitwiseCopyable {
    private struct Membership: BitwiseCopyable {
        var group: IPAddress
        var interface: UInt8
        /// How many have joined.
        var count: UInt32
    }

    /// Groups that a host may be in.
    static var capacity: Int { 32 }

    private var memberships = InlineArray<32, Membership>(
        repeating: Membership(group: .v4(.any), interface: 0, count: 0))
    private(set) var count = 0

    /// Joins a group, or joins it once more. Returns false if there is no room for one more group.
    ///
    /// - Precondition: `group` is a multicast address.
    mutating func join(_ group: IPAddress, on interface: UInt8) -> Bool {
        precondition(group.isMulticast, "no group has this address")
        if let index = find(group, interface) {
            memberships[index].count += 1
            return true
        }
        guard count < Self.capacity else { return false }
        memberships[count] = Membership(group: group, interface: interface, count: 1)
        count += 1
        return true
    }

    /// Takes back one join. Returns false if there was none.
    mutating func leave(_ group: IPAddress, on interface: UInt8) -> Bool {
        guard let index = find(group, interface) else { return false }
        memberships[index].count -= 1
        if memberships[index].count == 0 {
            count -= 1
            memberships[index] = memberships[count]
        }
        return true
    }

    /// Whether packets to `group` that come in on an interface are for this host.
    ///
    /// All hosts are in 224.0.0.1 and ff02::1, whether they have joined or not.
    func contains(_ group: IPAddress, on interface: UInt8) -> Bool {
        if group == Self.allHosts || group == Self.allNodes { return true }
        return find(group, interface) != nil
    }

    private static var allHosts: IPAddress { .v4(IPv4Address(224, 0, 0, 1)) }
    private static var allNodes: IPAddress { .v6(IPv6Address(high: 0xFF02 << 48, low: 1)) }

    private func find(_ group: IPAddress, _ interface: UInt8) -> Int? {
        for index in 0..<count
        where memberships[index].group == group && memberships[index].interface == interface { return index }
        return nil
    }
}
