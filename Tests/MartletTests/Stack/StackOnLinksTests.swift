// The own stack on links of a real kernel, against that kernel's TCP and real programs. Each test has namespaces of its own, and
// the programs under test are the examples: what a user would start.

import NetworkRig
import Testing

@Suite(
    "The stack on a link, with the kernel on its other side",
    .enabled(if: Rig.runs(with: "curl", "ping"), "\(Rig.whyNot(with: "curl", "ping"))"))
struct StackOnLinksTests {
    @Test("curl and ping have their answers, and Ctrl-C ends the server", arguments: PeerLink.allCases)
    func curl(_ kind: PeerLink) throws {
        let hosts = try StackHosts(kind)
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

    @Test("a mebibyte of lines comes back as it was sent by the kernel's TCP", arguments: PeerLink.allCases)
    func echo(_ kind: PeerLink) throws {
        let hosts = try StackHosts(kind)
        let server = try hosts.serve("EchoServer", "--port", "7007")
        let line = String(repeating: "martlet", count: 150)
        let client = try hosts.peer.run(
            Example.path("EchoClient"), "--host", "10.77.0.2", "--port", "7007", "--message", line, "--count", "1000")
        #expect(client.status == 0, "\(client.errors)")
        #expect(client.output == String(repeating: line + "\n", count: 1000))
        server.signal()
        #expect(try server.ends().status == 0)
    }

    @Test(
        "two cores behind one queue serve the kernel's TCP, each its own flows, and one of them answers pings",
        arguments: PeerLink.allCases)
    func cores(_ kind: PeerLink) throws {
        let hosts = try StackHosts(kind)
        let server = try hosts.serve("EchoServer", "--port", "7007", "--cores", "2")
        let line = String(repeating: "swift", count: 250)
        // That all of them belong to the first core is as likely as so many coins that fall on one side.
        for _ in 0..<12 {
            let client = try hosts.peer.run(
                Example.path("EchoClient"), "--host", "10.77.0.2", "--port", "7007", "--message", line, "--count",
                "50")
            #expect(client.status == 0, "\(client.errors)")
            #expect(client.output == String(repeating: line + "\n", count: 50))
        }
        let ping = try hosts.peer.run("ping", "-c", "3", "-i", "0.2", "-W", "5", "10.77.0.2")
        #expect(ping.output.contains("3 packets transmitted, 3 received") && !ping.output.contains("DUP"))
        server.signal()
        #expect(try server.ends().status == 0)
    }

    @Test("our client over the stack is served by the kernel's TCP", arguments: [PeerLink.packet, .xdp])
    func client(_ kind: PeerLink) throws {
        let hosts = try StackHosts(kind)
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
