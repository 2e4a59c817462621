// Why OPEN fails at once, in both its forms. What goes wrong later is a connection's ``TCPError``.

/// Names a listener of a stack. A name outlives its listener, and then names nothing.
public struct ListenerID: BitwiseCopyable, Hashable, Sendable {
    let number: UInt16
    let generation: UInt32

    /// A number below ``TCPLimits/listeners`` that no other listener has at the same time, as ``ConnectionID/index``.
    public var index: Int { Int(number) }
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
    /// Another listener has the address and port.
    case inUse
    /// There are as many listeners as there may be (``TCPLimits/listeners``).
    case noListener
    /// There are as many different settings as there may be (``TCPLimits/settings``).
    case noSettings
}
