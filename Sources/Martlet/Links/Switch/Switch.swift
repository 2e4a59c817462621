// A learning Ethernet switch over any links, in the manner of VALE (Rizzo and Lettieri, CoNEXT 2012; IEEE 802.1Q-2018 §8).
//
//     port 0 ─▶ burst ─▶ source: learn ─▶ destination: look up ─┬─▶ output of port 1 ─▶ transmit
//                                                               ├─▶ output of port 2 ─▶ transmit
//                                          everybody, unknown ──┴─▶ a copy to each
//
// A frame moves from burst to burst by its descriptor. What goes to everybody is copied, and limited: without that limit one
// loop in the wiring would fill every link with copies of one broadcast for ever.

internal import CMartlet
public import MartletStack

/// A switch. Its ports are links of one core; links that pass frames without copying must be of the switch's pool.
public struct Switch: ~Copyable {
    /// What a switch is held to.
    public struct Limits: Sendable {
        /// Addresses that are remembered.
        public var addresses = 4096
        /// How long an address is remembered that is not heard of.
        public var ageing = Duration.seconds(300)
        /// Frames for everybody, or for addresses that nobody is known to have, that a port may bring in a second; and so many
        /// at once. More are dropped and counted (``LinkDrop/storm``).
        public var floodsPerSecond = 10_000
        /// Frames that a port takes in at once.
        public var burst = 256

        public init() {}
    }

    /// The ports. A program may look at their counters and states.
    public var ports: LinkSet
    public private(set) var addresses: AddressTable
    private let limits: Limits
    private var input: Burst
    /// Where each frame of `input` goes.
    private var ways: SwitchTable<Way>
    /// Frames that leave by a port at the end of its neighbour's turn.
    private var outputs: BurstTable
    /// Floods that each port may still bring, in nanoseconds of its time: a token bucket.
    private var credit: SwitchTable<Int64>
    private var floodCost: Int64
    private var lastTurn: Int64 = 0

    /// A switch without ports, with room for `ports` of them. Everything it needs is allocated here.
    public init(ports: Int, pool: borrowing FramePool, limits: Limits = Limits()) {
        precondition(limits.floodsPerSecond > 0 && limits.burst > 0, "a switch's limits are positive")
        self.ports = LinkSet(capacity: ports)
        self.limits = limits
        addresses = AddressTable(
            capacity: limits.addresses, ageing: UInt32(clamping: limits.ageing.nanoseconds / 1_000_000_000))
        input = pool.makeBurst(capacity: limits.burst)
        ways = SwitchTable(repeating: .nowhere, count: limits.burst)
        outputs = BurstTable(count: ports, pool: pool, capacity: limits.burst)
        credit = SwitchTable(repeating: 1_000_000_000, count: ports)
        floodCost = max(1, 1_000_000_000 / Int64(limits.floodsPerSecond))
    }

    /// Adds a port, whose number is the count before.
    ///
    /// - Precondition: there is room.
    @discardableResult
    public mutating func addPort<Added: Link & ~Copyable>(_ link: consuming Added) -> Int { ports.append(link) }

    /// Takes a burst from each port and passes it on. Returns how many frames came in; none means that all ports are idle.
    ///
    /// - Parameter now: nanoseconds of a clock that does not go back.
    public mutating func forward(now: Int64) -> Int {
        refill(now)
        let seconds = UInt32(truncatingIfNeeded: now / 1_000_000_000)
        var sum = 0
        for port in 0..<ports.count {
            let count = ports[port].receive(into: &input)
            guard count > 0 else { continue }
            sum &+= count
            distribute(from: port, seconds)
            transmit()
        }
        return sum
    }

    /// The same, by the machine's clock.
    public mutating func forward() -> Int { forward(now: martlet_monotonic_ns()) }

    private mutating func refill(_ now: Int64) {
        let elapsed = lastTurn == 0 ? 0 : max(0, now &- lastTurn)
        lastTurn = now
        guard elapsed > 0 else { return }
        for port in 0..<credit.count { credit[port] = min(1_000_000_000, credit[port] &+ elapsed) }
    }

