// A host of very little sense at the end of a link: it answers ARP and pings for one address, and counts the rest. And the loop
// that drives a link as a core would, for as long as something takes.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

/// Answers for one IPv4 address, on Ethernet or bare.
struct Station {
    var address: [UInt8]
    var link: [UInt8] = [2, 0, 0, 0, 0, 0x77]
    private(set) var answered = 0

    init(_ address: UInt8...) { self.address = address }

    /// Turns what is to be answered into its answer. False if it is not.
    mutating func answers(_ frame: inout Frame, _ medium: LinkProperties.Medium) -> Bool {
        var bytes: [UInt8] = []
        for index in 0..<frame.length { bytes.append(frame.bytes.byte(at: index)) }
        let network = medium == .ethernet ? 14 : 0
        if network > 0, Array(bytes[12..<14]) == [8, 6], bytes.count >= 42, bytes[21] == 1,
            Array(bytes[38..<42]) == address
        {
            (bytes[32..<38], bytes[38..<42]) = (bytes[22..<28], bytes[28..<32])
            bytes.replaceSubrange(22..<32, with: link + address)
            bytes[21] = 2
        } else if bytes.count >= network + 28, bytes[network] == 0x45, bytes[network + 9] == 1,
            bytes[network + 20] == 8,
            Array(bytes[network + 16..<network + 20]) == address
        {
            let source = Array(bytes[network + 12..<network + 16])
            bytes.replaceSubrange(network + 12..<network + 20, with: address + source)
            bytes[network + 20] = 0
            // An echo request and its reply differ by 8 in the first byte: RFC 1624.
            let sum = UInt32(bytes[network + 22]) << 8 + UInt32(bytes[network + 23]) + 0x0800
            let folded = sum & 0xFFFF + sum >> 16
            (bytes[network + 22], bytes[network + 23]) = (UInt8(folded >> 8), UInt8(folded & 0xFF))
        } else {
            return false
        }
        if network > 0 { bytes.replaceSubrange(0..<12, with: Array(bytes[6..<12]) + link) }
        var span = frame.mutableBytes
        for (index, byte) in bytes.enumerated() { span.store(byte, at: index) }
        answered += 1
        return true
    }
}

/// Sleeps on a link as a core does, 10 ms at most.
func rest<L: Link & ~Copyable>(_ link: inout L, room: Int = 0) {
    let sleep = link.prepareToSleep(for: LinkWish(frames: 1, room: room))
    if !sleep.isReady {
        let events = (sleep.forInput ? POLLIN : 0) | (sleep.forOutput ? POLLOUT : 0)
        var wait = pollfd(fd: sleep.descriptor, events: Int16(events), revents: 0)
        _ = unsafe poll(&wait, 1, 10)
    }
    link.wokeUp()
}

/// Drives a link with a station at its end until the program has ended, and returns how it ended.
func serve<L: Link & ~Copyable>(
    _ link: inout L, as station: inout Station, pool: borrowing FramePool, until program: NetworkRig.Program
) throws -> NetworkRig.Program.Result {
    var burst = pool.makeBurst()
    while !program.hasEnded {
        if link.receive(into: &burst) > 0 {
            let medium = link.properties.medium
            burst.removeAll { !station.answers(&$0, medium) }
            link.transmitOrDrop(&burst)
        } else {
            rest(&link)
        }
    }
    return try program.ends()
}

/// Hands frames from each link to the other until the program has ended. Returns how it ended, and the longest frame.
func join<A: Link & ~Copyable, B: Link & ~Copyable>(
    _ left: inout A, _ right: inout B, pool: borrowing FramePool, until program: NetworkRig.Program
) throws -> (result: NetworkRig.Program.Result, longest: Int) {
    var burst = pool.makeBurst()
    var longest = 0
    var turns = 0
    while true {
        // The program is looked at now and then only: looking is a system call.
        turns += 1
        if turns % 256 == 0, program.hasEnded { return (try program.ends(), longest) }
        var moved = left.receive(into: &burst)
        longest = max(longest, longestFrame(in: &burst))
        while !burst.isEmpty, right.transmit(&burst) > 0 {}
        burst.removeAll()
        moved += right.receive(into: &burst)
        longest = max(longest, longestFrame(in: &burst))
        while !burst.isEmpty, left.transmit(&burst) > 0 {}
        burst.removeAll()
        if moved == 0 {
            if program.hasEnded { return (try program.ends(), longest) }
            rest(&left)
        }
    }
}

/// Asks the kernel until it says so: a carrier is announced some time after it has come.
func becomes<L: Link & ~Copyable>(_ state: LinkState, _ link: inout L) throws {
    for _ in 0..<500 {
        _ = link.refresh()
        if link.state == state { return }
        var nothing = pollfd(fd: -1, events: 0, revents: 0)
        _ = unsafe poll(&nothing, 1, 10)
    }
    throw RigFailure("\(link.name) has not become \(state), and is \(link.state)")
}

/// A frame of that many bytes, all zero.
func blankFrame(_ length: Int, of pool: borrowing FramePool) throws -> Frame {
    guard var frame = pool.take() else { throw RigFailure("no frames are left") }
    frame.setLength(length)
    var span = frame.mutableBytes
    for index in 0..<length { span.store(UInt8(0), at: index) }
    return frame
}

private func longestFrame(in burst: inout Burst) -> Int {
    var longest = 0
    burst.removeAll {
        longest = max(longest, $0.length)
        return false
    }
    return longest
}

/// Transmits frames of these bytes. Returns how many were taken.
@discardableResult
func transmit<L: Link & ~Copyable>(_ frames: [[UInt8]], on link: inout L, pool: borrowing FramePool) throws -> Int {
    var burst = pool.makeBurst(capacity: max(1, frames.count))
    for bytes in frames {
        guard var frame = pool.take() else { throw RigFailure("no frames are left") }
        frame.setLength(bytes.count)
        var span = frame.mutableBytes
        for (index, byte) in bytes.enumerated() { span.store(byte, at: index) }
        burst.append(frame)
    }
    return link.transmit(&burst)
}

/// Receives until there are so many frames, or none has come for a while.
func receive<L: Link & ~Copyable>(
    _ count: Int, on link: inout L, pool: borrowing FramePool, patience: Int = 50, wanted: ([UInt8]) -> Bool = isTest
) -> [[UInt8]] {
    var frames: [[UInt8]] = []
    var burst = pool.makeBurst()
    var idle = 0
    while frames.count < count, idle < patience {
        idle = link.receive(into: &burst) > 0 ? 0 : idle + 1
        while let frame = burst.popFirst() {
            let bytes = (0..<frame.length).map { frame.bytes.byte(at: $0) }
            if wanted(bytes) { frames.append(bytes) }
        }
        if idle > 0 { rest(&link) }
    }
    return frames
}

/// A frame of a type for experiments (IEEE 802), which no kernel answers.
func testFrame(_ length: Int, _ number: Int = 0, tag: UInt16? = nil) -> [UInt8] {
    var bytes: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
    if let tag { bytes += [0x81, 0, UInt8(tag >> 8), UInt8(tag & 0xFF)] }
    bytes += [0x88, 0xB5]
    for index in bytes.count..<max(bytes.count, length) {
        bytes.append(UInt8(truncatingIfNeeded: index &* 7 &+ number))
    }
    return bytes
}

/// Whether a frame is one of `testFrame`'s.
func isTest(_ bytes: [UInt8]) -> Bool {
    bytes.count >= 14
        && (Array(bytes[12..<14]) == [0x88, 0xB5] || (bytes.count >= 18 && Array(bytes[16..<18]) == [0x88, 0xB5]))
}
