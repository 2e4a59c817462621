// The links of a core's stack: frames in at the beginning of a round, frames out at its end, and what the core sleeps on.

internal import MartletStack

/// The links of one core's stack by the numbers of its interfaces. The last interface is the loopback, which has none.
@safe struct StackLinks: ~Copyable {
    // SAFETY: both are allocated here with `count` places that are initialised, and freed in the deinit.
    private let links: UnsafeMutablePointer<AnyLink>
    /// Frames that a link had no room for yet.
    private let waiting: UnsafeMutablePointer<Burst>
    private let count: Int
    /// The other cores, if there are any.
    let exchange: CoreExchange?
    let configurations: [InterfaceConfiguration]
    private var received: Burst
    private var owed: Burst
    /// A link may have more frames than were taken in.
    private var hasMore = false
    /// Links of which the driver will say when they are ready.
    private var watched: [Bool]
    private var isAsleep = false

    /// Opens the links. `address` gives one to an interface that has none.
    init(
        _ interfaces: [StackInterface], pool: borrowing FramePool, exchange: CoreExchange?,
        open: (Int, borrowing FramePool) throws(LinkError) -> AnyLink, address: (Int) -> MACAddress
    ) throws(LinkError) {
        let links = UnsafeMutablePointer<AnyLink>.allocate(capacity: max(1, interfaces.count))
        let waiting = UnsafeMutablePointer<Burst>.allocate(capacity: max(1, interfaces.count))
        var configurations: [InterfaceConfiguration] = []
        do throws(LinkError) {
            for (place, interface) in interfaces.enumerated() {
                let link = interface.faulty(try open(place, pool), pool: pool)
                configurations.append(interface.configuration(on: link.properties, address: address(place)))
                unsafe (links + place).initialize(to: link)
                unsafe (waiting + place).initialize(to: pool.makeBurst(capacity: 256))
            }
        } catch {
            unsafe links.deinitialize(count: configurations.count)
            unsafe waiting.deinitialize(count: configurations.count)
            unsafe links.deallocate()
            unsafe waiting.deallocate()
            throw error
        }
        var loopback = InterfaceConfiguration.loopback
        loopback.mtu = configurations.map(\.mtu).min() ?? min(65_535, pool.frameCapacity - pool.headroom)
        configurations.append(loopback)
        exchange?.isEthernet = configurations.map { if case .ethernet = $0.kind { true } else { false } }
        self.exchange = exchange
        unsafe self.links = links
        unsafe self.waiting = waiting
        count = interfaces.count
        self.configurations = configurations
        received = pool.makeBurst()
        owed = pool.makeBurst()
        watched = Array(repeating: false, count: interfaces.count)
    }

    deinit {
        unsafe waiting.deinitialize(count: count)
        unsafe links.deinitialize(count: count)
        unsafe waiting.deallocate()
        unsafe links.deallocate()
    }

    // MARK: Frames

    /// Bursts of one link that go in before its neighbours have their turn, and before the round goes on.
    private static var burstsARound: Int { 4 }

    mutating func receive(into stack: inout Stack, at now: Instant) {
        hasMore = exchange?.takeOver(into: &stack, at: now) ?? false
        // A copy: the thread sanitizer's compiler takes an element for an access of all that is here.
        let links = unsafe links
        for place in 0..<count {
            var bursts = 0
            while true {
                let frames = unsafe links[place].receive(into: &received)
                if frames == 0 { break }
                if let exchange {
                    exchange.sort(&received, on: UInt8(place), into: &stack, at: now)
                } else {
                    stack.ingress(&received, on: UInt8(place), at: now)
                }
                bursts += 1
                if frames < Burst.defaultCapacity { break }
                if bursts == Self.burstsARound {
                    hasMore = true
                    break
                }
            }
        }
    }

    /// Lets out what the stack owes, as long as every link has room: who is slow holds the others up for a while, and what waits
    /// is no more than a burst each.
    mutating func transmit(from stack: inout Stack, at now: Instant) {
        defer { exchange?.handOver() }
        guard flush() else { return }
        while true {
            let isPaid = stack.egress(into: &owed, at: now)
            distribute(stack)
            if !flush() { return }
            if isPaid { break }
        }
        if let exchange { transmitForOthers(exchange, stack) }
    }

    /// Lets out what other cores transmit by the links of this one, a few bursts a round.
    private mutating func transmitForOthers(_ exchange: CoreExchange, _ stack: borrowing Stack) {
        for _ in 0..<4 * Self.burstsARound {
            exchange.takeDepartures(into: &owed)
            if owed.isEmpty { return }
            distribute(stack)
            if !flush() { return }
        }
        hasMore = true
    }

    private mutating func distribute(_ stack: borrowing Stack) {
        while let frame = owed.popFirst() {
            if frame.interface == Stack.itself, let exchange {
                exchange.loop(frame, stack)
                continue
            }
            let place = Int(frame.interface)
            // A stranger behind the loopback: nobody is there.
            if place >= count { continue }
            unsafe waiting[place].append(frame)
        }
    }

    /// Transmits what waits. Returns whether all of it has gone.
    private func flush() -> Bool {
        var isEmpty = exchange?.hasRoom ?? true
        for place in 0..<count where unsafe !waiting[place].isEmpty {
            _ = unsafe links[place].transmit(&waiting[place])
            if unsafe !waiting[place].isEmpty { isEmpty = false }
        }
        return isEmpty
    }

    var isBusy: Bool { hasMore || exchange?.isBusy ?? false }

    // MARK: Sleeping

    /// Says what to poll before the core sleeps. Returns until when, or nil if there is no need to sleep.
    mutating func prepareToSleep(_ watch: (Int, LinkSleep) -> Void) -> Int64? {
        var deadline = Int64.max
        isAsleep = true
        if let exchange, !exchange.prepareToSleep() {
            wokeUp()
            return nil
        }
        for place in 0..<count {
            let room = unsafe waiting[place].isEmpty ? 0 : 1
            let sleep = unsafe links[place].prepareToSleep(for: LinkWish(frames: 1, room: room))
            if sleep.isReady {
                wokeUp()
                return nil
            }
            deadline = min(deadline, sleep.deadline)
            // What is watched for frames alone would not say that there is room.
            if sleep.descriptor >= 0, !watched[place] || sleep.forOutput {
                watched[place] = true
                watch(place, sleep)
            }
        }
        return deadline
    }

    mutating func wokeUp() {
        guard isAsleep else { return }
        isAsleep = false
        exchange?.wokeUp()
        for place in 0..<count { unsafe links[place].wokeUp() }
    }

    /// The driver says that a link is ready, and watches it no more.
    mutating func isReady(_ place: Int) { watched[place] = false }

    // MARK: Asking

    /// What passed each link, and what the kernel says of it.
    var statistics: [LinkStatistics] {
        mutating get {
            (0..<count).map { place in
                _ = unsafe links[place].refresh()
                return unsafe LinkStatistics(
                    name: links[place].name, state: links[place].state, counters: links[place].counters)
            }
        }
    }

    /// The counters of a link.
    func counters(of place: Int) -> LinkCounters { unsafe links[place].counters }
}
