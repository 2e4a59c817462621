// Connections of a host to itself: none is with itself, and what is the loopback's comes from no link (RFC 1122 §3.2.1.3).

import MartletSimulation
import Testing

@testable import MartletStack

@Suite("A stack that calls itself")
struct OwnPortTests {
    private static func host(_ address: IPAddress, pool: borrowing FramePool) -> Stack {
        var limits = StackLimits()
        (limits.tcp.firstPort, limits.tcp.lastPort) = (50_000, 50_003)
        let loopback = InterfaceConfiguration(
            .ip, addresses: [InterfaceAddress(address, prefixLength: UInt8(address.bitWidth))])
        return Stack(
            [loopback], limits: limits, pool: pool, secret: StackSecret(low: 1, high: 2), now: Instant(nanoseconds: 0))
    }

    @Test(
        "an ephemeral port that somebody listens on is not called from",
        arguments: [IPAddress("127.0.0.1")!, IPAddress("::1")!])
    func ownPort(_ address: IPAddress) throws {
        let pool = FramePool(count: 64)
        var stack = Self.host(address, pool: pool)
        _ = try stack.listen(on: address, port: 50_001)
        _ = try stack.listen(on: 50_002)
        // Two ports are left, and each is taken once.
        var ports: Set<UInt16> = []
        for _ in 0..<2 {
            let id = try stack.connect(to: address, port: 50_001)
            let ends = stack.endpoints(of: id)
            ports.insert(try #require(ends).local.port)
        }
        #expect(ports == [50_000, 50_003])
        do throws(ConnectError) {
            _ = try stack.connect(to: address, port: 50_001)
            Issue.record("a port that somebody listens on was called from")
        } catch {
            #expect(error == .noPort)
        }
    }

    @Test("a packet of a link's that pretends to be from or to the loopback is dropped")
    func martians() throws {
        let pool = FramePool(count: 64)
        var stack = Self.host(.v4(.loopback), pool: pool)
        _ = try stack.listen(on: 80)
        var burst = pool.makeBurst()
        // Whole IPv4 headers, from 127.0.0.1 and from 192.0.2.1, to 127.0.0.1, with 20 bytes of TCP.
        for header in ["450000280001400040063ccd7f0000017f000001", "45000028000140004006f9ccc00002017f000001"] {
            let bytes = [UInt8](hex: header) + [UInt8](repeating: 0, count: 20)
            var frame = burst.takeFrame()!
            frame.setLength(bytes.count)
            var space = frame.mutableBytes
            for (offset, byte) in bytes.enumerated() { space.store(byte, at: offset) }
            burst.append(frame)
        }
        stack.ingress(&burst, at: Instant(nanoseconds: 1))
        stack.advance(to: Instant(nanoseconds: 1))
        let counters = stack.counters
        #expect(counters.network[.badSource] == 2)
        #expect(counters.tcp.segmentsIn == 0)
    }

    @Test("a released connection is delivering until the peer has its FIN, and not while it waits for the peer's")
    func delivering() throws {
        let pool = FramePool(count: 64)
        var stack = Self.host(.v4(.loopback), pool: pool)
        let listener = try stack.listen(on: 80)
        let client = try stack.connect(to: .v4(.loopback), port: 80)
        Self.settle(&stack, pool)
        let accepted = stack.accept(listener)
        let server = try #require(accepted)
        var seen = [stack.isDelivering]
        stack.release(client)
        seen.append(stack.isDelivering)
        Self.settle(&stack, pool)
        seen.append(stack.isDelivering)
        let state = stack.state(of: server)
        #expect(state == .closeWait)
        stack.release(server)
        seen.append(stack.isDelivering)
        Self.settle(&stack, pool)
        seen.append(stack.isDelivering)
        #expect(seen == [false, true, false, true, false])
    }

    /// Lets everything that is owed arrive.
    private static func settle(_ stack: inout Stack, _ pool: borrowing FramePool) {
        var burst = pool.makeBurst()
        for _ in 0..<16 {
            while !stack.egress(into: &burst, at: Instant(nanoseconds: 1)) { burst.removeAll() }
            stack.advance(to: Instant(nanoseconds: 1))
        }
    }
}
