// Leaving the first slow start before it overflows a buffer: when round trips grow longer, a queue is building up.
//
// Hold RFC 9406 §4.2 and §4.3 beside it. A round ends when what was sent at its start is acknowledged; the caller says
// which ACK is the first of the next one. Must not know the window: it is told of ACKs, and says by how much to grow.
//
//     slow start ── RTT rose by an eighth (4 … 16 ms) ──▶ conservative slow start ── five rounds ──▶ finished
//         ▲                                                   │
//         └──────────── RTT fell again: it was jitter ────────┘

/// HyStart++, for one slow start.
struct HyStart: BitwiseCopyable, Sendable {
    static var minimumThreshold: UInt32 { 4_000 }
    static var maximumThreshold: UInt32 { 16_000 }
    static var roundTripDivisor: UInt32 { 8 }
    static var samplesPerRound: UInt8 { 8 }
    static var growthDivisor: UInt32 { 4 }
    static var conservativeRounds: UInt8 { 5 }
    /// L: how many segments' worth of growth one ACK may bring, without pacing.
    static var growthLimit: UInt32 { 8 }

    enum Phase: UInt8, BitwiseCopyable, Sendable {
        case slowStart
        /// CSS.
        case conservative
        case finished
    }

    // Microseconds; the largest number stands for infinity.
    private var lastRoundMinRTT: UInt32 = .max
    private var currentRoundMinRTT: UInt32 = .max
    private var cssBaselineMinRTT: UInt32 = .max
    private var rttSampleCount: UInt8 = 0
    private var cssRounds: UInt8 = 0
    private(set) var phase = Phase.slowStart

    /// The bytes by which the window grows on an ACK for `bytes`; 0 when slow start is ``Phase/finished``.
    ///
    /// `sampleRTT` is in microseconds, and 0 if the ACK gives none.
    mutating func growth(for bytes: UInt32, mss: UInt32, sampleRTT: UInt32, isRoundStart: Bool) -> UInt32 {
        if isRoundStart { startRound() }
        if sampleRTT > 0 && phase != .finished { take(sampleRTT) }
        let growth = min(bytes, Self.growthLimit * mss)
        return switch phase {
        case .slowStart: growth
        case .conservative: growth / Self.growthDivisor
        case .finished: 0
        }
    }

    private mutating func startRound() {
        lastRoundMinRTT = currentRoundMinRTT
        currentRoundMinRTT = .max
        rttSampleCount = 0
        guard phase == .conservative else { return }
        // The round in which the phase began counts, however little was left of it.
        cssRounds += 1
        if cssRounds >= Self.conservativeRounds { phase = .finished }
    }

    private mutating func take(_ sample: UInt32) {
        currentRoundMinRTT = min(currentRoundMinRTT, sample)
        rttSampleCount = min(rttSampleCount + 1, Self.samplesPerRound)
        guard rttSampleCount == Self.samplesPerRound else { return }
        if phase == .conservative {
            if currentRoundMinRTT < cssBaselineMinRTT {
                cssBaselineMinRTT = .max
                phase = .slowStart
            }
        } else if lastRoundMinRTT != .max {
            let threshold = max(
                Self.minimumThreshold, min(lastRoundMinRTT / Self.roundTripDivisor, Self.maximumThreshold))
            if currentRoundMinRTT >= lastRoundMinRTT.addingSaturated(threshold) {
                cssBaselineMinRTT = currentRoundMinRTT
                cssRounds = 0
                phase = .conservative
            }
        }
    }
}
