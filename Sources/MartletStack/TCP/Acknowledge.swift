// An ACK arrives: what it delivers, what that says of the path, and what may be sent now.
//
// Hold RFC 9293 §3.10.7.4 (fifth), RFC 5681, RFC 6675 §4 and RFC 8985 §6 beside it. What is lost is decided in Recovery.

/// What one ACK has told, as it is read.
struct AckTally {
    /// Bytes newly delivered, by the cumulative number or a SACK block.
    var delivered: UInt32 = 0
    /// Of the newest segment delivered that was sent once: microseconds since it left.
    var sampleRTT: UInt32 = 0
    /// When the latest of those left that were sent again; nil if there is none.
    var resentAt: Instant?
    /// FlightSize before this ACK.
    var flightSize: UInt32 = 0
    /// The end of what RACK knew as sent last before this ACK: what lies below and is delivered only now was overtaken.
    var priorEnd = SequenceNumber(0)
    /// Of the runs newly delivered, the longest: bytes sent together.
    var longestRun: UInt32 = 0
    /// The timestamp that the ACK echoes; nil if none.
    var echo: UInt32?
    /// What was sent before the recovery point and once only is reported, or acknowledged; and so is what was sent again.
    var originalSACKed = false
    var originalAcknowledged = false
    var retransmissionAcknowledged = false
    /// The end of what the peer reports to have twice; nil if it does not.
    var duplicateEnd: SequenceNumber?
    /// Of the segments delivered, the one that was sent last.
    var newest: RateSnapshot?
}

extension TCB {
    /// Returns false if the segment is not to be looked at further (RFC 5961 §5).
    mutating func acknowledge(_ segment: Segment, _ stack: inout Connections) -> Bool {
        let ack = segment.acknowledgment
        // The byte of a zero-window probe has been sent once the peer takes it: the window has opened, and only this tells.
        if timerUse == .persist, backoff > 0, ack == snd.nxt + 1, snd.nxt < snd.end { snd.nxt = ack }
        // No window of the peer's can have been larger than its scale allows, so no ACK is older.
        guard ack <= snd.nxt, ack >= snd.una - (65_535 << Int(sendShift)) else {
            challenge(&stack)
            return false
        }
        let hasEcho = flags.contains(.timestamps) && segment.options.hasTimestamps
        let isPlain = phase == .open && segment.options.sackCount == 0 && !segment.flags.contains(.ece)
        if isPlain, ack > snd.una, predictsAcknowledgment {
            // Nothing is being repaired, and nothing is said but this, whatever else the segment brings.
            updateWindow(segment, &stack)
            predictedAcknowledges(ack, echo: hasEcho ? segment.options.timestampEcho : nil, &stack)
            return true
        }
        let pipeBefore = pipe
        var tally = AckTally()
        tally.flightSize = UInt32(truncatingIfNeeded: snd.nxt - snd.una)
        tally.priorEnd = rack.end
        if hasEcho { tally.echo = segment.options.timestampEcho }
        if segment.options.sackCount > 0, flags.contains(.sack) { readSACK(segment, &tally, &stack) }
        let isProgress = ack > snd.una
        let isRepetition = !isProgress && isRepetition(segment)
        let isDuplicate = isRepetition && snd.una < snd.nxt
        if isProgress {
            statistics.bytesAcked &+= UInt64(ack - snd.una)
            release(upTo: ack, &tally, &stack)
            endSilence()
        } else if isDuplicate {
            duplicateAcks = min(duplicateAcks + 1, 254)
            // Without SACK, each means that one segment has left the network (RFC 6582 §3.2, RFC 5681 §3.2).
            if !flags.contains(.sack) { imitateSACK(&tally) }
        }
        updateWindow(segment, &stack)
        measure(tally, isProgress: isProgress, stack.now)
        checkSpurious(segment, tally, isProgress: isProgress, isDuplicate: isDuplicate, &stack)
        checkTailProbe(segment, tally, isRepetition: isRepetition, &stack)
        checkEcho(segment, tally, &stack)
        reportArrival(tally.longestRun, &stack)
        let lostBefore = lostBytes
        detectLoss(isProgress: isProgress, &stack)
        let newlyLost = lostBytes > lostBefore ? lostBytes - lostBefore : 0
        advancePhase(tally, newlyLost: newlyLost, isProgress: isProgress, pipeBefore: pipeBefore, &stack)
        if isProgress || tally.delivered > 0 { makeRoom(isProgress: isProgress, &stack) }
        return true
    }

