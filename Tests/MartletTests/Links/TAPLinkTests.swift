// TAP and TUN devices with the kernel on their other side.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(.enabled(if: Rig.runs, "\(Rig.whyNot ?? "")"))
struct TAPLinkTests {
    /// A device in a namespace, open on this side.
    private final class Device {
        let namespace: Namespace
        let interface: Interface
        var link: TAPLink

        init(_ options: TAPLink.Options = .init(), in namespace: Namespace? = nil) throws {
            let namespace = try namespace ?? Namespace()
            let name = Rig.uniqueName("t")
            let opened = try namespace.inside { try Holder(TAPLink(name, options: options)) }
            self.namespace = namespace
            interface = Interface(name: name, in: namespace)
            link = opened.take()
            try interface.disableIPv6()
            try interface.setUp()
            _ = link.refresh()
        }
    }

    private static func options(_ batches: TAPLink.Options.Batches, _ medium: LinkProperties.Medium = .ethernet)
        -> TAPLink.Options
    {
        var options = TAPLink.Options()
        (options.batches, options.medium) = (batches, medium)
        return options
    }

    @Test(arguments: [TAPLink.Options.Batches.ioUring, .calls], [LinkProperties.Medium.ethernet, .ip])
    func `The kernel's ping is answered`(_ batches: TAPLink.Options.Batches, _ medium: LinkProperties.Medium) throws {
        let pool = FramePool(count: 256)
        let device = try Device(Self.options(batches, medium))
        #expect(device.link.isBatched == (batches == .ioUring))
        try device.interface.add(address: "10.99.0.1/24")
        var station = Station(10, 99, 0, 2)
        let ping = try device.namespace.start("ping", "-q", "-c", "20", "-i", "0.01", "-s", "1000", "10.99.0.2")
        let result = try serve(&device.link, as: &station, pool: pool, until: ping)
        #expect(result.status == 0, "\(result.output)")
        #expect(result.output.contains("20 received"))
        #expect(device.link.counters.received.frames >= 20)
        #expect(device.link.counters.received.bytes >= 20 * 1028)
    }

    @Test(arguments: [TAPLink.Options.Batches.ioUring, .calls])
    func `A burst arrives whole and in order, both ways`(_ batches: TAPLink.Options.Batches) throws {
        let pool = FramePool(count: 1024)
        let namespace = try Namespace()
        let first = try Device(Self.options(batches), in: namespace)
        let second = try Device(Self.options(batches), in: namespace)
        // A bridge of the kernel's between two devices.
        let bridge = Rig.uniqueName("b")
        try namespace.ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
        for device in [first, second] { try namespace.ip("link", "set", device.interface.name, "master", bridge) }
        try namespace.ip("link", "set", bridge, "up")
        let frames = (0..<200).map { testFrame($0 < 64 ? 14 + $0 : 1514 - $0, $0) }
        var sent = 0
        for part in stride(from: 0, to: 200, by: 50) {
            sent += try transmit(Array(frames[part..<part + 50]), on: &first.link, pool: pool)
        }
        #expect(sent == 200)
        #expect(receive(200, on: &second.link, pool: pool) == frames)
        #expect(first.link.counters.transmitted.frames == 200)
        #expect(second.link.counters.received.drops.total == 0)
    }

    @Test func `TCP passes in segments larger than the MTU, with nobody filling in checksums`() throws {
        let pool = FramePool(count: 512, capacity: 1 << 17)
        var options = TAPLink.Options()
        options.receivesLargeSegments = true
        let (server, client) = (try Device(options), try Device(options))
        try server.interface.add(address: "10.99.1.1/24")
        try client.interface.add(address: "10.99.1.2/24")
        let listening = try server.namespace.start("iperf3", "-s", "-1", "--forceflush")
        try listening.writes("Server listening")
        let load = try client.namespace.start("iperf3", "-c", "10.99.1.1", "-n", "30M")
        let (result, longest) = try join(&server.link, &client.link, pool: pool, until: load)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
        #expect(longest > 10_000)
        #expect(client.link.counters.received.bytes > 20_000_000)
        #expect(server.link.counters.transmitted.drops.total == 0)
    }

    @Test func `A device that is deleted under the link is gone, and nothing traps`() throws {
        let pool = FramePool(count: 64)
        let device = try Device()
        try device.interface.delete()
        #expect(try transmit([testFrame(60), testFrame(60)], on: &device.link, pool: pool) == 2)
        #expect(device.link.state == .gone)
        #expect(device.link.counters.transmitted.drops[.linkDown] == 2)
        #expect(receive(1, on: &device.link, pool: pool, patience: 2).isEmpty)
        #expect(device.link.prepareToSleep(for: LinkWish()).descriptor == -1)
        #expect(device.link.refresh() == false)
        #expect(pool.freeCount == 64)
    }

    @Test func `A device that is deleted while nothing is sent is found out by asking`() throws {
        let device = try Device()
        try device.interface.delete()
        #expect(device.link.refresh() == true)
        #expect(device.link.state == .gone)
    }

    @Test func `A device that is down drops and counts, and passes frames when it is up again`() throws {
        let pool = FramePool(count: 64)
        let device = try Device()
        try device.interface.setDown()
        #expect(try transmit([testFrame(60)], on: &device.link, pool: pool) == 1)
        #expect(device.link.counters.transmitted.drops[.linkDown] == 1)
        #expect(device.link.state == .down)
        try device.interface.setUp()
        #expect(device.link.refresh() == true)
        #expect(device.link.state == .up)
        #expect(try transmit([testFrame(60)], on: &device.link, pool: pool) == 1)
        #expect(device.link.counters.transmitted.frames == 1)
        #expect(try device.interface.statistic("rx_packets") == 1)
    }

