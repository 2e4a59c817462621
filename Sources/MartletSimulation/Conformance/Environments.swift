// The environments of kernel sockets: a driver, a family of addresses, and what else is to be different.

internal import Glibc
public import Martlet
public import MartletStack

extension Conformance.Environment {
    /// What kind of address a check listens on.
    public enum Family: String, Sendable, CaseIterable {
        case ipv4 = "IPv4"
        case ipv6 = "IPv6"
        case unix = "Unix"
    }

    /// Kernel sockets on this machine, by a driver and a family.
    ///
    /// - Parameters:
    ///   - cores: how many. With two, a server and its clients often live on different ones.
    ///   - limits: of each core.
    ///   - seed: where the randomised checks begin.
    ///   - note: added to the name.
    public static func kernel(
        _ driver: DriverChoice, _ family: Family, cores: Int = 1, limits: Limits = .init(), seed: UInt64,
        note: String = ""
    ) -> Conformance.Environment {
        let name = "\(driver.rawValue), \(family.rawValue)" + (note.isEmpty ? "" : ", \(note)")
        let configuration = Runtime.Configuration(cores: .count(cores), driver: driver, limits: limits)
        switch family {
        case .ipv4:
            return .init(
                name: name, configuration: configuration, abilities: .tcp, seed: seed, address: { .loopback(port: 0) })
        case .ipv6:
            return .init(
                name: name, configuration: configuration, abilities: .tcp, seed: seed,
                address: { .ipv6(.loopback, port: 0) })
        case .unix:
            return .init(
                name: name, configuration: configuration, abilities: .unixDomain, seed: seed, address: unixAddress,
                release: { if case .unix(let path) = $0 { _ = unsafe unlink(path) } })
        }
    }

    /// The runtime's own stack, which reaches itself: a server and its clients are in one runtime.
    ///
    /// - Parameters:
    ///   - family: not ``Family/unix``: those sockets stay the kernel's.
    ///   - cores: how many, each with a stack.
    ///   - limits: of each core.
    ///   - stackLimits: of its stack.
    public static func stack(
        _ family: Family, cores: Int = 1, limits: Limits = .init(), stackLimits: StackLimits = .server, seed: UInt64,
        note: String = ""
    ) -> Conformance.Environment {
        precondition(family != .unix, "Unix-domain sockets are not the stack's")
        var configuration = Runtime.Configuration(transport: .stack([]), cores: .count(cores), limits: limits)
        configuration.stackLimits = stackLimits
        return .init(
            name: "stack, \(family.rawValue)" + (note.isEmpty ? "" : ", \(note)"), configuration: configuration,
            abilities: [.resets, .acknowledges], seed: seed,
            address: { family == .ipv4 ? .loopback(port: 0) : .ipv6(.loopback, port: 0) })
    }

    private static let paths = Count()

    private static func unixAddress() -> SocketAddress {
        let number = paths.next()
        return .unix(path: "/tmp/martlet-conformance-\(getpid())-\(number)")
    }
}
