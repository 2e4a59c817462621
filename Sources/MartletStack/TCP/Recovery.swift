// What is lost, and how its repair is paced: RACK (RFC 8985), fast recovery with PRR (RFC 6937), and what follows a timeout.
//
//      open ──── a hole ────▶ disorder ──── something is lost ────▶ recovery
//       ▲                        │                                     │
//       ╰── holes are filled ────┴── all that was out is acknowledged ─╯        loss ◀── timeout, from each of them

extension TCB {
    /// RACK: what left before the segment delivered last, and is missing for longer than reordering explains, is lost.
    mutating func detectLoss(isProgress: Bool, _ stack: inout Connections) {
        guard recordHead != SentRecords.none else { return }
        guard flags.contains(.sack) else { return detectLossWithoutSACK(isProgress: isProgress, &stack) }
        guard sackedBytes > 0 || phase != .open else { return }
        let window = reorderingWindow
        var wait: Int64 = 0
        var index = sendOrder
        while index != SentRecords.none, stack.records[index].sentAt <= rack.sentAt {
            let record = stack.records[index]
            let later = stack.records.later(than: index, in: sendOrder)
            if isBeforeDelivered(record) {
                let age = stack.now.nanoseconds - record.sentAt.nanoseconds
                let remaining = Int64(rack.rtt) * 1000 + window - age
                if remaining <= 0 { lose(index, &stack) } else { wait = max(wait, remaining) }
            }
            index = later
        }
        if wait > 0 {
            timerUse = .reordering
            stack.arm(.retransmit, of: slot, in: wait)
        } else if timerUse == .reordering {
            // The timer that runs is too short for a timeout, and an ACK that delivers nothing does not arm it.
            timerUse = .timeout
            armRetransmit(&stack)
        }
    }

    @inline(__always)
    private func isBeforeDelivered(_ record: SentRecord) -> Bool {
        record.sentAt < rack.sentAt || (record.sentAt == rack.sentAt && record.end < rack.end)
    }

    /// RFC 8985 §6.2 step 4, in nanoseconds.
    @inline(__always)
    private var reorderingWindow: Int64 {
        if !rack.reordering, phase == .recovery || phase == .loss || sackedBytes >= 3 * UInt32(mss) { return 0 }
        let quarter = Int64(minimumRTT.value == .max ? 0 : minimumRTT.value) * 250
        return min(Int64(rack.multiplier) * quarter, Int64(rtt.srtt) * 1000)
    }

    /// RFC 8985 §6.2 step 4: a DSACK says that something was sent again too early. Once a round trip.
    mutating func widenReorderingWindow(_ acknowledgment: SequenceNumber) {
        guard rack.persistence == 0 || acknowledgment >= rack.duplicateRound else { return }
        rack.duplicateRound = snd.nxt
        rack.multiplier = min(rack.multiplier + 1, 254)
        rack.persistence = 16
    }

    /// A recovery has ended: after 16 of them without a DSACK the window is as narrow as at the start.
    private mutating func ageReorderingWindow() {
        guard rack.persistence > 0 else { return }
        rack.persistence -= 1
        if rack.persistence == 0 { rack.multiplier = 1 }
    }

    /// RFC 8985 §7.4: what the ACK of a tail-loss probe says. If the probe has filled a hole, a loss was repaired that nobody
    /// else has seen, and congestion control is to know.
    mutating func checkTailProbe(
        _ segment: Segment, _ tally: AckTally, isRepetition: Bool, _ stack: inout Connections
    ) {
        guard rack.tailProbe != .none, phase == .open || phase == .disorder,
            segment.acknowledgment >= recoveryPoint
        else { return }
        if rack.tailProbe == .newData || tally.duplicateEnd == recoveryPoint {
            rack.tailProbe = .none
        } else if segment.acknowledgment > recoveryPoint {
            stack.counters.tailRepairs &+= 1
            reduce(.loss, tally, &stack)
        } else if isRepetition, segment.options.sackCount == 0 {
            // Both have arrived, and the peer knows no DSACK.
            rack.tailProbe = .none
        }
    }

    /// Reduces the window, under PRR, although nothing is to be repaired.
    mutating func reduce(_ reason: CongestionReason, _ tally: AckTally, _ stack: inout Connections) {
        phase = .reduced
        rack.tailProbe = .none
        recoveryPoint = snd.nxt
        oweReduction()
        _ = congestion.congestionEvent(reason, flightSize: tally.flightSize, pipe: pipe, at: stack.now)
        let place = takeRepair(&stack)
        stack.repairs[place].spurious = SpuriousDetection()
        stack.repairs[place].prr = PRR(recoverFS: tally.flightSize)
    }

    /// RFC 6582: three duplicates mean that the first segment is lost, and so does an ACK of a part within recovery.
    private mutating func detectLossWithoutSACK(isProgress: Bool, _ stack: inout Connections) {
        let isPartial = isProgress && phase == .recovery && snd.una < recoveryPoint
        guard isPartial || (phase != .recovery && phase != .loss && duplicateAcks >= 3) else { return }
        markFirstLost(&stack)
    }

