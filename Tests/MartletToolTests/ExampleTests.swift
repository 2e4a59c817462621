// The examples over links, run as programs: in memory where that will do, and else in namespaces with the kernel as peer.

import Foundation
import NetworkRig
import Testing

@Suite struct ExampleTests {
    @Test func `The forwarder passes frames both ways until it is interrupted`() throws {
        let program = try NetworkRig.Program([Built.path("Forwarder"), "null:a", "null:b"])
        try Built.untilItTakes(program, seconds: 0.2)
        program.signal()
        let result = try program.ends()
        #expect(result.status == 0, "\(result.errors)")
        let frames = result.output.split(separator: "\n").compactMap { Int($0.split(separator: " ")[1]) }
        #expect(frames.count == 2 && frames.allSatisfy { $0 > 1000 }, "\(result.output)")
    }

    @Test func `The counter ends when its time is up, with an object of what it counted`() throws {
        let result = try NetworkRig.Program.run(Built.path("PacketCounter"), "null:a", "--seconds", "0.2", "--json")
        let counts = try Built.counts(result)
        #expect(counts.keys.sorted() == ["other"])
        #expect(counts["other"]!["frames"]! > 1000)
        #expect(counts["other"]!["bytes"]! == counts["other"]!["frames"]! * 64)
    }

    @Test func `A router whose networks are wrong says which`() throws {
        for (arguments, complaint) in [
            (["--address", "10.1.0.1/24"], "each of the two links"),
            (["--address", "10.1.0.1/24", "--address", "pigeon"], "pigeon is not an IPv4 address"),
            (
                ["--address", "10.1.0.1/24", "--address", "10.2.0.1/24", "--route", "10.3.0.0/16=10.4.0.1"],
                "the other router is on neither network"
            ),
        ] {
            let result = try NetworkRig.Program([Built.path("Router"), "null:a", "null:b"] + arguments).ends()
            #expect(result.status != 0)
            #expect(result.errors.contains(complaint), "\(result.errors)")
        }
    }

    @Test func `A firewall whose rules are wrong says which`() throws {
        for (rule, complaint) in [
            (["--prefix", "10.0.0.0/33"], "has 0 to 32 bits"), (["--prefix", "pigeon/8"], "not an address"),
            (["--filter", "tcp prot 80"], "filter cannot be used"),
        ] {
            let result = try NetworkRig.Program([Built.path("Firewall"), "null:a", "null:b"] + rule).ends()
            #expect(result.status != 0)
            #expect(result.errors.contains(complaint), "\(result.errors)")
        }
    }
}

@Suite(.enabled(if: Rig.runs(with: "ping"), "\(Rig.whyNot(with: "ping"))"), .serialized)
struct ExampleNetworkTests {
    @Test func `The counter tells the kernel's ping from its ARP, and from what is neither`() throws {
        let (left, right) = (try Namespace(), try Namespace())
        let pair = try VethPair(left: left, right: right)
        try pair.left.add(address: "10.95.0.1/24")
        try pair.right.add(address: "10.95.0.2/24")
        let counter = try right.start(Built.path("PacketCounter"), "packet:" + pair.right.name, "--json")
        try Built.untilItListens(counter)
        let ping = try left.run("ping", "-q", "-c", "5", "-i", "0.02", "10.95.0.2")
        #expect(ping.output.contains("5 received"))
        counter.signal()
        let counts = try Built.counts(try counter.ends())
        #expect(counts["icmp"]?["frames"] == 5)
        #expect(counts["icmp"]?["bytes"] == 5 * 98)
        #expect(counts["arp"]?["frames"] ?? 0 >= 1)
        #expect(counts["tcp"] == nil && counts["udp"] == nil)
    }

