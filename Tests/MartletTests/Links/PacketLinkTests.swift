// Packet sockets on one end of a veth, with the kernel, another packet socket, or real programs at the other.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(.enabled(if: Rig.runs, "\(Rig.whyNot ?? "")"))
struct PacketLinkTests: ReadsCaptures {
    /// A veth between two namespaces, with a link on its left end.
    private final class Wire {
        let here: Namespace
        let there: Namespace
        let pair: VethPair
        var link: PacketLink

        init(_ options: PacketLink.Options = .init(), mtu: Int = 1500) throws {
            let (here, there) = (try Namespace(), try Namespace())
            let pair = try VethPair(left: here, right: there, mtu: mtu)
            (self.here, self.there, self.pair) = (here, there, pair)
            link = try PacketLinkTests.open(pair.left, options)
        }

        /// A link on the right end.
        func other(_ options: PacketLink.Options = .init()) throws -> PacketLink {
            try PacketLinkTests.open(pair.right, options)
        }
    }

    private static func open(_ interface: Interface, _ options: PacketLink.Options) throws -> PacketLink {
        try interface.namespace!.inside { try Holder(PacketLink(interface.name, options: options)) }.take()
    }

    private static func options(blocks: Bool) -> PacketLink.Options {
        var options = PacketLink.Options()
        options.receivesBlocks = blocks
        return options
    }

    @Test(arguments: [false, true])
    func `The kernel's ping from the other end is answered`(_ blocks: Bool) throws {
        let pool = FramePool(count: 256)
        let wire = try Wire(Self.options(blocks: blocks))
        try wire.pair.right.add(address: "10.98.0.1/24")
        var station = Station(10, 98, 0, 2)
        let ping = try wire.there.start("ping", "-q", "-c", "20", "-i", "0.01", "-s", "1400", "10.98.0.2")
        let result = try serve(&wire.link, as: &station, pool: pool, until: ping)
        #expect(result.output.contains("20 received"), "\(result.output)")
    }

    @Test(arguments: [false, true])
    func `A burst arrives whole and in order, with the tags of its VLANs`(_ blocks: Bool) throws {
        let pool = FramePool(count: 1024)
        let wire = try Wire(Self.options(blocks: blocks))
        var other = try wire.other(Self.options(blocks: blocks))
        let frames = (0..<200).map {
            testFrame($0 < 64 ? 30 + $0 : 1514 - $0, $0, tag: $0 % 3 == 0 ? UInt16($0 + 0x2000) : nil)
        }
        #expect(try transmit(frames, on: &wire.link, pool: pool) == 200)
        #expect(receive(200, on: &other, pool: pool) == frames)
        #expect(try transmit(frames.reversed(), on: &other, pool: pool) == 200)
        #expect(receive(200, on: &wire.link, pool: pool) == frames.reversed())
        #expect(wire.link.counters.received.frames == wire.link.counters.transmitted.frames)
        #expect(wire.link.counters.received.bytes == UInt64(frames.reduce(0) { $0 + $1.count }))
    }

    @Test
    func `A capture has in its file what arrived, in order, with tags and times, and cut where that was asked for`()
        throws
    {
        let pool = FramePool(count: 512)
        var options = Self.options(blocks: true)
        (options.timestamps, options.transmits) = (true, false)
        let wire = try Wire(options)
        var other = try wire.other()
        let frames = (0..<200).map {
            testFrame($0 < 64 ? 30 + $0 : 1514 - $0, $0, tag: $0 % 3 == 0 ? UInt16($0 + 0x2000) : nil)
        }
        let path = "/tmp/martlet-packets-\(getpid())-\(UInt64.random(in: 0 ... .max)).pcapng"
        defer { _ = unsafe unlink(path) }
        let begun = UInt64(martlet_realtime_ns())
        do {
            let file = try CaptureFile(path: path, snapLength: 500)
            var capture = PacketCapture(try Self.open(wire.pair.left, options), to: file)
            try #require(try transmit(frames, on: &other, pool: pool) == 200)
            var burst = pool.makeBurst(capacity: 64)
            for _ in 0..<1000 where file.frames < 200 {
                let before = file.frames
                #expect(capture.receive(into: &burst) == 0 && burst.isEmpty)
                // No more than the burst has room for, and none that is there is left waiting.
                #expect(file.frames - before <= 64)
                if file.frames == before { capture.sleep() }
            }
            let counters = capture.counters.received
            #expect(counters.frames == 200 && counters.bytes == UInt64(frames.reduce(0) { $0 + $1.count }))
            #expect(counters.drops.total == 0 && file.missedFrames == 0)
        }
        let ended = UInt64(martlet_realtime_ns())
        let blocks = try blocks(path).filter { $0.type == 6 }.map(\.body)
        try #require(blocks.count == 200)
        var last = begun
        for (body, frame) in zip(blocks, frames) {
            let here = Int(number(body, 12))
            #expect(here == min(frame.count, 500) && Int(number(body, 16)) == frame.count)
            #expect(Array(body[20..<20 + here]) == Array(frame.prefix(here)))
            let padded = (here + 3) / 4 * 4
            #expect(body[20 + here..<20 + padded].allSatisfy { $0 == 0 })
            #expect(body.count == 20 + padded, "no options")
            let time = UInt64(number(body, 4)) << 32 | UInt64(number(body, 8))
            #expect(time >= last && time <= ended)
            last = time
        }
    }

