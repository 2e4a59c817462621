// An XDP link with the kernel at the other end of a veth: its ping, its UDP and TCP, and what it counts.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(.enabled(if: xdpRuns, xdpNeeds), .serialized) struct XDPLinkTests {
    let here: Namespace
    let there: Namespace
    let pair: VethPair

    init() throws {
        here = try Namespace()
        there = try Namespace()
        pair = try VethPair(left: here, right: there)
        try pair.right.add(address: "10.9.0.2/24")
    }

    @Test(
        "the kernel's ping is answered, natively and through packet buffers",
        arguments: [XDPOptions.Attachment.native, .generic])
    func ping(attachment: XDPOptions.Attachment) throws {
        var options = XDPBench.small
        options.attachment = attachment
        let bench = try XDPBench.open(pair.left, options: options)
        #expect(bench.interface?.isNative == (attachment == .native))
        #expect(!bench.isZeroCopy)
        let result = try bench.answering(as: [10, 9, 0, 1]) {
            try there.run("ping", "-n", "-c", "20", "-i", "0.01", "-W", "2", "-s", "1400", "10.9.0.1")
        }
        #expect(result.output.contains("20 received"), "\(result.output)\(result.errors)")
        let counters = bench.counters
        #expect(counters.received.frames >= 21 && counters.transmitted.frames >= 21)
        #expect(counters.received.drops.total == 0 && counters.transmitted.drops.total == 0)
        #expect(bench.accounted == bench.pool.count)
    }

    @Test("frames are received in order and whole, of every length, many times around the rings")
    func received() throws {
        let receiver = try XDPBench.open(pair.left)
        let sender = try XDPBench.open(pair.right)
        var out = sender.pool.makeBurst()
        var into = receiver.pool.makeBurst()
        var next = 0
        for round in 0..<200 {
            let count = round % 50 + 1
            for number in 0..<count {
                try out.append(Frames.numbered(round * 100 + number, length: 22 + (round * 37 + number * 11) % 1490))
            }
            #expect(sender.link.transmit(&out) == count)
            var got = 0
            try receiver.until("\(count) frames came", { got == count }) {
                guard receiver.link.receive(into: &into) > 0 else {
                    receiver.link.sleep()
                    return
                }
                while let frame = into.popFirst() {
                    let bytes = frame.array
                    let expected = Frames.numbered(
                        round * 100 + got, length: 22 + (round * 37 + got * 11) % 1490)
                    try #require(bytes == expected, "round \(round), frame \(got)")
                    #expect(frame.headroom >= FramePool.defaultHeadroom)
                    got += 1
                    next += 1
                }
            }
        }
        #expect(receiver.counters.received.frames == UInt64(next))
        #expect(receiver.counters.received.bytes == sender.counters.transmitted.bytes)
        #expect(sender.counters.transmitted.frames == UInt64(next))
        #expect(receiver.accounted == receiver.pool.count && sender.accounted == sender.pool.count)
        _ = sender.link.reclaim()
        #expect(sender.pool.freeCount == sender.pool.count - 64)
    }

    @Test("two kernels speak TCP and UDP through two links that exchange frames of one arena")
    func forwarded() throws {
        let far = try Namespace()
        let second = try VethPair(left: here, right: far)
        try second.right.add(address: "10.9.0.3/24")
        // The kernel leaves the checksums of what goes over a veth to hardware that is not there.
        try pair.right.set(offload: "tx", false)
        try second.right.set(offload: "tx", false)
        let bench = try XDPBench.open(pair.left, second.left)
        let server = try far.start("iperf3", "-s", "--forceflush")
        try server.writes("listening")
        try bench.forwarding {
            let tcp = try there.run("iperf3", "-c", "10.9.0.3", "-n", "16M", "-J")
            #expect(tcp.status == 0, "\(tcp.output)\(tcp.errors)")
            let udp = try there.run("iperf3", "-c", "10.9.0.3", "-u", "-b", "20M", "-n", "2M", "-J")
            #expect(udp.status == 0 && udp.output.contains("\"lost_packets\":\t0"), "\(udp.output)\(udp.errors)")
            let ping = try there.run("ping", "-n", "-c", "3", "-i", "0.01", "10.9.0.3")
            #expect(ping.output.contains("3 received"), "\(ping.output)")
        }
        #expect(bench.counters.received.bytes > 16 << 20)
        #expect(bench.otherCounters.received.frames > 1000)
        #expect(bench.accounted == bench.pool.count)
    }

    @Test("steered ports arrive here, and all else goes on to the kernel")
    func steered() throws {
        try pair.left.add(address: "10.9.0.1/24")
        var options = XDPBench.small
        options.steering = XDPSteering([.ports(7000...7009, of: .udp, at: nil)])
        let bench = try XDPBench.open(pair.left, options: options)
        try pair.right.set(offload: "tx", false)
        let server = try here.start("iperf3", "-s", "--forceflush")
        try server.writes("listening")
        var seen = 0
        try bench.answering(as: [10, 9, 0, 1], seen: { _ in seen += 1 }) {
            let ping = try there.run("ping", "-n", "-c", "3", "-i", "0.01", "10.9.0.1")
            #expect(ping.output.contains("3 received"), "\(ping.output)")
            let tcp = try there.run("iperf3", "-c", "10.9.0.1", "-n", "1M")
            #expect(tcp.status == 0, "\(tcp.output)\(tcp.errors)")
        }
        #expect(bench.counters.received.frames == 0 && seen == 0)
        try bench.answering(as: [10, 9, 0, 1]) {
            let echo = try udpEcho(from: there, to: "10.9.0.1", port: 7005)
            #expect(echo == "steered")
        }
        #expect(bench.counters.received.frames == 1 && bench.counters.transmitted.frames == 1)
    }

    @Test("an address that is the link's alone comes with its ARP, and the kernel's own goes on working")
    func steeredAddress() throws {
        try pair.left.add(address: "10.9.0.1/24")
        var options = XDPBench.small
        options.steering = XDPSteering([.address(IPAddress("10.9.0.77")!)])
        let bench = try XDPBench.open(pair.left, options: options)
        try bench.answering(as: [10, 9, 0, 77]) {
            for address in ["10.9.0.77", "10.9.0.1"] {
                let ping = try there.run("ping", "-n", "-c", "3", "-i", "0.01", address)
                #expect(ping.output.contains("3 received"), "\(ping.output)")
            }
        }
        #expect(bench.counters.received.frames >= 4)
        #expect(bench.counters.received.frames <= 8, "the kernel's frames came here")
    }

    @Test("each queue has a link, they share one program, and it goes with the last of them")
    func queues() throws {
        let wide = try VethPair(left: here, right: there, queues: 2)
        let first = try XDPBench.open(wide.left, queue: 0)
        do {
            let second = try XDPBench.open(wide.left, queue: 1)
            #expect(second.interface === first.interface)
            #expect(try isAttached(wide.left))
        }
        #expect(try isAttached(wide.left))
        let both = try XDPBench.open(wide.left, pair.left, queues: (1, 0))
        #expect(both.otherInterface !== first.interface)
    }

    @Test("links over one arena register it once, or each for itself where the kernel will not share it")
    func sharedArena() throws {
        let wide = try VethPair(left: here, right: there, queues: 2)
        let bench = try XDPBench.open(wide.left, wide.left, queues: (0, 1))
        #expect(bench.accounted == bench.pool.count)
        var options = XDPBench.small
        options.copying = .always
        let copying = try XDPBench.open(pair.left, options: options)
        #expect(copying.accounted == copying.pool.count)
    }

    @Test("checksums are taken as right only if that was asked for", arguments: [false, true])
    func checksums(trusted: Bool) throws {
        var options = XDPBench.small
        options.trustsChecksums = trusted
        let bench = try XDPBench.open(pair.left, options: options)
        #expect(bench.properties.capabilities.contains(.receiveChecksum) == trusted)
        let sender = try XDPBench.open(pair.right)
        var burst = sender.pool.makeBurst()
        try burst.append(Frames.numbered(1))
        _ = sender.link.transmit(&burst)
        var into = bench.pool.makeBurst()
        try bench.until("a frame came", { !into.isEmpty }) {
            if bench.link.receive(into: &into) == 0 { bench.link.sleep() }
        }
        guard let frame = into.popFirst() else { throw Failed("no frame came") }
        let isVerified = frame.offload.contains(.checksumVerified)
        #expect(isVerified == trusted)
    }

    @Test("busy polling brings the frames without anybody sleeping")
    func busyPolling() throws {
        var options = XDPBench.small
        options.busyPolling = XDPOptions.BusyPolling()
        let bench = try XDPBench.open(pair.left, options: options)
        let sender = try XDPBench.open(pair.right)
        var burst = sender.pool.makeBurst()
        var into = bench.pool.makeBurst()
        for number in 0..<1000 {
            try burst.append(Frames.numbered(number))
            _ = sender.link.transmit(&burst)
            while bench.link.receive(into: &into) == 0 {}
            let bytes = try into.popBytes()
            try #require(Frames.number(of: bytes) == number)
        }
    }

    @Test("a link that was busy wakes who sleeps on it again, also while others transmit")
    func afterBusyTimes() throws {
        let bench = try XDPBench.open(pair.left)
        let sender = try XDPBench.open(pair.right)
        try sender.comesUp()
        try bench.comesUp()
        var burst = bench.pool.makeBurst()
        func isReadable(_ descriptor: Int32, within milliseconds: Int32) -> Bool {
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            return unsafe poll(&wait, 1, milliseconds) > 0
        }
        // Until all has been said about the interface: that wakes as well.
        try bench.until(
            "the interface is left alone",
            {
                _ = bench.link.prepareToSleep(for: LinkWish())
                defer { bench.link.wokeUp() }
                return !isReadable(bench.sleepDescriptor, within: 50)
            }, {})
        for number in 0..<3 {
            for _ in 0..<1000 { _ = bench.link.receive(into: &burst) }
            // Nobody sleeps, and so nothing watches the socket: it is this that spares each frame a wake-up.
            try sender.transmits(number)
            #expect(!isReadable(bench.sleepDescriptor, within: 0))
            #expect(try bench.receivesNumbers(1) == [number])
            for _ in 0..<1000 { _ = bench.link.receive(into: &burst) }
            let sleep = bench.link.prepareToSleep(for: LinkWish())
            #expect(!sleep.isReady && !isReadable(sleep.descriptor, within: 0))
            for other in 0..<200 {
                try bench.transmits(other)
                if other % 32 == 0 { _ = bench.link.reclaim() }
            }
            try sender.transmits(100 + number)
            #expect(isReadable(sleep.descriptor, within: 10_000), "it sleeps on")
            bench.link.wokeUp()
            #expect(try bench.receivesNumbers(1) == [100 + number])
        }
    }

    @Test("a link says what its interface is")
    func properties() throws {
        try pair.left.set(linkAddress: "02:00:00:00:00:42")
        let bench = try XDPBench.open(pair.left)
        let (name, properties, state) = (bench.link.name, bench.properties, bench.link.state)
        #expect(name == "xdp:\(pair.left.name)/0" && state == .up)
        #expect(properties.macAddress == MACAddress("02:00:00:00:00:42") && properties.mtu == 1500)
        #expect(properties.capabilities.contains(.zeroCopy))
        #expect(properties.capabilities.isDisjoint(with: [.segmentation, .transmitChecksum, .receiveChecksum]))
    }

    private func isAttached(_ interface: Interface) throws -> Bool {
        try Program.run("ip", "-n", here.name, "-d", "link", "show", interface.name).output.contains("prog/xdp")
    }
}

/// Sends a datagram from a socket in a namespace and returns what comes back.
func udpEcho(from namespace: Namespace, to address: String, port: UInt16, text: String = "steered") throws -> String {
    try namespace.inside {
        let socket = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(socket) }
        var to = sockaddr_in()
        to.sin_family = sa_family_t(AF_INET)
        to.sin_port = port.bigEndian
        unsafe inet_pton(AF_INET, address, &to.sin_addr)
        let connected = unsafe withUnsafePointer(to: &to) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw Failed("connect: errno \(errno)") }
        let bytes = Array(text.utf8)
        guard unsafe send(socket, bytes, bytes.count, 0) == bytes.count else { throw Failed("send: errno \(errno)") }
        var wait = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&wait, 1, 5000) == 1 else { return "nothing" }
        var buffer = [UInt8](repeating: 0, count: 2048)
        let count = unsafe recv(socket, &buffer, buffer.count, 0)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }
}
