// Links of the kernel's, between two namespaces with veths between them: what passes, what a capture takes, what quiet costs.

import Foundation
import Glibc

/// Two namespaces. `near` and `near2` are in the first, `far` and `far2` in the second; `tap` is a TAP in the first.
final class Wires {
    let here = "mtc\(getpid())a"
    let there = "mtc\(getpid())b"

    init() throws {
        for namespace in [here, there] { try ip("netns", "add", namespace) }
        for suffix in ["", "2"] {
            try ip(
                "link", "add", "near\(suffix)", "netns", here, "type", "veth", "peer", "name", "far\(suffix)", "netns",
                there)
        }
        try ip("-n", here, "tuntap", "add", "dev", "tap", "mode", "tap")
        for (namespace, names) in [(here, ["near", "near2", "tap"]), (there, ["far", "far2"])] {
            for name in names {
                // Nothing is sent that nobody asked for.
                try run(["sysctl", "-q", "-w", "net.ipv6.conf.\(name).disable_ipv6=1"], in: namespace)
                try ip("-n", namespace, "link", "set", name, "up")
            }
        }
    }

    deinit { for namespace in [here, there] { try? ip("netns", "delete", namespace) } }

    func ip(_ arguments: String...) throws { try run(["ip"] + arguments, in: nil) }

    /// Runs a program of the system's to its end.
    func run(_ arguments: [String], in namespace: String?) throws {
        let process = Siblings.process(at: "/usr/bin/env", arguments, in: namespace)
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw ChildError(description: "\(arguments.joined(separator: " ")): status \(process.terminationStatus)")
        }
    }
}

/// One scenario, ours and the peer's in turn.
struct WireRun {
    private let scenario: LinkScenario
    private let seconds: Double
    private let cpu: Int
    private let wires: Wires

    init(_ scenario: LinkScenario, seconds: Double, cpu: Int) throws {
        self.scenario = scenario
        self.seconds = seconds
        self.cpu = cpu
        wires = try Wires()
    }

    func measure(_ wire: LinkScenario.Wire) throws -> (own: Double, peer: Double?) {
        switch wire {
        case .transmit: return (try own().framesPerSecond, try peer())
        case .receive(let sender):
            let figure: Double
            do {
                let beside = try send(sender, seconds: 60)
                defer { beside.stop() }
                figure = try own().framesPerSecond
            }
            return (figure, try peer(beside: sender))
        case .capture: return (try lossless(ownCapture), try lossless(tcpdump))
        case .captureCost(let rate): return (try perProcessor(rate, ownCapture), try perProcessor(rate, tcpdump))
        case .idle: return (try own(seconds: max(seconds, 2)).cpuShare, nil)
        }
    }

    private func arguments(seconds: Double) -> [String] {
        scenario.own + ["--burst", "\(scenario.burst)", "--seconds", "\(seconds)", "--cpu", "\(cpu + 1)"]
    }

    private func own(seconds: Double? = nil) throws -> ForwardRun {
        try ForwardRun.result(arguments(seconds: seconds ?? self.seconds), in: wires.here)
    }

    private func peer(beside sender: String? = nil) throws -> Double? {
        guard let path = TestpmdRun.path, let testpmd = scenario.peer else { return nil }
        let run = TestpmdRun(path, testpmd, burst: scenario.burst, cpu: cpu, in: wires.here)
        var beside: Beside?
        defer { beside?.stop() }
        return try run.framesPerSecond {
            // testpmd's own TAP has another name than ours.
            if let sender { beside = try send(sender == "packet:tap" ? "packet:tap2" : sender, seconds: 60) }
        }
    }

    /// Transmits beside a measurement: at the far end of the veth, or on the kernel's side of a TAP.
    private func send(_ link: String, seconds: Double, rate: Double? = nil) throws -> Beside {
        let namespace = link.hasPrefix("packet:tap") ? wires.here : wires.there
        return try Beside(
            Siblings.process(
                "martlet-forward",
                ["--links", "transmit", "--link", link, "--seconds", "\(seconds)", "--cpu", "\(cpu)"]
                    + (rate.map { ["--rate", "\($0)"] } ?? []), in: namespace))
    }

    // MARK: Captures

    private struct Captured {
        var sent: Double
        var captured: Double
        /// What the capture took of a processor from before the first frame until after the last.
        var processorSeconds: Double
    }

    private func withFile<Result>(_ body: (String) throws -> Result) throws -> Result {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-capture-\(getpid()).pcap")
            .path
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(path)
    }

