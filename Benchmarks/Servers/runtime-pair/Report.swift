// The one line that a run prints: a JSON object.

import Glibc

struct Report {
    private var fields: [String]
    private var errors: Int

    init(_ workload: String, _ seconds: Double, errors: Int) {
        fields = ["\"workload\": \"\(workload)\""]
        self.errors = errors
        self = with("seconds", seconds)
    }

    func with(_ name: String, _ number: Int) -> Report { adding("\"\(name)\": \(number)") }

    /// Six digits behind the point: more than the measurement has.
    func with(_ name: String, _ number: Double) -> Report { adding("\"\(name)\": \((number * 1e6).rounded() / 1e6)") }

    private func adding(_ field: String) -> Report {
        var report = self
        report.fields.append(field)
        return report
    }

    /// Prints it, and ends the program with 2 if there were errors.
    func printed() {
        print("{\(with("errors", errors).fields.joined(separator: ", "))}")
        if errors > 0 { exit(2) }
    }
}
