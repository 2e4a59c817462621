// Stacks at the nodes of a virtual network, all in one virtual time.
//
// A step goes to the next arrival or deadline, wherever it is, lets the stacks there see it, and lets those send that were
// touched. Nothing here knows what the stacks carry: programs run between the steps. What went over the links last is kept, and
// becomes a file when a run fails.

public import MartletStack

/// Hosts with a stack each, on the nodes of a ``VirtualNetwork``, in virtual time.
///
///     var hosts = VirtualHosts(there: LinkConditions(latency: .milliseconds(20)), seed: 7)
///     let listener = try hosts[1].listen(on: 7)
///     let client = try hosts[0].connect(to: VirtualHosts.address(1), port: 7)
///     try hosts.drive(for: .seconds(10)) { hosts in
///         while let event = hosts[1].nextEvent() { … }
///         return isDone
///     }
///
/// Equal seeds and equal calls give equal runs. The whole is for one thread; it sleeps nowhere and reads no clock.
public struct VirtualHosts: ~Copyable {
    /// A stack and where it is.
    private final class Host {
        var stack: Stack
        /// How far its clock is ahead of the network's.
        var clockLead: Int64 = 0
        /// Whether it may owe something, or have another deadline than before.
        var isTouched = true

        init(_ stack: consuming Stack) { self.stack = stack }
    }

    /// What everything random follows from.
    public let seed: UInt64
    /// The network between the hosts. Hosts are its nodes 0 ..< ``count``; routers are behind them.
    public var network: VirtualNetwork
    /// The network's clock.
    public private(set) var now = Instant.zero
    /// Packets that have reached a host so far.
    public private(set) var delivered = 0
    /// Bytes of the longest packet that a stack has left to its link so far, before a link has cut it.
    public private(set) var largestFrame = 0
    /// Looks at each packet that a host sends, and may drop it by returning false.
    public var filter: ((_ host: Int, _ packet: [UInt8]) -> Bool)?
    var recording = Recording()
    private var hosts: [Host] = []
    /// The frames of all stacks. Behind them, who may hold some: fields go in their order.
    public let pool: FramePool
    /// By the network's clock.
    private var deadlines: [Int64] = []
    private var places: [IPAddress: Int] = [:]
    /// The nodes at both ends of a bottleneck, if there is one, and how many of the hosts are before it.
    private var bottleneck: (left: Int, right: Int, leftHosts: Int)?

    /// So many hosts, as yet without links.
    ///
    /// Each has one interface of bare IP packets, with ``address(_:)`` and ``address6(_:)``; `configure` may change that before
    /// the stack is made, as long as the addresses stay.
    ///
    /// - Precondition: there are 1 ... 65,534 hosts.
    public init(
        count: Int, limits: StackLimits = StackLimits(), seed: UInt64, frameCapacity: Int = 2048,
        configure: (inout InterfaceConfiguration) -> Void = { _ in }
    ) {
        precondition(count >= 1 && count <= 65_534, "1 ... 65,534 hosts have addresses")
        self.seed = seed
        pool = FramePool(count: max(512, 2 * count), capacity: frameCapacity)
        network = VirtualNetwork(seed: seed)
        for number in 0..<count {
            var interface = InterfaceConfiguration(
                .ip,
                addresses: [
                    InterfaceAddress(Self.address(number), prefixLength: 16),
                    InterfaceAddress(Self.address6(number), prefixLength: 64),
                ])
            configure(&interface)
            let stack = Stack(
                [interface], limits: limits, pool: pool, secret: StackSecret(low: seed, high: UInt64(number + 1)),
                now: .zero)
            hosts.append(Host(stack))
            deadlines.append(.max)
            places[Self.address(number)] = number
            places[Self.address6(number)] = number
            _ = network.addNode()
        }
    }

    /// Two hosts, 0 and 1, with a link each way: `there` from 0 to 1.
    public init(
        there: LinkConditions, back: LinkConditions? = nil, limits: StackLimits = StackLimits(), seed: UInt64,
        frameCapacity: Int = 2048, configure: (inout InterfaceConfiguration) -> Void = { _ in }
    ) {
        self.init(count: 2, limits: limits, seed: seed, frameCapacity: frameCapacity, configure: configure)
        network.addLink(from: 0, to: 1, framing: .ip, conditions: there)
        network.addLink(from: 1, to: 0, framing: .ip, conditions: back ?? there)
    }