    /// Moves the frames of `input` to the outputs.
    private mutating func distribute(from port: Int, _ now: UInt32) {
        addresses.route(&input, from: port, now: now, into: &ways)
        var (strays, returning, storm) = (0, 0, 0)
        for index in 0..<input.count {
            let way = ways[index]
            if way < Way(truncatingIfNeeded: ports.count), way != Way(truncatingIfNeeded: port) {
                let to = Int(way)
                if outputs[to].isFull { ports[to].transmitOrDrop(&outputs[to]) }
                input.moveFirst(to: &outputs[to])
                continue
            }
            guard let frame = input.popFirst() else { break }
            switch way {
            case .nowhere: strays &+= 1
            case .everybody where credit[port] >= floodCost:
                credit[port] &-= floodCost
                flood(frame, from: port)
            case .everybody: storm &+= 1
            default: returning &+= 1
            }
        }
        if strays | returning | storm > 0 {
            ports[port].counters.received.drops[.runt] &+= UInt64(strays)
            ports[port].counters.received.drops[.noWay] &+= UInt64(returning)
            ports[port].counters.received.drops[.storm] &+= UInt64(storm)
        }
    }

    private mutating func send(_ frame: consuming Frame, to port: Int) {
        if outputs[port].isFull { ports[port].transmitOrDrop(&outputs[port]) }
        outputs[port].append(frame)
    }

    /// A copy for each port but the one it came from; the last one gets the frame itself.
    private mutating func flood(_ frame: consuming Frame, from port: Int) {
        var left = ports.count &- 1
        for to in 0..<ports.count where to != port {
            left &-= 1
            guard left > 0 else { break }
            guard let copy = input.copy(of: frame) else {
                ports[to].counters.transmitted.drops[.arenaEmpty] &+= 1
                continue
            }
            send(copy, to: to)
        }
        let last = ports.count &- 1
        let to = last == port ? last &- 1 : last
        if to >= 0 { send(frame, to: to) }
    }

    private mutating func transmit() {
        for port in 0..<ports.count where !outputs[port].isEmpty { ports[port].transmitOrDrop(&outputs[port]) }
    }

    /// Forgets what was learnt of ports that are gone. It is for once a second.
    public mutating func refresh() {
        for port in 0..<ports.count {
            _ = ports[port].refresh()
            if ports[port].state == .gone { addresses.forget(port: port) }
        }
    }
}

/// Plain values by number, in a place of their own: an array would look, each time it is written to, whether somebody else has it too.
@safe struct SwitchTable<Element: BitwiseCopyable>: ~Copyable {
    // SAFETY: allocated and initialised for `count` elements, and indices are checked.
    private let elements: UnsafeMutablePointer<Element>
    let count: Int

    init(repeating element: Element, count: Int) {
        self.count = count
        unsafe elements = .allocate(capacity: count)
        unsafe elements.initialize(repeating: element, count: count)
    }

    deinit { unsafe elements.deallocate() }

    subscript(index: Int) -> Element {
        @inline(__always)
        unsafeAddress {
            precondition(index >= 0 && index < count, "there is no such place")
            return unsafe UnsafePointer(elements + index)
        }
        @inline(__always)
        unsafeMutableAddress {
            precondition(index >= 0 && index < count, "there is no such place")
            return unsafe elements + index
        }
    }
}

/// Bursts by number.
@safe struct BurstTable: ~Copyable {
    // SAFETY: allocated and initialised for `count` bursts, and indices are checked.
    private let bursts: UnsafeMutablePointer<Burst>
    private let count: Int

    init(count: Int, pool: borrowing FramePool, capacity: Int) {
        self.count = count
        unsafe bursts = .allocate(capacity: count)
        for index in 0..<count { unsafe (bursts + index).initialize(to: pool.makeBurst(capacity: capacity)) }
    }

    deinit {
        unsafe bursts.deinitialize(count: count)
        unsafe bursts.deallocate()
    }

    subscript(index: Int) -> Burst {
        unsafeAddress {
            precondition(index >= 0 && index < count, "there is no such burst")
            return unsafe UnsafePointer(bursts + index)
        }
        unsafeMutableAddress {
            precondition(index >= 0 && index < count, "there is no such burst")
            return unsafe bursts + index
        }
    }
}
