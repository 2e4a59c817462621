// The network of a simulation: nodes, links between them, and frames under way in virtual time.
//
// Nothing here runs by itself. Whoever drives the simulation asks for the next arrival, moves its clock there, takes
// what arrived and sends what follows. Equal seeds and equal calls give equal runs, bit for bit. Must not know what
// is in a frame, but for the MAC address that a segment looks at and the ECN bits that a link marks.

public import MartletStack

/// Nodes, the links between them, and the frames under way.
///
///     var network = VirtualNetwork(seed: seed)
///     let client = network.addNode()
///     let server = network.addNode()
///     network.connect(client, server, framing: .ip, conditions: LinkConditions(latency: .milliseconds(20)))
///     network.send(packet, from: client, to: server, at: now)
///     while let arrival = network.nextArrival {
///         for delivery in network.deliveries(until: arrival) { … }   // may send, at `arrival` or later
///     }
///
/// A link has one direction; ``connect(_:_:framing:conditions:)`` makes both. Its conditions can be changed at any
/// instant and hold for what is sent from then on: what is under way arrives when it was going to.
///
/// What happens to a frame is drawn from the seed, the link and the frame's number on it. So a link that is added, or one
/// that carries more frames, leaves the others as they were.
///
/// A value: a copy is a second network in the same state, which goes its own way from there.
public struct VirtualNetwork: Sendable {
    /// Why a frame did not get through.
    public enum Drop: String, Error, Sendable, CaseIterable {
        /// ``LinkConditions/loss`` took it.
        case loss = "lost on the link"
        /// The queue was full.
        case queue = "queue full"
        /// It was longer than the MTU.
        case mtu = "longer than the MTU"
        /// The link was cut.
        case partition = "partition"
        /// The network held as many frames as it may.
        case limit = "too many frames under way"
    }

    /// What became of a frame.
    public enum Outcome: Hashable, Sendable {
        /// It arrives at this instant.
        case arrives(Instant)
        /// It does not arrive.
        case dropped(Drop)
    }

    /// A frame that arrived.
    public struct Delivery: Hashable, Sendable {
        /// When it arrived.
        public var instant: Instant
        /// When it was sent.
        public var sentAt: Instant
        /// The node that sent it.
        public var from: Int
        /// The node at which it arrived.
        public var to: Int
        /// Its bytes, marked or corrupted by the link.
        public var frame: [UInt8]
    }

    /// The seed of everything random here.
    public let seed: UInt64

    /// The frames that may be under way on all links together. What is sent beyond is dropped and counted.
    public let frameLimit: Int

    /// The latest instant that was mentioned.
    public private(set) var now: Instant

    /// Nodes are numbered `0 ..< nodeCount`.
    public private(set) var nodeCount = 0

    var segments: [Segment] = []
    private var links: [VirtualLink] = []
    private var linkIndices: [Endpoints: Int] = [:]
    private var underway = ArrivalQueue()
    private var sentCount: UInt64 = 0

    private struct Endpoints: Hashable, Sendable {
        var from: Int
        var to: Int
    }

    /// A network without nodes, at `now`.
    public init(seed: UInt64, now: Instant = .zero, frameLimit: Int = 1 << 20) {
        precondition(frameLimit > 0, "a network holds at least one frame")
        self.seed = seed
        self.now = now
        self.frameLimit = frameLimit
    }

    /// Nanoseconds of a duration, clamped to what an `Int64` holds.
    static func nanoseconds(_ duration: Duration) -> Int64 {
        Int64(clamping: duration.attoseconds / 1_000_000_000)
    }
}

// MARK: - Building

extension VirtualNetwork {
    /// Adds a node, and gives its number: 0 for the first, and so on.
    public mutating func addNode() -> Int {
        nodeCount += 1
        return nodeCount - 1
    }

    /// Makes links between two nodes in both directions, with the same conditions.
    ///
    /// - Precondition: the nodes exist, are two, and are not linked yet.
    public mutating func connect(
        _ one: Int, _ other: Int, framing: Framing = .ethernet, conditions: LinkConditions = .perfect
    ) {
        addLink(from: one, to: other, framing: framing, conditions: conditions)
        addLink(from: other, to: one, framing: framing, conditions: conditions)
    }

