// A firewall: a cable between two links that lets nothing through from or to some networks, or for some ports.
//
//     swift run -c release Firewall packet:eth0 packet:eth1 --prefix 192.0.2.0/24 --port 23 --port 445     # as root
//
// Ctrl-C ends it, and it says what went by and what did not.

import ArgumentParser
import Martlet
import MartletStack

@main
struct Firewall: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Forwards frames between two links, except for those that a rule names.")

    @Argument(help: "A link, such as packet:eth0.") var inside: String
    @Argument(help: "The other link.") var outside: String
    @Option(help: "Drops packets from and to this network, as 192.0.2.0/24; may be given several times.")
    var prefix: [String] = []
    @Option(help: "Drops TCP and UDP from and to this port; may be given several times.") var port: [UInt16] = []
    @Option(help: "Drops what this filter wants, in the words of tcpdump.") var filter: String?
    @Option(help: "Ends after so many seconds. (default: at Ctrl-C)") var seconds: Double?

    func run() async throws {
        let (inside, outside, seconds) = (try LinkName(inside), try LinkName(outside), seconds)
        let rules = try rules.compiled()
        try await Runtime.run(.init(cores: .count(1), shutdownSignals: [.terminate, .interrupt])) { runtime in
            try await runtime.withLink(inside) { inside in
                try await runtime.withLink(outside) { outside in
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        group.addTask { try await pass(from: inside, to: outside, unless: rules) }
                        group.addTask { try await pass(from: outside, to: inside, unless: rules) }
                        if let seconds { group.addTask { try await runtime.cores[0].sleep(for: .seconds(seconds)) } }
                        // The first to end, by a link that is gone or by the time, ends the rest.
                        defer { group.cancelAll() }
                        do { try await group.next() } catch LinkError.cancelled {} catch NetworkError.cancelled {}
                    }
                    for link in [inside, outside] {
                        let counters = link.counters.received
                        print(link.name, counters.frames, "frames,", counters.drops[.filtered], "dropped")
                    }
                }
            }
        }
    }

    /// What is to be dropped, as one filter: it is compiled once, and then a short run of comparisons a frame.
    private var rules: Filter {
        get throws {
            var rules = port.map { Filter.port($0) } + (try filter.map { [try Filter($0)] } ?? [])
            for text in prefix {
                let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
                guard let address = IPAddress(parts[0]) else { throw ValidationError("\(text) is not an address") }
                var longest = 32
                if case .v6 = address { longest = 128 }
                let length = parts.count == 1 ? longest : Int(parts[1]) ?? -1
                guard (0...longest).contains(length) else {
                    throw ValidationError("\(text): a prefix has 0 to \(longest) bits")
                }
                rules.append(.net(address, prefix: length))
            }
            return rules.reduce(.nothing) { $0 || $1 }
        }
    }
}

/// One direction, to its end. What is dropped goes back to the pool, and is counted where it came from.
@Sendable private func pass(from source: OpenLink, to sink: OpenLink, unless rules: Filter.Program) async throws {
    while var burst = try await source.nextBurst() {
        let dropped = burst.removeAll { rules.matches($0.bytes) }
        source.counters.received.drops[.filtered] += UInt64(dropped)
        sink.transmit(burst)
    }
}
