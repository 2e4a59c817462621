// Slow starts round by round, against RFC 9406 §4.2.

import Testing

@testable import MartletStack

@Suite struct HyStartTests {
    private let mss: UInt32 = 1_000

    /// A round of ten ACKs for one segment each, whose round trips take so long; returns the growth in bytes.
    @discardableResult
    private func round(_ hyStart: inout HyStart, rtt: UInt32, acks: Int = 10) -> UInt32 {
        (0..<acks).reduce(0) { growth, ack in
            growth + hyStart.growth(for: mss, mss: mss, sampleRTT: rtt, isRoundStart: ack == 0)
        }
    }

    @Test func `As long as round trips stay short the window doubles`() {
        var hyStart = HyStart()
        for _ in 0..<100 { #expect(round(&hyStart, rtt: 50_000) == 10_000) }
        #expect(hyStart.phase == .slowStart)
    }

    @Test func `A round trip longer by an eighth slows growth to a quarter, from the eighth sample on`() {
        var hyStart = HyStart()
        round(&hyStart, rtt: 64_000)
        // Seven ACKs for a whole segment, three for a quarter.
        #expect(round(&hyStart, rtt: 72_000) == 7_750)
        #expect(hyStart.phase == .conservative)
        #expect(round(&hyStart, rtt: 72_000) == 2_500)
    }

    @Test(
        arguments: [
            // An eighth, but at least 4 ms and at most 16 ms.
            (64_000, 71_999, false), (64_000, 72_000, true), (8_000, 11_999, false), (8_000, 12_000, true),
            (400_000, 415_999, false), (400_000, 416_000, true), (1, 4_000, false), (1, 4_001, true),
        ] as [(UInt32, UInt32, Bool)])
    func `The threshold is an eighth of the last round's, within bounds`(last: UInt32, current: UInt32, slows: Bool) {
        var hyStart = HyStart()
        round(&hyStart, rtt: last)
        round(&hyStart, rtt: current)
        #expect((hyStart.phase == .conservative) == slows)
    }

    @Test func `Fewer than eight samples decide nothing`() {
        var hyStart = HyStart()
        round(&hyStart, rtt: 50_000)
        round(&hyStart, rtt: 500_000, acks: 7)
        #expect(hyStart.phase == .slowStart)
        // ACKs without a sample do not count.
        for _ in 0..<20 { _ = hyStart.growth(for: mss, mss: mss, sampleRTT: 0, isRoundStart: false) }
        #expect(hyStart.phase == .slowStart)
        _ = hyStart.growth(for: mss, mss: mss, sampleRTT: 500_000, isRoundStart: false)
        #expect(hyStart.phase == .conservative)
    }

    @Test func `Conservative slow start lasts five rounds, the partial first included`() {
        var hyStart = HyStart()
        round(&hyStart, rtt: 50_000)
        round(&hyStart, rtt: 70_000)
        for _ in 0..<4 {
            round(&hyStart, rtt: 70_000)
            #expect(hyStart.phase == .conservative)
        }
        #expect(hyStart.growth(for: mss, mss: mss, sampleRTT: 70_000, isRoundStart: true) == 0)
        #expect(hyStart.phase == .finished)
        #expect(round(&hyStart, rtt: 10_000) == 0)
        #expect(hyStart.phase == .finished)
    }

    @Test func `Round trips that grow shorter again were jitter, and slow start goes on`() {
        var hyStart = HyStart()
        round(&hyStart, rtt: 50_000)
        round(&hyStart, rtt: 70_000)
        round(&hyStart, rtt: 70_000)
        #expect(hyStart.phase == .conservative)
        round(&hyStart, rtt: 69_999)
        #expect(hyStart.phase == .slowStart)
        // And it can slow down again, for a whole five rounds.
        round(&hyStart, rtt: 90_000)
        #expect(hyStart.phase == .conservative)
        for _ in 0..<4 { round(&hyStart, rtt: 90_000) }
        #expect(hyStart.phase == .conservative)
    }

    @Test func `One ACK brings eight segments at most`() {
        var hyStart = HyStart()
        #expect(hyStart.growth(for: 8_000, mss: mss, sampleRTT: 1, isRoundStart: false) == 8_000)
        #expect(hyStart.growth(for: 8_001, mss: mss, sampleRTT: 1, isRoundStart: false) == 8_000)
        #expect(hyStart.growth(for: .max, mss: 65_535, sampleRTT: .max, isRoundStart: true) == 8 * 65_535)
    }
}
