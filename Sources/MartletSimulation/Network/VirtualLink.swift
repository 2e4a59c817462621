// One direction of one link: the conditions, and what they have to remember from frame to frame.

internal import MartletStack

/// What obeys ``LinkConditions``. Decides at the moment of sending when a frame arrives, and whether it does.
///
/// Frames leave one after the other; the queue is a matter of arithmetic:
///
///     now          starts of those that wait           free
///      │  sending  │   frame   │ frame │     frame     │          a frame sent now starts at `free`
///     ─┴───────────┴───────────┴───────┴───────────────┴──▶ t
///                  └── waitingBytes: start after now ──┘
struct VirtualLink {
    let from: Int
    let to: Int
    let framing: Framing
    var conditions: LinkConditions
    var counters = LinkCounters()

    /// A stream for each decision, and each frame on the wire draws from each stream: a change of one condition
    /// leaves the fate that the others give to the following frames as it was.
    private var loss: RandomStream
    private var burst: RandomStream
    private var corruption: RandomStream
    private var bit: RandomStream
    private var jitter: RandomStream
    private var reordering: RandomStream
    private var duplication: RandomStream
    private var duplicateJitter: RandomStream

    private var isInBadState = false
    /// When the last bit of the last frame has been sent.
    private var free = Instant(nanoseconds: .min)
    private var waiting: [(start: Instant, bytes: Int)] = []
    /// The first in `waiting` that has not begun; those before it are removed when they are many.
    private var firstWaiting = 0
    private var waitingBytes = 0
    private var latestArrival = Instant(nanoseconds: .min)
    /// The highest number of a frame delivered.
    private var furthestDelivered = -1

    init(from: Int, to: Int, framing: Framing, conditions: LinkConditions, random: RandomStream) {
        self.from = from
        self.to = to
        self.framing = framing
        self.conditions = conditions
        var random = random
        loss = random.split()
        burst = random.split()
        corruption = random.split()
        bit = random.split()
        jitter = random.split()
        reordering = random.split()
        duplication = random.split()
        duplicateJitter = random.split()
    }

    /// When a frame arrives, and its duplicate if there is one.
    struct Passage {
        var arrival: Instant
        var duplicateArrival: Instant?
        /// The frame's number on its link.
        var number: Int
    }

    /// Sends a frame, and changes it if it is marked or corrupted.
    mutating func carry(_ frame: inout [UInt8], at now: Instant) throws(VirtualNetwork.Drop) -> Passage {
        let number = counters.sent
        counters.sent += 1
        if conditions.isPartitioned { throw drop(.partition) }
        if let mtu = conditions.mtu {
            let header = IPHeaderPlace.headerLength(of: frame, framing: framing) ?? 0
            if frame.count - header > mtu { throw drop(.mtu) }
        }
        let sent = try enqueue(&frame, at: now)
        if isLost() { throw drop(.loss) }
        corrupt(&frame)
        let arrival = arrival(ofFrameSentAt: sent)
        let duplicateDelay = delay(&duplicateJitter)
        guard duplication.happens(withProbability: conditions.duplication) else {
            return Passage(arrival: arrival, number: number)
        }
        let ownWay = sent.advanced(byNanoseconds: duplicateDelay)
        return Passage(
            arrival: arrival, duplicateArrival: conditions.jitterReorders ? max(arrival, ownWay) : arrival,
            number: number)
    }

    /// Counts a frame that was handed over.
    mutating func deliver(_ number: Int, isDuplicate: Bool) {
        counters.delivered += 1
        if number < furthestDelivered && !isDuplicate { counters.reordered += 1 }
        furthestDelivered = max(furthestDelivered, number)
    }

    /// Counts a drop, and gives it back to be thrown.
    mutating func drop(_ reason: VirtualNetwork.Drop) -> VirtualNetwork.Drop {
        switch reason {
        case .loss: counters.lost += 1
        case .queue: counters.droppedByQueue += 1
        case .mtu: counters.droppedByMTU += 1
        case .partition: counters.droppedByPartition += 1
        case .limit: counters.droppedByLimit += 1
        }
        return reason
    }
}

