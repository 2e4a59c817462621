// A packet counter: what arrives at a link, by protocol, in a table that is drawn anew each second.
//
//     swift run -c release PacketCounter packet:eth0                    # as root, or with CAP_NET_RAW
//     swift run -c release PacketCounter packet:lo --seconds 10 --json
//
// Ctrl-C ends it, as --seconds does; --json prints one object then instead of the table.

import ArgumentParser
import Foundation
import Martlet
import MartletStack

@main
struct PacketCounter: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Counts the frames of a link by protocol.")

    @Argument(help: "A link, such as packet:eth0, tap:tap0 or null:a.") var link: String
    @Option(help: "Ends after so many seconds. (default: at Ctrl-C)") var seconds: Double?
    @Flag(help: "Prints JSON at the end instead of a table.") var json = false

    func run() async throws {
        let (name, json) = (try LinkName(link), json)
        let end = seconds.map { ContinuousClock.now + .seconds($0) }
        try await Runtime.run(.init(cores: .count(1), shutdownSignals: [.terminate, .interrupt])) { runtime in
            try await runtime.withLink(name) { link in
                var counts = Counts()
                var draws = ContinuousClock.now + .seconds(1)
                // What it sleeps for: frames, the next drawing, or the end, whichever is first.
                while end.map({ ContinuousClock.now < $0 }) ?? true {
                    let pause = min(draws, end ?? draws) - .now
                    do throws(LinkError) {
                        guard var burst = try await link.nextBurst(within: max(pause, .zero)) else { break }
                        burst.changeEach { counts.add($0.bytes) }
                    } catch .deadlineExceeded {
                    } catch { break }
                    guard ContinuousClock.now >= draws else { continue }
                    draws += .seconds(1)
                    if !json { counts.draw(overwriting: isatty(STDOUT_FILENO) == 1) }
                }
                if json { print(try counts.json) } else { counts.draw(overwriting: isatty(STDOUT_FILENO) == 1) }
            }
        }
    }
}

/// Frames and bytes by protocol.
struct Counts {
    enum Kind: String, CaseIterable, CodingKeyRepresentable, Encodable {
        case arp, tcp, udp, icmp, otherIP = "other_ip", other
    }

    struct Count: Encodable { var frames = 0, bytes = 0 }

    private var byKind: [Kind: Count] = [:]
    private var lines = 0

    mutating func add(_ frame: RawSpan) {
        let kind = Self.kind(of: frame)
        byKind[kind, default: Count()].frames += 1
        byKind[kind, default: Count()].bytes += frame.byteCount
    }

    /// Ethernet says which protocol is in the frame, with or without the tag of a VLAN, and IP which one is in the packet.
    static func kind(of frame: RawSpan) -> Kind {
        guard frame.byteCount >= 14 else { return .other }
        let isTagged = frame.uint16(at: 12) == 0x8100 && frame.byteCount >= 18
        let start = isTagged ? 18 : 14
        let protocolPlace: Int
        switch frame.uint16(at: start - 2) {
        case 0x0806: return .arp
        case 0x0800: protocolPlace = start + 9
        case 0x86DD: protocolPlace = start + 6
        default: return .other
        }
        guard protocolPlace < frame.byteCount else { return .otherIP }
        switch frame.byte(at: protocolPlace) {
        case 6: return .tcp
        case 17: return .udp
        case 1, 58: return .icmp
        default: return .otherIP
        }
    }

    /// Prints the table, over the last one if that is a terminal's.
    mutating func draw(overwriting: Bool) {
        if overwriting, lines > 0 { print("\u{1B}[\(lines)A", terminator: "") }
        let rows = Kind.allCases.compactMap { kind in byKind[kind].map { (kind, $0) } }
        for (kind, count) in rows {
            print(String(format: "%-10@ %12d frames %15d bytes", kind.rawValue as NSString, count.frames, count.bytes))
        }
        lines = rows.count
        fflush(nil)
    }

    var json: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            return String(decoding: try encoder.encode(byKind), as: UTF8.self)
        }
    }
}
