// Whole programs in virtual time: hosts with their runtimes, handlers and clients on one thread, over a network with faults, all
// of it a function of a seed.
//
//     the body ─▶ hosts ─▶ runtimes ─▶ cores: a turn is a round ─▶ their stacks ─▶ ports ─▶ VirtualNetwork ─▶ ports ─▶ …
//
// What is not virtual: see Simulation.md. Must not know what the programs do.

internal import CMartlet
internal import Glibc
internal import Synchronization

/// Runs programs of several hosts in virtual time.
///
///     let run = try await Simulation.run(seed: 7) { world in
///         world.conditions = LinkConditions(latency: .milliseconds(20))
///         let server = world.host("server")
///         let client = world.host("client")
///         server.start { runtime in
///             try await runtime.serve(on: .any(port: 7)) { connection in
///                 for try await bytes in connection { try await connection.send(bytes) }
///             }
///         }
///         try await world.sleep(for: .milliseconds(1))
///         return try await client.run { runtime in
///             try await runtime.withConnection(to: "server", port: 7) { connection in … }
///         }
///     }
///
/// The programs are those that run for real: the same calls on the same runtime, over Martlet's own TCP/IP. Equal seeds give equal
/// runs: the same frames at the same instants.
public enum Simulation {
    /// Runs `body`, which makes hosts and runs programs on them, until it returns. Programs that were started and still run are
    /// cancelled then.
    ///
    /// - Parameters:
    ///   - seed: what everything random follows from.
    ///   - limit: of virtual time, after which the run has failed.
    /// - Throws: ``SimulationFailure`` with the seed, if `body` or a program that was started has thrown, if nothing can happen any
    ///   more although `body` has not returned, or if the time is up.
    @discardableResult
    public static func run<Value: Sendable>(
        seed: UInt64, limit: Duration = .seconds(3600), _ body: @escaping @Sendable (World) async throws -> Value
    ) async throws(SimulationFailure) -> SimulatedRun<Value> {
        let world = World(seed: seed, limit: limit)
        let outcome = world.prepare(body)
        let result = await withTaskCancellationHandler {
            unsafe await withUnsafeContinuation {
                (continuation: UnsafeContinuation<Result<SimulatedRun<Value>, SimulationFailure>, Never>) in
                onThreadOfItsOwn { unsafe continuation.resume(returning: world.run(outcome)) }
            }
        } onCancel: {
            world.isCancelled.store(true, ordering: .relaxed)
        }
        return try result.get()
    }

    /// Runs `body` with one seed after the other, until it fails with one. Returns that failure, or nil if there was none.
    ///
    /// `MARTLET_SEED=17` in the environment runs that seed alone: the one that an earlier search has found.
    public static func firstFailure(
        seeds: Range<UInt64>, limit: Duration = .seconds(3600),
        _ body: @escaping @Sendable (World) async throws -> Void
    ) async -> SimulationFailure? {
        var seeds = seeds
        if let chosen = environmentSeed { seeds = chosen..<chosen + 1 }
        for seed in seeds {
            do throws(SimulationFailure) { try await run(seed: seed, limit: limit, body) } catch { return error }
            if Task.isCancelled { return nil }
        }
        return nil
    }

    private static var environmentSeed: UInt64? {
        // SAFETY: the string is copied at once, and nothing here changes the environment.
        unsafe getenv("MARTLET_SEED").flatMap { UInt64(unsafe String(cString: $0)) }
    }

    /// Starts a thread for `body`.
    private static func onThreadOfItsOwn(_ body: @escaping @Sendable () -> Void) {
        // SAFETY: the box is retained for the thread, which takes it over.
        let box = unsafe Unmanaged.passRetained(ThreadBody(body))
        let error = unsafe martlet_thread_start(
            { unsafe Unmanaged<ThreadBody>.fromOpaque($0!).takeRetainedValue().body() }, box.toOpaque())
        precondition(error == 0, "a simulation needs a thread, and there is none: error \(-error)")
    }
}

private final class ThreadBody: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// What came of a run.
public struct SimulatedRun<Value: Sendable>: Sendable {
    /// What the body has returned.
    public let value: Value
    /// Everything that went over the network: equal for equal seeds.
    public let trace: Trace
    /// Virtual time that has passed.
    public let elapsed: Duration
    /// The frames that went last, for tshark or Wireshark.
    public let capture: Capture
}

/// A summary of all frames of a run, their instants, and what became of them.
public struct Trace: Hashable, Sendable, CustomStringConvertible {
    /// Frames sent, by all hosts.
    public private(set) var frames = 0
    /// Their bytes.
    public private(set) var bytes = 0
    /// A hash of them all: runs of which it is equal are equal byte for byte, but for a chance of one in 2⁶⁴.
    public private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325

    /// Frames, bytes and the hash in hexadecimal.
    public var description: String { "\(frames) frames of \(bytes) bytes, hash \(String(hash, radix: 16))" }

    mutating func append(_ frame: [UInt8], from node: Int, to other: Int, at now: Int64, _ outcome: Int64) {
        frames += 1
        bytes += frame.count
        for word in [now, Int64(node) << 32 | Int64(other), outcome, Int64(frame.count)] {
            mix(UInt64(bitPattern: word))
        }
        let span = unsafe frame.span.bytes
        var offset = 0
        while offset + 8 <= span.byteCount {
            // SAFETY: eight bytes from `offset` are within the span, and every pattern of bits is a number.
            unsafe mix(span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        var rest: UInt64 = 0
        while offset < frame.count {
            rest = rest << 8 | UInt64(frame[offset])
            offset += 1
        }
        mix(rest)
    }

    private mutating func mix(_ word: UInt64) {
        hash = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
        hash ^= hash >> 32
    }
}
