// The way from an IPv6 header over its extension headers to the transport's.
//
//     │ IPv6 │ hop-by-hop │ routing │ fragment │ destination options │ TCP, UDP, ICMPv6, …
//        └──────┘ └──────────┘ └───────┘ └────────┘ └──────────────────┘ each names the next
//
// Hold RFC 8200 §4 beside it; RFC 5095 for routing headers, RFC 6946 for atomic fragments, RFC 7112 for first fragments.
// The walk ends at whatever is no extension header: whether that is known is for IP/IPIn to say, who then has the place of
// the field that named it. Authentication headers are not known here, so they end the walk like a transport.
//
// All offsets are in bytes from the start of the IPv6 header, which is also what a Parameter Problem points with.

/// The extension headers of one packet.
@usableFromInline
struct IPv6Extensions: BitwiseCopyable, Hashable, Sendable {
    /// The header behind the extension headers; of a fragment that is not the first, what starts the packet it is of.
    @usableFromInline var `protocol`: IPProtocol
    /// Where that header starts, or a later fragment's bytes.
    @usableFromInline var offset: UInt16
    /// Where the field is that names it.
    @usableFromInline var protocolOffset: UInt16
    /// Extension headers that were walked over.
    @usableFromInline var count: UInt8 = 0
    /// Whether routers on the way were asked to look at the packet (RFC 2711).
    @usableFromInline var hasRouterAlert = false
    /// What the fragment header says, if there is one.
    @usableFromInline var fragment: IPv6Fragment?

    @usableFromInline
    init(protocol: IPProtocol, offset: UInt16, protocolOffset: UInt16) {
        self.protocol = `protocol`
        self.offset = offset
        self.protocolOffset = protocolOffset
    }

    /// Extension headers that a packet may have, and bytes of them. RFC 8504 §5.3 allows such limits; no honest packet
    /// comes near, and a walk costs its sender nothing.
    @usableFromInline static var maximumCount: UInt8 { 8 }
    @usableFromInline static var maximumLength: Int { 256 }

    /// Why a packet is dropped without a word to its sender.
    @usableFromInline
    enum Drop: UInt8, BitwiseCopyable, Sendable {
        /// The packet ends within an extension header.
        case truncated
        /// An option is longer than the header that it stands in.
        case malformedOption
        /// There are more than 8 extension headers, or more than 256 bytes of them.
        case limit
        /// There are two fragment headers.
        case nestedFragment
        /// An option is unknown, and says that a packet with it is to be dropped silently.
        case unknownOption
    }

    /// What is wrong with a packet that is dropped, and its sender is told so.
    @usableFromInline
    struct Problem: BitwiseCopyable, Hashable, Sendable {
        /// The code of the ICMPv6 Parameter Problem.
        @usableFromInline var code: ICMPv6Message.ParameterProblem
        /// Where the field is.
        @usableFromInline var pointer: UInt16
        /// Whether the sender is told even if the packet was for a group.
        @usableFromInline var isForMulticastToo: Bool
    }

    @usableFromInline
    enum Outcome: BitwiseCopyable, Hashable, Sendable {
        case arrived(IPv6Extensions)
        case dropped(Drop)
        case problem(Problem)
    }
}

/// What a fragment header says.
@usableFromInline
struct IPv6Fragment: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var identification: UInt32
    /// Where the bytes behind the fragment header belong in the packet that was cut, in bytes: a multiple of 8.
    @usableFromInline var offset: UInt16
    @usableFromInline var moreFragments: Bool
    /// The header that stands behind the fragment header in the packet's first fragment.
    @usableFromInline var nextHeader: IPProtocol
    /// Where the fragment header starts: 8 bytes before the bytes that are put together.
    @usableFromInline var headerOffset: UInt16
    /// Where the field is that names the fragment header. Put together, it names ``nextHeader`` instead.
    @usableFromInline var namedAt: UInt16

    /// Whether this one fragment is the whole packet, to be taken on its own (RFC 6946).
    @usableFromInline var isAtomic: Bool { offset == 0 && !moreFragments }
}

extension IPv6Extensions {
    /// Walks from `header`, which was read from the start of `packet`, to what it carries.
    ///
    /// - Precondition: `packet` has `header.totalLength` bytes or more.
    @usableFromInline
    static func walk(_ header: IPv6Header, _ packet: RawSpan) -> Outcome {
        let packet = packet.extracting(0..<header.totalLength)
        var state = IPv6Extensions(
            protocol: header.nextHeader, offset: UInt16(IPv6Header.length), protocolOffset: 6)
        // Each turn either ends the walk or counts a header, of which there are at most eight.
        while true {
            let stop =
                switch state.protocol {
                case .hopByHop: state.walkHopByHop(packet)
                case .destinationOptions: state.walkOptions(packet)
                case .routing: state.walkRouting(packet)
                case .fragment: state.walkFragment(packet)
                default: state.end(packet)
                }
            if let stop { return state.firstFragmentProblem(stop) ?? stop }
        }
    }

    /// RFC 7112 §5: a first fragment has all headers in it. So one that ends within them is not merely cut short.
    private func firstFragmentProblem(_ stop: Outcome) -> Outcome? {
        guard case .dropped(.truncated) = stop, let fragment, fragment.moreFragments else { return nil }
        return Self.problem(.incompleteFirstFragment, at: 0)
    }