    @Test func `The firewall lets one network through and not the other, and counts what it drops`() throws {
        let (left, right, middle) = (try Namespace(), try Namespace(), try Namespace())
        let (inner, outer) = (try VethPair(left: left, right: middle), try VethPair(left: right, right: middle))
        for (interface, host) in [(inner.left, 1), (outer.left, 2)] {
            try interface.add(address: "10.94.0.\(host)/24")
            try interface.add(address: "10.93.0.\(host)/24")
        }
        // A network's rule is for ARP too. Here nobody has to ask.
        try inner.left.add(neighbour: "10.93.0.2", at: outer.left.attribute("address"))
        let firewall = try middle.start(
            Built.path("Firewall"), "packet:" + inner.right.name, "packet:" + outer.right.name, "--prefix",
            "10.93.0.0/16", "--port", "7")
        try Built.untilItListens(firewall, sockets: 2)
        let good = try left.run("ping", "-q", "-c", "5", "-i", "0.02", "-W", "5", "10.94.0.2")
        #expect(good.output.contains("5 received"), "\(good.output)\(good.errors)")
        let bad = try left.run("ping", "-q", "-c", "3", "-i", "0.02", "-W", "1", "10.93.0.2")
        #expect(bad.output.contains(" 0 received"), "\(bad.output)")
        firewall.signal()
        let result = try firewall.ends()
        #expect(result.status == 0, "\(result.errors)")
        let dropped = result.output.split(separator: "\n").map { $0.split(separator: " ")[3] }
        #expect(dropped.first == "3", "\(result.output)")
    }

    @Test(.enabled(if: Rig.runs(with: "iperf3"), "\(Rig.whyNot(with: "iperf3"))"))
    func `Two hosts ping each other, and speak TCP, through a tunnel over UDP`() throws {
        let (left, right) = (try Namespace(), try Namespace())
        let pair = try VethPair(left: left, right: right)
        try pair.left.add(address: "10.92.0.1/24")
        try pair.right.add(address: "10.92.0.2/24")
        var tunnels: [NetworkRig.Program] = []
        for (namespace, host) in [(left, 1), (right, 2)] {
            let name = Rig.uniqueName("t")
            let tunnel = try namespace.start(
                Built.path("Tunnel"), "tap:" + name, "--port", "7117", "--to", "10.92.0.\(3 - host):7117")
            try tunnel.writes("tap:\(name) goes to")
            let tap = Interface(name: name, in: namespace)
            try tap.disableIPv6()
            try tap.setMTU(1458)
            try tap.setUp()
            try tap.add(address: "10.91.0.\(host)/24")
            tunnels.append(tunnel)
        }
        let ping = try left.run("ping", "-q", "-c", "5", "-i", "0.02", "-s", "1430", "-M", "do", "-W", "5", "10.91.0.2")
        #expect(ping.output.contains("5 received"), "\(ping.output)\(ping.errors)")
        let server = try right.start("iperf3", "-s", "-1", "--forceflush")
        try server.writes("listening")
        // Its checksums are left to the link by the kernel: they are right only if the tunnel completes them.
        let client = try left.run("iperf3", "-c", "10.91.0.2", "-n", "2M")
        #expect(client.status == 0, "\(client.output)\(client.errors)")
        for tunnel in tunnels {
            tunnel.signal()
            #expect(try tunnel.ends().status == 0)
        }
    }

