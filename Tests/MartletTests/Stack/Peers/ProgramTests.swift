// The stack and programs that people use: each is a test of what they do together, over each kind of link.

import Foundation
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(
    "The stack and real programs",
    .enabled(
        if: Rig.runs(with: "wrk", "nginx", "nc", "ping", "traceroute"),
        "\(Rig.whyNot(with: "wrk", "nginx", "nc", "ping", "traceroute"))"),
    .serialized)
struct ProgramTests {
    @Test("wrk is served without a socket error", arguments: PeerLink.allCases)
    func wrk(_ kind: PeerLink) throws {
        let hosts = try StackHosts(kind)
        let server = try hosts.serve("HTTPServer", "--port", "8080")
        let result = try hosts.peer.run("wrk", "-t", "1", "-c", "32", "-d", "1", "http://10.77.0.2:8080/")
        #expect(result.status == 0, "\(result.errors)")
        #expect(!result.output.contains("Socket errors") && !result.output.contains("Non-2xx"), "\(result.output)")
        let requests = result.output.split(separator: "\n").first { $0.contains(" requests in ") }?
            .split(separator: " ").first.flatMap { Int($0) }
        #expect(try #require(requests) > 100, "\(result.output)")
        server.signal()
        #expect(try server.ends().status == 0)
    }

    @Test("nginx serves our client: large files at once, and several on one connection", arguments: PeerLink.allCases)
    func nginx(_ kind: PeerLink) async throws {
        try await PeerScene.play(kind) { scene in
            let file = stream(from: 1, count: 400_000)
            try scene.write(file, to: "file")
            try scene.write(Array("small".utf8), to: "small")
            try scene.write(Array(Self.configuration(scene.folder).utf8), to: "nginx.conf")
            let server = try await onThread { try scene.peer.start("nginx", "-c", scene.path("nginx.conf")) }
            try await scene.connecting(port: 80) { _ in }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let (head, body) = try await Self.get("/file", from: scene)
                        #expect(head.hasPrefix("HTTP/1.1 200") && head.contains("Content-Length: 400000"), "\(head)")
                        expectSame(body, file)
                    }
                }
                try await group.waitForAll()
            }
            let text = try await scene.core.withConnection(to: PeerScene.kernel(port: 80)) { connection in
                let request = "GET /small HTTP/1.1\r\nHost: nginx\r\n"
                try await connection.send(Bytes("\(request)\r\n\(request)\r\n\(request)Connection: close\r\n\r\n"))
                var all: [UInt8] = []
                for try await bytes in connection { all += Array(bytes) }
                return String(decoding: all, as: UTF8.self)
            }
            #expect(text.components(separatedBy: "HTTP/1.1 200 OK").count == 4, "\(text)")
            #expect(text.components(separatedBy: "\r\n\r\nsmall").count == 4, "\(text)")
            server.signal(SIGQUIT)
            #expect(try await onThread { try server.ends() }.status == 0)
        }
    }

    private static func configuration(_ folder: String) -> String {
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(folder)/\($0);" }
        return """
            daemon off; master_process off; pid \(folder)/pid; error_log \(folder)/errors; worker_processes 1;
            events { worker_connections 256; }
            http {
              access_log off; \(paths.joined(separator: " "))
              server { listen 10.77.0.1:80; root \(folder); }
            }

            """
    }

    /// The head of a reply, and its body.
    private static func get(_ path: String, from scene: PeerScene) async throws -> (String, [UInt8]) {
        try await scene.core.withConnection(to: PeerScene.kernel(port: 80), within: .seconds(10)) { connection in
            try await connection.send(Bytes("GET \(path) HTTP/1.1\r\nHost: nginx\r\nConnection: close\r\n\r\n"))
            var all: [UInt8] = []
            for try await bytes in connection { all += Array(bytes) }
            let end = all.firstRange(of: Array("\r\n\r\n".utf8)) ?? all.endIndex..<all.endIndex
            return (String(decoding: all[..<end.lowerBound], as: UTF8.self), Array(all[end.upperBound...]))
        }
    }

    @Test("netcat has all its bytes back, over IPv4 and IPv6", arguments: PeerLink.allCases)
    func netcat(_ kind: PeerLink) async throws {
        try await PeerScene.play(kind) { scene in
            try await scene.serving {
                try await scene.echoByNetcat(8 << 20)
                try await scene.echoByNetcat(1 << 20, host: "fd00:77::2")
            }
        }
    }

    @Test("our client and a listening netcat send each other everything at once", arguments: PeerLink.allCases)
    func listeningNetcat(_ kind: PeerLink) async throws {
        try await PeerScene.play(kind) { scene in
            let (theirs, ours) = (stream(from: 3, count: 3 << 20), stream(from: 5, count: 2 << 20))
            try scene.write(theirs, to: "theirs")
            let line = "nc -N -l 10.77.0.1 9000 < \(scene.path("theirs")) > \(scene.path("ours"))"
            let netcat = try await onThread { try scene.peer.start("sh", "-c", line) }
            let received = try await scene.connecting(port: 9000) { connection in
                async let sent: Void = connection.send(Bytes(ours))
                var all: [UInt8] = []
                for try await bytes in connection { all += Array(bytes) }
                // Not before it has sent everything: a listening netcat that hears FIN stops.
                try await sent
                return all
            }
            expectSame(received, theirs)
            #expect(try await onThread { try netcat.ends() }.status == 0)
            expectSame(try scene.read("ours"), ours)
        }
    }

    @Test(
        "ping and traceroute find the stack, over IPv4 and IPv6, with packets in pieces", arguments: PeerLink.allCases)
    func ping(_ kind: PeerLink) async throws {
        try await PeerScene.play(kind) { scene in
            try await scene.serving {
                for host in ["10.77.0.2", "fd00:77::2"] {
                    for size in ["56", "5000"] {
                        let ping = try await scene.run("ping", "-c", "5", "-i", "0.02", "-W", "5", "-s", size, host)
                        #expect(ping.output.contains("5 received, 0% packet loss"), "\(ping.output)\(ping.errors)")
                    }
                    for way in [["-U"], ["-I"], ["-T", "-p", "7007"], ["-T", "-p", "9"]] {
                        let route = try await scene.shell(
                            "traceroute -n -q 1 -w 3 -m 3 \(way.joined(separator: " ")) \(host)")
                        let hops = route.output.split(separator: "\n").dropFirst()
                        #expect(hops.count == 1, "\(way): \(route.output)\(route.errors)")
                        #expect(hops.first?.contains(" \(host) ") == true, "\(way): \(route.output)")
                    }
                }
            }
        }
    }
}
