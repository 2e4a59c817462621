// The own stack on links of a real kernel, against that kernel's TCP and real programs. Each test has namespaces of its own, and
// the programs under test are the examples: what a user would start.

import Foundation
import NetworkRig
import Testing

@Suite(
    "The stack on a link, with the kernel on its other side",
    .enabled(if: Rig.runs(with: "curl", "ping"), "\(Rig.whyNot(with: "curl", "ping"))"))
struct StackOnLinksTests {
    enum Kind: String, CaseIterable, CustomTestStringConvertible {
        case tap, packet, xdp
        var testDescription: String { rawValue }
    }

    /// Two hosts: `stack` is where the program under test runs, `peer` is the kernel's.
    private final class Hosts {
        let stack: Namespace
        let peer: Namespace
        /// As on the command line.
        let link: String
        private let interface: String?
        private let pair: VethPair?

        init(_ kind: Kind) throws {
            stack = try Namespace()
            if kind == .tap {
                // The other side of a TAP is the kernel that it was opened in.
                peer = stack
                let name = Rig.uniqueName()
                link = "tap:" + name
                interface = name
                pair = nil
                return
            }
            peer = try Namespace()
            let pair = try VethPair(left: stack, right: peer)
            try pair.right.add(address: "10.77.0.1/24")
            // What the peer leaves to the card would come without a checksum: nobody computes one on a veth.
            try pair.right.set(offload: "tx", false)
            self.pair = pair
            link = "\(kind.rawValue):" + pair.left.name
            interface = nil
        }

        /// Starts an example that listens, on 10.77.0.2.
        func serve(_ example: String, _ arguments: String...) throws -> NetworkRig.Program {
            let program = try stack.start(
                [Example.path(example)] + arguments + ["--link", link, "--address", "10.77.0.2/24"])
            try program.writes("listening on")
            // A TAP is there once it is opened.
            if let interface {
                try stack.ip("address", "add", "10.77.0.1/24", "dev", interface)
                try stack.ip("link", "set", interface, "up")
            }
            return program
        }
    }

    private enum Example {
        /// A program that was built beside the tests.
        static func path(_ name: String) -> String {
            URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
                .appendingPathComponent(name).path
        }
    }

    @Test("curl and ping have their answers, and Ctrl-C ends the server", arguments: Kind.allCases)
    func curl(_ kind: Kind) throws {
        let hosts = try Hosts(kind)
        let server = try hosts.serve("HTTPServer", "--port", "8080")
        let page = try hosts.peer.run("curl", "-sS", "--max-time", "20", "http://10.77.0.2:8080/")
        #expect(page.status == 0 && page.output == "Hello, World!", "\(page.output)\(page.errors)")
        let missing = try hosts.peer.run(
            "curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", "http://10.77.0.2:8080/other")
        #expect(missing.output == "404")
        let ping = try hosts.peer.run("ping", "-c", "3", "-i", "0.2", "-W", "5", "10.77.0.2")
        #expect(
            ping.status == 0 && ping.output.contains("3 packets transmitted, 3 received"),
            "\(ping.output)\(ping.errors)")
        server.signal()
        #expect(try server.ends().status == 0)
    }

    @Test("a mebibyte of lines comes back as it was sent by the kernel's TCP", arguments: Kind.allCases)
    func echo(_ kind: Kind) throws {
        let hosts = try Hosts(kind)
        let server = try hosts.serve("EchoServer", "--port", "7007")
        let line = String(repeating: "martlet", count: 150)
        let client = try hosts.peer.run(
            Example.path("EchoClient"), "--host", "10.77.0.2", "--port", "7007", "--message", line, "--count", "1000")
        #expect(client.status == 0, "\(client.errors)")
        #expect(client.output == String(repeating: line + "\n", count: 1000))
        server.signal()
        #expect(try server.ends().status == 0)
    }

    @Test("our client over the stack is served by the kernel's TCP", arguments: [Kind.packet, .xdp])
    func client(_ kind: Kind) throws {
        let hosts = try Hosts(kind)
        let server = try hosts.peer.start(Example.path("EchoServer"), "--port", "7007", "--cores", "1")
        try server.writes("listening on")
        let line = String(repeating: "swift", count: 200)
        let client = try hosts.stack.run(
            Example.path("EchoClient"), "--host", "10.77.0.1", "--port", "7007", "--message", line, "--count", "300",
            "--link", hosts.link, "--address", "10.77.0.2/24")
        #expect(client.status == 0, "\(client.errors)")
        #expect(client.output == String(repeating: line + "\n", count: 300))
    }
}