    @Test(.enabled(if: Rig.runs(with: "iperf3"), "\(Rig.whyNot(with: "iperf3"))"))
    func `A router joins two networks: TTLs go down, ICMP says why not, and bytes come through`() throws {
        let (left, right, middle) = (try Namespace(), try Namespace(), try Namespace())
        let (inner, outer) = (try VethPair(left: left, right: middle), try VethPair(left: right, right: middle))
        for (interface, network) in [(inner.left, 1), (outer.left, 2)] {
            try interface.disableIPv6()
            // The longest packet on a link is one of its MTU.
            try interface.set(offload: "tso", false)
            try interface.add(address: "10.9\(network).0.2/24")
        }
        let router = try middle.start(
            Built.path("Router"), "packet:" + inner.right.name, "packet:" + outer.right.name, "--address",
            "10.91.0.1/24",
            "--address", "10.92.0.1/24", "--route", "10.93.0.0/16=10.92.0.2")
        try Built.untilItListens(router, sockets: 2)
        try left.ip("route", "add", "default", "via", "10.91.0.1")
        try right.ip("route", "add", "default", "via", "10.92.0.1")
        // The first finds out who the neighbors are. Only few packets would wait for that.
        let first = try left.run("ping", "-c", "1", "-W", "5", "10.92.0.2")
        #expect(first.output.contains("1 received"), "\(first.output)\(first.errors)")
        let ping = try left.run("ping", "-c", "5", "-i", "0.02", "-W", "5", "10.92.0.2")
        #expect(ping.output.contains("5 received"), "\(ping.output)\(ping.errors)")
        #expect(ping.output.contains("ttl=63"), "\(ping.output)")
        let own = try left.run("ping", "-q", "-c", "2", "-i", "0.02", "-W", "5", "10.92.0.1")
        #expect(own.output.contains("2 received"), "\(own.output)")
        for (arguments, complaint) in [
            (["-t", "1", "10.92.0.2"], "Time to live exceeded"), (["10.99.0.1"], "Destination Net Unreachable"),
        ] {
            let refused = try NetworkRig.Program(
                ["ip", "netns", "exec", left.name, "ping", "-c", "1", "-W", "5"] + arguments
            ).ends()
            #expect(
                refused.output.contains("From 10.91.0.1") && refused.output.contains(complaint), "\(refused.output)")
        }
        let server = try right.start("iperf3", "-s", "-1", "--forceflush")
        try server.writes("listening")
        let client = try left.run("iperf3", "-c", "10.92.0.2", "-n", "20M")
        #expect(client.status == 0, "\(client.output)\(client.errors)")
        router.signal()
        let result = try router.ends()
        #expect(
            result.status == 0 && result.output.contains("packets refused: time exceeded"),
            "\(result.output)\(result.errors)")
        #expect(result.output.contains("packets refused: no route"))
    }
}

/// The programs that were built beside the tests.
enum Built {
    static func path(_ name: String) -> String {
        let folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
            .deletingLastPathComponent()
        return folder.appendingPathComponent(name).path
    }

    static func counts(_ result: NetworkRig.Program.Result) throws -> [String: [String: Int]] {
        let object = try? JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: [String: Int]]
        return try #require(object, "\(result.output)\(result.errors)")
    }

    /// Waits until the program has packet sockets of its own, as /proc shows them (packet(7)).
    static func untilItListens(_ program: NetworkRig.Program, sockets count: Int = 1) throws {
        for _ in 0..<2000 {
            let table = (try? String(contentsOfFile: "/proc/\(program.process)/net/packet", encoding: .utf8)) ?? ""
            // The interface, and whether the socket is bound to it: the columns Iface and R.
            let bound = table.split(separator: "\n").dropFirst().filter {
                let fields = $0.split(separator: " ")
                return fields.count > 5 && fields[4] != "0" && fields[5] == "1"
            }
            if bound.count >= count { return }
            _ = program.hasEnded
        }
        throw RigFailure("\(program.arguments) did not open its links: \(program.errors)")
    }

    /// Waits until the program has used so much CPU time.
    static func untilItTakes(_ program: NetworkRig.Program, seconds: Double) throws {
        for _ in 0..<20_000 {
            let text = (try? String(contentsOfFile: "/proc/\(program.process)/stat", encoding: .utf8)) ?? ""
            let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
            // utime and stime of proc(5), in ticks of 10 ms.
            if fields.count > 12, Double(Int(fields[11])! + Int(fields[12])!) >= seconds * 100 { return }
            _ = program.hasEnded
        }
        throw RigFailure("\(program.arguments) does nothing: \(program.errors)")
    }
}
