// The servers among the examples, run as programs, with clients that others wrote and with some of ours that ask what those do not.

import Foundation
import Martlet
import NetworkRig
import Testing

/// A server that was started on a port that the kernel chose.
private struct Served {
    let program: NetworkRig.Program
    let address: SocketAddress

    init(_ name: String, _ arguments: String...) throws {
        program = try NetworkRig.Program([Built.path(name), "--port", "0"] + arguments)
        try program.writes("listening on [::]:")
        let text = program.output.split(separator: "[::]:")[1].prefix { $0.isNumber }
        address = .loopback(port: UInt16(text)!)
    }

    var port: String { String(address.port!) }

    /// What comes back for these bytes before the server closes, each sent as a piece of its own.
    func answers(to pieces: String...) async throws -> String {
        let address = address
        return try await Runtime.run(.init(cores: .count(1))) { runtime in
            try await runtime.withConnection(to: address, within: .seconds(10)) { connection in
                for piece in pieces {
                    try await connection.send(piece)
                    try await connection.flush()
                }
                try await connection.finish()
                var text = ""
                while let bytes = try await connection.receive(within: .seconds(20)) { text += bytes.description }
                return text
            }
        }
    }
}

@Suite(.serialized) struct KeyValueServerTests {
    private func expect(_ server: Served, _ request: String, _ answer: String) async throws {
        let got = try await server.answers(to: request)
        #expect(got == answer, "for \(request.debugDescription)")
    }

    @Test func `Every command of the protocol answers as memcached does`() async throws {
        let server = try Served("KeyValueServer")
        try await expect(server, "set a 5 0 3\r\none\r\nget a b\r\n", "STORED\r\nVALUE a 5 3\r\none\r\nEND\r\n")
        try await expect(server, "add a 0 0 1\r\nx\r\nadd b 0 0 1\r\ny\r\n", "NOT_STORED\r\nSTORED\r\n")
        try await expect(server, "replace c 0 0 1\r\nx\r\nreplace b 0 0 1\r\nz\r\n", "NOT_STORED\r\nSTORED\r\n")
        try await expect(
            server, "append a 9 0 1\r\n!\r\nprepend a 9 0 1\r\n>\r\nget a\r\n",
            "STORED\r\nSTORED\r\nVALUE a 5 5\r\n>one!\r\nEND\r\n")
        try await expect(server, "append none 0 0 1\r\n!\r\n", "NOT_STORED\r\n")
        try await expect(server, "delete b\r\ndelete b\r\n", "DELETED\r\nNOT_FOUND\r\n")
        try await expect(server, "set n 0 0 2\r\n10\r\nincr n 5\r\ndecr n 100\r\n", "STORED\r\n15\r\n0\r\n")
        try await expect(
            server, "set n 0 0 20\r\n18446744073709551615\r\nincr n 2\r\nincr a 1\r\nincr n x\r\nincr none 1\r\n",
            "STORED\r\n1\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
                + "CLIENT_ERROR invalid numeric delta argument\r\nNOT_FOUND\r\n")
        try await expect(server, "touch a 100\r\ntouch none 1\r\n", "TOUCHED\r\nNOT_FOUND\r\n")
        try await expect(
            server, "verbosity 1\r\nversion\r\nwhat\r\n\r\n", "OK\r\nVERSION 0.1.0-martlet\r\nERROR\r\nERROR\r\n")
        try await expect(server, "quit\r\nversion\r\n", "")
    }

    @Test func `A value changes under cas only if nobody has changed it since`() async throws {
        let server = try Served("KeyValueServer")
        let first = try await server.answers(to: "set k 0 0 1\r\na\r\ngets k\r\n")
        let unique = try #require(first.split(separator: "\r\n").dropFirst().first?.split(separator: " ").last)
        try await expect(server, "cas k 0 0 1 \(unique)\r\nb\r\ncas k 0 0 1 \(unique)\r\nc\r\n", "STORED\r\nEXISTS\r\n")
        try await expect(server, "cas none 0 0 1 1\r\nb\r\nget k\r\n", "NOT_FOUND\r\nVALUE k 0 1\r\nb\r\nEND\r\n")
    }

