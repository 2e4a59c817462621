// compare: Martlet beside its peers, on this machine. What is compared is a subcommand each, echo servers if none is named.
// It builds nothing; every executable it starts is a product of this package and lies beside its own.

import ArgumentParser
import Foundation
import Glibc

@main
struct Compare: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Compares Martlet with its peers on this machine.",
        subcommands: [
            CompareServers.self, CompareStacks.self, CompareLinks.self, CompareTransports.self, CompareHosts.self,
        ],
        defaultSubcommand: CompareServers.self)
}

/// Progress goes to standard error, over one line where that is a terminal.
enum Progress {
    private static let isTerminal = isatty(STDERR_FILENO) == 1

    static func note(_ text: String) {
        FileHandle.standardError.write(Data((isTerminal ? "\r\u{1B}[K" : "").utf8) + Data("\(text)\n".utf8))
    }

    static func show(_ text: String) {
        FileHandle.standardError.write(Data((isTerminal ? "\r\u{1B}[K\(text)" : "\(text)\n").utf8))
    }

    static func end() {
        if isTerminal {
            FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
        }
    }
}
