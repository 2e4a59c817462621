// martlet receive: takes all frames of a link and says how many they are, or sends each back.

import ArgumentParser
import Martlet
import MartletStack

struct Receive: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Receives frames from a link and counts them, or sends them back.",
        discussion: """
            With --pong each frame goes back to where it came from, its Ethernet addresses swapped: the other side of \
            'martlet generate --ping'.

            Try it without privileges: martlet receive null:a --seconds 2
            As root: martlet receive packet:eth0 --filter 'udp port 53'
            """)

    @Argument(help: LinkArgument.help) var link: LinkArgument
    @Flag(help: "Sends each frame back.") var pong = false
    @Option(help: "Only frames that this wants, as tcpdump has it: 'tcp port 80 and net 10.0.0.0/8'.")
    var filter: FilterArgument?
    @Option(help: "Ends after the burst in which so many frames are reached.") var count: UInt64?
    @OptionGroup var options: LinkOptions

    func validate() throws {
        if pong, link.name.kind == .tun { throw ValidationError("a TUN carries no Ethernet frames: use a TAP") }
    }

    func run() async throws {
        let pool = try options.makePool()
        var burst = pool.makeBurst(capacity: options.burst)
        var links = LinkSet(capacity: 1)
        links.append(try link.name.open(for: pool, filter: filter?.filter))
        var run = LinkRun(seconds: options.seconds)
        let received = { (links: inout LinkSet) in links[0].counters.received.frames }
        run.go(&links, counted: received) { links in
            let taken = links[0].receive(into: &burst)
            if taken == 0, links[0].state == .gone { return nil }
            if pong, taken > 0 {
                burst.changeEach { $0.swapEthernetAddresses() }
                links[0].transmitOrDrop(&burst)
            }
            burst.removeAll()
            if let count, received(&links) >= count { return nil }
            return taken
        }
        try RunReport("receive", frames: received(&links), run, &links).print(asJSON: options.json)
    }
}

/// A filter on the command line.
struct FilterArgument: ExpressibleByArgument {
    let filter: Filter

    /// Reads it where its mistakes can be shown: `ExpressibleByArgument` itself can only say no.
    init?(argument: String) {
        do throws(LinkError) {
            filter = try Filter(argument)
        } catch {
            Mistakes.show("\(error)")
            return nil
        }
    }
}

extension LinkName {
    /// Opens the link with a filter: in the kernel where it can, and otherwise here.
    func open(
        for pool: borrowing FramePool, filter: Filter?, packet: PacketLink.Options = .init()
    ) throws(LinkError) -> AnyLink {
        let program = try filter.map { filter throws(LinkError) in try filter.compiled() }
        if kind == .packet {
            var packet = packet
            packet.filter = program
            return AnyLink(try PacketLink(name, options: packet))
        }
        let link = try open(for: pool)
        guard let program else { return link }
        return AnyLink(FilterLink(link, filter: program, pool: pool))
    }
}
