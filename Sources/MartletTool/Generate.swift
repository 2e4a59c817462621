// martlet generate: frames at a rate, or as many as there is room for; or out of a capture; or one after the other, to see how
// long each takes there and back.

import ArgumentParser
import Martlet
import MartletStack

struct Generate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Transmits frames: made up, or out of a capture file.",
        discussion: """
            Made-up frames are UDP or TCP over IPv4. Addresses and ports may be ranges, which are gone through together: \
            --source 10.0.0.1-10.0.0.16 --source-port 1000-1999 are 16,000 flows. Sizes count the Ethernet header and not the \
            checksum behind the frame: --size 64, --size 64,576,1500 in turn, or --size 64-1500.

            With --ping each frame says when it left, and the time until it is back is measured, at --rate or 1,000 a second: \
            'martlet receive LINK --pong' at the other end sends it back.

            Try it without privileges: martlet generate null:a --seconds 2
            As root, out of a veth: martlet generate packet:veth0 --rate 100000 --seconds 5
            """)

    @Argument(help: LinkArgument.help) var link: LinkArgument
    @Option(help: "Frames a second. (default: as many as there is room for)") var rate: Double?
    @Option(help: "Ends after so many frames.") var count: UInt64?
    @OptionGroup var flows: FlowOptions
    @Option(
        help: "A pcap or pcapng file, whose frames are sent instead: once, or over and over until --seconds or --count."
    )
    var replay: String?
    @Flag(help: "Sends the frames of --replay as they were recorded: with the time between them, and once.") var timed =
        false
    @Flag(help: "Measures how long each frame takes there and back.") var ping = false
    @OptionGroup var options: LinkOptions

    func validate() throws {
        if let rate, rate <= 0 { throw ValidationError("--rate must be more than 0") }
        if timed, replay == nil { throw ValidationError("--timed is for --replay") }
        if ping, replay != nil { throw ValidationError("--ping makes its own frames: leave --replay out") }
        if timed, rate != nil { throw ValidationError("--timed has the recorded rate: leave --rate out") }
    }

    func run() async throws {
        let frames = try replay.map { try CaptureReader.frames(of: $0) } ?? flows.frames(count: 4096).map { ($0, 0) }
        guard !frames.isEmpty else { throw ValidationError("the file has no frames") }
        // A recorded frame may be one that a link has cut, or never did: large segments. What the link does not take it counts.
        let pool = try options.makePool(longest: frames.map(\.bytes.count).max() ?? 0)
        var links = LinkSet(capacity: 1)
        links.append(try link.name.open(for: pool))
        if links[0].properties.medium == .ip, replay == nil || ping {
            throw ValidationError(
                "made-up frames are Ethernet's, and \(link.name) carries packets: use a TAP, or --replay")
        }
        if ping { return try self.ping(&links, pool) }
        let isOnce = replay != nil && (timed || (options.seconds == nil && count == nil))
        let limit = isOnce ? UInt64(frames.count) : count ?? .max
        let start = Clock.now
        var (next, sent) = (0, UInt64(0))
        var burst = pool.makeBurst(capacity: options.burst)
        var run = LinkRun(seconds: options.seconds)
        run.go(&links, counted: { $0[0].counters.transmitted.frames }) { links in
            guard sent < limit, links[0].state != .gone else { return nil }
            let elapsed = Clock.now - start
            var due = UInt64(options.burst)
            if let rate { due = UInt64(Double(elapsed) * rate / 1e9) &- sent }
            if timed { due = frames[Int(sent)].time - frames[0].time <= elapsed ? 1 : 0 }
            // What has been put off for long is not caught up with in one go.
            let room = Int(min(due, UInt64(options.burst), limit - sent))
            while burst.count < room, var frame = burst.takeFrame() {
                let bytes = frames[next].bytes
                unsafe frame.copyBytes(from: bytes.span.bytes)
                burst.append(frame)
                next = next + 1 == frames.count ? 0 : next + 1
            }
            let taken = links[0].transmit(&burst)
            sent += UInt64(taken)
            if taken > 0 { return taken }
            if room > 0 { Pause.untilRoom(&links) } else { Pause.briefly(rate) }
            return LinkRun.framesBetweenClocks
        }
        burst.removeAll()
        try RunReport("generate", frames: links[0].counters.transmitted.frames, run, &links).print(asJSON: options.json)
    }

    /// Sends frames by the clock, and takes the time of those that come back.
    private func ping(_ links: inout LinkSet, _ pool: borrowing FramePool) throws {
        let interval = Int64(1e9 / (rate ?? 1000))
        let frames = flows.frames(count: 4096)
        var latencies = Latencies()
        var (sent, next) = (UInt64(0), Clock.now)
        var burst = pool.makeBurst(capacity: options.burst)
        var run = LinkRun(seconds: options.seconds ?? count.map { Double($0) / (rate ?? 1000) + 0.5 })
        let session = UInt32.random(in: 0...UInt32.max)
        run.go(&links, counted: { $0[0].counters.received.frames }) { links in
            var handled = links[0].receive(into: &burst)
            let now = Clock.now
            burst.changeEach { frame in
                if let time = Ping.time(in: frame.bytes, of: session) { latencies.record(now - time) }
            }
            burst.removeAll()
            if now >= next, count.map({ sent < $0 }) ?? true, var frame = pool.take() {
                let bytes = frames[Int(sent % UInt64(frames.count))]
                unsafe frame.copyBytes(from: bytes.span.bytes)
                Ping.stamp(&frame, session)
                burst.append(frame)
                let taken = links[0].transmitOrDrop(&burst)
                sent += UInt64(taken)
                handled += taken
                next = max(next + interval, now - 10 * interval)
            }
            if let count, sent >= count, latencies.count >= count { return nil }
            if links[0].state == .gone { return nil }
            // It looks all the time: sleeping would be measured too.
            return max(handled, 1)
        }
        var report = RunReport("generate", frames: sent, run, &links)
        report.lost = sent - min(sent, UInt64(latencies.count))
        report.add(latencies)
        try report.print(asJSON: options.json)
    }
}
