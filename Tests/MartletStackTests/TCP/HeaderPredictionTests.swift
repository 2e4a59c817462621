// Header prediction and the long way are to have the same effect: two pairs of stacks get the same packets, but those of one
// pair carry something that is never predicted.

import MartletSimulation
import Testing

@testable import MartletStack

/// Two stacks whose frames are handed over at once, and may be changed on the way.
private struct Wire: ~Copyable {
    var stacks: [UInt8: Int] = [:]
    var client: Stack
    var server: Stack
    var burst: Burst
    var now = Instant(nanoseconds: 1_000_000_000)
    var clientID: ConnectionID
    var serverID: ConnectionID
    /// Bytes before the IP header.
    let start: Int
    var change: ([UInt8]) -> [UInt8] = { $0 }
    let pool: FramePool

    init(isEthernet: Bool, isIPv4: Bool, limits: StackLimits = StackLimits()) {
        pool = FramePool(count: 1024)
        func configuration(_ number: UInt8) -> InterfaceConfiguration {
            let link = MACAddress(2, 0, 0, 0, 0, number)
            var configuration = InterfaceConfiguration(isEthernet ? .ethernet(link) : .ip)
            configuration.addresses = [InterfaceAddress(Wire.address(number, isIPv4), prefixLength: isIPv4 ? 24 : 64)]
            configuration.detectsConflicts = false
            configuration.usesAutoconfiguration = false
            return configuration
        }
        client = Stack(
            [configuration(1)], limits: limits, pool: pool, secret: StackSecret(low: 1, high: 2), now: now)
        server = Stack(
            [configuration(2)], limits: limits, pool: pool, secret: StackSecret(low: 3, high: 4), now: now)
        burst = pool.makeBurst()
        start = isEthernet ? 14 : 0
        let listener = server.listen(port: 7, backlog: 4)
        var settings = TCPSettings()
        settings.noDelay = true
        clientID = client.connect(
            from: Wire.address(1, isIPv4), to: Wire.address(2, isIPv4), port: 7, settings)!
        var accepted: ConnectionID?
        serverID = clientID
        for _ in 0..<100 where accepted == nil {
            now = now.advanced(byNanoseconds: 1_000_000)
            exchange()
            accepted = server.accept(listener)
        }
        serverID = accepted!
        exchange()
    }

    static func address(_ number: UInt8, _ isIPv4: Bool) -> IPAddress {
        isIPv4 ? .v4(IPv4Address(10, 0, 0, number)) : .v6(IPv6Address(high: 0x2001_0db8 << 32, low: UInt64(number)))
    }

    /// Each side sends once, and hears what the other has sent.
    mutating func exchange() {
        _ = client.egress(into: &burst, at: now)
        carry()
        server.ingress(&burst, at: now)
        server.advance(to: now)
        while server.nextEvent() != nil {}
        _ = server.egress(into: &burst, at: now)
        carry()
        client.ingress(&burst, at: now)
        client.advance(to: now)
        while client.nextEvent() != nil {}
    }

    /// The client sends bytes that there is room for.
    mutating func sends(_ bytes: [UInt8]) {
        let taken = client.send(clientID, bytes)
        precondition(taken == bytes.count)
    }

    /// All that the two ends can be seen to know.
    struct State: Equatable {
        var client: TCPInfo?
        var server: TCPInfo?
        var clientDeadline: Instant?
        var serverDeadline: Instant?
    }

    var state: State {
        State(
            client: client.info(of: clientID), server: server.info(of: serverID), clientDeadline: client.nextDeadline,
            serverDeadline: server.nextDeadline)
    }

    var fastPath: (client: UInt64, server: UInt64) {
        (client.counters.tcp.fastPath, server.counters.tcp.fastPath)
    }

    /// Changes what is in the burst.
    mutating func carry() {
        let count = burst.count
        for _ in 0..<count {
            let frame = burst.popFirst()!
            let bytes = change(frame.bytes.array)
            var changed = burst.takeFrame()!
            changed.setLength(bytes.count)
            var space = changed.mutableBytes
            for index in bytes.indices { space.store(bytes[index], at: index) }
            burst.append(changed)
        }
    }
}

