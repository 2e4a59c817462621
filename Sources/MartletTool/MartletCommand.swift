// The command-line tool: one file a subcommand.

import ArgumentParser

@main
struct MartletCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet", abstract: "Tries, measures and diagnoses Martlet.", subcommands: [])
}
