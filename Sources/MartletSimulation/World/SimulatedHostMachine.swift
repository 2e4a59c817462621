// What a simulated host's cores run on, and the link that joins their stack to the virtual network.

internal import Martlet
internal import MartletStack

/// The machine of one host, or of the simulation's body, which is on no network.
final class SimulatedHostMachine: SimulatedMachine, @unchecked Sendable {
    let loop: WorldLoop
    /// The host's node in the network, or -1.
    let node: Int
    var isLinkUp = true
    /// No core has a turn before this instant.
    var stalledUntil: Int64 = 0
    /// The port of the runtime that runs, if its link is open.
    private(set) var port: WorldPort?
    private var stream: RandomStream

    init(_ loop: WorldLoop, node: Int) {
        self.loop = loop
        self.node = node
        stream = RandomStream(seed: loop.seed).stream(0x6D61_6368 << 32 | UInt64(UInt32(bitPattern: Int32(node))))
    }

    /// The address of the host's port: locally administered, by its number.
    var address: MACAddress { MACAddress(bits: 0x0200_0000_0000 | UInt64(node + 1)) }

    var clock: UnsafePointer<Int64> { unsafe loop.clock }
    var outside: any TaskExecutor { loop.executor }
    func random() -> UInt64 { stream.next() }

    func openLink(_ name: LinkName, for pool: borrowing FramePool) throws(LinkError) -> AnyLink {
        let port = WorldPort(self)
        self.port = port
        return AnyLink(WorldLink(port, name: name.name, address: address))
    }

    /// Whoever has the port now is heard no more.
    func disconnect() { port = nil }

    func addresses(of host: String) -> [IPAddress] { loop.host(named: host)?.addresses ?? [] }
    func adopt(_ core: Core) { loop.adopt(core, self) }
    func wasDisturbed() { loop.wasDisturbed() }

    // MARK: Frames

    func transmit(_ frame: [UInt8], from port: WorldPort) {
        guard self.port === port, isLinkUp else { return loop.note(lost: frame, from: node) }
        loop.send(frame, from: node)
    }

    func receive(_ frame: [UInt8]) {
        guard isLinkUp, let port else { return }
        port.received.append(frame)
    }
}

/// Frames that have arrived for a runtime and wait for its core.
final class WorldPort {
    let machine: SimulatedHostMachine
    var received: [[UInt8]] = []
    private var first = 0

    init(_ machine: SimulatedHostMachine) { self.machine = machine }

    var isEmpty: Bool { first == received.count }

    func popFirst() -> [UInt8]? {
        guard !isEmpty else { return nil }
        first += 1
        let frame = received[first - 1]
        if isEmpty {
            received.removeAll(keepingCapacity: true)
            first = 0
        }
        return frame
    }
}

/// A port of the virtual network as a link.
struct WorldLink: Link, ~Copyable {
    let name: String
    let properties: LinkProperties
    var counters = Martlet.LinkCounters()
    private let port: WorldPort

    init(_ port: WorldPort, name: String, address: MACAddress) {
        self.port = port
        self.name = name
        properties = LinkProperties(mtu: 1500, macAddress: address)
    }

    var state: LinkState { port.machine.isLinkUp ? .up : .down }

    mutating func receive(into burst: inout Burst) -> Int {
        var count = 0
        while !burst.isFull, let bytes = port.popFirst() {
            guard let frame = burst.frame(bytes) else {
                counters.received.drops[.arenaEmpty] &+= 1
                continue
            }
            burst.append(frame)
            counters.received.count(1, bytes: bytes.count)
            count += 1
        }
        return count
    }

    mutating func transmit(_ burst: inout Burst) -> Int {
        let count = burst.count
        while let frame = burst.popFirst() {
            let bytes = frame.bytes.array
            counters.transmitted.count(1, bytes: bytes.count)
            port.machine.transmit(bytes, from: port)
        }
        return count
    }

    mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        port.isEmpty ? LinkSleep(descriptor: -1, forInput: false) : .ready
    }
}