    /// The highest rate at which everything that was sent is in the file: the last one before two that lose, 12 % apart; 0 if it is less
    /// than 400,000 a second.
    private func lossless(_ capture: (Double, String) throws -> Captured) throws -> Double {
        try withFile { path in
            var (best, failures, rate) = (0.0, 0, 400_000.0)
            while failures < 2 {
                let run = try capture(rate, path)
                if run.captured >= run.sent {
                    (best, failures) = (run.sent / seconds, 0)
                } else {
                    failures += 1
                }
                // The sender gives no more: what it gives is what is shown.
                if run.sent / seconds < rate * 0.9 { break }
                rate *= 1.12
            }
            return best
        }
    }

    /// Frames that are captured in a second of processor time, of all threads of the capture, at a rate without loss.
    private func perProcessor(_ rate: Double, _ capture: (Double, String) throws -> Captured) throws -> Double {
        try withFile { path in
            let run = try capture(rate, path)
            guard run.captured >= run.sent, run.sent >= rate * seconds * 0.9 else {
                throw ChildError(description: "of \(run.sent) frames at \(rate) a second \(run.captured) were captured")
            }
            return run.captured / run.processorSeconds
        }
    }

    /// Sends at `rate` to a capture that says `ready` when it is, and has a second to write what it has by then.
    private func send(_ rate: Double, to capture: Beside, ready: String) throws -> (sent: Double, seconds: Double) {
        try capture.says(ready)
        let before = try capture.processorSeconds()
        let sent = try ForwardRun.result(of: send("packet:far", seconds: seconds, rate: rate).outputAtEnd()).frames
        usleep(1_000_000)
        return (sent, try capture.processorSeconds() - before)
    }

    private func ownCapture(rate: Double, path: String) throws -> Captured {
        let capture = try Beside(
            Siblings.process(
                "martlet-forward", arguments(seconds: seconds + 3) + ["--file", path], in: wires.here))
        defer { capture.stop() }
        let (sent, processor) = try send(rate, to: capture, ready: "listening")
        let captured = try ForwardRun.result(of: capture.outputAtEnd()).frames
        return Captured(sent: sent, captured: captured, processorSeconds: processor)
    }

    private func tcpdump(rate: Double, path: String) throws -> Captured {
        // The same ring as ours, 64 MiB.
        let arguments = [
            "taskset", "-c", "\(cpu + 1)", "tcpdump", "-i", "near", "-n", "-Z", "root", "-B", "65536", "-w", path,
        ]
        let capture = try Beside(Siblings.process(at: "/usr/bin/env", arguments, in: wires.here), readsErrors: true)
        defer { capture.stop() }
        let (sent, processor) = try send(rate, to: capture, ready: "listening on")
        capture.interrupt()
        let text = String(decoding: try capture.outputAtEnd(), as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.contains("packets captured") } ?? ""
        guard let captured = line.split(separator: " ").first.flatMap({ Double($0) }) else {
            throw ChildError(description: "tcpdump said: \(text)")
        }
        return Captured(sent: sent, captured: captured, processorSeconds: processor)
    }
}

/// A process that runs beside a measurement.
final class Beside {
    private let process: Process
    private let output = Pipe()
    private var text = Data()

    init(_ process: Process, readsErrors: Bool = false) throws {
        self.process = process
        if readsErrors { process.standardError = output } else { process.standardOutput = output }
        try process.run()
    }

    deinit { stop() }

    func says(_ words: String) throws {
        while !String(decoding: text, as: UTF8.self).contains(words) {
            let part = output.fileHandleForReading.availableData
            guard !part.isEmpty else { throw ChildError(description: "a child ended before it said \(words)") }
            text += part
        }
    }

    /// Processor time of all its threads so far, to the nanosecond (Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat).
    func processorSeconds() throws -> Double {
        let threads = "/proc/\(process.processIdentifier)/task"
        return try FileManager.default.contentsOfDirectory(atPath: threads).reduce(0) { sum, thread in
            let text = try String(contentsOfFile: "\(threads)/\(thread)/schedstat", encoding: .utf8)
            return sum + (text.split(separator: " ").first.flatMap { Double($0) } ?? 0) / 1e9
        }
    }

    func outputAtEnd() throws -> Data {
        text += output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return text
    }

    func interrupt() { process.interrupt() }

    func stop() {
        guard process.isRunning else { return }
        process.terminate()
        process.waitUntilExit()
    }
}
