// A core's link to a network in memory: frames are copied once, by who transmits, into slots of who receives.
//
//     core of one runtime                                          core of another
//     burst ─▶ output, if the ring is full ─▶ │ ring of slots of the other's pool │ ─▶ burst
//
// A flow goes to the core that it belongs to, where the other member has several: they agree on the hash (FlowSpread).

internal import CMartlet
internal import MartletStack
internal import Synchronization

@safe struct MemoryNetworkLink: Link, ~Copyable {
    let name: String
    let properties: LinkProperties
    var counters = LinkCounters()

    private let network: MemoryNetwork
    private let end: NetworkEnd
    /// Empty, of the pool that frames are received into.
    private let pool: Burst
    private let arena: FrameArena
    private let spread: FlowSpread
    private let longest: Int
    private var peers = NetworkPeerTable()
    /// Whose interface has which address: members by their numbers.
    private var addresses = AddressTable(capacity: 1024, ageing: .max)
    private var others = 0
    /// Frames whose senders are being learnt, and the member that they came from.
    private var arrived: Burst
    private var sender = 0
    private var seen = UInt.max
    private var turn = 0
    private var isAsleep = false

    /// Joins a network as one of the cores of a member.
    init(
        _ network: MemoryNetwork, member: Int, queue: Int, queues: Int, address: MACAddress, pool: borrowing FramePool,
        arena: FrameArena
    ) throws(LinkError) {
        let name = "memory:" + network.name
        let longest = network.mtu + 18
        guard pool.frameCapacity - pool.headroom >= longest else {
            throw .invalid(
                link: name,
                reason: "frames of \(pool.frameCapacity) bytes have no room for packets of \(network.mtu): "
                    + "set limits.frameCapacity to \(longest + pool.headroom) or more")
        }
        end = try network.join(member: member, queue: queue, queues: queues)
        (self.name, self.longest, self.network, self.arena) = (name, longest, network, arena)
        properties = LinkProperties(
            mtu: network.mtu, macAddress: address, capabilities: [.transmitChecksum, .receiveChecksum])
        spread = FlowSpread(over: 1, secret: FlowSecret.process)
        self.pool = pool.makeBurst(capacity: 1)
        arrived = pool.makeBurst()
    }

    deinit {
        for place in 0..<peers.count {
            peers[place].incoming?.leaveAsConsumer()
            peers[place].outgoing?.leaveAsProducer()
        }
        network.leave(end)
    }

    var state: LinkState { .up }

    // MARK: Frames

    mutating func receive(into burst: inout Burst) -> Int {
        look()
        let (frames, bytes) = (burst.count, burst.byteCount)
        learn(into: &burst)
        for step in 0..<peers.count {
            if burst.isFull { break }
            take(from: (turn &+ step) % peers.count, into: &burst)
        }
        turn &+= 1
        let count = burst.count &- frames
        counters.received.count(count, bytes: burst.byteCount &- bytes)
        return count
    }

    private mutating func take(from place: Int, into burst: inout Burst) {
        guard let ring = peers[place].incoming else { return }
        if others == 1 {
            if ring.take(into: &burst) == 0, peers[place].isGone { seen = .max }
            return
        }
        guard arrived.isEmpty else { return }
        sender = peers[place].member
        if ring.take(into: &arrived) == 0, peers[place].isGone { seen = .max }
        learn(into: &burst)
    }

    /// Remembers who sends, where there is more than one who may.
    private mutating func learn(into burst: inout Burst) {
        while !burst.isFull, let frame = arrived.popFirst() {
            addresses.learn(bits: frame.ethernetAddressBits.source, port: sender, now: 1)
            burst.append(frame)
        }
    }

    mutating func transmit(_ burst: inout Burst) -> Int {
        look()
        let frames = burst.count
        if peers.count == 0 {
            counters.transmitted.drops[.linkDown] &+= UInt64(frames)
            burst.removeAll()
            return frames
        }
        let longest = longest
        let strays = burst.removeAll { $0.length < 14 || $0.length > longest }
        counters.transmitted.drops[.oversize] &+= UInt64(strays)
        flush()
        var room = burst.count
        for place in 0..<peers.count { room = min(room, peers[place].output.room) }
        if peers.count == 1 {
            peers[0].output.moveFrames(room, from: &burst)
        } else {
            burst.withFirst(room) { burst in
                while let frame = burst.popFirst() { distribute(frame) }
            }
        }
        flush()
        return frames &- burst.count
    }

    private mutating func flush() {
        for place in 0..<peers.count { peers[place].flush(&counters.transmitted) }
    }

