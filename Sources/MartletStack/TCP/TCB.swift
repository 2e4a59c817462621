// The transmission control block: all that a connection is (RFC 9293 §3.3.1).
//
//      sent and acknowledged   in flight             may be sent      not yet allowed
//     ───────────────────────┬─────────────────────┬────────────────┬───────────────▶  sequence space, sending
//                         SND.UNA               SND.NXT      SND.UNA + SND.WND
//
//      received                                 may be received      not yet allowed
//     ─────────────────────────────────────────┬────────────────────┬───────────────▶  sequence space, receiving
//                  read by the user ▶ READ   RCV.NXT         RCV.NXT + RCV.WND
//
// Plain bytes of a fixed size in a preallocated table. The fields that a segment touches on its fast path share the first two
// cache lines; a test holds them there. Nothing here knows of frames, addresses on the link, or tasks.

/// Sending (RFC 9293 §3.3.1, figure 3).
@usableFromInline
struct SendSequence: BitwiseCopyable {
    /// The oldest number that is not acknowledged.
    @usableFromInline var una = SequenceNumber(0)
    /// The next to be sent.
    @usableFromInline var nxt = SequenceNumber(0)
    /// Bytes that the peer allows from `una` on, scaled.
    @usableFromInline var wnd: UInt32 = 0
    /// SEG.SEQ and SEG.ACK of the segment that `wnd` came with.
    @usableFromInline var wl1 = SequenceNumber(0)
    @usableFromInline var wl2 = SequenceNumber(0)
    /// Behind the last byte that the user has sent; the FIN, if there is to be one, has this number.
    @usableFromInline var end = SequenceNumber(0)
}

/// Receiving (RFC 9293 §3.3.1, figure 4).
@usableFromInline
struct ReceiveSequence: BitwiseCopyable {
    /// The next that is expected.
    @usableFromInline var nxt = SequenceNumber(0)
    /// The right edge that has been announced: it never moves back.
    @usableFromInline var edge = SequenceNumber(0)
    /// The next that the user has not read.
    @usableFromInline var read = SequenceNumber(0)

    /// RCV.WND.
    @usableFromInline var wnd: Int { edge - nxt }

    /// RFC 9293 §3.10.7.4, first: the four cases of a receive window.
    @inline(__always)
    func accepts(_ segment: Segment) -> Bool {
        let window = wnd
        let length = segment.length
        if length == 0 {
            if window == 0 { return segment.sequence == nxt }
            return segment.sequence >= nxt && segment.sequence < edge
        }
        // With a window of zero the ACK, RST and URG of the next segment are still valid; its data is cut off (MUST-66).
        if window == 0 {
            return segment.sequence == nxt
                && (segment.payloadLength == 0 || !segment.flags.isDisjoint(with: [.ack, .rst]))
        }
        let last = segment.sequence + (length - 1)
        return (segment.sequence >= nxt && segment.sequence < edge) || (last >= nxt && last < edge)
    }
}

/// What a connection owes its peer. `Transmit` pays in the same round.
@usableFromInline
struct Owed: OptionSet, BitwiseCopyable {
    @usableFromInline var rawValue: UInt8
    @usableFromInline init(rawValue: UInt8) { self.rawValue = rawValue }
    /// SYN, SYN-ACK, RST, or a probe: whatever must not wait behind data.
    @usableFromInline static var control: Owed { Owed(rawValue: 1) }
    /// An ACK now.
    @usableFromInline static var ack: Owed { Owed(rawValue: 2) }
    /// Data, a retransmission or a FIN, if windows allow.
    @usableFromInline static var data: Owed { Owed(rawValue: 4) }
    @usableFromInline static var reset: Owed { Owed(rawValue: 8) }
    /// One segment although no window allows it: a zero-window, tail-loss or keep-alive probe.
    @usableFromInline static var probe: Owed { Owed(rawValue: 16) }
}