    private func end(_ packet: RawSpan) -> Outcome? {
        if let fragment, fragment.moreFragments {
            // RFC 7112 §5: the transport's header is of the chain, too.
            let needed =
                switch self.protocol {
                case .tcp: TCPHeader.minimumLength
                case .udp, .icmpv6: 8
                default: 0
                }
            if packet.byteCount &- Int(offset) < needed { return .dropped(.truncated) }
        }
        return .arrived(self)
    }

    /// RFC 8200 §4.3: only directly behind the IPv6 header. Elsewhere the number counts as unknown (§4).
    private mutating func walkHopByHop(_ packet: RawSpan) -> Outcome? {
        guard count == 0 else { return Self.problem(.unknownNextHeader, at: Int(protocolOffset)) }
        if let stop = walkOptions(packet) { return stop }
        hasRouterAlert = Self.hasRouterAlert(packet, IPv6Header.length &+ 2..<Int(offset))
        return nil
    }

    private mutating func walkOptions(_ packet: RawSpan) -> Outcome? {
        let start = Int(offset)
        if let stop = step(packet) { return stop }
        return Self.optionsProblem(packet, start &+ 2..<Int(offset))
    }

    private mutating func walkRouting(_ packet: RawSpan) -> Outcome? {
        let start = Int(offset)
        if let stop = step(packet) { return stop }
        // RFC 8200 §4.4, and RFC 5095 §3 for type 0: no type is known. One that has segments left is refused, as nobody
        // is to be sent around by strangers; one that has none is done, and skipped.
        if packet.byte(at: start &+ 3) != 0 { return Self.problem(.erroneousField, at: start &+ 2) }
        return nil
    }

    /// Makes the next header the current one, and the current one walked over, if that is there and within limits.
    private mutating func step(_ packet: RawSpan) -> Outcome? {
        let start = Int(offset)
        guard packet.byteCount &- start >= 8 else { return .dropped(.truncated) }
        // Fragment headers have their length reserved, and are always of 8 bytes.
        let length = self.protocol == .fragment ? 8 : (Int(packet.byte(at: start &+ 1)) &+ 1) &* 8
        guard count < Self.maximumCount, start &+ length &- IPv6Header.length <= Self.maximumLength else {
            return .dropped(.limit)
        }
        guard packet.byteCount &- start >= length else { return .dropped(.truncated) }
        self.protocol = IPProtocol(rawValue: packet.byte(at: start))
        protocolOffset = offset
        offset = UInt16(truncatingIfNeeded: start &+ length)
        count &+= 1
        return nil
    }

    private mutating func walkFragment(_ packet: RawSpan) -> Outcome? {
        guard fragment == nil else { return .dropped(.nestedFragment) }
        let (start, namedAt) = (Int(offset), protocolOffset)
        if let stop = step(packet) { return stop }
        let field = packet.uint16(at: start &+ 2)
        let fragment = IPv6Fragment(
            identification: packet.uint32(at: start &+ 4), offset: field & 0xFFF8, moreFragments: field & 1 != 0,
            nextHeader: self.protocol, headerOffset: UInt16(truncatingIfNeeded: start), namedAt: namedAt)
        self.fragment = fragment
        // RFC 8200 §4.5: all but the last fragment end at a multiple of 8 bytes, and none beyond 65,535.
        let length = packet.byteCount &- Int(offset)
        if fragment.moreFragments && length & 7 != 0 { return Self.problem(.erroneousField, at: 4) }
        if Int(fragment.offset) &+ length > 65_535 { return Self.problem(.erroneousField, at: start &+ 2) }
        return fragment.offset == 0 ? nil : .arrived(self)
    }

    private static func problem(
        _ code: ICMPv6Message.ParameterProblem, at pointer: Int, isForMulticastToo: Bool = false
    ) -> Outcome {
        .problem(
            Problem(
                code: code, pointer: UInt16(truncatingIfNeeded: pointer), isForMulticastToo: isForMulticastToo))
    }
}

// MARK: - Options

extension IPv6Extensions {
    /// Whether the options in `range` of `packet`, in which nothing is wrong, have a Router Alert.
    private static func hasRouterAlert(_ packet: RawSpan, _ range: Range<Int>) -> Bool {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let type = packet.byte(at: offset)
            if type == 5 { return true }
            offset &+= type == 0 ? 1 : 2 &+ Int(packet.byte(at: offset &+ 1))
        }
        return false
    }

    /// What the options in `range` of `packet` forbid; `nil` if all are known or may be skipped (RFC 8200 §4.2).
    private static func optionsProblem(_ packet: RawSpan, _ range: Range<Int>) -> Outcome? {
        var offset = range.lowerBound
        // At most 256 turns, as the headers have no more bytes, and each turn takes one or more.
        while offset < range.upperBound {
            let type = packet.byte(at: offset)
            if type == 0 {  // Pad1 is the one option without a length.
                offset &+= 1
                continue
            }
            guard range.upperBound &- offset >= 2 else { return .dropped(.malformedOption) }
            let length = 2 &+ Int(packet.byte(at: offset &+ 1))
            guard range.upperBound &- offset >= length else { return .dropped(.malformedOption) }
            // The two highest bits say what is to be done by who does not know the option. Those that are known here,
            // PadN and Router Alert, have the bits that say to skip them.
            switch type &>> 6 {
            case 0: break
            case 1: return .dropped(.unknownOption)
            case 2: return problem(.unknownOption, at: offset, isForMulticastToo: true)
            default: return problem(.unknownOption, at: offset)
            }
            offset &+= length
        }
        return nil
    }
}