    /// Makes a link in one direction.
    ///
    /// - Precondition: the nodes exist, are two, and have no link in this direction yet.
    public mutating func addLink(
        from: Int, to: Int, framing: Framing = .ethernet, conditions: LinkConditions = .perfect
    ) {
        precondition((0..<nodeCount).contains(from) && (0..<nodeCount).contains(to), "a link needs nodes that exist")
        precondition(from != to, "a link needs two nodes")
        let endpoints = Endpoints(from: from, to: to)
        precondition(linkIndices[endpoints] == nil, "node \(from) has a link to node \(to) already")
        let random = RandomStream(seed: seed).stream(UInt64(from) << 32 | UInt64(to))
        linkIndices[endpoints] = links.count
        links.append(VirtualLink(from: from, to: to, framing: framing, conditions: conditions, random: random))
    }

    /// Whether there is a link in this direction.
    public func hasLink(from: Int, to: Int) -> Bool { linkIndices[Endpoints(from: from, to: to)] != nil }

    /// The conditions of a link. A change holds for what is sent from now on.
    ///
    /// - Precondition: there is a link in this direction.
    public subscript(from from: Int, to to: Int) -> LinkConditions {
        get { links[link(from: from, to: to)].conditions }
        set { links[link(from: from, to: to)].conditions = newValue }
    }

    /// What became of the frames sent on a link so far.
    ///
    /// - Precondition: there is a link in this direction.
    public func counters(from: Int, to: Int) -> LinkCounters { links[link(from: from, to: to)].counters }

    /// Cuts every link between a node of `part` and one that is not in it, or mends them.
    public mutating func setPartition(_ part: Set<Int>, isPartitioned: Bool = true) {
        for index in links.indices where part.contains(links[index].from) != part.contains(links[index].to) {
            links[index].conditions.isPartitioned = isPartitioned
        }
    }

    private func link(from: Int, to: Int) -> Int {
        guard let index = linkIndices[Endpoints(from: from, to: to)] else {
            preconditionFailure("node \(from) has no link to node \(to)")
        }
        return index
    }
}

// MARK: - Frames

extension VirtualNetwork {
    /// Sends a frame from a node to another that it has a link to, and says what will become of it.
    ///
    /// A frame that arrives twice is one outcome, that of the first.
    ///
    /// - Precondition: there is such a link, and `now` is not before ``now``: time does not go back.
    @discardableResult
    public mutating func send(_ frame: [UInt8], from: Int, to: Int, at now: Instant) -> Outcome {
        advance(to: now)
        let link = link(from: from, to: to)
        guard underway.count < frameLimit else {
            links[link].counters.sent += 1
            return .dropped(links[link].drop(.limit))
        }
        var frame = frame
        do throws(Drop) {
            let passage = try links[link].carry(&frame, at: now)
            insert(frame, passage, on: link, isDuplicate: false, at: passage.arrival)
            if let duplicate = passage.duplicateArrival, underway.count < frameLimit {
                links[link].counters.duplicated += 1
                insert(frame, passage, on: link, isDuplicate: true, at: duplicate)
            }
            return .arrives(passage.arrival)
        } catch {
            return .dropped(error)
        }
    }

    /// When the next frame arrives; `nil` if none is under way.
    public var nextArrival: Instant? { underway.first?.instant }

    /// How many frames are under way.
    public var frameCount: Int { underway.count }

    /// Takes what has arrived by `instant`, in the order of arrival; at the same instant, in the order of sending.
    ///
    /// - Precondition: `instant` is not before ``now``.
    public mutating func deliveries(until instant: Instant) -> [Delivery] {
        advance(to: instant)
        var deliveries: [Delivery] = []
        while let first = underway.first, first.instant <= instant, let arrival = underway.popFirst() {
            links[arrival.link].deliver(arrival.number, isDuplicate: arrival.isDuplicate)
            deliveries.append(
                Delivery(
                    instant: arrival.instant, sentAt: arrival.sentAt, from: links[arrival.link].from,
                    to: links[arrival.link].to, frame: arrival.frame))
        }
        return deliveries
    }

    private mutating func advance(to instant: Instant) {
        precondition(instant >= now, "virtual time does not go back")
        now = instant
    }

    private mutating func insert(
        _ frame: [UInt8], _ passage: VirtualLink.Passage, on link: Int, isDuplicate: Bool, at instant: Instant
    ) {
        underway.insert(
            ArrivalQueue.Arrival(
                instant: instant, order: sentCount, link: link, number: passage.number, isDuplicate: isDuplicate,
                sentAt: now, frame: frame))
        sentCount += 1
    }
}