/// What is known or agreed of a connection, a bit each.
@usableFromInline
struct TCBFlags: OptionSet, BitwiseCopyable {
    @usableFromInline var rawValue: UInt32
    @usableFromInline init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Agreed in the SYNs.
    @usableFromInline static var timestamps: TCBFlags { TCBFlags(rawValue: 1 << 0) }
    @usableFromInline static var sack: TCBFlags { TCBFlags(rawValue: 1 << 1) }
    @usableFromInline static var scaled: TCBFlags { TCBFlags(rawValue: 1 << 2) }
    /// Small segments go at once: no waiting for ACKs (Nagle).
    @usableFromInline static var noDelay: TCBFlags { TCBFlags(rawValue: 1 << 4) }
    /// Partial segments wait until the user wants no more of it.
    @usableFromInline static var corked: TCBFlags { TCBFlags(rawValue: 1 << 5) }
    /// The corked have waited long enough: once, a partial segment goes.
    @usableFromInline static var pushOnce: TCBFlags { TCBFlags(rawValue: 1 << 6) }
    /// Opened by `connect` and not by a listener.
    @usableFromInline static var active: TCBFlags { TCBFlags(rawValue: 1 << 7) }
    /// The user has closed: bytes that come now are refused (RFC 1122 §4.2.2.13).
    @usableFromInline static var closed: TCBFlags { TCBFlags(rawValue: 1 << 8) }
    /// The user has let go of the connection: its slot comes back when it ends.
    @usableFromInline static var released: TCBFlags { TCBFlags(rawValue: 1 << 9) }
    /// The user has said `finish` or `close`: a FIN goes behind the last byte.
    @usableFromInline static var finWanted: TCBFlags { TCBFlags(rawValue: 1 << 10) }
    /// Our FIN has been sent at least once.
    @usableFromInline static var finSent: TCBFlags { TCBFlags(rawValue: 1 << 11) }
    /// The peer's FIN has arrived, in order.
    @usableFromInline static var finReceived: TCBFlags { TCBFlags(rawValue: 1 << 12) }
    /// Each segment with data is acknowledged at once.
    @usableFromInline static var quickAck: TCBFlags { TCBFlags(rawValue: 1 << 13) }
    /// The next segment that is not a SYN tells the peer of the user timeout (RFC 5482).
    @usableFromInline static var userTimeoutOwed: TCBFlags { TCBFlags(rawValue: 1 << 14) }
    /// RCV.UP is ahead of what the user has read, and SND.UP of what is acknowledged.
    @usableFromInline static var urgentArrived: TCBFlags { TCBFlags(rawValue: 1 << 15) }
    @usableFromInline static var urgentSent: TCBFlags { TCBFlags(rawValue: 1 << 16) }
    /// The user was refused room and wants to hear of it.
    @usableFromInline static var wantsRoom: TCBFlags { TCBFlags(rawValue: 1 << 17) }
    /// The settings say something of IP headers.
    @usableFromInline static var ownHeader: TCBFlags { TCBFlags(rawValue: 1 << 18) }
    /// cwnd was the limit when segments were last sent (RFC 7661).
    @usableFromInline static var cwndLimited: TCBFlags { TCBFlags(rawValue: 1 << 19) }
    /// ECN was offered in our SYN, or is agreed.
    static var ecn: TCBFlags { TCBFlags(rawValue: 1 << 20) }
    /// A mark of congestion has come, and ACKs say so.
    static var echoesMark: TCBFlags { TCBFlags(rawValue: 1 << 21) }
    /// The window was reduced: the next new data carries CWR; and it has, and is not acknowledged.
    static var reductionOwed: TCBFlags { TCBFlags(rawValue: 1 << 22) }
    static var reductionTold: TCBFlags { TCBFlags(rawValue: 1 << 23) }
    /// A full-size segment was lost, or the size has changed: the next that arrives is to be reported.
    static var pathDoubted: TCBFlags { TCBFlags(rawValue: 1 << 24) }
    /// To be reported to whoever searches the path's MTU.
    static var fullSizeLost: TCBFlags { TCBFlags(rawValue: 1 << 25) }
    static var fullSizeArrived: TCBFlags { TCBFlags(rawValue: 1 << 26) }
    /// An ICMP error has said that the peer is not reached, and nothing was acknowledged since.
    static var unreachable: TCBFlags { TCBFlags(rawValue: 1 << 27) }
    /// The number of a ``TCPSoftError``, in three bits.
    static var softErrors: TCBFlags { TCBFlags(rawValue: 7 << 29) }
    /// Though congestion notification is agreed, nothing that we send says that it may be marked.
    static var unmarked: TCBFlags { TCBFlags(rawValue: 1 << 28) }
    /// What is known of the path is to be told: the connection begins.
    static var pathUnknown: TCBFlags { TCBFlags(rawValue: 1 << 3) }
}

