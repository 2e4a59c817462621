// Faults of XDP links: interfaces that go, rings that are full, privileges that lack, processes that are killed.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(.enabled(if: xdpRuns, xdpNeeds), .serialized) struct XDPFaultTests {
    let here: Namespace
    let there: Namespace
    let pair: VethPair

    init() throws {
        here = try Namespace()
        there = try Namespace()
        pair = try VethPair(left: here, right: there)
    }

    // MARK: Opening

    @Test("no such interface, no such queue, and a pool of the wrong shape are told with what to do")
    func wrongNames() throws {
        let name = pair.left.name
        #expect(throws: LinkError.noSuchInterface(link: "xdp:nowhere/0")) {
            _ = try XDPBench.open(Interface(name: "nowhere", in: here))
        }
        #expect {
            _ = try XDPBench.open(pair.left, queue: 1)
        } throws: { "\($0)".contains("has 1 queues") && "\($0)".contains("ethtool -l \(name)") }
        #expect {
            try here.inside {
                let heap = FramePool(count: 64)
                _ = try XDPLink(interface: name, pool: heap)
            }
        } throws: { "\($0)".contains("xdp:\(name)/0") && "\($0)".contains("arena") }
        // What was tried leaves nothing behind.
        _ = try XDPBench.open(pair.left)
    }

    @Test("options that cannot be are refused", arguments: ["ring", "frames", "vlan", "rules"])
    func wrongOptions(which: String) throws {
        var options = XDPBench.small
        switch which {
        case "ring": options.ringSize = 100
        case "frames": options.receiveFrames = 129
        case "vlan": options.steering = XDPSteering([], vlan: 4095)
        default: options.steering = XDPSteering((0..<501).map { .ports(UInt16($0)...UInt16($0), of: .tcp, at: nil) })
        }
        #expect { _ = try XDPBench.open(pair.left, options: options) } throws: {
            if case .invalid? = $0 as? LinkError { true } else { false }
        }
    }

    @Test("a link that must not copy is refused where the driver copies")
    func zeroCopy() throws {
        var options = XDPBench.small
        options.copying = .never
        #expect { _ = try XDPBench.open(pair.left, options: options) } throws: {
            if case .unsupported? = $0 as? LinkError { true } else { false }
        }
        // What was tried leaves nothing behind.
        _ = try XDPBench.open(pair.left)
    }

    @Test("an interface has one steering, and a second of another kind is refused while the first is open")
    func steeredOtherwise() throws {
        let wide = try VethPair(left: here, right: there, queues: 2)
        let first = try XDPBench.open(wide.left)
        var options = XDPBench.small
        options.steering = XDPSteering([.ports(80...80, of: .tcp, at: nil)])
        #expect { _ = try XDPBench.open(wide.left, queue: 1, options: options) } throws: {
            "\($0)".contains("other steering")
        }
        #expect(first.accounted == first.pool.count)
    }

    @Test("a queue that another process has is refused with what to do, and so is an interface with another program")
    func taken() async throws {
        let wide = try VethPair(left: here, right: there, queues: 2)
        let first = try XDPBench.open(wide.left)
        await #expect(processExitsWith: .success) {
            [namespace = here.name as String, name = wide.left.name as String] in
            enter(namespace)
            let pool = mappedPool(256)
            #expect {
                _ = try XDPLink(interface: name, queue: 0, pool: pool, options: XDPBench.small)
            } throws: { error in
                error as? LinkError == .queueInUse(link: "xdp:\(name)/0") && "\(error)".contains("another queue")
            }
            #expect {
                _ = try XDPLink(interface: name, queue: 1, pool: pool, options: XDPBench.small)
            } throws: { "\($0)".contains("another XDP program") && "\($0)".contains("ip link set dev \(name) xdp off") }
            #expect(pool.freeCount == 256)
        }
        #expect(first.accounted == first.pool.count)
    }

    /// Numbers of capabilities(7).
    static let capabilities = [("CAP_NET_RAW", 13), ("CAP_NET_ADMIN", 12), ("CAP_BPF", 39)]

    @Test("without a capability the error names it, and how to get it", arguments: [13, 12, 39])
    func privileges(number: Int) async throws {
        await #expect(processExitsWith: .success) {
            [namespace = here.name as String, name = pair.left.name as String, number = number as Int] in
            enter(namespace)
            // CAP_SYS_ADMIN stands for CAP_BPF, and for nothing else here.
            drop(capabilities: [number, 21])
            let lacking = XDPFaultTests.capabilities.first { $0.1 == number }!.0
            let pool = mappedPool(64)
            #expect {
                _ = try XDPLink(interface: name, pool: pool)
            } throws: { error in
                guard case .missingPrivilege(_, let privilege, _)? = error as? LinkError else { return false }
                return privilege.contains(lacking) && "\(error)".contains("setcap")
                    && "\(error)".contains(lacking.lowercased())
            }
            #expect(pool.freeCount == 64)
        }
    }

    @Test("where too little memory may be locked the error says how much, and how to raise the limit")
    func lockedMemory() async throws {
        await #expect(processExitsWith: .success) {
            [namespace = here.name as String, name = pair.left.name as String] in
            enter(namespace)
            var limit = rlimit(rlim_cur: 65_536, rlim_max: 65_536)
            #expect(unsafe setrlimit(__rlimit_resource_t(8), &limit) == 0)  // RLIMIT_MEMLOCK
            drop(capabilities: [14])  // CAP_IPC_LOCK
            let pool = mappedPool(1024)
            let wanted = LinkError.lockedMemoryLimit(link: "xdp:\(name)/0", needed: 2 << 20, limit: 65_536)
            #expect(throws: wanted) { _ = try XDPLink(interface: name, pool: pool) }
            #expect("\(wanted)".contains("ulimit -l 2048"))
        }
    }

    @Test(
        "a process without any privilege receives and transmits through a socket that it was given",
        arguments: [false, true])
    func givenSocket(isBound: Bool) async throws {
        try pair.right.add(address: "10.9.0.2/24")
        let ping = try there.start("ping", "-n", "-i", "0.05", "-w", "20", "10.9.0.1")
        await #expect(processExitsWith: .success) {
            [namespace = here.name as String, name = pair.left.name as String, isBound = isBound as Bool] in
            enter(namespace)
            do {
                let interface = try XDPInterface.open(name, options: XDPBench.small)
                try interface.attach()
                let pool = mappedPool(256)
                let socket = try isBound ? boundSocket(name, pool) : interface.makeSocket()
                #expect(setuid(65_534) == 0)
                var link = try XDPLink(
                    socket: socket, isBound: isBound, map: interface.map, interface: name, pool: pool,
                    options: XDPBench.small)
                var burst = pool.makeBurst()
                var answers = 0
                let address = link.properties.macAddress!.octets
                let own = (0..<6).map { address[$0] }
                for _ in 0..<1000 where answers < 10 {
                    if link.receive(into: &burst) == 0 { link.sleep() }
                    while let frame = burst.popFirst() {
                        guard let reply = answer(frame.array, as: [10, 9, 0, 1], at: own) else { continue }
                        var out = frame
                        out.write(reply)
                        var replies = pool.makeBurst()
                        replies.append(out)
                        answers += link.transmit(&replies)
                    }
                }
                #expect(answers >= 10)
            } catch {
                Issue.record(error)
            }
        }
        ping.signal()
        let output = try ping.ends().output
        #expect(!output.contains(" 0 received"), "\(output)")
    }

    // MARK: Ending

    @Test("of a killed process nothing is left: the program is gone, the interface works, the queue is free")
    func killed() async throws {
        try pair.left.add(address: "10.9.0.1/24")
        try pair.right.add(address: "10.9.0.2/24")
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [namespace = here.name as String, name = pair.left.name as String] in
            enter(namespace)
            let pool = mappedPool(256)
            let link = try XDPLink(interface: name, pool: pool, options: XDPBench.small)
            // The kernel gets nothing now; if it did, the test would prove nothing.
            let ping = try Program.run("ip", "-d", "link", "show", name)
            guard ping.output.contains("prog/xdp"), link.state == .up else { exit(1) }
            kill(getpid(), SIGKILL)
        }
        let ping = try there.run("ping", "-n", "-c", "3", "-i", "0.01", "-W", "2", "10.9.0.1")
        #expect(ping.output.contains("3 received"), "\(ping.output)")
        let shown = try Program.run("ip", "-n", here.name, "-d", "link", "show", pair.left.name).output
        #expect(!shown.contains("prog/xdp"), "\(shown)")
        _ = try XDPBench.open(pair.left)
    }

    @Test("when a link is closed the interface is the kernel's again, and every frame the pool's")
    func closed() throws {
        try pair.left.add(address: "10.9.0.1/24")
        try pair.right.add(address: "10.9.0.2/24")
        for _ in 0..<5 {
            let bench = try XDPBench.open(pair.left)
            var burst = bench.pool.makeBurst()
            for number in 0..<64 { try burst.append(Frames.numbered(number)) }
            _ = bench.link.transmit(&burst)
            #expect(bench.link.framesWithKernel > 64)
            // The pool traps if a frame is missing when it goes.
        }
        let ping = try there.run("ping", "-n", "-c", "3", "-i", "0.01", "-W", "2", "10.9.0.1")
        #expect(ping.output.contains("3 received"), "\(ping.output)")
    }

    // MARK: Interfaces that change

    @Test("an interface that goes down drops and counts, wakes who sleeps, and works again when it is up")
    func downAndUp() throws {
        let bench = try XDPBench.open(pair.left)
        let peer = try XDPBench.open(pair.right)
        try pair.left.setDown()
        try bench.until("the link is down", { bench.state == .down })
        try bench.transmits(1)
        #expect(bench.counters.transmitted.drops[.linkDown] == 1)
        try pair.left.setUp()
        try bench.until("the link is up", { bench.state == .up })
        try bench.transmits(2)
        #expect(try peer.receivesNumbers(1) == [2])
        #expect(bench.accounted == bench.pool.count)
    }

    @Test("a transmitter that never sleeps notices by itself that its interface is down, and that it is up again")
    func downWhileTransmitting() throws {
        let bench = try XDPBench.open(pair.left)
        var burst = bench.pool.makeBurst()
        try pair.left.setDown()
        try burst.append(Frames.numbered(1))
        #expect(bench.link.transmit(&burst) == 1)
        #expect(bench.state == .down)
        try pair.left.setUp()
        var calls = 0
        while bench.state != .up, calls < 1_000_000 {
            try burst.append(Frames.numbered(2))
            _ = bench.link.transmit(&burst)
            calls += 1
        }
        #expect(bench.state == .up)
        #expect(bench.counters.transmitted.drops[.linkDown] > 0)
        #expect(bench.accounted == bench.pool.count)
    }

    @Test("when the peer of a veth is removed the link is gone, its frames come back, and nobody is woken for it again")
    func peerRemoved() throws {
        let bench = try XDPBench.open(pair.left)
        try pair.right.delete()
        try bench.until("the link is gone", { bench.state == .gone })
        var burst = bench.pool.makeBurst()
        try burst.append(Frames.numbered(1))
        #expect(bench.link.transmit(&burst) == 1)
        #expect(bench.counters.transmitted.drops[.linkDown] == 1)
        #expect(bench.link.receive(into: &burst) == 0)
        #expect(bench.accounted == bench.pool.count)
        #expect(!bench.link.refresh() && bench.state == .gone)
        let sleep = bench.link.prepareToSleep(for: LinkWish(frames: 1, room: 0))
        #expect(sleep.descriptor == -1 && !sleep.isReady)
    }

    @Test("when the MTU changes, what is too long for it is dropped and counted")
    func mtuChanged() throws {
        let bench = try XDPBench.open(pair.left)
        let peer = try XDPBench.open(pair.right)
        var burst = bench.pool.makeBurst()
        try pair.left.setMTU(600)
        try bench.until("the MTU is 600", { bench.properties.mtu == 600 })
        for (number, length) in [(1, 618), (2, 619), (3, 1514), (4, 64)] {
            try burst.append(Frames.numbered(number, length: length))
        }
        #expect(bench.link.transmit(&burst) == 4)
        #expect(bench.counters.transmitted.drops[.oversize] == 2 && bench.counters.transmitted.frames == 2)
        try pair.left.setMTU(1500)
        try bench.until("the MTU is 1500", { bench.properties.mtu == 1500 })
        try bench.transmits(5, length: 1514)
        #expect(try peer.receivesNumbers(3) == [1, 4, 5])
    }

    @Test(
        "an MTU that the driver cannot do natively is done through packet buffers, and what does not fit a frame is counted"
    )
    func largeMTU() throws {
        let large = try VethPair(left: here, right: there, mtu: 9000)
        var options = XDPBench.small
        options.attachment = .native
        #expect(throws: LinkError.self) { _ = try XDPBench.open(large.left, options: options) }
        let bench = try XDPBench.open(large.left)
        #expect(bench.interface?.isNative == false)
        try large.right.add(address: "10.9.1.2/24")
        try large.right.add(neighbour: "10.9.1.1", at: "02:00:00:00:00:01")
        _ = try there.run("ping", "-n", "-c", "3", "-i", "0.01", "-W", "1", "-s", "4000", "-M", "do", "10.9.1.1")
        _ = bench.link.refresh()
        #expect(bench.counters.received.drops[.oversize] == 3)
        #expect(bench.counters.received.frames == 0)
    }

    // MARK: Strange frames

    @Test(
        "runts are dropped and counted, garbage passes as it is, and a frame that fills its slot is no more than that")
    func strangeFrames() throws {
        let bench = try XDPBench.open(pair.left)
        let peer = try XDPBench.open(pair.right)
        var burst = bench.pool.makeBurst()
        for length in [0, 1, 13, 14, 60, 1518, 1519, 1920] {
            guard var frame = bench.pool.take() else { throw Failed("no frame") }
            frame.setLength(length)
            burst.append(frame)
        }
        #expect(bench.link.transmit(&burst) == 8)
        let drops = bench.counters.transmitted.drops
        #expect(drops[.runt] == 3 && drops[.oversize] == 2 && drops.total == 5)
        #expect(bench.counters.transmitted.frames == 3)
        var random = SystemRandomNumberGenerator()
        var sent: [[UInt8]] = []
        for _ in 0..<60 {
            let bytes = (0..<Int.random(in: 14...1514, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            sent.append(bytes)
            try burst.append(bytes)
        }
        _ = bench.link.transmit(&burst)
        let received = try peer.receives(63)
        #expect(received[..<3].map(\.count) == [14, 60, 1518])
        #expect(received[3...].elementsEqual(sent))
        _ = bench.link.refresh()
        #expect(bench.counters.transmitted.drops.total == 5)
        #expect(bench.accounted == bench.pool.count)
    }
}

// MARK: In another process

private func enter(_ namespace: String) {
    let result = unsafe martlet_thread_enter_namespace("/run/netns/\(namespace)")
    precondition(result == 0, "setns: errno \(-result)")
}

/// Gives up capabilities of the calling thread, by their numbers (capset(2), version 3).
private func drop(capabilities numbers: [Int]) {
    typealias Call = @convention(c) (UnsafeMutablePointer<UInt32>, UnsafeMutablePointer<UInt32>) -> Int32
    func call(_ name: String) -> Call { unsafe unsafeBitCast(dlsym(nil, name)!, to: Call.self) }
    var header: [UInt32] = [0x2008_0522, 0]
    // Effective, permitted and inheritable, of the first 32 and of the rest.
    var sets = [UInt32](repeating: 0, count: 6)
    precondition(unsafe call("capget")(&header, &sets) == 0)
    for number in numbers {
        for set in 0..<3 { sets[number / 32 * 3 + set] &= ~(1 << UInt32(number % 32)) }
    }
    precondition(unsafe call("capset")(&header, &sets) == 0)
}

/// A socket that is bound to queue 0, with a pool's arena as its UMEM, as another process might have made it.
private func boundSocket(_ interface: String, _ pool: borrowing FramePool) throws -> Int32 {
    let socket = martlet_xdp_socket()
    var seen = martlet_interface()
    guard unsafe martlet_interface_look(-1, interface, &seen) == 0,
        unsafe martlet_xdp_register(socket, pool.arena, UInt64(pool.slotCount * 2048), 2048) == 0
    else { throw Failed("no socket") }
    for ring in 0..<4 {
        guard martlet_xdp_set_ring_size(socket, Int32(ring), UInt32(XDPBench.small.ringSize)) == 0 else {
            throw Failed("no ring")
        }
    }
    let flags = UInt16(MARTLET_XDP_BIND_NEED_WAKEUP)
    guard martlet_xdp_bind(socket, seen.index, 0, 0, flags) == 0 else { throw Failed("not bound") }
    return socket
}