    @Test func `Runts, frames that are too long and those that nobody could finish are dropped and counted`() throws {
        let pool = FramePool(count: 64, capacity: 4096)
        let device = try Device()
        var burst = pool.makeBurst()
        for length in [13, 0, 1519, 60] {
            burst.append(try blankFrame(length, of: pool))
        }
        var frame = try blankFrame(60, of: pool)
        frame.offload = .checksumPartial
        burst.append(frame)
        #expect(device.link.transmit(&burst) == 5)
        let drops = device.link.counters.transmitted.drops
        #expect((drops[.runt], drops[.oversize], drops[.malformed]) == (2, 1, 1))
        #expect(device.link.counters.transmitted.frames == 1)
        #expect(pool.freeCount == 64)
    }

    @Test func `Longer frames pass as soon as the MTU has been raised`() throws {
        let pool = FramePool(count: 64, capacity: 16_384)
        let device = try Device()
        #expect(device.link.properties.mtu == 1500)
        try transmit([testFrame(5000)], on: &device.link, pool: pool)
        #expect(device.link.counters.transmitted.drops[.oversize] == 1)
        try device.interface.setMTU(9000)
        #expect(device.link.refresh() == true)
        #expect(device.link.properties.mtu == 9000)
        try transmit([testFrame(5000)], on: &device.link, pool: pool)
        #expect(device.link.counters.transmitted.frames == 1)
        try device.interface.setMTU(1000)
        #expect(device.link.refresh() == true)
        try transmit([testFrame(1400)], on: &device.link, pool: pool)
        #expect(device.link.counters.transmitted.drops[.oversize] == 2)
    }

    @Test func `A frame that came too long for the pool's frames is dropped and counted`() throws {
        let pool = FramePool(count: 64, capacity: 512)
        let device = try Device()
        try device.interface.add(address: "10.99.2.1/24")
        try device.interface.add(neighbour: "10.99.2.2", at: "02:00:00:00:00:77")
        var station = Station(10, 99, 2, 2)
        let ping = try device.namespace.start(
            "ping", "-q", "-c", "3", "-i", "0.01", "-W", "1", "-s", "1000", "10.99.2.2")
        _ = try serve(&device.link, as: &station, pool: pool, until: ping)
        #expect(device.link.counters.received.drops[.oversize] == 3)
        #expect(station.answered == 0)
        #expect(pool.freeCount == 64)
    }

    @Test func `An empty pool leaves frames in the device`() throws {
        let pool = FramePool(count: 2)
        let device = try Device()
        try device.interface.add(address: "10.99.3.1/24")
        try device.interface.add(neighbour: "10.99.3.2", at: "02:00:00:00:00:77")
        _ = try device.namespace.run("ping", "-q", "-c", "4", "-i", "0.002", "-W", "0.01", "10.99.3.2")
        var burst = pool.makeBurst()
        var other = pool.makeBurst()
        #expect(device.link.receive(into: &burst) == 2)
        #expect(device.link.receive(into: &other) == 0)
        burst.removeAll()
        #expect(device.link.receive(into: &other) == 2)
    }

    @Test func `Who asks for a queue that somebody has is told so, and several queues are for several`() throws {
        let namespace = try Namespace()
        let device = try Device(in: namespace)
        #expect(throws: LinkError.queueInUse(link: "tap:" + device.interface.name)) {
            _ = try namespace.inside { try Holder(TAPLink(device.interface.name)) }
        }
        var options = TAPLink.Options()
        options.isMultiqueue = true
        let error = #expect(throws: LinkError.self) {
            _ = try namespace.inside { try Holder(TAPLink(device.interface.name, options: options)) }
        }
        #expect(error?.description.contains("several queues") == true)

        let first = try Device(options, in: namespace)
        let second = try namespace.inside { try Holder(TAPLink(first.interface.name, options: options)) }.take()
        #expect(second.name == first.link.name)
    }

    @Test func `Names that cannot be and devices that are none say so`() throws {
        let long = #expect(throws: LinkError.self) { _ = try Holder(TAPLink("a-name-of-17-bytes")) }
        #expect(long?.description.contains("15 bytes") == true)
        let other = #expect(throws: LinkError.self) { _ = try Holder(TAPLink("lo")) }
        #expect(other?.description.contains("opened as a TAP") == true)
    }

    @Test func `A persistent device stays, and opens again`() throws {
        let namespace = try Namespace()
        var options = TAPLink.Options()
        (options.isPersistent, options.owner) = (true, getuid())
        let name = Rig.uniqueName("t")
        for _ in 0..<2 {
            let link = try namespace.inside { try Holder(TAPLink(name, options: options)) }.take()
            #expect(link.name == "tap:" + name)
        }
        #expect(try Interface(name: name, in: namespace).attribute("mtu") == "1500")
    }
}

/// Carries a link through closures and throwing calls, which take only what can be copied.
final class Holder<Held: ~Copyable>: @unchecked Sendable {
    private var held: Held?

    init(_ held: consuming Held) { self.held = consume held }

    func take() -> Held {
        var out: Held?
        swap(&out, &held)
        return out!
    }
}