    @Test(arguments: [false, true])
    func `More frames than the ring holds pass it, round after round`(_ blocks: Bool) throws {
        let pool = FramePool(count: 256)
        var options = Self.options(blocks: blocks)
        (options.ringSize, options.transmitFrames) = (1 << 19, 64)
        let wire = try Wire(options)
        var other = try wire.other(options)
        for round in 0..<100 {
            let frames = (0..<50).map { testFrame(60 + $0, round &* 31 &+ $0) }
            #expect(try transmit(frames, on: &wire.link, pool: pool) == 50)
            #expect(receive(50, on: &other, pool: pool) == frames, "round \(round)")
        }
    }

    @Test func `TCP between two kernels passes with its offloads on, in segments larger than the MTU`() throws {
        let pool = FramePool(count: 512, capacity: 1 << 17)
        var options = PacketLink.Options()
        (options.largestFrame, options.ringSize) = (65_549, 32 << 20)
        let (first, second) = (try Wire(options), try Wire(options))
        try first.pair.right.add(address: "10.98.1.1/24")
        try second.pair.right.add(address: "10.98.1.2/24")
        let listening = try first.there.start("iperf3", "-s", "-1", "--forceflush")
        try listening.writes("Server listening")
        let load = try second.there.start("iperf3", "-c", "10.98.1.1", "-n", "30M")
        let (result, longest) = try join(&first.link, &second.link, pool: pool, until: load)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
        #expect(longest > 10_000)
        #expect(second.link.counters.received.bytes > 20_000_000)
    }

    @Test func `A filter lets through what it wants and nothing else`() throws {
        let pool = FramePool(count: 256)
        var options = PacketLink.Options()
        options.filter = try Filter("ether proto 0x88b5 and greater 100").compiled()
        let wire = try Wire(options)
        var other = try wire.other()
        try transmit((0..<20).map { testFrame(90 + $0) }, on: &other, pool: pool)
        #expect(receive(20, on: &wire.link, pool: pool, patience: 5) == (10..<20).map { testFrame(90 + $0) })

        options.filter = try Filter.nothing.compiled()
        var deaf = try Self.open(wire.pair.left, options)
        try transmit([testFrame(100)], on: &other, pool: pool)
        #expect(receive(1, on: &deaf, pool: pool, patience: 5) { _ in true }.isEmpty)
        _ = deaf.refresh()
        #expect(deaf.counters.received.drops.total == 0)
    }

    @Test func `What this side sends is not received here, and what goes to others is`() throws {
        let pool = FramePool(count: 256)
        let wire = try Wire()
        try wire.pair.left.add(address: "10.98.2.1/24")
        _ = try wire.here.run("ping", "-q", "-c", "2", "-i", "0.01", "-W", "0.1", "10.98.2.2")
        #expect(receive(1, on: &wire.link, pool: pool, patience: 3) { _ in true }.isEmpty)
        var other = try wire.other()
        var stranger = testFrame(60)
        stranger[5] = 0x99
        try transmit([stranger], on: &other, pool: pool)
        #expect(receive(1, on: &wire.link, pool: pool) == [stranger])
    }

