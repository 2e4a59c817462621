// The hosts behind a port of the switch that is measured.

import Martlet
import MartletStack

/// A source of frames from some addresses to all others in turn, and a sink: hosts behind a port of a switch.
struct Turning: Link, ~Copyable {
    let name = "turning"
    let properties = LinkProperties()
    let state = LinkState.up
    var counters = LinkCounters()
    /// Who sends to whom, in turn. Prepared, so that what is measured is the switch and not the arithmetic of this; and without an
    /// array, whose references would be counted.
    private let pairs: UnsafeMutableBufferPointer<(destination: UInt64, source: UInt64)>
    private var turn = 0

    init(port: Int, addresses: Int, ports: Int) {
        let first: UInt64 = 0x0200_0000_0000
        // Two that follow one another are behind different ports, so that no two frames in a row go the same way.
        let others = (0..<addresses).flatMap { host in
            (0..<ports).filter { $0 != port }.map { first + UInt64($0 * addresses + host) }
        }
        let turns = others.indices.flatMap { step in
            (0..<addresses).map { host in
                (destination: others[(step + host) % others.count], source: first + UInt64(port * addresses + host))
            }
        }
        pairs = .allocate(capacity: turns.count)
        _ = pairs.initialize(from: turns)
    }

    deinit { pairs.deallocate() }

    mutating func receive(into burst: inout Burst) -> Int {
        let count = burst.appendFrames(.max, length: 64)
        var turn = turn
        let pairs = pairs
        burst.changeEach { frame in
            turn = turn &+ 1 == pairs.count ? 0 : turn &+ 1
            frame.setEthernetAddresses(destination: pairs[turn].destination, source: pairs[turn].source)
        }
        self.turn = turn
        counters.received.count(count, bytes: count &* 64)
        return count
    }

    mutating func transmit(_ burst: inout Burst) -> Int {
        let count = burst.count
        counters.transmitted.count(count, bytes: burst.byteCount)
        burst.removeAll()
        return count
    }

    mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep { .ready }
}
