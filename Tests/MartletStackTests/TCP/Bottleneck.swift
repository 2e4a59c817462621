// One bottleneck in virtual time: senders with endless data, a queue that drops what does not fit, and a long wire.
//
//     flows ──▶ [ queue ]──▶ rate ──▶ half of the round trip ──▶ receiver ──▶ other half, as ACKs ──▶ flows
//
// Segments stay in order, so an ACK tells that what was sent before it and has not arrived is lost. What is lost is not
// sent again: new data in its place looks the same to congestion control.

@testable import MartletStack

/// A link that all flows share.
struct Bottleneck {
    /// Bytes a second.
    let rate: Double
    /// Seconds without any queue.
    let roundTrip: Double
    /// Bytes that may wait.
    let buffer: Double
    /// Every so many segments one is lost for no reason; 0 for never.
    var lossInterval = 0
    private var freeAt = 0.0
    private var segments = 0
    private(set) var drops = 0

    init(rate: Double, roundTrip: Double, buffer: Double, lossInterval: Int = 0) {
        (self.rate, self.roundTrip, self.buffer, self.lossInterval) = (rate, roundTrip, buffer, lossInterval)
    }

    var product: Double { rate * roundTrip }

    /// When the ACK comes back; `nil` if the segment is dropped.
    mutating func carry(_ bytes: UInt32, at time: Double) -> Double? {
        segments += 1
        let waiting = max(0, freeAt - time) * rate
        if waiting + Double(bytes) > buffer || (lossInterval > 0 && segments % lossInterval == 0) {
            drops += 1
            return nil
        }
        freeAt = max(freeAt, time) + Double(bytes) / rate
        return freeAt + roundTrip
    }
}

/// A sender, in the way TCP uses this arithmetic: all of it together.
struct Flow {
    let mss: UInt32 = 1_448
    var control: CongestionControl
    var rate = RateMeter(now: .zero)
    var rtt = RTT()
    var minimum = MinimumRTT()
    var pacing = Pacing()
    var prr: PRR?
    private(set) var pipe: UInt32 = 0
    private(set) var delivered: UInt64 = 0
    private var budget: UInt32 = 0
    private var segments: [Segment] = []
    private var first = 0
    private var sentCount = 0
    private var recoveryPoint = 0
    private var isTimedOut = false
    private var timeout = Double.infinity
    private(set) var timeouts = 0

    private struct Segment {
        var number: Int
        var sentAt: Double
        /// Infinite if it is lost.
        var ackAt: Double
        var record: RateSnapshot
    }

    init(_ algorithm: CongestionAlgorithm, random: UInt64 = 0) {
        control = CongestionControl(algorithm)
        control.established(
            mss: mss, initialWindow: CongestionLimits.initialWindow(mss: mss), smoothedRTT: 0, at: .zero, random: random
        )
    }

    /// When this flow has something to do next.
    var nextEvent: Double {
        var index = first
        while index < segments.count && segments[index].ackAt == .infinity { index += 1 }
        let ack = index < segments.count ? segments[index].ackAt : timeout
        return maySend ? min(ack, Double(pacing.nextDeparture.nanoseconds) / 1e9) : ack
    }

    private var maySend: Bool { prr == nil ? pipe + mss <= control.cwnd : budget >= mss }

    mutating func act(at time: Double, on link: inout Bottleneck) {
        receive(at: time)
        if first == segments.count || time >= timeout { expire(at: time) }
        let now = Instant(nanoseconds: Int64((time * 1e9).rounded()))
        // A limit, in case the window is not one.
        var count = 0
        while count < 10_000 && maySend && pacing.mayDepart(at: now) {
            send(at: time, now, on: &link)
            count += 1
        }
    }

