// A run of a subcommand over links: turn after turn until it ends, with a line of live rates, and a report.

import Foundation
import Martlet
import MartletStack

/// What a run drives: links, with or without a switch between them.
protocol LinkDriver: ~Copyable {
    mutating func withLinks<Result>(_ body: (inout LinkSet) -> Result) -> Result
}

extension LinkSet: LinkDriver {
    mutating func withLinks<Result>(_ body: (inout LinkSet) -> Result) -> Result { body(&self) }
}

extension Switch: LinkDriver {
    mutating func withLinks<Result>(_ body: (inout LinkSet) -> Result) -> Result { body(&ports) }
}

/// Keeps the time of a run, and what has passed in it.
struct LinkRun: ~Copyable {
    private let begun: ContinuousClock.Instant
    private let cpuAtBegin = Clock.process
    private let end: ContinuousClock.Instant?
    private let line = LiveLine()
    private var nextTick: ContinuousClock.Instant
    private var lastTick: ContinuousClock.Instant
    private var lastFrames: UInt64 = 0
    /// Frames a second of each whole second.
    private(set) var rates: [Double] = []

    init(seconds: Double?) {
        let now = ContinuousClock.now
        begun = now
        end = seconds.map { now + .seconds($0) }
        (lastTick, nextTick) = (now, now + .seconds(1))
        Interrupt.watch()
    }

    /// The clock is read after so many frames. A turn that has waited by itself returns it.
    static let framesBetweenClocks = 8192

    /// Calls `turn` until the time is up, Ctrl-C has come, or it returns nil. It returns the frames that it has handled; when
    /// there were none the thread sleeps until a link has some.
    ///
    /// `counted` is asked once a second for all frames up to then.
    mutating func go<Driven: LinkDriver & ~Copyable>(
        _ driven: inout Driven, counted: (inout Driven) -> UInt64, _ turn: (inout Driven) throws -> Int?
    ) rethrows {
        while !Interrupt.hasCome {
            var handled = 0
            while handled < Self.framesBetweenClocks {
                guard let count = try turn(&driven) else { return finish() }
                if count == 0 { break }
                handled += count
            }
            let now = ContinuousClock.now
            if let end, now >= end { break }
            if now >= nextTick { tick(now, &driven, counted) }
            if handled == 0 {
                let patience = now.duration(to: end.map { min($0, nextTick) } ?? nextTick)
                _ = driven.withLinks { $0.sleep(atMost: patience) }
            }
        }
        finish()
    }

    private mutating func tick<Driven: LinkDriver & ~Copyable>(
        _ now: ContinuousClock.Instant, _ driven: inout Driven, _ counted: (inout Driven) -> UInt64
    ) {
        // What only the kernel knows: drops, state, MTU.
        driven.withLinks { links in
            for index in 0..<links.count { _ = links[index].refresh() }
        }
        let frames = counted(&driven)
        let rate = Double(frames &- lastFrames) / lastTick.duration(to: now).inSeconds
        rates.append(rate)
        (lastFrames, lastTick, nextTick) = (frames, now, now + .seconds(1))
        if line.isShown {
            let state = driven.withLinks { Self.describe(&$0) }
            line.show("\(rate.asRate)  \(state)")
        }
    }

    private func finish() { line.clear() }

    /// The process's CPU time since the beginning, as a share of one CPU.
    var cpuShare: Double { Double(Clock.process - cpuAtBegin) / 1e9 / max(elapsed, 1e-9) }

    /// Seconds since the beginning.
    var elapsed: Double { begun.duration(to: .now).inSeconds }

