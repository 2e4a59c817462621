// Interfaces of the kernel's, made for a test and set as it wants them: ip-link(8), veth(4), ethtool(8).

import Glibc

/// An interface in a namespace, or in the test's own if that is nil.
public struct Interface: Sendable {
    public let name: String
    public let namespace: Namespace?

    public init(name: String, in namespace: Namespace?) {
        self.name = name
        self.namespace = namespace
    }

    private func ip(_ arguments: [String]) throws {
        try Program.run(["ip"] + (namespace.map { ["-n", $0.name] } ?? []) + arguments)
    }

    private func run(_ arguments: [String]) throws -> Program.Result {
        try Program.run((namespace.map { ["ip", "netns", "exec", $0.name] } ?? []) + arguments)
    }

    public func setUp() throws { try ip(["link", "set", name, "up"]) }
    public func setDown() throws { try ip(["link", "set", name, "down"]) }
    public func setMTU(_ bytes: Int) throws { try ip(["link", "set", name, "mtu", "\(bytes)"]) }
    public func delete() throws { try ip(["link", "delete", name]) }

    /// Gives the interface an address with its prefix, as `10.0.0.1/24`. One of IPv6 is usable at once.
    public func add(address: String) throws {
        try ip(["address", "add", address, "dev", name] + (address.contains(":") ? ["nodad"] : []))
    }

    /// Says which link-layer address a neighbour has, so that nobody asks for it.
    public func add(neighbour address: String, at link: String) throws {
        try ip(["neighbour", "replace", address, "lladdr", link, "nud", "permanent", "dev", name])
    }

    public func set(linkAddress: String) throws { try ip(["link", "set", name, "address", linkAddress]) }

    /// The interface goes to another namespace.
    public func move(to other: Namespace) throws -> Interface {
        try ip(["link", "set", name, "netns", other.name])
        return Interface(name: name, in: other)
    }

    /// Turns an offload of ethtool(8) on or off: `tx` is checksums, then `tso`, `gso`, `gro`.
    public func set(offload: String, _ isOn: Bool) throws {
        _ = try run(["ethtool", "-K", name, offload, isOn ? "on" : "off"])
    }

    /// Lets nothing be sent through it that nobody asked for: no router solicitations, no reports of IPv6.
    public func disableIPv6() throws {
        _ = try run(["sysctl", "-q", "-w", "net.ipv6.conf.\(name).disable_ipv6=1"])
    }

    /// What `/sys/class/net` has of it: `address`, `mtu`, `statistics/rx_packets`.
    public func attribute(_ path: String) throws -> String {
        let text = try run(["cat", "/sys/class/net/\(name)/\(path)"]).output
        return String(text.filter { $0 != "\n" })
    }

    public func statistic(_ name: String) throws -> Int { Int(try attribute("statistics/\(name)")) ?? -1 }
}

/// Two interfaces joined by a wire. They go when either does, and with the namespace of either.
public final class VethPair: Sendable {
    public let left: Interface
    public let right: Interface

    /// A pair that is up, without addresses, and quiet unless `ipv6` is wanted. With `queues` receive and transmit queues a side.
    public init(
        left: Namespace? = nil, right: Namespace?, queues: Int = 1, mtu: Int = 1500, ipv6: Bool = false
    ) throws {
        let name = Rig.uniqueName()
        self.left = Interface(name: name + "l", in: left)
        self.right = Interface(name: name + "r", in: right)
        var command = ["ip", "link", "add", self.left.name]
        if let left { command += ["netns", left.name] }
        let size = ["mtu", "\(mtu)", "numrxqueues", "\(queues)", "numtxqueues", "\(queues)"]
        command += size + ["type", "veth", "peer", "name", self.right.name]
        if let right { command += ["netns", right.name] }
        try Program.run(command + size)
        for side in [self.left, self.right] {
            if !ipv6 { try side.disableIPv6() }
            try side.setUp()
        }
    }

    deinit { try? left.delete() }
}