    /// Two routers with `bottleneck` from the left one to the right, and `access` both ways between each and `pairs` hosts: host
    /// `n` on the left, host `pairs + n` on the right. Back to the left nothing is narrow.
    public init(
        pairs: Int, bottleneck: LinkConditions, access: LinkConditions, limits: StackLimits = StackLimits(),
        seed: UInt64
    ) {
        self.init(count: 2 * pairs, limits: limits, seed: seed)
        let (left, right) = (network.addNode(), network.addNode())
        for number in 0..<2 * pairs {
            network.connect(number, number < pairs ? left : right, framing: .ip, conditions: access)
        }
        network.addLink(from: left, to: right, framing: .ip, conditions: bottleneck)
        network.addLink(
            from: right, to: left, framing: .ip, conditions: LinkConditions(latency: bottleneck.latency))
        self.bottleneck = (left, right, pairs)
    }

    /// A host's IPv4 address: 10.0.0.1 for the first, of 10.0.0.0/16.
    public static func address(_ host: Int) -> IPAddress {
        .v4(IPv4Address(10, 0, UInt8((host + 1) >> 8), UInt8((host + 1) & 255)))
    }

    /// A host's IPv6 address: 2001:db8::1 for the first, of 2001:db8::/64.
    public static func address6(_ host: Int) -> IPAddress {
        .v6(IPv6Address(high: 0x2001_0DB8 << 32, low: UInt64(host + 1)))
    }

    /// Hosts.
    public var count: Int { hosts.count }

    /// The stack of a host. Whoever changes it has it send in the next step.
    public subscript(host: Int) -> Stack {
        _read { yield hosts[host].stack }
        _modify {
            hosts[host].isTouched = true
            yield &hosts[host].stack
        }
    }

    /// What a host's clock says.
    public func clock(of host: Int) -> Instant { now.advanced(byNanoseconds: hosts[host].clockLead) }

    /// Puts a host's clock forward, and nobody else's.
    public mutating func jumpClock(of host: Int, by duration: Duration) {
        hosts[host].clockLead += Int64(duration / .nanoseconds(1))
        hosts[host].isTouched = true
    }

    // MARK: Time

