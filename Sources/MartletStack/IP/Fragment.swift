// The words of reassembly: what a fragment says, and what became of it. Hold RFC 791 §3.2 and RFC 8200 §4.5 beside it.

/// Which datagram a fragment belongs to: RFC 791 §3.2 and RFC 8200 §4.5. IPv6 leaves the protocol out; it is 0 there.
struct FragmentKey: BitwiseCopyable, Hashable {
    var source: IPAddress
    var destination: IPAddress
    var identification: UInt32
    var transportProtocol: UInt8
}

/// What a fragment says of itself.
struct Fragment: BitwiseCopyable {
    /// Where its bytes begin in the datagram, in bytes, behind the IPv4 header or the per-fragment headers of IPv6.
    var offset: Int
    /// MF: it is not the last one.
    var hasMore: Bool
    /// The header that the bytes of the first fragment begin with.
    var nextHeader: UInt8
    /// Whether CE (RFC 3168 §5.3) is set in the header.
    var isCongestionExperienced = false
    var isECNCapable = true
}

/// What became of a fragment.
enum ReassemblyOutcome: BitwiseCopyable, Equatable {
    /// It was kept; others are missing.
    case kept
    /// It is the whole datagram, and says nothing about others with the same key (RFC 6946 §4): its bytes are to be taken as
    /// they are, and nothing was kept.
    case atomic
    /// It was the last one missing: the datagram is to be read, and then given back by `release`.
    case complete(ReassembledDatagram)
    case dropped(FragmentDrop)
}

/// A whole datagram in ``Reassembly``.
struct ReassembledDatagram: BitwiseCopyable, Equatable {
    /// Its place in the table, for the table alone.
    var slot: Int
    /// Bytes behind the IPv4 header or the per-fragment headers of IPv6.
    var byteCount: Int
    /// Of the first fragment.
    var nextHeader: UInt8
    /// A fragment had CE set, and so has the datagram (RFC 3168 §5.3).
    var isCongestionExperienced: Bool
}

/// Why a fragment was dropped.
public enum FragmentDrop: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    /// It has no bytes.
    case empty
    /// It is not the last one, and its length is no multiple of 8 (for IPv6, RFC 8200 §4.5: send Parameter Problem).
    case misaligned
    /// It ends beyond 65,535 bytes (for IPv6, send Parameter Problem).
    case tooLong
    /// The first fragment does not hold the transport header (RFC 1858 §3, RFC 7112).
    case tiny
    /// It overlaps the TCP flags of the first (RFC 3128).
    case overTCPFlags
    /// The very same bytes came before.
    case duplicate
    /// It overlaps another, or the end that another has given: the whole datagram is discarded.
    case overlap
    /// Its datagram has been discarded because of an overlap.
    case afterOverlap
    /// Its datagram has too many fragments, and is discarded.
    case tooManyFragments
    /// CE and not-ECT together (RFC 3168 §5.3): the datagram is discarded.
    case mixedECN
    /// There is no memory for so many bytes, or the source has its share of it. The datagram is discarded.
    case noMemory
}

/// Counts of what came in pieces.
public struct FragmentCounters: BitwiseCopyable, Sendable {
    private var drops = InlineArray<11, UInt64>(repeating: 0)
    /// Datagrams that have become whole.
    public internal(set) var completed: UInt64 = 0
    /// Datagrams whose pieces did not all come in time.
    public internal(set) var timedOut: UInt64 = 0
    /// Datagrams given up for newer ones.
    public internal(set) var evicted: UInt64 = 0

    /// Fragments dropped for a reason.
    public internal(set) subscript(reason: FragmentDrop) -> UInt64 {
        get { drops[Int(reason.rawValue)] }
        set { drops[Int(reason.rawValue)] = newValue }
    }
}

/// A datagram whose time is over.
struct ReassemblyTimeout: BitwiseCopyable {
    var key: FragmentKey
    /// The fragment with offset 0 had come: Time Exceeded, code 1, may be sent (RFC 792, RFC 8200 §4.5).
    var hadFirst: Bool
    /// Of that fragment, if it had come: what is behind the header, and its first eight bytes.
    var nextHeader: UInt8
    var firstBytes: UInt64
}

/// Bounds of datagrams that come in pieces. Beyond them, the oldest datagram is dropped to make room.
public struct ReassemblyLimits: BitwiseCopyable, Sendable {
    /// Datagrams at once.
    public var datagrams = 64
    /// Memory in all, cut in powers of two from 2 KiB.
    public var byteCount = 1 << 20
    /// Fragments of a datagram.
    public var fragments = 64
    /// How long the pieces of an IPv4 datagram are waited for: RFC 1122 §3.3.2 asks for 60 ... 120 s, Linux takes 30 s, and
    /// so do we.
    public var timeout4 = Duration.seconds(30)
    /// The same for IPv6: 60 s (RFC 8200 §4.5).
    public var timeout6 = Duration.seconds(60)

    /// The defaults.
    public init() {}
}

extension FragmentKey {
    var isIPv4: Bool {
        if case .v4 = source { true } else { false }
    }
}
