// One stack and a peer made of segments, in virtual time: it brings a connection to any state by a real exchange. What comes of
// an event there is in StateStage+Outcome.

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
    /// Of TIME-WAIT: whether the user has let go, so that there is no TCB any more.
    var isReleased = false

    var description: String {
        "\(column), \(opening) open\(before.isEmpty ? "" : ", from \(before)")\(hasTimestamps ? ", timestamps" : "")\(isReleased ? ", released" : "")"
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
    var local = SegmentBytes.Endpoint(address: IPAddress("192.168.0.1")!, port: 8080, initialSequence: 0)
    var remote = SegmentBytes.Endpoint(
        address: IPAddress("192.0.2.1")!, port: 40_000, initialSequence: 0xffff_ff80)
    let way: StateWay
    private(set) var numbers = StateNumbers()
    var connection: ConnectionID?
    var listener: ListenerID?
    var heard: ConnectionEvents = []
    var sent: [SegmentOnWire] = []
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
        limits.listeners = 2
        limits.synQueue = 8
        limits.timeWaits = 8
        limits.receiveLimit = way.column == "ES0" ? 1000 : 30_000
        let interface = InterfaceConfiguration(.ip, addresses: [InterfaceAddress(local.address, prefixLength: 0)])
        stack = Stack(
            [interface], limits: StackLimits(network: .few, tcp: limits), pool: pool, secret: .init(low: 3, high: 4),
            now: .zero)
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
        if way.isReleased { stack.release(connection) }
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
    mutating func settle() {
        var burst = pool.makeBurst()
        var isPaid = false
        while !isPaid {
            isPaid = stack.egress(into: &burst, at: now)
            while let frame = burst.popFirst() {
                let bytes = frame.bytes
                note((0..<bytes.byteCount).map { bytes.byte(at: $0) })
            }
        }
        while let (id, events) = stack.nextConnectionEvent() {
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
}
