// The command-line tool: one file a subcommand in this folder, and beside it a room for each thing they are made of.
// `Serve/` is what is served, `Load/` the load generator, `Watch/` what looks into a running program, `Links/` what runs frames, `Doctor/` what is looked at on a machine, `Terminal/` what is shown.

import ArgumentParser

@main
struct MartletCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "Tries, measures and diagnoses Martlet, a networking runtime for Swift on Linux.",
        discussion: """
            Start with 'martlet demo': it needs no root and no network, and takes a few seconds. Where something does not \
            work, 'martlet doctor' says what is missing and what to do about it.
            """,
        subcommands: [
            Demo.self, Doctor.self, Serve.self, Load.self, Top.self, Connections.self, Generate.self, Receive.self,
            Forward.self, SwitchCommand.self, Capture.self,
        ])
}
