import Testing

@testable import MartletStack

/// RFC 4987 §3.6: handshakes of which nothing is kept.
@Suite struct SYNCookiesTests {
    private static let cookies = SYNCookies(key: .init(low: 3, high: 5))
    private static let ends = Strangers.ends(1)

    private static func halfOpen(_ options: TCPOptions, ecn: Bool = false) -> HalfOpen {
        let syn = Segment(
            sequence: SequenceNumber(0xFFFF_FFFF), flags: ecn ? [.syn, .ece, .cwr] : [.syn], options: options)
        return HalfOpen(syn, initialSend: SequenceNumber(0), listener: 0, receiveShift: 6, ecn: .whenAsked)
    }

    /// The ACK of a SYN-ACK that was made from `halfOpen`, whose clock stood at `clock`.
    private static func ack(of halfOpen: HalfOpen, clock: UInt32) -> Segment {
        var options = TCPOptions()
        options.hasTimestamps = halfOpen.flags.contains(.timestamps)
        options.timestampEcho = cookies.timestamp(clock, of: halfOpen)
        return Segment(
            sequence: halfOpen.initialReceive + 1, acknowledgment: halfOpen.initialSend + 1, flags: [.ack],
            options: options)
    }

    private static func check(_ ack: Segment, at now: Instant = .zero, ends: FourTuple = ends) -> HalfOpen? {
        if case .complete(let found) = cookies.check(ack, ends, listener: 0, receiveShift: 6, at: now) { return found }
        return nil
    }

    @Test("a cookie brings back the MSS, rounded down, and by the timestamp the scale, SACK and marks of congestion")
    func contents() {
        for (offered, carried) in [
            (0, 536), (64, 64), (535, 64), (536, 536), (1219, 536), (1220, 1220), (1399, 1300), (1460, 1460),
            (8959, 1460), (9000, 8960), (65_535, 8960),
        ] as [(UInt16, UInt16)] {
            for shift in [0, 1, 7, 14, 255] as [UInt8] {
                for (sack, ecn) in [(false, false), (true, false), (false, true), (true, true)] {
                    var options = Strangers.usualOptions
                    (options.maximumSegmentSize, options.windowScale) = (offered, shift)
                    options.isSACKPermitted = sack
                    var halfOpen = Self.halfOpen(options, ecn: ecn)
                    Self.cookies.make(&halfOpen, Self.ends, at: .zero)
                    let found = Self.check(Self.ack(of: halfOpen, clock: 0x1234_5678))
                    #expect(found?.maximumSegmentSize == carried)
                    #expect(found?.flags == halfOpen.flags)
                    #expect(found?.sendShift == (shift == 255 ? 0 : shift))
                    #expect(found?.receiveShift == (shift == 255 ? 0 : 6))
                    #expect(found?.initialReceive == halfOpen.initialReceive)
                }
            }
        }
    }

    @Test("without timestamps a cookie offers nothing that it could not remember")
    func withoutTimestamps() {
        var options = Strangers.usualOptions
        options.hasTimestamps = false
        var halfOpen = Self.halfOpen(options, ecn: true)
        #expect(halfOpen.flags == [.sack, .scaled, .ecn])
        Self.cookies.make(&halfOpen, Self.ends, at: .zero)
        #expect(halfOpen.flags.isEmpty)
        #expect(Self.check(Self.ack(of: halfOpen, clock: 0))?.flags == [])
    }

    @Test("the timestamp of a cookie is never ahead of the clock, and less than 128 behind it")
    func clock() {
        let halfOpen = Self.halfOpen(Strangers.usualOptions, ecn: true)
        for clock in (0..<300 as Range<UInt32>).map({ $0 &- 150 }) {
            let behind = clock &- Self.cookies.timestamp(clock, of: halfOpen)
            #expect(behind < 128)
        }
    }

    @Test(
        "a cookie is good for the minute it was made in and the next, and for its ends, its SYN and its options alone")
    func limits() {
        var halfOpen = Self.halfOpen(Strangers.usualOptions)
        let made = Instant.zero + .seconds(59)
        Self.cookies.make(&halfOpen, Self.ends, at: made)
        let ack = Self.ack(of: halfOpen, clock: 5)
        #expect(Self.check(ack, at: made) != nil)
        #expect(Self.check(ack, at: .zero + .seconds(119)) != nil)
        #expect(Self.check(ack, at: .zero + .seconds(120)) == nil)
        // The minute's five bits have come around.
        #expect(Self.check(ack, at: .zero + .seconds(59 + 32 * 60)) == nil)
        #expect(Self.check(ack, at: made, ends: Strangers.ends(2)) == nil)
        #expect(Self.check(ack, at: made, ends: Strangers.ends(1, port: 5001)) == nil)
        var other = ack
        other.options.timestampEcho ^= 16
        #expect(Self.check(other, at: made) == nil)
        other = ack
        other.options.hasTimestamps = false
        #expect(Self.check(other, at: made) == nil)
        for bit in 0..<32 as Range<UInt32> {
            other = ack
            other.acknowledgment = SequenceNumber((ack.acknowledgment - 1).bits ^ 1 << bit) + 1
            #expect(Self.check(other, at: made) == nil, "bit \(bit)")
        }
    }

