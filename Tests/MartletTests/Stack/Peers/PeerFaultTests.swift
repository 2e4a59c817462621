// Faults around a stack that has the kernel as its peer: a thread that stands still, a wire that is pulled out, an address that
// somebody else has or that a server changes, and a process that is killed.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite("Faults around the stack", .enabled(if: Rig.runs(with: "nc"), "\(Rig.whyNot(with: "nc"))"), .serialized)
struct PeerFaultTests {
    /// An echo that does something once, when a mebibyte has come.
    private static func echo(
        interruptedBy act: @escaping @Sendable (TCPConnection) async throws -> Void
    ) -> ConnectionHandler {
        { connection in
            var count = 0
            for try await bytes in connection {
                let before = count
                count += bytes.count
                if before < 1 << 20, count >= 1 << 20 { try await act(connection) }
                try await connection.send(bytes)
            }
        }
    }

    private static func transfers(_ number: Int, of count: Int, _ scene: PeerScene) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<number {
                group.addTask { try await scene.echoByNetcat(count + index, name: "\(index)") }
            }
            try await group.waitForAll()
        }
    }

    @Test(
        "a core that is held up for a second goes on, and every transfer is finished", arguments: [PeerLink.tap, .xdp])
    func stalled(_ kind: PeerLink) async throws {
        try await PeerScene.play(kind) { scene in
            let stalls = Log<Void>()
            let handler = Self.echo { _ in
                // What no handler may do.
                if stalls.count == 0 { usleep(1_000_000) }
                stalls.append(())
            }
            try await scene.serving(handler) { try await Self.transfers(3, of: 3 << 20, scene) }
            #expect(stalls.count == 3)
            #expect(await scene.runtime.counters()[0].stalls >= 1)
            #expect(scene.errors.count == 0, "\(scene.errors.entries)")
        }
    }

    @Test(
        "transfers go on where they were when the wire is back after some seconds",
        arguments: [PeerLink.tap, .packet, .xdp])
    func unplugged(_ kind: PeerLink) async throws {
        try await PeerScene.play(kind) { scene in
            let isOut = Gate()
            let reached = Log<Void>()
            let handler = Self.echo { _ in
                reached.append(())
                await isOut.pass()
            }
            try await scene.serving(handler) {
                async let transfers: Void = Self.transfers(3, of: 3 << 20, scene)
                try await scene.eventually("all are in the middle of it") { _ in reached.count == 3 }
                let interface = scene.interface
                try await onThread { try interface.setDown() }
                isOut.open()
                // The wire is out for so long: long enough for the timers of both sides to have expired several times.
                try await scene.core.sleep(for: .seconds(2))
                try await onThread { try interface.setUp() }
                try await transfers
            }
            #expect(scene.errors.count == 0, "\(scene.errors.entries)")
        }
    }

    @Test("an address that somebody else has is not used, and whoever asks for it is told")
    func sameAddress() async throws {
        try await PeerScene.play(
            .packet, prepare: { try $0.set("net.ipv4.conf.default.arp_announce", to: "0") },
            changing: { interface, _ in
                interface.addresses = [InterfaceAddress("10.77.0.9/24")!]
                interface.detectsConflicts = true
            }
        ) { scene in
            // The wire is there, and so is the other one, before the first of three questions is asked.
            let interface = scene.interface
            try await onThread { try interface.add(address: "10.77.0.9/24") }
            try await scene.eventually("the stack hears of it") { $0.addresses(of: 0).isEmpty }
            let address = SocketAddress.ipv4(IPv4Address(10, 77, 0, 9), port: 7007)
            await #expect(throws: NetworkError.addressNotAvailable(address)) {
                try await scene.runtime.serve(on: address) { _ in }
            }
            await #expect(throws: NetworkError.unreachable(PeerScene.kernel(port: 7007))) {
                try await scene.core.withConnection(to: PeerScene.kernel(port: 7007)) { _ in }
            }
            let conflicts = await scene.look { $0.counters.network.addressConflicts }
            #expect(conflicts >= 1)
        }
    }

    @Test("an address that a DHCP server takes back is given up for the one it gives instead")
    func otherAddress() async throws {
        try await PeerScene.play(
            .packet,
            changing: { interface, _ in
                interface.addresses = []
                interface.usesDHCP = true
            }
        ) { scene in
            let server = try await onThread { try LeaseServer(on: scene.interface, in: scene.peer) }
            defer { server.end() }
            try await scene.eventually("a lease", Self.has(50))
            let ends = Log<(any Error)?>()
            try await scene.serving { connection in
                do {
                    for try await bytes in connection { try await connection.send(bytes) }
                    ends.append(nil)
                } catch { ends.append(error) }
            } _: {
                try await scene.echoByNetcat(100_000, host: "10.77.0.50")
                let old = try await onThread { try KernelSocket(to: IPv4Address(10, 77, 0, 50), 7007, in: scene.peer) }
                #expect(try await onThread { try old.exchange("before") } == "before")
                // From now on the first is refused, at half of its four seconds.
                server.moveOn()
                try await scene.eventually("another lease", Self.has(51))
                #expect(await !scene.look(Self.has(50)))
                try await scene.echoByNetcat(100_000, host: "10.77.0.51")
                // The old address is nobody's: what is sent there is not answered.
                let (sent, received) = try await onThread { try old.tryToExchange("after", milliseconds: 300) }
                #expect(sent && received == nil)
            }
        }
    }

    /// Whether 10.77.0.x may be used.
    private static func has(_ last: UInt8) -> @Sendable (borrowing Stack) -> Bool {
        { stack in
            let usable = stack.addresses(of: 0).filter(\.isUsable).map(\.address.address)
            return usable.contains(.v4(IPv4Address(10, 77, 0, last)))
        }
    }

    @Test("to a peer, a process that was killed is silent, and a reset once somebody else has its address")
    func killed() throws {
        let hosts = try StackHosts(.packet)
        let first = try hosts.serve("EchoServer", "--port", "7007")
        let socket = try KernelSocket(to: IPv4Address(10, 77, 0, 2), 7007, in: hosts.peer)
        #expect(try socket.exchange("alive") == "alive")
        first.signal(SIGKILL)
        #expect(try first.ends().status == 128 + SIGKILL)
        // RFC 9293 §3.5.1: nobody is there to answer.
        let silence = try socket.tryToExchange("anybody?", milliseconds: 300)
        #expect(silence == (true, nil))
        // §3.10.7.1: to whoever has the address now, a segment of that connection is a stranger's.
        let second = try hosts.serve("EchoServer", "--port", "7007")
        #expect(socket.errorAtEnd() == ECONNRESET)
        let other = try KernelSocket(to: IPv4Address(10, 77, 0, 2), 7007, in: hosts.peer)
        #expect(try other.exchange("again") == "again")
        other.close()
        second.signal()
        #expect(try second.ends().status == 0)
    }
}
