// An L2 forwarder: what arrives at one link leaves by the other, both ways, and nothing is copied.
//
//     swift run -c release Forwarder null:a null:b
//
// Ctrl-C ends it, and it says how much went by. With two TAPs or interfaces it is a cable between them.

import ArgumentParser
import Martlet

@main
struct Forwarder: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Forwards frames between two links.")

    @Argument(help: "A link, such as null:a or memory:a.") var left: String
    @Argument(help: "The other link.") var right: String

    func run() async throws {
        let (left, right) = (try LinkName(left), try LinkName(right))
        try await Runtime.run(.init(cores: .count(1), shutdownSignals: [.terminate, .interrupt])) { runtime in
            try await runtime.withLink(left) { left in
                try await runtime.withLink(right) { right in
                    async let back: Void = forward(from: right, to: left)
                    try await forward(from: left, to: right)
                    try await back
                    for link in [left, right] { print(link.name, link.counters.received.frames, "frames") }
                }
            }
        }
    }
}

func forward(from left: OpenLink, to right: OpenLink) async throws {
    do {
        while let burst = try await left.nextBurst() { right.transmit(burst) }
    } catch LinkError.cancelled {}
}
