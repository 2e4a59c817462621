// Readers of MartletSimulation: a packet script of any text, and a packet of any bytes.

import MartletSimulation

enum ScriptTarget {
    static func run(_ bytes: [UInt8]) throws(Violation) {
        guard let first = bytes.first else { return }
        if first & 1 == 0 {
            _ = try? SegmentOnWire(Array(bytes.dropFirst()))
        } else {
            _ = try? PacketScript(String(decoding: bytes.dropFirst(), as: UTF8.self))
        }
    }
}
