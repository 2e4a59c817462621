// The netsim matrix: one transfer for every buffer size, loss rate and round trip, and the table of what each achieved.
//
// Every run has a seed of its own and is the same each time, so the table changes only when the stack does. It is in
// Benchmarks/Results/netsim.md; CONTRIBUTING.md has the command that writes it.

import Glibc
import MartletSimulation
import Testing

@testable import MartletStack

/// One run of the matrix.
struct NetsimCell: Hashable, CustomStringConvertible {
    static let buffers = [1, 2, 4, 8, 16, 32, 64, 128, 256]
    static let losses = [0, 0.1, 0.5, 1, 2, 5, 10, 30]
    static let roundTrips = [1, 20, 100, 200]
    static let bandwidth: Int64 = 100_000_000

    /// KiB that may lie in the buffers of either side.
    var buffer: Int
    /// Of 100 packets, how many are lost, in either direction.
    var loss: Double
    /// Milliseconds.
    var roundTrip: Int

    var description: String { "\(buffer) KiB, \(loss) %, \(roundTrip) ms" }

    var seed: UInt64 { UInt64(buffer) << 32 | UInt64(loss * 10) << 16 | UInt64(roundTrip) }

    /// About twenty seconds' worth, by what the window, the link or the loss allow: by RFC 3819's formula, or a timeout for
    /// each segment lost.
    var byteCount: Int {
        let seconds = Double(roundTrip) / 1000
        var rate = min(Double(Self.bandwidth) / 8, Double(buffer) * 1024 / seconds)
        if loss > 0 { rate = min(rate, 1448 * 1.2 / (seconds * (loss / 100).squareRoot())) }
        if loss > 0 { rate = min(rate, 1448 / (loss / 100 * (0.2 + seconds))) }
        return min(max(Int(rate * 20), 64 << 10), 2 << 20)
    }

    /// Sends it all, looks for what is wrong, and returns the goodput in bytes a second.
    func run() -> Double {
        var limits = TCPLimits()
        limits.receiveLimit = UInt32(buffer) << 10
        limits.sendLimit = UInt32(buffer) << 10
        // At 30 % either way half of all handshakes' rounds fail: seven in a row sometimes do.
        limits.synRetries = 12
        var link = LinkConditions(latency: .microseconds(roundTrip * 500), bandwidth: Self.bandwidth)
        link.queueLimit = 256 << 10
        if loss > 0 { link.loss = .uniform(loss / 100) }
        var hosts = Hosts(link, limits: limits, seed: seed)
        var flows = Transfers(seed: seed)
        flows.start(&hosts, byteCount: byteCount)
        hosts.run(for: .seconds(3600)) {
            flows.turn(&$0)
            return flows.areDone
        }
        let flow = flows[0]
        hosts.check(
            flow.isIntact && flow.isFinished && flow.receivedCount == byteCount,
            "\(self): \(flow.receivedCount) of \(byteCount) bytes, \(flow.isIntact ? "" : "not ")intact, \(flow.error as Any)"
        )
        return Double(flow.receivedCount) / (flow.completedAt ?? .distantFuture).seconds
    }
}

/// Goodput by cell, in kilobytes a second.
struct NetsimTable {
    var goodput: [NetsimCell: Double] = [:]

    static let path = {
        let tests = #filePath.split(separator: "/").dropLast(4)
        return "/" + tests.joined(separator: "/") + "/Benchmarks/Results/netsim.md"
    }()

    var text: String {
        var text = """
            # Goodput of one connection

            Kilobytes (1,000 bytes) a second that reach the reader, handshake included, by the size of the buffers on either
            side and by the share of packets lost in either direction. The link carries 100 Mb/s and holds 256 KiB in its
            queue; CUBIC, packets of 1,500 bytes. Runs in virtual time: the same numbers on every machine.
            `NetsimTests` compares with this file; CONTRIBUTING.md says how it is written.

            """
        for roundTrip in NetsimCell.roundTrips {
            text += "\n## Round trip of \(roundTrip) ms\n\n| buffer |"
            for loss in NetsimCell.losses { text += " \(Self.number(loss)) % |" }
            text += "\n|" + String(repeating: "---:|", count: NetsimCell.losses.count + 1) + "\n"
            for buffer in NetsimCell.buffers {
                text += "| \(buffer) KiB |"
                for loss in NetsimCell.losses {
                    let cell = NetsimCell(buffer: buffer, loss: loss, roundTrip: roundTrip)
                    text += " \(Self.number(goodput[cell] ?? 0)) |"
                }
                text += "\n"
            }
        }
        return text
    }

    /// Three digits, without Foundation.
    static func number(_ value: Double) -> String {
        if value >= 100 || value == value.rounded() { return "\(Int(value.rounded()))" }
        let tenths = Int((value * 10).rounded())
        if value >= 10 || tenths * 10 == Int((value * 100).rounded()) { return "\(tenths / 10).\(tenths % 10)" }
        let hundredths = Int((value * 100).rounded())
        return "\(hundredths / 100).\(hundredths / 10 % 10)\(hundredths % 10)"
    }

    init() {}

    /// Reads what ``text`` has written; nil if the file is not there.
    init?(path: String) {
        guard let text = Self.contents(of: path) else { return nil }
        var roundTrip = 0
        for line in text.split(separator: "\n") {
            if line.hasPrefix("## Round trip of ") { roundTrip = Int(line.split(separator: " ")[4]) ?? 0 }
            let fields = line.split(separator: "|")
            guard line.hasPrefix("| "), fields.count == NetsimCell.losses.count + 1,
                let buffer = Int(fields[0].split(separator: " ")[0])
            else { continue }
            for (loss, field) in zip(NetsimCell.losses, fields.dropFirst()) {
                let cell = NetsimCell(buffer: buffer, loss: loss, roundTrip: roundTrip)
                goodput[cell] = Double(field.split(separator: " ")[0])
            }
        }
    }

    private static func contents(of path: String) -> String? {
        guard let file = unsafe fopen(path, "r") else { return nil }
        defer { unsafe fclose(file) }
        var bytes: [UInt8] = []
        while case let byte = unsafe fgetc(file), byte != EOF { bytes.append(UInt8(byte)) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Replaces the file. Returns whether it could be written.
    func write(to path: String) -> Bool {
        guard let file = unsafe fopen(path, "w") else { return false }
        let isWritten = unsafe fputs(text, file) >= 0
        return unsafe fclose(file) == 0 && isWritten
    }
}