    @Test("later segments of who has a true cookie are told from forgeries")
    func ahead() {
        var halfOpen = Self.halfOpen(Strangers.usualOptions)
        Self.cookies.make(&halfOpen, Self.ends, at: .zero)
        for count in [1, 1448, 14_480, 65_536, 1 << 20] {
            var later = Self.ack(of: halfOpen, clock: 5)
            later.sequence += count
            guard case .ahead = Self.cookies.check(later, Self.ends, listener: 0, receiveShift: 6, at: .zero) else {
                Issue.record("\(count) bytes ahead")
                continue
            }
        }
    }

    private static func always() -> ListenerSettings {
        var settings = ListenerSettings()
        settings.cookies = .always
        return settings
    }

    @Test("a connection by a cookie has all that was agreed, and carries data", arguments: [true, false])
    func connection(hasTimestamps: Bool) throws {
        var host = Strangers()
        let listener = try host.stack.listen(on: nil, port: Strangers.port, Self.always())
        var options = Strangers.usualOptions
        options.hasTimestamps = hasTimestamps
        let number = host.handshake(on: Self.ends, options: options, text: [1, 2, 3])
        #expect(host.stack.tcp.halfOpenCount == 0)
        #expect(host.stack.counters.tcp.synCookiesOut == 1 && host.stack.counters.tcp.synCookiesIn == 1)
        let accepted = host.stack.accept(listener)
        let id = try #require(accepted)
        #expect(host.stack.receiveAll(id) == [1, 2, 3])
        let info = host.stack.info(of: id)
        #expect(info?.options == (hasTimestamps ? 7 : 0))
        #expect(info?.sndWscale == (hasTimestamps ? 7 : 0))
        #expect(info?.sndMss == (hasTimestamps ? 1448 : 1460))
        // Nobody knows when the SYN-ACK went.
        #expect(info?.rtt == 0)
        host.sent = []
        #expect(host.stack.send(id, [4, 5]) == 2)
        host.settle()
        #expect(host.sent.map(\.text) == [[4, 5]])
        #expect(host.sent.first?.segment.sequence.bits == number)
    }

    @Test(
        "a lost ACK does not end a connection by a cookie: what comes behind it is not reset, and the first segment completes it"
    )
    func lostAck() throws {
        var host = Strangers()
        let listener = try host.stack.listen(on: nil, port: Strangers.port, Self.always())
        let answer = host.send(.syn, on: Self.ends, sequence: 1000)
        let number = answer[0].segment.sequence.bits &+ 1
        for segment in [2, 1, 0] as [UInt32] {
            let text = [UInt8](repeating: UInt8(segment), count: 100)
            let sent = host.send(
                [.ack], on: Self.ends, sequence: 1001 + 100 * segment, acknowledgment: number, text: text)
            #expect(sent.isEmpty == (segment > 0))
        }
        let accepted = host.stack.accept(listener)
        let id = try #require(accepted)
        #expect(host.stack.receiveAll(id) == [UInt8](repeating: 0, count: 100))
    }

    @Test(
        "guesses are reset and counted, and none of a hundred thousand is right; without a cookie out, none is looked at"
    )
    func forging() throws {
        var random = SeededGenerator(seed: 11)
        var host = Strangers()
        _ = try host.stack.listen(on: nil, port: Strangers.port, Self.always())
        host.send([.ack], on: Self.ends, sequence: 1, acknowledgment: 1)
        #expect(host.stack.counters.tcp.synCookiesForged == 0)
        host.send(.syn, on: Self.ends, sequence: 1000)
        host.keepsSent = false
        let before = host.sentCount
        // The right minute, so that the tags alone are in the way.
        for _ in 0..<100_000 {
            let guess = UInt32.random(in: 0..<1 << 27, using: &random)
            host.add([.ack], on: Strangers.ends(guess & 0xFFFF), sequence: guess &* 7, acknowledgment: guess)
        }
        host.arrive()
        let counters = host.stack.counters.tcp
        // One in 256 has the first tag right, and is dropped as a later segment: no connection comes of it either.
        #expect(counters.synCookiesIn == 0 && host.stack.connectionCount == 0)
        #expect(counters.synCookiesForged > 99_000)
        #expect(host.sentCount - before == Int(counters.synCookiesForged))
        // Two minutes after the last cookie they are just strangers.
        host.wait(.seconds(121))
        host.send([.ack], on: Self.ends, sequence: 1, acknowledgment: 1)
        #expect(host.stack.counters.tcp.synCookiesForged == counters.synCookiesForged)
    }

    @Test(
        "a full SYN queue is answered by cookies if the listener wants them, and not at all if it does not",
        arguments: [SYNCookieUse.whenFull, .never])
    func whenFull(use: SYNCookieUse) throws {
        var host = Strangers()
        var settings = ListenerSettings()
        settings.backlog = 4
        settings.cookies = use
        let listener = try host.stack.listen(on: nil, port: Strangers.port, settings)
        for number in 0..<4 as Range<UInt32> { host.send(.syn, on: Strangers.ends(number), sequence: 1) }
        #expect(host.stack.counters.tcp.synCookiesOut == 0 && host.stack.tcp.halfOpenCount == 4)
        host.handshake(on: Strangers.ends(9))
        let accepted = host.stack.accept(listener)
        #expect((accepted != nil) == (use == .whenFull))
        #expect(host.stack.counters.tcp.synCookiesOut == (use == .whenFull ? 1 : 0))
        #expect(host.stack.counters.tcp.synsDropped == (use == .whenFull ? 0 : 1))
        // Those in the queue are served as before.
        #expect(host.stack.tcp.halfOpenCount == 4)
    }
}
