// A peer that lies, and strangers who guess: what they send costs little and changes nothing that is not theirs to change.
//
// Hold RFC 5961 and RFC 5681 §3.1 beside it; ACK division and optimistic ACKs are of Savage et al., 1999.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct EnemyTests {
    private static let established = StateWay(column: "ES", opening: .passive)

    // MARK: ACKs that lie

    @Test("ACKs of what was never sent acknowledge nothing, release nothing and open no window")
    func optimisticAcks() {
        var stage = StateStage(Self.established)
        let id = stage.connection!
        let written = stage.stack.send(id, [UInt8](repeating: 1, count: 60_000))
        #expect(written == 60_000)
        stage.run(for: .zero)
        let next = stage.numbers.n
        let cwnd = stage.stack.tcp.number("cwnd", of: id)
        for ahead in [1, 2, 1460, 65_535, 1 << 20, 1 << 30, (1 << 31) - 1] as [UInt32] {
            stage.arrives(stage.segment(.ack, stage.numbers.p, 0, next &+ ahead))
        }
        #expect(stage.numbers.n == next)
        #expect(stage.stack.tcp.number("snd_una", of: id) == 1)
        #expect(stage.stack.tcp.number("cwnd", of: id) == cwnd)
        #expect(stage.stack.counters.tcp.challengeAcks == 7)
        let state = stage.stack.state(of: id)
        #expect(state == .established)
    }

    @Test("a segment acknowledged byte by byte opens the window no further than acknowledged at once (ACK division)")
    func ackDivision() {
        func cwnd(in pieces: UInt32) -> Int64 {
            var stage = StateStage(Self.established)
            _ = stage.stack.send(stage.connection!, [UInt8](repeating: 1, count: 14_600))
            stage.run(for: .zero)
            for piece in 1...pieces {
                stage.arrives(stage.segment(.ack, stage.numbers.p, 0, 1 + 1460 * piece / pieces))
            }
            return stage.stack.tcp.number("cwnd", of: stage.connection!)!
        }
        #expect(cwnd(in: 1460) <= cwnd(in: 1))
    }

    @Test("duplicate ACKs without data in flight resend nothing, however many come")
    func duplicateAcks() {
        var stage = StateStage(Self.established)
        let segments = stage.stack.counters.tcp.segmentsOut
        for _ in 0..<1000 { stage.arrives(stage.segment(.ack, stage.numbers.p, 0, stage.numbers.n)) }
        #expect(stage.stack.counters.tcp.segmentsOut == segments)
    }

    @Test("random SACK blocks, true and false, never keep the bytes from arriving", arguments: 0..<12 as Range<UInt64>)
    func liesOfSACK(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var peer = LyingPeer()
        let delivered = peer.run(&random)
        #expect(delivered, "seed \(seed)")
    }

    // MARK: Strangers who guess

    @Test(
        "100,000 segments with numbers of any value neither end a connection nor add to its bytes",
        arguments: 0..<4 as Range<UInt64>)
    func guesses(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var stage = StateStage(Self.established)
        let id = stage.connection!
        for _ in 0..<25_000 {
            var bits = UInt8.random(in: 0...255, using: &random)
            // A reset at exactly RCV.NXT, once in four billion, is the one that counts.
            var sequence = UInt32.random(in: 0...UInt32.max, using: &random)
            if sequence == stage.numbers.p { sequence &+= 1 }
            // Every fourth lies in the window, but acknowledges anything.
            if Bool.random(using: &random), Bool.random(using: &random) {
                sequence = stage.numbers.p &+ UInt32.random(in: 1...20_000, using: &random)
                bits &= ~4
            }
            let flags = PacketScript.Flags(rawValue: bits)
            let ack = stage.numbers.n &+ UInt32.random(in: 0x0100_0000...0xfe00_0000, using: &random)
            stage.arrives(
                stage.segment(
                    flags, sequence, Int.random(in: 0...100, using: &random), flags.contains(.ack) ? ack : nil))
        }
        let state = stage.stack.state(of: id)
        #expect(state == .established, "seed \(seed)")
        #expect(stage.stack.tcp.rangesFree == 64, "seed \(seed): injected bytes wait to be read")
        stage.arrives(stage.segment([.ack, .psh], stage.numbers.p, 100, stage.numbers.n))
        let all = stage.stack.receiveAll(id)
        #expect(all == SegmentBytes.data(from: stage.numbers.p, count: 100), "seed \(seed)")
    }

    // MARK: Floods

    @Test(
        "single bytes with holes between are held up to a number of ranges, within the window's bytes, and all given back"
    )
    func outOfOrderFlood() {
        var stage = StateStage(Self.established)
        let id = stage.connection!
        let (p, n) = (stage.numbers.p, stage.numbers.n)
        for hole in 0..<14_000 as Range<UInt32> { stage.arrives(stage.segment(.ack, p &+ 1 &+ hole &* 2, 1, n)) }
        let held = 64 - stage.stack.tcp.rangesFree
        #expect(held <= Int(TCPLimits().rangesPerConnection))
        #expect(stage.stack.counters.tcp.tooManyRanges >= 13_900)
        #expect(stage.stack.tcp.ringBytesTaken <= 32_768)
        // What is in order is still taken.
        stage.arrives(stage.segment([.ack, .psh], p, 1000, n))
        let all = stage.stack.receiveAll(id)
        #expect(all == SegmentBytes.data(from: p, count: 1000))
        stage.stack.abort(id)
        stage.stack.release(id)
        stage.run(for: .seconds(1))
        #expect(stage.stack.tcp.rangesFree == 64)
        #expect(stage.stack.tcp.ringBytesTaken == 0)
        #expect(stage.stack.connectionCount == 0)
    }

    @Test(
        "segments that overlap in every way give the bytes that came first, in order",
        arguments: 0..<20 as Range<UInt64>)
    func overlaps(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var stage = StateStage(Self.established)
        let (p, n) = (stage.numbers.p, stage.numbers.n)
        var received: [UInt8] = []
        for _ in 0..<400 {
            let start = UInt32.random(in: 0..<5000, using: &random)
            let length = Int.random(in: 1...700, using: &random)
            stage.arrives(stage.segment(.ack, p &+ start, min(length, 5000 - Int(start)), n))
            received += stage.stack.receiveAll(stage.connection!)
        }
        // What is missing still, in pieces.
        for start in stride(from: 0 as UInt32, to: 5000, by: 500) {
            stage.arrives(stage.segment(.ack, p &+ start, 500, n))
            received += stage.stack.receiveAll(stage.connection!)
        }
        #expect(received == SegmentBytes.data(from: p, count: 5000), "seed \(seed)")
        #expect(stage.stack.tcp.rangesFree == 64, "seed \(seed)")
    }

    // MARK: Wrapping clocks

    @Test("RFC 7323 §5.2: timestamps that wrap are newer, not older")
    func timestampsWrap() throws {
        try ScriptRunner.play(
            """
            0 listen() = 0
            +0 < S 0:0(0) win 65535 <mss 1460,sackOK,TS val 4294967290 ecr 0,nop,wscale 7>
            +0 > S. 0:0(0) ack 1 <...>
            +.1 < . 1:1(0) ack 1 win 512 <nop,nop,TS val 4294967295 ecr 0>
            +0 accept() = 0
            +0 < P. 1:101(100) ack 1 win 512 <nop,nop,TS val 3 ecr 0>
            +0 > . 1:1(0) ack 101 <...>
            +0 < P. 101:201(100) ack 1 win 512 <nop,nop,TS val 4294967295 ecr 0>
            +0 > . 1:1(0) ack 101 <...>
            +0 < P. 101:201(100) ack 1 win 512 <nop,nop,TS val 2147483650 ecr 0>
            +0 > . 1:1(0) ack 201 <...>
            +0 read(1000) = 200
            """)
    }

    @Test("RFC 7323 §5.5: after 24 days of silence no timestamp is too old", arguments: [true, false])
    func timestampsAge(isLongEnough: Bool) throws {
        let answer = isLongEnough ? 101 : 1
        try ScriptRunner.play(
            OptionScriptTests.accepted + """
                +\(isLongEnough ? 2_073_601 : 2_073_500) < P. 1:101(100) ack 1 win 512 <nop,nop,TS val 900 ecr 0>
                +0 > . 1:1(0) ack \(answer) <...>
                """)
    }
}

