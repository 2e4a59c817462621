// A filter in front of links whose kernel has none.

import Martlet
import MartletStack
import Testing

@Suite struct FilterLinkTests {
    @Test func `What a filter does not want goes back to its pool, and counts as dropped and not as received`() throws {
        let pool = FramePool(count: 64)
        var link = FilterLink(MemoryLink.loopback(pool: pool), filter: try Filter("ip6").compiled(), pool: pool)
        var burst = pool.makeBurst()
        var types: [UInt16] = [0x86DD, 0x0800, 0x86DD, 0x0806, 0x0800]
        burst.appendFrames(types.count, length: 60)
        burst.changeEach { frame in
            var bytes = frame.mutableBytes
            bytes.store(types.removeFirst(), at: 12)
        }
        _ = link.transmit(&burst)
        let count = link.receive(into: &burst)
        #expect(count == 2)
        let received = link.counters.received
        #expect(received.frames == 2)
        #expect(received.bytes == 120)
        #expect(received.drops[.filtered] == 3)
        burst.removeAll()
        #expect(pool.freeCount == 64)
    }
}
