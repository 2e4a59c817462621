// martlet doctor: looks at the machine for what Martlet needs and can use, and says what to do about what is not there.

import ArgumentParser
import Foundation

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Says what this machine has of what Martlet needs and can use.",
        discussion: """
            Each line has a verdict: 'ok'; 'warning' where something works less well than it could; 'missing' where something \
            does not work. Below it is what to do about it. Nothing on the machine is changed.

            The exit code is 0 unless something is missing that the kernel transport (TCP by io_uring or epoll) cannot do \
            without. Raw packets (TAP, AF_PACKET, AF_XDP) are another matter and need privileges.
            """)

    @Flag(help: "Prints JSON.") var json = false

    /// What was found.
    struct Findings: Encodable {
        let checks: [Check]
        let isReady: Bool

        init(_ checks: [Check]) {
            self.checks = checks
            isReady = !checks.contains { $0.isRequired && $0.verdict == .missing }
        }

        private enum CodingKeys: String, CodingKey {
            case checks
            case isReady = "ready"
        }
    }

    func run() async throws {
        // The limits come first: a runtime raises that of file descriptors.
        let limits = LimitChecks.run()
        let findings = Findings(await KernelChecks.run() + limits + PacketChecks.run())
        print(json ? try Self.json(findings) : Self.text(findings))
        if !findings.isReady { throw ExitCode.failure }
    }

    static func json(_ findings: Findings) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(findings), as: UTF8.self)
    }

    static func text(_ findings: Findings, width: Int = Screen.width, isColoured: Bool = Screen.isColoured) -> String {
        let column = findings.checks.map(\.name.count).max() ?? 0
        let lines = findings.checks.flatMap { $0.lines(column: column, width: width, isColoured: isColoured) }
        let last = findings.isReady ? "Martlet can run here: try 'martlet demo'." : "Martlet cannot run here as it is."
        return (lines + ["", last]).joined(separator: "\n")
    }
}
