// Going to sleep on links of the kernel's: whatever comes between the last look and the sleep ends the sleep.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(.enabled(if: xdpRuns, xdpNeeds), .serialized) struct LinkSleepTests {
    let here: Namespace
    let there: Namespace
    let pair: VethPair

    init() throws {
        here = try Namespace()
        there = try Namespace()
        pair = try VethPair(left: here, right: there)
    }

    /// Sends frames at each point between a receive that finds nothing and the sleep. `send` hands one over to the kernel before it
    /// returns.
    private func check<L: Link & ~Copyable>(
        _ link: inout L, pool: borrowing FramePool, rounds: Int = 60, send: (Int) throws -> Void
    ) throws {
        var burst = pool.makeBurst()
        // What was under way when the link was opened, and what was said about its interface.
        for _ in 0..<100 {
            let sleep = link.prepareToSleep(for: LinkWish())
            let isQuiet = !sleep.isReady && !isReadable(sleep.descriptor, within: 100)
            link.wokeUp()
            if isQuiet { break }
            _ = link.receive(into: &burst)
            burst.removeAll()
        }
        for round in 0..<rounds {
            #expect(link.receive(into: &burst) == 0, "round \(round)")
            let isEarly = round % 2 == 0
            if isEarly { try send(round) }
            let sleep = link.prepareToSleep(for: LinkWish())
            #expect(sleep.isReady || sleep.forInput)
            if !isEarly {
                #expect(!sleep.isReady, "round \(round): nothing has come yet")
                #expect(!isReadable(sleep.descriptor), "round \(round): nothing has come yet")
                try send(round)
            }
            try #require(sleep.isReady || isReadable(sleep.descriptor, within: 10_000), "round \(round) sleeps on")
            link.wokeUp()
            try #require(link.receive(into: &burst) == 1, "round \(round): it woke up for nothing")
            burst.removeAll()
        }
    }

    @Test("a frame for a TAP wakes whoever sleeps on it, also if it comes first", arguments: [false, true])
    func tap(isBatched: Bool) throws {
        let pool = FramePool(count: 64)
        let name = Rig.uniqueName("t")
        var options = TAPLink.Options()
        options.batches = isBatched ? .ioUring : .calls
        var link = try here.inside { try Holder(TAPLink(name, options: options)) }.take()
        let device = Interface(name: name, in: here)
        try device.disableIPv6()
        try device.setUp()
        _ = link.refresh()
        var sender = try here.inside { try Holder(PacketLink(name)) }.take()
        try check(&link, pool: pool) { number in
            try #require(try transmit([testFrame(60, number)], on: &sender, pool: pool) == 1)
        }
    }

    @Test("a frame for a packet socket wakes whoever sleeps on it, also if it comes first", arguments: [false, true])
    func packet(inBlocks: Bool) throws {
        let pool = FramePool(count: 64)
        var options = PacketLink.Options()
        options.receivesBlocks = inBlocks
        var link = try inside(pair.left) { [pair] in try Holder(PacketLink(pair.left.name, options: options)) }.take()
        var sender = try inside(pair.right) { [pair] in try Holder(PacketLink(pair.right.name)) }.take()
        try check(&link, pool: pool) { number in
            try #require(try transmit([testFrame(60, number)], on: &sender, pool: pool) == 1)
        }
    }

    @Test("a frame for an XDP link wakes whoever sleeps on it, also if it comes first")
    func xdp() throws {
        let bench = try XDPBench.open(pair.left)
        let sender = try XDPBench.open(pair.right)
        try sender.comesUp()
        try check(&bench.link, pool: bench.pool) { try sender.transmits($0) }
    }

    /// Takes the interface away from under a link that is slept on.
    private func checkEnd<L: Link & ~Copyable>(_ link: inout L, removal: () throws -> Void) throws {
        let sleep = link.prepareToSleep(for: LinkWish())
        #expect(!sleep.isReady && !isReadable(sleep.descriptor))
        try removal()
        #expect(isReadable(sleep.descriptor, within: 10_000), "it sleeps on")
        link.wokeUp()
        _ = link.refresh()
        #expect(link.state == .gone)
        #expect(link.prepareToSleep(for: LinkWish()).isReady == false)
        link.wokeUp()
    }

    @Test("whoever sleeps on a TAP is woken when it is deleted")
    func tapIsDeleted() throws {
        let name = Rig.uniqueName("t")
        var link = try here.inside { try Holder(TAPLink(name)) }.take()
        try Interface(name: name, in: here).disableIPv6()
        try Interface(name: name, in: here).setUp()
        _ = link.refresh()
        try checkEnd(&link) { try Interface(name: name, in: here).delete() }
    }

    @Test("whoever sleeps on a packet socket is woken when its interface is deleted")
    func packetInterfaceIsDeleted() throws {
        var link = try inside(pair.left) { [pair] in try Holder(PacketLink(pair.left.name)) }.take()
        try checkEnd(&link) { try pair.right.delete() }
    }

    @Test("whoever sleeps on an XDP link is woken when its interface is deleted")
    func xdpInterfaceIsDeleted() throws {
        let bench = try XDPBench.open(pair.left)
        try checkEnd(&bench.link) { try pair.right.delete() }
    }
}
