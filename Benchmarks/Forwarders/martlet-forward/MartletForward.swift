// martlet-forward: what forwarding between links in memory costs. One pinned thread receives from one link and transmits to
// another, as a program would write it, for so many seconds; the result is one JSON object.

import ArgumentParser
import Dispatch
import Foundation
import Glibc
import Martlet
import MartletStack
import PeerSupport

enum Links: String, ExpressibleByArgument, CaseIterable {
    /// Two null links, both ways: each frame is allocated, forwarded and freed.
    case null
    /// The same through `AnyLink`.
    case any
    /// Two pipes within one core, both ways, with frames that go around in them.
    case memory
    /// A pipe from one thread to another.
    case cores
    /// A switch of four ports, with 64 addresses behind them.
    case `switch`
    /// One link of the kernel's, in one direction.
    case transmit, receive
    /// What a packet socket receives, written to a file.
    case capture
    /// Two links of the kernel's, on which nothing happens.
    case idle
}

enum Mode: String, ExpressibleByArgument {
    case io
    case macswap
}

struct Result: Codable {
    var frames: UInt64
    var seconds: Double
    var framesPerSecond: Double
    /// Processor time of the process, as a share of one.
    var cpuShare: Double
    /// Frames that the link dropped, or that did not get into the file.
    var drops: UInt64 = 0
}

@main
struct MartletForward: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "martlet-forward")

    @Option(
        help: "null, any, memory, cores or switch; or of links of the kernel's, transmit, receive, capture or idle.")
    var links = Links.null

    @Option(help: "io or macswap.")
    var mode = Mode.io

    @Option(help: "Frames of a burst.")
    var burst = 32

    @Option(help: "Seconds to run.")
    var seconds = 1.0

    @Option(help: "Processor of the forwarding thread; a second thread's is the one after it.")
    var cpu = 0

    @Option(help: "Frames of the pool.")
    var frames = 8192

    @Option(help: "A link of the kernel's, as the tool calls it; twice for idle.")
    var link: [String] = []

    @Option(help: "Frames a second to transmit; as many as there is room for if there is none.")
    var rate: Double?

    @Option(help: "The file of a capture.")
    var file = "/dev/null"

    func validate() throws {
        let wanted = links == .idle ? 2 : [.transmit, .receive, .capture].contains(links) ? 1 : 0
        guard link.count == wanted else { throw ValidationError("--link is to be given \(wanted) times") }
    }

    func run() throws {
        peer_pin(Int32(cpu))
        let result =
            switch links {
            case .null: null()
            case .any: any()
            case .memory: memory()
            case .cores: try cores()
            case .switch: bridge()
            case .transmit: try transmit()
            case .receive: try receive()
            case .capture: try capture()
            case .idle: try idle()
            }
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        print(String(decoding: try encoder.encode(result), as: UTF8.self))
    }

    private func null() -> Result {
        let pool = FramePool(count: frames)
        var left = NullLink()
        var right = NullLink()
        return forward(&left, &right, pool)
    }

    private func any() -> Result {
        let pool = FramePool(count: frames)
        var left = AnyLink(NullLink())
        var right = AnyLink(NullLink())
        return forward(&left, &right, pool)
    }

    /// Each link receives what it transmits, as testpmd's net_ring ports do, so that the same frames go around for ever.
    private func memory() -> Result {
        let pool = FramePool(count: frames)
        var left = MemoryLink.loopback("left", pool: pool)
        var right = MemoryLink.loopback("right", pool: pool)
        var first = pool.makeBurst(capacity: burst)
        first.appendFrames(burst, length: 64)
        _ = left.transmit(&first)
        first.appendFrames(burst, length: 64)
        _ = right.transmit(&first)
        left.counters = LinkCounters()
        right.counters = LinkCounters()
        return forward(&left, &right, pool)
    }

    private func cores() throws -> Result {
        let arena = try FrameArena(count: frames)
        let pools = (Box(arena.makePool(share: frames / 2)), Box(arena.makePool()))
        let pipe = MemoryLink.pipe("cores", between: pools.0.value!, and: pools.1.value!)
        let ends = (Box(pipe.left), Box(pipe.right))
        let watch = Stopwatch(seconds: seconds)
        let (burst, cpu) = (burst, cpu)
        let producer = Thread {
            peer_pin(Int32(cpu))
            let pool = pools.0.value.take()!
            var link = ends.0.value.take()!
            var frames = pool.makeBurst(capacity: burst)
            while watch.isRunning {
                for _ in 0..<1024 {
                    frames.appendFrames(burst, length: 64)
                    _ = link.transmit(&frames)
                }
            }
        }
        producer.start()
        peer_pin(Int32(cpu + 1))
        let pool = pools.1.value.take()!
        var link = ends.1.value.take()!
        var frames = pool.makeBurst(capacity: burst)
        while link.state == .up {
            for _ in 0..<1024 {
                _ = link.receive(into: &frames)
                frames.removeAll()
            }
        }
        return watch.result(link.counters.received.frames)
    }

    /// Sixteen addresses behind each of four ports, every one sending to those behind the others in turn. The figure includes the
    /// making of the frames.
    private func bridge() -> Result {
        let pool = FramePool(count: frames)
        var limits = Switch.Limits()
        limits.burst = burst
        var bridge = Switch(ports: 4, pool: pool, limits: limits)
        for port in 0..<4 { bridge.addPort(Turning(port: port, addresses: 16, ports: 4, burst: burst)) }
        // Everybody is heard of once, so that nothing is flooded.
        for _ in 0..<64 { _ = bridge.forward() }
        for port in 0..<4 { bridge.ports[port].counters = LinkCounters() }
        let watch = Stopwatch(seconds: seconds)
        repeat {
            for _ in 0..<256 { _ = bridge.forward() }
        } while watch.isRunning
        return watch.result((0..<4).reduce(0) { $0 + bridge.ports[$1].counters.transmitted.frames })
    }

    private func forward<Left: Link & ~Copyable, Right: Link & ~Copyable>(
        _ left: inout Left, _ right: inout Right, _ pool: borrowing FramePool
    ) -> Result {
        var frames = pool.makeBurst(capacity: burst)
        let watch = Stopwatch(seconds: seconds)
        switch mode {
        case .io:
            repeat {
                for _ in 0..<1024 {
                    _ = left.receive(into: &frames)
                    right.transmitOrDrop(&frames)
                    _ = right.receive(into: &frames)
                    left.transmitOrDrop(&frames)
                }
            } while watch.isRunning
        case .macswap:
            repeat {
                for _ in 0..<1024 {
                    _ = left.receive(into: &frames)
                    frames.changeEach { $0.swapEthernetAddresses() }
                    right.transmitOrDrop(&frames)
                    _ = right.receive(into: &frames)
                    frames.changeEach { $0.swapEthernetAddresses() }
                    left.transmitOrDrop(&frames)
                }
            } while watch.isRunning
        }
        return watch.result(left.counters.transmitted.frames + right.counters.transmitted.frames)
    }
}

