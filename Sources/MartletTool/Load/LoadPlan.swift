// What a run of the load generator is to do.

import ArgumentParser
import Martlet

struct LoadPlan: Sendable {
    enum Mode: String, CaseIterable, Codable, Sendable, ExpressibleByArgument {
        /// Each connection sends a request when the one before has been answered.
        case echo
        /// Each request has a connection of its own.
        case short
        /// Each connection has several requests under way.
        case pipeline
    }

    var mode = Mode.echo
    var connections = 64
    /// Bytes of a request.
    var size = 64
    /// Requests under way on a connection.
    var depth = 1
    /// Length of the measured part, and of what goes before it.
    var seconds = 5.0
    var warmup = 1.0
    /// Requests a second of an open loop, or nil for a closed one.
    var rate: Double?
    /// Ends connections of `short` by a reset.
    var resets = false

    /// What is wrong with the plan, and what would be right, or nil.
    var mistake: String? {
        if connections < 1 { return "--connections must be at least 1" }
        if size < 1 || size > 16 << 20 { return "--size must be 1 … 16777216 bytes" }
        if depth < 1 || depth > 65_536 { return "--depth must be 1 … 65536" }
        if size * depth > 64 << 20 { return "--size times --depth must be at most 64 MiB" }
        if !(seconds > 0 && seconds <= 86_400) { return "--seconds must be more than 0 and at most 86400" }
        if !(warmup >= 0 && warmup <= 3600) { return "--warmup must be 0 … 3600 seconds" }
        guard let rate else { return nil }
        if !(rate > 0 && rate <= 100_000_000) {
            return "--rate must be more than 0 and at most 100000000 requests a second"
        }
        if mode == .pipeline { return "--rate sends on time whatever is under way: leave out --mode pipeline" }
        return nil
    }

    /// A request's bytes never wait for room in the runtime, so that sending one and then receiving its echo ends.
    var options: ConnectionOptions {
        var options = ConnectionOptions()
        options.sendLimit = max(options.sendLimit, size * depth)
        return options
    }

    /// The plan in words.
    var summary: String {
        let connections = connections == 1 ? "1 connection" : "\(connections) connections"
        let bytes = size == 1 ? "1 byte" : "\(size.grouped) bytes"
        let what =
            switch (mode, rate) {
            case (.short, let rate?):
                "each request on a connection of its own, \(rate.grouped) a second, at most \(connections)"
            case (_, let rate?): "\(rate.grouped) requests a second over \(connections), whether or not answers keep up"
            case (.echo, nil): "\(connections), each with one request under way"
            case (.short, nil): "\(connections) at a time, a new one for each request"
            case (.pipeline, nil): "\(connections), each with \(depth) requests under way"
            }
        return "\(what), \(bytes) a request"
    }
}
