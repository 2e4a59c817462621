// `serve`, `top` and `connections`: as functions where that will do, and as the program itself with netcat as its client.

import ArgumentParser
import Foundation
import Martlet
import NetworkRig
import Testing

@testable import MartletTool

@Suite struct ServeArgumentTests {
    @Test func `What cannot be is refused before anything is opened`() {
        for wrong in [
            ["telnet"], ["echo", "--cores", "0"], ["echo", "--loss", "5"], ["http", "--size=-1"],
            ["echo", "--link", "tap:a", "--loss", "101"], ["echo", "--patience=-1"],
        ] {
            #expect(throws: (any Error).self) { try Serve.parse(wrong) }
        }
        #expect(throws: Never.self) { try Serve.parse(["echo", "--link", "tap:a", "--loss", "5"]) }
    }

    @Test func `Whoever reads the directions gets to the server`() {
        func lines(_ link: String?, _ addresses: [String] = [], _ gateways: [String] = []) -> [String] {
            Serve.directions(to: .echo, 7, link: link, addresses: addresses, gateways: gateways)
        }
        #expect(lines(nil) == ["try it:  printf 'hello\\n' | nc -N 127.0.0.1 7"])
        let tap = lines("tap:tap0", ["10.0.0.2/24"])
        #expect(tap.first == "its other side:  ip address add 10.0.0.1/24 dev tap0 && ip link set tap0 up")
        #expect(tap.last?.hasSuffix("nc -N 10.0.0.2 7") == true)
        #expect(lines("tap:tap0", ["10.0.0.1/24"]).first?.contains("10.0.0.2/24") == true)
        #expect(lines("tap:tap0", ["10.0.0.2/16"], ["10.0.9.9"]).first?.contains("add 10.0.9.9/16 ") == true)
        #expect(lines("packet:eth0", ["10.0.0.2/24"]).count == 1)
    }

    @Test func `Lines of chargen are those of RFC 864`() {
        let lines = Service.lines.split(separator: 10)
        #expect(lines.count == 95 && lines.allSatisfy { $0.count == 73 && $0.last == 13 })
        #expect(
            lines[0].first == 32 && lines[1].first == 33 && lines[94].first == 126 && lines[94].dropFirst().first == 32)
    }
}

@Suite struct TopReportTests {
    private static func page(_ factor: UInt64, states: [String: Int]) -> StatisticsPage {
        StatisticsPage(
            driver: "epoll",
            cores: [
                .init(
                    core: 0, cpu: 1, counters: ["rounds": 100 * factor, "open": 7, "bytes_sent": 5000 * factor],
                    stack: [
                        "network": ["packets_in": 50 * factor],
                        "tcp": ["segments_in": 40 * factor, "fast_path": 30 * factor, "slow_path": 10 * factor],
                    ], drops: ["no_route": 3, "bad_frame": 0], states: states,
                    links: [
                        .init(
                            name: "tap:a", state: "up", received: .init(frames: 10 * factor, bytes: 0, drops: [:]),
                            transmitted: .init(frames: 20 * factor, bytes: 0, drops: ["fault": 4]))
                    ])
            ])
    }

    @Test func `Rates are differences over time, and shares those of what came in between`() throws {
        let report = TopReport(
            from: Self.page(1, states: [:]), to: Self.page(5, states: ["established": 2, "closed": 0]), seconds: 2)
        let core = try #require(report.cores.first)
        #expect(core.roundsPerSecond == 200 && core.bytesSentPerSecond == 10_000 && core.open == 7)
        let stack = try #require(core.stack)
        #expect(stack.framesInPerSecond == 100 && stack.segmentsInPerSecond == 80 && stack.fastPathShare == 0.75)
        #expect(stack.states == ["established": 2] && stack.drops == ["no_route": 3])
        #expect(core.links.first?.framesTransmittedPerSecond == 40 && core.links.first?.drops == 4)
        let text = report.lines.joined(separator: "\n")
        #expect(text.contains("75.0 %") && text.contains("2 established") && text.contains("3 no_route"), "\(text)")
        let json = try OneLine.json(report)
        #expect(json.contains("\"fast_path_share\":0.75") && json.contains("\"no_route\":3"), "\(json)")
    }
}

