// What is known of one neighbor, what the table says about it, and the numbers of RFC 4861 §10.
//
//                      solicited answer
//     INCOMPLETE ───────────────────────▶ REACHABLE ◀────────────────┐
//         │    └── unsolicited answer ─┐      │ ReachableTime passes │ answer, or
//         │ 3 tries                    ▼      ▼                      │ progress of TCP
//         ▼                            STALE ──▶ DELAY ──▶ PROBE ────┘
//     forgotten  ◀───────────────────  sent to    5 s      │ 3 tries
//                └─────────────────────────────────────────┘
//
// ARP uses the same machine: a request is a solicitation, a reply that we wait for is a solicited advertisement.

/// Names an entry of ``Neighbors`` as long as it is the same neighbor's. A TCB may keep it.
struct Neighbor: BitwiseCopyable, Hashable {
    let slot: UInt32
    let generation: UInt32
}

/// RFC 4861 §7.3.2.
enum NeighborState: UInt8, BitwiseCopyable {
    case incomplete, reachable, stale, delay, probe
}

/// What became of a frame that is to go to a neighbor.
enum NeighborOutcome: BitwiseCopyable, Equatable {
    /// The caller sends it, to this address.
    case ready(MACAddress, Neighbor)
    /// The table keeps it. If `solicit` is true the caller sends the first solicitation now.
    case queued(solicit: Bool)
    /// It was given back to its pool.
    case dropped(NeighborDrop)
}

enum NeighborDrop: BitwiseCopyable {
    /// All entries are in use for neighbors that matter more.
    case tableFull
    /// As many frames as may are pending already.
    case pendingFull
}

/// What the caller sends, or is told, because time has passed.
enum NeighborAction: BitwiseCopyable, Equatable {
    /// A solicitation to the solicited-node multicast address, or an ARP request to everybody.
    case solicitMulticast(IPAddress, interface: UInt8)
    /// A solicitation, or an ARP request, to the neighbor alone.
    case solicitUnicast(IPAddress, interface: UInt8, to: MACAddress)
    /// Nobody answered. The frames that waited were dropped.
    case unreachable(IPAddress, interface: UInt8, dropped: Int)
}

/// What a received message has changed.
enum NeighborUpdate: BitwiseCopyable {
    /// Nothing: there was no entry, or the message must not change it.
    case ignored
    case created
    case updated
    /// The neighbor was a router and says that it is not one any more: its routes are to go (RFC 4861 §7.2.5).
    case noLongerRouter
}

/// RFC 4861 §10: times and tries.
public struct NeighborTimes: BitwiseCopyable, Sendable {
    /// BaseReachableTime. A router's advertisement may set it.
    public var baseReachableTime: Duration = .seconds(30)
    /// RetransTimer.
    public var retransTimer: Duration = .seconds(1)
    /// DELAY_FIRST_PROBE_TIME: how long the transport's word for a stale neighbor is awaited before it is asked.
    public var delayFirstProbeTime: Duration = .seconds(5)
    /// MAX_MULTICAST_SOLICIT: questions to everybody without an answer before a neighbor counts as gone.
    public var maxMulticastSolicit: UInt8 = 3
    /// MAX_UNICAST_SOLICIT: the same to a neighbor alone.
    public var maxUnicastSolicit: UInt8 = 3
    /// How long one drawing of ReachableTime is used (§6.3.4: "a few hours").
    public var redrawTime: Duration = .seconds(2 * 3600)

    /// The defaults.
    public init() {}
}

/// Bounds of what is known of neighbors.
public struct NeighborLimits: BitwiseCopyable, Sendable {
    /// Neighbors of all interfaces. A quarter of them may be INCOMPLETE.
    public var entries = 256
    /// Frames waiting for one neighbor; beyond, the oldest is dropped (RFC 4861 §7.2.2).
    public var framesPerNeighbor = 3
    /// Frames waiting for any neighbor, or resolved and not yet taken.
    public var frames = 128

    /// The defaults.
    public init() {}
}

/// What happened between the stack and its neighbors, in ARP and Neighbor Discovery.
public struct NeighborCounters: BitwiseCopyable, Sendable {
    /// Frames dropped because there was no room for one more neighbor.
    public internal(set) var tableFull: UInt64 = 0
    /// Frames dropped because as many wait as may.
    public internal(set) var pendingFull: UInt64 = 0
    /// Frames dropped because newer ones for the same neighbor wait.
    public internal(set) var displacedFrames: UInt64 = 0
    /// Frames dropped because nobody answered.
    public internal(set) var unreachableFrames: UInt64 = 0
    /// Frames dropped with an entry that was evicted or removed.
    public internal(set) var evictedFrames: UInt64 = 0
    /// Neighbors not heard of lately that were forgotten to make room for others.
    public internal(set) var evictedStale: UInt64 = 0
    /// Neighbors that had not answered yet and were.
    public internal(set) var evictedIncomplete: UInt64 = 0
    /// Neighbors in use that were.
    public internal(set) var evictedReachable: UInt64 = 0
    /// Neighbors that did not answer.
    public internal(set) var unreachable: UInt64 = 0
    /// Messages with a link address that nobody can have: zero, or of a group.
    public internal(set) var badLinkAddress: UInt64 = 0
    /// Messages from neighbors that there was no room for.
    public internal(set) var notCreated: UInt64 = 0
}