/// The packet with four bytes of options that say nothing, which is never predicted: IPv4 options, or a hop-by-hop header.
private func unusual(_ frame: [UInt8], at start: Int) -> [UInt8] {
    var packet = Array(frame[start...])
    guard frame.count > start, packet[0] >> 4 == 4 || packet[0] >> 4 == 6 else { return frame }
    if start == 14, !(frame[12] == 8 && frame[13] == 0) && !(frame[12] == 0x86 && frame[13] == 0xDD) { return frame }
    if packet[0] >> 4 == 4 {
        guard packet[9] == 6 else { return frame }
        packet.insert(contentsOf: [1, 1, 1, 0], at: 20)
        packet[0] = 0x46
        let length = Int(packet[2]) << 8 + Int(packet[3]) + 4
        (packet[2], packet[3], packet[10], packet[11]) = (UInt8(length >> 8), UInt8(length & 255), 0, 0)
        var sum = Checksum()
        unsafe sum.add(packet.span.bytes.extracting(0..<24))
        (packet[10], packet[11]) = (UInt8(sum.value >> 8), UInt8(sum.value & 255))
    } else {
        guard packet[6] == 6 else { return frame }
        packet.insert(contentsOf: [6, 0, 1, 4, 0, 0, 0, 0], at: 40)
        packet[6] = 0
        let length = Int(packet[4]) << 8 + Int(packet[5]) + 8
        (packet[4], packet[5]) = (UInt8(length >> 8), UInt8(length & 255))
    }
    return Array(frame[..<start]) + packet
}

@Suite struct HeaderPredictionTests {
    /// Both ways of a link and both versions of IP.
    static let ways = [(true, true), (true, false), (false, true), (false, false)]

    @Test(
        "what is predicted has the same effect as the long way", arguments: ways, 0..<4 as Range<UInt64>)
    func sameEffect(way: (isEthernet: Bool, isIPv4: Bool), seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var short = Wire(isEthernet: way.isEthernet, isIPv4: way.isIPv4)
        var long = Wire(isEthernet: way.isEthernet, isIPv4: way.isIPv4)
        let start = long.start
        long.change = { unusual($0, at: start) }
        var (sent, received): ([UInt8], [UInt8]) = ([], [])
        for round in 0..<400 {
            let step = Int64.random(in: 1...60_000_000, using: &random)
            let count = [0, 1, 2, 7, 64, 255, 256, 257, 1000, 1395, 5000].randomElement(using: &random)!
            let answer = [0, 0, 3, 64, 300].randomElement(using: &random)!
            let reads = Bool.random(using: &random)
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &+ round) }
            short.now = short.now.advanced(byNanoseconds: step)
            long.now = short.now
            let taken = short.client.send(short.clientID, bytes)
            let takenToo = long.client.send(long.clientID, bytes)
            #expect(taken == takenToo)
            sent += bytes[..<taken]
            _ = short.server.send(short.serverID, [UInt8](repeating: 1, count: answer))
            _ = long.server.send(long.serverID, [UInt8](repeating: 1, count: answer))
            short.exchange()
            long.exchange()
            if reads {
                let read = short.server.receiveAll(short.serverID)
                let readToo = long.server.receiveAll(long.serverID)
                #expect(read == readToo, "seed \(seed), round \(round)")
                received += read
            }
            _ = short.client.receiveAll(short.clientID)
            _ = long.client.receiveAll(long.clientID)
            let (shortState, longState) = (short.state, long.state)
            try #require(shortState == longState, "seed \(seed), round \(round)")
        }
        received += short.server.receiveAll(short.serverID)
        #expect(received == Array(sent[..<received.count]), "seed \(seed)")
        #expect(received.count > sent.count / 2)
        let (fast, slow) = (short.fastPath, long.fastPath)
        #expect(fast.client > 50 && fast.server > 150)
        // The last step of the handshake is the only one that is not changed on its way.
        #expect(slow.client <= 1 && slow.server <= 1)
    }

    @Test("no bit of a packet can be wrong without being noticed", arguments: ways)
    func damaged(way: (isEthernet: Bool, isIPv4: Bool)) {
        var wire = Wire(isEthernet: way.isEthernet, isIPv4: way.isIPv4)
        let bytes: [UInt8] = (0..<37).map { $0 }
        let start = wire.start
        // The first round is kept as the reference of how long the packet is.
        var length = 0
        wire.change = {
            length = max(length, $0.count)
            return $0
        }
        wire.sends(bytes)
        wire.exchange()
        let read = wire.server.receiveAll(wire.serverID)
        #expect(read == bytes)
        let ringBytes = wire.server.tcp.ringBytesTaken
        for bit in 8 * start..<8 * length {
            // Of an IPv6 header, traffic class, flow label and hop limit are summed by nobody.
            if !way.isIPv4, (4..<32).contains(bit - 8 * start) || (56..<64).contains(bit - 8 * start) { continue }
            var wire = Wire(isEthernet: way.isEthernet, isIPv4: way.isIPv4)
            wire.sends(bytes)
            let before = wire.server.info(of: wire.serverID)!
            wire.change = { frame in
                var frame = frame
                if frame.count == length { frame[bit / 8] ^= 0x80 >> UInt8(bit % 8) }
                return frame
            }
            wire.exchange()
            let after = wire.server.info(of: wire.serverID)!
            let read = wire.server.receiveAll(wire.serverID)
            #expect(read.isEmpty, "bit \(bit)")
            #expect(after.segsIn == before.segsIn && after.bytesReceived == before.bytesReceived, "bit \(bit)")
            let ringBytesNow = wire.server.tcp.ringBytesTaken
            #expect(ringBytesNow == ringBytes, "bit \(bit)")
        }
    }

    @Test("a segment for an address that has been taken away is not for us any more")
    func addressGone() {
        var wire = Wire(isEthernet: true, isIPv4: true)
        wire.sends([1, 2, 3])
        wire.exchange()
        let read = wire.server.receiveAll(wire.serverID)
        #expect(read == [1, 2, 3])
        let isRemoved = wire.server.removeAddress(Wire.address(2, true))
        #expect(isRemoved)
        wire.sends([4])
        wire.exchange()
        let later = wire.server.receiveAll(wire.serverID)
        #expect(later.isEmpty)
        let dropped = wire.server.counters.network[.notForUs]
        #expect(dropped > 0)
    }

    @Test("a segment of a connection that is gone is not taken for one of the connection that has its slot now")
    func slotUsedAgain() throws {
        var limits = TCPLimits()
        limits.connections = 1
        var host = Strangers(limits)
        let listener = try host.stack.listen(on: nil, port: Strangers.port)
        let (old, new) = (Strangers.ends(1), Strangers.ends(2))
        let first = host.handshake(on: old, options: TCPOptions())
        let accepted = host.stack.accept(listener)
        let gone = try #require(accepted)
        for sequence in [1001, 1002] as [UInt32] {
            host.send([.ack], on: old, sequence: sequence, acknowledgment: first, text: [1])
        }
        let fast = host.stack.counters.tcp.fastPath
        #expect(fast == 2)
        host.stack.abort(gone)
        host.stack.release(gone)
        host.settle()
        while host.stack.nextEvent() != nil {}
        let next = host.handshake(on: new, options: TCPOptions())
        let acceptedToo = host.stack.accept(listener)
        let id = try #require(acceptedToo)
        #expect(id.index == gone.index)
        // Just what the new connection expects, but from the old one's ends.
        let answer = host.send([.ack], on: old, sequence: 1001, acknowledgment: next, text: [9])
        #expect(answer.map { $0.segment.flags } == [[.rst]])
        let read = host.stack.receiveAll(id)
        #expect(read.isEmpty)
    }

    @Test("a segment is not predicted from a source that no link carries, or for a group's link address")
    func strange() {
        var wire = Wire(isEthernet: true, isIPv4: true)
        let before = wire.server.counters.tcp.fastPath
        // The frame's source is a group.
        wire.change = { frame in
            var frame = frame
            frame[6] |= 1
            return frame
        }
        wire.sends([1])
        wire.exchange()
        let read = wire.server.receiveAll(wire.serverID)
        #expect(read.isEmpty)
        let counters = wire.server.counters
        #expect(counters.tcp.fastPath == before)
        #expect(counters.network[.badFrame] == 1)
    }
}

