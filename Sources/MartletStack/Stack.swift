// The stack: a machine that turns frames, instants and the user's calls into frames and events, and touches nothing else.
//
// The contract. Whoever drives it does, in each round and in this order:
//
//     1. ingress(&burst, on: interface, at: now)     all frames arrive; nothing is sent yet
//     2. advance(to: now)                            timers expire
//     3. while let event = nextEvent() { … }         and answers with connect, send, receive, finish, abort, release
//     4. egress(into: &burst, at: now)               until it says that all is paid: control first, then ACKs, then data;
//                                                    control takes half of the room while the others wait
//     5. sleep until nextDeadline, or until frames come
//
// `now` never goes back. Frames that come in are consumed; frames that go out are taken from the pool that the stack was made
// with, and say by which interface they leave. If the pool is empty, nothing is lost but time: what was owed stays owed, or is
// sent again.

/// A TCP/IP stack over interfaces of Ethernet frames or bare IP packets, without a clock, a system call, a task or a lock.
///
/// A program with a clock of its own and packets of its own drives it in rounds:
///
/// 1. ``ingress(_:on:at:)`` for each burst that came. All of its segments are processed before an answer leaves (RFC 9293
///    MUST-58, MUST-59).
/// 2. ``advance(to:)``, which lets timers expire.
/// 3. ``nextEvent()`` until it returns nil. Each event names a connection, listener or socket that has news; what the program
///    does about it, now or later, marks what is to be sent, and sends nothing.
/// 4. ``egress(into:at:)`` until it returns true, and each time the frames of the burst go out by the interface that each names
///    (``Frame/interface``).
/// 5. Nothing until ``nextDeadline``, or until frames come, or the program wants to send.
///
/// The instants of one stack come from one clock and never go back. A stack belongs to one thread at a time. Everything it holds is
/// taken when it is made, by its ``StackLimits``; nothing is allocated later. Nothing that comes from outside stops it: what is
/// not understood is dropped and counted (``counters``).
public struct Stack: ~Copyable {
    var network: Network
    var tcp: TCP
    var udp: UDP

    /// A stack with these interfaces, which are known by their places, 0 for the first.
    ///
    /// Frames are taken from `pool`, which has to outlive the stack, and which a program may share among several stacks and
    /// links of the same thread. `secret` is what no stranger may know; see ``StackSecret``.
    ///
    /// Addresses of Ethernet interfaces are claimed first, unless ``InterfaceConfiguration/detectsConflicts`` is off: it takes
    /// some seconds until they may be used, and an ``InterfaceEvent`` tells.
    ///
    /// A stack that is one of several of one host is given its share; see ``StackShare``.
    ///
    /// - Precondition: there are 1 ... 255 interfaces, whose values make sense; each says which do. Frames have 126 bytes of
    ///   headroom or more.
    public init(
        _ interfaces: [InterfaceConfiguration], limits: StackLimits = StackLimits(), pool: borrowing FramePool,
        secret: StackSecret, share: StackShare? = nil, now: Instant
    ) {
        precondition(pool.storage.frameHeadroom >= Self.leastHeadroom, "frames need 126 bytes of headroom")
        var limits = limits
        limits.tcp.adapt(to: interfaces, frameRoom: pool.frameCapacity - pool.storage.frameHeadroom)
        network = Network(interfaces, limits: limits.network, pool: pool, secret: secret, now: now)
        tcp = TCP(limits: limits.tcp, secret: StackSecret(using: &network.random), now: now)
        udp = UDP(limits: limits.udp, using: &network.random)
        network.share = share
        tcp.share = share
    }

    /// Bytes that headers may take before a payload: Ethernet with a tag 18, IPv4 with the longest source route 48, TCP 60.
    private static var leastHeadroom: Int { 126 }

    /// The instant until which nothing happens by itself; nil if nothing ever does. It changes with every call.
    public var nextDeadline: Instant? {
        if network.isOwing { return tcp.now }
        guard let other = network.nextDeadline else { return tcp.nextDeadline }
        return tcp.nextDeadline.map { min($0, other) } ?? other
    }

    // MARK: A round

    /// Takes in all frames of a burst, which came from one interface at `now`.
    ///
    /// A link that has verified transport checksums, or merged segments, says so in each frame (``Frame/offload``,
    /// ``Frame/segmentSize``).
    ///
    /// - Precondition: the stack has this interface.
    public mutating func ingress(_ burst: inout Burst, on interface: UInt8 = 0, at now: Instant) {
        let link = network.interfaces[Int(interface)].prediction
        while true {
            if burst.consumeFirst(if: { latestArrives($0, link, at: now) }) { continue }
            guard let frame = burst.popFirst() else { return }
            if !plainArrives(frame, link, on: interface, at: now) { frameArrives(frame, on: interface, at: now) }
        }
    }