    static func describe(_ links: inout LinkSet) -> String {
        (0..<links.count).map { index in
            let (counters, state) = (links[index].counters, links[index].state)
            let drops = counters.received.drops.total + counters.transmitted.drops.total
            return links[index].name + " ▼\(counters.received.frames.grouped) ▲\(counters.transmitted.frames.grouped)"
                + (drops > 0 ? " ✗\(drops.grouped)" : "") + (state == .up ? "" : " \(state)")
        }.joined(separator: "  ")
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

extension Double {
    /// Frames a second, in the unit that suits them.
    var asRate: String {
        if self >= 999_500 { return "\((self / 1e6).formatted(decimals: 2)) Mpps" }
        if self >= 999.5 { return "\((self / 1e3).formatted(decimals: 1)) kpps" }
        return "\(formatted(decimals: 0)) pps"
    }
}

// MARK: The report

/// What passed a link, for people and for programs.
struct LinkReport: Encodable {
    struct Direction: Encodable {
        var frames: UInt64
        var bytes: UInt64
        /// Frames that were dropped, by reason.
        var drops: [String: UInt64]

        init(_ direction: LinkDirection) {
            (frames, bytes) = (direction.frames, direction.bytes)
            drops = Dictionary(
                uniqueKeysWithValues: LinkDrop.allCases.filter { direction.drops[$0] > 0 }.map {
                    ("\($0)", direction.drops[$0])
                })
        }

        var text: String {
            let reasons = drops.sorted { $0.key < $1.key }.map { "\($0.value.grouped) \($0.key)" }.joined(
                separator: ", ")
            return "\(frames.grouped) frames, \(bytes.grouped) bytes" + (drops.isEmpty ? "" : "; dropped: \(reasons)")
        }
    }

    var name: String
    var state: String
    var received: Direction
    var transmitted: Direction

    init(_ link: borrowing AnyLink) {
        (name, state) = (link.name, "\(link.state)")
        (received, transmitted) = (Direction(link.counters.received), Direction(link.counters.transmitted))
    }

    static func all(_ links: inout LinkSet) -> [LinkReport] {
        (0..<links.count).map { index in
            _ = links[index].refresh()
            return LinkReport(links[index])
        }
    }
}

/// A run's result: what passed, how fast, and what each link counted.
struct RunReport: Encodable {
    var command: String
    var frames: UInt64
    var seconds: Double
    var framesPerSecond: Double
    /// CPU time of the process, as a share of one CPU.
    var cpuShare: Double
    /// Of the rates in each whole second: the least, the median and the most.
    var rates: [String: Double]?
    /// Round trips in nanoseconds, where they were measured.
    var latency: [String: Double]?
    var lost: UInt64?
    var links: [LinkReport]

    init(_ command: String, frames: UInt64, _ run: borrowing LinkRun, _ links: inout LinkSet) {
        self.command = command
        self.frames = frames
        seconds = run.elapsed
        framesPerSecond = Double(frames) / max(seconds, 1e-9)
        cpuShare = run.cpuShare
        self.links = LinkReport.all(&links)
        let sorted = run.rates.sorted()
        if !sorted.isEmpty {
            rates = ["minimum": sorted[0], "p50": sorted[sorted.count / 2], "maximum": sorted[sorted.count - 1]]
        }
    }

    mutating func add(_ latencies: Latencies) {
        latency = ["minimum": Double(latencies.min), "mean": latencies.mean, "maximum": Double(latencies.max)]
        for (name, share) in Self.shares { latency?[name] = Double(latencies.percentile(share)) }
    }

    private static let shares = [("p50", 50.0), ("p90", 90), ("p99", 99), ("p99.9", 99.9)]

    func print(asJSON: Bool) throws {
        Swift.print(asJSON ? try OneLine.json(self) : text)
    }

    private var text: String {
        var table = Table()
        table.add("\(frames.grouped) frames in \(seconds.formatted(decimals: 2)) s", framesPerSecond.asRate)
        table.add("CPU", "\((cpuShare * 100).formatted(decimals: 1)) % of one")
        if let rates {
            table.add(
                "in each second",
                "\(rates["minimum"]!.asRate) … \(rates["p50"]!.asRate) (median) … \(rates["maximum"]!.asRate)")
        }
        if let latency {
            let parts = (["minimum"] + Self.shares.map(\.0) + ["maximum"]).map { "\($0) \(latency[$0]!.asDuration)" }
            table.add("round trip", parts.joined(separator: ", "))
        }
        if let lost, lost > 0 { table.add("lost", "\(lost.grouped) frames") }
        for link in links {
            table.add("\(link.name) (\(link.state)) received", link.received.text)
            table.add("\(link.name) transmitted", link.transmitted.text)
        }
        return table.lines.joined(separator: "\n")
    }
}
