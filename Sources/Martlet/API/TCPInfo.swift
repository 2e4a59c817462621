// TCP_INFO, tcp(7): what the kernel, or our own stack, knows of a connection.

internal import CMartlet
internal import MartletStack

/// Statistics of a TCP connection in Linux's terms.
public struct TCPInfo: Sendable, Hashable {
    /// States of RFC 9293 §3.3.2.
    public enum State: UInt8, Sendable {
        case established = 1, synSent, synReceived, finWait1, finWait2, timeWait, closed, closeWait, lastACK, listen,
            closing
    }

    public let state: State?
    /// Smoothed round-trip time, its variance, and the smallest seen.
    public let srtt: Duration
    public let rttVariance: Duration
    public let minRTT: Duration
    /// Retransmission timeout.
    public let rto: Duration
    /// Maximum segment sizes in bytes, sending and receiving.
    public let sendMSS: Int
    public let receiveMSS: Int
    /// Path MTU in bytes.
    public let pathMTU: Int
    /// Congestion window and slow-start threshold, in segments.
    public let cwnd: Int
    public let ssthresh: Int
    /// Segments in flight, thought lost, and retransmitted over the connection's life.
    public let unacked: Int
    public let lost: Int
    public let totalRetransmits: Int
    /// Bytes handed to the kernel and not yet sent.
    public let notSentBytes: Int
    /// Bytes acknowledged by the peer, and received from it.
    public let bytesAcked: UInt64
    public let bytesReceived: UInt64
    /// Segments over the connection's life.
    public let segmentsOut: UInt64
    public let segmentsIn: UInt64
    /// Rates in bytes a second.
    public let deliveryRate: UInt64
    public let pacingRate: UInt64

    init(_ info: martlet_tcp_info) {
        state = State(rawValue: info.state)
        srtt = .microseconds(info.rtt_us)
        rttVariance = .microseconds(info.rtt_variance_us)
        minRTT = .microseconds(info.min_rtt_us)
        rto = .microseconds(info.rto_us)
        sendMSS = Int(info.sender_mss)
        receiveMSS = Int(info.receiver_mss)
        pathMTU = Int(info.path_mtu)
        cwnd = Int(info.congestion_window)
        ssthresh = Int(info.slow_start_threshold)
        unacked = Int(info.unacked)
        lost = Int(info.lost)
        totalRetransmits = Int(info.total_retransmits)
        notSentBytes = Int(info.notsent_bytes)
        bytesAcked = info.bytes_acked
        bytesReceived = info.bytes_received
        segmentsOut = info.segments_out
        segmentsIn = info.segments_in
        deliveryRate = info.delivery_rate
        pacingRate = info.pacing_rate
    }

    init(_ info: MartletStack.TCPInfo) {
        state = State(rawValue: info.state.rawValue)
        srtt = .microseconds(info.rtt)
        rttVariance = .microseconds(info.rttvar)
        minRTT = .microseconds(info.minRtt)
        rto = .microseconds(info.rto)
        sendMSS = Int(info.sndMss)
        receiveMSS = Int(info.rcvMss)
        pathMTU = Int(info.pmtu)
        cwnd = Int(info.sndCwnd)
        ssthresh = Int(info.sndSsthresh)
        unacked = Int(info.unacked)
        lost = Int(info.lost)
        totalRetransmits = Int(info.totalRetrans)
        notSentBytes = Int(info.notsentBytes)
        bytesAcked = info.bytesAcked
        bytesReceived = info.bytesReceived
        segmentsOut = UInt64(info.segsOut)
        segmentsIn = UInt64(info.segsIn)
        // A stack measures no rate of delivery but where its congestion control asks for one.
        deliveryRate = 0
        pacingRate = info.pacingRate
    }
}