    /// Lets all timers expire that are due at `now`.
    public mutating func advance(to now: Instant) {
        while let packet = network.loopback.popFirst() { loopsBack(packet, at: now) }
        network.advance(to: now)
        while let packet = network.neighbors.popUndeliverable() { isUndeliverable(packet, at: now) }
        tcp.advance(to: now)
        while let peer = tcp.takeSuspect() { network.doubt(wayTo: peer, at: now) }
        network.hearOfFullSize(&tcp, at: now)
    }

    /// Somebody who has news; nil if nobody has. Each is named once for all that happened to it since the last time.
    public mutating func nextEvent() -> StackEvent? {
        if let (connection, events) = tcp.nextEvent() { return .connection(connection, events) }
        if let listener = tcp.nextListener() { return .listener(listener) }
        if let (socket, events) = udp.nextEvent() { return .socket(socket, events) }
        return network.news.popFirst().map { .interface($0) }
    }

    /// Adds what is owed to the burst, as far as it has room, and frames last. Returns whether all is paid: if not, empty the
    /// burst and call again.
    ///
    /// A frame of the burst says by which interface it leaves (``Frame/interface``), and what the link is still to do to it
    /// (``Frame/offload``, ``Frame/segmentSize``), which is nothing unless the interface's configuration allows it. If the pool
    /// is empty it returns true with less than was owed, which is tried again when ``nextDeadline`` says so: at once, if no timer stands
    /// for it.
    public mutating func egress(into burst: inout Burst, at now: Instant) -> Bool {
        var isPaid = false
        while network.flush(into: &burst, at: now) {
            udp.roomReturns()
            // What goes to ourselves waits until the next round has taken in what is on its way already.
            if isPaid || network.loopback.isFull { return true }
            isPaid = tcp.egress(into: &network.packets, at: now)
            // Who could not pay for want of a frame keeps owing it: to ask again at once would be to ask for ever.
            if network.packets.isEmpty { return isPaid || network.packets.freeFrames == 0 }
        }
        return false
    }

    /// What has happened since the stack was made. O(1), a copy of about 700 bytes.
    public var counters: StackCounters {
        StackCounters(
            network: network.counters, neighbors: network.neighbors.counters,
            fragments: network.reassembly.counters, tcp: tcp.counters, udp: udp.counters,
            interfaceEventsLost: network.news.lost)
    }

    /// The next hop of a packet of ours does not answer: its transport hears of it as it would from a router (RFC 1122 §3.3.1.5).
    private mutating func isUndeliverable(_ packet: consuming Frame, at now: Instant) {
        let bytes = packet.bytes
        let isIPv4 = bytes.byte(at: 0) &>> 4 == 4
        guard let quoted = isIPv4 ? QuotedPacket(ipv4: bytes) : QuotedPacket(ipv6: bytes) else { return }
        switch quoted.protocol {
        case .tcp: _ = tcp.icmpError(.soft(.unreachable), of: quoted.tuple, quoted: quoted.sequence, at: now)
        case .udp:
            udp.errorArrives(
                .unreachable, quoted: bytes.from(quoted.transportOffset), from: quoted.source, to: quoted.destination)
        default: break
        }
    }

    /// A packet of ours comes back to us.
    mutating func loopsBack(_ packet: consuming Frame, at now: Instant) {
        // Nothing on the way could have changed it.
        packet.offload.insert(.checksumVerified)
        if plainArrives(packet, .loopback, on: packet.interface, at: now) { return }
        var arrival = Arrival(interface: packet.interface, now: now)
        arrival.isVerified = true
        arrival.isFromUs = true
        arrival.segmentSize = packet.segmentSize
        let version = packet.bytes.byte(at: 0) &>> 4
        packetArrives(packet, version == 4 ? .ipv4 : .ipv6, arrival)
    }
}

extension TCPLimits {
    /// What TCP needs to know of interfaces: the least of what they take, so that a segment may leave by any of them.
    fileprivate mutating func adapt(to interfaces: [InterfaceConfiguration], frameRoom: Int) {
        for interface in interfaces { mtu = min(mtu, UInt16(clamping: interface.mtu)) }
        mtu = min(mtu, UInt16(clamping: frameRoom))
        checksumPartial = interfaces.allSatisfy(\.completesChecksums)
        if !interfaces.allSatisfy({ $0.completesChecksums && $0.cutsSegments }) { segmentsPerFrame = 1 }
    }
}
