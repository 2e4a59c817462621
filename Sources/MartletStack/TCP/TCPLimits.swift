// Bounds and times of the TCP of a stack. All memory that they name is taken when the stack is made.

/// Bounds and times of the TCP of a stack.
///
/// What runs into a bound is counted in ``TCPCounters`` and has one outcome, which stands beside the bound.
public struct TCPLimits: BitwiseCopyable, Sendable {
    /// Connections that may exist at the same time, those that nobody has accepted included. Beyond: OPEN fails with
    /// ``ConnectError/noConnection``, and handshakes are not completed (``TCPCounters/listenOverflows``).
    public var connections = 1024
    /// Listeners, 1 ... 65,535. Beyond: ``ListenError/noListener``.
    public var listeners = 256
    /// Handshakes of all listeners that wait for their last ACK. Beyond: cookies, or SYNs are dropped (``TCPCounters/synsDropped``).
    public var synQueue = 1024
    /// Connections in TIME-WAIT that their users have released. Beyond, the oldest ends (``TCPCounters/timeWaitsRecycled``).
    public var timeWaits = 4096
    /// Servers whose Fast Open cookies are remembered. Beyond, the one that was used longest ago is forgotten.
    public var fastOpenPeers = 64
    /// The first port that connections are opened from (RFC 6056 §3.2).
    public var firstPort: UInt16 = 49_152
    /// The last of them, not below the first.
    public var lastPort: UInt16 = 65_535
    /// Bytes of memory for all that waits to be read or to be acknowledged: a multiple of 4,096 is best. Beyond: a segment is
    /// dropped as if it were lost, and SEND takes nothing (``TCPCounters/noBuffer``).
    public var ringMemory = 16 << 20
    /// Segments in flight, of all connections. Beyond, segments wait (``TCPCounters/noRecord``).
    public var sentRecords = 16_384
    /// Ranges that came before their turn, of all connections. Beyond, what came is dropped (``TCPCounters/tooManyRanges``).
    public var ranges = 16_384
    /// The same of one connection.
    public var rangesPerConnection: UInt16 = 4_096
    /// Bytes of a connection that may wait to be read, once it has shown that it needs so many. The scale of the window is chosen
    /// for it (RFC 7323 §2.3).
    public var receiveLimit: UInt32 = 4 << 20
    /// Bytes of a connection that may wait to be acknowledged, once it has shown that it needs so many.
    public var sendLimit: UInt32 = 4 << 20
    /// Bytes of a connection that may wait to be read at its start.
    public var initialReceiveLimit: UInt32 = 64 << 10
    /// Bytes of a connection that may wait to be acknowledged at its start.
    public var initialSendLimit: UInt32 = 64 << 10
    /// R2 (RFC 9293 §3.8.3): a connection is given up after so many retransmissions, and ``leastR2``.
    public var retries: UInt8 = 15
    /// R2 of a SYN (MUST-23), and of a SYN,ACK, for which the count alone is enough.
    public var synRetries: UInt8 = 6
    /// Different ``TCPSettings`` that connections and listeners may have at the same time, 65,535 at most. Beyond, settings are
    /// refused (``TCPCounters/noSettings``).
    public var settings = 256
    /// What connections use whose settings do not say.
    public var congestion = CongestionAlgorithm.cubic
    /// Whether connections take part in congestion notification (RFC 3168).
    public var ecn = ECNUse.whenAsked
    /// Whether algorithms that set no rate are paced too, by their window and round trip.
    public var pacesAll = false
    /// Segments of a frame that links cut, 16 at most, if all links of the stack do (``InterfaceConfiguration/cutsSegments``).
    public var segmentsPerFrame: UInt8 = 16

    // What arithmetic on the packet path wants: plain nanoseconds.
    var delayedAckNanoseconds: Int64 = 40_000_000
    var timeWaitNanoseconds: Int64 = 60_000_000_000
    var reopenNanoseconds: Int64 = 10_000_000
    var leastR2Nanoseconds: Int64 = 100_000_000_000
    var synR2Nanoseconds: Int64 = 180_000_000_000
    var orphanTimeoutNanoseconds: Int64 = 100_000_000_000
    var finWait2Nanoseconds: Int64 = 60_000_000_000
    /// Bytes of the largest packet, lowered by the stack to what every interface takes and every frame holds.
    var mtu: UInt16 = .max
    /// Whether every link completes the checksums of what goes: set by the stack.
    var checksumPartial = false

    /// The defaults, which fit a server of a thousand connections.
    public init() {}
}

extension TCPLimits {
    /// How long an ACK may wait for company: below 500 ms (MUST-40).
    public var delayedAck: Duration {
        get { .nanoseconds(delayedAckNanoseconds) }
        set { delayedAckNanoseconds = newValue.saturatedNanoseconds }
    }

    /// 2 MSL: how long a connection stays in TIME-WAIT (MUST-13).
    public var timeWait: Duration {
        get { .nanoseconds(timeWaitNanoseconds) }
        set { timeWaitNanoseconds = newValue.saturatedNanoseconds }
    }

    /// How long a connection to the same end leaves a port alone whose last one is in TIME-WAIT here, if that had timestamps
    /// (RFC 6191 §2); without them it is a second. Not less than two milliseconds are needed for the timestamps to have moved on.
    public var reopen: Duration {
        get { .nanoseconds(reopenNanoseconds) }
        set { reopenNanoseconds = max(2_000_000, newValue.saturatedNanoseconds) }
    }

    /// The shortest time before a connection is given up, whatever ``retries`` says (SHLD-11).
    public var leastR2: Duration {
        get { .nanoseconds(leastR2Nanoseconds) }
        set { leastR2Nanoseconds = newValue.saturatedNanoseconds }
    }

    /// The same before OPEN is (MUST-23: three minutes at least).
    public var synR2: Duration {
        get { .nanoseconds(synR2Nanoseconds) }
        set { synR2Nanoseconds = newValue.saturatedNanoseconds }
    }

    /// How long bytes of a connection that was released may wait for an acknowledgement.
    public var orphanTimeout: Duration {
        get { .nanoseconds(orphanTimeoutNanoseconds) }
        set { orphanTimeoutNanoseconds = newValue.saturatedNanoseconds }
    }

    /// How long a connection that was released waits for the peer's FIN.
    public var finWait2: Duration {
        get { .nanoseconds(finWait2Nanoseconds) }
        set { finWait2Nanoseconds = newValue.saturatedNanoseconds }
    }
}
