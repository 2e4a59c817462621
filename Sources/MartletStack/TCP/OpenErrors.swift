// Why OPEN fails at once, in both its forms. What goes wrong later is a connection's ``TCPError``.

/// Names a listener of a stack.
public struct ListenerID: BitwiseCopyable, Hashable, Sendable {
    let number: Int
}

/// Why a connection was not opened (RFC 9293 §3.10.1).
public enum ConnectError: Error, BitwiseCopyable, Hashable, Sendable {
    /// There is no route to the peer, or no address of ours to call from.
    case unreachable
    /// No single host can have the address: it is unspecified, of a group, or everybody's (MUST-46).
    case invalidAddress
    /// All ports of our address are taken towards this peer.
    case noPort
    /// There are as many connections as there may be (``TCPLimits/connections``).
    case noConnection
    /// There are as many different settings as there may be (``TCPLimits/settings``).
    case noSettings
}

/// Why nobody listens.
public enum ListenError: Error, BitwiseCopyable, Hashable, Sendable {
    /// Another listener has the port.
    case inUse
    /// There are as many different settings as there may be (``TCPLimits/settings``).
    case noSettings
}
