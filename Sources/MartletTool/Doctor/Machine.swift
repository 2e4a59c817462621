// What files and system calls say of this machine: proc(5), sysctl(2), capabilities(7), getrlimit(2).

import Foundation
import Glibc

enum Machine {
    /// The first line of a file, or nil if it cannot be read.
    static func read(_ path: String) -> String? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
        return text.split(separator: "\n").first.map(String.init)
    }

    /// A line of `/proc/meminfo`, as a number.
    static func memory(_ name: String) -> Int? {
        guard let text = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix("\(name):") }
        return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
    }

    /// A sysctl by its name with dots.
    static func sysctl(_ name: String) -> String? { read("/proc/sys/" + name.replacing(".", with: "/")) }

    /// The kernel's release, such as `6.18.3-amd64`.
    static var release: String { sysctl("kernel.osrelease") ?? "unknown" }

    /// A soft and a hard limit.
    struct Limit: Hashable, Sendable {
        var soft: UInt64
        var hard: UInt64

        static let unlimited = UInt64(bitPattern: -1)
    }

    static func limit(_ resource: __rlimit_resource) -> Limit {
        var limit = rlimit()
        // SAFETY: getrlimit(2) writes `limit`, which outlives the call.
        guard unsafe getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0 else {
            return Limit(soft: 0, hard: 0)
        }
        return Limit(soft: UInt64(limit.rlim_cur), hard: UInt64(limit.rlim_max))
    }

    /// The errno of opening a file for reading and writing, or 0.
    static func errorOfOpening(_ path: String) -> Int32 {
        // SAFETY: open(2) reads the path during the call.
        let descriptor = unsafe open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        close(descriptor)
        return 0
    }

    /// The errno of making a raw socket of a family, or 0.
    static func errorOfRawSocket(family: Int32) -> Int32 {
        let descriptor = socket(family, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return errno }
        close(descriptor)
        return 0
    }

    static func text(of errno: Int32) -> String {
        // SAFETY: strerror(3) returns a string that lives until its next call in this thread.
        unsafe String(cString: strerror(errno))
    }

    /// CPUs' worth of time that the control group allows, or nil where it allows all: cpu.max of cgroup v2.
    static var cpuQuota: Double? {
        let group = read("/proc/self/cgroup")?.split(separator: ":", omittingEmptySubsequences: false).last ?? "/"
        return quota(read("/sys/fs/cgroup\(group)/cpu.max") ?? read("/sys/fs/cgroup/cpu.max") ?? "max")
    }

    /// Reads `200000 100000`, or `max 100000`.
    static func quota(_ text: String) -> Double? {
        let words = text.split(separator: " ").compactMap { Double($0) }
        return words.count == 2 && words[1] > 0 ? words[0] / words[1] : nil
    }
}

/// The effective capabilities of this process.
struct Capabilities: OptionSet, Hashable, Sendable {
    let rawValue: UInt64

    static let netAdmin = Capabilities(rawValue: 1 << 12)
    static let netRaw = Capabilities(rawValue: 1 << 13)
    static let ipcLock = Capabilities(rawValue: 1 << 14)
    static let sysAdmin = Capabilities(rawValue: 1 << 21)
    static let bpf = Capabilities(rawValue: 1 << 39)

    static var current: Capabilities {
        Capabilities(rawValue: ProcessStatus()?["CapEff"].flatMap { UInt64($0, radix: 16) } ?? 0)
    }

    /// Those of `wanted` that are not there, by their names.
    func lacking(_ wanted: [(Capabilities, String)]) -> [String] {
        wanted.filter { !contains($0.0) }.map(\.1)
    }
}
