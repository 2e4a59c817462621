// martlet load: loads an echo server, with closed loops or at a constant rate.

import ArgumentParser
import Foundation
import Martlet

struct Load: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Loads an echo server and measures its latencies.",
        discussion: """
            The server has to send back what it gets, as 'swift run -c release EchoServer' does. Every byte that comes back is \
            compared with what was sent.

            By default each connection sends its next request when the last one is answered (a closed loop): this finds out \
            how much a server can do. With --rate requests are sent by the clock, whether or not answers keep up, and a \
            latency counts from the instant at which the schedule had the request (an open loop, without coordinated \
            omission): this finds out what users of a server see under that load.

            Interrupting with Ctrl-C ends the run and prints what was measured until then.
            """)

    @Argument(help: "tcp://HOST:PORT, tcp://[IPV6]:PORT or unix:PATH.", transform: { try Target($0) })
    var target: Target

    @OptionGroup var options: LoadOptions

    @Option(
        help: "echo: one request under way on each connection; short: a connection for each; pipeline: --depth of them."
    )
    var mode = LoadPlan.Mode.echo

    @Option(help: "Requests under way on a connection, for --mode pipeline.")
    var depth = 16

    @Option(help: "Seconds before the measurement.")
    var warmup = 1.0

    @Option(help: "Requests a second in all, by the clock. (default: as many as are answered)")
    var rate: Double?

    @Flag(help: "Ends the connections of --mode short by a reset, so that no local port is left in TIME_WAIT.")
    var reset = false

    @Option(help: "CPUs to make the load on, from the last one backwards.")
    var cores = 1

    private var plan: LoadPlan {
        var plan = options.plan
        plan.mode = mode
        plan.depth = mode == .pipeline ? depth : 1
        plan.warmup = warmup
        plan.rate = rate
        plan.resets = reset
        return plan
    }

    func validate() throws {
        if let mistake = plan.mistake { throw ValidationError(mistake) }
        if reset, mode != .short { throw ValidationError("--reset is for --mode short") }
        if cores < 1 { throw ValidationError("--cores must be at least 1") }
        let usable = CPUs.usable.count
        if cores > usable { throw ValidationError("--cores \(cores) is too many: this process may use \(usable)") }
    }

    func run() async throws {
        let cpus = Array(CPUs.usable.suffix(cores))
        let configuration = Runtime.Configuration(
            cores: .these(cpus), driver: options.driver, shutdownSignals: [.interrupt, .terminate], logger: nil)
        let report = try await Runtime.run(configuration) { runtime in
            let address = try await target.resolve(on: runtime)
            let generator = LoadGenerator(plan: plan, address: address, runtime: runtime)
            var report = try await generator.run(showing: LiveLine())
            let isAddress = ["\(address)", "tcp://\(address)"].contains("\(target)")
            report.target = isAddress ? "\(target)" : "\(target), which is \(address)"
            report.load = .init(driver: runtime.driver, cpus: cpus)
            return report
        }
        print(options.json ? try report.json : report.text(width: Screen.width))
        if report.requests == 0 { throw ExitCode.failure }
    }
}

/// What `load` and `demo` have in common.
struct LoadOptions: ParsableArguments {
    @Option(help: "Connections at a time.") var connections = 64
    @Option(help: "Bytes of a request.") var size = 64
    @Option(help: "Seconds of the measurement.") var seconds = 5.0
    @Option(help: "io_uring, epoll or automatic.") var driver = DriverChoice.automatic
    @Flag(help: "Prints JSON, with latencies in microseconds.") var json = false

    var plan: LoadPlan {
        var plan = LoadPlan()
        plan.connections = connections
        plan.size = size
        plan.seconds = seconds
        return plan
    }
}
