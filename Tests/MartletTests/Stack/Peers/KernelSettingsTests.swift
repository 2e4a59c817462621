// The kernel's TCP as it can be set up, on the other side of the stack: sysctl(8), tcp(7), ip-sysctl in the kernel's documentation.
// What was agreed on is looked at in the stack, so that a setting that has not taken effect is no test that passes.

import MartletStack
import NetworkRig
import Testing

@testable import Martlet

/// How a peer is set up, and what a connection with it agrees on.
struct KernelSetting: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var congestion: String?
    var variables: [(String, String)] = []
    var mtu = 1500
    /// TCPI_OPT_…: 1 timestamps, 2 SACK, 4 window scaling, 8 ECN.
    var options: UInt8 = 7

    static let all = [
        KernelSetting(testDescription: "cubic", congestion: "cubic"),
        KernelSetting(testDescription: "bbr", congestion: "bbr"),
        KernelSetting(testDescription: "without SACK", variables: [("tcp_sack", "0")], options: 5),
        KernelSetting(testDescription: "without timestamps", variables: [("tcp_timestamps", "0")], options: 6),
        KernelSetting(testDescription: "without window scaling", variables: [("tcp_window_scaling", "0")], options: 3),
        KernelSetting(
            testDescription: "without any option",
            variables: [("tcp_sack", "0"), ("tcp_timestamps", "0"), ("tcp_window_scaling", "0")], options: 0),
        KernelSetting(testDescription: "ECN", variables: [("tcp_ecn", "1")], options: 15),
        KernelSetting(testDescription: "an MTU of 576", mtu: 576),
        KernelSetting(testDescription: "an MTU of 9000", mtu: 9000),
    ]

    /// Whether this kernel knows the congestion control that is asked for.
    var isKnown: Bool {
        guard let congestion else { return true }
        let known = try? Program.run("sysctl", "-n", "net.ipv4.tcp_available_congestion_control").output
        return known?.split(whereSeparator: \.isWhitespace).contains { $0 == congestion } ?? false
    }
}

@Suite(
    "The kernel's TCP as it can be set up",
    .enabled(if: Rig.runs(with: "nc", "sysctl"), "\(Rig.whyNot(with: "nc", "sysctl"))"), .serialized)
struct KernelSettingsTests {
    @Test(
        "bytes go both ways, whoever connects, and both have agreed on what they should",
        arguments: KernelSetting.all.filter(\.isKnown), [PeerLink.tap, .packet])
    func exchange(_ setting: KernelSetting, _ kind: PeerLink) async throws {
        try await PeerScene.play(
            kind, mtu: setting.mtu,
            prepare: { peer in
                for (name, value) in setting.variables { try peer.set("net.ipv4.\(name)", to: value) }
            }
        ) { scene in
            if let congestion = setting.congestion { try await Self.choose(congestion, scene) }
            let infos = Log<MartletStack.TCPInfo>()
            try await scene.serving(port: 7007) { connection in
                for try await bytes in connection {
                    if infos.count == 0, let info = connection.stackInfo { infos.append(info) }
                    try await connection.send(bytes)
                }
            } _: {
                try await scene.echoByNetcat(1 << 20)
            }
            let accepted = try #require(infos.entries.first)
            #expect(accepted.options == setting.options)
            // As far as the other side's segments go that has been offered: 40 bytes of headers, and 12 of timestamps.
            let segment = UInt32(setting.mtu - 40 - (setting.options & 1 == 1 ? 12 : 0))
            #expect(accepted.sndMss == segment && accepted.advmss == UInt32(setting.mtu - 40), "\(accepted)")
            let opened = try await Self.connect(scene)
            // Marks are agreed on when the other side asks for them, and not asked for.
            #expect(opened.options == setting.options & 7 && opened.sndMss == segment, "\(opened)")
            #expect(scene.errors.count == 0, "\(scene.errors.entries)")
        }
    }

    /// Gives the kernel's connections to this side their congestion control: by the route, which whoever is root may do in any namespace.
    private static func choose(_ congestion: String, _ scene: PeerScene) async throws {
        let route = [
            "10.77.0.0/24", "dev", scene.interface.name, "proto", "kernel", "scope", "link", "src", "10.77.0.1",
        ]
        let replaced = try await scene.shell(
            "ip route replace \(route.joined(separator: " ")) congctl \(congestion)")
        #expect(replaced.status == 0, "\(replaced.errors)")
        try await scene.serving(port: 7007) {
            let socket = try await onThread { try KernelSocket(to: IPv4Address(10, 77, 0, 2), 7007, in: scene.peer) }
            let sockets = try await scene.run("ss", "-tin")
            #expect(sockets.output.contains(" \(congestion) "), "\(sockets.output)")
            socket.close()
        }
    }

    /// Sends from this side to a netcat that listens, and takes what it sends.
    private static func connect(_ scene: PeerScene) async throws -> MartletStack.TCPInfo {
        let (ours, theirs) = (stream(from: 9, count: 300_000), stream(from: 4, count: 200_000))
        try scene.write(theirs, to: "theirs")
        let line = "nc -N -l 10.77.0.1 9000 < \(scene.path("theirs")) > \(scene.path("ours"))"
        let netcat = try await onThread { try scene.peer.start("sh", "-c", line) }
        let info = try await scene.connecting(port: 9000) { connection in
            let info = connection.stackInfo
            async let sent: Void = connection.send(Bytes(ours))
            var all: [UInt8] = []
            for try await bytes in connection { all += Array(bytes) }
            // Not before it has sent everything: a listening netcat that hears FIN stops.
            try await sent
            expectSame(all, theirs)
            return info
        }
        #expect(try await onThread { try netcat.ends() }.status == 0)
        expectSame(try scene.read("ours"), ours)
        return try #require(info)
    }
}
