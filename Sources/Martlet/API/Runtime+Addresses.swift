// The addresses of a runtime's own stack, which may come and go while it runs: by DHCP, by what routers announce, by conflicts.

public import MartletStack
internal import Synchronization

extension Runtime {
    /// The addresses that the own stack has now: a list for each interface in the order of the configuration, and a last one for
    /// the loopback. Empty if the transport is the kernel's.
    ///
    /// An address that is being claimed is among them, and not usable yet (``MartletStack/AssignedAddress/isUsable``).
    public func addresses() async -> [[AssignedAddress]] { await cores[0].isolation.addresses(cores[0]) }

    /// What happens to the addresses of the own stack from now on: they are gained and lost, or somebody else has them.
    ///
    /// Each call begins a sequence of its own, which ends with the runtime. Of events that are not fetched it keeps the latest 64:
    /// ``addresses()`` says what holds. The runtime logs the same: a conflict as a warning, a loss at notice level, else at info
    /// level.
    ///
    /// ```swift
    /// for await event in runtime.interfaceEvents() where event.change == .gained { print(event.address) }
    /// ```
    public func interfaceEvents() -> AsyncStream<InterfaceEvent> { cores[0].links.interfaceNews.events() }
}

extension CoreIsolation {
    func addresses(_ core: Core) -> [[AssignedAddress]] {
        guard let driver = unsafe core.transport.driver.stack else { return [] }
        let count = unsafe driver.pointee.stack.interfaceCount
        return (0..<UInt8(count)).map { unsafe driver.pointee.stack.addresses(of: $0) }
    }
}

/// Those who want to hear of the interfaces of a runtime.
final class InterfaceSubscribers: Sendable {
    private struct State {
        var continuations: [Int: AsyncStream<InterfaceEvent>.Continuation] = [:]
        var next = 0
        var hasEnded = false
    }

    private let state = Mutex(State())

    func events() -> AsyncStream<InterfaceEvent> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: InterfaceEvent.self, bufferingPolicy: .bufferingNewest(InterfaceEvent.capacity))
        let number: Int? = state.withLock { state in
            if state.hasEnded { return nil }
            state.next += 1
            state.continuations[state.next] = continuation
            return state.next
        }
        guard let number else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLock { $0.continuations.removeValue(forKey: number) }
        }
        return stream
    }

    func tell(_ event: InterfaceEvent) {
        for continuation in state.withLock({ Array($0.continuations.values) }) { continuation.yield(event) }
    }

    /// The runtime has ended.
    func finish() {
        let all = state.withLock { state in
            state.hasEnded = true
            return Array(state.continuations.values)
        }
        for continuation in all { continuation.finish() }
    }
}
