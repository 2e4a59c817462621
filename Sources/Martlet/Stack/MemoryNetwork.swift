// A network in the memory of this process: what joins the stacks of several runtimes without a kernel between them.
//
// It is no switch with a thread of its own. Between each two cores of different members lie two rings, one each way, and who
// transmits copies its frames into the rings of those that they are for. This file knows who is there; the frames are the business of
// MemoryNetworkLink.

internal import CMartlet
internal import MartletStack
internal import Synchronization

/// An Ethernet in the memory of this process, which joins runtimes with their own stacks.
///
/// ```swift
/// let network = MemoryNetwork()
/// let server = StackInterface(network: network, addresses: [InterfaceAddress("10.0.0.1/24")!])
/// let client = StackInterface(network: network, addresses: [InterfaceAddress("10.0.0.2/24")!])
/// try await Runtime.run(.init(transport: .stack([server]))) { runtime in … }
/// try await Runtime.run(.init(transport: .stack([client]))) { runtime in … }
/// ```
///
/// Any number of runtimes may join, and come and go. Each learns from the frames that it receives who is where, as a switch does.
/// Nothing is lost while a receiver keeps up: one whose ring is full is waited for, for ten milliseconds without any progress;
/// what is for it is then dropped, and counted as ``LinkDrop/ringFull``, until it goes on.
public final class MemoryNetwork: Sendable {
    /// What the network is called in logs.
    public let name: String
    /// Bytes of the largest packet.
    public let mtu: Int

    private struct State {
        var ends: [NetworkEnd] = []
        var ways: [NetworkWay] = []
        var members = 0
    }

    private let state = Mutex(State())
    /// Counts the changes of who is there and how they are reached.
    let version = Atomic<UInt>(0)

    /// A network that nobody has joined.
    ///
    /// - Parameters:
    ///   - name: what it is called in logs.
    ///   - mtu: bytes of the largest packet, 576 … 65,535. Members need ``Limits/frameCapacity`` for it: 192 bytes more.
    public init(_ name: String = "network", mtu: Int = 1500) {
        precondition(mtu >= 576 && mtu <= 65_535, "an MTU is 576 … 65,535 bytes")
        self.name = name
        self.mtu = mtu
    }

    /// A number for a runtime that joins. Its cores are one member, and reach each other without the network.
    func makeMember() -> Int {
        state.withLock { state in
            state.members += 1
            return state.members
        }
    }

    /// Adds the end of a core, which everybody is told of.
    func join(member: Int, queue: Int, queues: Int) throws(LinkError) -> NetworkEnd {
        let descriptor = martlet_eventfd()
        guard descriptor >= 0 else { throw .system(link: name, errno: -descriptor, during: "eventfd") }
        let end = NetworkEnd(member: member, queue: queue, queues: queues, eventDescriptor: descriptor)
        state.withLock { state in
            state.ends.append(end)
            changed(state)
        }
        return end
    }

    /// Removes an end. Who has rings to it or from it lets go of them when it looks.
    func leave(_ end: NetworkEnd) {
        state.withLock { state in
            state.ends.removeAll { $0 === end }
            state.ways.removeAll { $0.from === end || $0.to === end }
            changed(state)
        }
    }

    /// Makes a ring known to the end that transmits into it.
    func add(_ way: NetworkWay) {
        state.withLock { state in
            // Its producer may have left meanwhile.
            guard state.ends.contains(where: { $0 === way.from }) else { return }
            state.ways.append(way)
            changed(state)
        }
    }

    /// Who is there, and the rings that `end` transmits into.
    func look(from end: NetworkEnd) -> (ends: [NetworkEnd], ways: [NetworkWay]) {
        state.withLock { state in (state.ends, state.ways.filter { $0.from === end }) }
    }

    /// Wakes everybody to look. Rare: it happens when somebody comes or goes.
    private func changed(_ state: State) {
        version.add(1, ordering: .releasing)
        for end in state.ends { martlet_eventfd_signal(end.eventDescriptor) }
    }
}

/// The place of one core in a network.
final class NetworkEnd: Sendable {
    let member: Int
    /// Its number among the member's cores, and how many those are.
    let queue: Int
    let queues: Int
    /// What its core sleeps on. Each ring to or from it keeps it: somebody may be about to signal it when its core has gone.
    let eventDescriptor: Int32

    init(member: Int, queue: Int, queues: Int, eventDescriptor: Int32) {
        (self.member, self.queue, self.queues) = (member, queue, queues)
        self.eventDescriptor = eventDescriptor
    }

    deinit { _ = martlet_close(eventDescriptor) }
}

/// A ring from one end to another.
struct NetworkWay: Sendable {
    let from: NetworkEnd
    let to: NetworkEnd
    let ring: FrameRing
}

/// The secret by which flows are spread over the cores of this process's runtimes. All have one, so that who transmits into a
/// network knows the core that a frame is for.
enum FlowSecret {
    static let process: StackSecret = {
        var random = SystemRandomNumberGenerator()
        return StackSecret(using: &random)
    }()
}
