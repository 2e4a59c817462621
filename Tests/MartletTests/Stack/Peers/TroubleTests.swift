// The stack and the kernel when the way between them, or the kernel's program, is in trouble: loss in both directions, a peer that
// stands still, and a flood of SYNs from addresses that are nobody's.

import CMartlet
import Glibc
import MartletSimulation
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(
    "The stack and the kernel in trouble",
    .enabled(if: Rig.runs(with: "nc", "wrk"), "\(Rig.whyNot(with: "nc", "wrk"))"), .serialized)
struct TroubleTests {
    @Test(
        "every byte comes through 1, 5 and 10 percent of loss in both directions",
        arguments: [(1, 4 << 20), (5, 1 << 20), (10, 200_000)], [PeerLink.tap, .packet])
    func loss(_ trouble: (percent: Int, count: Int), _ kind: PeerLink) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("loss: seed \(seed)")
        try await PeerScene.play(
            kind,
            changing: { interface, _ in
                interface.faults = StackFaults(loss: Double(trouble.percent) / 100, seed: seed)
            }
        ) { scene in
            try await scene.serving { try await scene.echoByNetcat(trouble.count) }
            let counters = await scene.look { $0.counters.tcp }
            #expect(counters.retransmits > 0, "nothing was lost, seed \(seed)")
            let drops = await scene.core.perform {
                unsafe scene.core.transport.driver.stack!.pointee.interfaces.counters(of: 0)
            }
            #expect(drops.received.drops[.fault] > 0 && drops.transmitted.drops[.fault] > 0)
        }
    }

    // What lasts is the closed window, and the probes of it, of which there are several in the first seconds; where tests run by
    // themselves the peer stands still for a whole minute all the same.
    @Test("a peer that is stopped until its window closes, and probes are sent, has everything once it goes on")
    func stopped() async throws {
        try await PeerScene.play(.packet, deadline: 180) { scene in
            let bytes = stream(from: 11, count: 16 << 20)
            let infos = Log<MartletStack.TCPInfo>()
            let netcat = Promise<NetworkRig.Program>()
            try await scene.serving(port: 7019) { connection in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await connection.send(Bytes(bytes)) }
                    // Somebody is there: now it stands still, with its window open.
                    let program = await netcat.value
                    program.signal(SIGSTOP)
                    var last = connection.stackInfo
                    for _ in 0..<20_000 {
                        guard let info = connection.stackInfo else { throw Failed("it has ended") }
                        last = info
                        // The wait between probes has been doubled three times.
                        if info.sndWnd == 0, info.backoff >= 3 { break }
                        try await connection.core.sleep(for: .milliseconds(1))
                    }
                    if Rig.isCI { try await connection.core.sleep(for: .seconds(60)) }
                    if let last = connection.stackInfo ?? last { infos.append(last) }
                    program.signal(SIGCONT)
                    try await group.waitForAll()
                }
            } _: {
                let program = try await onThread {
                    try scene.peer.start("sh", "-c", "exec nc -d 10.77.0.2 7019 > \(scene.path("out"))")
                }
                netcat.keep(program)
                #expect(try await onThread { try program.ends(within: 150) }.status == 0)
            }
            let info = try #require(infos.entries.first)
            #expect(info.sndWnd == 0 && info.backoff >= 3, "\(info)")
            #expect(info.state == .established)
            expectSame(try scene.read("out"), bytes)
            #expect(scene.errors.count == 0, "\(scene.errors.entries)")
        }
    }

    @Test("wrk is served while SYNs come from all over the world", arguments: [PeerLink.tap, .packet])
    func flood(_ kind: PeerLink) async throws {
        try await PeerScene.play(
            kind,
            changing: { interface, configuration in
                // Strangers are behind the peer, and so its kernel hears our answers, and drops them.
                interface.gateways = [IPAddress("10.77.0.1")!]
                configuration.stackLimits.tcp.synQueue = 256
            }
        ) { scene in
            let mac = await scene.core.perform {
                unsafe scene.core.transport.driver.stack!.pointee.interfaces.configurations[0].kind
            }
            guard case .ethernet(let address) = mac else { throw Failed("no Ethernet") }
            let flood = Flood(on: scene.interface, in: scene.peer, to: address)
            try await scene.serving(port: 8080) { connection in
                var unfinished: [UInt8] = []
                for try await bytes in connection {
                    unfinished += Array(bytes)
                    // One request of wrk's at a time.
                    guard unfinished.suffix(4).elementsEqual("\r\n\r\n".utf8) else { continue }
                    unfinished = []
                    try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                }
            } _: {
                async let flooded = flood.send(atMost: 60_000)
                let result = try await scene.run("wrk", "-t", "1", "-c", "8", "-d", "2", "http://10.77.0.2:8080/")
                flood.end()
                let sent = try await flooded
                #expect(result.status == 0 && !result.output.contains("Socket errors"), "\(result.output)")
                #expect(!result.output.contains("Non-2xx"), "\(result.output)")
                #expect(sent > 1000)
                let counters = await scene.look { $0.counters.tcp }
                // More than the queue has room for have been answered all the same.
                #expect(counters.synCookiesOut > 0, "\(counters)")
                let page = try await scene.run("nc", "-z", "10.77.0.2", "8080")
                #expect(page.status == 0)
            }
            // When its time is over wrk lets go of its connections, with answers on the way. One whose reset has not come when the
            // server ends is cancelled.
            let errors = scene.errors.entries.filter { ![.reset, .cancelled].contains($0 as? NetworkError) }
            #expect(errors.isEmpty, "\(errors)")
            let (connections, known) = await scene.look { ($0.connectionCount, $0.counters.tcp.synCookiesForged) }
            #expect(connections <= 1 && known == 0)
        }
    }
}

