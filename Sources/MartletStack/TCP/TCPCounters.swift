// What the TCP of a stack counts. Counts wrap, after 584 years at a thousand million a second.

/// Counts of what happened in TCP, of all connections together, since the stack was made.
public struct TCPCounters: BitwiseCopyable, Sendable {
    /// Segments that came whole, whoever they were for.
    public internal(set) var segmentsIn: UInt64 = 0
    /// Segments that went.
    public internal(set) var segmentsOut: UInt64 = 0
    /// Of those that came for a connection: the next in order or a plain ACK, as predicted.
    public internal(set) var fastPath: UInt64 = 0
    /// Of those that came for a connection: all others.
    public internal(set) var slowPath: UInt64 = 0
    /// Segments dropped for a header or options that cannot be.
    public internal(set) var malformed: UInt64 = 0
    /// Segments dropped for a wrong checksum (MUST-3).
    public internal(set) var badChecksum: UInt64 = 0
    /// Segments for no connection and no listener.
    public internal(set) var noConnection: UInt64 = 0
    /// Resets sent.
    public internal(set) var resetsOut: UInt64 = 0
    /// ACKs that answer a SYN, RST or ACK that may be forged (RFC 5961).
    public internal(set) var challengeAcks: UInt64 = 0
    /// Segments out of the window.
    public internal(set) var outOfWindow: UInt64 = 0
    /// Segments whose timestamp is older than what was seen (PAWS, RFC 7323 §5).
    public internal(set) var oldTimestamps: UInt64 = 0
    /// Bytes not taken because the memory of all rings was short.
    public internal(set) var noBuffer: UInt64 = 0
    /// Windows that did not grow, because the memory of all rings was short.
    public internal(set) var windowsHeldBack: UInt64 = 0
    /// Segments that waited, because there were ``TCPLimits/sentRecords`` in flight.
    public internal(set) var noRecord: UInt64 = 0
    /// ICMP errors that quote no segment in flight.
    public internal(set) var strangeICMP: UInt64 = 0
    /// Segments dropped because there were as many ranges out of order as there may be.
    public internal(set) var tooManyRanges: UInt64 = 0
    /// Segments sent again.
    public internal(set) var retransmits: UInt64 = 0
    /// Retransmission timeouts.
    public internal(set) var timeouts: UInt64 = 0
    /// Probes sent for lost tails (RFC 8985 §7).
    public internal(set) var tailProbes: UInt64 = 0
    /// Probes sent to idle peers.
    public internal(set) var keepAliveProbes: UInt64 = 0
    /// Connections whose retransmissions reached R1.
    public internal(set) var suspectPaths: UInt64 = 0
    /// Connections that were reset because their time to linger was over.
    public internal(set) var lingersEnded: UInt64 = 0
    /// Challenge ACKs and answers to strays that were not sent, as there were too many.
    public internal(set) var answersWithheld: UInt64 = 0
    /// Fast recoveries begun.
    public internal(set) var fastRecoveries: UInt64 = 0
    /// Timeouts that were for nothing, and have been taken back.
    public internal(set) var spuriousTimeouts: UInt64 = 0
    /// Fast recoveries that were for nothing, and have been taken back.
    public internal(set) var spuriousRecoveries: UInt64 = 0
    /// Timeouts at which a peer had thrown away what it had reported (RFC 2018 §8).
    public internal(set) var reneges: UInt64 = 0
    /// Losses that a tail-loss probe has repaired.
    public internal(set) var tailRepairs: UInt64 = 0
    /// Marks of congestion received.
    public internal(set) var marksIn: UInt64 = 0
    /// Windows reduced because the peer echoed a mark.
    public internal(set) var echoesIn: UInt64 = 0
    /// Reports of duplicates (DSACK) received.
    public internal(set) var duplicateReportsIn: UInt64 = 0
    /// Reports of duplicates (DSACK) sent.
    public internal(set) var duplicateReportsOut: UInt64 = 0
    /// SYNs, and ACKs that would have completed a handshake, that were not taken: too many connections waited to be accepted, or the
    /// table of connections was full.
    public internal(set) var listenOverflows: UInt64 = 0
    /// SYNs that were not answered because the SYN queue was full.
    public internal(set) var synsDropped: UInt64 = 0
    /// Handshakes whose last ACK has never come.
    public internal(set) var handshakesExpired: UInt64 = 0
    /// SYN cookies sent.
    public internal(set) var synCookiesOut: UInt64 = 0
    /// SYN cookies brought back.
    public internal(set) var synCookiesIn: UInt64 = 0
    /// SYN cookies guessed wrongly, or too old.
    public internal(set) var synCookiesForged: UInt64 = 0
    /// Connections in TIME-WAIT that a new one between the same ends took over.
    public internal(set) var timeWaitsReused: UInt64 = 0
    /// Connections in TIME-WAIT that ended early because there were too many.
    public internal(set) var timeWaitsRecycled: UInt64 = 0
    /// Connections opened by a Fast Open cookie.
    public internal(set) var fastOpensIn: UInt64 = 0
    /// SYNs whose Fast Open cookie was wrong.
    public internal(set) var fastOpensRefused: UInt64 = 0
    /// SYNs with a right cookie that found too many such connections pending.
    public internal(set) var fastOpenOverflows: UInt64 = 0
    /// SYNs that left with data.
    public internal(set) var fastOpensOut: UInt64 = 0
    /// SYNs whose data had to be sent again.
    public internal(set) var fastOpensRepeated: UInt64 = 0
    /// SYNs with a cookie that were lost while one without went through.
    public internal(set) var fastOpenBlackHoles: UInt64 = 0
    /// Settings refused, because there were too many different ones.
    public internal(set) var noSettings: UInt64 = 0
}
