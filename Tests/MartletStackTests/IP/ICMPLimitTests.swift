// Which packets are answered by ICMP errors, and how many; and identifications that strangers cannot guess.

import Testing

@testable import MartletStack

@Suite struct ICMPLimitTests {
    static func cause(_ source: String = "192.0.2.1", _ destination: String = "192.0.2.2") -> ICMPCause {
        ICMPCause(source: IPAddress(source)!, destination: IPAddress(destination)!)
    }

    @Test(
        arguments: [
            ("192.0.2.1", "192.0.2.2", nil), ("0.0.0.0", "192.0.2.2", .source), ("0.1.2.3", "192.0.2.2", .source),
            ("127.0.0.1", "192.0.2.2", .source), ("224.0.0.1", "192.0.2.2", .source),
            ("255.255.255.255", "192.0.2.2", .source),
            ("240.0.0.1", "192.0.2.2", .source), ("192.0.2.1", "224.0.0.1", .groupDestination),
            ("192.0.2.1", "255.255.255.255", .groupDestination), ("2001:db8::1", "2001:db8::2", nil),
            ("::", "2001:db8::2", .source), ("::1", "2001:db8::2", .source), ("ff02::1", "2001:db8::2", .source),
            ("::ffff:192.0.2.1", "2001:db8::2", .source), ("2001:db8::1", "ff02::1", .groupDestination),
            ("192.0.2.1", "2001:db8::2", .source), ("fe80::1", "fe80::2", nil),
        ] as [(String, String, ICMPSilence?)])
    func `Sources that are no host, and groups, are not answered`(
        source: String, destination: String, silence: ICMPSilence?
    ) {
        #expect(Self.cause(source, destination).silence == silence)
    }

    @Test func `Every ICMP type that is an error is not answered, and every other one may be`() {
        for type in UInt8.min...UInt8.max {
            var v4 = Self.cause()
            v4.icmpType = type
            #expect((v4.silence == .icmpError) == [3, 4, 5, 11, 12].contains(type), "type \(type)")
            var v6 = Self.cause("2001:db8::1", "2001:db8::2")
            v6.icmpType = type
            #expect((v6.silence == .icmpError) == (type < 128 || type == 137), "type \(type)")
        }
    }

    @Test func `Broadcasts, frames to groups and later fragments are not answered`() {
        var cause = Self.cause()
        cause.isBroadcast = true
        #expect(cause.silence == .groupDestination)
        cause = Self.cause()
        cause.isGroupFrame = true
        #expect(cause.silence == .groupFrame)
        cause = Self.cause()
        cause.isFirstFragment = false
        #expect(cause.silence == .laterFragment)
        cause = Self.cause("2001:db8::1", "ff02::1")
        cause.isGroupFrame = true
        cause.mayAnswerGroup = true
        #expect(cause.silence == nil)
    }

    @Test func `A burst is let through, and then the rate`() {
        var random = SeededGenerator(seed: 4)
        var limit = ICMPLimit(messagesPerSecond: 100, burst: 40, now: .zero)
        var sent = 0
        for _ in 0..<1_000 where limit.take(at: .zero, using: &random) { sent += 1 }
        #expect(sent >= 35 && sent <= 40)
        for step in 0..<10_000 {
            let now = Instant(nanoseconds: Int64(step) * 1_000_000)
            if limit.take(at: now, using: &random) { sent += 1 }
        }
        #expect(sent >= 1_030 && sent <= 1_040)
        #expect(limit.sent == UInt64(sent) && limit.limited == UInt64(11_000 - sent))
        // A bucket that was left alone for years is full, and not more.
        var after = 0
        for _ in 0..<1_000 where limit.take(at: Instant(nanoseconds: .max / 2), using: &random) { after += 1 }
        #expect(after <= 40)
    }

    @Test func `Where the burst ends differs from one time to the next`() {
        var random = SeededGenerator(seed: 4)
        var lengths: Set<Int> = []
        for _ in 0..<50 {
            var limit = ICMPLimit(messagesPerSecond: 100, burst: 40, now: .zero)
            var sent = 0
            while limit.take(at: .zero, using: &random) { sent += 1 }
            lengths.insert(sent)
        }
        #expect(lengths.count > 2)
    }

    @Test func `A packet that must not be answered costs nothing of the rate`() {
        var random = SeededGenerator(seed: 4)
        var limit = ICMPLimit(messagesPerSecond: 1, burst: 1, now: .zero)
        expect(limit.silence(for: Self.cause("0.0.0.0"), at: .zero, using: &random), is: .source)
        expect(limit.silence(for: Self.cause(), at: .zero, using: &random), is: nil)
        expect(limit.silence(for: Self.cause(), at: .zero, using: &random), is: .rate)
    }

    // MARK: Identification

    @Test func `Identifications to one destination do not repeat soon, and wrap`() {
        var random = SeededGenerator(seed: 8)
        var identification = IPIdentification(counterCount: 16, using: &random)
        let source = IPv4Address(192, 0, 2, 1)
        let destination = IPv4Address(192, 0, 2, 2)
        var seen: Set<UInt16> = []
        for _ in 0..<65_536 {
            seen.insert(
                identification.next4(from: source, to: destination, transportProtocol: 17, at: .zero, using: &random))
        }
        #expect(seen.count == 65_536)
    }

    @Test func `One destination's identifications say nothing about another's`() {
        var random = SeededGenerator(seed: 8)
        var identification = IPIdentification(counterCount: 2048, using: &random)
        let source = IPv6Address(high: 1, low: 1)
        var differences: Set<UInt32> = []
        for number in 0..<200 {
            let first = identification.next6(
                from: source, to: IPv6Address(high: 2, low: UInt64(number)), at: .zero, using: &random)
            let second = identification.next6(
                from: source, to: IPv6Address(high: 3, low: UInt64(number)), at: .zero, using: &random)
            differences.insert(second &- first)
        }
        #expect(differences.count == 200)
    }

    @Test func `A counter that rested jumps, by 1,024 at most`() {
        var random = SeededGenerator(seed: 8)
        var identification = IPIdentification(counterCount: 1, using: &random)
        let address = IPv6Address(high: 1, low: 1)
        var last = identification.next6(from: address, to: address, at: .zero, using: &random)
        var steps: Set<UInt32> = []
        for number in 1...100 {
            let now = Instant(nanoseconds: Int64(number) * 10_000_000_000)
            let next = identification.next6(from: address, to: address, at: now, using: &random)
            steps.insert(next &- last)
            last = next
        }
        #expect(steps.count > 50)
        #expect(steps.allSatisfy { $0 >= 1 && $0 <= 1024 })
        let back = identification.next6(from: address, to: address, at: .zero, using: &random)
        #expect(back == last &+ 1)
    }
}
