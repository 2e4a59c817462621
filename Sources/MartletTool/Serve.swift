// martlet serve: a server to try things with, over the kernel's TCP/IP or over Martlet's own on a link.

import ArgumentParser
import Foundation
import Martlet
import MartletStack

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves echo, http, discard or chargen.",
        discussion: """
            echo sends back what it gets (RFC 862), discard throws it away (RFC 863), chargen sends lines without end (RFC 864), \
            and http answers every GET with a page of --size bytes.

            Without --link the connections are the kernel's. With one they are those of Martlet's own TCP/IP stack, which runs in \
            this process, on one core, and has an address of its own:

              as root:  martlet serve echo --link tap:tap0 --address 10.0.0.2/24
              then:     ip address add 10.0.0.1/24 dev tap0 && ip link set tap0 up
                        ping -c 1 10.0.0.2; printf 'hello\\n' | nc -N 10.0.0.2 7007

            Without --address one is asked for by DHCP, and made of what routers announce. --loss loses frames on purpose, to see \
            how a client bears it. --statistics makes a socket that 'martlet top' and 'martlet connections' look into.

            Ctrl-C ends it: listeners first, then, after --patience, what is still open. It says at the end what there was; with \
            --json the last line is one object:

              {"service", "address", "driver", "seconds", "cpu_seconds", "accepted", "resets_received", "resets_sent",
               "bytes_received", "bytes_sent", "stalls", "errors": {KIND: COUNT},
               "stack": {"frames_in", "segments_in", "segments_out", "fast_path_share", "retransmits", "drops": {REASON: COUNT}}}

            where stack is missing if the kernel is the transport.
            """)

    @Argument(help: "echo, http, discard or chargen.") var service: Service
    @Option(help: "The port; 0 lets the transport choose. (default: 7007, 8080, 7009, 7019)") var port: UInt16?
    @Option(help: "The number of cores. (default: all; one with a link)") var cores: Int?
    @Option(help: "io_uring, epoll or automatic, for the kernel's connections.") var driver = DriverChoice.automatic
    @Option(help: "A link to run Martlet's own TCP/IP on, such as tap:tap0. (default: the kernel's TCP/IP)")
    var link: String?
    @Option(help: "An address on that link, such as 10.0.0.2/24; may be repeated. (default: DHCP and SLAAC)")
    var address: [String] = []
    @Option(help: "A router on that link; may be repeated.") var gateway: [String] = []
    @Option(help: "Percent of the link's frames that are lost, in either direction.") var loss: Double?
    @Option(help: "Bytes of the page of http.") var size = 13
    @Option(help: "Seconds that connections may go on after Ctrl-C.") var patience = 1.0
    @Option(help: "A path for a socket that tells how the server does.") var statistics: String?
    @Flag(help: "Prints JSON at the end.") var json = false

    func validate() throws {
        if let cores, cores < 1 { throw ValidationError("--cores must be at least 1") }
        if let loss {
            guard (0...100).contains(loss) else { throw ValidationError("--loss is in percent, 0 to 100") }
            if link == nil {
                throw ValidationError("--loss is for a link: frames of the kernel's are not ours to lose")
            }
        }
        guard (0...(16 << 20)).contains(size) else { throw ValidationError("--size must be 0 … 16777216 bytes") }
        guard (0...3600).contains(patience) else { throw ValidationError("--patience must be 0 … 3600 seconds") }
    }

    func run() async throws {
        var configuration = Runtime.Configuration(
            transport: try transport, cores: cores.map { .count($0) } ?? .all, driver: driver,
            shutdownSignals: [.terminate, .interrupt], logger: nil)
        configuration.shutdownTimeout = .seconds(patience)
        let report = try await Runtime.run(configuration) { runtime in
            let begun = ContinuousClock.now
            let tally = ServeTally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                if let statistics {
                    group.addTask { try await runtime.serveStatistics(on: .unix(path: statistics)) }
                }
                try await runtime.serve(
                    on: .any(port: port ?? service.port),
                    onListening: { address in
                        tally.listens(on: address)
                        announce(address, runtime.driver)
                    }, onError: { tally.count($0) }, handler: service.handler(page: size))
                group.cancelAll()
                while let ended = await group.nextResult() {
                    if case .failure(let error) = ended, !(error is CancellationError) { throw error }
                }
            }
            if let statistics { try? FileManager.default.removeItem(atPath: statistics) }
            return await ServeReport(service, tally, runtime, begun.duration(to: .now))
        }
        try report.print(asJSON: json)
    }

    private var transport: TransportChoice {
        get throws {
            let choice = try TransportChoice(link: link, addresses: address, gateways: gateway)
            guard let loss, case .stack(var interfaces) = choice else { return choice }
            for index in interfaces.indices {
                interfaces[index].faults = StackFaults(loss: loss / 100, seed: .random(in: 0 ... .max))
            }
            return .stack(interfaces)
        }
    }

    // MARK: What it says

    /// Where it listens, and how to get there: at once, also into a pipe.
    private func announce(_ address: SocketAddress, _ driver: String) {
        print("\(service.rawValue): listening on \(address), \(driver)")
        for line in Self.directions(
            to: service, address.port ?? 0, link: link, addresses: self.address, gateways: gateway)
        {
            print(line)
        }
        print("Ctrl-C ends it.")
        fflush(nil)
    }

    /// How somebody gets to the server, in lines of the shell.
    static func directions(
        to service: Service, _ port: UInt16, link: String?, addresses: [String], gateways: [String]
    ) -> [String] {
        guard let link else { return ["try it:  " + service.command(host: "127.0.0.1", port: port)] }
        var lines: [String] = []
        let parts = link.split(separator: ":", maxSplits: 1).map(String.init)
        let own = addresses.first.flatMap { InterfaceAddress($0) }
        if let own, ["tap", "tun"].contains(parts[0]) {
            let kernel = gateways.first.map { "\($0)/\(own.prefixLength)" } ?? own.neighbour?.description ?? "ADDRESS"
            lines.append("its other side:  ip address add \(kernel) dev \(parts[1]) && ip link set \(parts[1]) up")
        }
        let host = own.map { "\($0.address)" } ?? "ADDRESS"
        lines.append(
            "try it\(parts[0] == "tap" || parts[0] == "tun" ? "" : " from a host on \(parts[1])'s network"):  "
                + service.command(host: host, port: port))
        return lines
    }
}

extension InterfaceAddress {
    /// Another address of the same network: the one before or behind this one.
    var neighbour: InterfaceAddress? {
        guard case .v4(let own) = address, prefixLength < 32 else { return nil }
        let host = own.bits & (UInt32.max >> UInt32(prefixLength))
        return InterfaceAddress(
            .v4(IPv4Address(bits: host > 1 ? own.bits - 1 : own.bits + 1)), prefixLength: prefixLength)
    }
}
