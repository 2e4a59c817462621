// What a stack has counted, in one value. Counts only grow: the difference of two looks is what happened in between.

/// Counts of everything that happened in a stack since it was made.
public struct StackCounters: BitwiseCopyable, Sendable {
    /// Frames, packets and ICMP, and why they were dropped.
    public internal(set) var network: NetworkCounters
    /// ARP and Neighbor Discovery.
    public internal(set) var neighbors: NeighborCounters
    /// Datagrams that came in pieces, and why pieces were dropped.
    public internal(set) var fragments: FragmentCounters
    /// Segments and connections.
    public internal(set) var tcp: TCPCounters
    /// Datagrams and sockets.
    public internal(set) var udp: UDPCounters
    /// Interface events that nobody fetched before there were ``InterfaceEvent/capacity`` of them.
    public internal(set) var interfaceEventsLost: UInt64
}