    private mutating func markFirstLost(_ stack: inout Connections) {
        let index = recordHead
        guard index != SentRecords.none else { return }
        if stack.records[index].count > Int(mss) {
            guard split(index, at: stack.records[index].start + Int(mss), &stack) else { return }
        }
        guard !stack.records[index].flags.contains(.lost) else { return }
        lose(index, &stack)
        let flight = UInt32(truncatingIfNeeded: snd.nxt - snd.una)
        if sackedBytes &+ lostBytes > flight { sackedBytes = flight &- lostBytes }
    }

    /// Moves between the phases after an ACK, and lets the congestion control know.
    mutating func advancePhase(
        _ tally: AckTally, newlyLost: UInt32, isProgress: Bool, pipeBefore: UInt32, _ stack: inout Connections
    ) {
        if phase.isReduced, snd.una >= recoveryPoint {
            if phase != .reduced { ageReorderingWindow() }
            congestion.recoveryEnded(at: stack.now)
            phase = .open
            repairIsOver(&stack)
        }
        if newlyLost > 0, phase == .open || phase == .disorder || phase == .reduced {
            // What was reduced for a mark of congestion is not given back when the loss turns out to be none.
            if phase != .reduced { armSpurious(isTimeout: false, &stack) }
            phase = .recovery
            rack.tailProbe = .none
            oweReduction()
            recoveryPoint = snd.nxt
            stack.counters.fastRecoveries &+= 1
            let flight = UInt32(truncatingIfNeeded: snd.nxt - snd.una)
            _ = congestion.congestionEvent(.loss, flightSize: flight, pipe: pipe, at: stack.now)
            stack.repairs[takeRepair(&stack)].prr = PRR(recoverFS: flight &+ tally.delivered)
        }
        if phase == .open || phase == .disorder { phase = sackedBytes > 0 ? .disorder : .open }
        tellCongestionControl(tally, newlyLost: newlyLost, pipeBefore: pipeBefore, stack.now)
        if isPacedByPRR {
            let place = takeRepair(&stack)
            stack.repairs[place].allowance = stack.repairs[place].prr.sendable(
                pipe: pipe, delivered: tally.delivered, ssthresh: congestion.ssthresh, mss: UInt32(mss),
                isSafe: isProgress && newlyLost == 0)
        }
        if lostBytes > 0 { owe(.data, &stack) }
    }

    /// What an ACK has delivered is the congestion control's to judge.
    @inline(__always)
    mutating func tellCongestionControl(_ tally: AckTally, newlyLost: UInt32, pipeBefore: UInt32, _ now: Instant) {
        guard tally.delivered > 0 else { return }
        let isCwndLimited = flags.contains(.cwndLimited)
        if !isCwndLimited, congestion.passesOverUnlimited(at: now) { return }
        congestion.acknowledged(
            Acknowledgement(
                now: now, bytes: tally.delivered, lost: newlyLost, pipe: pipeBefore, sampleRTT: tally.sampleRTT,
                smoothedRTT: rtt.srtt, isCwndLimited: isCwndLimited,
                rate: rate.sample(of: tally.newest, minRTT: minimumRTT.value)))
    }

    @inline(__always)
    private var isPacedByPRR: Bool { (phase == .recovery || phase == .reduced) && congestion.usesPRR }

    /// Bytes that may go out now by the congestion control's leave.
    @inline(__always)
    func congestionAllows(_ stack: borrowing Connections) -> UInt32 {
        if isPacedByPRR, repair != Repairs.none { return stack.repairs[repair].allowance }
        let cwnd = congestion.cwnd
        // Limited transmit (RFC 3042): new segments for the first two duplicate ACKs.
        let extra = phase == .disorder && !flags.contains(.sack) ? min(UInt32(duplicateAcks), 2) * UInt32(mss) : 0
        let now = pipe
        return cwnd &+ extra > now ? cwnd &+ extra - now : 0
    }

    /// The retransmission timer expired (RFC 6298 §5.4, RFC 8985 §6.3): all that is out and not reported is lost.
    mutating func timedOut(_ stack: inout Connections) {
        stack.counters.timeouts &+= 1
        reportLoss(&stack)
        let flight = UInt32(truncatingIfNeeded: snd.nxt - snd.una)
        congestion.retransmissionTimeout(flightSize: flight, isRepeated: backoff > 0, at: stack.now)
        backoff = min(backoff + 1, 254)
        rtt.backOff()
        loseAll(&stack)
        armSpurious(isTimeout: true, &stack)
        phase = .loss
        rack.tailProbe = .none
        oweReduction()
        recoveryPoint = snd.nxt
        duplicateAcks = 0
        owe(.data, &stack)
    }
}
