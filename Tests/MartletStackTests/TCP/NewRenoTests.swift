// RFC 5681 by hand: the windows after each ACK, loss, timeout and pause.

import Testing

@testable import MartletStack

extension Acknowledgement {
    /// An ACK for so many bytes, of a sender that fills its window.
    static func of(
        _ bytes: UInt32, at now: Instant = .zero, pipe: UInt32 = 0, rtt: UInt32 = 0, isCwndLimited: Bool = true
    ) -> Acknowledgement {
        Acknowledgement(
            now: now, bytes: bytes, pipe: pipe, sampleRTT: rtt, smoothedRTT: rtt, isCwndLimited: isCwndLimited)
    }
}

extension CongestionController {
    mutating func established(mss: UInt32, segments: UInt32 = 10) {
        established(mss: mss, initialWindow: segments * mss, smoothedRTT: 0, at: .zero, random: 0)
    }

    mutating func lose(flightSize: UInt32? = nil) -> UInt32 {
        congestionEvent(.loss, flightSize: flightSize ?? cwnd, pipe: cwnd, at: .zero)
    }
}

@Suite struct NewRenoTests {
    private func established() -> NewReno {
        var reno = NewReno()
        reno.established(mss: 1_000)
        return reno
    }

    /// In congestion avoidance, with a window of ten segments.
    private func avoiding() -> NewReno {
        var reno = NewReno()
        reno.established(mss: 1_000, segments: 20)
        #expect(reno.lose() == 10_000)
        reno.recoveryEnded(at: .zero)
        #expect(reno.cwnd == 10_000 && reno.ssthresh == 10_000)
        return reno
    }

    @Test func `In slow start the window grows by what is acknowledged`() {
        var reno = established()
        #expect(reno.cwnd == 10_000 && reno.ssthresh == .max && reno.pacingRate == 0)
        for _ in 0..<10 { reno.acknowledged(.of(1_000)) }
        #expect(reno.cwnd == 20_000)
        reno.acknowledged(.of(1))
        #expect(reno.cwnd == 20_001)
    }

    @Test func `In congestion avoidance a window of ACKs brings one segment`() {
        var reno = avoiding()
        for _ in 0..<9 { reno.acknowledged(.of(1_000)) }
        #expect(reno.cwnd == 10_000)
        reno.acknowledged(.of(1_000))
        #expect(reno.cwnd == 11_000)
        for _ in 0..<11 { reno.acknowledged(.of(1_000)) }
        #expect(reno.cwnd == 12_000)
        // One that covers a hundred windows brings no more.
        reno.acknowledged(.of(1_200_000))
        #expect(reno.cwnd == 13_000)
        // Nor do the hundred come later.
        reno.acknowledged(.of(1_000))
        #expect(reno.cwnd == 14_000)
        reno.acknowledged(.of(1_000))
        #expect(reno.cwnd == 14_000)
    }

    @Test func `A window that was not used does not grow`() {
        var reno = established()
        for _ in 0..<100 { reno.acknowledged(.of(1_000, isCwndLimited: false)) }
        #expect(reno.cwnd == 10_000)
        var other = avoiding()
        for _ in 0..<100 { other.acknowledged(.of(1_000, isCwndLimited: false)) }
        #expect(other.cwnd == 10_000)
    }

    @Test func `A loss halves what was in flight, once a recovery`() {
        var reno = established()
        #expect(reno.lose() == 5_000)
        #expect(reno.lose() == 5_000)
        reno.acknowledged(.of(5_000))
        #expect(reno.cwnd == 5_000)
        reno.recoveryEnded(at: .zero)
        #expect(reno.cwnd == 5_000 && reno.ssthresh == 5_000)
        #expect(reno.congestionEvent(.ecn, flightSize: 5_000, pipe: 5_000, at: .zero) == 2_500)
    }

    @Test func `ssthresh is half of the FlightSize, which does not count beyond the window, and two segments at least`()
    {
        var reno = established()
        #expect(reno.lose(flightSize: 8_000) == 4_000)
        var more = established()
        #expect(more.lose(flightSize: 12_000) == 5_000)
        var less = established()
        #expect(less.lose(flightSize: 1_000) == 2_000)
        #expect(less.cwnd == 2_000)
    }

