// What goes wrong inside of a runtime with a stack: handlers that never read, tables and pools that are used up, and an end with
// ten thousand connections in every state. All of it over the loopback of the stack, which needs no privilege.

import Glibc
import MartletSimulation
import Testing

@testable import Martlet
@testable import MartletStack

/// A runtime over its own stack, and looks into it.
struct StackScene: Sendable {
    let runtime: Runtime
    var core: Core { runtime.cores[0] }

    /// What a stack holds. All of it is back where it was when nothing is open any more.
    struct Holdings: Equatable, Sendable {
        var sockets = 0
        var connections = 0
        var halfOpen = 0
        var listeners = 0
        var ringBytes = 0
        var freeSlabs = 0
        var slabs = 0
    }

    static func play(
        deadline: Int = 60, _ change: @escaping @Sendable (inout Runtime.Configuration) -> Void = { _ in },
        _ body: @escaping @Sendable (StackScene) async throws -> Void
    ) async throws {
        try await within(seconds: deadline) {
            var configuration = Runtime.Configuration(transport: .stack([]), cores: .count(1), logger: nil)
            configuration.pinsThreads = false
            change(&configuration)
            try await Runtime.run(configuration) { try await body(StackScene(runtime: $0)) }
        }
    }

    func look<R: Sendable>(_ body: @escaping @Sendable (borrowing Stack) -> R) async -> R {
        let core = core
        return await core.perform { unsafe body(core.transport.driver.stack!.pointee.stack) }
    }

    func eventually(
        _ what: String, patience: Int = 20_000, every pause: Duration = .milliseconds(1),
        because reason: (@Sendable (borrowing Stack) -> String)? = nil,
        _ condition: @escaping @Sendable (borrowing Stack) -> Bool
    ) async throws {
        for _ in 0..<patience {
            if await look(condition) { return }
            try await core.sleep(for: pause)
        }
        let why = if let reason { await look(reason) } else { "" }
        throw Failed("never happened: \(what). \(why)")
    }

    var holdings: Holdings {
        get async {
            let core = core
            return await core.perform {
                let transport = core.transport
                var holdings = unsafe transport.driver.stack!.pointee.stack.holdings
                holdings.sockets = transport.sockets.inUse
                (holdings.freeSlabs, holdings.slabs) = (transport.slabs.available, transport.slabs.count)
                return holdings
            }
        }
    }

    /// The frames of the core's pool: those that nobody has, and all.
    var frames: (free: Int, all: Int) {
        get async throws {
            let core = core
            return try await core.perform { try core.withFramePool { ($0.freeCount, $0.count) } }
        }
    }

    /// Waits until everything that was taken is back.
    func nothingIsHeld() async throws {
        var last = Holdings()
        for _ in 0..<10_000 {
            last = await holdings
            var clean = Holdings()
            (clean.freeSlabs, clean.slabs) = (last.slabs, last.slabs)
            if last == clean { return }
            try await core.sleep(for: .milliseconds(1))
        }
        throw Failed("something is held still: \(last)")
    }
}

extension Stack {
    var holdings: StackScene.Holdings {
        StackScene.Holdings(
            connections: connectionCount, halfOpen: tcp.halfOpenCount, listeners: tcp.listenerCount,
            ringBytes: tcp.ringBytesTaken)
    }
}

@Suite("Faults of a runtime over its own stack", .serialized)
struct StackFaultTests {
    /// The windows of the connections to port 1.
    private static func windows(_ stack: borrowing Stack) -> [Int] {
        var windows: [Int] = []
        for slot in 0..<UInt32(stack.tcp.table.touched) {
            let tcb = stack.tcp.table[slot]
            if tcb.state == .established, tcb.tuple.localPort == 1 { windows.append(Int(tcb.rcv.wnd)) }
        }
        return windows
    }

