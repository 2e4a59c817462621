// What single segments cost in instructions, from a frame to the event that the program sees: for Benchmarks/Tools/instructions.
//
// One connection, in virtual time, and one end taken apart from the other: only what the receiver of a segment does is counted.

import MartletStack
import PeerSupport

/// Counts `body` among what ``report(_:of:)`` names next.
func counted<Result>(_ body: () throws(RunError) -> Result) throws(RunError) -> Result {
    peer_start_counting()
    defer { peer_stop_counting() }
    return try body()
}

/// Names what was counted since the last report, and of how many it was.
func report(_ name: String, of count: Int) { peer_report_count("\(name), \(count)") }

struct SegmentCosts: ~Copyable {
    private var pair: TwoStacks
    private var client: ConnectionID?
    private var server: ConnectionID?
    private let repetitions = 64
    private let burstLength = 32

    /// One connection, whose server acknowledges each segment at once if that is asked for.
    init(quickAck: Bool = false) throws(RunError) {
        pair = TwoStacks(Bulk.limits(window: 65_535))
        var settings = TCPSettings()
        (settings.noDelay, settings.quickAck) = (true, quickAck)
        do throws(ListenError) { _ = try pair.server.listen(on: 7, settings) } catch { throw .cannotListen(error) }
        do throws(ConnectError) {
            client = try pair.client.connect(to: TwoStacks.serverAddress, port: 7, settings)
        } catch { throw .cannotConnect(error) }
        for _ in 0..<8 { settle() }
        // Beyond what a connection does at its start: quick ACKs, and a window that still grows.
        for _ in 0..<repetitions {
            send(ShortConnections.message)
            settle()
        }
        guard server != nil else { throw .stalled }
    }

    /// In-order data, one segment a round and a burst of them, of the same connection.
    mutating func data(bytes: Int, _ name: String) throws(RunError) {
        let message = [UInt8](repeating: 0x55, count: bytes)
        for length in [1, burstLength] {
            var segments = 0
            for _ in 0..<repetitions {
                for _ in 0..<length { send(message) }
                segments += pair.burst.count
                try counted { () throws(RunError) in
                    pair.server.ingress(&pair.burst, at: pair.now)
                    while pair.server.nextEvent() != nil {}
                }
                settle()
            }
            report("\(name), in bursts of \(length)", of: segments)
        }
    }

    /// ACKs of one segment and of many, for a connection whose server acknowledges each segment.
    mutating func acknowledgments() throws(RunError) {
        for length in [1, burstLength] {
            var segments = 0
            for _ in 0..<repetitions {
                for _ in 0..<length {
                    send(ShortConnections.message)
                    pair.server.ingress(&pair.burst, at: pair.now)
                }
                // One ACK answers all of a round.
                if let server { _ = pair.server.receive(server) { $0.byteCount } }
                _ = pair.server.egress(into: &pair.burst, at: pair.now)
                segments += pair.burst.count
                try counted { () throws(RunError) in
                    pair.client.ingress(&pair.burst, at: pair.now)
                    while pair.client.nextEvent() != nil {}
                }
                settle()
            }
            report("pure ACK, of \(length) segments", of: segments)
        }
    }

    /// The client sends a segment, which is in the burst then, behind those of before.
    private mutating func send(_ message: [UInt8]) {
        pair.now = pair.now.advanced(byNanoseconds: 10_000)
        if let client { _ = pair.client.send(client, message.span.bytes) }
        _ = pair.client.egress(into: &pair.burst, at: pair.now)
    }

    /// Lets what is on its way arrive, and be read and acknowledged.
    private mutating func settle() {
        for _ in 0..<2 {
            pair.now = pair.now.advanced(byNanoseconds: 50_000_000)
            pair.server.ingress(&pair.burst, at: pair.now)
            pair.server.advance(to: pair.now)
            while let event = pair.server.nextEvent() {
                if case .listener(let listener) = event { server = pair.server.accept(listener) ?? server }
            }
            if let server { _ = pair.server.receiveAll(server) }
            _ = pair.server.egress(into: &pair.burst, at: pair.now)
            pair.client.ingress(&pair.burst, at: pair.now)
            pair.client.advance(to: pair.now)
            while pair.client.nextEvent() != nil {}
            _ = pair.client.egress(into: &pair.burst, at: pair.now)
        }
    }
}
