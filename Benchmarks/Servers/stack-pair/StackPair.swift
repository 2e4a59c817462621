// stack-pair: Martlet's stack at both ends of one wire, in one thread: bulk data one way, short connections (open, 64 bytes
// each way, close), or many idle connections beside a few busy ones. Prints one JSON object with what it measured.
//
// The commands, options and names are those of lwip-pair, so that `compare-stacks` can put the two beside each other.
// Checksums are computed and verified at both ends; frames change hands without being copied; the clock is read once a turn.

import ArgumentParser
import PeerSupport

@main
struct StackPair: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stack-pair", abstract: "Martlet's stack at both ends of one wire, in one thread.",
        subcommands: [BulkCommand.self, ConnectionsCommand.self, IdleCommand.self, InstructionsCommand.self])
}

/// What all commands take.
struct CommonOptions: ParsableArguments {
    @Option(help: "Processor to stay on; not pinned if negative.")
    var cpu = -1

    @Flag(help: "Accepted for likeness with other tools: the output is always JSON.")
    var json = false
}

struct BulkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bulk", abstract: "Bytes one way.")

    @Option(help: "Bytes.")
    var count: Int

    @Option(help: "Bytes that may wait to be read; lwIP's window is 65535.")
    var window: UInt32 = 65_535

    @OptionGroup var common: CommonOptions

    func run() throws {
        pin(common.cpu)
        var pair = TwoStacks(Bulk.limits(window: window))
        var bulk = Bulk(count: count)
        let seconds = try pair.measure { pair throws(RunError) in try bulk.run(&pair) }
        let bits = Double(bulk.received) * 8
        Report("bulk", seconds, errors: bulk.errors, drops: pair.drops)
            .with("bytes", bulk.received).with("gigabits_per_second", bits / seconds / 1e9)
            .with("segments", pair.segments).printed()
    }
}

struct ConnectionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connections", abstract: "Short connections: open, 64 bytes each way, close.")

    @Option(help: "Connections.")
    var count: Int

    @Option(help: "Connections that are open at the same time.")
    var atOnce = 64

    @OptionGroup var common: CommonOptions

    func run() throws {
        pin(common.cpu)
        var pair = TwoStacks(ShortConnections.limits(atOnce: atOnce))
        var connections = try ShortConnections(count: count, atOnce: atOnce, &pair)
        let seconds = try pair.measure { pair throws(RunError) in try connections.run(&pair) }
        Report("connections", seconds, errors: connections.errors, drops: pair.drops)
            .with("connections", connections.done).with("at_once", atOnce)
            .with("connections_per_second", Double(connections.done) / seconds).printed()
    }
}

struct IdleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "idle", abstract: "A few busy connections alone, and beside many that are idle.")

    @Option(help: "Established connections.")
    var count = 1_000_000

    @Option(help: "Of them busy, and as many beside nobody to compare with.")
    var active = 1000

    @Option(help: "Measurements of each, in turn; the medians count.")
    var rounds = 7

    @Option(help: "Exchanges of 64 bytes each way by each busy connection, a measurement.")
    var exchanges = 100

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard active >= 1, count >= active, rounds >= 1, exchanges >= 1 else {
            throw ValidationError("There are to be connections, and not more busy ones than there are.")
        }
    }

    func run() throws {
        pin(common.cpu)
        let before = Memory.resident
        var many = TwoStacks(IdleConnections.limits(count: count, active: active))
        var crowd = try IdleConnections(count: count, active: active, &many)
        let grown = Memory.resident - before
        var few = TwoStacks(IdleConnections.limits(count: active, active: active))
        var alone = try IdleConnections(count: active, active: active, &few)
        var costs: (few: [Double], many: [Double]) = ([], [])
        var seconds = 0.0
        for _ in 0..<rounds {
            let (lonely, crowded) = (few.segments, many.segments)
            let fewSeconds = try few.measure { pair throws(RunError) in try alone.exchange(exchanges, &pair) }
            let manySeconds = try many.measure { pair throws(RunError) in try crowd.exchange(exchanges, &pair) }
            costs.few.append(fewSeconds * 1e9 / Double(few.segments - lonely))
            costs.many.append(manySeconds * 1e9 / Double(many.segments - crowded))
            seconds += fewSeconds + manySeconds
        }
        let ratios = zip(costs.many, costs.few).map { $0 / $1 }
        Report("idle", seconds, errors: alone.errors + crowd.errors, drops: few.drops + many.drops)
            .with("connections", count).with("active", active)
            .with("bytes_per_connection", Double(grown) / Double(2 * count))
            .with("gibibytes_per_stack", Double(grown) / 2 / Double(1 << 30))
            .with("nanoseconds_per_segment", costs.many.median)
            .with("nanoseconds_per_segment_alone", costs.few.median)
            .with("ratio", ratios.median).printed()
    }
}

struct InstructionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "instructions",
        abstract: "Instructions of segments and of a short connection, for Benchmarks/Tools/instructions.")

    func validate() throws {
        guard peer_counts_instructions() != 0 else {
            throw ValidationError("To be run by callgrind, and built where valgrind is installed.")
        }
    }

    func run() throws {
        var plain = try SegmentCosts()
        try plain.data(bytes: 64, "64 bytes in order")
        try plain.data(bytes: 1448, "1448 bytes in order")
        var acknowledged = try SegmentCosts(quickAck: true)
        try acknowledged.acknowledgments()
        var connections = try ConnectionCosts()
        try connections.run()
    }
}