    /// Something new is acknowledged: what was counted because nothing was has come to its end.
    @inline(__always)
    mutating func endSilence() {
        duplicateAcks = 0
        probes = 0
        flags.remove([.unreachable, .softErrors])
        // The count of timeouts in a row. How long to wait stays doubled until there is a sample (RFC 6298 §5.7).
        backoff = 0
    }

    /// Something was delivered: what holds it is not needed any more, and the timer is for what is left.
    @inline(__always)
    mutating func makeRoom(isProgress: Bool, _ stack: inout Connections) {
        if isProgress, snd.una >= snd.end, !sendRing.isNone {
            stack.rings.release(sendRing)
            sendRing = .none
        }
        if flags.contains(.wantsRoom), isProgress {
            flags.remove(.wantsRoom)
            tell(.writable, &stack)
        }
        armRetransmit(&stack)
    }

    /// RFC 5681 §2, the definition of a duplicate ACK, but that something is outstanding.
    @inline(__always)
    private func isRepetition(_ segment: Segment) -> Bool {
        segment.acknowledgment == snd.una && segment.payloadLength == 0
            && !segment.flags.contains(.fin) && UInt32(segment.window) << UInt32(sendShift) == snd.wnd
    }

    private mutating func imitateSACK(_ tally: inout AckTally) {
        let room = UInt32(truncatingIfNeeded: snd.nxt - snd.una) &- sackedBytes &- lostBytes
        let one = min(UInt32(mss), room)
        sackedBytes &+= one
        tally.delivered &+= one
    }

    /// A window counts if its segment is newer than the one before (RFC 9293 §3.10.7.4).
    @inline(__always)
    private mutating func updateWindow(_ segment: Segment, _ stack: inout Connections) {
        guard snd.wl1 < segment.sequence || (snd.wl1 == segment.sequence && snd.wl2 <= segment.acknowledgment) else {
            return
        }
        // The window of a SYN is never scaled (RFC 7323 §2.2).
        let isScaled = !segment.flags.contains(.syn)
        let window = isScaled ? UInt32(segment.window) << UInt32(sendShift) : UInt32(segment.window)
        if snd.wnd == 0, window > 0 {
            probes = 0
            if timerUse == .persist {
                stack.cancel(.retransmit, of: slot)
                timerUse = .timeout
                backoff = 0
            }
        }
        if window > snd.wnd, snd.nxt < snd.end { owe(.data, &stack) }
        snd.wnd = window
        if isScaled { greatestWindow = max(greatestWindow, segment.window) }
        snd.wl1 = segment.sequence
        snd.wl2 = segment.acknowledgment
    }

    // MARK: Measuring

    /// Whether the segment whose timestamp came back left no earlier than the one sent again.
    @inline(__always)
    private func answers(_ echo: UInt32, _ resentAt: Instant?) -> Bool {
        guard let resentAt else { return true }
        return Int32(bitPattern: echo &- timestamp(at: resentAt)) >= 0
    }

    /// RFC 6298 and RFC 7323 §4: from what was sent once, else from the timestamp that came back.
    ///
    /// If something was sent again, all the rest may have been acknowledged long ago, by an ACK that is lost, and so may a
    /// timestamp that is older. Either would measure the timeout instead of the path, and the next one would be longer yet.
    mutating func measure(_ tally: AckTally, isProgress: Bool, _ now: Instant) {
        var sample = tally.resentAt == nil ? tally.sampleRTT : 0
        if sample == 0, isProgress, let echo = tally.echo, echo != 0, answers(echo, tally.resentAt) {
            sample = self.sample(echo: echo, at: now)
        }
        guard sample > 0 else { return }
        rtt.sample(sample)
        minimumRTT.sample(sample, at: now)
    }
}
