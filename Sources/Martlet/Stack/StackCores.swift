// What the cores of a runtime with stacks have between them: rings from each to each, and what is fixed before frames pass.

internal import CMartlet
internal import MartletStack
internal import Synchronization

/// Rings and facts that the cores of a runtime share. Nothing here is written on the packet path but the rings.
final class StackCores: Sendable {
    let count: Int
    /// Which core a flow belongs to.
    let spread: FlowSpread
    let ports: SharedPorts
    /// A number for what the cores open together.
    let group = UInt16.random(in: 1...UInt16.max)
    /// From each core to each, in the order of those that they are from.
    private let handovers: [FrameRing]
    /// From each core to the first, which has the links of one queue.
    private let departures: [FrameRing]
    /// What those links can do, once the first core has opened them.
    private let links = Mutex<[Int: (name: String, properties: LinkProperties)]>([:])
    private let eventDescriptors = Mutex<[Int32]>([])
    /// Cores that have something to deliver still; negative until the runtime ends.
    private let delivering = Atomic<Int>(-1)
    private let open = Atomic<Int>(0)

    /// The most cores that there can be.
    static var most: Int { 64 }

    init(count: Int) {
        precondition(count > 1 && count <= Self.most, "frames are handed over between 2 … 64 cores")
        self.count = count
        spread = FlowSpread(over: count, secret: FlowSecret.process)
        ports = SharedPorts(cores: count)
        // All rings of a core together keep so many of its frames.
        let capacity = max(32, 1024 / (count - 1))
        handovers = (0..<count * count).map {
            FrameRing(capacity: $0 / count == $0 % count ? 1 : capacity, isShared: true)
        }
        departures = (0..<count).map { FrameRing(capacity: $0 == 0 ? 1 : 256, isShared: true) }
    }

    /// The ring by which one core hands frames over to another.
    func handover(from one: Int, to other: Int) -> FrameRing { handovers[one * count + other] }

    /// The ring by which a core's frames come to the first.
    func departure(of core: Int) -> FrameRing { departures[core] }

    // MARK: Links of one queue

    func opened(_ place: Int, name: String, _ properties: LinkProperties) {
        links.withLock { $0[place] = (name, properties) }
    }

    /// What the link in this place can do, which the first core has opened.
    func link(_ place: Int) -> (name: String, properties: LinkProperties)? { links.withLock { $0[place] } }

    // MARK: The end

    /// A core runs, and is woken by this.
    func begins(_ eventDescriptor: Int32) {
        eventDescriptors.withLock { $0.append(eventDescriptor) }
        open.add(1, ordering: .relaxed)
    }

    /// The runtime ends: each core goes on until all have delivered what they had to, since they carry each other's frames.
    func willEnd() { delivering.store(open.load(ordering: .relaxed), ordering: .sequentiallyConsistent) }

    /// A core has delivered what it had to.
    func hasDelivered() {
        if delivering.subtract(1, ordering: .sequentiallyConsistent).newValue == 0 { wakeAll() }
    }

    var allHaveDelivered: Bool { delivering.load(ordering: .acquiring) <= 0 }

    /// A core takes part no more.
    func ends() { open.subtract(1, ordering: .sequentiallyConsistent) }

    /// Whether no core takes part any more.
    var allHaveEnded: Bool { open.load(ordering: .acquiring) <= 0 }

    private func wakeAll() {
        eventDescriptors.withLock { for descriptor in $0 { martlet_eventfd_signal(descriptor) } }
    }
}

/// What a core's interface has in place of a link that the first core has opened: frames go there, and come from there sorted
/// (``CoreExchange``).
struct DepartureLink: Link, ~Copyable {
    let name: String
    let properties: LinkProperties
    var counters = LinkCounters()
    private let ring: FrameRing
    private let eventDescriptor: Int32

    init(_ cores: StackCores, of core: Int, place: Int, eventDescriptor: Int32) throws(LinkError) {
        guard let link = cores.link(place) else {
            throw .invalid(link: "interface \(place)", reason: "the first core has not opened it")
        }
        (name, properties) = link
        ring = cores.departure(of: core)
        self.eventDescriptor = eventDescriptor
    }

    var state: LinkState { .up }

    mutating func receive(into burst: inout Burst) -> Int { 0 }

    mutating func transmit(_ burst: inout Burst) -> Int {
        let bytes = burst.byteCount
        let count = ring.put(&burst)
        counters.transmitted.count(count, bytes: bytes &- burst.byteCount)
        return count
    }

    mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        if wish.room > 0, !ring.prepareProducer(room: wish.room, eventDescriptor: eventDescriptor) { return .ready }
        // The core sleeps on its eventfd anyway.
        return LinkSleep(descriptor: -1)
    }

    mutating func wokeUp() { ring.wokeProducer() }
}