/// How a connection was opened (RFC 7413).
struct OpeningFlags: OptionSet, BitwiseCopyable {
    var rawValue: UInt8
    /// Our SYN had a Fast Open cookie or asked for one; or the peer's had one, and was believed.
    static var fastOpen: OpeningFlags { OpeningFlags(rawValue: 1) }
    /// The SYN-ACK brings the peer a new cookie.
    static var givesCookie: OpeningFlags { OpeningFlags(rawValue: 2) }
}

/// How loss is being repaired (RFC 6582, 6675, 8985).
@usableFromInline
enum RecoveryPhase: UInt8, BitwiseCopyable {
    /// Nothing is known to be missing.
    case open
    /// The peer reports holes that are not yet deemed lost.
    case disorder
    /// Fast recovery: what is lost is sent again under PRR, until all that was out at its start is acknowledged.
    case recovery
    /// A timeout has happened, and not all that was out then is acknowledged.
    case loss
    /// Nothing is missing, but the window is being reduced, also under PRR: a mark of congestion was echoed, or the probe of a
    /// tail has repaired a loss.
    case reduced

    /// Whether the congestion control has reduced its window and waits for the end of that.
    var isReduced: Bool { self == .recovery || self == .loss || self == .reduced }
}

/// A connection.
///
/// In the order of use, and nearly without holes: small fields stand behind those whose size is not a multiple of four.
/// Functions that only look at a connection are inlined on the packet path: the compiler would copy all of it to call them.
@usableFromInline
struct TCB: BitwiseCopyable {
    // Line 0: what each arriving segment reads and most write.
    @usableFromInline var rcv = ReceiveSequence()
    @usableFromInline var snd = SendSequence()
    @usableFromInline var state = TCPState.closed
    @usableFromInline var phase = RecoveryPhase.open
    @usableFromInline var sendShift: UInt8 = 0
    @usableFromInline var receiveShift: UInt8 = 0
    @usableFromInline var flags = TCBFlags(rawValue: 0)
    /// TS.Recent and Last.ACK.sent (RFC 7323 §4.3).
    @usableFromInline var recentTimestamp: UInt32 = 0
    @usableFromInline var lastAckSent = SequenceNumber(0)
    @usableFromInline var receiveRing = ByteRing.none
    @usableFromInline var owed = Owed(rawValue: 0)
    var events = ConnectionEvents(rawValue: 0)
    /// Full segments received since the last ACK, and ACKs to be sent at once at the start (RFC 5681 §4.2).
    @usableFromInline var unacknowledgedSegments: UInt8 = 0
    /// Payload of a full segment: what the peer takes less the options that each segment carries.
    @usableFromInline var mss: UInt16 = 536
    /// The largest payload that has come lately: what the peer's full segments are.
    @usableFromInline var peerSegment: UInt16 = 536