    @Test func `Times are relative, absolute or past, and a flush takes all`() async throws {
        let server = try Served("KeyValueServer")
        let later = Int(Date().timeIntervalSince1970) + 1000
        try await expect(
            server,
            "set past 0 -1 1\r\nx\r\nset old 0 \(later - 5000) 1\r\nx\r\nset near 0 1000 1\r\nx\r\nset far 0 \(later) 1\r\nx\r\n"
                + "get past old near far\r\n",
            "STORED\r\nSTORED\r\nSTORED\r\nSTORED\r\nVALUE near 0 1\r\nx\r\nVALUE far 0 1\r\nx\r\nEND\r\n")
        try await expect(server, "gat -1 near\r\nget near\r\n", "VALUE near 0 1\r\nx\r\nEND\r\nEND\r\n")
        try await expect(server, "flush_all 1000\r\nget far\r\n", "OK\r\nVALUE far 0 1\r\nx\r\nEND\r\n")
        try await expect(
            server, "flush_all\r\nget far\r\nset far 0 0 1\r\ny\r\nget far\r\n",
            "OK\r\nEND\r\nSTORED\r\nVALUE far 0 1\r\ny\r\nEND\r\n")
    }

    @Test func `What asks for no reply gets none, and what is wrong is said and leaves the connection usable`()
        async throws
    {
        let server = try Served("KeyValueServer", "--largest", "1")
        try await expect(
            server,
            "set a 0 0 1 noreply\r\nx\r\ndelete none noreply\r\nincr none 1 noreply\r\nflush_all 999 noreply\r\nget a\r\n",
            "VALUE a 0 1\r\nx\r\nEND\r\n")
        let key = String(repeating: "k", count: 251)
        try await expect(
            server, "get \(key)\r\nset \(key) 0 0 1\r\nx\r\nversion\r\n",
            "CLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\nVERSION 0.1.0-martlet\r\n")
        try await expect(
            server, "set a 0 0 1025\r\n\(String(repeating: "v", count: 1025))\r\nget a\r\n",
            "SERVER_ERROR object too large for cache\r\nEND\r\n")
        try await expect(
            server, "set a 0 0 2\r\nlong\r\nset a 0 0 -1\r\nget\r\n",
            "CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad data chunk\r\nERROR\r\n")
        try await expect(server, "set a 0 0 1024\r\n\(String(repeating: "v", count: 1024))\r\n", "STORED\r\n")
    }

    @Test func `Requests that come in pieces, or many at a time, are answered in their order`() async throws {
        let server = try Served("KeyValueServer")
        let pieces = try await server.answers(to: "se", "t a 0 0 5\r", "\nhel", "lo\r", "\nget", " a\r\n")
        #expect(pieces == "STORED\r\nVALUE a 0 5\r\nhello\r\nEND\r\n")
        let many = (0..<2000).map { "set k\($0) 0 0 4\r\n\($0 + 1000)\r\nget k\($0)\r\n" }.joined()
        let wanted = (0..<2000).map { "STORED\r\nVALUE k\($0) 0 4\r\n\($0 + 1000)\r\nEND\r\n" }.joined()
        try await expect(server, many, wanted)
    }

