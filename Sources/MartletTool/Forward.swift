// martlet forward: a cable between two links.

import ArgumentParser
import Martlet
import MartletStack

struct Forward: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Forwards frames between two links, both ways.",
        discussion: """
            What arrives at one link leaves by the other. What a link has no room for is dropped and counted. While both are \
            quiet the thread sleeps.

            Try it without privileges: martlet forward null:a null:b --seconds 2
            As root, a cable between two interfaces: martlet forward packet:eth0 tap:tap0

            null: links bring frames as fast as they are taken; memory: links bring back what they are given, and begin with a \
            burst. With --json the last line is one object, whose frames_per_second counts both directions.
            """)

    @Argument(help: LinkArgument.help) var left: LinkArgument
    @Argument(help: "The other link.") var right: LinkArgument
    @Option(help: "io: as they are; macswap: with their Ethernet addresses swapped; copy: copied to other frames.")
    var mode = ForwardingMode.io
    @OptionGroup var options: LinkOptions

    func run() async throws { try Self.run(left.name, right.name, mode, options).print(asJSON: options.json) }

    static func run(_ left: LinkName, _ right: LinkName, _ mode: ForwardingMode, _ options: LinkOptions) throws
        -> RunReport
    {
        let pool = try options.makePool()
        var burst = pool.makeBurst(capacity: options.burst)
        var copies = pool.makeBurst(capacity: options.burst)
        var links = LinkSet(capacity: 2)
        for name in [left, right] {
            let index = links.append(try name.open(for: pool))
            guard name.kind == .memory else { continue }
            // Something has to go round. It lies in the other's ring first, and is counted when it moves.
            burst.appendFrames(min(options.burst, burst.freeFrames / 4), length: 64)
            _ = links[index].transmit(&burst)
            burst.removeAll()
            links[index].counters = LinkCounters()
        }
        var run = LinkRun(seconds: options.seconds)
        let received = { (links: inout LinkSet) in
            links[0].counters.received.frames &+ links[1].counters.received.frames
        }
        if left.kind == .null, right.kind == .null {
            // Two links of a known kind: the compiler makes one loop of it, without a call a burst.
            var first = NullLink(name: "\(left)")
            var second = NullLink(name: "\(right)")
            run.go(&links, counted: received) { links in
                var count = 0
                for _ in 0..<64 {
                    count &+= first.forward(to: &second, mode, through: &burst, &copies)
                    count &+= second.forward(to: &first, mode, through: &burst, &copies)
                }
                links[0].counters = first.counters
                links[1].counters = second.counters
                return count
            }
        } else {
            run.go(&links, counted: received) { links in
                var count = 0
                for (from, to) in [(0, 1), (1, 0)] {
                    count &+= forward(&links, from, to, mode, &burst, &copies)
                }
                return count == 0 && links[0].state == .gone && links[1].state == .gone ? nil : count
            }
        }
        return RunReport("forward", frames: received(&links), run, &links)
    }

    /// Forwards once. A set gives out one link at a time, so the frames rest in the burst in between.
    private static func forward(
        _ links: inout LinkSet, _ from: Int, _ to: Int, _ mode: ForwardingMode, _ burst: inout Burst,
        _ copies: inout Burst
    ) -> Int {
        let count = links[from].receive(into: &burst)
        guard count > 0 else { return 0 }
        burst.rewrite(mode, through: &copies)
        links[to].transmitOrDrop(&burst)
        return count
    }
}
