// Finding out that a timeout or a fast recovery was for nothing, and taking its reduction of the window back.
//
// Three witnesses. A timestamp echo older than the first retransmission says that the original arrived (Eifel: RFC 3522
// detects, RFC 4015 responds). New data sent after a timeout, in place of what is thought lost, draws ACKs that show
// whether the rest was lost (F-RTO: RFC 5682). And the peer itself may report all that was sent again as duplicates (RFC 3708).
//
//     timeout ─▶ headSent ── SND.UNA advances, but not to the recovery point ─▶ newData ── an original arrived ─▶ spurious
//                   │                                                            │
//                   ╰── all is acknowledged, or a plain duplicate ─▶ off ◀───────╯ none did, or nothing new may go

/// What would show that the last reduction of the window was for nothing.
struct SpuriousDetection: BitwiseCopyable {
    /// Whether there is a reduction that could be taken back.
    var isArmed = false
    /// Whether it was a timeout's.
    var isTimeout = false
    /// Whether anything was sent again since.
    var hasResent = false
    var frto = FRTO.off
    /// SND.UNA at the reduction.
    var marker = SequenceNumber(0)
    /// Bytes sent again since then that the peer has not reported as duplicates.
    var unreported: UInt32 = 0
    /// The timestamp of the first segment sent again: RFC 3522's RetransmitTS.
    var retransmitTimestamp: UInt32 = 0

    /// Where F-RTO stands (RFC 5682 §2.1 and §3.1).
    enum FRTO: UInt8, BitwiseCopyable {
        case off
        /// Step 2: the first segment goes again, and its ACK is awaited.
        case headSent
        /// Steps 2b and 3: new data goes instead of what is thought lost, and its ACK is awaited.
        case newData
    }

    /// Bytes went again; `timestamp` is what they carry.
    mutating func noteResent(_ count: UInt32, timestamp: UInt32) {
        guard isArmed else { return }
        unreported = unreported.addingSaturated(count)
        if !hasResent {
            hasResent = true
            retransmitTimestamp = timestamp
        }
    }

    /// The peer has these bytes twice.
    mutating func duplicateReported(_ block: SACKBlock) {
        guard isArmed, block.start >= marker else { return }
        unreported -= min(UInt32(truncatingIfNeeded: block.end - block.start), unreported)
    }
}

extension TCB {
    /// A recovery or a timeout reduces the window now.
    mutating func armSpurious(isTimeout: Bool, _ stack: inout Connections) {
        let place = takeRepair(&stack)
        var spurious = stack.repairs[place].spurious
        let isSecond = isTimeout && (phase == .recovery || phase == .loss)
        if !isSecond {
            spurious = SpuriousDetection()
            spurious.marker = snd.una
        } else if phase == .recovery {
            // The echo is to tell of this timeout; duplicates count from the recovery on, for they may be of both.
            spurious.hasResent = false
        }
        spurious.isArmed = true
        spurious.isTimeout = isTimeout
        // RFC 5682 §2.1, step 1: not in a fast recovery, where more than the first segment went again already, and once until all
        // is repaired: new data that is lost in the place of a repair costs another timeout. One that is repeated before
        // anything was acknowledged is still of the first.
        let isFirst = phase == .loss ? spurious.frto == .headSent : phase != .recovery
        spurious.frto = isTimeout && isFirst && state.isSynchronized ? .headSent : .off
        stack.repairs[place].spurious = spurious
    }

    /// Bytes in a recovery go again.
    mutating func noteResent(_ count: UInt32, _ stack: inout Connections) {
        guard phase == .recovery || phase == .loss, repair != Repairs.none else { return }
        stack.repairs[repair].spurious.noteResent(count, timestamp: timestamp(at: stack.now))
    }

    /// The peer has these bytes twice (RFC 2883 §4).
    mutating func duplicateReported(_ block: SACKBlock, _ stack: inout Connections) {
        guard repair != Repairs.none else { return }
        stack.repairs[repair].spurious.duplicateReported(block)
    }

    /// An ACK has been read: does it show that the last reduction was for nothing?
    mutating func checkSpurious(
        _ segment: Segment, _ tally: AckTally, isProgress: Bool, isDuplicate: Bool, _ stack: inout Connections
    ) {
        guard repair != Repairs.none, stack.repairs[repair].spurious.isArmed else { return }
        let spurious = stack.repairs[repair].spurious
        let isRepairing = phase == .recovery || phase == .loss
        // With a DSACK the original had arrived, but its ACK was lost, and others may be lost with it (RFC 3522 §3.2, step 5).
        let isEifel =
            isRepairing && isProgress && spurious.hasResent && tally.duplicateEnd == nil
            && tally.echo.map { Int32(bitPattern: $0 &- spurious.retransmitTimestamp) < 0 } == true
        let isReported = spurious.hasResent && spurious.unreported == 0 && lostBytes == 0
        let isFRTO =
            phase == .loss && frtoSucceeds(tally, isProgress: isProgress, isDuplicate: isDuplicate, &stack)
        guard isEifel || isReported || isFRTO else { return }
        // A recovery that has more to repair would start again at once.
        if phase == .recovery, lostBytes > 0 { return }
        // What comes with the peer's data may come long after what it acknowledges, behind an ACK that said so with a DSACK and is
        // lost: that is no round trip.
        let isPrompt = isEifel && segment.payloadLength == 0
        let echo = isPrompt ? sample(echo: segment.options.timestampEcho, at: stack.now) : 0
        takeBack(isTimeout: spurious.isTimeout, roundTrip: echo, &stack)
    }

    /// Takes F-RTO a step further. Returns whether the timeout was spurious.
    private mutating func frtoSucceeds(
        _ tally: AckTally, isProgress: Bool, isDuplicate: Bool, _ stack: inout Connections
    ) -> Bool {
        switch stack.repairs[repair].spurious.frto {
        case .off: return false
        case .headSent:
            if isProgress {
                stack.repairs[repair].spurious.frto = snd.una < recoveryPoint ? .newData : .off
            } else if isDuplicate, !flags.contains(.sack) {
                stack.repairs[repair].spurious.frto = .off
            }
            return false
        case .newData:
            // An ACK that jumps over what was sent again may be its ACK alone.
            if tally.originalSACKed || (tally.originalAcknowledged && !tally.retransmissionAcknowledged) { return true }
            if isProgress || isDuplicate || tally.delivered > 0 { stack.repairs[repair].spurious.frto = .off }
            return false
        }
    }

    /// What was thought lost was late: the windows are what they were, and nothing is lost.
    private mutating func takeBack(isTimeout: Bool, roundTrip: UInt32, _ stack: inout Connections) {
        if isTimeout {
            stack.counters.spuriousTimeouts &+= 1
            // RFC 4015 §3.2, step 10: the next timeout waits for as long as this one should have.
            if roundTrip > 0 { rtt.timeoutWasSpurious(roundTrip) }
            // What went again may have passed for delivered, and all that was sent before it for lost.
            rack.sentAt = .zero
        } else {
            stack.counters.spuriousRecoveries &+= 1
            rack.reordering = true
        }
        congestion.undo()
        flags.remove(.reductionOwed)
        stack.repairs[repair].spurious = SpuriousDetection()
        guard phase == .recovery || phase == .loss else { return }
        findAll(&stack)
        phase = sackedBytes > 0 ? .disorder : .open
        owe(.data, &stack)
    }
}
