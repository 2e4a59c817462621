// Two cores and the queues of a link, with the kernel's TCP on its other side.

import Foundation
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(
    "Several cores and the queues of a link", .enabled(if: Rig.runs(with: "ethtool"), "\(Rig.whyNot(with: "ethtool"))"))
struct StackQueuesTests {
    /// A link whose queues this process has, and a namespace where the kernel is on its other side.
    private final class Cable: Sendable {
        let link: LinkName
        let peer: Namespace
        private let pair: VethPair?

        init(_ kind: LinkName.Kind) throws {
            peer = try Namespace()
            if kind == .tap {
                link = .tap(Rig.uniqueName())
                pair = nil
                return
            }
            let pair = try VethPair(left: nil, right: peer, queues: 2)
            try pair.right.add(address: "10.78.0.1/24")
            // What the peer leaves to the card would come without a checksum: nobody computes one on a veth.
            try pair.right.set(offload: "tx", false)
            link = LinkName(kind, pair.left.name)
            self.pair = pair
        }

        /// The link is open: a TAP is there now, and its other side goes to the peer.
        func isOpen() throws {
            guard pair == nil else { return }
            let device = try Interface(name: link.name, in: nil).move(to: peer)
            try device.add(address: "10.78.0.1/24")
            try device.setUp()
        }
    }

    private static let client = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("EchoClient").path

    @Test(
        "the kernel's clients are served by the core of their flow, whoever has the queue",
        arguments: [(.tap, false), (.tap, true), (.packet, false), (.packet, true), (.xdp, true)]
            as [(LinkName.Kind, Bool)])
    func serve(_ kind: LinkName.Kind, usesQueues: Bool) async throws {
        let cable = try Cable(kind)
        var interface = StackInterface(link: cable.link, addresses: [InterfaceAddress("10.78.0.2/24")!])
        interface.usesQueues = usesQueues
        let configuration = StackRuntime.configuration([interface], cores: 2)
        try await within(seconds: 60) {
            try await Runtime.run(configuration) { runtime in
                try cable.isOpen()
                try await runtime.serving(on: .any(port: 7007)) { _ in
                    let line = String(repeating: "queue", count: 250)
                    for _ in 0..<16 {
                        let client = try await onThread {
                            try cable.peer.run(
                                Self.client, "--host", "10.78.0.2", "--port", "7007", "--message", line, "--count", "50"
                            )
                        }
                        #expect(client.status == 0, "\(client.errors)")
                        #expect(client.output == String(repeating: line + "\n", count: 50))
                    }
                    let counters = await runtime.counters()
                    #expect(counters.map(\.accepted).reduce(0, +) == 16)
                    // As likely to fail as sixteen coins are to fall on one side.
                    #expect(counters.allSatisfy { $0.accepted > 0 }, "\(counters.map(\.accepted))")
                    #expect(counters.allSatisfy { $0.handoversDropped == 0 })
                    // Who has the only queue hands over all of the other's frames, and is handed none.
                    if !usesQueues { #expect(counters[0].framesHandedOver > 50 && counters[0].framesTakenOver == 0) }
                }
            }
        }
    }

    @Test("a link that has no queues for cores says so")
    func none() async {
        var interface = StackInterface(link: .memory("one"), addresses: [InterfaceAddress("10.78.0.2/24")!])
        interface.usesQueues = true
        let configuration = StackRuntime.configuration([interface], cores: 2)
        let error = await #expect(throws: NetworkError.self) { try await Runtime.run(configuration) { _ in } }
        #expect("\(error as Any)".contains("MemoryNetwork"))
    }
}