    private mutating func send(at time: Double, _ now: Instant, on link: inout Bottleneck) {
        _ = pacing.depart(mss, at: now, rate: control.pacingRate)
        if case .bbr(let bbr) = control, bbr.marksAppLimited { rate.becameAppLimited(pipe: pipe) }
        control.sent(mss, pipe: pipe, at: now)
        let record = rate.sent(pipe: pipe, at: now)
        let ackAt = link.carry(mss, at: time) ?? .infinity
        segments.append(Segment(number: sentCount, sentAt: time, ackAt: ackAt, record: record))
        sentCount += 1
        pipe += mss
        if prr != nil {
            prr!.sent(mss)
            budget -= mss
        }
        timeout = time + Double(rtt.rto) / 1e6
    }

    private mutating func receive(at time: Double) {
        while let index = segments[first...].firstIndex(where: { $0.ackAt != .infinity }),
            segments[index].ackAt <= time
        {
            acknowledge(index)
            first = index + 1
            if first > 4_096 {
                segments.removeFirst(first)
                first = 0
            }
        }
    }

    private mutating func acknowledge(_ index: Int) {
        let segment = segments[index]
        let now = Instant(nanoseconds: Int64((segment.ackAt * 1e9).rounded()))
        let lost = UInt32(index - first) * mss
        let sample = UInt32((segment.ackAt - segment.sentAt) * 1e6)
        let flightSize = pipe
        rtt.sample(sample)
        minimum.sample(sample, at: now)
        rate.delivered(segment.record, bytes: mss, at: now)
        delivered += UInt64(mss)
        control.acknowledged(
            Acknowledgement(
                now: now, bytes: mss, lost: lost, pipe: pipe, sampleRTT: sample, smoothedRTT: rtt.srtt,
                isCwndLimited: true, rate: rate.sample(minRTT: minimum.value)))
        pipe -= mss + lost
        let isRecovering = prr != nil || isTimedOut
        if isRecovering && segment.number >= recoveryPoint {
            (prr, isTimedOut) = (nil, false)
            control.recoveryEnded(at: now)
        }
        if lost > 0 && prr == nil && !isTimedOut {
            _ = control.congestionEvent(.loss, flightSize: flightSize, pipe: pipe, at: now)
            recoveryPoint = sentCount
            if control.usesPRR { prr = PRR(recoverFS: flightSize) } else { isTimedOut = true }
        }
        if prr != nil {
            budget = prr!.sendable(
                pipe: pipe, delivered: mss, ssthresh: control.ssthresh, mss: mss, isSafe: lost == 0)
        }
        timeout = segment.ackAt + Double(rtt.rto) / 1e6
    }

    private mutating func expire(at time: Double) {
        if first == segments.count && pipe == 0 { return }
        guard time >= timeout else { return }
        timeouts += 1
        let now = Instant(nanoseconds: Int64((time * 1e9).rounded()))
        control.retransmissionTimeout(flightSize: pipe, isRepeated: isTimedOut, at: now)
        rtt.backOff()
        segments.removeAll(keepingCapacity: true)
        (first, pipe, prr, isTimedOut, recoveryPoint) = (0, 0, nil, true, sentCount)
        timeout = time + Double(rtt.rto) / 1e6
    }
}

/// Flows over a bottleneck, until some time.
struct Path {
    var link: Bottleneck
    var flows: [Flow]
    private(set) var time = 0.0
    private var events = 0

    init(_ link: Bottleneck, _ flows: [Flow]) {
        (self.link, self.flows) = (link, flows)
    }

    /// Runs until `end`; `watch` is called every `interval` seconds.
    mutating func run(to end: Double, watchEach interval: Double = .infinity, _ watch: (Path) -> Void = { _ in }) {
        var nextWatch = time + interval
        for index in flows.indices { flows[index].act(at: time, on: &link) }
        while time < end {
            var (earliest, index) = (Double.infinity, 0)
            for candidate in flows.indices where flows[candidate].nextEvent < earliest {
                (earliest, index) = (flows[candidate].nextEvent, candidate)
            }
            // Every flow has a segment or a timeout under way. And no event is in the past.
            precondition(earliest < .infinity, "nothing happens any more")
            events += 1
            precondition(events < 2_000_000, "time stands still")
            time = max(time, earliest)
            while time >= nextWatch {
                watch(self)
                nextWatch += interval
            }
            flows[index].act(at: time, on: &link)
        }
    }
}