@Suite struct CarrySumTests {
    @Test("bytes that are copied into a ring or out of it have the sum that they have in one pass")
    func sums() {
        var memory = RingMemory(byteCount: 1 << 20)
        let ring = memory.take(atLeast: 2048)!
        var random = SeededGenerator(seed: 1)
        for count in 0...300 {
            let position = UInt32.random(in: 0...5000, using: &random)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            let expected = unsafe bytes.span.bytes.onesComplementSum()
            let sum = unsafe memory.writeAndSum(last: count, of: bytes.span.bytes, to: ring, at: position)
            #expect(CarrySum(sum).folded == expected, "\(count) bytes at \(position)")
            var copy = [UInt8](repeating: 0, count: count)
            var span = copy.mutableSpan
            var space = unsafe span.mutableBytes
            let second = memory.readAndSum(ring, at: position, into: &space)
            #expect(second == expected, "\(count) bytes at \(position)")
            #expect(copy == bytes, "\(count) bytes at \(position)")
        }
    }

    @Test("a sum of words folds to 16 bits as the sum of their halves does", arguments: 0..<20 as Range<UInt64>)
    func folding(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var sum = CarrySum()
        var expected = Checksum()
        for _ in 0..<Int.random(in: 1...100, using: &random) {
            let word = Bool.random(using: &random) ? UInt64.random(in: 0...UInt64.max, using: &random) : .max
            sum.add(word)
            expected.add(word)
        }
        #expect(sum.folded == expected.sum, "seed \(seed)")
        #expect(CarrySum(0).folded == 0)
        #expect(CarrySum(.max).folded == 0xFFFF)
    }
}
