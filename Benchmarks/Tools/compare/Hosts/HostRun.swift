// One run between two hosts: their wire, the server on one and the load on the other.

import Foundation
import Glibc

/// A server on one host, a client on the other.
struct HostRun {
    private let workload: HostWorkload
    private let server: HostServer
    private let seconds: Double
    private let cpu: Int
    /// Microseconds for which the kernel collects frames for AF_XDP before it looks at them (`gro_flush_timeout`).
    private let moderation: Int
    private let wires: Wires

    private static let address = "10.77.0.1"
    private static let port = 7007

    init(_ workload: HostWorkload, _ server: HostServer, seconds: Double, cpu: Int, moderation: Int) throws {
        (self.workload, self.server, self.seconds, self.cpu) = (workload, server, seconds, cpu)
        self.moderation = moderation
        wires = try Wires()
    }

    /// The client's end: on the far host, or on the kernel's side of the TAP.
    private var client: (namespace: String, interface: String) {
        server == .tap ? (wires.here, "tap") : (wires.there, "far")
    }

    func measure() throws -> Measurement {
        try giveAddresses()
        let running = try RunningServer(process, port: Self.port)
        defer { running.stop() }
        try placeReceiving()
        let bytes = try Siblings.output(
            "load",
            [
                "--host", Self.address, "--port", "\(running.port)", "--mode", workload.load, "--cpu", "\(cpu)",
                "--server-pid", "\(running.identifier)", "--server-cpu", "\(cpu + 1)", "--seconds", "\(seconds)",
            ], in: client.namespace, statuses: [0, 2])
        guard !running.hasEnded else { throw ChildError(description: "the server ended by itself") }
        return try Measurement.decoder.decode(Measurement.self, from: bytes)
    }

    private var process: Process {
        let common = ["--port", "\(Self.port)", "--cpu", "\(cpu + 1)"]
        if server == .epoll {
            return Siblings.process("epoll-echo", common + ["--address", Self.address], in: wires.here)
        }
        // A TAP hands over segments of 64 KiB to whom has room for them.
        let link = server == .xdp ? ["--link", "xdp:near"] : ["--link", "tap:tap", "--frame-capacity", "131072"]
        return Siblings.process(
            "martlet-echo", common + link + ["--address", "\(Self.address)/24", "--mode", workload.mode],
            in: wires.here)
    }

    /// The client has all addresses of the server's network but the server's, so that its ports never run out.
    private func giveAddresses() throws {
        let (namespace, interface) = client
        try wires.ip("-n", namespace, "link", "set", "lo", "up")
        try wires.ip("-n", namespace, "address", "add", "10.77.0.254/24", "dev", interface)
        try wires.ip("-n", namespace, "route", "add", "local", "10.77.0.0/24", "dev", "lo")
        try wires.ip(
            "-n", namespace, "route", "add", "unicast", "\(Self.address)/32", "dev", interface, "table", "local")
        switch server {
        case .epoll: try wires.ip("-n", wires.here, "address", "add", "\(Self.address)/24", "dev", "near")
        // Nobody behind AF_XDP completes the checksums that a veth leaves out.
        case .xdp: try wires.run(["ethtool", "-K", "far", "tx", "off"], in: wires.there)
        case .tap: break
        }
    }

    /// Each host receives on its own processor.
    private func placeReceiving() throws {
        if server == .tap { return }
        try set("far", "queues/rx-0/rps_cpus", Self.mask(cpu), in: wires.there)
        guard server == .xdp else {
            return try set("near", "queues/rx-0/rps_cpus", Self.mask(cpu + 1), in: wires.here)
        }
        // The sender's processor then runs the program and copies the frame, as the kernel has it by itself.
        if moderation == 0 { return }
        try set("near", "napi_defer_hard_irqs", "1", in: wires.here)
        try set("near", "gro_flush_timeout", "\(moderation * 1000)", in: wires.here)
        try set("near", "threaded", "1", in: wires.here)
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }
            .filter {
                (try? String(contentsOfFile: "/proc/\($0)/comm", encoding: .utf8))?.hasPrefix("napi/near") ?? false
            }
        guard !threads.isEmpty else { throw ChildError(description: "the kernel has made no thread for the veth") }
        for thread in threads {
            try wires.run(["taskset", "-c", "-p", "\(cpu + 1)", "\(thread)"], in: nil)
        }
    }

    private static func mask(_ cpu: Int) -> String { String(1 << cpu, radix: 16) }

    private func set(_ interface: String, _ attribute: String, _ value: String, in namespace: String) throws {
        let file = "/sys/class/net/\(interface)/\(attribute)"
        try wires.run(["sh", "-c", "echo \(value) > \(file)"], in: namespace)
    }
}
