// What can be known of a connection, in the terms of Linux's TCP_INFO (tcp(7), linux/tcp.h). Computed when it is asked for.

/// A look at a connection. Counts of segments are what Linux means by them: bytes in segments of a full size, rounded up.
public struct TCPInfo: BitwiseCopyable, Sendable, Hashable {
    /// The state (tcpi_state).
    public var state: TCPState
    /// How loss is being repaired: 0 open, 1 disorder, 3 recovery, 4 loss (TCP_CA_…).
    public var caState: UInt8
    /// Timeouts since the last ACK of something new.
    public var retransmits: UInt8
    /// Probes, of a closed window or an idle peer, that have not been answered.
    public var probes: UInt8
    /// How often the retransmission timeout or the wait between probes was doubled.
    public var backoff: UInt8
    /// What both sides agreed on: 1 timestamps, 2 SACK, 4 window scaling, 8 ECN (TCPI_OPT_…).
    public var options: UInt8
    /// Shift of the window fields that the peer sends.
    public var sndWscale: UInt8
    /// Shift of the window fields that we send.
    public var rcvWscale: UInt8
    /// The retransmission timeout in microseconds.
    public var rto: UInt32
    /// The wait before a delayed ACK in microseconds.
    public var ato: UInt32
    /// Payload bytes of a full segment of ours.
    public var sndMss: UInt32
    /// Payload bytes of the largest of the peer's segments.
    public var rcvMss: UInt32
    /// Segments in flight.
    public var unacked: UInt32
    /// Of them, those that the peer has reported received.
    public var sacked: UInt32
    /// Of them, those deemed lost.
    public var lost: UInt32
    /// Of them, those sent again.
    public var retrans: UInt32
    /// Milliseconds since the peer last sent something acceptable (tcpi_last_ack_recv).
    public var lastAckRecv: UInt32
    /// Bytes of the largest packet, its IP header included.
    public var pmtu: UInt32
    /// Bytes that may wait to be read at present.
    public var rcvSsthresh: UInt32
    /// Smoothed round-trip time in microseconds; 0 before the first sample.
    public var rtt: UInt32
    /// Its variation in microseconds; 0 before the first sample.
    public var rttvar: UInt32
    /// Slow start threshold in segments; the largest number if there is none.
    public var sndSsthresh: UInt32
    /// Congestion window in segments.
    public var sndCwnd: UInt32
    /// The MSS that was offered to the peer.
    public var advmss: UInt32
    /// Segments sent again, in all.
    public var totalRetrans: UInt32
    /// Bytes a second that the congestion control spreads sending to; 0 if it does not.
    public var pacingRate: UInt64
    /// Bytes that the peer has acknowledged.
    public var bytesAcked: UInt64
    /// Bytes that came from the peer in order.
    public var bytesReceived: UInt64
    /// Segments that left, those sent again and those without bytes included.
    public var segsOut: UInt32
    /// Segments that came for the connection.
    public var segsIn: UInt32
    /// Bytes that the user has sent and that have not left yet.
    public var notsentBytes: UInt32
    /// The shortest round trip of the last ten seconds in microseconds; 0 before the first sample.
    public var minRtt: UInt32
    /// Bytes that the peer allows to be in flight.
    public var sndWnd: UInt32
    /// Bytes that the peer is allowed to have in flight.
    public var rcvWnd: UInt32
}

extension TCB {
    /// O(records of bytes in flight).
    func info(_ stack: borrowing Connections) -> TCPInfo {
        let segment = UInt32(max(mss, 1))
        let isOpen = state.isSynchronized
        var resent = 0
        var index = recordHead
        while index != SentRecords.none {
            let record = stack.records[index]
            if record.flags.contains(.retransmitted), record.flags.isDisjoint(with: [.sacked, .lost]) {
                resent += record.count
            }
            index = record.next
        }
        func segments(_ bytes: UInt32) -> UInt32 { bytes / segment + (bytes % segment > 0 ? 1 : 0) }
        let agreed: UInt8 =
            (flags.contains(.timestamps) ? 1 : 0) | (flags.contains(.sack) ? 2 : 0) | (flags.contains(.scaled) ? 4 : 0)
            | (flags.contains(.ecn) ? 8 : 0)
        let overhead: UInt16 = flags.contains(.timestamps) ? 12 : 0
        let threshold = congestion.ssthresh
        return TCPInfo(
            state: state, caState: phase.inLinuxTerms, retransmits: timerUse == .persist ? 0 : backoff, probes: probes,
            backoff: backoff, options: agreed, sndWscale: sendShift, rcvWscale: receiveShift, rto: rtt.rto,
            ato: UInt32(clamping: stack.limits.delayedAckNanoseconds / 1000), sndMss: UInt32(mss),
            rcvMss: UInt32(peerSegment),
            unacked: segments(UInt32(clamping: snd.nxt - snd.una)), sacked: segments(sackedBytes),
            lost: segments(lostBytes), retrans: segments(UInt32(clamping: resent)),
            lastAckRecv: isOpen ? UInt32(clamping: stack.nanoseconds(since: heardAt) / 1_000_000) : 0,
            pmtu: UInt32(mss) + UInt32(overhead) + UInt32(headerLength), rcvSsthresh: receiveLimit, rtt: rtt.srtt,
            rttvar: rtt.rttvar, sndSsthresh: threshold == .max ? .max : threshold / segment,
            sndCwnd: congestion.cwnd / segment, advmss: UInt32(stack.limits.mtu - headerLength),
            totalRetrans: statistics.retransmits, pacingRate: congestion.pacingRate,
            bytesAcked: statistics.bytesAcked, bytesReceived: statistics.bytesReceived,
            segsOut: statistics.segmentsOut, segsIn: statistics.segmentsIn,
            notsentBytes: UInt32(clamping: snd.end - snd.nxt), minRtt: minimumRTT.value == .max ? 0 : minimumRTT.value,
            sndWnd: snd.wnd, rcvWnd: UInt32(clamping: rcv.wnd))
    }
}

extension RecoveryPhase {
    fileprivate var inLinuxTerms: UInt8 {
        switch self {
        case .open: 0
        case .disorder: 1
        case .reduced: 2
        case .recovery: 3
        case .loss: 4
        }
    }
}
