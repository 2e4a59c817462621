// The machine a comparison ran on, as far as a reader needs it to judge the figures.

import Foundation
import Glibc

struct Machine: Codable, Sendable {
    var processor: String
    var cores: Int
    var kernel: String
    var swift: String
    var date: String

    /// In a line.
    var summary: String { "\(processor), \(cores) processors, \(kernel), \(swift), \(date)" }

    static func current() -> Machine {
        var name = utsname()
        uname(&name)
        let release = withUnsafeBytes(of: &name.release) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        // The version only; what follows it names a distribution's build.
        let version = release.prefix { $0 != "-" }
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "UTC")
        formatter.dateFormat = "yyyy-MM-dd"
        return Machine(
            processor: processorName() ?? "unknown",
            cores: sysconf(Int32(_SC_NPROCESSORS_ONLN)),
            kernel: "Linux \(version)",
            swift: compilerVersion,
            date: formatter.string(from: Date()))
    }

    private static func processorName() -> String? {
        guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("model name") }),
            let colon = line.firstIndex(of: ":")
        else { return nil }
        return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }

    private static var compilerVersion: String {
        #if compiler(>=6.4)
        "Swift 6.4 or later"
        #else
        "Swift 6.3"
        #endif
    }
}
