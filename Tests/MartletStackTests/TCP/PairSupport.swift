// Two stacks and the wire between them, in virtual time.

@testable import MartletStack

/// What the wire does to packets.
struct WireConditions {
    var latency: Int64 = 5_000_000
    /// Of 1,000 packets, how many are lost, come late by up to three latencies, come twice.
    var lost = 0
    var late = 0
    var doubled = 0
}

/// Which of the two.
enum Side: Int { case client, server }

struct Pair: ~Copyable {
    var client: Stack
    var server: Stack
    let pool = FramePool(count: 512, capacity: 2048)
    var now = Instant.zero
    var conditions: WireConditions
    var random: SeededGenerator
    private var flying: [(at: Instant, order: Int, to: Side, bytes: [UInt8])] = []
    private var sent = 0
    private(set) var delivered = 0
    /// The ends of the connection that a test is about.
    var clientID: ConnectionID?
    var serverID: ConnectionID?
    /// Looks at each packet that is sent, and may drop it by returning false.
    var filter: (Side, [UInt8]) -> Bool = { _, _ in true }

    static let clientAddress = IPAddress("10.0.0.1")!
    static let serverAddress = IPAddress("10.0.0.2")!

    init(_ conditions: WireConditions = WireConditions(), limits: TCPLimits = TCPLimits(), seed: UInt64 = 1) {
        self.conditions = conditions
        random = SeededGenerator(seed: seed)
        client = Self.stack(Self.clientAddress, limits, pool, secret: .init(low: seed, high: 1))
        server = Self.stack(Self.serverAddress, limits, pool, secret: .init(low: seed, high: 2))
    }

    private static func stack(
        _ address: IPAddress, _ limits: TCPLimits, _ pool: borrowing FramePool, secret: SipHash.Key
    ) -> Stack {
        let interface = InterfaceConfiguration(.ip, addresses: [InterfaceAddress(address, prefixLength: 24)])
        return Stack([interface], limits: StackLimits(tcp: limits), pool: pool, secret: secret, now: .zero)
    }

    /// Lets both stacks send what they owe.
    mutating func flush() {
        for side in [Side.client, .server] {
            var burst = pool.makeBurst()
            var isPaid = false
            var turns = 0
            while !isPaid {
                switch side {
                case .client: isPaid = client.egress(into: &burst, at: now)
                case .server: isPaid = server.egress(into: &burst, at: now)
                }
                turns += 1
                precondition(turns < 10_000, "egress never ends")
                while let frame = burst.popFirst() {
                    let bytes = frame.bytes
                    send((0..<bytes.byteCount).map { bytes.byte(at: $0) }, from: side)
                }
            }
        }
    }

    private mutating func send(_ bytes: [UInt8], from side: Side) {
        guard filter(side, bytes) else { return }
        let to: Side = side == .client ? .server : .client
        if Int.random(in: 0..<1000, using: &random) < conditions.lost { return }
        for copy in 0..<2 {
            if copy == 1, Int.random(in: 0..<1000, using: &random) >= conditions.doubled { break }
            var delay = conditions.latency
            if Int.random(in: 0..<1000, using: &random) < conditions.late {
                delay += Int64.random(in: 0...conditions.latency * 3, using: &random)
            }
            flying.append((now.advanced(byNanoseconds: delay), sent, to, bytes))
            sent += 1
        }
    }

    /// One step: to the next arrival or deadline. Returns false if nothing is to come before `limit`.
    mutating func step(until limit: Instant) -> Bool {
        flush()
        var next = Instant.distantFuture
        for one in flying where one.at < next { next = one.at }
        if let deadline = client.nextDeadline { next = min(next, deadline) }
        if let deadline = server.nextDeadline { next = min(next, deadline) }
        guard next <= limit else { return false }
        now = max(now, next)
        var due = flying.filter { $0.at <= now }
        flying.removeAll { $0.at <= now }
        due.sort { ($0.at.nanoseconds, $0.order) < ($1.at.nanoseconds, $1.order) }
        for side in [Side.client, .server] {
            var burst = pool.makeBurst()
            for one in due where one.to == side {
                delivered += 1
                var frame = burst.takeFrame()!
                frame.setLength(one.bytes.count)
                var bytes = frame.mutableBytes
                for (index, byte) in one.bytes.enumerated() { bytes.store(byte, at: index) }
                burst.append(frame)
                if burst.isFull { deliver(&burst, to: side) }
            }
            deliver(&burst, to: side)
        }
        client.advance(to: now)
        server.advance(to: now)
        return true
    }

    private mutating func deliver(_ burst: inout Burst, to side: Side) {
        switch side {
        case .client: client.ingress(&burst, at: now)
        case .server: server.ingress(&burst, at: now)
        }
    }
}

extension Pair {
    /// Forges a segment from the client's end of a connection, so far ahead of what the server expects next.
    mutating func inject(to side: Side, from id: ConnectionID, offset: Int, flags: TCPFlags) {
        precondition(side == .server)
        guard let (tuple, next) = client.tcp.numbers(of: id) else { return }
        var burst = pool.makeBurst()
        var frame = burst.takeFrame()!
        let header = TCPHeader(
            sourcePort: tuple.localPort, destinationPort: tuple.remotePort, sequence: next + offset, flags: flags)
        SegmentOut.prepend(header, TCPOptions(), tuple, &frame)
        burst.append(frame)
        server.ingress(&burst, at: now)
    }
}

extension Stack {
    mutating func send(_ id: ConnectionID, _ bytes: [UInt8], from offset: Int = 0) -> Int {
        unsafe send(id, bytes.span.bytes.extracting(droppingFirst: offset))
    }

    mutating func receiveAll(_ id: ConnectionID) -> [UInt8] {
        var all: [UInt8] = []
        while receive(
            id,
            { run in
                for index in 0..<run.byteCount { all.append(run.byte(at: index)) }
                return run.byteCount
            }) > 0
        {}
        return all
    }
}
