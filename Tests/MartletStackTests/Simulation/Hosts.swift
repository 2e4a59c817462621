// Stacks at the nodes of a virtual network, all in one virtual time.
//
// A step goes to the next arrival or deadline, wherever it is, lets the stacks there see it, and lets those send that were
// touched. Nothing here knows what the stacks carry: that is what Transfers and the tests are for. What went over the links last is
// kept, and becomes a file when a check fails.

import Glibc
import MartletSimulation
import Testing

@testable import MartletStack

struct Hosts: ~Copyable {
    /// A stack and where it is.
    private final class Host {
        var stack: Stack
        /// How far its clock is ahead of the network's.
        var clockLead: Int64 = 0
        /// Whether it may owe something, or have another deadline than before.
        var isTouched = true

        init(_ stack: consuming Stack) { self.stack = stack }
    }

    let seed: UInt64
    var network: VirtualNetwork
    private(set) var now = Instant.zero
    private(set) var delivered = 0
    /// Bytes of the longest packet that a stack has left to its link.
    private(set) var largestFrame = 0
    var recording = Recording()
    /// Looks at each packet that a host sends, and may drop it by returning false.
    var filter: ((Int, [UInt8]) -> Bool)?
    private var hosts: [Host] = []
    /// Behind the stacks, which may hold frames of it: fields go in their order.
    let pool: FramePool
    /// By the network's clock.
    private var deadlines: [Int64] = []
    /// The nodes at both ends of a bottleneck, if there is one, and how many of the hosts are before it.
    private var bottleneck: (left: Int, right: Int, leftHosts: Int)?

    /// So many hosts, as yet without links.
    private init(limits: [TCPLimits], seed: UInt64, frameCapacity: Int = 2048) {
        self.seed = seed
        pool = FramePool(count: 512, capacity: frameCapacity)
        network = VirtualNetwork(seed: seed)
        for (number, limits) in limits.enumerated() {
            let secret = SipHash.Key(low: seed, high: UInt64(number + 1))
            let address = InterfaceAddress(Self.address(number), prefixLength: 16)
            var interface = InterfaceConfiguration(.ip, addresses: [address])
            (interface.completesChecksums, interface.cutsSegments) = (limits.checksumPartial, true)
            let stack = Stack(
                [interface], limits: StackLimits(tcp: limits), pool: pool,
                secret: secret, now: .zero)
            hosts.append(Host(stack))
            deadlines.append(.max)
            _ = network.addNode()
        }
    }

    /// Two hosts, 0 and 1, with a link each way: `there` from 0 to 1.
    init(
        _ there: LinkConditions, back: LinkConditions? = nil, limits: TCPLimits = TCPLimits(), seed: UInt64,
        frameCapacity: Int = 2048
    ) {
        self.init(limits: [limits, limits], seed: seed, frameCapacity: frameCapacity)
        network.addLink(from: 0, to: 1, framing: .ip, conditions: there)
        network.addLink(from: 1, to: 0, framing: .ip, conditions: back ?? there)
    }

    /// Two routers with `bottleneck` from the left one to the right, and `access` both ways between each and `pairs` hosts: host
    /// `n` on the left, host `pairs + n` on the right. Back to the left nothing is narrow.
    init(
        pairs: Int, bottleneck: LinkConditions, access: LinkConditions, limits: TCPLimits = TCPLimits(), seed: UInt64
    ) {
        self.init(limits: Array(repeating: limits, count: 2 * pairs), seed: seed)
        let (left, right) = (network.addNode(), network.addNode())
        for number in 0..<2 * pairs {
            network.connect(number, number < pairs ? left : right, framing: .ip, conditions: access)
        }
        network.addLink(from: left, to: right, framing: .ip, conditions: bottleneck)
        network.addLink(
            from: right, to: left, framing: .ip, conditions: LinkConditions(latency: bottleneck.latency))
        self.bottleneck = (left, right, pairs)
    }

    static func address(_ host: Int) -> IPAddress {
        .v4(IPv4Address(10, 0, UInt8((host + 1) >> 8), UInt8((host + 1) & 255)))
    }

    var count: Int { hosts.count }

    /// The stack of a host.
    subscript(host: Int) -> Stack {
        _read { yield hosts[host].stack }
        _modify {
            hosts[host].isTouched = true
            yield &hosts[host].stack
        }
    }

    /// What a host's clock says.
    func clock(of host: Int) -> Instant { now.advanced(byNanoseconds: hosts[host].clockLead) }

    /// Puts a host's clock forward, and nobody else's.
    mutating func jumpClock(of host: Int, by duration: Duration) {
        hosts[host].clockLead += Int64(duration / .nanoseconds(1))
        hosts[host].isTouched = true
    }

    /// Lets all stacks send what they owe.
    mutating func flush() {
        for number in hosts.indices where hosts[number].isTouched {
            let clock = clock(of: number)
            var burst = pool.makeBurst()
            var isPaid = false
            var turns = 0
            while !isPaid {
                isPaid = hosts[number].stack.egress(into: &burst, at: clock)
                turns += 1
                precondition(turns < 10_000, "egress never ends")
                while let frame = burst.popFirst() {
                    let packet = frame.bytes.array
                    largestFrame = max(largestFrame, packet.count)
                    let isPartial = frame.offload.contains(.checksumPartial)
                    for packet in WireOffload.packets(packet, segmentSize: frame.segmentSize, isPartial: isPartial) {
                        send(packet, from: number)
                    }
                }
            }
            hosts[number].isTouched = false
            let deadline = hosts[number].stack.nextDeadline
            deadlines[number] = deadline.map { $0.nanoseconds - hosts[number].clockLead } ?? .max
        }
    }

