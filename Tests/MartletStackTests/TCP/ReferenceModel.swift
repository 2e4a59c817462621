// SEGMENT ARRIVES once more, by the letter of RFC 9293 §3.10.7.3 and .4 with RFC 5961 and RFC 1337, in the plainest way there is: to
// hold the stack against, segment by segment. It knows no windows to send into, no loss and no time.

import MartletSimulation

@testable import MartletStack

/// What a connection has to do about a segment. Numbers are relative to both initial ones.
struct ReferenceModel {
    enum Answer: Equatable {
        /// Nothing may be said.
        case silence
        /// An ACK of RCV.NXT has to go, unless too many answers went before; and it may be put off.
        case acknowledgment
        /// Something may be said, and it is an ACK.
        case either
        case reset
        /// Our SYN and its ACK.
        case synchronization
    }

    private(set) var state: TCPState
    /// RCV.NXT, and the edge of the window, which stays where it is: nobody reads.
    private(set) var next: UInt32
    private var edge: UInt32
    private(set) var unacknowledged: UInt32
    let sent: UInt32
    private let isFINSent: Bool
    /// What has come out of order: numbers of bytes.
    private var held: Set<UInt32> = []
    /// The largest window that the peer can have meant.
    private static let greatestWindow: UInt32 = 65_535

    init(_ state: TCPState, next: UInt32, window: UInt32, unacknowledged: UInt32, sent: UInt32) {
        self.state = state
        self.next = next
        edge = next &+ window
        self.unacknowledged = unacknowledged
        self.sent = sent
        isFINSent = [.finWait1, .finWait2, .closing, .lastAck, .timeWait].contains(state)
    }

    private static func distance(_ from: UInt32, _ to: UInt32) -> Int { Int(Int32(bitPattern: to &- from)) }

    /// §3.10.7.4, first: the table of acceptability, and the paragraph behind it (MUST-66).
    private func isAcceptable(_ segment: PacketScript.Segment) -> Bool {
        let window = Self.distance(next, edge)
        let start = Self.distance(next, segment.sequence)
        let length = segment.length + (segment.flags.contains(.syn) ? 1 : 0) + (segment.flags.contains(.fin) ? 1 : 0)
        if length == 0 { return window == 0 ? start == 0 : start >= 0 && start < window }
        if window == 0 {
            return start == 0 && (segment.length == 0 || !segment.flags.isDisjoint(with: [.ack, .rst]))
        }
        let last = start + length - 1
        return start >= 0 && start < window || last >= 0 && last < window
    }

    mutating func arrives(_ segment: PacketScript.Segment) -> Answer {
        if state == .closed { return segment.flags.contains(.rst) ? .silence : .either }
        guard isAcceptable(segment) else {
            if segment.flags.contains(.rst) { return .silence }
            let isOurSYN = segment.flags.contains(.syn) && !segment.flags.contains(.ack) && segment.sequence == 0
            return state == .synReceived && isOurSYN ? .synchronization : .acknowledgment
        }
        if segment.flags.contains(.rst) {
            guard segment.sequence == next else { return .acknowledgment }
            if state != .timeWait { state = .closed }
            return .silence
        }
        if segment.flags.contains(.syn) { return .acknowledgment }
        guard let acknowledgment = segment.acknowledgment else { return .silence }
        let ahead = Self.distance(unacknowledged, acknowledgment)
        let isOfWhatWasSent = ahead <= Self.distance(unacknowledged, sent) && ahead > -Int(Int32.max)
        if state == .synReceived {
            guard ahead > 0, isOfWhatWasSent else { return .reset }
            state = .established
        } else {
            guard isOfWhatWasSent, ahead >= -Int(Self.greatestWindow) else { return .acknowledgment }
        }
        if ahead > 0 { unacknowledged = acknowledgment }
        if isFINSent, unacknowledged == sent {
            switch state {
            case .finWait1: state = .finWait2
            case .closing: state = .timeWait
            case .lastAck:
                state = .closed
                return .silence
            default: break
            }
        }
        let answer = takeText(segment)
        return takeFIN(segment) ?? answer
    }

    /// Seventh.
    private mutating func takeText(_ segment: PacketScript.Segment) -> Answer {
        guard segment.length > 0, [.established, .finWait1, .finWait2].contains(state) else {
            return segment.length > 0 ? .either : .silence
        }
        for offset in 0..<UInt32(segment.length) {
            let number = segment.sequence &+ offset
            if Self.distance(next, number) >= 0, Self.distance(number, edge) > 0 { held.insert(number) }
        }
        while held.remove(next) != nil { next &+= 1 }
        return .acknowledgment
    }

    /// Eighth. One that is beyond a hole is answered, and has to come again.
    private mutating func takeFIN(_ segment: PacketScript.Segment) -> Answer? {
        guard segment.flags.contains(.fin) else { return nil }
        guard segment.sequence &+ UInt32(segment.length) == next else { return .acknowledgment }
        switch state {
        case .established: state = .closeWait
        case .finWait1: state = .closing
        case .finWait2: state = .timeWait
        default: return .acknowledgment
        }
        next &+= 1
        if Self.distance(next, edge) < 0 { edge = next }
        return .acknowledgment
    }
}
