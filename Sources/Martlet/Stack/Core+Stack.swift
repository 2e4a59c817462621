// A core's own stack: made on the core's thread, over links that are opened there.

internal import CMartlet
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
                let links = try StackLinks(interfaces, pool: pool, random: &random) { name, pool throws(LinkError) in
                    try open(name, for: pool)
                }
                return StackDriver(
                    links, limits: configuration.stackLimits, pool: pool, secret: StackSecret(using: &random), now: now)
            }
            driver.adopt(stack)
        } catch {
            driver.destroy()
            throw .link(error)
        }
        return driver
    }

    private func open(_ name: LinkName, for pool: borrowing FramePool) throws(LinkError) -> AnyLink {
        if let machine { return try machine.openLink(name, for: pool) }
        guard name.kind == .memory else { return try name.open(for: pool) }
        return AnyLink(MemoryLink(links.pipeEnd(name.name), pool: pool))
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
