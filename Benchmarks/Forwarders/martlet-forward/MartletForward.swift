// martlet-forward: what forwarding between links in memory costs. One pinned thread receives from one link and transmits to
// another, as a program would write it, for so many seconds; the result is one JSON object.

import ArgumentParser
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
    /// The same through captures that are off.
    case captured
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
        help: """
            null, any, captured, memory, cores or switch; or of links of the kernel's, transmit, receive, capture or idle.
            """)
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

    @Option(help: "AF_XDP: frames that a call may take from the driver by itself; 0 leaves that to interrupts.")
    var busyBudget = 0

    @Option(help: "The file of a capture.")
    var file = "/dev/null"

    @Flag(help: "Counts instructions of some turns, under callgrind, instead of running for some seconds.")
    var instructions = false

    func validate() throws {
        let wanted = links == .idle ? 2 : [.transmit, .receive, .capture].contains(links) ? 1 : 0
        guard link.count == wanted else { throw ValidationError("--link is to be given \(wanted) times") }
        guard !instructions || peer_counts_instructions() != 0 else {
            throw ValidationError(
                "Instructions are for callgrind to count, and for what was built where valgrind is installed.")
        }
    }

    func run() throws {
        peer_pin(Int32(cpu))
        let result =
            switch links {
            case .null: null()
            case .any: any()
            case .captured: try captured()
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

    func stopwatch() -> Stopwatch {
        let name = ([links.rawValue] + link + (mode == .io ? [] : [mode.rawValue])).joined(separator: " ")
        // Whoever keeps to a rate counts from the first frame.
        return Stopwatch(
            seconds: seconds, warmUp: rate == nil ? 0.2 : 0,
            counting: instructions ? "\(name), in bursts of \(burst)" : nil)
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

    private func captured() throws -> Result {
        let pool = FramePool(count: frames)
        let output = try CaptureFile(path: file)
        var left = CaptureLink(NullLink(), to: output, isCapturing: false)
        var right = CaptureLink(NullLink(), to: output, isCapturing: false)
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
        for port in 0..<4 { bridge.addPort(Turning(port: port, addresses: 16, ports: 4)) }
        // Everybody is heard of once, so that nothing is flooded.
        for _ in 0..<64 { _ = bridge.forward() }
        for port in 0..<4 { bridge.ports[port].counters = LinkCounters() }
        var watch = stopwatch()
        var sum: UInt64 = 0
        repeat {
            for _ in 0..<256 { _ = bridge.forward() }
            sum = (0..<4).reduce(0) { $0 + bridge.ports[$1].counters.transmitted.frames }
        } while watch.goesOn(after: sum)
        return watch.result(sum)
    }

    private func forward<Left: Link & ~Copyable, Right: Link & ~Copyable>(
        _ left: inout Left, _ right: inout Right, _ pool: borrowing FramePool
    ) -> Result {
        var frames = pool.makeBurst(capacity: burst)
        var watch = stopwatch()
        switch mode {
        case .io:
            repeat {
                for _ in 0..<1024 {
                    _ = left.receive(into: &frames)
                    right.transmitOrDrop(&frames)
                    _ = right.receive(into: &frames)
                    left.transmitOrDrop(&frames)
                }
            } while watch.goesOn(after: left.counters.transmitted.frames + right.counters.transmitted.frames)
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
            } while watch.goesOn(after: left.counters.transmitted.frames + right.counters.transmitted.frames)
        }
        return watch.result(left.counters.transmitted.frames + right.counters.transmitted.frames)
    }
}

/// What a closure of a thread takes along.
final class Box<Value: ~Copyable>: @unchecked Sendable {
    var value: Value?

    init(_ value: consuming Value) { self.value = .some(value) }
}
