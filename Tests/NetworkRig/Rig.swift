// The rig: network namespaces, interfaces in them, and real programs as peers, for tests of links on a real kernel.
//
// Everything that a rig makes has a name that holds the process's id, goes away with the value that stands for it, and, should
// the process have been killed, is swept away by the next process that uses the rig. See ip-netns(8), veth(4), network_namespaces(7).

import Glibc
import Synchronization

/// Whether and why tests that need namespaces run here.
public enum Rig {
    /// Whether they run: where they can, and under `CI=true` in any case, so that they fail there if they cannot.
    public static var runs: Bool { isCI || whyNot == nil }

    /// What is missing: the reason why such tests are skipped. `nil` if nothing is.
    public static let whyNot: String? = lacking([])

    /// The same, for tests that need programs besides ip(8).
    public static func runs(with programs: String...) -> Bool { isCI || lacking(programs) == nil }

    /// What is missing to run tests with these programs.
    public static func whyNot(with programs: String...) -> String { lacking(programs) ?? "nothing is missing" }

    /// Whether a program is installed.
    public static func has(_ program: String) -> Bool { Program.path(of: program) != nil }

    /// Whether nobody waits for the tests, and all of them are to run: `CI=true`.
    public static var isCI: Bool { Environment["CI"] == "true" }

    private static func lacking(_ programs: [String]) -> String? {
        if geteuid() != 0 { return "network namespaces are made by root only" }
        for program in ["ip"] + programs where Program.path(of: program) == nil {
            return "\(program) is not installed"
        }
        return probe
    }

    /// Makes a namespace and takes it away again, once in the life of a process.
    private static let probe: String? = {
        sweep()
        do {
            _ = try Namespace()
            return nil
        } catch {
            return "no namespace can be made here: \(error)"
        }
    }()

    // MARK: Names

    private static let serial = Atomic(0)

    /// A name that nobody else on this machine has, of 15 bytes at most, as an interface's must be.
    public static func uniqueName(_ suffix: String = "") -> String {
        let number = serial.wrappingAdd(1, ordering: .relaxed).newValue
        return "mt\(getpid())n\(number)\(suffix)"
    }

    /// The process that made something of this name, if it was the rig of one.
    static func maker(of name: some StringProtocol) -> pid_t? {
        guard name.hasPrefix("mt"), let end = name.firstIndex(of: "n") else { return nil }
        return pid_t(name[name.index(name.startIndex, offsetBy: 2)..<end])
    }

    /// Takes away what processes that no longer live have left behind.
    static func sweep() {
        guard let list = try? Program.run("ip", "netns", "list") else { return }
        for line in list.output.split(separator: "\n") {
            let name = line.prefix { $0 != " " }
            if isLeftBehind(name) { _ = try? Program.run("ip", "netns", "delete", String(name)) }
        }
        guard let links = try? Program.run("ip", "-o", "link") else { return }
        for line in links.output.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2)
            guard parts.count == 3 else { continue }
            let name = parts[1].drop { $0 == " " }.prefix { $0 != "@" }
            if isLeftBehind(name) { _ = try? Program.run("ip", "link", "delete", String(name)) }
        }
    }

    private static func isLeftBehind(_ name: some StringProtocol) -> Bool {
        guard let maker = maker(of: name) else { return false }
        return kill(maker, 0) != 0 && errno == ESRCH
    }
}

/// What went wrong in the rig itself.
public struct RigFailure: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}

enum Environment {
    static subscript(name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}
