// The subcommands for links: as functions where that will do, and as the program itself in namespaces with real peers.

import ArgumentParser
import Foundation
import Martlet
import MartletStack
import NetworkRig
import Testing

@testable import MartletTool

@Suite struct LinkCommandTests {
    @Test(arguments: ForwardingMode.allCases)
    func `Forwarding between null links counts both directions, and ends when it is to`(_ mode: ForwardingMode) throws {
        let options = try LinkOptions.parse(["--seconds", "0.2"])
        let report = try Forward.run(.null("a"), .null("b"), mode, options)
        #expect(report.frames > 1000)
        #expect(report.links.map(\.name) == ["null:a", "null:b"])
        #expect(report.frames == report.links[0].received.frames + report.links[1].received.frames)
        #expect(report.links[0].transmitted.frames == report.links[1].received.frames)
        #expect(report.seconds >= 0.2)
        #expect(report.framesPerSecond == Double(report.frames) / report.seconds)
    }

    @Test func `Frames go round between pipes`() throws {
        let options = try LinkOptions.parse(["--seconds", "0.2", "--burst", "8"])
        let report = try Forward.run(.memory("a"), .memory("b"), .io, options)
        #expect(report.links.map(\.name) == ["memory:a", "memory:b"])
        #expect(report.frames > 1000)
        #expect(report.links.allSatisfy { $0.received.drops.isEmpty && $0.transmitted.drops.isEmpty })
    }

    @Test func `A slow generator keeps to its rate, and ends when it is to`() throws {
        let result = try NetworkRig.Program.run(
            Tool.path, "generate", "null:a", "--rate", "20", "--seconds", "0.5", "--json")
        let report = try Tool.report(result)
        #expect((1...10).contains(try #require(report["frames"] as? Int)))
        #expect((0.5..<5).contains(try #require(report["seconds"] as? Double)))
    }

