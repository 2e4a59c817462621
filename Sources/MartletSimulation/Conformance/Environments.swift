// The environments of kernel sockets: a driver, a family of addresses, and what else is to be different.

internal import Glibc
public import Martlet
internal import MartletStack

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

    private static let paths = Count()

    private static func unixAddress() -> SocketAddress {
        let number = paths.next()
        return .unix(path: "/tmp/martlet-conformance-\(getpid())-\(number)")
    }
}