@Suite(.serialized) struct WatchTests {
    private static func socket() -> String { "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock" }

    /// Runs the server while `body` does, ends it, and returns what it says.
    private func serve(
        _ arguments: [String], _ body: (String, UInt16) throws -> Void
    ) throws -> [String: Any] {
        let path = Self.socket()
        let server = try NetworkRig.Program(
            [Built.path("martlet"), "serve"] + arguments + [
                "--port", "0", "--json", "--statistics", path, "--patience", "0",
            ])
        try server.writes("Ctrl-C ends it")
        let line = try #require(server.output.split(separator: "\n").first { $0.contains("listening on") })
        let address = line.split(separator: " ")[3].dropLast()
        try body(path, try #require(address.split(separator: ":").last.flatMap { UInt16($0) }))
        server.signal()
        let result = try server.ends()
        #expect(result.status == 0, "\(result.errors)")
        #expect(!FileManager.default.fileExists(atPath: path))
        return try Self.object(result.output.split(separator: "\n").last.map(String.init) ?? "")
    }

    private static func object(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
    }

    private func tool(_ arguments: String...) throws -> String {
        let result = try NetworkRig.Program([Built.path("martlet")] + arguments).ends()
        #expect(result.status == 0, "\(result.errors)")
        return result.output
    }

    @Test func `Every service does what its RFC says, and a summary has it all`() throws {
        let echo = try serve(["echo"]) { _, port in
            let result = try NetworkRig.Program.run("sh", "-c", "printf hello | nc -N 127.0.0.1 \(port)")
            #expect(result.output == "hello")
        }
        #expect(echo["service"] as? String == "echo" && echo["accepted"] as? Int == 1)
        #expect(echo["bytes_received"] as? Int == 5 && echo["bytes_sent"] as? Int == 5)
        #expect(echo["stack"] == nil && (echo["errors"] as? [String: Int]) == [:])
        let http = try serve(["http", "--size", "1000"]) { _, port in
            let result = try NetworkRig.Program.run(
                "curl", "-sS", "http://127.0.0.1:\(port)/", "http://127.0.0.1:\(port)/b")
            #expect(result.output.count == 2000 && result.output.hasPrefix("Hello, World!\n"))
        }
        #expect(http["accepted"] as? Int == 1)
        let discard = try serve(["discard"]) { _, port in
            let result = try NetworkRig.Program.run("sh", "-c", "head -c 1000000 /dev/zero | nc -N 127.0.0.1 \(port)")
            #expect(result.output == "")
        }
        #expect(discard["bytes_received"] as? Int == 1_000_000 && discard["bytes_sent"] as? Int == 0)
        let chargen = try serve(["chargen"]) { _, port in
            let result = try NetworkRig.Program.run("sh", "-c", "nc -d 127.0.0.1 \(port) | head -c 7030 || true")
            #expect(Array(result.output.utf8) == Service.lines)
        }
        #expect(chargen["bytes_sent"] as? Int ?? 0 >= 7030)
    }

    @Test func `A running program is looked into, in all formats`() throws {
        _ = try serve(["echo"]) { path, port in
            let client = try NetworkRig.Program(["sh", "-c", "(printf hello; sleep 5) | nc 127.0.0.1 \(port)"])
            try client.writes("hello")
            let look = try Self.object(try tool("top", path, "--once", "--json", "--interval", "0.05"))
            let core = try #require((look["cores"] as? [[String: Any]])?.first)
            #expect(core["rounds_per_second"] as? Double ?? 0 > 0 && core["open"] as? Int ?? 0 >= 2)
            #expect(try tool("top", path, "--interval", "0.05").contains("rounds/s"))
            let metrics = try tool("top", path, "--prometheus").split(separator: "\n")
            #expect(metrics.contains("# TYPE martlet_core_rounds_total counter"))
            #expect(metrics.contains { $0.hasPrefix("martlet_core_accepted_total{core=\"0\"} ") })
            #expect(metrics.allSatisfy { $0.hasPrefix("#") || $0.split(separator: " ").count == 2 })
            let table = try tool("connections", path)
            #expect(table.contains("established") && table.contains("127.0.0.1:\(port)"), "\(table)")
            let list = try Self.object(try tool("connections", path, "--json", "--state", "established"))
            let connections = try #require(list["connections"] as? [[String: Any]])
            #expect(connections.count == 1 && connections[0]["bytes_received"] as? Int == 5, "\(connections)")
            #expect(connections[0]["local"] as? String == "127.0.0.1:\(port)")
            #expect(
                try tool("connections", path, "--prometheus").contains("martlet_connection_bytes_acked_total{core="))
            #expect(
                try Self.object(tool("connections", path, "--json", "--state", "closing"))["connections"] as? [Int]
                    == [])
            // Any program that speaks HTTP may ask.
            let page = try NetworkRig.Program.run("curl", "-sS", "--unix-socket", path, "http://martlet/statistics")
            #expect(try Self.object(page.output)["cores"] != nil)
            let other = try NetworkRig.Program(["curl", "-sS", "-f", "--unix-socket", path, "http://martlet/other"])
                .ends()
            #expect(other.status == 22)
            client.signal(SIGKILL)
        }
    }

    @Test func `Where nobody answers, what to do is said`() throws {
        let result = try NetworkRig.Program([Built.path("martlet"), "top", "/tmp/martlet-nobody.sock", "--once"]).ends()
        #expect(result.status != 0 && result.errors.contains("serveStatistics"), "\(result.errors)")
    }

    @Test(.enabled(if: Rig.runs(with: "nc"), "\(Rig.whyNot(with: "nc"))"))
    func `A server on a TAP tells of its stack, of its link and of the frames that it was told to lose`() throws {
        let (namespace, name, path) = (try Namespace(), Rig.uniqueName("t"), Self.socket())
        let server = try namespace.start(
            Built.path("martlet"), "serve", "echo", "--link", "tap:" + name, "--address", "10.88.0.2/24", "--loss",
            "10",
            "--statistics", path, "--json", "--patience", "0")
        try server.writes("Ctrl-C ends it")
        #expect(server.output.contains("ip address add 10.88.0.1/24 dev \(name) && ip link set \(name) up"))
        try namespace.ip("address", "add", "10.88.0.1/24", "dev", name)
        try namespace.ip("link", "set", name, "up")
        // Of three requests, which the kernel makes otherwise, all are lost at times.
        try namespace.set("net.ipv4.neigh.\(name).mcast_solicit", to: "30")
        let text = String(repeating: "0123456789", count: 5000)
        let file = "/tmp/martlet-\(getpid())-serve"
        defer { try? FileManager.default.removeItem(atPath: file) }
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        let result = try namespace.run("sh", "-c", "nc -N 10.88.0.2 7007 < \(file)")
        #expect(result.output == text, "\(result.output.count) \(result.errors)")
        let look = try Self.object(try tool("top", path, "--once", "--json", "--interval", "0.05"))
        let core = try #require((look["cores"] as? [[String: Any]])?.first)
        let link = try #require((core["links"] as? [[String: Any]])?.first)
        #expect(link["name"] as? String == "tap:" + name && link["state"] as? String == "up")
        #expect(link["drops"] as? Int ?? 0 > 0)
        let states = (core["stack"] as? [String: Any])?["states"] as? [String: Int]
        #expect(states?["listen"] == 1, "\(core)")
        #expect(try tool("top", path, "--prometheus").contains("martlet_tcp_segments_in_total{core=\"0\"} "))
        #expect(try tool("top", path, "--once", "--interval", "0.05").contains("tap:" + name))
        server.signal()
        let end = try server.ends()
        #expect(end.status == 0, "\(end.errors)")
        let report = try Self.object(end.output.split(separator: "\n").last.map(String.init) ?? "")
        // Those who have looked into it have asked, and been answered, in bytes too.
        #expect(report["bytes_received"] as? Int ?? 0 >= 50_000 && report["bytes_sent"] as? Int ?? 0 >= 50_000)
        #expect((report["stack"] as? [String: Any])?["segments_in"] as? Int ?? 0 > 10)
    }
}
