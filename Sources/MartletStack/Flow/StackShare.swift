// Several stacks that are one host: each has a share of its flows, and all have its addresses and see what is said to all.
//
//     frame ─▶ FlowDestination ─┬─▶ a flow: the stack that it belongs to (FlowSpread)
//                               ├─▶ everybody: a copy to each
//                               └─▶ the first, which answers for all
//
// Whoever drives them sees to that. A stack that is one of several calls from ports by which the answers come to itself, and
// hands what is for its own addresses to its driver instead of to itself: the flow may be another's.

/// The part that a stack has in a host of several.
public struct StackShare: BitwiseCopyable, Sendable {
    /// Which of them it is: the first answers who asks all.
    public let place: Int
    /// How flows are spread over them: the same for all.
    public let spread: FlowSpread

    /// The share of the stack in this place of the spread.
    ///
    /// - Precondition: the spread has the place.
    public init(place: Int, of spread: FlowSpread) {
        precondition(place >= 0 && place < spread.places, "a share beyond the spread")
        (self.place, self.spread) = (place, spread)
    }

    @inline(__always)
    func isHome(of ends: FourTuple) -> Bool { spread.place(of: ends) == place }
}

extension Stack {
    /// The interface of packets from a host to itself, where it has several stacks (``StackShare``): they are on no link. Each is an IP
    /// packet, and goes to ``ingressFromItself(_:at:)`` of the stack that it is for.
    public static var itself: UInt8 { .max }

    /// Takes in packets that this stack, or another of the same host, has sent to the host itself.
    public mutating func ingressFromItself(_ burst: inout Burst, at now: Instant) {
        while var packet = burst.popFirst() {
            packet.interface = 0
            loopsBack(packet, at: now)
        }
    }

    /// Whether a flow is one of this stack's connections, or its datagrams are for one of its sockets.
    public func knows(_ flow: Flow) -> Bool {
        flow.isDatagrams ? udp.sockets.findMostSpecific(flow.ends) != nil : tcp.knows(flow.ends)
    }

    /// Whether somebody listens for the flow's connection in this stack.
    public func listens(for flow: Flow) -> Bool { !flow.isDatagrams && tcp.listeners.listens(at: flow.ends) }

    /// Whether a connection has this port at our end, those included that are not gone yet. O(connections).
    public func hasConnections(onPort port: UInt16) -> Bool { tcp.hasConnections(onPort: port) }
}

extension TCP {
    func knows(_ ends: FourTuple) -> Bool {
        let hash = demultiplexer.hash(of: ends)
        if let slot = demultiplexer.find(ends, hash: hash, in: table), table[slot].state != .closed { return true }
        return synQueue.find(ends, hash: hash) != nil || timeWaits.find(ends, hash: hash) != nil
    }

    func hasConnections(onPort port: UInt16) -> Bool {
        (0..<UInt32(table.touched)).contains { table[$0].state != .closed && table[$0].tuple.localPort == port }
    }
}