    @Test func `After a timeout the window is one segment and grows to half of what it was`() {
        var reno = established()
        reno.retransmissionTimeout(flightSize: 10_000, isRepeated: false, at: .zero)
        #expect(reno.cwnd == 1_000 && reno.ssthresh == 5_000)
        // The second timeout of the same segment leaves ssthresh alone.
        reno.retransmissionTimeout(flightSize: 1_000, isRepeated: true, at: .zero)
        #expect(reno.cwnd == 1_000 && reno.ssthresh == 5_000)
        // An ACK for all that had arrived long before brings one segment: L = 1.
        reno.acknowledged(.of(9_000))
        #expect(reno.cwnd == 2_000)
        reno.recoveryEnded(at: .zero)
        // And then two: L = 2.
        reno.acknowledged(.of(9_000))
        #expect(reno.cwnd == 4_000)
        reno.acknowledged(.of(2_000))
        #expect(reno.cwnd == 5_000)
        reno.acknowledged(.of(2_000))
        #expect(reno.cwnd == 5_000)
    }

    @Test func `A spurious loss is taken back, once`() {
        var reno = avoiding()
        #expect(reno.lose() == 5_000)
        reno.undo()
        #expect(reno.cwnd == 10_000 && reno.ssthresh == 10_000)
        for _ in 0..<10 { reno.acknowledged(.of(1_000)) }
        #expect(reno.cwnd == 11_000)
        let before = reno
        reno.undo()
        #expect(reno.cwnd == before.cwnd && reno.ssthresh == before.ssthresh)
    }

    @Test func `A spurious timeout is taken back, even a repeated one`() {
        var reno = established()
        reno.retransmissionTimeout(flightSize: 10_000, isRepeated: false, at: .zero)
        reno.retransmissionTimeout(flightSize: 1_000, isRepeated: true, at: .zero)
        reno.undo()
        #expect(reno.cwnd == 10_000 && reno.ssthresh == .max)
    }

    @Test func `A spurious timeout in a recovery takes back no more than itself`() {
        var reno = established()
        #expect(reno.lose() == 5_000)
        reno.retransmissionTimeout(flightSize: 10_000, isRepeated: false, at: .zero)
        #expect(reno.cwnd == 1_000 && reno.ssthresh == 5_000)
        reno.undo()
        #expect(reno.cwnd == 5_000 && reno.ssthresh == 5_000)
    }

    @Test func `After a pause it starts with the initial window, and slowly up to three quarters of the old one`() {
        var reno = NewReno()
        reno.established(mss: 1_000, segments: 10)
        for _ in 0..<70 { reno.acknowledged(.of(1_000)) }
        #expect(reno.lose() == 40_000)
        reno.recoveryEnded(at: .zero)
        reno.idleRestarted(at: .zero)
        #expect(reno.cwnd == 10_000 && reno.ssthresh == 40_000)
        var other = established()
        for _ in 0..<70 { other.acknowledged(.of(1_000)) }
        other.idleRestarted(at: .zero)
        #expect(other.cwnd == 10_000 && other.ssthresh == .max)
    }

    @Test func `Larger segments leave room for one in the window, and for two in ssthresh`() {
        var reno = NewReno()
        reno.established(mss: 100)
        #expect(reno.lose() == 500)
        reno.recoveryEnded(at: .zero)
        reno.mssChanged(to: 9_000)
        #expect(reno.cwnd == 9_000 && reno.ssthresh == 18_000)
        reno.idleRestarted(at: .zero)
        #expect(reno.cwnd == 9_000)
    }

    @Test func `A queue that builds up ends the first slow start`() {
        var reno = established()
        for round in 0..<20 as Range<UInt32> {
            for index in 0..<10 {
                var ack = Acknowledgement.of(1_000, rtt: 20_000 + (round > 3 ? 10_000 : 0))
                ack.rate.isRoundStart = index == 0
                reno.acknowledged(ack)
            }
        }
        #expect(reno.ssthresh < .max)
        #expect(reno.cwnd >= reno.ssthresh && reno.cwnd < reno.ssthresh + 4_000)
    }
}
