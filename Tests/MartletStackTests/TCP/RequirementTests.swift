// What RFC 9293 demands, by the numbers of its appendix B, where a packet script does not tell.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct RequirementTests {
    private static let v4 = IPAddress("10.0.0.1")!
    private static let v6 = IPAddress("2001:db8::1")!
    private static let both = ["10.0.0.1/24", "2001:db8::1/64"]

    /// A stack with its frames, and no time that passes by itself.
    struct Host: ~Copyable {
        private let pool: FramePool
        var stack: Stack

        init(_ addresses: [String], mtu: Int = 1500, secret: UInt64 = 1) {
            pool = FramePool(count: 64, capacity: mtu + 256)
            var interface = InterfaceConfiguration(.ip, addresses: addresses.map { InterfaceAddress($0)! })
            interface.mtu = mtu
            stack = Stack(
                [interface], limits: StackLimits(network: .few), pool: pool,
                secret: .init(low: secret, high: 2), now: .zero)
        }

        /// Gives the stack packets in one burst, and returns what it sends.
        mutating func exchange(_ packets: [[UInt8]], at now: Instant = .zero) -> [SegmentOnWire] {
            var burst = pool.makeBurst()
            for packet in packets {
                var frame = burst.takeFrame()!
                frame.setLength(packet.count)
                var space = frame.mutableBytes
                for (index, byte) in packet.enumerated() { space.store(byte, at: index) }
                burst.append(frame)
            }
            stack.ingress(&burst, at: now)
            var sent: [SegmentOnWire] = []
            var isPaid = false
            while !isPaid {
                isPaid = stack.egress(into: &burst, at: now)
                while let frame = burst.popFirst() {
                    let bytes = frame.bytes
                    if let one = try? SegmentOnWire((0..<bytes.byteCount).map { bytes.byte(at: $0) }) {
                        sent.append(one)
                    }
                }
            }
            return sent
        }
    }

    private static func packet(
        _ flags: PacketScript.Flags, from source: IPAddress, to destination: IPAddress, port: UInt16 = 7
    ) -> [UInt8] {
        SegmentBytes.packet(
            PacketScript.Segment(flags: flags, sequence: 0, acknowledgment: flags.contains(.ack) ? 0 : nil),
            on: .init(
                from: .init(address: source, port: 1234, initialSequence: 99),
                to: .init(address: destination, port: port, initialSequence: 5)))
    }

    // MARK: The header

    @Test("MUST-3: a segment with any bit wrong, header or data, is not taken; the same one right is")
    func checksum() {
        var stage = StateStage(StateWay(column: "ES", opening: .active))
        let bytes = stage.bytes(of: stage.segment([.ack, .psh], stage.numbers.p, 20, stage.numbers.n))
        for bit in 160..<bytes.count * 8 {
            var wrong = bytes
            wrong[bit / 8] ^= 1 << UInt8(bit % 8)
            stage.arrive(wrong)
        }
        let counters = stage.stack.counters.tcp
        #expect(counters.badChecksum + counters.malformed == UInt64(bytes.count * 8 - 160))
        let nothing = stage.stack.receiveAll(stage.connection!)
        #expect(nothing.isEmpty)
        stage.arrive(bytes)
        let all = stage.stack.receiveAll(stage.connection!)
        #expect(all.count == 20)
    }

    /// Sets a byte of a packet, and its TCP checksum right again.
    private static func patched(_ packet: [UInt8], _ changes: [(offset: Int, byte: UInt8)]) -> [UInt8] {
        var packet = packet
        for (offset, byte) in changes {
            // RFC 1624: HC' = ~(~HC + ~m + m').
            let even = offset & ~1
            let old = UInt32(packet[even]) << 8 | UInt32(packet[even + 1])
            packet[offset] = byte
            let new = UInt32(packet[even]) << 8 | UInt32(packet[even + 1])
            var sum = UInt32(~(UInt16(packet[36]) << 8 | UInt16(packet[37]))) + (~old & 0xffff) + new
            while sum >> 16 > 0 { sum = (sum & 0xffff) + sum >> 16 }
            let checksum = ~UInt16(sum)
            packet[36] = UInt8(checksum >> 8)
            packet[37] = UInt8(checksum & 0xff)
        }
        return packet
    }

    @Test(
        "MUST-7: an option of illegal length harms nobody, and the segment counts",
        arguments: 0...255 as ClosedRange<UInt8>)
    func illegalLength(length: UInt8) {
        for kind in [2, 3, 4, 5, 8, 28, 34, 253] as [UInt8] {
            var stage = StateStage(StateWay(column: "ES", opening: .passive))
            var segment = stage.segment([.ack, .psh], stage.numbers.p, 100, stage.numbers.n)
            segment.options = .exactly([.other(kind: 253, bytes: [0, 0]), .other(kind: 253, bytes: [0, 0])])
            stage.arrive(Self.patched(stage.bytes(of: segment), [(44, kind), (45, length)]))
            let all = stage.stack.receiveAll(stage.connection!)
            #expect(all.count == 100, "kind \(kind), length \(length)")
        }
    }

    @Test("MUST-68, MUST-69: all options but end and no-operation are written with their length, and padding is zero")
    func writtenOptions() {
        var seen = 0
        for bits in 0..<64 {
            for sack in 0...4 as ClosedRange<UInt8> {
                for cookie in [255, 0, 4, 6, 8, 16] as [UInt8] {
                    var options = TCPOptions()
                    if bits & 1 != 0 { options.maximumSegmentSize = 1460 }
                    if bits & 2 != 0 { options.windowScale = 7 }
                    options.isSACKPermitted = bits & 4 != 0
                    options.hasTimestamps = bits & 8 != 0
                    if bits & 16 != 0 { options.userTimeout = 30 }
                    options.timestampValue = bits & 32 != 0 ? .max : 0
                    options.sackCount = sack
                    options.fastOpenLength = cookie
                    guard options.length <= 40 else { continue }
                    #expect(options.length.isMultiple(of: 4))
                    Self.expectWellFormed(options)
                    seen += 1
                }
            }
        }
        #expect(seen > 300)
    }

    private static func expectWellFormed(_ options: TCPOptions) {
        let pool = FramePool(count: 1)
        let burst = pool.makeBurst()
        var frame = burst.takeFrame()!
        frame.setLength(options.length)
        var space = frame.mutableBytes
        // What was there before must not shine through.
        for index in 0..<options.length { space.store(UInt8(0xee), at: index) }
        options.write(to: &space)
        let bytes = frame.bytes
        var offset = 0
        while offset < bytes.byteCount, bytes.byte(at: offset) != 0 {
            if bytes.byte(at: offset) == 1 {
                offset += 1
                continue
            }
            let isComplete = offset + 1 < bytes.byteCount
            #expect(isComplete, "a kind without a length")
            guard isComplete else { return }
            let length = Int(bytes.byte(at: offset + 1))
            #expect(length >= 2 && offset + length <= bytes.byteCount)
            offset += max(length, 2)
        }
        while offset < bytes.byteCount {
            let padding = bytes.byte(at: offset)
            #expect(padding == 0)
            offset += 1
        }
    }

    @Test("MUST-50: a packet with IP options is taken like one without")
    func ipOptions() {
        var host = Host(Self.both)
        _ = host.stack.listen(port: 7, backlog: 4)
        var packet = Self.packet(.syn, from: IPAddress("10.0.0.9")!, to: Self.v4)
        // NOP, a router alert that nobody here reads, and an end: eight bytes.
        packet.insert(contentsOf: [1, 148, 4, 0, 0, 1, 1, 0], at: 20)
        packet[0] = 0x47
        packet[3] += 8
        (packet[10], packet[11]) = (0, 0)
        var sum: UInt32 = 0
        for word in 0..<14 { sum += UInt32(packet[word * 2]) << 8 | UInt32(packet[word * 2 + 1]) }
        while sum >> 16 > 0 { sum = (sum & 0xffff) + sum >> 16 }
        (packet[10], packet[11]) = (UInt8(~sum >> 8 & 0xff), UInt8(~sum & 0xff))
        let sent = host.exchange([packet])
        #expect(sent.map(\.absolute.flags) == [[.syn, .ack]])
    }

    @Test(
        "MUST-14, MUST-67: SYN and SYN,ACK offer what the interface holds less 40 bytes, or 60 over IPv6",
        arguments: [1280, 1400, 1500, 9000] as [UInt16])
    func offeredMSS(mtu: UInt16) {
        for (address, peer, headers) in [(Self.v4, "10.0.0.9", 40), (Self.v6, "2001:db8::9", 60)]
            as [(IPAddress, String, UInt16)]
        {
            var host = Host(Self.both, mtu: Int(mtu))
            _ = host.stack.listen(port: 7, backlog: 4)
            _ = host.stack.connect(from: address, to: IPAddress(peer)!, port: 80)
            let sent = host.exchange([Self.packet(.syn, from: IPAddress(peer)!, to: address)])
            #expect(Set(sent.map(\.absolute.flags)) == [[.syn], [.syn, .ack]])
            for one in sent {
                guard case .exactly(let options) = one.absolute.options else { continue }
                #expect(options.contains(.maximumSegmentSize(mtu - headers)))
            }
        }
    }

    // MARK: Initial sequence numbers

    private static func initialSequence(secret: UInt64, at now: Instant, to remote: String = "10.0.0.9") -> UInt32 {
        var host = Host(both, secret: secret)
        host.stack.advance(to: now)
        let id = host.stack.connect(from: v4, to: IPAddress(remote)!, port: 80)!
        return host.stack.tcp.numbers(of: id)!.1.bits
    }

    @Test("MUST-8: initial sequence numbers follow a clock of 4 µs")
    func clockedSequence() {
        let first = Self.initialSequence(secret: 1, at: .zero)
        for ticks in [1, 1000, 250_000, 4_000_000_000] as [Int64] {
            let later = Self.initialSequence(secret: 1, at: .zero.advanced(byNanoseconds: ticks * 4000))
            #expect(later &- first == UInt32(truncatingIfNeeded: ticks))
        }
    }

    @Test("MUST-9: without the secret, one connection's number says nothing of another's")
    func secretSequence() {
        var differences: Set<UInt32> = []
        var numbers: Set<UInt32> = []
        for secret in 0..<64 as Range<UInt64> {
            let one = Self.initialSequence(secret: secret, at: .zero)
            let other = Self.initialSequence(secret: secret, at: .zero, to: "10.0.0.10")
            numbers.insert(one)
            differences.insert(other &- one)
        }
        #expect(numbers.count == 64)
        #expect(differences.count == 64)
    }

    // MARK: OPEN and addresses

    @Test("MUST-41: a passive OPEN changes no connection and no listener that there was")
    func passiveOpenInterferes() throws {
        var pair = try LifetimeTests.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        _ = pair.server.listen(port: 8, backlog: 4)
        #expect(pair.server.state(of: server) == .established)
        let third = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        let fourth = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 8)
        let written = pair.client.send(client, [1, 2, 3])
        #expect(written == 3)
        while pair.step(until: pair.now.advanced(by: .seconds(1))) {}
        let read = pair.server.receiveAll(server)
        #expect(read == [1, 2, 3])
        #expect(pair.client.state(of: third!) == .established && pair.client.state(of: fourth!) == .established)
    }

    @Test("MUST-42: a port may listen while a connection of the same port is in SYN-SENT")
    func listenBesideSynSent() {
        var pair = Pair()
        let calling = pair.client.connect(from: Pair.clientAddress, to: IPAddress("10.0.0.77")!, port: 80)!
        let port = pair.client.tcp.numbers(of: calling)!.0.localPort
        pair.filter = { _, bytes in bytes[19] != 77 }
        let listener = pair.client.listen(port: port, backlog: 4)
        let id = pair.server.connect(from: Pair.serverAddress, to: Pair.clientAddress, port: port)!
        while pair.step(until: .zero.advanced(by: .milliseconds(500))) {}
        let accepted = pair.client.accept(listener)
        #expect(accepted != nil)
        #expect(pair.server.state(of: id) == .established)
        #expect(pair.client.state(of: calling) == .synSent)
    }

    @Test("MUST-43, MUST-45: a connection keeps the local address that OPEN named, or that its SYN came to")
    func localAddress() {
        let texts = ["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"]
        let peer = IPAddress("10.0.0.9")!
        for text in texts {
            let address = InterfaceAddress(text)!.address
            var host = Host(texts)
            _ = host.stack.connect(from: address, to: peer, port: 80)
            let calls = host.exchange([])
            #expect(calls.map(\.source) == [address])
            _ = host.stack.listen(port: 7, backlog: 4)
            let answers = host.exchange([Self.packet(.syn, from: peer, to: address)])
            #expect(answers.map(\.source) == [address])
            // The SYN again, and again without an answer: still the same.
            host.stack.advance(to: .zero.advanced(by: .seconds(2)))
            let again = host.exchange([], at: .zero.advanced(by: .seconds(2)))
            #expect(again.count == 2)
            #expect(again.allSatisfy { $0.source == address })
        }
    }

    @Test("MUST-44: an OPEN that names no local address gets the one that fits the remote one")
    func chosenAddress() {
        let texts = ["10.0.0.1/24", "10.0.1.1/24", "2001:db8::1/64", "2001:db8:0:1::1/64"]
        for text in texts {
            let address = InterfaceAddress(text)!.address
            var host = Host(texts)
            let remote = IPAddress(text.split(separator: "/")[0] + "9")!
            let id = try? host.stack.connect(to: remote, port: 80)
            #expect(id != nil)
            let sent = host.exchange([])
            #expect(sent.map(\.source) == [address])
        }
    }

    private static let groups = [
        "224.0.0.1", "239.1.2.3", "255.255.255.255", "10.0.0.255", "0.0.0.0", "ff02::1", "ff0e::5", "::",
    ]

    @Test("MUST-46: OPEN refuses a remote address that is of no single host", arguments: groups)
    func openToGroup(group: String) {
        var host = Host(Self.both)
        let remote = IPAddress(group)!
        let id = host.stack.connect(from: group.contains(":") ? Self.v6 : Self.v4, to: remote, port: 80)
        #expect(id == nil)
        #expect(host.stack.connectionCount == 0 && host.stack.tcp.halfOpenCount == 0)
    }

    @Test("MUST-63: a segment from an address of no single host is ignored, listener or not", arguments: groups)
    func segmentFromGroup(group: String) {
        var host = Host(Self.both)
        _ = host.stack.listen(port: 7, backlog: 4)
        let source = IPAddress(group)!
        let local = group.contains(":") ? Self.v6 : Self.v4
        for port in [7, 8] as [UInt16] {
            for flags in [.syn, .ack, [.fin, .ack]] as [PacketScript.Flags] {
                let sent = host.exchange([Self.packet(flags, from: source, to: local, port: port)])
                #expect(sent.isEmpty, "\(flags) to port \(port)")
            }
        }
        #expect(host.stack.connectionCount == 0 && host.stack.tcp.halfOpenCount == 0)
    }

    @Test("MUST-57: a segment to an address that is not ours alone is dropped without a word", arguments: groups)
    func segmentToGroup(group: String) {
        var host = Host(Self.both)
        _ = host.stack.listen(port: 7, backlog: 4)
        let destination = IPAddress(group)!
        let source = IPAddress(group.contains(":") ? "2001:db8::9" : "10.0.0.9")!
        for port in [7, 8] as [UInt16] {
            for flags in [.syn, .ack, .rst] as [PacketScript.Flags] {
                let sent = host.exchange([Self.packet(flags, from: source, to: destination, port: port)])
                #expect(sent.isEmpty, "\(flags) to port \(port)")
            }
        }
        #expect(host.stack.connectionCount == 0 && host.stack.tcp.halfOpenCount == 0)
    }

    // MARK: ACKs

    @Test("MUST-58, MUST-59: segments that arrive together are all taken before one ACK answers them")
    func oneAck() {
        for isReversed in [false, true] {
            var stage = StateStage(StateWay(column: "ES", opening: .passive))
            let numbers = stage.numbers
            var packets = (0..<5).map {
                stage.bytes(of: stage.segment([.ack, .psh], numbers.p &+ UInt32($0) * 100, 100, numbers.n))
            }
            if isReversed { packets.reverse() }
            _ = stage.outcome(of: nil) {
                $0.arrive(packets[0], packets[1], packets[2], packets[3], packets[4])
                return nil
            }
            #expect(stage.sent.count == 1)
            let all = stage.stack.receiveAll(stage.connection!)
            #expect(all.count == 500)
        }
    }
}