    /// Puts a frame where it waits for those that it is for.
    private mutating func distribute(_ frame: consuming Frame) {
        let destination = frame.ethernetAddressBits.destination
        let isGroup = destination & 1 &<< 40 != 0
        if !isGroup, let member = addresses.port(ofBits: destination, now: 1) {
            guard let place = place(of: member, for: frame) else { return }
            return peers[place].output.append(frame)
        }
        // A copy for each member; the last one gets the frame itself.
        var last: Int?
        for place in 0..<peers.count where isFirst(place) {
            let chosen = self.place(of: peers[place].member, for: frame) ?? place
            guard let earlier = last else {
                last = chosen
                continue
            }
            if let copy = pool.copy(of: frame) {
                peers[earlier].output.append(copy)
            } else {
                counters.transmitted.drops[.arenaEmpty] &+= 1
            }
            last = chosen
        }
        if let last { peers[last].output.append(frame) }
    }

    /// Whether a peer is the first of its member's here.
    private func isFirst(_ place: Int) -> Bool {
        for earlier in 0..<place where peers[earlier].member == peers[place].member { return false }
        return true
    }

    /// The peer of a member that a frame is for: the core of its flow, if the member has several and that one is there.
    private func place(of member: Int, for frame: borrowing Frame) -> Int? {
        var found: Int?
        var wanted = -1
        for place in 0..<peers.count where peers[place].member == member {
            let queues = peers[place].queues
            if queues == 1 { return place }
            if wanted < 0 {
                wanted = 0
                if case .flow(let flow, _) = FlowDestination(of: frame.bytes, isEthernet: true) {
                    wanted = spread.over(queues).place(of: flow)
                }
            }
            if peers[place].queue == wanted { return place }
            found = found ?? place
        }
        return found
    }

    // MARK: Who is there

    /// Looks who has come and gone, if anybody has.
    @inline(__always)
    private mutating func look() {
        if network.version.load(ordering: .relaxed) != seen { lookAround() }
    }

    @inline(never)
    private mutating func lookAround() {
        seen = network.version.load(ordering: .acquiring)
        let (ends, ways) = network.look(from: end)
        for place in (0..<peers.count).reversed() {
            let other = peers[place].end
            if ends.contains(where: { $0 === other }) { continue }
            peers[place].isGone = true
            peers[place].outgoing = nil
            counters.transmitted.drops[.linkDown] &+= UInt64(peers[place].output.count)
            peers[place].output.removeAll()
            // What it has transmitted before it left is received first.
            if peers[place].incoming?.isEmpty ?? true { remove(place) }
        }
        for other in ends where other.member != end.member && !knows(other) {
            peers.append(NetworkPeer(other, pool: pool))
        }
        for place in 0..<peers.count where !peers[place].isGone {
            if peers[place].incoming == nil { openWay(from: place) }
            let peer = peers[place].end
            peers[place].outgoing = ways.first { $0.to === peer }?.ring
        }
        others = 0
        for place in 0..<peers.count where isFirst(place) { others += 1 }
    }

    private func knows(_ other: NetworkEnd) -> Bool {
        for place in 0..<peers.count where peers[place].end === other { return true }
        return false
    }

    private mutating func openWay(from place: Int) {
        let other = peers[place].end
        let ring = FrameRing(
            copyingInto: pool, capacity: NetworkPeer.ringCapacity, keeping: WayKeeper(arena, from: other, to: end))
        guard let ring else { return }
        peers[place].incoming = ring
        network.add(NetworkWay(from: other, to: end, ring: ring))
    }

    /// Lets go of a peer that has left: nobody writes to its ring any more, so that its slots are ours again.
    private mutating func remove(_ place: Int) {
        let member = peers[place].member
        peers[place].incoming?.empty(into: pool)
        peers.remove(place)
        for other in 0..<peers.count where peers[other].member == member { return }
        addresses.forget(port: member)
    }

    // MARK: Sleeping

    mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        isAsleep = true
        var sleep = LinkSleep(descriptor: end.eventDescriptor)
        if network.version.load(ordering: .acquiring) != seen || !arrived.isEmpty { return .ready }
        flush()
        for place in 0..<peers.count {
            if wish.frames > 0, let ring = peers[place].incoming,
                !ring.prepareConsumer(frames: 1, eventDescriptor: end.eventDescriptor)
            {
                return .ready
            }
            guard !peers[place].output.isEmpty else { continue }
            sleep.deadline = min(sleep.deadline, peers[place].deadline)
            if let ring = peers[place].outgoing,
                !ring.prepareProducer(room: 1, eventDescriptor: end.eventDescriptor)
            {
                return .ready
            }
        }
        return sleep
    }

    mutating func wokeUp() {
        guard isAsleep else { return }
        isAsleep = false
        for place in 0..<peers.count {
            peers[place].incoming?.wokeConsumer()
            peers[place].outgoing?.wokeProducer()
        }
        martlet_eventfd_drain(end.eventDescriptor)
    }
}

/// What a ring of a network keeps alive: the arena that it is copied into, and what its sides are woken by.
private final class WayKeeper: Sendable {
    private let arena: FrameArena
    private let from: NetworkEnd
    private let to: NetworkEnd

    init(_ arena: FrameArena, from: NetworkEnd, to: NetworkEnd) {
        (self.arena, self.from, self.to) = (arena, from, to)
    }
}
