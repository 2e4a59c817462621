// The limits of the process and the system that bound how many connections there can be, and how fast they come.

import Glibc

enum LimitChecks {
    static func run() -> [Check] {
        [
            cpus(CPUs.usable, quota: Machine.cpuQuota),
            descriptors(Machine.limit(RLIMIT_NOFILE)),
            backlog(Machine.sysctl("net.core.somaxconn")),
            ports(Machine.sysctl("net.ipv4.ip_local_port_range")),
            lockedMemory(Machine.limit(__RLIMIT_MEMLOCK), Capabilities.current),
            hugePages(
                Machine.memory("HugePages_Free"), of: Machine.memory("HugePages_Total"), Machine.memory("Hugepagesize")),
        ]
    }

    static func cpus(_ cpus: [Int], quota: Double?) -> Check {
        let list =
            cpus.count > 16 ? "\(cpus.count)" : "\(cpus.count) (\(cpus.map(String.init).joined(separator: ", ")))"
        if let quota, quota < Double(cpus.count) {
            let count = max(1, Int(quota))
            return .warning(
                "CPUs", "\(list), but the control group allows the time of \(quota.formatted(decimals: 1))",
                remedy: "use so many cores only (cores: .count(\(count))), or raise the container's CPU limit")
        }
        if cpus.count > 1 { return .ok("CPUs", list) }
        return .warning("CPUs", list, remedy: "with a second one, load and server of 'martlet demo' would not share it")
    }

    static func descriptors(_ limit: Machine.Limit) -> Check {
        let text = limit.hard == Machine.Limit.unlimited ? "unlimited" : limit.hard.grouped
        let detail = "\(text) (RLIMIT_NOFILE, to which Martlet raises it by itself)"
        if limit.hard >= 10_000 { return .ok("file descriptors", detail, isRequired: true) }
        let remedy = "ulimit -Hn, LimitNOFILE= of systemd or --ulimit nofile= of docker: each connection needs one"
        if limit.hard < 64 {
            return .missing("file descriptors", detail, isRequired: true, remedy: "raise it: \(remedy)")
        }
        return .warning("file descriptors", detail, remedy: "for more connections raise it: \(remedy)")
    }

    static func backlog(_ text: String?) -> Check {
        guard let text, let count = Int(text) else { return .ok("backlog", "not to be read here (net.core.somaxconn)") }
        let detail = "\(count.grouped) connections a listener (net.core.somaxconn)"
        if count >= 4096 { return .ok("backlog", detail) }
        return .warning(
            "backlog", detail,
            remedy: "bursts of connections may be dropped; as root: sysctl -w net.core.somaxconn=4096")
    }

    static func ports(_ text: String?) -> Check {
        let ends = (text ?? "").split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        guard ends.count == 2 else { return .ok("local ports", "not to be read here (net.ipv4.ip_local_port_range)") }
        let count = ends[1] - ends[0] + 1
        let detail = "\(ends[0])–\(ends[1]): \(count.grouped) connections to one server at a time"
        if count >= 10_000 { return .ok("local ports", detail) }
        return .warning(
            "local ports", detail,
            remedy: "clients may run out; as root: sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"")
    }

    static func lockedMemory(_ limit: Machine.Limit, _ capabilities: Capabilities) -> Check {
        if limit.soft == Machine.Limit.unlimited { return .ok("locked memory", "unlimited (RLIMIT_MEMLOCK)") }
        let detail = "\((limit.soft / 1024).grouped) KiB (RLIMIT_MEMLOCK)"
        if capabilities.contains(.ipcLock) { return .ok("locked memory", "\(detail), which CAP_IPC_LOCK lifts") }
        if limit.soft >= 64 << 20 { return .ok("locked memory", detail) }
        return .warning(
            "locked memory", detail,
            remedy: "only AF_XDP locks much: ulimit -l 65536, LimitMEMLOCK= of systemd or --ulimit memlock= of docker")
    }

    /// `size` in KiB.
    static func hugePages(_ free: Int?, of total: Int?, _ size: Int?) -> Check {
        guard let free, let total, let size else {
            return .warning(
                "huge pages", "not in this kernel",
                remedy: "nothing needs them: only large arenas of frames gain by them")
        }
        let detail = "\(free.grouped) of \(total.grouped) free, \(size.grouped) KiB each"
        if free > 0 { return .ok("huge pages", detail) }
        return .warning(
            "huge pages", detail,
            remedy: "only large arenas of frames gain by them; as root: sysctl -w vm.nr_hugepages=64")
    }
}
