// martlet capture: writes what a link receives to a file that Wireshark opens.

import ArgumentParser
import Martlet
import MartletStack

struct Capture: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes the frames of a link to a pcapng file.",
        discussion: """
            The file opens in Wireshark and tshark, while it is written too. If the disk does not keep up, frames are left out \
            and counted; if the ring of a packet: link does not, the kernel counts them as dropped.

            As root: martlet capture packet:eth0 -w web.pcapng --filter 'tcp port 80'
            """)

    @Argument(help: LinkArgument.help) var link: LinkArgument
    @Option(name: [.customShort("w"), .customLong("write")], help: "The file.") var path: String
    @Option(help: "Only frames that this wants, as tcpdump has it: 'tcp port 80 and net 10.0.0.0/8'.")
    var filter: FilterArgument?
    @Option(help: "Bytes of a frame that are written.") var snap = 262_144
    @Option(help: "Ends after the burst in which so many frames are reached.") var count: UInt64?
    @Option(help: "Mebibytes of the ring of a packet: link.") var ring = 64
    @OptionGroup var options: LinkOptions

    func validate() throws {
        guard (1...262_144).contains(snap) else { throw ValidationError("--snap must be 1 ... 262144") }
        guard (1...4096).contains(ring) else { throw ValidationError("--ring must be 1 ... 4096") }
    }

    func run() async throws {
        let pool = try options.makePool()
        var burst = pool.makeBurst(capacity: options.burst)
        var packet = PacketLink.Options()
        // Blocks are what a capture wants: many frames a wake-up, none of them cut.
        (packet.receivesBlocks, packet.ringSize, packet.transmits) = (true, ring << 20, false)
        (packet.ignoresOutgoing, packet.timestamps, packet.blockTimeout) = (false, true, .milliseconds(20))
        // The file is made when there is something to be captured from.
        let file: CaptureFile
        var links = LinkSet(capacity: 1)
        if link.name.kind == .packet {
            packet.filter = try filter?.filter.compiled()
            let socket = try PacketLink(link.name.name, options: packet)
            file = try CaptureFile(path: path, snapLength: snap, application: "martlet capture")
            links.append(PacketCapture(socket, to: file))
        } else {
            let opened = try link.name.open(for: pool, filter: filter?.filter)
            file = try CaptureFile(path: path, snapLength: snap, application: "martlet capture")
            links.append(CaptureLink(opened, to: file))
        }
        var run = LinkRun(seconds: options.seconds)
        let received = { (links: inout LinkSet) in links[0].counters.received.frames }
        run.go(
            &links,
            counted: { links in
                file.flush()
                return received(&links)
            }
        ) { links in
            // What goes straight into the file is not received as a frame.
            let before = received(&links)
            _ = links[0].receive(into: &burst)
            burst.removeAll()
            let taken = Int(received(&links) &- before)
            if taken == 0, links[0].state == .gone { return nil }
            if file.writeError != 0 { return nil }
            if let count, received(&links) >= count { return nil }
            return taken
        }
        var report = RunReport("capture", frames: received(&links), run, &links)
        file.finish()
        report.lost = file.missedFrames
        try report.print(asJSON: options.json)
        if file.writeError != 0 {
            throw LinkError.system(link: path, errno: file.writeError, during: "write")
        }
    }
}
