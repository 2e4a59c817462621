// One stack and a peer made of segments, in virtual time: it brings a connection to any state by a real exchange, does one thing
// to it, and says what came of it in the words of StateTable.

import MartletSimulation

@testable import MartletStack

/// A way to a column of the tables: the state, and how it was reached.
struct StateWay: Sendable, CustomStringConvertible {
    enum Opening: String, CaseIterable, Sendable { case passive, active, simultaneous }

    let column: String
    let opening: Opening
    /// Of TIME-WAIT: the state before it.
    var before = ""
    var hasTimestamps = false
    var isSACKPermitted = false

    var description: String {
        "\(column), \(opening) open\(before.isEmpty ? "" : ", from \(before)")\(hasTimestamps ? ", timestamps" : "")"
    }

    /// Every way there is, without timestamps.
    static let all: [StateWay] =
        [
            StateWay(column: "CL", opening: .active), StateWay(column: "CLx", opening: .active),
            StateWay(column: "LI", opening: .passive),
            StateWay(column: "SS", opening: .active), StateWay(column: "SRp", opening: .passive),
            StateWay(column: "SRa", opening: .simultaneous), StateWay(column: "ES", opening: .simultaneous),
        ]
        + [StateWay.Opening.passive, .active].flatMap { opening in
            ["ES", "ES+", "ES0", "F1", "F2", "CW", "CI", "LA"].map { StateWay(column: $0, opening: opening) }
        }
        + ["F1", "F2", "CI"].flatMap { before in
            [
                StateWay(column: "TWl", opening: .passive, before: before),
                StateWay(column: "TW", opening: .active, before: before),
            ]
        }
}

/// What the peer knows of the connection, relative to both initial numbers.
struct StateNumbers {
    /// What the peer sends next: RCV.NXT.
    var p: UInt32 = 1
    /// SND.NXT and SND.UNA.
    var n: UInt32 = 1
    var u: UInt32 = 1
    /// RCV.WND.
    var w: UInt32 = 30_000
}

struct StateStage: ~Copyable {
    var stack: Stack
    private let pool = FramePool(count: 24)
    private(set) var now = Instant.zero
    private var local = SegmentBytes.Endpoint(address: IPAddress("192.168.0.1")!, port: 8080, initialSequence: 0)
    private var remote = SegmentBytes.Endpoint(
        address: IPAddress("192.0.2.1")!, port: 40_000, initialSequence: 0xffff_ff80)
    let way: StateWay
    private(set) var numbers = StateNumbers()
    private(set) var connection: ConnectionID?
    private var listener: Int?
    private var heard: ConnectionEvents = []
    private(set) var sent: [SegmentOnWire] = []
    private var clock: UInt32 = 1000
    private var echo: UInt32 = 0
    private var edge: UInt32 = 0
    /// Whether the connection has a port of its own: another's segments are not looked at.
    private var isOpened = false

    init(_ way: StateWay) {
        self.way = way
        var limits = TCPLimits()
        limits.connections = 8
        limits.ringMemory = 512 << 10
        limits.sentRecords = 64
        limits.ranges = 64
        limits.receiveLimit = way.column == "ES0" ? 1000 : 30_000
        stack = Stack(addresses: [local.address], limits: limits, secret: .init(low: 3, high: 4), now: .zero)
        open()
        close()
        settle()
        heard = []
        if way.column == "SS" { numbers.p = 0 }
    }

    // MARK: The way

    private mutating func open() {
        isOpened = way.column == "CL" || way.opening == .passive
        if way.column == "CL" { return }
        if way.opening == .passive {
            listener = stack.listen(port: local.port, backlog: 4)
            if way.column == "LI" { return }
            peer(.syn, 0, 0, nil)
            if way.column == "SRp" { return }
            peer(.ack, 1, 0, 1)
            connection = stack.accept(listener!)
        } else {
            remote.port = 8080
            connection = stack.connect(from: local.address, to: remote.address, port: remote.port)
            settle()
            isOpened = true
            if way.column == "SS" { return }
            if way.opening == .simultaneous {
                peer(.syn, 0, 0, nil)
                if way.column == "SRa" { return }
                peer(.ack, 1, 0, 1)
            } else {
                peer([.syn, .ack], 0, 0, 1)
            }
        }
        numbers.u = 1
        if way.column == "ES0" {
            while numbers.w > 0 { peer([.ack, .psh], numbers.p, min(numbers.w, 500), 1) }
        } else {
            peer([.ack, .psh], 1, 200, 1)
            _ = stack.receiveAll(connection!)
        }
        // A pause, so that nothing of the handshake is under way any more.
        run(for: .seconds(1))
    }

    private mutating func close() {
        guard let connection else { return }
        let last = way.before.isEmpty ? way.column : way.before
        switch last {
        case "ES+": _ = stack.send(connection, [UInt8](repeating: 1, count: 100))
        case "CW", "LA":
            peer([.fin, .ack], numbers.p, 0, numbers.n)
            if last == "LA" { stack.finish(connection) }
        case "F1", "F2", "CI":
            stack.finish(connection)
            settle()
            if last == "F2" { peer(.ack, numbers.p, 0, numbers.n) }
            if last == "CI" { peer([.fin, .ack], numbers.p, 0, numbers.u) }
        case "CLx": peer(.rst, numbers.p, 0, nil)
        default: break
        }
        settle()
        switch way.before {
        case "F1", "F2": peer([.fin, .ack], numbers.p, 0, numbers.n)
        case "CI": peer(.ack, numbers.p, 0, numbers.n)
        default: break
        }
        if way.column == "F2" || !way.before.isEmpty { numbers.u = numbers.n }
    }