    // Line 1: whose segment it is, and what sending touches.
    var tuple = FourTuple(localAddress: .v4(.any), localPort: 0, remoteAddress: .v4(.any), remotePort: 0)
    var slot: UInt32 = 0
    @usableFromInline var sendRing = ByteRing.none
    @usableFromInline var quickAcks: UInt8 = 0
    /// The largest window field that has come, to be scaled: a small window is silly beside it (RFC 9293 §3.8.6.2.1).
    @usableFromInline var greatestWindow: UInt16 = 0
    @usableFromInline var recordHead = SentRecords.none
    /// What came before its turn.
    @usableFromInline var outOfOrder = RangeList()
    @usableFromInline var duplicateAcks: UInt8 = 0
    @usableFromInline var backoff: UInt8 = 0

    // What ACKs touch: the measures of the path, the congestion controller, and the repair of loss.
    var statistics = TCPStatistics()
    /// Of the bytes in flight: reported received, and deemed lost and not yet sent again.
    @usableFromInline var sackedBytes: UInt32 = 0
    @usableFromInline var lostBytes: UInt32 = 0
    @usableFromInline var recordTail = SentRecords.none
    /// The ring of what is under way; and where the peer's last SACK ended.
    var sendOrder = SentRecords.none
    var sackFinger = SentRecords.none
    /// When the peer last sent something acceptable, in ticks of `Connections`.
    var heardAt: UInt32 = 0
    @usableFromInline var timestampOffset: UInt32 = 0
    var rtt = RTT()
    /// Probes since the peer last said something: of a closed window, of an idle connection, or the one of a tail.
    @usableFromInline var probes: UInt8 = 0
    /// The order of a ring for as many bytes as the user read at once when it last read all.
    var receiveOrder: UInt8 = 0
    var minimumRTT = MinimumRTT()
    /// When TS.Recent came, as ``Connections/epoch(of:)`` counts.
    var recentTimestampAt: UInt32 = 0
    var rack = RACK()
    /// What the retransmission timer is armed for.
    var timerUse = RetransmitTimer.timeout
    var error: TCPError?
    var opening = OpeningFlags(rawValue: 0)
    var rate = DeliveryRate(now: .zero)
    var pacing = Pacing()
    /// Bytes that may wait to be read.
    @usableFromInline var receiveLimit: UInt32 = 65_536
    /// Behind what was out when this recovery, or loss, began. While nothing is being repaired: behind the tail-loss probe
    /// that is awaiting its ACK (TLP.end_seq).
    var recoveryPoint = SequenceNumber(0)
    var congestion = CongestionControl(.cubic)
    /// What the peer takes, options included.
    @usableFromInline var peerMSS: UInt16 = 536
    /// Where the segment with CWR began, while `reductionTold`.
    var reductionPoint = SequenceNumber(0)
    /// What it needs while something is being repaired, if it has taken that; and the ring of what is lost.
    var repair = Repairs.none
    var lostOrder = SentRecords.none

    // What is seldom asked for.
    var generation: UInt32 = 0
    /// The one behind it among those that wait to be accepted.
    var nextAccepted = Listeners.absent
    /// The number of its settings in the stack's table.
    var settings: UInt16 = 0
    /// Seconds; 0 for what the stack's limits say.
    var userTimeout: UInt16 = 0
    /// Ticks of `Connections`: since when nothing is acknowledged that should be; and until when answers to strays are spread out.
    var stalledAt: UInt32 = 0
    var answersUntil: UInt32 = 0
    var readMeasure = ReadMeasure()

    init() {}

    /// ISS: SND.UNA, less all that was acknowledged.
    var initialSend: SequenceNumber {
        SequenceNumber(snd.una.bits &- UInt32(truncatingIfNeeded: statistics.bytesAcked))
    }

    /// IRS, once it is known: RCV.NXT, less the SYN, all that was received, and the FIN.
    var initialReceive: SequenceNumber {
        let controls: UInt32 = flags.contains(.finReceived) ? 2 : 1
        return SequenceNumber(rcv.nxt.bits &- UInt32(truncatingIfNeeded: statistics.bytesReceived) &- controls)
    }

    /// Sets ISS: nothing has been sent yet.
    mutating func setInitialSend(_ number: SequenceNumber) {
        snd.una = number
        snd.nxt = number
        snd.end = number + 1
    }
}

