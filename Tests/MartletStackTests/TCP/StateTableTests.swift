// RFC 9293 §3.10, every event in every state, against StateTable.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct StateTableTests {
    /// The segments of the tables, by name: flags, then where they lie relative to what the peer should send.
    static let segments:
        [(name: String, make: @Sendable (StateNumbers, borrowing StateStage) -> PacketScript.Segment)] = [
            ("SYN", { n, s in s.segment(.syn, n.p) }),
            ("SYN in window", { n, s in s.segment(.syn, n.p &+ 10) }),
            ("SYN again", { _, s in s.segment(.syn, 0) }),
            ("SYN outside", { n, s in s.segment(.syn, n.p &+ n.w &+ 1000) }),
            ("SYN,ACK", { n, s in s.segment([.syn, .ack], n.p, 0, n.n) }),
            ("SYN,ACK again", { _, s in s.segment([.syn, .ack], 0, 0, 1) }),
            ("SYN,ACK of unsent", { n, s in s.segment([.syn, .ack], n.p, 0, n.n &+ 1) }),
            ("SYN,ACK of ISS", { n, s in s.segment([.syn, .ack], n.p, 0, 0) }),
            ("ACK", { n, s in s.segment(.ack, n.p, 0, n.n) }),
            ("ACK without window", { n, s in s.segment(.ack, n.p, 0, n.n, window: 0) }),
            ("ACK of U", { n, s in s.segment(.ack, n.p, 0, n.u) }),
            ("ACK below U", { n, s in s.segment(.ack, n.p, 0, n.u &- 1) }),
            ("ACK far below U", { n, s in s.segment(.ack, n.p, 0, n.u &- 0x6000_0000) }),
            ("ACK of unsent", { n, s in s.segment(.ack, n.p, 0, n.n &+ 1) }),
            ("ACK left of window", { n, s in s.segment(.ack, n.p &- 1, 0, n.n) }),
            ("ACK at the edge", { n, s in s.segment(.ack, n.p &+ n.w &- 1, 0, n.n) }),
            ("ACK beyond window", { n, s in s.segment(.ack, n.p &+ n.w, 0, n.n) }),
            ("data", { n, s in s.segment([.ack, .psh], n.p, 100, n.n) }),
            ("data again", { n, s in s.segment([.ack, .psh], n.p &- 50, 50, n.n) }),
            ("data partly old", { n, s in s.segment([.ack, .psh], n.p &- 50, 150, n.n) }),
            ("data out of order", { n, s in s.segment([.ack, .psh], n.p &+ 500, 100, n.n) }),
            ("data up to the edge", { n, s in s.segment([.ack, .psh], n.p &+ n.w &- 100, 100, n.n) }),
            ("data over the edge", { n, s in s.segment([.ack, .psh], n.p &+ n.w &- 50, 100, n.n) }),
            ("data beyond window", { n, s in s.segment([.ack, .psh], n.p &+ n.w, 100, n.n) }),
            ("data without ACK", { n, s in s.segment(.psh, n.p, 100) }),
            ("data, ACK of U", { n, s in s.segment([.ack, .psh], n.p, 100, n.u) }),
            ("data, ACK far below U", { n, s in s.segment([.ack, .psh], n.p, 100, n.u &- 0x6000_0000) }),
            ("data, ACK of unsent", { n, s in s.segment([.ack, .psh], n.p, 100, n.n &+ 1) }),
            ("urgent data", { n, s in s.segment([.ack, .psh, .urg], n.p, 100, n.n) }),
            ("FIN", { n, s in s.segment([.fin, .ack], n.p, 0, n.n) }),
            ("FIN, ACK of U", { n, s in s.segment([.fin, .ack], n.p, 0, n.u) }),
            ("FIN, ACK of unsent", { n, s in s.segment([.fin, .ack], n.p, 0, n.n &+ 1) }),
            ("FIN with data", { n, s in s.segment([.fin, .ack, .psh], n.p, 100, n.n) }),
            ("FIN again", { n, s in s.segment([.fin, .ack], n.p &- 1, 0, n.n) }),
            ("FIN out of order", { n, s in s.segment([.fin, .ack], n.p &+ 500, 0, n.n) }),
            ("FIN beyond window", { n, s in s.segment([.fin, .ack], n.p &+ n.w, 0, n.n) }),
            ("FIN without ACK", { n, s in s.segment(.fin, n.p) }),
            ("RST", { n, s in s.segment(.rst, n.p) }),
            ("RST,ACK", { n, s in s.segment([.rst, .ack], n.p, 0, n.n) }),
            ("RST,ACK of unsent", { n, s in s.segment([.rst, .ack], n.p, 0, n.n &+ 1) }),
            ("RST in window", { n, s in s.segment(.rst, n.p &+ 1) }),
            ("RST at the edge", { n, s in s.segment(.rst, n.p &+ n.w &- 1) }),
            ("RST left of window", { n, s in s.segment(.rst, n.p &- 1) }),
            ("RST beyond window", { n, s in s.segment(.rst, n.p &+ n.w) }),
            ("no flags", { n, s in s.segment([], n.p) }),
            ("URG alone", { n, s in s.segment(.urg, n.p) }),
            ("PSH alone", { n, s in s.segment(.psh, n.p) }),
            ("all flags", { n, s in s.segment([.syn, .fin, .rst, .psh, .ack, .urg, .ece, .cwr], n.p, 0, n.n) }),
            ("old timestamp, ACK", { n, s in s.segment(.ack, n.p, 0, n.n, timestamp: 1) }),
            ("old timestamp, data", { n, s in s.segment([.ack, .psh], n.p, 100, n.n, timestamp: 1) }),
            ("old timestamp, FIN", { n, s in s.segment([.fin, .ack], n.p, 0, n.n, timestamp: 1) }),
            ("old timestamp, RST", { n, s in s.segment(.rst, n.p, timestamp: 1) }),
        ]

    /// What is not a segment, or none that is whole.
    static let others = [
        "bad checksum", "header too short", "first timeout", "an hour", "OPEN, active", "OPEN, passive", "SEND",
        "RECEIVE",
        "CLOSE of sending", "CLOSE", "ABORT",
    ]

    static let cells = StateTable.cells(StateTable.beginning).merging(StateTable.cells(StateTable.synchronized)) {
        $0.merging($1) { first, _ in first }
    }

    /// Whether what happened is one of the outcomes of a cell.
    static func check(_ outcome: StateOutcome, _ way: StateWay, _ event: String) {
        guard let cell = cells[event]?[way.column] else {
            Issue.record("no cell for \(event) in \(way)")
            return
        }
        let expected = cell.split(separator: "|").map { StateOutcome($0) }
        #expect(
            expected.contains { outcome.isWhat($0) },
            "\(event) in \(way): is \(outcome.sent), state \(outcome.state ?? "as before"), heard \"\(outcome.heard)\", result \(outcome.result.map(String.init) ?? "none"); the table says \(cell)"
        )
    }

    static let ways = StateWay.all.flatMap { way in
        [false, true].map { hasTimestamps in
            var way = way
            way.hasTimestamps = hasTimestamps
            return way
        }
    }

    /// TIME-WAIT without a TCB: segments find the same there.
    static let released = ways.filter { !$0.before.isEmpty }.map { way in
        var way = way
        way.isReleased = true
        return way
    }

    @Test("the tables have a cell for every event in every state, and none besides")
    func complete() {
        let states = Set(StateWay.all.map { StateStage.state(ofColumn: $0.column) })
        #expect(states.count == TCPState.allCases.count, "a state is reached by no way")
        let events = Self.segments.map(\.name) + Self.others
        #expect(Set(events) == Set(Self.cells.keys))
        let columns = Set(StateWay.all.map(\.column))
        for event in events { #expect(Set(Self.cells[event, default: [:]].keys) == columns, "\(event)") }
        #expect(events.count * columns.count == 63 * 16)
        #expect(Self.cells.values.reduce(0) { $0 + $1.count } == 63 * 16)
    }

    @Test("each way leads to its state", arguments: ways)
    func reached(way: StateWay) {
        let stage = StateStage(way)
        guard let connection = stage.connection else {
            #expect(["CL", "LI", "SRp"].contains(way.column))
            return
        }
        let state = StateStage.letters(stage.stack.state(of: connection))
        #expect(state == StateStage.state(ofColumn: way.column))
    }

    @Test("TIME-WAIT needs no TCB once its user has let go", arguments: released)
    func withoutTCB(way: StateWay) {
        var stage = StateStage(way)
        #expect(stage.stack.connectionCount == 0)
        #expect(stage.stack.tcp.timeWaitCount == 1)
        stage.run(for: .seconds(59))
        #expect(stage.stack.tcp.timeWaitCount == 1)
        stage.run(for: .seconds(2))
        #expect(stage.stack.tcp.timeWaitCount == 0)
        #expect(stage.stack.nextDeadline == nil)
    }

    @Test("§3.10.7: every segment, in every state", arguments: ways + released)
    func segments(way: StateWay) {
        for (name, make) in Self.segments where way.hasTimestamps || !name.hasPrefix("old timestamp") {
            var stage = StateStage(way)
            let segment = make(stage.numbers, stage)
            let outcome = stage.outcome(of: segment) {
                $0.arrives(segment)
                return nil
            }
            Self.check(outcome, way, name)
        }
    }

    @Test(
        "§3.10.7: all 256 combinations of flags, in every state",
        arguments: StateWay.all + released.filter { !$0.hasTimestamps })
    func combinations(way: StateWay) {
        for bits in 0...255 as ClosedRange<UInt8> {
            let flags = PacketScript.Flags(rawValue: bits)
            var stage = StateStage(way)
            let numbers = stage.numbers
            let segment = stage.segment(flags, numbers.p, 0, flags.contains(.ack) ? numbers.n : nil)
            let outcome = stage.outcome(of: segment) {
                $0.arrives(segment)
                return nil
            }
            // The RFC looks at RST first, then SYN, ACK and FIN; the others change nothing here.
            let isAck = flags.contains(.ack)
            let name =
                if flags.contains(.rst) { isAck ? "RST,ACK" : "RST" } else if flags.contains(.syn) {
                    isAck ? "SYN,ACK" : "SYN"
                } else if flags.contains(.fin) { isAck ? "FIN" : "FIN without ACK" } else { isAck ? "ACK" : "no flags" }
            Self.check(outcome, way, name)
        }
    }

    @Test("§3.10.1 to §3.10.6 and §3.10.8: every call and timer, in every state", arguments: ways)
    func calls(way: StateWay) {
        for name in Self.others.dropFirst(2) {
            var stage = StateStage(way)
            let outcome = stage.outcome(of: nil) {
                switch name {
                case "first timeout": $0.runToFirstTimeout()
                case "an hour": $0.run(for: .seconds(3600))
                default: return $0.call(name)
                }
                return nil
            }
            Self.check(outcome, way, name)
        }
    }

    @Test("§3.1: what is no whole segment changes nothing, in any state", arguments: ways + released)
    func malformed(way: StateWay) {
        for (name, place) in [("bad checksum", 36), ("header too short", 32)] {
            var stage = StateStage(way)
            var bytes = stage.bytes(of: stage.segment([.ack, .psh], stage.numbers.p, 100, stage.numbers.n))
            bytes[place] = place == 32 ? 0x40 : ~bytes[place]
            let outcome = stage.outcome(of: nil) {
                $0.arrive(bytes)
                return nil
            }
            Self.check(outcome, way, name)
        }
    }

    @Test("a connection that has ended, and whose user has not let go, is not in the way of the next one")
    func endedAndListening() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 < R 1:1(0) win 0
                +0 %{ state == CLOSED, error == reset }%
                +0 < . 1:1(0) ack 1 win 65535
                +0 > R 1:1(0) <...>
                +0 < S 5000:5000(0) win 65535
                +0 > S. 0:0(0) ack 5001 <...>
                """)
    }
}