// MARK: - The sending end

extension VirtualLink {
    /// Waits for the frame's turn, and gives the instant at which its last bit has been sent.
    private mutating func enqueue(_ frame: inout [UInt8], at now: Instant) throws(VirtualNetwork.Drop) -> Instant {
        while firstWaiting < waiting.count && waiting[firstWaiting].start <= now {
            waitingBytes -= waiting[firstWaiting].bytes
            firstWaiting += 1
        }
        if firstWaiting > 64 && firstWaiting * 2 > waiting.count {
            waiting.removeFirst(firstWaiting)
            firstWaiting = 0
        }
        let start = max(now, free)
        let isWaiting = start > now
        if isWaiting && waitingBytes + frame.count > conditions.queueLimit { throw drop(.queue) }
        if let threshold = conditions.markingThreshold, waitingBytes >= threshold,
            let header = IPHeaderPlace(in: frame, framing: framing), header.markCongestion(in: &frame)
        {
            counters.marked += 1
        }
        free = start.advanced(byNanoseconds: sendingTime(of: frame.count))
        if isWaiting {
            waiting.append((start, frame.count))
            waitingBytes += frame.count
        }
        return free
    }

    /// Nanoseconds, rounded up.
    private func sendingTime(of byteCount: Int) -> Int64 {
        guard let bandwidth = conditions.bandwidth else { return 0 }
        precondition(bandwidth > 0, "a bandwidth is a positive number of bits a second; a cut link is a partition")
        let scaled = Int128(byteCount) * 8 * 1_000_000_000
        return Int64(clamping: (scaled + Int128(bandwidth) - 1) / Int128(bandwidth))
    }
}

// MARK: - The wire

extension VirtualLink {
    private mutating func isLost() -> Bool {
        let change = burst.fraction()
        let fate = loss.fraction()
        switch conditions.loss {
        case .none:
            return false
        case .uniform(let probability):
            return fate < probability
        case .burst(let model):
            if change < (isInBadState ? model.badToGood : model.goodToBad) { isInBadState.toggle() }
            return fate < (isInBadState ? model.lossBad : model.lossGood)
        }
    }

    private mutating func corrupt(_ frame: inout [UInt8]) {
        let position = bit.next()
        guard corruption.happens(withProbability: conditions.corruption), !frame.isEmpty else { return }
        let place = Int(position.multipliedFullWidth(by: UInt64(frame.count * 8)).high)
        frame[place / 8] ^= 1 << UInt8(place % 8)
        counters.corrupted += 1
    }

    private mutating func arrival(ofFrameSentAt sent: Instant) -> Instant {
        var arrival = sent.advanced(byNanoseconds: delay(&jitter))
        if !conditions.jitterReorders { arrival = max(arrival, latestArrival) }
        if reordering.happens(withProbability: conditions.reordering) {
            // `latestArrival` stays: a frame that is held back does not hold back those behind it.
            return arrival.advanced(byNanoseconds: max(0, VirtualNetwork.nanoseconds(conditions.reorderingDelay)))
        }
        latestArrival = max(arrival, latestArrival)
        return arrival
    }

    /// Latency and jitter in nanoseconds, not below zero.
    private func delay(_ stream: inout RandomStream) -> Int64 {
        let latency = max(0, VirtualNetwork.nanoseconds(conditions.latency))
        let jitter = min(max(0, VirtualNetwork.nanoseconds(conditions.jitter)), .max / 4)
        // One number off the stream, whatever the jitter, and so no drawing again: the difference in likelihood between
        // two values is below jitter / 2⁶³.
        let offset = Int64(stream.next().multipliedFullWidth(by: UInt64(2 * jitter + 1)).high) - jitter
        return max(0, latency.addingReportingOverflow(offset).overflow ? .max : latency + offset)
    }
}