/// What has happened to a connection since its user last asked.
public struct ConnectionEvents: OptionSet, BitwiseCopyable, Sendable {
    /// A bit for each event.
    public var rawValue: UInt8
    /// The events of these bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// The handshake is complete.
    public static var established: ConnectionEvents { ConnectionEvents(rawValue: 1) }
    /// Bytes have come.
    public static var readable: ConnectionEvents { ConnectionEvents(rawValue: 2) }
    /// There is room to send after there was none.
    public static var writable: ConnectionEvents { ConnectionEvents(rawValue: 4) }
    /// The peer has finished (FIN): no bytes will come behind those that have.
    public static var finished: ConnectionEvents { ConnectionEvents(rawValue: 8) }
    /// All that was sent, the FIN included, is acknowledged.
    public static var acknowledged: ConnectionEvents { ConnectionEvents(rawValue: 16) }
    /// The connection has ended: reset, timed out, or closed by both.
    public static var ended: ConnectionEvents { ConnectionEvents(rawValue: 32) }
    /// The peer has marked bytes as urgent, or has moved the mark (RFC 9293 §3.8.5).
    public static var urgent: ConnectionEvents { ConnectionEvents(rawValue: 64) }
    /// Something is wrong that may pass: nothing is acknowledged although it was sent three times and more, or the network has said
    /// that packets do not arrive (RFC 9293 §3.8.3 and §3.9.1.8). ``Stack/softError(of:)`` says what.
    public static var suspect: ConnectionEvents { ConnectionEvents(rawValue: 128) }
}

/// Why a connection ended before its time.
public enum TCPError: UInt8, BitwiseCopyable, Sendable, Error {
    /// The peer answered the SYN with a reset (ECONNREFUSED).
    case refused
    /// The peer reset the connection (ECONNRESET).
    case reset
    /// Nothing was acknowledged for too long (ETIMEDOUT).
    case timedOut
    /// The user aborted it.
    case aborted
    /// Nothing was acknowledged for too long, and the network has said that the peer is not reached (EHOSTUNREACH).
    case unreachable
}

/// A connection's counts, in Linux's terms (TCP_INFO).
struct TCPStatistics: BitwiseCopyable, Sendable {
    var bytesAcked: UInt64 = 0
    var bytesReceived: UInt64 = 0
    var segmentsIn: UInt32 = 0
    var segmentsOut: UInt32 = 0
    var retransmits: UInt32 = 0
}

/// What the one timer of a sender waits for: these exclude each other (RFC 8985 §7.2, RFC 9293 §3.8.6.1).
enum RetransmitTimer: UInt8, BitwiseCopyable {
    /// The RTO of RFC 6298.
    case timeout
    /// The tail-loss probe.
    case tailProbe
    /// The end of the reordering window: what is still missing then is lost.
    case reordering
    /// The peer's window is closed: ask again.
    case persist
    /// Nothing is in flight, and something waits for time alone: a corked segment, or a user for memory.
    case patience
}

/// What RACK keeps of a connection (RFC 8985 §5.2): the latest delivered send time, and how much reordering to tolerate.
struct RACK: BitwiseCopyable {
    var sentAt = Instant.zero
    var end = SequenceNumber(0)
    /// Of the segment delivered last, microseconds.
    var rtt: UInt32 = 0
    var reordering = false
    /// Quarters of the shortest round trip to wait, and for how many more recoveries it stays above 1.
    var multiplier: UInt8 = 1
    var persistence: UInt8 = 0
    var tailProbe = TailProbe.none
    /// SND.NXT when a DSACK last widened the window; means something while `persistence` is above 0.
    var duplicateRound = SequenceNumber(0)
}

/// A tail-loss probe that has not been acknowledged (RFC 8985 §7.1, TLP.is_retrans).
enum TailProbe: UInt8, BitwiseCopyable {
    case none
    case newData
    case again
}