    @Test func `Links of a group share the flows, each flow to one of them`() throws {
        let pool = FramePool(count: 1024)
        var options = PacketLink.Options()
        options.fanout = .init(group: 7)
        let wire = try Wire(options)
        var second = try Self.open(wire.pair.left, options)
        var other = try wire.other()
        // UDP between 10.0.0.1 and .2, from 32 ports, both directions of each.
        let frames = (0..<128).map { number -> [UInt8] in
            let port = UInt8(number / 4)
            let isBack = number % 2 == 1
            var bytes = testFrame(60)
            bytes.replaceSubrange(
                12..<42,
                with: [
                    8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, isBack ? 2 : 1, 10, 0, 0, isBack ? 1 : 2,
                ]
                    + (isBack ? [20, 0, 30, port] : [30, port, 20, 0]) + [0, 26, 0, 0])
            return bytes
        }
        try transmit(frames, on: &other, pool: pool)
        let isUDP = { (bytes: [UInt8]) in bytes.count > 40 && bytes[23] == 17 }
        let (mine, its) = (
            receive(128, on: &wire.link, pool: pool, patience: 5, wanted: isUDP),
            receive(128, on: &second, pool: pool, patience: 5, wanted: isUDP)
        )
        #expect(mine.count + its.count == 128)
        #expect(!mine.isEmpty && !its.isEmpty)
        let ports = { (frames: [[UInt8]]) in Set(frames.map { $0[34] == 30 ? $0[35] : $0[37] }) }
        #expect(ports(mine).isDisjoint(with: ports(its)))

        options.fanout = .init(group: 7, mode: .cpu)
        #expect(throws: LinkError.self) { _ = try Holder(Self.open(wire.pair.left, options)) }
    }

    @Test(arguments: [false, true])
    func `What a full ring loses is counted, and nothing else is lost`(_ blocks: Bool) throws {
        let pool = FramePool(count: 4096)
        var options = Self.options(blocks: blocks)
        options.ringSize = 1 << 19
        options.filter = try Filter.etherType(0x88B5).compiled()
        let wire = try Wire(options)
        var other = try wire.other()
        for round in 0..<100 { try transmit((0..<40).map { testFrame(1000, round * 40 + $0) }, on: &other, pool: pool) }
        let received = receive(4000, on: &wire.link, pool: pool, patience: 5).count
        _ = wire.link.refresh()
        let lost = Int(wire.link.counters.received.drops[.ringFull])
        #expect(lost > 0)
        #expect(received > 0)
        #expect(received + lost == 4000)
    }

    @Test func `An empty pool leaves frames in the ring`() throws {
        let pool = FramePool(count: 4)
        let wire = try Wire()
        var other = try wire.other()
        try transmit((0..<4).map { testFrame(60, $0) }, on: &other, pool: pool)
        try transmit((4..<8).map { testFrame(60, $0) }, on: &other, pool: pool)
        var burst = pool.makeBurst()
        var second = pool.makeBurst()
        #expect(wire.link.receive(into: &burst) == 4)
        #expect(wire.link.receive(into: &second) == 0)
        #expect(wire.link.prepareToSleep(for: LinkWish()).isReady == true)
        burst.removeAll()
        #expect(wire.link.receive(into: &second) == 4)
        #expect(wire.link.counters.received.frames == 8)
    }

