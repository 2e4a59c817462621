// Programs at the ends of connections: each flow sends bytes one way as fast as it may, and its receiver looks at every one.

import Glibc
import MartletSimulation

@testable import MartletStack

/// Bytes that tell when they are in the wrong place: random ones, repeated after a prime number of them, so that no segment, ring or
/// power of two is a multiple of the period.
struct StreamPattern {
    static let period = 65_521
    /// Two periods, so that as much as one lies in one run from every offset.
    private let bytes: [UInt8]

    init(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var once: [UInt8] = []
        once.reserveCapacity(Self.period + 8)
        while once.count < Self.period {
            let bits = random.next()
            for shift in stride(from: 0, to: 64, by: 8) {
                once.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
            }
        }
        once.removeLast(once.count - Self.period)
        bytes = once + once
    }

    /// Shows `count` bytes of the stream from `offset` on, or a period.
    func withBytes<Result>(at offset: Int, count: Int, _ body: (RawSpan) -> Result) -> Result {
        let start = offset % Self.period
        return unsafe body(bytes.span.bytes.extracting(start..<start + min(count, Self.period)))
    }

    /// Whether `run` is the stream's part from `offset` on.
    func matches(_ run: RawSpan, at offset: Int) -> Bool {
        var done = 0
        while done < run.byteCount {
            let isEqual = withBytes(at: offset + done, count: run.byteCount - done) { expected in
                let found = run.extracting(done..<done + expected.byteCount)
                done += expected.byteCount
                return unsafe found.withUnsafeBytes { left in
                    unsafe expected.withUnsafeBytes { right in
                        unsafe memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
                    }
                }
            }
            if !isEqual { return false }
        }
        return true
    }
}

/// One transfer.
struct Transfer {
    let sender: Int
    let receiver: Int
    /// Bytes to be sent; `Int.max` for a flow without an end.
    let byteCount: Int
    let startedAt: Instant
    let listener: ListenerID
    let client: ConnectionID
    var server: ConnectionID?
    var sentCount = 0
    var receivedCount = 0
    var isIntact = true
    /// When the last byte was received, and when the FIN was.
    var completedAt: Instant?
    var isFinished = false
    /// Why it ended early.
    var error: TCPError?
}

/// The transfers of a simulation.
struct Transfers {
    private(set) var flows: [Transfer] = []
    private let pattern: StreamPattern
    private var numbers: [End: Int] = [:]
    private var unaccepted: [Int] = []

    private struct End: Hashable {
        var host: Int
        var id: ConnectionID
    }

    init(seed: UInt64) { pattern = StreamPattern(seed: seed) }

    subscript(number: Int) -> Transfer { flows[number] }

    /// Whether all bytes and FINs have come, or the connections have ended without.
    var areDone: Bool { flows.allSatisfy { $0.isFinished || $0.error != nil } }

    /// Bytes received, by flow.
    var receivedCounts: [Int] { flows.map(\.receivedCount) }

    /// Starts another transfer. False if there was no connection for it.
    @discardableResult
    mutating func start(_ hosts: inout Hosts, from sender: Int = 0, to receiver: Int = 1, byteCount: Int = .max) -> Bool
    {
        let port = UInt16(1000 + flows.count)
        let listener = hosts[receiver].listen(port: port, backlog: 4)
        let opened = hosts[sender].connect(
            from: Hosts.address(sender), to: Hosts.address(receiver), port: port)
        guard let client = opened else { return false }
        numbers[End(host: sender, id: client)] = flows.count
        unaccepted.append(flows.count)
        flows.append(
            Transfer(
                sender: sender, receiver: receiver, byteCount: byteCount, startedAt: hosts.now, listener: listener,
                client: client))
        return true
    }

    /// Lets the programs do what they can: to be called after each step.
    mutating func turn(_ hosts: inout Hosts) {
        if !unaccepted.isEmpty { unaccepted = unaccepted.filter { !accept($0, &hosts) } }
        for host in 0..<hosts.count {
            while let (id, events) = hosts[host].nextConnectionEvent() {
                guard let number = numbers[End(host: host, id: id)] else { continue }
                if id == flows[number].client, host == flows[number].sender {
                    sender(number, events, &hosts)
                } else {
                    receiver(number, events, &hosts)
                }
            }
        }
    }

    /// Lets everything run until `instant`.
    mutating func run(_ hosts: inout Hosts, until instant: Instant) {
        while hosts.step(until: instant) { turn(&hosts) }
        hosts.rest(until: instant)
    }

    private mutating func accept(_ number: Int, _ hosts: inout Hosts) -> Bool {
        let flow = flows[number]
        guard let server = hosts[flow.receiver].accept(flow.listener) else { return flow.error != nil }
        flows[number].server = server
        numbers[End(host: flow.receiver, id: server)] = number
        // What came before it was accepted had its event then.
        receiver(number, [.readable, .finished], &hosts)
        return true
    }

    private mutating func sender(_ number: Int, _ events: ConnectionEvents, _ hosts: inout Hosts) {
        let (host, id, total) = (flows[number].sender, flows[number].client, flows[number].byteCount)
        if events.contains(.ended), let error = hosts[host].error(of: id) { flows[number].error = error }
        while flows[number].sentCount < total {
            let sent = flows[number].sentCount
            let count = pattern.withBytes(at: sent, count: total - sent) { hosts[host].send(id, $0) }
            if count == 0 { return }
            flows[number].sentCount += count
        }
        hosts[host].finish(id)
    }

    private mutating func receiver(_ number: Int, _ events: ConnectionEvents, _ hosts: inout Hosts) {
        guard let id = flows[number].server else { return }
        let host = flows[number].receiver
        while hosts[host].receive(
            id,
            { run in
                if !pattern.matches(run, at: flows[number].receivedCount) { flows[number].isIntact = false }
                flows[number].receivedCount += run.byteCount
                return run.byteCount
            }) > 0
        {}
        if flows[number].receivedCount == flows[number].byteCount, flows[number].completedAt == nil {
            flows[number].completedAt = hosts.now
        }
        if events.contains(.finished), hosts[host].state(of: id) == .closeWait {
            flows[number].isFinished = true
            hosts[host].finish(id)
        }
        if events.contains(.ended), let error = hosts[host].error(of: id) { flows[number].error = error }
    }

    /// Lets all connections go. Their slots come back after TIME-WAIT.
    func release(_ hosts: inout Hosts) {
        for flow in flows {
            hosts[flow.sender].release(flow.client)
            if let server = flow.server { hosts[flow.receiver].release(server) }
        }
    }
}
