// What there was, when a server has ended.

import Foundation
import Martlet
import MartletStack
import Synchronization

/// What a server notes while it runs.
final class ServeTally: Sendable {
    private let state = Mutex((address: "", errors: [String: Int]()))

    func listens(on address: SocketAddress) { state.withLock { $0.address = "\(address)" } }

    /// Kinds of errors are told by what they say without the addresses in it.
    func count(_ error: any Error) { state.withLock { $0.errors["\(error)", default: 0] += 1 } }

    var address: String { state.withLock { $0.address } }
    var errors: [String: Int] { state.withLock { $0.errors } }
}

struct ServeReport: Encodable {
    /// What the own stack has counted.
    struct StackPart: Encodable {
        var framesIn: UInt64 = 0
        var segmentsIn: UInt64 = 0
        var segmentsOut: UInt64 = 0
        /// Segments that were the next in order or a plain ACK, as a share of those that came for a connection.
        var fastPathShare = 0.0
        var retransmits: UInt64 = 0
        var drops: [String: UInt64] = [:]
    }

    var service: Service
    var address: String
    var driver: String
    var seconds: Double
    var cpuSeconds: Double
    var accepted: UInt64 = 0
    var resetsReceived: UInt64 = 0
    var resetsSent: UInt64 = 0
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0
    var stalls: UInt64 = 0
    var errors: [String: Int]
    var stack: StackPart?

    init(_ service: Service, _ tally: ServeTally, _ runtime: Runtime, _ duration: Duration) async {
        (self.service, address, driver) = (service, tally.address, runtime.driver)
        (seconds, cpuSeconds, errors) = (duration.inSeconds, Double(Clock.process) / 1e9, tally.errors)
        var (fast, slow) = (UInt64(0), UInt64(0))
        for core in await runtime.statistics() {
            let counters = core.counters
            accepted += counters.accepted
            resetsReceived += counters.resetsReceived
            resetsSent += counters.resetsSent
            bytesReceived += counters.bytesReceived
            bytesSent += counters.bytesSent
            stalls += counters.stalls
            guard let counted = core.stack else { continue }
            var part = stack ?? StackPart()
            part.framesIn += counted.network.packetsIn
            part.segmentsIn += counted.tcp.segmentsIn
            part.segmentsOut += counted.tcp.segmentsOut
            part.retransmits += counted.tcp.retransmits
            for reason in PacketDrop.allCases where counted.network[reason] > 0 {
                part.drops["\(reason)", default: 0] += counted.network[reason]
            }
            fast += counted.tcp.fastPath
            slow += counted.tcp.slowPath
            part.fastPathShare = fast + slow > 0 ? Double(fast) / Double(fast + slow) : 0
            stack = part
        }
    }

    func print(asJSON: Bool) throws { Swift.print(asJSON ? try OneLine.json(self) : text) }

    private var text: String {
        var table = Table()
        table.add("served", "\(accepted.grouped) connections in \(seconds.formatted(decimals: 1)) s")
        table.add("bytes", "\(bytesReceived.grouped) received, \(bytesSent.grouped) sent")
        table.add("CPU", "\(cpuSeconds.formatted(decimals: 2)) s")
        if resetsReceived + resetsSent > 0 {
            table.add("resets", "\(resetsReceived.grouped) received, \(resetsSent.grouped) sent")
        }
        if stalls > 0 { table.add("stalls", "\(stalls.grouped) rounds of a core took too long") }
        for (kind, count) in errors.sorted(by: { $0.key < $1.key }) {
            table.add("errors", "\(count.grouped) × \(kind)")
        }
        if let stack {
            table.add(
                "stack",
                "\(stack.segmentsIn.grouped) segments in, \(stack.segmentsOut.grouped) out, "
                    + "\((stack.fastPathShare * 100).formatted(decimals: 0)) % of them by the fast path, "
                    + "\(stack.retransmits.grouped) sent again")
            for (reason, count) in stack.drops.sorted(by: { $0.key < $1.key }) {
                table.add("dropped", "\(count.grouped) \(reason)")
            }
        }
        return table.lines.joined(separator: "\n")
    }
}
