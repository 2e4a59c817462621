// The states of a connection (RFC 9293 §3.3.2). LISTEN belongs to a listener and CLOSED to nobody: a TCB is in the other nine.
//
//                               active open ╲      ╱ passive open
//        SYN-SENT ◀──────────────────────── CLOSED ────────────────▶ LISTEN
//           │  ╲  SYN / SYN,ACK                                        │ SYN / SYN,ACK
//           │   ╲──────────────────▶ SYN-RECEIVED ◀────────────────────╯
//           │ SYN,ACK / ACK              │ ACK
//           ╰─────────────▶ ESTABLISHED ◀╯
//               close / FIN  │         │  FIN / ACK
//                 FIN-WAIT-1 ◀         ▶ CLOSE-WAIT
//         ACK ╱      │ FIN / ACK           │ close / FIN
//     FIN-WAIT-2   CLOSING              LAST-ACK
//   FIN / ACK ╲      │ ACK                 │ ACK
//               TIME-WAIT ── 2 MSL ──▶ CLOSED

/// A connection's state (RFC 9293 §3.3.2). The raw values are Linux's, as in TCP_INFO.
public enum TCPState: UInt8, BitwiseCopyable, Sendable, CaseIterable {
    case established = 1
    case synSent = 2
    case synReceived = 3
    case finWait1 = 4
    case finWait2 = 5
    case timeWait = 6
    case closed = 7
    case closeWait = 8
    case lastAck = 9
    case listen = 10
    case closing = 11

    /// Whether the peer has not acknowledged our FIN yet.
    var owesFIN: Bool {
        switch self {
        case .synSent, .synReceived, .established, .closeWait, .finWait1, .closing, .lastAck: true
        case .closed, .listen, .finWait2, .timeWait: false
        }
    }
}

extension TCPState {
    /// Whether both SYNs are acknowledged: sequence numbers are known on both sides.
    @inlinable
    public var isSynchronized: Bool {
        switch self {
        case .closed, .listen, .synSent, .synReceived: false
        default: true
        }
    }

    /// Whether the user may still send.
    @inlinable
    public var maySend: Bool {
        switch self {
        case .synSent, .synReceived, .established, .closeWait: true
        default: false
        }
    }

    /// Whether the peer may still send.
    @inlinable
    public var mayReceive: Bool {
        switch self {
        case .established, .finWait1, .finWait2: true
        default: false
        }
    }
}