    /// One step: to the next arrival or deadline. Returns false if nothing is to come before `limit`.
    public mutating func step(until limit: Instant) -> Bool {
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
    public mutating func rest(until instant: Instant) {
        while step(until: instant) {}
        now = max(now, instant)
    }

    /// Time jumps for all, as if nobody had run in between: what was due is due now.
    public mutating func jump(to instant: Instant) {
        now = max(now, instant)
        for number in hosts.indices { hosts[number].isTouched = true }
    }

    /// Steps until `isDone`, which is asked after each; it is where programs take events, receive and send.
    ///
    /// Throws if that takes more than `patience` of virtual time, if nothing is to come before, or if it takes more than
    /// `stepLimit` steps: a livelock fails and does not hang.
    public mutating func drive(
        for patience: Duration, stepLimit: Int = 10_000_000, until isDone: (inout VirtualHosts) -> Bool
    ) throws(SimulationFailure) {
        var bound = DriveBound(patience, stepLimit: stepLimit, now: now)
        repeat { try bound.step(&self) } while !isDone(&self)
    }

    /// A failure with the seed, the instant, and a capture of what went last, which is written to a file of the temporary folder.
    public mutating func failure(_ message: String) -> SimulationFailure {
        SimulationFailure(
            seed: seed, now: now, message: message, capture: recording.write(names: names, seed: seed))
    }

    /// The packets that went last, oldest first: a file for tshark or Wireshark, with an interface for each host and one for
    /// routers.
    public func capture() -> Capture { recording.capture(names: names) }

    /// The names of a capture's interfaces.
    private var names: [String] { (0...count).map { "host\($0)" } }

    // MARK: Packets

    /// Lets all stacks send what they owe.
    ///
    /// - Precondition: no stack owes more than 10,000 bursts.
    public mutating func flush() {
        for number in hosts.indices where hosts[number].isTouched {
            let clock = clock(of: number)
            var burst = pool.makeBurst()
            var isPaid = false
            var turns = 0
            while !isPaid {
                isPaid = hosts[number].stack.egress(into: &burst, at: clock)
                turns += 1
                precondition(turns < 10_000, "egress never ends")
                while let frame = burst.popFirst() { transmit(frame, from: number) }
            }
            hosts[number].isTouched = false
            let deadline = hosts[number].stack.nextDeadline
            deadlines[number] = deadline.map { $0.nanoseconds - hosts[number].clockLead } ?? .max
        }
    }

    /// What a link does to a frame: completes its checksum, cuts it, and sends it on its way.
    private mutating func transmit(_ frame: consuming Frame, from host: Int) {
        let packet = frame.bytes.array
        largestFrame = max(largestFrame, packet.count)
        let isPartial = frame.offload.contains(.checksumPartial)
        for packet in WireOffload.packets(packet, segmentSize: frame.segmentSize, isPartial: isPartial) {
            send(packet, from: host)
        }
    }

    private mutating func send(_ packet: [UInt8], from host: Int) {
        if let filter, !filter(host, packet) {
            return recording.append(packet, at: now, host: host, .outbound, "dropped by the test")
        }
        guard let hop = nextHop(from: host, packet), network.hasLink(from: host, to: hop) else {
            return recording.append(packet, at: now, host: host, .outbound, "for nobody")
        }
        switch network.send(packet, from: host, to: hop, at: now) {
        case .arrives: recording.append(packet, at: now, host: host, .outbound, nil)
        case .dropped(let reason): recording.append(packet, at: now, host: host, .outbound, reason.rawValue)
        }
    }

    /// Where a packet goes next; nil if no host has its destination.
    private func nextHop(from node: Int, _ packet: [UInt8]) -> Int? {
        guard let address = IPAddress(destinationOf: packet), let destination = places[address] else { return nil }
        guard let bottleneck else { return destination }
        let isLeft = destination < bottleneck.leftHosts
        switch node {
        case bottleneck.left: return isLeft ? destination : bottleneck.right
        case bottleneck.right: return isLeft ? bottleneck.left : destination
        default: return node < bottleneck.leftHosts ? bottleneck.left : bottleneck.right
        }
    }

    private mutating func deliver() {
        var burst = pool.makeBurst()
        var receiver = 0
        for delivery in network.deliveries(until: now) {
            if delivery.to >= hosts.count {
                forward(delivery)
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

    /// A router passes on what has come to it.
    private mutating func forward(_ delivery: VirtualNetwork.Delivery) {
        guard let hop = nextHop(from: delivery.to, delivery.frame) else { return }
        if case .dropped(let reason) = network.send(delivery.frame, from: delivery.to, to: hop, at: now) {
            recording.append(delivery.frame, at: now, host: hosts.count, .inbound, reason.rawValue)
        }
    }

    private mutating func ingress(_ burst: inout Burst, to host: Int) {
        guard !burst.isEmpty else { return }
        hosts[host].isTouched = true
        hosts[host].stack.ingress(&burst, at: clock(of: host))
    }
}

/// How long a run may take, in virtual time and in steps.
struct DriveBound {
    private let patience: Duration
    private let limit: Instant
    private let stepLimit: Int
    private var stepCount = 0

    init(_ patience: Duration, stepLimit: Int, now: Instant) {
        (self.patience, self.stepLimit) = (patience, stepLimit)
        limit = now + patience
    }

    /// One step of the hosts; throws if there is none, or it is one too many.
    mutating func step(_ hosts: inout VirtualHosts) throws(SimulationFailure) {
        guard stepCount < stepLimit else { throw hosts.failure("not done after \(stepLimit) steps") }
        guard hosts.step(until: limit) else { throw hosts.failure("not done after \(patience)") }
        stepCount += 1
    }
}

extension IPAddress {
    /// The destination of an IP packet; nil if it is cut short.
    init?(destinationOf packet: [UInt8]) {
        guard let first = packet.first, packet.count >= (first >> 4 == 4 ? 20 : 40) else { return nil }
        func word(_ offset: Int) -> UInt64 { packet[offset..<offset + 4].reduce(0) { $0 << 8 | UInt64($1) } }
        if first >> 4 == 4 {
            self = .v4(IPv4Address(bits: UInt32(word(16))))
        } else {
            self = .v6(IPv6Address(high: word(24) << 32 | word(28), low: word(32) << 32 | word(36)))
        }
    }
}
