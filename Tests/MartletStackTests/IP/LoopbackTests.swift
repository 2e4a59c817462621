// Packets of a stack to itself: what there is no room for on the way waits, and is not lost.

import Testing

@testable import MartletStack

@Suite struct LoopbackTests {
    @Test("more packets to ourselves than there is room for at once all arrive, and none is sent again")
    func room() throws {
        let pool = FramePool(count: 2048)
        var limits = StackLimits()
        (limits.tcp.connections, limits.tcp.synQueue) = (2048, 1024)
        var now = Instant(nanoseconds: 1_000_000_000)
        var stack = Stack.withItself(limits, pool: pool, now: now)
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

    @Test("connections that go on opening hold up neither those that are open nor the ACKs that open them")
    func openings() throws {
        let pool = FramePool(count: 2048)
        var limits = StackLimits()
        (limits.tcp.connections, limits.tcp.synQueue) = (16_384, 4096)
        var now = Instant(nanoseconds: 1_000_000_000)
        var stack = Stack.withItself(limits, pool: pool, now: now)
        let listener = stack.listen(port: 7, backlog: 8192)
        var burst = pool.makeBurst()
        func round() {
            _ = stack.egress(into: &burst, at: now)
            now = now.advanced(byNanoseconds: 100_000)
            stack.advance(to: now)
        }
        let client = try stack.connect(to: IPAddress("10.0.0.1")!, port: 7)
        for _ in 0..<4 { round() }
        let first = stack.accept(listener)
        let server = try #require(first)
        // In each round more SYNs than the way to ourselves has room for.
        for _ in 0..<40 {
            for _ in 0..<300 { _ = try? stack.connect(to: IPAddress("10.0.0.1")!, port: 7) }
            round()
        }
        var accepted = 0
        while let id = stack.accept(listener) {
            stack.abort(id)
            stack.release(id)
            accepted += 1
        }
        #expect(accepted > 1000, "\(accepted)")
        let bytes = [UInt8](repeating: 7, count: 100)
        let sent = unsafe stack.send(client, bytes.span.bytes)
        var received = 0
        for _ in 0..<3 {
            for _ in 0..<300 { _ = try? stack.connect(to: IPAddress("10.0.0.1")!, port: 7) }
            round()
            // What waits may be two runs.
            for _ in 0..<2 { received += stack.receive(server) { $0.byteCount } }
        }
        #expect(sent == 100 && received == 100)
    }
}

extension Stack {
    /// A stack at 10.0.0.1 that reaches nobody but itself.
    static func withItself(_ limits: StackLimits = StackLimits(), pool: borrowing FramePool, now: Instant) -> Stack {
        var configuration = InterfaceConfiguration(.ip, addresses: [InterfaceAddress("10.0.0.1/24")!])
        configuration.detectsConflicts = false
        return Stack([configuration], limits: limits, pool: pool, secret: StackSecret(low: 1, high: 2), now: now)
    }
}
