// Two stacks and nothing between them: what one's egress gives is the other's ingress, frame by frame, without a copy.

import Glibc
import MartletStack
import PeerSupport

/// Why a run was given up.
enum RunError: Error {
    /// Nothing has moved for too long.
    case stalled
    case cannotConnect(ConnectError)
    case cannotListen(ListenError)
}

/// What programs at both ends do about events.
protocol Workload {
    mutating func client(_ stack: inout Stack, _ event: StackEvent) throws(RunError)
    mutating func server(_ stack: inout Stack, _ event: StackEvent) throws(RunError)
}

struct TwoStacks: ~Copyable {
    var client: Stack
    var server: Stack
    var burst: Burst
    /// Frames that were handed over.
    private(set) var segments = 0
    var now: Instant
    private var idleTurns = 0
    // Behind those who hold its frames: fields go in their order.
    private let pool: FramePool

    static let clientAddress = IPAddress.v4(IPv4Address(10, 0, 0, 1))
    static let serverAddress = IPAddress.v4(IPv4Address(10, 0, 0, 2))
    /// Turns without a frame before the run is given up: timers run in real time.
    private static let patience = 100_000_000

    init(_ limits: StackLimits) {
        pool = FramePool(count: 512)
        now = Self.clock()
        burst = pool.makeBurst()
        client = Self.stack(Self.clientAddress, limits, pool, seed: 1, now)
        server = Self.stack(Self.serverAddress, limits, pool, seed: 2, now)
    }

    private static func stack(
        _ address: IPAddress, _ limits: StackLimits, _ pool: borrowing FramePool, seed: UInt64, _ now: Instant
    ) -> Stack {
        let interface = InterfaceConfiguration(.ip, addresses: [InterfaceAddress(address, prefixLength: 24)])
        return Stack([interface], limits: limits, pool: pool, secret: StackSecret(low: seed, high: 7), now: now)
    }

    private static func clock() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// Packets that either stack has dropped, for whatever reason.
    var drops: Int {
        let (client, server) = (client.counters.network, server.counters.network)
        return PacketDrop.allCases.reduce(0) { $0 + Int(client[$1] + server[$1]) }
    }

    /// Seconds that `body` takes.
    mutating func measure(_ body: (inout TwoStacks) throws(RunError) -> Void) throws(RunError) -> Double {
        let begin = Self.clock()
        try body(&self)
        return Double((Self.clock() - begin).attoseconds) / 1e18
    }

    /// A round of each stack: frames, timers, events, frames.
    mutating func turn(_ workload: inout some Workload) throws(RunError) {
        now = Self.clock()
        let before = segments
        client.advance(to: now)
        while let event = client.nextEvent() { try workload.client(&client, event) }
        segments += Self.carry(from: &client, to: &server, &burst, now)
        server.advance(to: now)
        while let event = server.nextEvent() { try workload.server(&server, event) }
        segments += Self.carry(from: &server, to: &client, &burst, now)
        idleTurns = segments == before ? idleTurns + 1 : 0
        if idleTurns > Self.patience { throw .stalled }
    }

    private static func carry(
        from sender: inout Stack, to receiver: inout Stack, _ burst: inout Burst, _ now: Instant
    ) -> Int {
        var count = 0
        var isPaid = false
        while !isPaid {
            isPaid = sender.egress(into: &burst, at: now)
            count += burst.count
            receiver.ingress(&burst, at: now)
        }
        return count
    }
}

extension Stack {
    /// Takes off all bytes that have come, two runs at most, and says how many they were.
    mutating func receiveAll(_ id: ConnectionID) -> Int {
        var all = 0
        while true {
            let count = receive(id) { $0.byteCount }
            if count == 0 { return all }
            all += count
        }
    }
}

func pin(_ cpu: Int) { peer_pin(Int32(cpu)) }

enum Memory {
    /// Bytes of this process that are in memory (proc(5), statm).
    static var resident: Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, 256, file) != nil else { return 0 }
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return text.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * Int(getpagesize()) } ?? 0
    }
}