    private mutating func send(_ packet: [UInt8], from host: Int) {
        if let filter, !filter(host, packet) {
            return recording.append(packet, at: now, host: host, .outbound, "dropped by the test")
        }
        let hop = nextHop(from: host, packet)
        switch network.send(packet, from: host, to: hop, at: now) {
        case .arrives: recording.append(packet, at: now, host: host, .outbound, nil)
        case .dropped(let reason): recording.append(packet, at: now, host: host, .outbound, reason.rawValue)
        }
    }

    /// Where a packet goes next, by the last bytes of an IPv4 header's destination.
    private func nextHop(from node: Int, _ packet: [UInt8]) -> Int {
        let destination = (Int(packet[18]) << 8 | Int(packet[19])) - 1
        guard let bottleneck else { return destination }
        let isLeft = destination < bottleneck.leftHosts
        switch node {
        case bottleneck.left: return isLeft ? destination : bottleneck.right
        case bottleneck.right: return isLeft ? bottleneck.left : destination
        default: return node < bottleneck.leftHosts ? bottleneck.left : bottleneck.right
        }
    }

    /// One step: to the next arrival or deadline. Returns false if nothing is to come before `limit`.
    mutating func step(until limit: Instant) -> Bool {
        flush()
        var next = network.nextArrival?.nanoseconds ?? .max
        for deadline in deadlines where deadline < next { next = deadline }
        guard next < .max, next <= limit.nanoseconds else { return false }
        now = max(now, Instant(nanoseconds: next))
        deliver()
        for number in hosts.indices where hosts[number].isTouched || deadlines[number] <= now.nanoseconds {
            hosts[number].isTouched = true
            hosts[number].stack.advance(to: clock(of: number))
        }
        return true
    }

    /// Lets nothing happen until `instant`, if nothing does.
    mutating func rest(until instant: Instant) {
        while step(until: instant) {}
        now = max(now, instant)
    }

    /// Time jumps for all, as if nobody had run in between: what was due is due now.
    mutating func jump(to instant: Instant) {
        now = max(now, instant)
        for number in hosts.indices { hosts[number].isTouched = true }
    }

    private mutating func deliver() {
        var burst = pool.makeBurst()
        var receiver = 0
        for delivery in network.deliveries(until: now) {
            if delivery.to >= hosts.count {
                let hop = nextHop(from: delivery.to, delivery.frame)
                let outcome = network.send(delivery.frame, from: delivery.to, to: hop, at: now)
                if case .dropped(let reason) = outcome {
                    recording.append(delivery.frame, at: now, host: hosts.count, .inbound, reason.rawValue)
                }
                continue
            }
            if delivery.to != receiver || burst.isFull { ingress(&burst, to: receiver) }
            receiver = delivery.to
            delivered += 1
            recording.append(delivery.frame, at: now, host: receiver, .inbound, nil)
            if let frame = burst.frame(delivery.frame) { burst.append(frame) }
        }
        ingress(&burst, to: receiver)
    }

    private mutating func ingress(_ burst: inout Burst, to host: Int) {
        guard !burst.isEmpty else { return }
        hosts[host].isTouched = true
        hosts[host].stack.ingress(&burst, at: clock(of: host))
    }

    /// Steps until `isDone`, which is asked after each; it is where programs receive and send. Fails the test if that takes more
    /// than `patience` of virtual time, or more than `stepLimit` steps: a livelock fails and does not hang.
    @discardableResult
    mutating func drive(
        for patience: Duration, stepLimit: Int = 10_000_000, sourceLocation: SourceLocation = #_sourceLocation,
        until isDone: (inout Hosts) -> Bool
    ) -> Bool {
        let limit = now + patience
        for _ in 0..<stepLimit {
            guard step(until: limit) else {
                fail("not done after \(patience)", sourceLocation: sourceLocation)
                return false
            }
            if isDone(&self) { return true }
        }
        fail("not done after \(stepLimit) steps", sourceLocation: sourceLocation)
        return false
    }

    // MARK: Failing

    /// Fails the test unless `condition` holds: with the seed, and a capture of what went last.
    mutating func check(
        _ condition: Bool, _ message: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        if !condition { fail(message(), sourceLocation: sourceLocation) }
    }

    private mutating func fail(_ message: String, sourceLocation: SourceLocation) {
        let capture = recording.write(hosts: hosts.count + 1, seed: seed)
        Issue.record("seed \(seed), at \(now.seconds) s: \(message). \(capture)", sourceLocation: sourceLocation)
    }
}

extension Instant {
    /// Seconds since the start of the simulation.
    var seconds: Double { Double(nanoseconds) / 1e9 }
}

extension RawSpan {
    /// The bytes, copied.
    var array: [UInt8] {
        unsafe withUnsafeBytes { source in
            unsafe [UInt8](unsafeUninitializedCapacity: source.count) { bytes, count in
                if let from = source.baseAddress { unsafe memcpy(bytes.baseAddress!, from, source.count) }
                count = source.count
            }
        }
    }
}

extension Burst {
    /// A frame of the burst's pool that holds `bytes`; nil if all are taken.
    func frame(_ bytes: [UInt8]) -> Frame? {
        guard var frame = takeFrame() else { return nil }
        frame.setLength(bytes.count)
        var place = frame.mutableBytes
        unsafe place.withUnsafeMutableBytes { unsafe $0.copyBytes(from: bytes) }
        return frame
    }
}
