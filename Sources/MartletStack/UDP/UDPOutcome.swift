// The words of UDP: its bounds, what is counted, what became of a datagram, and what goes wrong.

/// Bounds of the UDP of a stack.
public struct UDPLimits: BitwiseCopyable, Sendable {
    /// Sockets that may be open at the same time. Beyond, ``UDPBindError/noSocket``.
    public var sockets = 256
    /// Datagrams that wait, of all sockets. Beyond, ``UDPDrop/noMemory``.
    public var datagrams = 8192
    /// Bytes of memory for them, of all sockets.
    public var ringMemory = 4 << 20
    /// Bytes of memory that one socket may take for them: a power of two. Of less than 64 KiB, large datagrams never fit in. Beyond,
    /// ``UDPDrop/socketFull``.
    public var receiveLimit = 256 << 10

    /// The defaults.
    public init() {}
}

/// Counts of what happened in UDP, of all sockets together, since the stack was made.
public struct UDPCounters: BitwiseCopyable, Sendable {
    /// Datagrams that some socket got.
    public internal(set) var datagramsIn: UInt64 = 0
    /// Datagrams that went.
    public internal(set) var datagramsOut: UInt64 = 0
    /// Datagrams that went in pieces.
    public internal(set) var fragmented: UInt64 = 0
    /// Datagrams for a port that no socket has.
    public internal(set) var noSocket: UInt64 = 0
    /// ICMP errors about datagrams of connected sockets.
    public internal(set) var errorsIn: UInt64 = 0
    /// ICMP errors about datagrams of nobody whom it could be told.
    public internal(set) var errorsForNobody: UInt64 = 0
    /// Datagrams that did not go for lack of frames or room in the burst.
    public internal(set) var noRoom: UInt64 = 0
    /// Datagrams that did not go as they were too large.
    public internal(set) var tooLarge: UInt64 = 0
    private var drops = InlineArray<6, UInt64>(repeating: 0)

    /// Datagrams dropped for a reason.
    public subscript(drops reason: UDPDrop) -> UInt64 { drops[Int(reason.rawValue)] }

    mutating func count(_ reason: UDPDrop) { drops[Int(reason.rawValue)] &+= 1 }
}

/// Why a datagram was dropped.
public enum UDPDrop: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// Its length is below 8, or beyond the packet.
    case malformed
    /// Its checksum is wrong.
    case badChecksum
    /// It has no checksum, and IPv6 wants one (RFC 8200 §8.1).
    case noChecksum
    /// Its source is a group or everybody (RFC 1122 §4.1.3.6).
    case invalidSource
    /// Its socket has as much unread as it may.
    case socketFull
    /// There is no memory for any socket.
    case noMemory
}

/// What became of a datagram.
enum UDPOutcome: BitwiseCopyable, Equatable, Sendable {
    case delivered
    /// No socket wants it: Port Unreachable is to be sent, unless it was sent to a group or everybody (RFC 1122 §4.1.3.1).
    case noSocket
    case dropped(UDPDrop)
}

/// What an ICMP message says of a datagram that was sent (RFC 1122 §4.1.3.3).
public enum UDPError: UInt8, BitwiseCopyable, Sendable {
    /// Nobody has the port, or speaks UDP there.
    case refused
    /// There is no way to the host or its network, or a router lets nothing through.
    case unreachable
    /// It took too many hops, or a piece of it was missing.
    case timeExceeded
    /// It was longer than the path takes, and not to be cut.
    case tooLarge
    /// Something in its headers was not understood.
    case parameterProblem
}

/// Why a socket was not opened or connected.
public enum UDPBindError: Error, BitwiseCopyable, Sendable {
    /// Another socket has these ends.
    case inUse
    /// All ephemeral ports of the address are taken.
    case noPort
    /// There are as many sockets as there may be.
    case noSocket
    /// The socket is closed.
    case closed
    /// There is no way to the peer, or no address of ours to send from.
    case unreachable
}
