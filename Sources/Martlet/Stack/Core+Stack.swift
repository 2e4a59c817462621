// A core's own stack: made on the core's thread, over links that are opened there.

internal import CMartlet
internal import Logging
public import MartletStack

extension Core {
    /// Adds the core's own stack to its driver, if the runtime's transport is one.
    func withStack(_ driver: Driver) throws(NetworkError) -> Driver {
        guard case .stack(let interfaces) = configuration.transport else { return driver }
        var driver = driver
        var random = CoreRandom(machine)
        do throws(LinkError) {
            let now = unsafe state.pointee.now
            let stack = try withFramePool { pool throws(LinkError) in
                var exchange: CoreExchange?
                if let cores = links.stackCores {
                    exchange = CoreExchange(
                        cores, index: index, pool: pool, eventDescriptor: inbox.eventDescriptor)
                }
                let opened = try StackLinks(
                    interfaces, pool: pool, exchange: exchange,
                    open: { place, pool throws(LinkError) in try open(interfaces[place], place, for: pool) },
                    address: { links.address(ofInterface: $0, using: &random) })
                return StackDriver(
                    opened, limits: configuration.stackLimits, pool: pool, secret: StackSecret(using: &random),
                    now: now, interfaceChanged: index == 0 ? { [unowned self] in interfaceChanged($0) } : nil)
            }
            driver.adopt(stack)
            links.stackCores?.begins(inbox.eventDescriptor)
        } catch {
            driver.destroy()
            throw .link(error)
        }
        return driver
    }

    private func open(
        _ interface: StackInterface, _ place: Int, for pool: borrowing FramePool
    ) throws(LinkError) -> AnyLink {
        if let machine { return try machine.openLink(interface.link, for: pool) }
        if let network = interface.network, let arena = links.arena {
            var random = CoreRandom(machine)
            return AnyLink(
                try MemoryNetworkLink(
                    network, member: links.member(of: network, interface: place), queue: index,
                    queues: configuration.coreCount, address: links.address(ofInterface: place, using: &random),
                    pool: pool, arena: arena))
        }
        if let cores = links.stackCores, interface.usesQueues {
            return try interface.link.open(queue: index, group: cores.group, for: pool)
        }
        if let cores = links.stackCores, index > 0 {
            return AnyLink(
                try DepartureLink(cores, of: index, place: place, eventDescriptor: inbox.eventDescriptor))
        }
        let name = interface.link
        let link =
            name.kind == .memory
            ? AnyLink(MemoryLink(links.pipeEnd(name.name), pool: pool)) : try name.open(for: pool)
        links.stackCores?.opened(place, name: link.name, link.properties)
        return link
    }

    /// Logs what has happened to an address, and tells those who want to hear of it.
    private func interfaceChanged(_ event: InterfaceEvent) {
        // The loopback's are no news.
        guard case .stack(let interfaces) = configuration.transport, Int(event.interface) < interfaces.count else {
            return
        }
        links.interfaceNews.tell(event)
        let link = interfaces[Int(event.interface)].link
        switch event.change {
        case .gained: configuration.logger?.info("\(link) has the address \(event.address) (\(event.origin))")
        case .lost: configuration.logger?.notice("\(link) has lost the address \(event.address) (\(event.origin))")
        case .conflict:
            configuration.logger?.warning(
                "another host on \(link) has the address \(event.address) (\(event.origin)): it is not used any more")
        }
    }

    /// What a runtime says of its transport when it starts.
    var stackDescription: String {
        guard case .stack(let interfaces) = configuration.transport else { return "" }
        return ", own stack on " + (["loopback"] + interfaces.map(\.link.description)).joined(separator: ", ")
    }
}

extension StackLimits {
    /// Bounds for a core that serves: some 30,000 connections, of which 64 MiB may wait to be sent and read.
    public static var server: StackLimits {
        var limits = StackLimits()
        limits.tcp.connections = 32_768
        limits.tcp.synQueue = 4096
        limits.tcp.timeWaits = 16_384
        limits.tcp.ringMemory = 64 << 20
        return limits
    }
}