/// How long a run has gone on.
struct Stopwatch: Sendable {
    private let start = Stopwatch.now
    private let cpuAtStart = Stopwatch.cpu
    private let end: UInt64

    init(seconds: Double) { end = Stopwatch.now + UInt64(seconds * 1e9) }

    static var now: UInt64 { DispatchTime.now().uptimeNanoseconds }

    /// Processor time of the process so far.
    static var cpu: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Nanoseconds since the beginning.
    var elapsed: UInt64 { Stopwatch.now - start }

    var isRunning: Bool { Stopwatch.now < end }

    func result(_ frames: UInt64) -> Result {
        let elapsed = Double(Stopwatch.now - start) / 1e9
        return Result(
            frames: frames, seconds: elapsed, framesPerSecond: Double(frames) / elapsed,
            cpuShare: Double(Stopwatch.cpu - cpuAtStart) / 1e9 / elapsed)
    }
}

/// What a closure of a thread takes along.
final class Box<Value: ~Copyable>: @unchecked Sendable {
    var value: Value?

    init(_ value: consuming Value) { self.value = .some(value) }
}

/// A source of frames from some addresses to all others in turn, and a sink: hosts behind a port of a switch.
struct Turning: Link, ~Copyable {
    let name = "turning"
    let properties = LinkProperties()
    let state = LinkState.up
    var counters = LinkCounters()
    /// Who sends to whom, in turn. Prepared, so that what is measured is the switch and not the arithmetic of this.
    private let pairs: [(destination: UInt64, source: UInt64)]
    private var turn = 0

    init(port: Int, addresses: Int, ports: Int, burst: Int) {
        let total = addresses * ports
        let first: UInt64 = 0x0200_0000_0000
        pairs = (addresses..<total).flatMap { step in
            (0..<addresses).map { host in
                let source = port * addresses + host
                return (first + UInt64((source + step) % total), first + UInt64(source))
            }
        }
    }

    mutating func receive(into burst: inout Burst) -> Int {
        let count = burst.appendFrames(.max, length: 64)
        var turn = turn
        let pairs = pairs
        burst.changeEach { frame in
            turn = turn &+ 1 == pairs.count ? 0 : turn &+ 1
            frame.setEthernetAddresses(destination: pairs[turn].destination, source: pairs[turn].source)
        }
        self.turn = turn
        counters.received.count(count, bytes: count &* 64)
        return count
    }

    mutating func transmit(_ burst: inout Burst) -> Int {
        let count = burst.count
        counters.transmitted.count(count, bytes: burst.byteCount)
        burst.removeAll()
        return count
    }

    mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep { .ready }
}