    @Test func `One line may ask for thousands of keys, but a line has an end`() async throws {
        let server = try Served("KeyValueServer")
        let keys = (0..<10_000).map { "a-key-of-some-length-with-a-number-\($0)" }
        let lines = "set \(keys[9_999]) 0 0 2\r\nhi\r\nget " + keys.joined(separator: " ") + "\r\nversion\r\n"
        try await expect(
            server, lines, "STORED\r\nVALUE \(keys[9_999]) 0 2\r\nhi\r\nEND\r\nVERSION 0.1.0-martlet\r\n")
        await #expect(throws: (any Error).self) {
            _ = try await server.answers(to: "get " + String(repeating: "k", count: 16 << 20))
        }
    }

    @Test func `When the memory is used up storing fails, and what is there stays`() async throws {
        let server = try Served("KeyValueServer", "--memory", "1", "--largest", "1")
        let value = String(repeating: "v", count: 1000)
        let answers = try await server.answers(to: (0..<5000).map { "set k\($0) 0 0 1000\r\n\(value)\r\n" }.joined())
            .split(separator: "\r\n")
        #expect(answers.count == 5000 && answers.first == "STORED")
        #expect(answers.contains("SERVER_ERROR out of memory storing object"))
        try await expect(server, "get k0\r\n", "VALUE k0 0 1000\r\n\(value)\r\nEND\r\n")
        let statistics = try await server.answers(to: "stats\r\n").split(separator: "\r\n")
        let stored = answers.count { $0 == "STORED" }
        #expect(statistics.contains("STAT curr_items \(stored)"), "\(statistics)")
        #expect(statistics.contains("STAT get_hits 1") && statistics.last == "END")
    }

    @Test(.enabled(if: Rig.has("memccapable"), "libmemcached-tools is not installed"))
    func `The protocol's own test program finds nothing wrong`() throws {
        let server = try Served("KeyValueServer")
        let result = try NetworkRig.Program.run("memccapable", "-a", "-h", "127.0.0.1", "-p", server.port)
        #expect(result.output.contains("All tests passed"), "\(result.output)\(result.errors)")
    }

    @Test(.enabled(if: Rig.runs(with: "memccapable"), "\(Rig.whyNot(with: "memccapable"))"))
    func `And nothing over Martlet's own TCP/IP either`() throws {
        let namespace = try Namespace()
        let tap = Interface(name: Rig.uniqueName("t"), in: namespace)
        let server = try namespace.start(
            Built.path("KeyValueServer"), "--port", "11211", "--link", "tap:" + tap.name, "--address", "10.90.0.2/24")
        try server.writes("listening on")
        try tap.setUp()
        try tap.add(address: "10.90.0.1/24")
        let result = try namespace.run("memccapable", "-a", "-h", "10.90.0.2", "-p", "11211")
        #expect(result.output.contains("All tests passed"), "\(result.output)\(result.errors)")
        server.signal(SIGTERM)
        #expect(try server.ends().status == 0)
    }

    @Test(.enabled(if: Rig.has("memcslap"), "libmemcached-tools is not installed"), arguments: ["set", "get", "mget"])
    func `Another's load of several connections is served`(test: String) throws {
        let server = try Served("KeyValueServer")
        let result = try NetworkRig.Program.run(
            "memcslap", "--servers=127.0.0.1:" + server.port, "--concurrency=8", "--execute-number=2000",
            "--test=" + test,
            "--initial-load=1000", within: 60)
        #expect(
            result.errors.isEmpty && !result.output.lowercased().contains("fail"), "\(result.output)\(result.errors)")
        server.program.signal(SIGTERM)
        #expect(try server.program.ends().status == 0)
    }
}

/// A server in this process that says who it is, and then echoes.
private struct NamedServer {
    let name: String
    let address: SocketAddress
    private let task: Task<Void, any Error>

    init(_ name: String, on port: UInt16 = 0) async throws {
        self.name = name
        let listening = AsyncStream<SocketAddress>.makeStream()
        task = Task {
            try await Runtime.run(.init(cores: .count(1))) { runtime in
                try await runtime.serve(
                    on: .loopback(port: port), onListening: { listening.continuation.yield($0) }
                ) { connection in
                    try await connection.send(name)
                    for try await bytes in connection { try await connection.send(bytes) }
                }
            }
        }
        var iterator = listening.stream.makeAsyncIterator()
        address = try #require(await iterator.next())
    }

    /// Ends it: its connections are reset.
    func stop() async {
        task.cancel()
        _ = await task.result
    }
}

@Suite(.serialized) struct LoadBalancerTests {
    private func run(_ body: @escaping @Sendable (Runtime) async throws -> Void) async throws {
        try await Runtime.run(.init(cores: .count(1)), body)
    }

    /// The name of the server that a new connection goes to; "" if it ends before it has said so.
    private func server(behind balancer: Served, _ runtime: Runtime) async throws -> String {
        try await runtime.withConnection(to: balancer.address, within: .seconds(5)) { connection in
            do {
                return try await connection.receive(within: .seconds(10))?.description ?? ""
            } catch NetworkError.reset {
                return ""
            }
        }
    }

    private func echoes(_ text: String, _ connection: TCPConnection) async throws -> Bool {
        try await connection.send(text)
        return try await connection.receive(within: .seconds(10))?.description == text
    }

