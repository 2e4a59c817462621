// The CPUs that this process may use, as the kernel lists them: proc_pid_status(5), cpuset(7).

import Foundation

enum CPUs {
    static var usable: [Int] {
        let list = ProcessStatus()?["Cpus_allowed_list"].map(parse) ?? []
        return list.isEmpty ? [0] : list
    }

    /// Reads `0-3,8,10-11`.
    static func parse(_ list: String) -> [Int] {
        list.split(separator: ",").flatMap { part -> [Int] in
            let ends = part.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, first <= last else { return [] }
            return Array(first...last)
        }
    }
}

/// `/proc/self/status`.
struct ProcessStatus {
    private let fields: [String: String]

    init?() {
        guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return nil }
        self.init(text)
    }

    init(_ text: String) {
        let pairs = text.split(separator: "\n").compactMap { line -> (String, String)? in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            return (String(line[..<colon]), line[colon...].dropFirst().trimmingCharacters(in: .whitespaces))
        }
        fields = Dictionary(pairs, uniquingKeysWith: { first, _ in first })
    }

    subscript(name: String) -> String? { fields[name] }
}