    /// A segment of the exchange that leads here: what it takes of the sequence space is sent once.
    private mutating func peer(
        _ flags: PacketScript.Flags, _ sequence: UInt32, _ length: UInt32, _ acknowledgment: UInt32?
    ) {
        arrives(segment(flags, sequence, Int(length), acknowledgment))
        numbers.p = sequence &+ length &+ (flags.isDisjoint(with: [.syn, .fin]) ? 0 : 1)
        numbers.w = edge &- numbers.p
    }

    // MARK: Packets and time

    func segment(
        _ flags: PacketScript.Flags, _ sequence: UInt32, _ length: Int = 0, _ acknowledgment: UInt32? = nil,
        window: UInt16 = 60_000, timestamp: UInt32? = nil
    ) -> PacketScript.Segment {
        var options: [PacketScript.Option] = flags.contains(.syn) ? [.maximumSegmentSize(1460)] : []
        if way.isSACKPermitted, flags.contains(.syn) { options += [.noOperation, .noOperation, .sackPermitted] }
        if way.hasTimestamps {
            options += [.noOperation, .noOperation, .timestamps(value: timestamp ?? clock, echoReply: echo)]
        }
        return PacketScript.Segment(
            flags: flags, sequence: sequence, length: length, acknowledgment: acknowledgment, window: window,
            urgent: flags.contains(.urg) ? 100 : nil, options: .exactly(options))
    }

    mutating func arrives(_ segment: PacketScript.Segment) {
        arrive(SegmentBytes.packet(segment, on: .init(from: remote, to: local)))
    }

    /// Packets that arrive together, in one burst.
    mutating func arrive(_ packets: [UInt8]...) {
        clock += 1
        now = now.advanced(by: .milliseconds(1))
        stack.advance(to: now)
        var burst = pool.makeBurst()
        for bytes in packets {
            var frame = burst.takeFrame()!
            frame.setLength(bytes.count)
            var space = frame.mutableBytes
            for (index, byte) in bytes.enumerated() { space.store(byte, at: index) }
            burst.append(frame)
        }
        stack.ingress(&burst, at: now)
        settle()
    }

    func bytes(of segment: PacketScript.Segment) -> [UInt8] {
        SegmentBytes.packet(segment, on: .init(from: remote, to: local))
    }

    /// Lets the stack send what it owes and tell what it has to tell.
    private mutating func settle() {
        var burst = pool.makeBurst()
        var isPaid = false
        while !isPaid {
            isPaid = stack.egress(into: &burst, at: now)
            while let frame = burst.popFirst() {
                let bytes = frame.bytes
                note((0..<bytes.byteCount).map { bytes.byte(at: $0) })
            }
        }
        while let (id, events) = stack.nextEvent() {
            if connection == nil || id == connection { heard.formUnion(events) }
        }
    }

    private mutating func note(_ bytes: [UInt8]) {
        guard let found = try? SegmentOnWire(bytes), found.destinationPort == remote.port else { return }
        let flags = found.absolute.flags
        if flags.contains(.syn), !isOpened || found.sourcePort == local.port {
            local.initialSequence = found.absolute.sequence
            local.port = found.sourcePort
            numbers.u = 0
        }
        guard let segment = found.relative(to: .init(from: local, to: remote)), found.sourcePort == local.port else {
            return
        }
        sent.append(found)
        if case .exactly(let options) = segment.options {
            for case .timestamps(let value, _) in options { echo = value }
        }
        if flags.contains(.rst) { return }
        let end = segment.end &+ (flags.isDisjoint(with: [.syn, .fin]) ? 0 : 1)
        if Int32(bitPattern: end &- numbers.n) > 0 { numbers.n = end }
        if let ack = segment.acknowledgment { edge = ack &+ UInt32(segment.window ?? 0) }
    }

    mutating func run(for duration: Duration) {
        let end = now.advanced(by: duration)
        settle()
        while let deadline = stack.nextDeadline, deadline <= end {
            now = max(now, deadline)
            stack.advance(to: now)
            settle()
        }
        now = end
        stack.advance(to: now)
        settle()
    }

    /// Until something is sent, or three seconds have gone by.
    mutating func runToFirstTimeout() {
        let end = now.advanced(by: .seconds(3))
        while sent.isEmpty, let deadline = stack.nextDeadline, deadline <= end {
            now = max(now, deadline)
            stack.advance(to: now)
            settle()
        }
    }

    // MARK: What came of it

    /// Does `event`, and says what came of it. `segment` is what has arrived, if anything has.
    mutating func outcome(
        of segment: PacketScript.Segment?, result: Int? = nil, _ event: (inout StateStage) -> Int?
    ) -> StateOutcome {
        sent = []
        let before = numbers
        let challenges = stack.counters.challengeAcks
        let old = connection.map { stack.state(of: $0) }
        let result = event(&self)
        settle()
        let isChallenge = stack.counters.challengeAcks > challenges
        let answer = describe(sent, segment, before, isChallenge)
        var heard = heardLetters()
        let state = stateNow(old, &heard)
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
            }
        }
        return letters
    }

    /// The state, if it is another one. Without a connection to ask for, an ACK of the handshake finds out.
    private mutating func stateNow(_ old: TCPState?, _ heard: inout Set<Character>) -> String? {
        if let connection, way.column != "TWl" || stack.state(of: connection) != .closed {
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
        let synAck = sent.last { $0.absolute.flags == [.syn, .ack] }
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
            let another = stack.listen(port: local.port, backlog: 4)
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
