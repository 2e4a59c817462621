// The bounds of a stack in one place. Running into one is counted, has a defined outcome, and never allocates.

/// Bounds of a stack: all memory that it ever holds is taken when it is made.
public struct StackLimits: BitwiseCopyable, Sendable {
    /// Routes, neighbors, reassembly, known paths and ICMP errors.
    public var network = NetworkLimits()
    /// Connections and their buffers.
    public var tcp = TCPLimits()
    /// Sockets and the datagrams that wait.
    public var udp = UDPLimits()

    /// The defaults, which take about 30 MiB.
    public init() {}

    /// Bounds of which some are not the defaults.
    public init(network: NetworkLimits = NetworkLimits(), tcp: TCPLimits = TCPLimits(), udp: UDPLimits = UDPLimits()) {
        (self.network, self.tcp, self.udp) = (network, tcp, udp)
    }
}
