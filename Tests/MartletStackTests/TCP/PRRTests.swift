// Recoveries ACK by ACK: the examples of RFC 9937, worked out by hand, and what must hold for every recovery.

import Testing

@testable import MartletStack

@Suite struct PRRTests {
    /// Ten thousand bytes in flight, of which the first thousand are lost.
    private func acks(_ prr: inout PRR, count: Int, pipe: UInt32, ssthresh: UInt32) -> [UInt32] {
        var pipe = pipe
        return (0..<count).map { _ in
            pipe -= 1_000
            let sndcnt = prr.sendable(pipe: pipe, delivered: 1_000, ssthresh: ssthresh, mss: 1_000, isSafe: false)
            let sent = sndcnt / 1_000 * 1_000
            prr.sent(sent)
            pipe += sent
            return sent
        }
    }

    @Test func `Half of what is delivered is sent if ssthresh is half of what was in flight`() {
        var prr = PRR(recoverFS: 20_000)
        // Nothing is sent for an odd ACK but the first, where half a segment is rounded up to a retransmission.
        let sent = acks(&prr, count: 19, pipe: 19_000, ssthresh: 10_000)
        #expect(sent.reduce(0, +) <= 10_000)
        #expect(sent.reduce(0, +) >= 9_000)
        #expect(sent.allSatisfy { $0 <= 1_000 })
    }

    @Test func `Proportional shares are rounded up`() {
        var prr = PRR(recoverFS: 10_000)
        #expect(prr.sendable(pipe: 9_000, delivered: 1_000, ssthresh: 7_000, mss: 1_000, isSafe: true) == 700)
        prr.sent(700)
        #expect(prr.sendable(pipe: 8_700, delivered: 1, ssthresh: 7_000, mss: 1_000, isSafe: true) == 1)
        #expect(prr.prrDelivered == 1_001 && prr.prrOut == 700)
        prr.sent(5_000)
        #expect(prr.sendable(pipe: 8_700, delivered: 0, ssthresh: 7_000, mss: 1_000, isSafe: true) == 0)
    }

    @Test func `The conservative bound sends as much as was delivered`() {
        var prr = PRR(recoverFS: 20_000)
        #expect(prr.sendable(pipe: 4_000, delivered: 1_000, ssthresh: 10_000, mss: 1_000, isSafe: false) == 1_000)
        prr.sent(1_000)
        #expect(prr.sendable(pipe: 4_000, delivered: 2_000, ssthresh: 10_000, mss: 1_000, isSafe: false) == 2_000)
        // What an earlier ACK allowed and was not sent may be sent now.
        #expect(prr.sendable(pipe: 2_000, delivered: 1_000, ssthresh: 10_000, mss: 1_000, isSafe: false) == 3_000)
    }

    @Test func `The slow start bound sends one segment more`() {
        var prr = PRR(recoverFS: 20_000)
        #expect(prr.sendable(pipe: 4_000, delivered: 1_000, ssthresh: 10_000, mss: 1_000, isSafe: true) == 2_000)
        prr.sent(2_000)
        // Ahead of what was delivered, but an ACK that delivers always lets as much go.
        #expect(prr.sendable(pipe: 5_000, delivered: 1_000, ssthresh: 10_000, mss: 1_000, isSafe: true) == 2_000)
    }

    @Test func `Neither bound goes beyond ssthresh`() {
        var prr = PRR(recoverFS: 20_000)
        prr.sent(1)
        for isSafe in [false, true] {
            #expect(prr.sendable(pipe: 9_500, delivered: 5_000, ssthresh: 10_000, mss: 1_000, isSafe: isSafe) == 500)
            #expect(prr.sendable(pipe: 10_000, delivered: 5_000, ssthresh: 10_000, mss: 1_000, isSafe: isSafe) == 0)
        }
    }

    @Test func `The first segment goes out even if nothing was delivered`() {
        var prr = PRR(recoverFS: 20_000)
        #expect(prr.sendable(pipe: 15_000, delivered: 0, ssthresh: 10_000, mss: 1_000, isSafe: false) == 1_000)
        prr.sent(1_000)
        #expect(prr.sendable(pipe: 15_000, delivered: 0, ssthresh: 10_000, mss: 1_000, isSafe: false) == 0)
    }

    @Test(arguments: UInt64(1)...32)
    func `A recovery ends near ssthresh, and above it only by what rounding up brings`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let mss: UInt32 = 1_000
        let segments = UInt32.random(in: 4...400, using: &random)
        let flight = segments * mss
        let ssthresh = max(flight * 7 / 10, 2 * mss)
        let lostSegments = UInt32.random(in: 1...max(1, segments / 5), using: &random)
        var pipe = flight - lostSegments * mss
        var prr = PRR(recoverFS: flight)
        for _ in 0..<(segments - lostSegments) {
            pipe -= mss
            let sndcnt = prr.sendable(
                pipe: pipe, delivered: mss, ssthresh: ssthresh, mss: mss, isSafe: Bool.random(using: &random))
            try #require(sndcnt <= 2 * mss, "seed \(seed)")
            let sent = sndcnt / mss * mss
            prr.sent(sent)
            pipe += sent
        }
        try #require(pipe <= ssthresh, "seed \(seed)")
        // What was lost counts in the share, so at most as much is missing, and a segment of rounding.
        try #require(pipe + lostSegments * mss + 2 * mss >= ssthresh, "seed \(seed): \(pipe) of \(ssthresh)")
    }

    @Test func `Nothing overflows`() {
        for extreme: UInt32 in [0, 1, .max] {
            for other: UInt32 in [0, 1, .max] {
                var prr = PRR(recoverFS: extreme)
                for isSafe in [false, true] {
                    _ = prr.sendable(pipe: other, delivered: .max, ssthresh: .max, mss: other, isSafe: isSafe)
                    prr.sent(.max)
                    _ = prr.sendable(pipe: .max, delivered: .max, ssthresh: extreme, mss: .max, isSafe: isSafe)
                    _ = prr.sendable(pipe: 0, delivered: other, ssthresh: .max, mss: .max, isSafe: isSafe)
                }
            }
        }
    }
}