/// SYNs with made-up sources, out of a packet socket of the peer's.
private final class Flood: Sendable {
    let interface: Interface
    let namespace: Namespace
    let destination: MACAddress
    private let isOver = Guarded(false)

    init(on interface: Interface, in namespace: Namespace, to destination: MACAddress) {
        (self.interface, self.namespace, self.destination) = (interface, namespace, destination)
    }

    func end() { isOver.withLock { $0 = true } }

    /// Sends up to so many, in bursts with a millisecond between them, or until it is ended. Returns how many.
    func send(atMost count: Int) async throws -> Int {
        try await onThread { [self] in
            let (name, source) = (interface.name, try MACAddress(interface.attribute("address")))
            guard let source else { throw Failed("an interface without an address") }
            let holder = try namespace.inside { try Holder(PacketLink(name)) }
            var link = holder.take()
            let pool = FramePool(count: 1024)
            var burst = pool.makeBurst()
            var (sent, random) = (0, SplitMix(seed: 1))
            while sent < count, !isOver.withLock({ $0 }) {
                for _ in 0..<32 {
                    guard var frame = burst.takeFrame() else { break }
                    let syn = Self.syn(random.next(), from: source, to: destination)
                    unsafe frame.copyBytes(from: syn.span.bytes)
                    burst.append(frame)
                }
                sent += link.transmit(&burst)
                burst.removeAll()
                usleep(1000)
            }
            return sent
        }
    }

    /// A SYN to 10.77.0.2:8080 from somewhere in 198.18.0.0/15, the network of RFC 2544 for tests.
    private static func syn(_ random: UInt64, from source: MACAddress, to destination: MACAddress) -> [UInt8] {
        func octets(_ address: MACAddress) -> [UInt8] { (0..<6).map { address.octets[$0] } }
        func bytes(_ number: UInt64, _ count: Int) -> [UInt8] {
            (0..<count).reversed().map { UInt8(truncatingIfNeeded: number >> UInt64($0 * 8)) }
        }
        func sum(_ bytes: [UInt8]) -> [UInt8] {
            var total = stride(from: 0, to: bytes.count, by: 2).reduce(UInt32(0)) {
                $0 + UInt32(bytes[$1]) << 8 + UInt32(bytes[$1 + 1])
            }
            while total > 0xFFFF { total = total >> 16 + total & 0xFFFF }
            return [UInt8(~total >> 8 & 0xFF), UInt8(~total & 0xFF)]
        }
        let ends: [UInt8] = [198, 18 | UInt8(random >> 63)] + bytes(random, 2) + [10, 77, 0, 2]
        var ip: [UInt8] = [0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0] + ends
        ip.replaceSubrange(10..<12, with: sum(ip))
        var tcp = bytes(1024 + random >> 16 & 0x7FFF, 2) + bytes(8080, 2) + bytes(random >> 32, 4) + bytes(0, 4)
        tcp += [0x60, 0x02, 0xFF, 0xFF, 0, 0, 0, 0, 2, 4, 5, 180]
        tcp.replaceSubrange(16..<18, with: sum(ends + [0, 6, 0, 24] + tcp))
        return octets(destination) + octets(source) + [8, 0] + ip + tcp
    }
}
