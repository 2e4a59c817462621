// What the stack has taken over from a connection that was closed: it is bounded by the close timeout. The peer is a bare stack at
// the other end of a pipe, which can fall silent as no runtime would.

import MartletStack
import Testing

@testable import Martlet

@Suite("A closed connection that the stack still holds")
struct StackClosingTests {
    @Test("a peer that acknowledges nothing is reset when the close timeout is up")
    func silentPeer() async throws {
        let interface = StackInterface(link: .memory("silent"), addresses: [InterfaceAddress("10.0.0.2/24")!])
        var configuration = Runtime.Configuration(transport: .stack([interface]), cores: .count(1), logger: nil)
        configuration.pinsThreads = false
        let chosen = configuration
        try await within(seconds: 20 * slowness) {
            try await Runtime.run(chosen) { runtime in
                try await runtime.cores[0].withLink(.memory("silent")) { link in
                    let core = runtime.cores[0]
                    let peer = try Peer(link, on: core)
                    let listener = try await core.listen(on: .any(port: 7), options: Self.impatient)
                    try await peer.connect(link, port: 7)
                    let connection = try #require(try await listener.accept())
                    try await connection.send(Bytes(repeatElement(7, count: 3000)))
                    await #expect(throws: NetworkError.deadlineExceeded) {
                        try await connection.close(within: .milliseconds(1))
                    }
                    #expect(Self.connections(of: core) == 1)
                    // The peer says nothing any more. What it hears are retransmissions, and a reset at last.
                    while try await !Self.hearsReset(link) {}
                    #expect(Self.connections(of: core) == 0)
                }
            }
        }
    }

    @Test("the stack counts the close timeout in seconds, rounded up, and never in none")
    func rounding() {
        for (timeout, seconds) in [
            (Duration.seconds(30), 30), (.milliseconds(1001), 2), (.zero, 1), (.milliseconds(-5), 1),
            (.seconds(1), 1), (.seconds(Int64.max), 65_535),
        ] {
            var options = ConnectionOptions()
            options.closeTimeout = timeout
            #expect(TCPSettings(options).lingerSeconds == UInt16(seconds), "\(timeout)")
        }
    }

    private static var impatient: ConnectionOptions {
        var options = ConnectionOptions()
        options.closeTimeout = .milliseconds(300)
        return options
    }

    private static func connections(of core: Core) -> Int {
        unsafe core.transport.driver.stack.unsafelyUnwrapped.pointee.stack.connectionCount
    }

    /// Whether one of the next frames is a TCP segment with RST.
    private static func hearsReset(_ link: OpenLink) async throws -> Bool {
        guard var burst = try await link.nextBurst() else { return false }
        var hears = false
        while let frame = burst.popFirst() {
            let bytes = frame.bytes
            guard bytes.byteCount >= 54, bytes.byte(at: 12) == 8, bytes.byte(at: 13) == 0, bytes.byte(at: 23) == 6
            else { continue }
            if bytes.byte(at: 47) & 4 != 0 { hears = true }
        }
        return hears
    }

    /// A host with a stack of its own, for as long as it answers.
    private final class Peer {
        private var stack: Stack
        private var owed: Burst
        private var connection: ConnectionID?
        private var now = Instant(nanoseconds: 1)

        init(_ link: OpenLink, on core: Core) throws {
            var interface = InterfaceConfiguration(
                .ethernet(MACAddress(bits: 0x0200_0000_0001)), addresses: [InterfaceAddress("10.0.0.1/24")!])
            interface.detectsConflicts = false
            stack = try core.withFramePool { [now] pool in
                Stack([interface], pool: pool, secret: StackSecret(low: 1, high: 2), now: now)
            }
            owed = link.makeBurst()
        }

        /// Calls, and answers until the other side has the connection.
        func connect(_ link: OpenLink, port: UInt16) async throws {
            let connection = try stack.connect(to: IPAddress("10.0.0.2")!, port: port)
            send(link)
            while stack.state(of: connection) != .established {
                guard var burst = try await link.nextBurst() else { throw Failed("the link is gone") }
                now = now + .milliseconds(1)
                stack.ingress(&burst, at: now)
                stack.advance(to: now)
                while stack.nextEvent() != nil {}
                send(link)
            }
        }

        private func send(_ link: OpenLink) {
            var isPaid = false
            while !isPaid {
                isPaid = stack.egress(into: &owed, at: now)
                link.transmit(whatFits: &owed)
            }
        }
    }
}
