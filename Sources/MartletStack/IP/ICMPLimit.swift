// Whether an ICMP error may be sent: the rules of RFC 1122 §3.2.2, RFC 1812 §4.3.2.7 and RFC 4443 §2.4(e), and how often:
// RFC 1812 §4.3.2.8 and RFC 4443 §2.4(f).
//
// The rules keep one packet from being answered by thousands, and an answer from being answered. The rate keeps us from being
// used against others. It is blurred at random, because a limit that is the same for all can be measured by one of them to
// learn what another has sent (as "SAD DNS" did, CVE-2020-25705).

/// Why a packet must not be answered by an ICMP error.
enum ICMPSilence: UInt8, BitwiseCopyable {
    /// The source is unspecified, loopback, multicast, broadcast or reserved: it names no single host.
    case source
    /// It was sent to a group, or to everybody, by its address.
    case groupDestination
    /// The frame was sent to a group of the link.
    case groupFrame
    /// It is not the first fragment.
    case laterFragment
    /// It is an ICMP error, or a redirect.
    case icmpError
    /// The limit is reached.
    case rate
}

/// What the rules need to know of a packet.
struct ICMPCause: BitwiseCopyable {
    var source: IPAddress
    var destination: IPAddress
    /// The destination is the broadcast address of one of our networks.
    var isBroadcast = false
    /// The frame's destination was a group's or everybody's.
    var isGroupFrame = false
    var isFirstFragment = true
    /// The type of the ICMP message in it; `nil` if it holds none.
    var icmpType: UInt8?
    /// The error is a Packet Too Big, or a Parameter Problem with code 2, which RFC 4443 §2.4(e.3) lets answer multicast.
    var mayAnswerGroup = false

    /// Why no error may be sent in answer; `nil` if one may.
    var silence: ICMPSilence? {
        switch (source, destination) {
        case (.v4(let source), .v4(let destination)):
            // 0.0.0.0/8 and 240.0.0.0/4, 255.255.255.255 with it, name no host.
            let isHost = source.bits >> 24 != 0 && source.bits >> 28 != 0xf
            if !isHost || source.isLoopback || source.isMulticast { return .source }
            if destination.isMulticast || destination == .broadcast || isBroadcast { return .groupDestination }
            if isGroupFrame { return .groupFrame }
            // A rule of IPv4 alone.
            if !isFirstFragment { return .laterFragment }
            switch icmpType {
            case 3, 4, 5, 11, 12: return .icmpError
            default: return nil
            }
        case (.v6(let source), .v6(let destination)):
            if source == .any || source.isLoopback || source.isMulticast { return .source }
            // ::ffff:a.b.c.d is for programs, never for the wire.
            if source.isIPv4Mapped { return .source }
            if destination.isMulticast && !mayAnswerGroup { return .groupDestination }
            if isGroupFrame && !mayAnswerGroup { return .groupFrame }
            let redirect: UInt8 = 137
            if let icmpType, icmpType < 128 || icmpType == redirect { return .icmpError }
            return nil
        default:
            return .source
        }
    }
}

/// A token bucket for all ICMP errors of a core.
struct ICMPLimit: BitwiseCopyable {
    private let nanosecondsPerMessage: Int64
    private let burst: Int64
    /// The instant at which the bucket was, or will be, full.
    private var fullAt: Instant
    private(set) var sent: UInt64 = 0
    private(set) var limited: UInt64 = 0

    /// A full bucket, of `burst` messages, that fills with `messagesPerSecond`.
    init(messagesPerSecond: Int = 1000, burst: Int = 50, now: Instant) {
        precondition(messagesPerSecond > 0 && messagesPerSecond <= 1_000_000_000 && burst > 0 && burst <= 1_000_000)
        nanosecondsPerMessage = 1_000_000_000 / Int64(messagesPerSecond)
        self.burst = Int64(burst)
        fullAt = now
    }

    /// Whether a message may be sent; it counts as sent then.
    mutating func take(at now: Instant, using random: inout some RandomNumberGenerator) -> Bool {
        let start = max(fullAt, now)
        // Up to an eighth of the bucket is held back, each time another part of it.
        let held = Int64.random(in: 0...burst / 8, using: &random)
        let latest = now.advanced(byNanoseconds: (burst - held) * nanosecondsPerMessage)
        let next = start.advanced(byNanoseconds: nanosecondsPerMessage)
        guard next <= latest else {
            limited += 1
            return false
        }
        fullAt = next
        sent += 1
        return true
    }

    /// Both at once: why no error may be sent in answer to a packet; `nil` if one may, which then counts as sent.
    mutating func silence(
        for cause: ICMPCause, at now: Instant, using random: inout some RandomNumberGenerator
    ) -> ICMPSilence? {
        if let silence = cause.silence { return silence }
        return take(at: now, using: &random) ? nil : .rate
    }
}
