// What the tests of XDP links share: links that are open in a namespace, whoever's thread the test is on; a host that answers for
// itself; and a forwarder between two links.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Synchronization
import Testing

@testable import Martlet

/// Why these tests do not run here, if they do not.
let xdpNeeds: Comment = Comment(rawValue: Rig.whyNot(with: "ping", "ethtool", "iperf3"))
var xdpRuns: Bool { Rig.runs(with: "ping", "ethtool", "iperf3") }

/// A pool in pages of its own, with one or two links over it. When it goes, the links go first, and the pool traps if a frame is
/// missing.
final class XDPBench: @unchecked Sendable {
    private let first: Opened
    private let second: Opened?
    let pool: FramePool

    private final class Opened {
        var link: XDPLink

        init(_ link: consuming XDPLink) { self.link = link }
    }

    init(_ link: consuming XDPLink, _ pool: consuming FramePool) {
        first = Opened(link)
        second = nil
        self.pool = pool
    }

    init(_ link: consuming XDPLink, _ other: consuming XDPLink, _ pool: consuming FramePool) {
        first = Opened(link)
        second = Opened(other)
        self.pool = pool
    }

    var link: XDPLink {
        _read { yield first.link }
        _modify { yield &first.link }
    }

    var other: XDPLink {
        _read { yield second!.link }
        _modify { yield &second!.link }
    }

    /// Opens a link in a namespace.
    static func open(
        _ interface: Interface, queue: Int = 0, frames: Int = 512, options: XDPOptions = small
    ) throws -> XDPBench {
        try inside(interface) {
            let pool = mappedPool(frames)
            let link = try XDPLink(interface: interface.name, queue: queue, pool: pool, options: options)
            return XDPBench(link, pool)
        }
    }

    /// Opens two links over one pool, in the namespace of both.
    static func open(
        _ left: Interface, _ right: Interface, queues: (Int, Int) = (0, 0), frames: Int = 1024,
        options: XDPOptions = small
    ) throws -> XDPBench {
        try inside(left) {
            let pool = mappedPool(frames)
            let link = try XDPLink(interface: left.name, queue: queues.0, pool: pool, options: options)
            let other = try XDPLink(interface: right.name, queue: queues.1, pool: pool, options: options)
            return XDPBench(link, other, pool)
        }
    }

    /// Few frames and small rings, so that they run short soon.
    static var small: XDPOptions {
        var options = XDPOptions()
        options.receiveFrames = 64
        options.ringSize = 128
        return options
    }

    // What tests ask of the links: an expectation cannot look into what is not copied.
    var counters: LinkCounters { link.counters }
    var otherCounters: LinkCounters { other.counters }
    var interface: XDPInterface? { link.interface }
    var otherInterface: XDPInterface? { other.interface }
    var isZeroCopy: Bool { link.isZeroCopy }
    var properties: LinkProperties { link.properties }
    var state: LinkState { link.state }

    /// What a core polls that sleeps on the link.
    var sleepDescriptor: Int32 { link.watch.descriptor }

    /// Frames that are in the pool or with the kernel: all of them, between two calls.
    var accounted: Int {
        var with = link.framesWithKernel
        if second != nil { with += other.framesWithKernel }
        return pool.freeCount + with
    }
}

func inside<R>(_ interface: Interface, _ body: @escaping () throws -> R) throws -> R {
    try interface.namespace!.inside(body)
}

/// A pool over pages of its own.
func mappedPool(_ frames: Int) -> FramePool {
    do { return try FramePool.mapped(count: frames, pages: .plain, locked: false) } catch { fatalError("\(error)") }
}

extension Link where Self: ~Copyable {
    /// Sleeps as a core would, for a fifth of a second at most.
    mutating func sleep(for wish: LinkWish = LinkWish()) {
        let sleep = prepareToSleep(for: wish)
        if !sleep.isReady {
            var wait = pollfd(fd: sleep.descriptor, events: Int16(POLLIN), revents: 0)
            _ = unsafe poll(&wait, 1, 200)
        }
        wokeUp()
    }
}

extension XDPBench {
    /// Repeats `turn`, or sleeping on the link if there is none, until `condition` holds; gives up after many turns.
    func until(_ what: String, _ condition: () -> Bool, _ turn: (() throws -> Void)? = nil) throws {
        for _ in 0..<300 {
            if condition() { return }
            if let turn { try turn() } else { link.sleep() }
        }
        throw Failed("it was not to be seen that \(what)")
    }

    /// A carrier is announced a while after an interface has been set up, or a program attached: until then all is dropped.
    func comesUp() throws { try until("the link is up", { state == .up }) }

    /// The bytes of the next frames, as many as are wanted at least. Frames of others, which a kernel sends by itself, are left out.
    func receives(_ count: Int, where isWanted: @escaping ([UInt8]) -> Bool = { _ in true }) throws -> [[UInt8]] {
        var into = pool.makeBurst()
        var frames: [[UInt8]] = []
        try until("\(count) frames came", { frames.count >= count }) {
            if self.link.receive(into: &into) == 0 { self.link.sleep() }
            while !into.isEmpty {
                let bytes = try into.popBytes()
                if isWanted(bytes) { frames.append(bytes) }
            }
        }
        return frames
    }

    /// The numbers of the next frames that have one.
    func receivesNumbers(_ count: Int) throws -> [Int] {
        try receives(count) { Frames.number(of: $0) != nil }.map { Frames.number(of: $0)! }
    }

    /// Transmits a frame with a number.
    func transmits(_ number: Int, length: Int = 64) throws {
        var burst = pool.makeBurst()
        try burst.append(Frames.numbered(number, length: length))
        try #require(link.transmit(&burst) == 1)
    }
}

// MARK: Bytes

