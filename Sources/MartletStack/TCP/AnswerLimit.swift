// How often a connection answers what says nothing new: challenge ACKs (RFC 5961 §7), and ACKs for what lies outside the window.
//
// Two stacks that disagree about a connection, or a third that injects, must not make them answer each other for ever. What is
// kept is one instant: until when the answers given so far are spread out, one each half second. A challenge may be ten
// answers ahead of that, an answer to an old or stray ACK none.

extension TCB {
    private static var answerInterval: Int64 { LatestAnswer.interval }

    /// Whether one answer more may go, if at most `burst` may go at once. It is counted if not.
    private mutating func mayAnswer(burst: Int64, _ stack: inout Connections) -> Bool {
        let interval = UInt32(truncatingIfNeeded: Self.answerInterval / Connections.tickLength)
        // Beyond what ten answers fill, it is an instant long ago that the clock has come around to.
        let ahead = answersUntil &- stack.tick
        let used = ahead <= 10 * interval ? ahead : 0
        guard Int64(used) <= (burst - 1) * Int64(interval) else {
            stack.counters.answersWithheld &+= 1
            return false
        }
        answersUntil = stack.tick &+ used &+ interval
        return true
    }

    /// RFC 5961: a segment that may be forged is answered by an ACK, which tells an honest peer what to do.
    mutating func challenge(_ stack: inout Connections) {
        guard mayAnswer(burst: 10, &stack) else { return }
        stack.counters.challengeAcks &+= 1
        owe(.ack, &stack)
    }

    /// Answers a segment that is too old or out of the window. Bytes that come are always answered: their sender waits.
    mutating func answerStray(_ segment: Segment, _ stack: inout Connections) {
        let isLoopFree = segment.length > 0 && !segment.flags.contains(.syn)
        if isLoopFree || mayAnswer(burst: 1, &stack) { owe(.ack, &stack) }
    }
}

/// When something strange was last answered, for what is no connection: one answer each half second.
struct LatestAnswer: BitwiseCopyable {
    static var interval: Int64 { 500_000_000 }

    /// A tick; 0 if there was none.
    private var tick: UInt32 = 0

    mutating func mayAnswer(at now: UInt32) -> Bool {
        guard tick == 0 || now &- tick >= UInt32(truncatingIfNeeded: Self.interval / Connections.tickLength) else {
            return false
        }
        tick = max(now, 1)
        return true
    }
}
