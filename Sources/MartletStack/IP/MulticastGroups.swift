// The groups that this host is in, on which interface (RFC 1112 §7, RFC 4291 §2.8), and what routers are still to hear of them.
//
// IP asks here before it drops what came for a group. The program joins groups, and so does each IPv6 address of an Ethernet: that of
// its solicited nodes (RFC 4862 §5.4.2), which a switch that watches MLD would keep from us otherwise. Whoever joins has to leave;
// several may be in one group. A group that was left stays here until that has been told often enough.
//
// All sources are welcome. So a change is one of two, and its record is what holds when it is sent (RFC 3376 §5.1). When something
// is told is decided here; how, and in which version's words, is in GroupReports.swift.

/// A bounded list of groups. Allocates in `init` only; every operation is O(groups).
struct MulticastGroups: ~Copyable {
    struct Membership: BitwiseCopyable {
        var group = IPAddress.v4(.any)
        var interface: UInt8 = 0
        /// How often the program has joined, and how many addresses have the group for their solicited nodes.
        var joins: UInt32 = 0
        var addresses: UInt32 = 0
        /// How often the last change is still to be told, and when next.
        var changesLeft: UInt8 = 0
        var changeAt = Instant.distantFuture
        /// When a question is to be answered.
        var answerAt = Instant.distantFuture

        var isMember: Bool { joins > 0 || addresses > 0 }
    }

    /// Who has joined.
    enum Joining: BitwiseCopyable {
        case program, address
    }

    /// Groups that the program may be in.
    static var capacity: Int { 32 }

    private var memberships = PlainTable<Membership>(
        repeating: Membership(), count: MulticastGroups.capacity + LocalAddresses.capacity)
    private(set) var count = 0

    subscript(position: Int) -> Membership {
        get { memberships[position] }
        set { memberships[position] = newValue }
    }

    /// Joins a group, or joins it once more. If it is a change it is told `robustness` times, at `now` first. Returns false if there
    /// is no room for one more group.
    ///
    /// - Precondition: `group` is a multicast address.
    mutating func join(
        _ group: IPAddress, on interface: UInt8, for joining: Joining = .program, robustness: UInt8 = 2, at now: Instant
    ) -> Bool {
        precondition(group.isMulticast, "no group has this address")
        let found = find(group, interface)
        if joining == .program, found.map({ memberships[$0].joins == 0 }) ?? true, joinedCount == Self.capacity {
            return false
        }
        guard let position = found ?? place() else { return false }
        if found == nil { memberships[position] = Membership(group: group, interface: interface) }
        if !memberships[position].isMember { change(position, robustness, at: now) }
        switch joining {
        case .program: memberships[position].joins += 1
        case .address: memberships[position].addresses += 1
        }
        return true
    }

    /// Takes back one join. Returns false if there was none.
    mutating func leave(
        _ group: IPAddress, on interface: UInt8, for joining: Joining = .program, robustness: UInt8 = 2, at now: Instant
    ) -> Bool {
        guard let position = find(group, interface) else { return false }
        switch joining {
        case .program:
            guard memberships[position].joins > 0 else { return false }
            memberships[position].joins -= 1
        case .address:
            guard memberships[position].addresses > 0 else { return false }
            memberships[position].addresses -= 1
        }
        guard !memberships[position].isMember else { return true }
        change(position, robustness, at: now)
        memberships[position].answerAt = .distantFuture
        if memberships[position].changesLeft == 0 { remove(position) }
        return true
    }

    /// Whether packets to `group` that come in on an interface are for this host.
    ///
    /// All hosts are in 224.0.0.1 and ff02::1, whether they have joined or not.
    func contains(_ group: IPAddress, on interface: UInt8) -> Bool {
        if group == Self.allHosts || group == Self.allNodes { return true }
        return find(group, interface).map { memberships[$0].isMember } ?? false
    }

    func find(_ group: IPAddress, _ interface: UInt8) -> Int? {
        for position in 0..<count
        where memberships[position].group == group && memberships[position].interface == interface { return position }
        return nil
    }

    /// Forgets a group.
    mutating func remove(_ position: Int) {
        count -= 1
        memberships[position] = memberships[count]
    }

    /// The first instant at which something is to be told.
    var nextDeadline: Instant {
        var next = Instant.distantFuture
        for position in 0..<count { next = min(next, memberships[position].changeAt, memberships[position].answerAt) }
        return next
    }

    // MARK: Steps

    private static var allHosts: IPAddress { .v4(IPv4Address(224, 0, 0, 1)) }
    private static var allNodes: IPAddress { .v6(IPv6Address(high: 0xFF02 << 48, low: 1)) }

    /// Whether routers are told of a group at all: not of the one that all are in, nor of those that end in this host (RFC 3376 §5,
    /// RFC 3810 §6).
    static func isReported(_ group: IPAddress) -> Bool {
        switch group {
        case .v4: group != allHosts
        case .v6(let address): group != allNodes && address.high >> 48 & 0xF > 1
        }
    }

    private mutating func change(_ position: Int, _ robustness: UInt8, at now: Instant) {
        guard Self.isReported(memberships[position].group) else { return }
        memberships[position].changesLeft = max(robustness, 1)
        memberships[position].changeAt = now
    }

    private var joinedCount: Int {
        var joined = 0
        for position in 0..<count where memberships[position].joins > 0 { joined += 1 }
        return joined
    }

    /// A free place, or that of a group that was left and is only told of.
    private mutating func place() -> Int? {
        if count == memberships.count {
            guard let left = (0..<count).first(where: { !memberships[$0].isMember }) else { return nil }
            remove(left)
        }
        count += 1
        return count - 1
    }
}
