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
    /// The CPU of each core. A stack with links has one core: a link has one queue, and nobody spreads its flows yet.
    func cpus() throws(NetworkError) -> [Int?] {
        guard case .stack(let interfaces) = transport, let first = interfaces.first else { return cores.cpus() }
        let cpus = cores == .all ? Array(cores.cpus().prefix(1)) : cores.cpus()
        guard cpus.count == 1 else {
            throw .link(
                .unsupported(
                    link: first.link.description, what: "a stack on \(cpus.count) cores over one link",
                    remedy: "run it on one: cores: .count(1)"))
        }
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
