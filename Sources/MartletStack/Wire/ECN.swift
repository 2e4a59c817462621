// What the network and the sender say of congestion: the last two bits of the IPv4 and IPv6 traffic class.
//
// Hold RFC 3168 §5 beside it.

/// An ECN codepoint of an IP header.
@usableFromInline
enum ECN: UInt8, BitwiseCopyable, Sendable {
    /// Not-ECT: the transport does not take part.
    case notCapable = 0
    /// ECT(1): as ECT(0), or low-latency traffic (RFC 9331).
    case capable1 = 1
    /// ECT(0): the transport takes part.
    case capable0 = 2
    /// CE: a router on the way is congested.
    case congestionExperienced = 3

    /// The codepoint in the two lowest bits of a traffic class.
    @inlinable
    init(trafficClass: UInt8) {
        self =
            switch trafficClass & 3 {
            case 0: .notCapable
            case 1: .capable1
            case 2: .capable0
            default: .congestionExperienced
            }
    }
}
