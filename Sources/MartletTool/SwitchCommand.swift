// martlet switch: a learning switch between links.

import ArgumentParser
import Martlet
import MartletStack

struct SwitchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switch",
        abstract: "Switches Ethernet frames between two or more links.",
        discussion: """
            It learns behind which link an address is, sends what is for an address there, and what is for everybody or \
            nobody known to all other links, so many frames a second at most (--floods): a loop between two links cannot grow \
            into a storm.

            As root, a network of two TAPs and a real interface: martlet switch tap:tap0 tap:tap1 packet:eth0
            """)

    @Argument(help: LinkArgument.help) var links: [LinkArgument]
    @Option(help: "Frames a second for everybody, 0 for as many as come.") var floods = 10_000
    @Option(help: "Addresses that are remembered.") var addresses = 4096
    @Option(help: "Seconds that an address is remembered after its last frame.") var ageing = 300
    @OptionGroup var options: LinkOptions

    func validate() throws {
        if links.count < 2 { throw ValidationError("a switch has two links or more") }
        if addresses < 8 || ageing < 1 || floods < 0 {
            throw ValidationError("--addresses must be 8 or more, --ageing 1 or more, --floods 0 or more")
        }
        if links.contains(where: { $0.name.kind == .tun }) {
            throw ValidationError("a TUN carries no Ethernet frames: use a TAP")
        }
    }

    func run() async throws {
        let pool = try options.makePool()
        var limits = Switch.Limits()
        (limits.addresses, limits.ageing, limits.burst) = (addresses, .seconds(ageing), options.burst)
        limits.floodsPerSecond = floods == 0 ? .max : floods
        var device = Switch(ports: links.count, pool: pool, limits: limits)
        for link in links { _ = device.addPort(try link.name.open(for: pool)) }
        var run = LinkRun(seconds: options.seconds)
        let received = { (device: inout Switch) in
            (0..<device.ports.count).reduce(UInt64(0)) { $0 &+ device.ports[$1].counters.received.frames }
        }
        run.go(&device, counted: received) { device in
            let count = device.forward()
            return count == 0 && device.ports.isGone ? nil : count
        }
        try RunReport("switch", frames: received(&device), run, &device.ports).print(asJSON: options.json)
    }
}
