// What a virtual link does to the frames on it. Values only: VirtualLink is what obeys them.

/// How one direction of a link treats frames. The default is perfect: no delay, no limit, no fault.
///
/// A frame meets the conditions in this order:
///
///     send ─▶ partition ─▶ MTU ─▶ queue, ECN mark ─▶ bandwidth ─▶ loss ─▶ corruption ─▶ latency ± jitter, reordering
///
/// so that a frame that is lost has taken its time on the link, as one that collides or fades has, and one that found
/// the queue full has not. A duplicate is made at the end, of the frame as it arrives.
public struct LinkConditions: Hashable, Sendable {
    /// How long a frame is under way, after its last bit was sent. Negative counts as zero.
    public var latency: Duration = .zero

    /// By how much the latency may be longer or shorter, each value as likely as the others. Never below zero in sum.
    public var jitter: Duration = .zero

    /// Whether a frame with less jitter may overtake one with more, or one sent before the latency was lowered. If not, it
    /// arrives at the same instant, behind it.
    public var jitterReorders = false

    /// Bits a second, `nil` for a link that takes no time to send.
    ///
    /// A frame takes its length times eight divided by this, rounded up to the nanosecond. Preambles, gaps and check
    /// sequences are not counted.
    public var bandwidth: Int64?

    /// How many bytes may wait for their turn, apart from the frame that is being sent. A frame that does not fit is
    /// dropped. Without ``bandwidth`` nothing ever waits.
    public var queueLimit = 1 << 20

    /// From how many waiting bytes on a packet that says it understands ECN is marked (RFC 3168 §5), `nil` for never.
    /// 0 marks all of them. Packets that do not understand ECN pass unmarked.
    public var markingThreshold: Int?

    /// Which frames vanish.
    public var loss: Loss = .none

    /// The probability of a frame being held back by ``reorderingDelay``, while those behind it go on.
    public var reordering: Double = 0

    /// How much later a frame arrives that is held back.
    public var reorderingDelay: Duration = .milliseconds(1)

    /// The probability of a frame arriving twice: directly one behind the other, unless ``jitterReorders`` gives the
    /// duplicate a jitter of its own.
    public var duplication: Double = 0

    /// The probability of one bit of a frame being turned over, any one of them.
    public var corruption: Double = 0

    /// The longest packet in bytes, `nil` for any. An Ethernet header and its VLAN tags do not count.
    public var mtu: Int?

    /// Whether the link is cut: it drops all that is sent. What is under way already arrives.
    public var isPartitioned = false

    /// A perfect link.
    public init() {}

    /// A link that only takes its time.
    public init(latency: Duration, bandwidth: Int64? = nil) {
        self.latency = latency
        self.bandwidth = bandwidth
    }

    /// No delay, no limit, no fault.
    public static let perfect = LinkConditions()
}

extension LinkConditions {
    /// Which frames vanish on a link.
    public enum Loss: Hashable, Sendable {
        /// None.
        case none
        /// Each with this probability, independently of the others.
        case uniform(Double)
        /// Several in a row, as interference loses them.
        case burst(Burst)
    }

    /// The model of Gilbert and Elliott: a link is in a good or a bad state, and each state has its own loss.
    ///
    ///             goodToBad
    ///         ┌──────────────▶┐
    ///       Good              Bad       A link starts out good. Each frame first moves the state, then meets
    ///         └◀──────────────┘         the loss of the state that it moved to.
    ///             badToGood
    ///
    /// The bad state lasts `1 / badToGood` frames on average, and `goodToBad / (goodToBad + badToGood)` of all frames meet
    /// it.
    public struct Burst: Hashable, Sendable {
        /// The probability of going over from the good state to the bad one, with each frame.
        public var goodToBad: Double
        /// The probability of going back.
        public var badToGood: Double
        /// The probability of a frame being lost in the good state.
        public var lossGood: Double
        /// The probability of a frame being lost in the bad state.
        public var lossBad: Double

        /// A model with these probabilities; without the last two, the good state loses nothing and the bad one all.
        public init(goodToBad: Double, badToGood: Double, lossGood: Double = 0, lossBad: Double = 1) {
            self.goodToBad = goodToBad
            self.badToGood = badToGood
            self.lossGood = lossGood
            self.lossBad = lossBad
        }
    }
}

/// What a frame on a virtual link begins with.
public enum Framing: Hashable, Sendable {
    /// An Ethernet header, perhaps with VLAN tags.
    case ethernet
    /// An IPv4 or IPv6 header.
    case ip
}

/// What became of the frames that were sent on one direction of a link.
public struct LinkCounters: Hashable, Sendable {
    /// Frames sent, whatever became of them.
    public var sent = 0
    /// Frames handed over by ``VirtualNetwork/deliveries(until:)``, duplicates included.
    public var delivered = 0
    /// Frames that ``LinkConditions/loss`` took.
    public var lost = 0
    /// Frames that found the queue full.
    public var droppedByQueue = 0
    /// Frames longer than the MTU.
    public var droppedByMTU = 0
    /// Frames sent while the link was cut.
    public var droppedByPartition = 0
    /// Frames beyond what the whole network holds at a time.
    public var droppedByLimit = 0
    /// Frames that were made to arrive twice.
    public var duplicated = 0
    /// Frames that arrived behind one that was sent later. Not their duplicates.
    public var reordered = 0
    /// Frames with a bit turned over, counted once even if they were duplicated.
    public var corrupted = 0
    /// Packets that were marked CE.
    public var marked = 0

    /// No frame yet.
    public init() {}

    /// Frames dropped for any reason.
    public var dropped: Int { lost + droppedByQueue + droppedByMTU + droppedByPartition + droppedByLimit }
}