    @Test func `A client's connections all go to one server, and every byte comes through both ways`() async throws {
        let (one, other) = (try await NamedServer("one"), try await NamedServer("other"))
        let balancer = try Served("LoadBalancer", "--to", "\(one.address)", "--to", "\(other.address)")
        try await run { runtime in
            let name = try await server(behind: balancer, runtime)
            #expect(name == "one" || name == "other")
            for _ in 0..<20 { #expect(try await server(behind: balancer, runtime) == name) }
            try await runtime.withConnection(to: balancer.address) { connection in
                #expect(try await connection.receive(within: .seconds(10))?.description == name)
                let sent = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ $0 >> 9) }
                async let all: Void = {
                    try await connection.send(sent)
                    try await connection.finish()
                }()
                var received: [UInt8] = []
                while let bytes = try await connection.receive(within: .seconds(10)) { received += bytes }
                try await all
                #expect(received == sent)
            }
        }
        await one.stop()
        await other.stop()
    }

    @Test
    func `When a server breaks its connections are reset, its clients go to the other, and back when it is well again`()
        async throws
    {
        let (one, other) = (try await NamedServer("one"), try await NamedServer("other"))
        let balancer = try Served(
            "LoadBalancer", "--to", "\(one.address)", "--to", "\(other.address)", "--interval", "0.05")
        try await run { runtime in
            let name = try await server(behind: balancer, runtime)
            let (first, second) = name == "one" ? (one, other) : (other, one)
            try await runtime.withConnection(to: balancer.address) { connection in
                let greeting = try await connection.receive(within: .seconds(10))?.description
                #expect(greeting == first.name)
                await first.stop()
                await #expect(throws: NetworkError.reset) { _ = try await connection.receive(within: .seconds(10)) }
            }
            // At once, although nobody may have noticed yet.
            #expect(try await server(behind: balancer, runtime) == second.name)
            try balancer.program.writes("\(first.address) does not answer")
            let again = try await NamedServer(first.name, on: first.address.port!)
            try balancer.program.writes("\(first.address) is well again")
            #expect(try await server(behind: balancer, runtime) == first.name)
            await again.stop()
            await second.stop()
        }
    }

    @Test func `A server that is taken out of the file keeps its connections and gets no more`() async throws {
        let (one, other) = (try await NamedServer("one"), try await NamedServer("other"))
        let file = NSTemporaryDirectory() + "martlet-servers-\(getpid())"
        defer { try? FileManager.default.removeItem(atPath: file) }
        try "# both\n\(one.address)\n\(other.address)\n".write(toFile: file, atomically: true, encoding: .utf8)
        let balancer = try Served("LoadBalancer", "--file", file, "--interval", "0.02")
        try await run { runtime in
            let name = try await server(behind: balancer, runtime)
            let rest = name == "one" ? other : one
            try await runtime.withConnection(to: balancer.address) { connection in
                #expect(try await connection.receive(within: .seconds(10))?.description == name)
                try "\(rest.address)\n".write(toFile: file, atomically: true, encoding: .utf8)
                var attempts = 0
                while try await server(behind: balancer, runtime) == name, attempts < 20_000 { attempts += 1 }
                #expect(try await server(behind: balancer, runtime) == rest.name)
                #expect(try await echoes("still there", connection))
            }
        }
        await one.stop()
        await other.stop()
    }

    @Test func `At SIGTERM it takes no more connections, and ends when the last has ended`() async throws {
        let one = try await NamedServer("one")
        let balancer = try Served("LoadBalancer", "--to", "\(one.address)", "--drain", "20")
        try await run { runtime in
            try await runtime.withConnection(to: balancer.address) { connection in
                #expect(try await connection.receive(within: .seconds(10))?.description == "one")
                balancer.program.signal(SIGTERM)
                var attempts = 0
                while attempts < 20_000 {
                    do { _ = try await server(behind: balancer, runtime) } catch NetworkError.connectionRefused {
                        break
                    }
                    attempts += 1
                }
                #expect(attempts < 20_000)
                #expect(try await echoes("still there", connection))
            }
            let result = try balancer.program.ends(within: 15)
            #expect(result.status == 0, "\(result.errors)")
        }
        await one.stop()
    }

    @Test func `Without a server that is well a client is reset, and nothing to go to is a mistake that is said`()
        async throws
    {
        let one = try await NamedServer("one")
        await one.stop()
        let balancer = try Served("LoadBalancer", "--to", "\(one.address)", "--interval", "0.05")
        try await run { runtime in
            let name = try await server(behind: balancer, runtime)
            #expect(name.isEmpty)
        }
        let result = try NetworkRig.Program([Built.path("LoadBalancer"), "--port", "0"]).ends()
        #expect(result.status != 0 && result.errors.contains("--to or --file"), "\(result.errors)")
    }
}
