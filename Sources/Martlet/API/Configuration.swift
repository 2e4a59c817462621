// From what the program asked for to what the cores are given.

internal import CMartlet
internal import Glibc

extension CoreSelection {
    /// The CPU of each core, or nil where it is not pinned.
    func cpus() -> [Int?] {
        let usable = unsafe [Int32](unsafeUninitializedCapacity: 1024) { buffer, count in
            count = min(1024, Int(unsafe martlet_usable_cpus(buffer.baseAddress, 1024)))
        }.map(Int.init)
        switch self {
        case .all: return usable
        case .count(let count):
            precondition(count > 0, "a runtime needs at least one core")
            return count <= usable.count ? Array(usable.prefix(count)) : Array(repeating: nil, count: count)
        case .these(let cpus):
            precondition(!cpus.isEmpty, "a runtime needs at least one core")
            return cpus
        }
    }
}

extension Runtime.Configuration {
    /// The CPU of each core.
    ///
    /// Addresses that come and go are for a stack of one core: the others would have to follow.
    func cpus() throws(NetworkError) -> [Int?] {
        let cpus = cores.cpus()
        guard case .stack(let interfaces) = transport, cpus.count > 1 else { return cpus }
        let changing = interfaces.first { $0.usesDHCP || $0.usesAutoconfiguration || $0.detectsConflicts }
        if changing != nil, cores == .all { return Array(cpus.prefix(1)) }
        if let changing {
            throw .link(
                .unsupported(
                    link: changing.link.description,
                    what: "DHCP, autoconfiguration or the detection of conflicts on \(cpus.count) cores",
                    remedy: "give the interface its addresses, or run it on one core: cores: .count(1)"))
        }
        if cpus.count > StackCores.most, cores == .all { return Array(cpus.prefix(StackCores.most)) }
        guard cpus.count <= StackCores.most else { throw .limitReached("\(StackCores.most) cores with a stack") }
        return cpus
    }
}

extension DriverChoice {
    /// The choice after the environment has had its say.
    func resolved() -> DriverChoice {
        guard self == .automatic, let value = unsafe getenv("MARTLET_DRIVER") else { return self }
        return DriverChoice(rawValue: unsafe String(cString: value)) ?? self
    }
}