    @Test("a thousand connections whose handlers never read hold no more than their windows, and nobody else up")
    func neverReads() async throws {
        let count = 1000
        let limit = 48 << 20
        try await StackScene.play { configuration in
            configuration.stackLimits.tcp.ringMemory = limit
        } _: { scene in
            let core = scene.core
            var options = ConnectionOptions()
            (options.receiveLimit, options.sendLimit) = (4096, 16_384)
            (options.kernelReceiveBuffer, options.kernelSendBuffer) = (16_384, 16_384)
            let bounds = options
            let message = Bytes(stream(from: 0, count: 1 << 20))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await scene.runtime.serve(on: .loopback(port: 1), options: bounds) { connection in
                        // It is called, and does something else until it is cancelled.
                        try await connection.core.sleep(for: .seconds(3600))
                    }
                }
                group.addTask { try await scene.runtime.serve(on: .loopback(port: 2), handler: echo) }
                try await scene.eventually("both listen") { $0.holdings.listeners == 2 }
                group.addTask {
                    try await core.onCore {
                        try await withThrowingDiscardingTaskGroup { clients in
                            for _ in 0..<count {
                                clients.addTask {
                                    try await core.withConnection(to: .loopback(port: 1), options: bounds) {
                                        try await $0.send(message)
                                        throw Failed("somebody has read a mebibyte")
                                    }
                                }
                            }
                        }
                    }
                }
                // Every window is closed as far as segments of a full size go, which the loopback makes as long as a frame.
                let segment = 2048
                try await scene.eventually(
                    "all windows are closed",
                    because: { stack in
                        let windows = Self.windows(stack)
                        return "\(windows.count) of \(windows.sorted()), \(stack.holdings), \(stack.counters.tcp)"
                    }
                ) { stack in
                    let windows = Self.windows(stack)
                    return windows.count == count && windows.allSatisfy { $0 < segment }
                }
                let held = await scene.holdings
                #expect(held.connections == 2 * count)
                // 16 KiB in the server's ring and 16 KiB in the client's each, and a bound for all of them.
                #expect(held.ringBytes <= min(limit, count * (16_384 + 16_384) * 2), "\(held)")
                // Of receive buffers each has what its limit is worth.
                #expect(held.slabs - held.freeSlabs <= 2 * count, "\(held)")
                try await core.withConnection(to: .loopback(port: 2), within: .seconds(5)) { other in
                    for number in 0..<200 {
                        let message = Bytes(stream(from: number, count: 1000))
                        try await other.send(message, within: .seconds(5))
                        var back = 0
                        while back < 1000 {
                            let bytes = try #require(try await other.receive(within: .seconds(5)))
                            #expect(firstDifference(Array(bytes), from: number + back) == nil)
                            back += bytes.count
                        }
                    }
                }
                group.cancelAll()
                do { try await group.waitForAll() } catch {}
            }
            try await scene.nothingIsHeld()
        }
    }

    @Test("a full table of connections refuses, harms nobody who is there, and takes new ones when some have gone")
    func fullTable() async throws {
        try await StackScene.play {
            $0.stackLimits.tcp.connections = 16
        } _: { scene in
            let core = scene.core
            try await core.onCore {
                let listener = try await core.listen(on: .loopback(port: 1))
                let gate = Gate()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<8 {
                        group.addTask {
                            try await core.withConnection(to: .loopback(port: 1)) { connection in
                                await gate.pass()
                                try await connection.send(Bytes([UInt8(number)]))
                            }
                        }
                    }
                    var accepted: [TCPConnection] = []
                    for _ in 0..<8 { accepted.append(try #require(try await listener.accept())) }
                    #expect(await scene.holdings.connections == 16)
                    await #expect(throws: NetworkError.limitReached("stackLimits.tcp.connections")) {
                        try await core.withConnection(to: .loopback(port: 1)) { _ in }
                    }
                    gate.open()
                    var seen: Set<UInt8> = []
                    for connection in accepted {
                        for try await bytes in connection { seen.formUnion(Array(bytes)) }
                        try await connection.close()
                    }
                    #expect(seen == Set(0..<8))
                    try await group.waitForAll()
                }
                try await scene.eventually("they are gone") { $0.connectionCount == 0 }
                async let last: Void = core.withConnection(to: .loopback(port: 1)) { try await $0.send("again") }
                let connection = try #require(try await listener.accept())
                #expect(try await connection.receive() == "again")
                try await connection.close()
                try await last
                await listener.close()
            }
            try await scene.nothingIsHeld()
        }
    }

    @Test("while there are no frames nothing moves and nothing breaks, and when they are back everything is finished")
    func noFrames() async throws {
        try await StackScene.play {
            $0.limits.framesPerCore = 512
        } _: { scene in
            let core = scene.core
            let total = 4 << 20
            try await core.onCore {
                let listener = try await core.listen(on: .loopback(port: 1))
                async let sent: Void = core.withConnection(to: .loopback(port: 1)) {
                    try await $0.send(Bytes(stream(from: 0, count: total)))
                }
                let connection = try #require(try await listener.accept())
                var received: [UInt8] = []
                while received.count < total / 4 { received += Array(try #require(try await connection.receive())) }
                // Somebody else has them all.
                let hoard = try await core.perform {
                    try core.withFramePool { pool in
                        var burst = pool.makeBurst(capacity: 512)
                        burst.appendFrames(pool.freeCount, length: 64)
                        return Holder(burst)
                    }
                }
                #expect(try await scene.frames.free == 0)
                // What was in the rings already is read, and then there is no more.
                while let bytes = try? await connection.receive(within: .milliseconds(50)) { received += Array(bytes) }
                #expect(received.count < total)
                let before = await scene.look { $0.counters.tcp.segmentsOut }
                // Longer than the timers of both ends are set to at first. The core goes on meanwhile, or this would never end.
                try await core.sleep(for: .milliseconds(600))
                #expect(
                    await scene.look { $0.counters.tcp.segmentsOut } == before, "a segment in a frame that nobody had")
                await core.perform { _ = hoard.take() }
                while let bytes = try await connection.receive(within: .seconds(10)) { received += Array(bytes) }
                expectSame(received, stream(from: 0, count: total))
                try await connection.close()
                try await sent
                await listener.close()
            }
            try await scene.nothingIsHeld()
            let frames = try await scene.frames
            #expect(frames.free == frames.all, "frames are lost")
        }
    }
}
