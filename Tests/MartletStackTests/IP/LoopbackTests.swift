// Packets of a stack to itself: what there is no room for on the way waits, and is not lost.

import Testing

@testable import MartletStack

@Suite struct LoopbackTests {
    @Test("more packets to ourselves than there is room for at once all arrive, and none is sent again")
    func room() throws {
        let pool = FramePool(count: 2048)
        var configuration = InterfaceConfiguration(.ip, addresses: [InterfaceAddress("10.0.0.1/24")!])
        configuration.detectsConflicts = false
        var limits = StackLimits()
        (limits.tcp.connections, limits.tcp.synQueue) = (2048, 1024)
        var now = Instant(nanoseconds: 1_000_000_000)
        var stack = Stack([configuration], limits: limits, pool: pool, secret: StackSecret(low: 1, high: 2), now: now)
        let listener = stack.listen(port: 7, backlog: 1024)
        for _ in 0..<600 { _ = try stack.connect(to: IPAddress("10.0.0.1")!, port: 7) }
        var burst = pool.makeBurst()
        // Far less than a retransmission timeout in all.
        for _ in 0..<100 {
            _ = stack.egress(into: &burst, at: now)
            now = now.advanced(byNanoseconds: 100_000)
            stack.advance(to: now)
        }
        var accepted = 0
        while stack.accept(listener) != nil { accepted += 1 }
        #expect(accepted == 600)
        let counters = stack.counters
        #expect(counters.network[.noRoom] == 0 && counters.tcp.retransmits == 0)
    }
}
