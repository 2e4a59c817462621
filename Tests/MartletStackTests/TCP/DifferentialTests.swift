// Random segments for a connection in each state, beside a model that reads like the RFC: both have to come to the same state, take
// the same bytes, and answer alike.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct DifferentialTests {
    /// The ways to states that a connection has a name in.
    private static let ways = StateWay.all.filter {
        !["CL", "CLx", "LI", "SS", "SRp"].contains($0.column)
    }

    /// A segment near the numbers that matter.
    private static func segment(
        _ stage: borrowing StateStage, _ model: ReferenceModel, _ random: inout SeededGenerator
    ) -> PacketScript.Segment {
        let all: [PacketScript.Flags] = [
            .ack, .ack, .ack, [.ack, .psh], [.ack, .fin], [.ack, .fin], .rst, [.rst, .ack], .syn, [.syn, .ack], [],
            .fin,
            [.ack, .fin, .psh], [.syn, .fin], [.ack, .urg],
        ]
        let flags = all.randomElement(using: &random)!
        let distance: Int32
        switch Int.random(in: 0..<8, using: &random) {
        case 0...3: distance = 0
        case 4: distance = Int32.random(in: -3...3, using: &random)
        case 5: distance = Int32.random(in: -400...400, using: &random)
        case 6: distance = Int32.random(in: 29_000...31_000, using: &random)
        default: distance = Int32(truncatingIfNeeded: random.next())
        }
        let behind: Int32
        switch Int.random(in: 0..<6, using: &random) {
        case 0...2: behind = 0
        case 3: behind = Int32.random(in: -3...3, using: &random)
        case 4: behind = Int32.random(in: -70_000...0, using: &random)
        default: behind = Int32(truncatingIfNeeded: random.next())
        }
        let length = [0, 0, 1, 100, Int.random(in: 0...300, using: &random)].randomElement(using: &random)!
        return stage.segment(
            flags, model.next &+ UInt32(bitPattern: distance), flags.contains(.syn) ? 0 : length,
            flags.contains(.ack) ? model.sent &+ UInt32(bitPattern: behind) : nil)
    }

    @Test(
        "RFC 9293 §3.10.7: random segments do to a connection what they do to a model of the RFC", arguments: ways,
        0..<40 as Range<UInt64>)
    func differs(way: StateWay, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var stage = StateStage(way)
        guard let id = stage.connection else {
            Issue.record("\(way) has no connection")
            return
        }
        let start = stage.numbers
        var model = ReferenceModel(
            stage.stack.state(of: id), next: start.p, window: start.w, unacknowledged: start.u, sent: start.n)
        var history: [PacketScript.Segment] = []
        for _ in 0..<12 where model.state != .closed {
            let segment = Self.segment(stage, model, &random)
            // A SYN may open another connection then (§3.6.1), which is not the model's.
            if model.state == .timeWait, segment.flags.contains(.syn) { continue }
            history.append(segment)
            let withheld = stage.stack.counters.tcp.answersWithheld
            stage.sent = []
            let wanted = model.arrives(segment)
            stage.arrives(segment)
            // An ACK may wait for company.
            stage.run(for: .milliseconds(45))
            let state = stage.stack.state(of: id)
            let isWithheld = stage.stack.counters.tcp.answersWithheld > withheld
            let comment: Comment = "\(way), seed \(seed), \(history)"
            #expect(state == model.state, comment)
            let answer = Self.answer(stage.sent, stage)
            switch wanted {
            case .silence: #expect(answer == nil, comment)
            case .acknowledgment:
                // What goes again carries it as well.
                let isCarried = stage.sent.contains { $0.absolute.flags.contains(.ack) }
                #expect(answer == .acknowledgment || answer == nil && (isCarried || isWithheld), comment)
            case .either: #expect(answer != .synchronization, comment)
            case .reset, .synchronization: #expect(answer == wanted, comment)
            }
            if answer == .acknowledgment, let last = stage.sent.last {
                let relative = last.relative(to: .init(from: stage.local, to: stage.remote))
                #expect(relative?.acknowledgment == model.next, comment)
            }
            guard state == model.state, model.state != .closed else { return }
            #expect(
                stage.stack.tcp.number("rcv_nxt", of: id).map { UInt32(truncatingIfNeeded: $0) } == model.next, comment)
            #expect(
                stage.stack.tcp.number("snd_una", of: id).map { UInt32(truncatingIfNeeded: $0) }
                    == model.unacknowledged, comment)
        }
    }

    /// What was answered. What goes again by a timer is no answer.
    private static func answer(_ sent: [SegmentOnWire], _ stage: borrowing StateStage) -> ReferenceModel.Answer? {
        for segment in sent {
            let flags = segment.absolute.flags
            if flags.contains(.rst) { return .reset }
            if flags.contains(.syn) { return .synchronization }
            if flags.contains(.ack), segment.absolute.length == 0, !flags.contains(.fin) { return .acknowledgment }
        }
        return nil
    }
}
