// The one line that a run prints: a JSON object, in the words of lwip-pair.

import Glibc

struct Report {
    private var fields: [String]
    private var errors: Int
    private var drops: Int

    init(_ workload: String, _ seconds: Double, errors: Int, drops: Int) {
        fields = ["\"stack\": \"martlet\"", "\"workload\": \"\(workload)\""]
        self.errors = errors
        self.drops = drops
        self = with("seconds", seconds)
    }

    func with(_ name: String, _ number: Int) -> Report { adding("\"\(name)\": \(number)") }

    /// Six digits behind the point: more than the measurement has.
    func with(_ name: String, _ number: Double) -> Report {
        adding("\"\(name)\": \((number * 1e6).rounded() / 1e6)")
    }

    private func adding(_ field: String) -> Report {
        var report = self
        report.fields.append(field)
        return report
    }

    /// Prints it, and ends the program with 2 if there were errors.
    func printed() {
        let all = with("errors", errors).with("drops", drops).fields.joined(separator: ", ")
        print("{\(all)}")
        if errors > 0 { exit(2) }
    }
}

extension [Double] {
    var median: Double {
        let sorted = sorted()
        return sorted.isEmpty ? .nan : (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
    }
}
