// What the cores of a runtime share of their links: the arena that their pools are of, and the names of pipes.

internal import MartletStack
internal import Synchronization

final class RuntimeLinks: Sendable {
    private struct State {
        var arena: FrameArena?
        /// Pipes of which one end is open.
        var waiting: [String: PipeEnd] = [:]
        /// What the cores have in common of the stack's interfaces, by their places.
        var members: [Int: Int] = [:]
        var addresses: [Int: MACAddress] = [:]
    }

    private let state = Mutex(State())
    private let limits: Limits
    private let cores: Int
    /// Who wants to hear of the stack's interfaces.
    let interfaceNews = InterfaceSubscribers()
    /// What the cores have between them if each has a stack, and there are several.
    let stackCores: StackCores?

    init(limits: Limits, cores: Int, haveStacks: Bool = false) {
        stackCores = haveStacks && cores > 1 ? StackCores(count: cores) : nil
        self.limits = limits
        self.cores = max(1, cores)
    }

    /// A core's pool. All are over one arena, which is mapped when the first of them is asked for.
    func makePool() throws(LinkError) -> FramePool {
        let result: Result<FrameArena, LinkError> = state.withLock { state in
            if let arena = state.arena { return .success(arena) }
            do throws(LinkError) {
                let arena = try FrameArena(count: limits.framesPerCore * cores, capacity: limits.frameCapacity)
                state.arena = arena
                return .success(arena)
            } catch {
                return .failure(error)
            }
        }
        return try result.get().makePool(share: limits.framesPerCore)
    }

    /// What the cores' pools are of; nil before the first of them.
    var arena: FrameArena? { state.withLock { $0.arena } }

    /// The runtime's number in the network of an interface: one for all cores.
    func member(of network: MemoryNetwork, interface: Int) -> Int {
        state.withLock { state in
            if let member = state.members[interface] { return member }
            let member = network.makeMember()
            state.members[interface] = member
            return member
        }
    }

    /// An address for an interface that has none: one for all cores.
    func address(ofInterface place: Int, using random: inout some RandomNumberGenerator) -> MACAddress {
        state.withLock { state in
            if let address = state.addresses[place] { return address }
            let address = MACAddress.random(using: &random)
            state.addresses[place] = address
            return address
        }
    }

    /// One end of the pipe of that name: the first to come makes it, the second takes the other end.
    func pipeEnd(_ name: String) -> PipeEnd {
        state.withLock { state in
            if let end = state.waiting.removeValue(forKey: name) { return end }
            let (near, far) = PipeEnd.pair(name, frames: 1024, mtu: 1500)
            state.waiting[name] = far
            return near
        }
    }

    /// An end is about to be closed. If nobody has come for the other, nobody will find it any more.
    func willClose(_ end: PipeEnd) {
        let other = state.withLock { state in
            let other = state.waiting[end.name]
            guard let other, other.ends === end.ends else { return nil as PipeEnd? }
            state.waiting[end.name] = nil
            return other
        }
        other?.abandon()
    }
}
