// Something happens to the connection on the stage, and what came of it is said in the words of StateTable.

import MartletSimulation

@testable import MartletStack

extension StateStage {
    /// Does `event`, and says what came of it. `segment` is what has arrived, if anything has.
    mutating func outcome(
        of segment: PacketScript.Segment?, _ event: (inout StateStage) -> Int?
    ) -> StateOutcome {
        sent = []
        let before = numbers
        let challenges = stack.counters.tcp.challengeAcks
        let old = connection.map { stack.state(of: $0) }
        let result = event(&self)
        // Who has been accepted hears what has happened before.
        if way.column == "SRp", let listener { connection = stack.accept(listener) }
        settle()
        let isChallenge = stack.counters.tcp.challengeAcks > challenges
        let answer = describe(sent, segment, before, isChallenge)
        let heard = heardLetters()
        let state = stateNow(old)
        return StateOutcome(sent: answer, state: state, heard: heard, result: result)
    }

    private func describe(
        _ sent: [SegmentOnWire], _ cause: PacketScript.Segment?, _ before: StateNumbers, _ isChallenge: Bool
    ) -> String {
        if sent.isEmpty { return "-" }
        guard sent.count == 1 else { return "\(sent.count) segments" }
        guard let one = sent[0].relative(to: .init(from: local, to: remote)) else { return "elsewhere" }
        let end = cause.map { $0.end &+ UInt32($0.flags.isDisjoint(with: .syn) ? 0 : 1) } ?? 0
        let endWithFIN = end &+ UInt32(cause?.flags.contains(.fin) == true ? 1 : 0)
        let isAcked = one.acknowledgment == before.p
        switch one.flags.subtracting(.psh) {
        case .rst where cause?.acknowledgment == one.sequence: return "R"
        case [.rst, .ack]:
            if cause?.acknowledgment == nil, cause != nil, sent[0].absolute.sequence == 0,
                one.acknowledgment == endWithFIN
            {
                return "RA"
            }
            return one.sequence == before.n ? "X" : "a wrong reset"
        case .rst: return one.sequence == before.n ? "X" : "a wrong reset"
        case .syn: return one.sequence == 0 ? "S" : "a wrong SYN"
        case [.syn, .ack]: return one.sequence == 0 && (isAcked || one.acknowledgment == end) ? "SA" : "a wrong SYN,ACK"
        case [.syn, .ack, .ece] where cause?.flags.isSuperset(of: [.syn, .ece, .cwr]) == true:
            // Marks of congestion were offered, and are taken (RFC 3168 §6.1.1).
            return one.sequence == 0 && one.acknowledgment == end ? "SA" : "a wrong SYN,ACK"
        case [.fin, .ack]:
            guard isAcked, one.length == 0 else { return "a wrong FIN" }
            return one.sequence == before.n ? "F" : one.sequence == before.n &- 1 ? "F'" : "a wrong FIN"
        case .ack where one.length == 100:
            return one.sequence == before.n ? "D" : one.sequence == before.u ? "D'" : "wrong data"
        case .ack where one.length == 0 && one.sequence == numbers.n:
            if isAcked { return isChallenge ? "C" : "A" }
            // A FIN beside a SYN may wait until it comes again.
            let isTaken = one.acknowledgment == endWithFIN || one.acknowledgment == end && cause!.flags.contains(.syn)
            return isTaken ? "A+" : "a wrong ACK"
        default: return "\(one)"
        }
    }

    private func heardLetters() -> Set<Character> {
        var letters: Set<Character> = []
        if heard.contains(.established), way.column != "SRp" { letters.insert("e") }
        if heard.contains(.readable) { letters.insert("r") }
        if heard.contains(.finished) { letters.insert("f") }
        if heard.contains(.acknowledged) { letters.insert("k") }
        if heard.contains(.ended), let connection {
            switch stack.error(of: connection) {
            case .none: letters.insert("x")
            case .reset: letters.insert("!")
            case .refused: letters.insert("?")
            case .aborted: letters.insert("&")
            case .timedOut: letters.insert("t")
            case .unreachable: letters.insert("u")
            }
        }
        return letters
    }

    /// The state, if it is another one. Without a connection to ask for, an ACK of the handshake finds out.
    private mutating func stateNow(_ old: TCPState?) -> String? {
        // Without a TCB it is in TIME-WAIT as before.
        if !way.before.isEmpty, stack.tcp.timeWaitCount == 1 { return nil }
        if way.column == "SRp", let connection { return Self.letters(stack.state(of: connection)) }
        if let connection, !way.isReleased, way.column != "TWl" || stack.state(of: connection) != .closed {
            let state = stack.state(of: connection)
            return state == old ? nil : Self.letters(state)
        }
        if let listener, let accepted = stack.accept(listener) {
            connection = accepted
            return Self.letters(stack.state(of: accepted))
        }
        let found = probe()
        // A listener that is free for others has lost this connection.
        if way.column == "TWl" { return found == "LI" ? "CL" : found }
        return found == StateStage.state(ofColumn: way.column) ? nil : found
    }

    private mutating func probe() -> String {
        let synAck = sent.last { $0.absolute.flags.isSuperset(of: [.syn, .ack]) }
        let isNew = synAck != nil && way.column != "SRp"
        let acked = synAck?.relative(to: .init(from: local, to: remote))?.acknowledgment
        sent = []
        arrives(segment(.ack, isNew ? acked! : way.column == "SRp" ? 1 : numbers.p, 0, 1))
        if let listener, stack.accept(listener) != nil { return "SR" }
        guard sent.first?.absolute.flags.contains(.rst) == true else { return "nobody" }
        // A SYN tells whether somebody listens.
        sent = []
        arrives(segment(.syn, numbers.p &+ 100_000))
        return sent.first?.absolute.flags == [.syn, .ack] ? "LI" : "CL"
    }

    static func letters(_ state: TCPState) -> String {
        switch state {
        case .closed: "CL"
        case .listen: "LI"
        case .synSent: "SS"
        case .synReceived: "SR"
        case .established: "ES"
        case .finWait1: "F1"
        case .finWait2: "F2"
        case .closeWait: "CW"
        case .closing: "CI"
        case .lastAck: "LA"
        case .timeWait: "TW"
        }
    }

    /// The state that a column stands for.
    static func state(ofColumn column: String) -> String {
        switch column {
        case "SRp", "SRa": "SR"
        case "ES+", "ES0": "ES"
        case "CLx": "CL"
        case "TWl": "TW"
        default: column
        }
    }

    // MARK: Calls

    mutating func call(_ name: String) -> Int? {
        switch name {
        case "OPEN, active":
            precondition(stack.connect(from: local.address, to: remote.address, port: remote.port) != nil)
            return nil
        case "OPEN, passive":
            let another = try? stack.listen(on: local.port)
            if listener == nil { listener = another }
            return nil
        case "SEND":
            guard let connection else { return 0 }
            return stack.send(connection, [UInt8](repeating: 7, count: 100))
        case "RECEIVE":
            guard let connection else { return 0 }
            return stack.receiveAll(connection).count
        case "CLOSE of sending": if let connection { stack.finish(connection) }
        case "CLOSE": if let connection { stack.release(connection) }
        default: if let connection { stack.abort(connection) }
        }
        return nil
    }
}
