// Several nodes on one Ethernet: whatever one sends reaches all, and each takes what is for it.
//
// Hold IEEE 802.3 §3.2.4 (the group bit of an address) beside it. A hub rather than a switch: it learns nothing.

public import MartletStack

extension VirtualNetwork {
    struct Segment: Sendable {
        var members: [Member] = []

        struct Member: Sendable {
            var node: Int
            /// Six bytes, or `nil` for one that takes everything.
            var address: [UInt8]?
        }
    }

    /// Adds an Ethernet segment, and gives its number.
    public mutating func addSegment() -> Int {
        segments.append(Segment())
        return segments.count - 1
    }

    /// Attaches a node to a segment by its MAC address. Without an address it takes every frame, as a bridge does.
    ///
    /// Each pair of members has a link in each direction, so that conditions and counters are those of pairs: two members
    /// can be cut off from each other alone. Bandwidth and queue are a pair's as well, and not those of the segment.
    ///
    /// - Precondition: the segment exists, `address` is of six bytes, and no member is linked to the node already.
    public mutating func attach(
        _ node: Int, to segment: Int, address: [UInt8]? = nil, conditions: LinkConditions = .perfect
    ) {
        precondition(address == nil || address?.count == 6, "a MAC address has six bytes")
        for member in segments[segment].members {
            connect(member.node, node, framing: .ethernet, conditions: conditions)
        }
        segments[segment].members.append(Segment.Member(node: node, address: address))
    }

    /// Sends an Ethernet frame to the members of a segment that it is for, in the order in which they were attached:
    /// all of them if it is to a group, else the one it names and those without an address. Says how many it reaches,
    /// those included on whose link it is dropped.
    ///
    /// A frame shorter than an address is for those without an address only.
    ///
    /// - Precondition: `node` is a member, and `now` is not before ``now``.
    @discardableResult
    public mutating func send(_ frame: [UInt8], from node: Int, segment: Int, at now: Instant) -> Int {
        let members = segments[segment].members
        precondition(members.contains { $0.node == node }, "node \(node) is not on segment \(segment)")
        let isForGroup = frame.count >= 6 && frame[0] & 1 == 1
        var count = 0
        for member in members where member.node != node {
            let isForMember = member.address.map { frame.count >= 6 && frame.starts(with: $0) } ?? true
            guard isForGroup || isForMember else { continue }
            send(frame, from: node, to: member.node, at: now)
            count += 1
        }
        return count
    }
}
