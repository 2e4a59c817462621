// Timers of a connection (RFC 9293 §3.10.8; RFC 6298; RFC 8985 §7; zero-window probes §3.8.6.1).

extension TCB {
    /// Arms the one timer of the sender for what is to be waited for now.
    mutating func armRetransmit(_ stack: inout Connections) {
        if timerUse == .reordering, stack.isArmed(.retransmit, of: slot) { return }
        guard recordHead != SentRecords.none else {
            timerUse = .timeout
            return stack.cancel(.retransmit, of: slot)
        }
        let rto = Int64(rtt.rto) * 1000
        if phase == .open, flags.contains(.sack), state.isSynchronized, backoff == 0, probes == 0, rtt.isMeasured {
            // RFC 8985 §7.2: two round trips, and the peer's delayed ACK if it has one segment only.
            var probe = 2 * Int64(rtt.srtt) * 1000 + 2_000_000
            if snd.nxt - snd.una <= Int(mss) { probe += stack.limits.delayedAckNanoseconds * 3 / 2 }
            if probe < rto {
                timerUse = .tailProbe
                return stack.arm(.retransmit, of: slot, in: probe)
            }
        }
        timerUse = .timeout
        stack.arm(.retransmit, of: slot, in: limited(rto, stack))
    }

    /// A timer of this connection has expired.
    mutating func expired(_ timer: TCPTimer, _ stack: inout Connections) {
        switch timer {
        case .delayedAck: owe(.ack, &stack)
        case .pacing: owe(.data, &stack)
        case .slow: slowExpired(&stack)
        case .retransmit: retransmitExpired(&stack)
        }
    }

    private mutating func retransmitExpired(_ stack: inout Connections) {
        switch timerUse {
        case .reordering:
            timerUse = .timeout
            let before = lostBytes
            detectLoss(isProgress: false, &stack)
            advancePhase(
                AckTally(), newlyLost: lostBytes > before ? lostBytes - before : 0, isProgress: false, pipeBefore: pipe,
                &stack)
            armRetransmit(&stack)
        case .tailProbe:
            stack.counters.tailProbes &+= 1
            probes = 1
            owe(.probe, &stack)
            armRetransmit(&stack)
        case .persist:
            if isClosedForGood(stack) { return giveUp(&stack) }
            probes = min(probes + 1, 254)
            backoff = min(backoff + 1, 254)
            owe(.probe, &stack)
        case .patience:
            timerUse = .timeout
            if flags.contains(.wantsRoom) {
                flags.remove(.wantsRoom)
                tell(.writable, &stack)
            }
            if snd.nxt < snd.end || (flags.contains(.finWanted) && !flags.contains(.finSent)) {
                flags.insert(.pushOnce)
                owe(.data, &stack)
            }
        case .timeout:
            if state == .synSent || state == .synReceived {
                if isUnanswered(stack) { return giveUp(&stack) }
                backoff = min(backoff + 1, 254)
                suspect(&stack)
                rtt.backOff()
                owe(.control, &stack)
                return stack.arm(.retransmit, of: slot, in: limited(Int64(rtt.rto) * 1000, stack))
            }
            if backoff == 0, recordHead != SentRecords.none { stall(since: stack.records[recordHead].sentAt) }
            if isUnreachable(stack) { return giveUp(&stack) }
            timedOut(&stack)
            suspect(&stack)
            armRetransmit(&stack)
        }
    }

    /// The peer has been silent for too long. One that is gone hears nothing; one whose user has let go, and who may
    /// be there with a closed window, is reset.
    private mutating func giveUp(_ stack: inout Connections) {
        if flags.contains(.released), state.isSynchronized { return abort(&stack) }
        end(.timedOut, &stack)
    }

    /// The peer's window is closed and there is something to send: ask, at RTO and then less and less often (MUST-35, MUST-36,
    /// SHLD-29, SHLD-30). More bytes from the user do not put the question off.
    mutating func armPersist(_ stack: inout Connections) {
        guard recordHead == SentRecords.none else { return }
        let isArmed = stack.isArmed(.retransmit, of: slot)
        if timerUse == .persist, isArmed { return }
        if timerUse != .persist {
            stall(since: stack.now)
            backoff = 0
        }
        timerUse = .persist
        let rto = Int64(max(rtt.rto, 200_000)) * 1000
        stack.arm(.retransmit, of: slot, in: limited(min(rto << Int64(min(backoff, 9)), 60_000_000_000), stack))
    }

    /// Corked bytes wait for 200 ms at most, once nothing is in flight (tcp(7), TCP_CORK); and a user who was refused memory
    /// is to try again then.
    mutating func armPatience(_ stack: inout Connections) {
        guard recordHead == SentRecords.none, !stack.isArmed(.retransmit, of: slot) else { return }
        timerUse = .patience
        stack.arm(.retransmit, of: slot, in: 200_000_000)
    }
}
