// XDP links that run short: of ring entries, of frames, of completions; and kernels that do not take all at once.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(.enabled(if: xdpRuns, xdpNeeds), .serialized) struct XDPShortageTests {
    let here: Namespace
    let there: Namespace
    let pair: VethPair

    init() throws {
        here = try Namespace()
        there = try Namespace()
        pair = try VethPair(left: here, right: there)
    }

    @Test("a receiver that is too slow loses what its ring has no room for, and counts it")
    func ringFull() throws {
        var options = XDPBench.small
        options.receiveFrames = 8
        options.ringSize = 8
        let bench = try XDPBench.open(pair.left, options: options)
        let sender = try XDPBench.open(pair.right)
        try sender.comesUp()
        var burst = sender.pool.makeBurst()
        for number in 0..<40 { try burst.append(Frames.numbered(number)) }
        #expect(sender.link.transmit(&burst) == 40)
        #expect(try bench.receivesNumbers(8) == Array(0..<8))
        _ = bench.link.refresh()
        let drops = bench.counters.received.drops
        #expect(drops[.ringFull] + drops[.arenaEmpty] == 32 && drops.total == 32)
        #expect(bench.accounted == bench.pool.count)
        // It goes on with the next.
        try sender.transmits(100)
        #expect(try bench.receivesNumbers(1) == [100])
    }

    @Test("with an empty arena what comes is dropped and counted, and received again when frames are back")
    func arenaEmpty() throws {
        let bench = try XDPBench.open(pair.left, frames: 16)
        let sender = try XDPBench.open(pair.right)
        try sender.comesUp()
        #expect(bench.link.framesWithKernel == 8)
        var held = bench.pool.makeBurst()
        while let frame = bench.pool.take() { held.append(frame) }
        var burst = sender.pool.makeBurst()
        for number in 0..<20 { try burst.append(Frames.numbered(number)) }
        _ = sender.link.transmit(&burst)
        var into = bench.pool.makeBurst()
        try bench.until("8 frames came", { into.count == 8 }) {
            if bench.link.receive(into: &into) == 0 { bench.link.sleep() }
        }
        #expect(into.count == 8 && bench.link.framesWithKernel == 0 && bench.pool.freeCount == 0)
        _ = bench.link.refresh()
        #expect(bench.counters.received.drops[.arenaEmpty] == 12 && bench.counters.received.drops.total == 12)
        held.removeAll()
        into.removeAll()
        #expect(bench.link.receive(into: &into) == 0)  // and takes frames again
        #expect(bench.link.framesWithKernel == 8)
        try sender.transmits(100)
        #expect(try bench.receivesNumbers(1) == [100])
    }

    @Test("a transmit ring that is full takes what fits; the rest stays in the burst, and nothing is lost")
    func transmitRingFull() throws {
        var options = XDPBench.small
        options.receiveFrames = 4
        options.ringSize = 8
        let bench = try XDPBench.open(pair.left, options: options)
        let peer = try XDPBench.open(pair.right)
        var burst = bench.pool.makeBurst()
        for number in 0..<50 { try burst.append(Frames.numbered(number)) }
        #expect(bench.link.transmit(&burst) == 8)
        #expect(burst.count == 42)
        try bench.until("all has left", { burst.isEmpty }) {
            if bench.link.transmit(&burst) == 0 { bench.link.sleep(for: LinkWish(frames: 0, room: 1)) }
        }
        #expect(try peer.receivesNumbers(50) == Array(0..<50))
        #expect(bench.counters.transmitted.frames == 50 && bench.counters.transmitted.drops.total == 0)
        #expect(bench.accounted == bench.pool.count)
    }

    @Test("completions that lag fill the transmit ring: the rest stays in the burst, and goes when they have come")
    func completionsLag() throws {
        // A macvlan sends through the queue of the veth below, and what waits there is not complete.
        let name = Rig.uniqueName("v")
        try here.ip("link", "add", "link", pair.left.name, "name", name, "type", "macvlan", "mode", "private")
        let above = Interface(name: name, in: here)
        try above.disableIPv6()
        try above.setUp()
        let queue = ["tc", "qdisc", "add", "dev", pair.left.name, "root", "tbf", "rate", "8kbit", "burst", "1600"]
        try Program.run(["ip", "netns", "exec", here.name] + queue + ["limit", "1000000"])
        var options = XDPBench.small
        (options.receiveFrames, options.ringSize) = (4, 8)
        let bench = try XDPBench.open(above, options: options)
        try bench.comesUp()
        let peer = try XDPBench.open(pair.right)
        var burst = bench.pool.makeBurst()
        for number in 0..<60 { try burst.append(Frames.numbered(number, length: 1000)) }
        for _ in 0..<20 { _ = bench.link.transmit(&burst) }
        // Nothing is lost and nothing is free that the kernel still reads: as many are out as the completion ring has entries.
        #expect(bench.link.transmit(&burst) == 0 && burst.count >= 60 - 20)
        #expect(bench.link.framesWithKernel >= 4 + 8)
        #expect(bench.counters.transmitted.frames == UInt64(60 - burst.count))
        #expect(bench.counters.transmitted.drops.total == 0)
        let sleep = bench.link.prepareToSleep(for: LinkWish(frames: 0, room: 8))
        #expect(!sleep.isReady)
        bench.link.wokeUp()
        // Without the queue, what waited in it is given back, and all others pass.
        let waiting = 60 - burst.count
        try Program.run("ip", "netns", "exec", here.name, "tc", "qdisc", "del", "dev", pair.left.name, "root")
        try bench.until("all has left", { burst.isEmpty }) {
            if bench.link.transmit(&burst) == 0 { bench.link.sleep(for: LinkWish(frames: 0, room: 1)) }
        }
        try bench.until("all is complete", { bench.link.framesWithKernel == 4 }) { _ = bench.link.reclaim() }
        var arrived: [Int] = []
        while arrived.last != 59 { arrived += try peer.receivesNumbers(1) }
        #expect(arrived.suffix(60 - waiting) == Array(waiting..<60)[...])
        #expect(bench.counters.transmitted.frames == 60 && bench.accounted == bench.pool.count)
    }

    @Test("a frame that the driver drops in the middle of a burst does not keep those behind it")
    func droppedByTheDriver() throws {
        let bench = try XDPBench.open(pair.left)
        try bench.comesUp()
        let peer = try XDPBench.open(pair.right)
        // A veth takes nothing that its peer has no room for: the call says EBUSY, and ends there.
        try pair.right.setMTU(600)
        var burst = bench.pool.makeBurst()
        for number in 0..<30 { try burst.append(Frames.numbered(number, length: number % 3 == 1 ? 1400 : 64)) }
        #expect(bench.link.transmit(&burst) == 30)
        // Nothing more is asked of the link: they have left with that call.
        #expect(try peer.receivesNumbers(20) == (0..<30).filter { $0 % 3 != 1 })
        _ = bench.link.reclaim()
        #expect(bench.link.framesWithKernel == 64)
    }

    @Test("checksums that another link has left are completed, and what has none to complete is dropped and counted")
    func partialChecksums() throws {
        try pair.right.add(address: "10.9.2.2/24")
        // What that side sends has to be complete, too: nobody says of it that it is not.
        try pair.right.set(offload: "tx", false)
        let bench = try XDPBench.open(pair.left)
        try bench.comesUp()
        // A TAP with the kernel behind it, which leaves checksums to the link; and the link on the veth, which has nobody to do it.
        let name = Rig.uniqueName("t")
        let tap = try here.inside { try Holder(TAPLink(name)) }
        var host = tap.take()
        let device = Interface(name: name, in: here)
        try device.disableIPv6()
        try device.setUp()
        try device.add(address: "10.9.2.1/24")
        let server = try there.start("iperf3", "-s", "-1", "--forceflush")
        try server.writes("listening")
        let load = try here.start("iperf3", "-c", "10.9.2.2", "-n", "200K")
        let result = try join(&host, &bench.link, pool: bench.pool, until: load).result
        #expect(result.status == 0, "\(result.output)\(result.errors)")
        var burst = bench.pool.makeBurst()
        try burst.append(Frames.numbered(1))
        burst.changeEach { $0.offload = .checksumPartial }
        let before = bench.counters.transmitted.drops[.malformed]
        #expect(bench.link.transmit(&burst) == 1)
        #expect(bench.counters.transmitted.drops[.malformed] == before + 1)
        #expect(bench.accounted == bench.pool.count)
    }
}