/// A receiver whose cumulative ACKs are true in the end, and whose SACK blocks are what it likes.
struct LyingPeer: ~Copyable {
    private var stage: StateStage

    init() {
        var way = StateWay(column: "ES", opening: .passive)
        way.isSACKPermitted = true
        stage = StateStage(way)
    }

    /// Whether all bytes have been sent and acknowledged within a bounded number of turns.
    mutating func run(_ random: inout SeededGenerator) -> Bool {
        let id = stage.connection!
        let count: UInt32 = 60_000
        var written = 0
        var turns = 0
        while stage.stack.tcp.number("snd_una", of: id)! < Int64(count) + 1, turns < 5000 {
            turns += 1
            if written < Int(count) {
                written += stage.stack.send(id, [UInt8](repeating: 1, count: Int(count)), from: written)
            }
            stage.run(for: .milliseconds(Int.random(in: 0...400, using: &random)))
            let una = UInt32(stage.stack.tcp.number("snd_una", of: id)!)
            // Sometimes nothing new, sometimes a part.
            let room = stage.numbers.n &- una
            let ack = una &+ (Bool.random(using: &random) ? UInt32.random(in: 0...room, using: &random) : 0)
            let blocks = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                let start = una &+ UInt32(truncatingIfNeeded: random.anyMagnitude(below: 32))
                return PacketScript.SACKBlock(
                    start: start, end: start &+ UInt32(truncatingIfNeeded: random.anyMagnitude(below: 18)))
            }
            var segment = stage.segment(.ack, stage.numbers.p, 0, ack)
            segment.options = .exactly([.noOperation, .noOperation, .sack(blocks)])
            stage.arrives(segment)
        }
        return turns < 5000
    }
}