    @Test func `A recorded frame that is longer than a link's is replayed all the same`() throws {
        func word(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
        var file = word(0xA1B2_C3D4) + [2, 0, 4, 0] + word(0) + word(0) + word(262_144) + word(1)
        for length in [60, 9000, 61] {
            file += word(1) + word(0) + word(length) + word(length) + Array(repeating: 7, count: length)
        }
        let path = "/tmp/martlet-\(getpid())-long.pcap"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(file).write(to: URL(fileURLWithPath: path))
        let report = try Tool.report(
            try NetworkRig.Program.run(Tool.path, "generate", "null:a", "--replay", path, "--json"))
        #expect(report["frames"] as? Int == 3)
        let link = try #require((report["links"] as? [[String: Any]])?.first?["transmitted"] as? [String: Any])
        #expect(link["bytes"] as? Int == 9121)
    }

    @Test func `Frames of a TUN have no Ethernet addresses to be sent back by`() {
        #expect(throws: (any Error).self) { try Receive.parse(["tun:a", "--pong"]) }
        #expect(throws: Never.self) { try Receive.parse(["tap:a", "--pong"]) }
    }

    @Test func `Flows go through their ranges, with headers that add up`() throws {
        let flows = try FlowOptions.parse([
            "--size", "64,100", "--source", "10.0.0.1-10.0.0.4", "--source-port", "1000-1002", "--destination-port",
            "53",
        ])
        let frames = flows.frames(count: 4096)
        #expect(frames.count == 24)
        #expect(Set(frames.map(\.count)) == [64, 100])
        #expect(Set(frames.map { $0[26...29] + $0[34...35] }).count == 12)
        for frame in frames {
            let sum = stride(from: 14, to: 34, by: 2).reduce(0) { $0 + Int(frame[$1]) << 8 + Int(frame[$1 + 1]) }
            #expect(sum % 65_535 == 0)
            #expect(Int(frame[16]) << 8 + Int(frame[17]) == frame.count - 14)
        }
        for wrong in [
            ["--size", "10"], ["--size", "9000"], ["--source", "10.0.0.9-10.0.0.1"], ["--to", "1:2"],
            ["--source-port", "x"],
        ] {
            #expect(throws: (any Error).self) { try FlowOptions.parse(wrong) }
        }
    }

    @Test func `Captures of both kinds are read, and those that were cut say so`() throws {
        func word(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
        let old =
            word(0xA1B2_C3D4) + [2, 0, 4, 0] + word(0) + word(0) + word(65_535) + word(1) + word(5) + word(7)
            + word(3) + word(3) + [1, 2, 3]
        let read = try CaptureReader.frames(in: old)
        #expect(read.map(\.bytes) == [[1, 2, 3]])
        #expect(read.map(\.time) == [5_000_007_000])
        let new =
            word(0x0A0D_0D0A) + word(28) + word(0x1A2B_3C4D) + [1, 0, 0, 0] + word(.max) + word(.max) + word(28)
            + word(1) + word(20) + [1, 0, 0, 0] + word(0) + word(20)
            + word(6) + word(36) + word(0) + word(0) + word(9) + word(3) + word(3) + [4, 5, 6, 0] + word(36)
        #expect(try CaptureReader.frames(in: new).map(\.bytes) == [[4, 5, 6]])
        #expect(try CaptureReader.frames(in: new).map(\.time) == [9000])
        for cut in 1..<24 where cut < 20 {
            #expect(throws: CaptureReader.Mistake.self) { try CaptureReader.frames(in: Array(new.dropLast(cut))) }
        }
        #expect(throws: CaptureReader.Mistake.self) { try CaptureReader.frames(in: Array(old.dropLast(1))) }
        #expect(throws: CaptureReader.Mistake.self) { try CaptureReader.frames(in: [1, 2, 3, 4]) }
    }
}

/// The program that was built beside the tests.
private enum Tool {
    static let path = Built.path("martlet")

    /// The JSON object that it ended with.
    static func report(_ result: NetworkRig.Program.Result) throws -> [String: Any] {
        let line = result.output.split(separator: "\n").last.map(String.init) ?? ""
        let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        return try #require(object, "\(result.output)\(result.errors)")
    }
}

@Suite(.enabled(if: Rig.runs, "\(Rig.whyNot ?? "")"))
struct LinkProgramTests {
    @Test func `Pings that a receiver sends back are all back, with their latencies`() throws {
        let (left, right) = (try Namespace(), try Namespace())
        let pair = try VethPair(left: left, right: right)
        let receiver = try right.start(Tool.path, "receive", "packet:" + pair.right.name, "--pong", "--json")
        defer { receiver.signal() }
        let ping = try left.run(
            Tool.path, "generate", "packet:" + pair.left.name, "--ping", "--count", "200", "--seconds", "20", "--json")
        let report = try Tool.report(ping)
        let latency = try #require(report["latency"] as? [String: Double])
        // The first ones may leave before the receiver is there.
        #expect(try #require(report["lost"] as? Int) < 4000)
        #expect(latency["p50"]! > 0 && latency["p99"]! >= latency["p50"]!)
        receiver.signal()
        let received = try receiver.ends()
        #expect(received.status == 0, "\(received.errors)")
        #expect(try Tool.report(received)["frames"] as? Int ?? 0 > 0)
    }

    @Test(.enabled(if: Rig.runs(with: "tshark", "ping"), "\(Rig.whyNot(with: "tshark", "ping"))"))
    func `A capture has what its filter wants, and opens in tshark`() throws {
        let (left, right) = (try Namespace(), try Namespace())
        let pair = try VethPair(left: left, right: right)
        try pair.left.add(address: "10.97.0.1/24")
        try pair.right.add(address: "10.97.0.2/24")
        let path = "/tmp/martlet-\(getpid())-capture.pcapng"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let capture = try right.start(
            Tool.path, "capture", "packet:" + pair.right.name, "-w", path, "--filter", "icmp", "--count", "10",
            "--seconds", "20")
        _ = try left.run("ping", "-q", "-c", "200", "-i", "0.05", "-w", "15", "10.97.0.2")
        let result = try capture.ends()
        #expect(result.status == 0, "\(result.errors)")
        let seen = try NetworkRig.Program.run("tshark", "-r", path, "-T", "fields", "-e", "_ws.col.Protocol")
        let lines = seen.output.split(separator: "\n")
        #expect(lines.count >= 10)
        #expect(lines.allSatisfy { $0 == "ICMP" })
    }

    @Test func `A switch joins three TAPs, and Ctrl-C ends it with a summary`() throws {
        let namespace = try Namespace()
        let names = (0..<3).map { _ in Rig.uniqueName("t") }
        let program = try namespace.start([Tool.path, "switch"] + names.map { "tap:" + $0 } + ["--json"])
        var hosts: [Namespace] = []
        for (index, name) in names.enumerated() {
            var isThere = false
            for _ in 0..<200 where !isThere {
                isThere = (try? Interface(name: name, in: namespace).attribute("mtu")) != nil
            }
            let host = try Namespace()
            let interface = try Interface(name: name, in: namespace).move(to: host)
            try interface.disableIPv6()
            try interface.setUp()
            try interface.add(address: "10.96.0.\(index + 1)/24")
            hosts.append(host)
        }
        let ping = try hosts[0].run("ping", "-q", "-c", "5", "-i", "0.05", "10.96.0.3")
        #expect(ping.output.contains("5 received"), "\(ping.output)")
        program.signal()
        let result = try program.ends()
        #expect(result.status == 0)
        #expect(try #require(Tool.report(result)["frames"] as? Int) >= 12)
    }

    @Test(
        .enabled(if: Rig.runs(with: "setpriv"), "\(Rig.whyNot(with: "setpriv"))"),
        arguments: [
            ("packet:lo", "cap_net_raw"), ("tap:mtnothing", "cap_net_admin"), ("tun:mtnothing", "cap_net_admin"),
            ("xdp:lo", "cap_net_raw,cap_net_admin,cap_bpf"),
        ])
    func `Whoever lacks a privilege is told which, and how to get it`(_ link: String, _ capability: String) throws {
        // As nobody, who may read the program if it lies where everybody may.
        let copy = "/tmp/martlet-\(getpid())-tool"
        try NetworkRig.Program.run("install", "-m", "755", Tool.path, copy)
        defer { try? FileManager.default.removeItem(atPath: copy) }
        let result = try NetworkRig.Program([
            "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all", copy,
            "receive", link,
            "--seconds", "1",
        ]).ends()
        #expect(result.status != 0)
        #expect(result.errors.contains("\(link)"), "\(result.errors)")
        #expect(result.errors.contains("needs \(capability.uppercased())"), "\(result.errors)")
        #expect(result.errors.contains("setcap \(capability)+ep"), "\(result.errors)")
    }

    @Test func `Two quiet links cost next to nothing to forward between`() throws {
        let (left, right) = (try Namespace(), try Namespace())
        let (first, second) = (try VethPair(left: left, right: right), try VethPair(left: left, right: right))
        let program = try left.start(
            Tool.path, "forward", "packet:" + first.left.name, "packet:" + second.left.name, "--seconds", "4", "--json")
        let result = try program.ends()
        #expect(result.status == 0, "\(result.errors)")
        #expect(try #require(Tool.report(result)["cpu_share"] as? Double) < 0.05, "it spins")
    }
}
