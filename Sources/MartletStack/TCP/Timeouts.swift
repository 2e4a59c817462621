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
            if snd.nxt - snd.una <= Int(mss) { probe += stack.limits.delayedAck * 3 / 2 }
            if probe < rto {
                timerUse = .tailProbe
                return stack.arm(.retransmit, of: slot, in: probe)
            }
        }
        timerUse = .timeout
        stack.arm(.retransmit, of: slot, in: rto)
    }

    /// A timer of this connection has expired.
    mutating func expired(_ timer: TCPTimer, _ stack: inout Connections) {
        switch timer {
        case .delayedAck: owe(.ack, &stack)
        case .pacing: owe(.data, &stack)
        case .slow: if state == .timeWait || state == .finWait2 { end(nil, &stack) }
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
            probes = min(probes + 1, 254)
            owe(.probe, &stack)
        case .timeout:
            if state == .synSent || state == .synReceived {
                if backoff >= stack.limits.synRetries { return end(.timedOut, &stack) }
                backoff += 1
                rtt.backOff()
                owe(.control, &stack)
                return stack.arm(.retransmit, of: slot, in: Int64(rtt.rto) * 1000)
            }
            if backoff >= stack.limits.retries { return end(.timedOut, &stack) }
            timedOut(&stack)
            armRetransmit(&stack)
        }
    }

    /// The peer's window is closed and there is something to send: ask, at RTO and then less and less often.
    mutating func armPersist(_ stack: inout Connections) {
        guard recordHead == SentRecords.none else { return }
        timerUse = .persist
        let rto = Int64(max(rtt.rto, 200_000)) * 1000
        stack.arm(.retransmit, of: slot, in: min(rto << Int64(min(probes, 9)), 60_000_000_000))
    }
}