extension Frame {
    var array: [UInt8] { (0..<length).map { bytes.byte(at: $0) } }

    mutating func write(_ new: [UInt8]) {
        setLength(new.count)
        var bytes = mutableBytes
        for (index, byte) in new.enumerated() { bytes.store(byte, at: index) }
    }
}

extension Burst {
    /// The bytes of the first frame, which goes back to its pool.
    mutating func popBytes() throws -> [UInt8] {
        guard let frame = popFirst() else { throw Failed("there is no frame") }
        return frame.array
    }

    /// A frame of these bytes at the end.
    mutating func append(_ bytes: [UInt8]) throws {
        guard var frame = takeFrame() else { throw Failed("no frame is left") }
        frame.write(bytes)
        append(frame)
    }
}

enum Frames {
    /// An Ethernet frame of a type that no kernel looks at, with a number in it.
    static func numbered(_ number: Int, length: Int = 64, to destination: [UInt8] = [UInt8](repeating: 0xFF, count: 6))
        -> [UInt8]
    {
        let header = destination + [2, 0, 0, 0, 0, 1, 0x88, 0xB5]
        let body = (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
        return Array((header + body + [UInt8](repeating: 0xA5, count: max(0, length - 22))).prefix(length))
    }

    /// The number of such a frame.
    static func number(of frame: [UInt8]) -> Int? {
        guard frame.count >= 22, frame[12] == 0x88, frame[13] == 0xB5 else { return nil }
        return (0..<8).reduce(0) { $0 | Int(frame[14 + $1]) << (8 * $1) }
    }
}

// MARK: A host

/// Answers ARP for its address, echoes of ICMP, and UDP datagrams with themselves: in place, with the addresses exchanged. `nil` for
/// what gets no answer.
func answer(_ frame: [UInt8], as address: [UInt8], at link: [UInt8]) -> [UInt8]? {
    var frame = frame
    func exchange(_ first: Int, _ second: Int, _ count: Int) {
        for index in 0..<count { frame.swapAt(first + index, second + index) }
    }
    guard frame.count >= 42 else { return nil }
    switch (frame[12], frame[13]) {
    case (8, 6) where frame[21] == 1 && Array(frame[38..<42]) == address:
        frame[21] = 2
        exchange(22, 32, 10)
        frame.replaceSubrange(22..<28, with: link)
    case (8, 0) where Array(frame[30..<34]) == address && frame[23] == 1 && frame[34] == 8:
        frame[34] = 0
        // RFC 1624: the type went down by 8, so the sum goes up by that.
        let sum = Int(frame[36]) << 8 + Int(frame[37]) + 0x0800
        let folded = sum & 0xFFFF + sum >> 16
        (frame[36], frame[37]) = (UInt8(folded >> 8), UInt8(folded & 0xFF))
        exchange(26, 30, 4)
    case (8, 0) where Array(frame[30..<34]) == address && frame[23] == 17:
        exchange(26, 30, 4)
        exchange(34, 36, 2)
        (frame[40], frame[41]) = (0, 0)
    default: return nil
    }
    exchange(0, 6, 6)
    frame.replaceSubrange(6..<12, with: link)
    return frame
}

extension XDPBench {
    /// Answers for an address while `body` runs, and returns what `body` does. The frames that get no answer are shown to `seen`.
    func answering<R>(as address: [UInt8], seen: @escaping ([UInt8]) -> Void = { _ in }, _ body: () throws -> R) throws
        -> R
    {
        let mac = link.properties.macAddress!
        let own = (0..<6).map { mac.octets[$0] }
        return try beside(
            { [self] in
                var burst = pool.makeBurst()
                var answers = pool.makeBurst()
                if link.receive(into: &burst) == 0 { link.sleep() }
                while let frame = burst.popFirst() {
                    let bytes = frame.array
                    guard let reply = answer(bytes, as: address, at: own) else {
                        seen(bytes)
                        continue
                    }
                    var out = frame
                    out.write(reply)
                    answers.append(out)
                }
                link.transmitOrDrop(&answers)
            }, body)
    }

    /// Forwards between the two links while `body` runs: a frame changes hands, and no byte is moved.
    func forwarding<R>(_ body: () throws -> R) throws -> R {
        try beside(
            { [self] in
                var burst = pool.makeBurst()
                var count = link.receive(into: &burst)
                other.transmitOrDrop(&burst)
                count += other.receive(into: &burst)
                link.transmitOrDrop(&burst)
                if count > 0 { return }
                let sleeps = (link.prepareToSleep(for: LinkWish()), other.prepareToSleep(for: LinkWish()))
                if !sleeps.0.isReady && !sleeps.1.isReady {
                    var waits = [sleeps.0, sleeps.1].map {
                        pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0)
                    }
                    _ = unsafe poll(&waits, 2, 200)
                }
                link.wokeUp()
                other.wokeUp()
            }, body)
    }

    /// Repeats `turn` on a thread of its own until `body` has ended.
    private func beside<R>(_ turn: @escaping () throws -> Void, _ body: () throws -> R) throws -> R {
        let work = Turns(turn)
        startThread { work.run() }
        let result = Result { try body() }
        work.stop.store(true, ordering: .releasing)
        while unsafe sem_wait(&work.ended) != 0 {}
        if let error = work.error { throw error }
        return try result.get()
    }
}

private final class Turns: @unchecked Sendable {
    let turn: () throws -> Void
    let stop = Atomic(false)
    var ended = sem_t()
    var error: (any Error)?

    init(_ turn: @escaping () throws -> Void) {
        self.turn = turn
        unsafe sem_init(&ended, 0, 0)
    }

    func run() {
        do { while !stop.load(ordering: .acquiring) { try turn() } } catch { self.error = error }
        unsafe sem_post(&ended)
    }
}
