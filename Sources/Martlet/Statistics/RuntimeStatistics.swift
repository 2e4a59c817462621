// What can be known of a running runtime: of its cores, and of each connection. It is looked up on the cores' own threads, a few
// hundred connections at a time, so that looking holds nobody up for long.

internal import CMartlet
public import MartletStack

/// A look at a core, its stack and its links.
public struct CoreStatistics: Sendable {
    /// The core's number in its runtime, and its CPU if it is pinned to one.
    public let core: Int
    public let cpu: Int?
    public let counters: CoreCounters
    /// What the core's own stack has counted; nil if the kernel is the transport.
    public let stack: StackCounters?
    /// The stack's connections by state; nil if the kernel is the transport.
    public let population: TCPPopulation?
    /// The stack's links.
    public let links: [LinkStatistics]
}

/// A look at a link of a stack.
public struct LinkStatistics: Sendable {
    public let name: String
    public let state: LinkState
    public let counters: LinkCounters
}

/// A look at a connection.
public struct ConnectionStatistics: Sendable {
    /// The number of its core.
    public let core: Int
    public let local: SocketAddress
    public let peer: SocketAddress
    public let info: TCPInfo
}

extension Runtime {
    /// A look at every core. Costs each of them a walk through its stack's table of connections.
    public func statistics() async -> [CoreStatistics] {
        var all: [CoreStatistics] = []
        for core in cores { all.append(await core.isolation.statistics(core)) }
        return all
    }

    /// A look at every TCP connection, those included that are closing or that nobody has accepted yet where the stack is the transport.
    ///
    /// They are looked at a few hundred at a time: what opens or ends meanwhile may be missing.
    ///
    /// - Parameter limit: as many at most.
    public func connections(atMost limit: Int = .max) async -> [ConnectionStatistics] {
        var all: [ConnectionStatistics] = []
        for core in cores {
            var place: Int? = 0
            while let start = place, all.count < limit {
                let (some, next) = await core.isolation.connections(
                    core, from: start, atMost: min(256, limit - all.count))
                all += some
                place = next
            }
        }
        return all
    }
}

extension CoreIsolation {
    fileprivate func statistics(_ core: Core) -> CoreStatistics {
        guard let stack = unsafe core.transport.driver.stack else {
            return CoreStatistics(
                core: core.index, cpu: core.cpu, counters: core.snapshot(), stack: nil, population: nil, links: [])
        }
        return unsafe CoreStatistics(
            core: core.index, cpu: core.cpu, counters: core.snapshot(), stack: stack.pointee.stack.counters,
            population: stack.pointee.stack.population, links: stack.pointee.interfaces.statistics)
    }

    /// Connections from a place of the table on, and the place to go on from; nil at the end.
    fileprivate func connections(
        _ core: Core, from place: Int, atMost limit: Int
    ) -> ([ConnectionStatistics], Int?) {
        core.mustBeCurrent()
        return unsafe core.transport.driver.stack == nil
            ? kernelConnections(core, from: place, atMost: limit) : stackConnections(core, from: place, atMost: limit)
    }

    private func stackConnections(
        _ core: Core, from place: Int, atMost limit: Int
    ) -> ([ConnectionStatistics], Int?) {
        let driver = unsafe core.transport.driver.stack.unsafelyUnwrapped
        var (some, place) = ([ConnectionStatistics](), place)
        while some.count < limit {
            guard let id = unsafe driver.pointee.stack.connection(from: place) else { return (some, nil) }
            place = id.index + 1
            guard let ends = unsafe driver.pointee.stack.endpoints(of: id),
                let info = unsafe driver.pointee.stack.info(of: id)
            else { continue }
            some.append(
                ConnectionStatistics(
                    core: core.index, local: SocketAddress(ends.local), peer: SocketAddress(ends.remote),
                    info: TCPInfo(info)))
        }
        return (some, place)
    }

    private func kernelConnections(
        _ core: Core, from place: Int, atMost limit: Int
    ) -> ([ConnectionStatistics], Int?) {
        let transport = core.transport
        var (some, slot) = ([ConnectionStatistics](), Int32(clamping: place))
        while some.count < limit {
            guard slot < transport.sockets.slots.upperBound else { return (some, nil) }
            defer { slot += 1 }
            let flags = transport.sockets[slot].flags
            guard flags.isSuperset(of: [.inUse, .hasDescriptor]), !flags.contains(.isUnix),
                transport.listeners[slot] == nil, transport.datagramSockets[slot] == nil,
                let local = core.address(slot, local: true), let peer = core.address(slot, local: false),
                let info = core.info(slot)
            else { continue }
            some.append(ConnectionStatistics(core: core.index, local: local, peer: peer, info: info))
        }
        return (some, Int(slot))
    }
}
