// Two stacks and the wire between them, in virtual time: what most tests of TCP need. The network itself is in Simulation/Hosts.

import MartletSimulation

@testable import MartletStack

/// What the wire does to packets, in few words.
struct WireConditions {
    var latency: Int64 = 5_000_000
    /// Of 1,000 packets, how many are lost, come late by one and a half latencies, come twice.
    var lost = 0
    var late = 0
    var doubled = 0

    var link: LinkConditions {
        var link = LinkConditions(latency: .nanoseconds(latency))
        if lost > 0 { link.loss = .uniform(Double(lost) / 1000) }
        link.reordering = Double(late) / 1000
        link.reorderingDelay = .nanoseconds(latency * 3 / 2)
        link.duplication = Double(doubled) / 1000
        return link
    }
}

/// Which of the two.
enum Side: Int { case client, server }

struct Pair: ~Copyable {
    private var hosts: Hosts
    /// Those of both directions. A change holds for what is sent from then on.
    var conditions: WireConditions {
        didSet {
            hosts.network[from: 0, to: 1] = conditions.link
            hosts.network[from: 1, to: 0] = conditions.link
        }
    }
    /// The ends of the connection that a test is about.
    var clientID: ConnectionID?
    var serverID: ConnectionID?
    /// Looks at each packet that is sent, and may drop it by returning false.
    var filter: (Side, [UInt8]) -> Bool = { _, _ in true } {
        didSet {
            let filter = filter
            hosts.filter = { host, packet in filter(host == 0 ? .client : .server, packet) }
        }
    }

    static let clientAddress = Hosts.address(0)
    static let serverAddress = Hosts.address(1)

    init(
        _ conditions: WireConditions = WireConditions(), limits: TCPLimits = TCPLimits(), seed: UInt64 = 1,
        frameCapacity: Int = 2048
    ) {
        self.conditions = conditions
        hosts = Hosts(conditions.link, limits: limits, seed: seed, frameCapacity: frameCapacity)
    }

    /// Bytes of the longest packet that a stack has left to its link.
    var largestFrame: Int { hosts.largestFrame }

    var client: Stack {
        _read { yield hosts[0] }
        _modify { yield &hosts[0] }
    }

    var server: Stack {
        _read { yield hosts[1] }
        _modify { yield &hosts[1] }
    }

    var now: Instant { hosts.now }
    var delivered: Int { hosts.delivered }
    var pool: FramePool { _read { yield hosts.pool } }

    /// Lets both stacks send what they owe.
    mutating func flush() { hosts.flush() }

    /// One step: to the next arrival or deadline. Returns false if nothing is to come before `limit`.
    mutating func step(until limit: Instant) -> Bool { hosts.step(until: limit) }

    /// Lets nothing happen until `instant`, if nothing does.
    mutating func rest(until instant: Instant) { hosts.rest(until: instant) }

    /// Time jumps for both.
    mutating func jump(to instant: Instant) { hosts.jump(to: instant) }
}

extension Pair {
    /// Forges a segment from the client's end of a connection, so far ahead of what the server expects next.
    mutating func inject(to side: Side, from id: ConnectionID, offset: Int, flags: TCPFlags) {
        precondition(side == .server)
        guard let (tuple, next) = client.tcp.numbers(of: id) else { return }
        var burst = hosts.pool.makeBurst()
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
                all += run.array
                return run.byteCount
            }) > 0
        {}
        return all
    }
}
