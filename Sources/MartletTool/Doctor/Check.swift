// One thing that was looked at, and the verdict. What can be decided from a few numbers is decided by plain functions, so
// that a test can show each verdict without owning the machine for it.

struct Check: Sendable, Encodable {
    enum Verdict: String, Sendable, Encodable {
        case ok
        /// Works, but not as well as it could.
        case warning
        /// Something does not work.
        case missing
    }

    let name: String
    let verdict: Verdict
    /// Whether Martlet cannot run at all without it.
    let isRequired: Bool
    let detail: String
    /// What to do about it, where there is something to do.
    let remedy: String?

    private enum CodingKeys: String, CodingKey {
        case name, verdict, detail, remedy
        case isRequired = "required"
    }

    static func ok(_ name: String, _ detail: String, isRequired: Bool = false) -> Check {
        Check(name: name, verdict: .ok, isRequired: isRequired, detail: detail, remedy: nil)
    }

    static func warning(_ name: String, _ detail: String, remedy: String) -> Check {
        Check(name: name, verdict: .warning, isRequired: false, detail: detail, remedy: remedy)
    }

    static func missing(_ name: String, _ detail: String, isRequired: Bool = false, remedy: String) -> Check {
        Check(name: name, verdict: .missing, isRequired: isRequired, detail: detail, remedy: remedy)
    }
}

extension Check {
    /// The check as lines of a list: the verdict, the name in `column` columns, and the remedy below.
    func lines(column: Int, width: Int, isColoured: Bool) -> [String] {
        let (open, close) = isColoured ? ("\u{1B}[\(verdict.colour)m", "\u{1B}[0m") : ("", "")
        let verdictText = verdict.rawValue + String(repeating: " ", count: 7 - verdict.rawValue.count)
        let padding = String(repeating: " ", count: max(0, column - name.count))
        let first = "\(open)\(verdictText)\(close)  \(name)\(padding)  \(detail)"
        guard let remedy else { return [first] }
        let indentation = String(repeating: " ", count: column + 11)
        let wrapped = Self.wrap(remedy, at: max(30, width - indentation.count - 2))
        return [first] + wrapped.enumerated().map { indentation + ($0.offset == 0 ? "→ " : "  ") + $0.element }
    }

    /// Breaks a text between words, so that its lines have at most `width` columns where that is possible.
    static func wrap(_ text: String, at width: Int) -> [String] {
        var lines: [String] = []
        for word in text.split(separator: " ") {
            if let last = lines.last, last.count + 1 + word.count <= width {
                lines[lines.count - 1] = last + " " + word
            } else {
                lines.append(String(word))
            }
        }
        return lines
    }
}

extension Check.Verdict {
    fileprivate var colour: Int {
        switch self {
        case .ok: 32
        case .warning: 33
        case .missing: 31
        }
    }
}
