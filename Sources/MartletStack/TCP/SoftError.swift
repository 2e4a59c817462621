// What goes wrong and may pass: it is reported, and ends nothing (RFC 9293 §3.9.1.8 and §3.9.2.2, RFC 5461).

/// Something that keeps a connection from its peer, and may pass.
public enum TCPSoftError: UInt8, BitwiseCopyable, Hashable, Sendable {
    /// Nothing is acknowledged although it was sent three times and more (R1).
    case unacknowledged = 1
    /// A network or a host is not reached, or lets nothing through (ICMP Destination Unreachable).
    case unreachable = 2
    /// The packets take too many hops, or are not put together in time (ICMP Time Exceeded).
    case timeExceeded = 3
    /// A header is not understood (ICMP Parameter Problem).
    case parameterProblem = 4
    /// Nobody has the port, or speaks TCP there, although the connection was established (RFC 5927 §5.2).
    case refused = 5
}

extension TCB {
    /// What is wrong since something new was acknowledged last.
    var softError: TCPSoftError? {
        TCPSoftError(rawValue: UInt8(truncatingIfNeeded: flags.intersection(.softErrors).rawValue >> 29))
    }

    /// Tells the user (MUST-47).
    mutating func report(_ error: TCPSoftError, _ stack: inout Connections) {
        flags.remove(.softErrors)
        flags.insert(TCBFlags(rawValue: UInt32(error.rawValue) << 29))
        tell(.suspect, &stack)
    }
}
