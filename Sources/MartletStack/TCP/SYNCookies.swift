// SYN cookies: a handshake of which nothing is kept, because our sequence number says what is needed (RFC 4987 §3.6).
//
//     ISS     │ minute: 5 │ MSS: 3 │ tag of the ends: 8 │ tag of the ends and of IRS: 16 │
//     TSval   │ the clock, less its last bits: 26       │ ECN: 1 │ SACK: 1 │ scale: 4    │
//
// Both tags are keyed, and cover all that the cookie says; a guess is right once in 2²⁴, in two of each 32 minutes. The first alone tells
// a segment that comes ahead of the one that completes the handshake: to reset it would end a connection that the peer has.

struct SYNCookies: BitwiseCopyable, Sendable {
    private let key: SipHash.Key

    init(key: SipHash.Key) { self.key = key }

    /// What an ACK says of the cookie that it acknowledges.
    enum Verdict {
        case forged
        /// True, but this is not the segment right behind the SYN.
        case ahead
        case complete(HalfOpen)
    }

    /// Cookies count in minutes, and are good for the one in which they were made and the next.
    static func minute(_ now: Instant) -> UInt32 { UInt32(truncatingIfNeeded: now.nanoseconds / 60_000_000_000) }

    /// What a cookie can say of the peer's MSS: the largest that is not above it.
    private static func size(_ number: UInt32) -> UInt16 {
        switch number {
        case 0: 64
        case 1: 536
        case 2: 1220
        case 3: 1300
        case 4: 1400
        case 5: 1440
        case 6: 1460
        default: 8960
        }
    }

    private static func number(ofSize size: UInt16) -> UInt32 {
        var number: UInt32 = 7
        while number > 0, Self.size(number) > size { number -= 1 }
        return number
    }

    private static var optionBits: UInt32 { 63 }
    private static var noScale: UInt32 { 15 }

    private static func bits(_ halfOpen: HalfOpen) -> UInt32 {
        guard halfOpen.flags.contains(.timestamps) else { return noScale }
        return (halfOpen.flags.contains(.scaled) ? UInt32(halfOpen.sendShift) : noScale)
            | (halfOpen.flags.contains(.sack) ? 16 : 0) | (halfOpen.flags.contains(.ecn) ? 32 : 0)
    }

    private func tags(
        _ tuple: FourTuple, _ initialReceive: SequenceNumber, minute: UInt32, size: UInt32, bits: UInt32
    ) -> (ends: UInt32, all: UInt32) {
        var hash = KeyedHash(key: key)
        hash.absorb(tuple.local.high)
        hash.absorb(tuple.local.low)
        hash.absorb(tuple.remote.high)
        hash.absorb(tuple.remote.low)
        let ports = UInt64(tuple.localPort) << 16 | UInt64(tuple.remotePort)
        hash.absorb(ports << 32 | UInt64(minute & 0xFFFF) << 16 | UInt64(size << 8 | bits))
        let ends = hash.finish()
        hash.absorb(UInt64(initialReceive.bits))
        return (UInt32(truncatingIfNeeded: ends & 0xFF), UInt32(truncatingIfNeeded: hash.finish() & 0xFFFF))
    }

    /// What goes instead of keeping `halfOpen`: an initial sequence number, which takes the place of the one there, with options that the
    /// cookie has no room for taken out.
    func make(_ halfOpen: inout HalfOpen, _ tuple: FourTuple, at now: Instant) {
        // Without timestamps there is no place for these.
        if !halfOpen.flags.contains(.timestamps) {
            halfOpen.flags.remove([.scaled, .sack, .ecn])
            halfOpen.receiveShift = 0
        }
        halfOpen.flags.remove(.givesCookie)
        let offered = halfOpen.maximumSegmentSize
        let size = Self.number(ofSize: offered == 0 ? (tuple.isIPv4 ? 536 : 1220) : offered)
        let minute = Self.minute(now)
        let tags = tags(tuple, halfOpen.initialReceive, minute: minute, size: size, bits: Self.bits(halfOpen))
        halfOpen.initialSend = SequenceNumber((minute & 31) << 27 | size << 24 | tags.ends << 16 | tags.all)
    }

    /// TSval of a SYN-ACK whose options are to come back with it: not above the clock, so that the next is not below it.
    func timestamp(_ clock: UInt32, of halfOpen: HalfOpen) -> UInt32 {
        let bits = Self.bits(halfOpen)
        let value = clock & ~Self.optionBits | bits
        return bits > clock & Self.optionBits ? value &- (Self.optionBits + 1) : value
    }

    /// Looks at what a segment with an ACK acknowledges.
    func check(_ segment: Segment, _ tuple: FourTuple, listener: UInt16, receiveShift: UInt8, at now: Instant)
        -> Verdict
    {
        let cookie = (segment.acknowledgment - 1).bits
        let current = Self.minute(now)
        let age = (current &- cookie >> 27) & 31
        guard age <= 1 else { return .forged }
        let size = cookie >> 24 & 7
        let bits =
            segment.options.hasTimestamps ? segment.options.timestampEcho & Self.optionBits : Self.noScale
        let initialReceive = segment.sequence - 1
        let tags = tags(tuple, initialReceive, minute: current &- age, size: size, bits: bits)
        guard cookie >> 16 & 0xFF == tags.ends else { return .forged }
        guard cookie & 0xFFFF == tags.all else { return .ahead }
        var halfOpen = HalfOpen(
            initialSend: SequenceNumber(cookie), initialReceive: initialReceive,
            maximumSegmentSize: Self.size(size), listener: listener)
        guard segment.options.hasTimestamps else { return .complete(halfOpen) }
        halfOpen.flags.insert(.timestamps)
        halfOpen.timestamp = segment.options.timestampValue
        if bits & 15 != Self.noScale {
            halfOpen.flags.insert(.scaled)
            halfOpen.sendShift = UInt8(truncatingIfNeeded: bits & 15)
            halfOpen.receiveShift = receiveShift
        }
        if bits & 16 != 0 { halfOpen.flags.insert(.sack) }
        if bits & 32 != 0 { halfOpen.flags.insert(.ecn) }
        return .complete(halfOpen)
    }
}
