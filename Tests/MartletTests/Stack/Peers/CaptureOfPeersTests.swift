// What tcpdump sees between the kernel and the stack, judged by tshark: its expert analysis is to find nothing wrong in it, and no
// checksum that is.

import NetworkRig
import Testing

@testable import Martlet

@Suite(
    "What is seen on the wire",
    .enabled(if: Rig.runs(with: "tcpdump", "tshark", "nc"), "\(Rig.whyNot(with: "tcpdump", "tshark", "nc"))"),
    .serialized)
struct CaptureOfPeersTests {
    @Test("tshark has nothing to say about a clean run, in either direction and over either version of IP")
    func clean() async throws {
        // AF_XDP: there all checksums are computed before a frame is seen. The other two leave them to the kernel, which on a wire that is
        // none never computes them.
        try await PeerScene.play(.xdp) { scene in
            let file = scene.path("clean.pcap")
            let tcpdump = try await onThread {
                let program = try scene.peer.start(
                    "tcpdump", "-i", scene.interface.name, "-w", file, "-U", "--immediate-mode", "-B", "16384")
                try program.writes("listening on")
                return program
            }
            try await scene.serving {
                for (number, host) in ["10.77.0.2", "fd00:77::2"].enumerated() {
                    // Within the first windows of both: nothing waits for a window to open, as nothing would between two kernels.
                    try await scene.echoByNetcat(30_000 + number, host: host)
                    for count in [1, 2000] { try await scene.echoByNetcat(count, host: host) }
                    _ = try await scene.run("ping", "-c", "2", "-i", "0.02", "-s", "4000", host)
                }
            }
            // Nobody listens any more: a reset is the right answer.
            #expect(try await scene.run("nc", "-z", "10.77.0.2", "7007").status != 0)
            let server = try await onThread { try scene.peer.start("sh", "-c", "nc -N -l 10.77.0.1 9000 > /dev/null") }
            try await scene.connecting(port: 9000) { try await $0.send(Bytes(stream(from: 1, count: 20_000))) }
            #expect(try await onThread { try server.ends() }.status == 0)
            tcpdump.signal()
            #expect(try await onThread { try tcpdump.ends() }.status == 0)
            let frames = try await Self.tshark(file, "tcp", "frame.number")
            #expect(frames.count > 100)
            // What it flags is looked at one by one: the refused connection's reset is no flag, and nothing else is left to be said.
            let flags = try await Self.tshark(file, "tcp.analysis.flags", "frame.number", "_ws.expert.message")
            #expect(flags == [], "\(flags.joined(separator: "\n"))")
            let wrong = try await Self.tshark(
                file,
                "tcp.checksum.status == 0 || ip.checksum.status == 0 || icmp.checksum.status == 0 || "
                    + "icmpv6.checksum.status == 0 || _ws.malformed",
                "frame.number", "_ws.col.Info")
            #expect(wrong == [], "\(wrong.joined(separator: "\n"))")
        }
    }

    /// Lines of the fields of those packets that a filter lets through.
    private static func tshark(_ file: String, _ filter: String, _ fields: String...) async throws -> [String] {
        let checks = ["tcp.check_checksum:TRUE", "ip.check_checksum:TRUE"].flatMap { ["-o", $0] }
        let columns = ["-T", "fields"] + fields.flatMap { ["-e", $0] }
        let result = try await onThread {
            try NetworkRig.Program(["tshark", "-r", file] + checks + ["-Y", filter] + columns).ends()
        }
        #expect(result.status == 0, "\(result.errors)")
        return result.output.split(separator: "\n").map(String.init)
    }
}