    @Test func `A link that is down says so, does not spin, and passes frames when it is up again`() throws {
        let pool = FramePool(count: 64)
        let wire = try Wire()
        var other = try wire.other()
        try wire.pair.left.setDown()
        let sleep = wire.link.prepareToSleep(for: LinkWish())
        #expect(wire.link.state == .down)
        var wait = pollfd(fd: sleep.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(unsafe poll(&wait, 1, 0) == 0)
        #expect(try transmit([testFrame(60), testFrame(61)], on: &wire.link, pool: pool) == 2)
        #expect(wire.link.counters.transmitted.drops[.linkDown] == 2)
        #expect(pool.freeCount == 64)
        try wire.pair.left.setUp()
        try becomes(.up, &wire.link)
        try transmit([testFrame(62)], on: &wire.link, pool: pool)
        #expect(receive(1, on: &other, pool: pool) == [testFrame(62)])
        try transmit([testFrame(63)], on: &other, pool: pool)
        #expect(receive(1, on: &wire.link, pool: pool) == [testFrame(63)])
    }

    @Test func `A peer that is down takes the carrier along`() throws {
        let wire = try Wire()
        try wire.pair.right.setDown()
        try becomes(.down, &wire.link)
        try wire.pair.right.setUp()
        try becomes(.up, &wire.link)
    }

    @Test func `A veth that is removed is gone, and what had come before can still be had`() throws {
        let pool = FramePool(count: 64)
        let wire = try Wire()
        var other = try wire.other()
        try transmit([testFrame(60)], on: &other, pool: pool)
        try wire.pair.right.delete()
        _ = wire.link.prepareToSleep(for: LinkWish(frames: 0))
        #expect(wire.link.state == .gone)
        #expect(receive(1, on: &wire.link, pool: pool) == [testFrame(60)])
        #expect(wire.link.prepareToSleep(for: LinkWish()).descriptor == -1)
        #expect(try transmit([testFrame(60)], on: &wire.link, pool: pool) == 1)
        #expect(wire.link.counters.transmitted.drops[.linkDown] == 1)
    }

    @Test func `Runts and frames that are too long are dropped and counted, in either direction`() throws {
        let pool = FramePool(count: 64, capacity: 4096)
        let small = FramePool(count: 64, capacity: 512)
        let wire = try Wire(mtu: 2000)
        var burst = pool.makeBurst()
        for length in [13, 0, 2019, 60, 14] {
            burst.append(try blankFrame(length, of: pool))
        }
        #expect(wire.link.transmit(&burst) == 5)
        #expect(wire.link.counters.transmitted.drops[.runt] == 2)
        #expect(wire.link.counters.transmitted.drops[.oversize] == 1)
        #expect(wire.link.counters.transmitted.frames == 2)

        var other = try wire.other()
        try transmit([testFrame(1900), testFrame(100)], on: &other, pool: pool)
        #expect(receive(1, on: &wire.link, pool: small) == [testFrame(100)])
        #expect(wire.link.counters.received.drops[.oversize] == 1)
    }

    @Test func `A frame that the kernel refuses is counted, and those behind it go`() throws {
        let pool = FramePool(count: 64)
        let wire = try Wire()
        var other = try wire.other()
        // Large segments that call themselves something else than IP.
        var strange = testFrame(1000)
        strange.replaceSubrange(
            14..<54,
            with: [0x45, 0, 3, 0xDA, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
                + [0, 80, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0, 0, 0, 0, 0, 0])
        var burst = pool.makeBurst()
        for number in 0..<5 {
            var frame = try blankFrame(1000, of: pool)
            var span = frame.mutableBytes
            for (index, byte) in (number % 2 == 1 ? strange : testFrame(1000, number)).enumerated() {
                span.store(byte, at: index)
            }
            if number % 2 == 1 { frame.segmentSize = 100 }
            burst.append(frame)
        }
        let taken = wire.link.transmit(&burst)
        #expect(taken == 5)
        #expect(receive(3, on: &other, pool: pool) == [0, 2, 4].map { testFrame(1000, $0) })
        #expect(wire.link.counters.transmitted.drops.total == 2)
        #expect(wire.link.counters.transmitted.frames == 3)
        // The rings of both sides still agree on where they are.
        for round in 0..<40 {
            let frames = (0..<20).map { testFrame(200, round * 20 + $0) }
            try transmit(frames, on: &wire.link, pool: pool)
            #expect(receive(20, on: &other, pool: pool) == frames, "round \(round)")
        }
    }

    @Test func `Frames may be longer as soon as the MTU has been raised`() throws {
        let pool = FramePool(count: 64, capacity: 16_384)
        var options = PacketLink.Options()
        options.largestFrame = 9018
        let wire = try Wire(options)
        var other = try wire.other(options)
        try transmit([testFrame(5000)], on: &wire.link, pool: pool)
        #expect(wire.link.counters.transmitted.drops[.oversize] == 1)
        for side in [wire.pair.left, wire.pair.right] { try side.setMTU(9000) }
        #expect(wire.link.refresh() == true)
        #expect(wire.link.properties.mtu == 9000)
        try transmit([testFrame(5000)], on: &wire.link, pool: pool)
        #expect(receive(1, on: &other, pool: pool) == [testFrame(5000)])
    }

    @Test func `A frame says when it was received`() throws {
        let pool = FramePool(count: 64)
        var options = PacketLink.Options()
        options.timestamps = true
        let wire = try Wire(options)
        var other = try wire.other()
        try transmit([testFrame(60), testFrame(60)], on: &other, pool: pool)
        var burst = pool.makeBurst()
        while burst.count < 2 {
            _ = wire.link.receive(into: &burst)
            rest(&wire.link)
        }
        var times: [Int64] = []
        while let frame = burst.popFirst() { if let time = frame.timestamp { times.append(time) } }
        try #require(times.count == 2)
        // After 2020, and in order.
        #expect(times[0] > 1_577_836_800_000_000_000)
        #expect(times[1] >= times[0])
    }

    @Test func `An interface that is not there is named`() {
        #expect(throws: LinkError.noSuchInterface(link: "packet:nowhere0")) { _ = try Holder(PacketLink("nowhere0")) }
    }
}
