// The slow timer of a connection: keep-alive while the user holds it, a bound on lingering after that, and TIME-WAIT at last.
//
// Hold RFC 9293 §3.8.4 (keep-alive), §3.6 (TIME-WAIT) beside it. These exclude each other, so that one timer serves all.

extension TCB {
    mutating func slowExpired(_ stack: inout Connections) {
        switch state {
        case .timeWait: end(nil, &stack)
        case .closed, .listen, .synSent, .synReceived: break
        case .finWait2 where flags.contains(.released): end(nil, &stack)
        default:
            if flags.contains(.released) {
                stack.counters.lingersEnded &+= 1
                abort(&stack)
            } else {
                keepAliveExpired(&stack)
            }
        }
    }

    // MARK: Keep-alive

    /// Arms the timer if the user wants keep-alive: it is off by default (MUST-24, MUST-25).
    mutating func armKeepAlive(_ stack: inout Connections) {
        guard !flags.contains(.released), state != .timeWait else { return }
        guard let keepAlive = stack.settings[settings].keepAlive else { return stack.cancel(.slow, of: slot) }
        let silence = stack.nanoseconds(since: heardAt)
        stack.arm(.slow, of: slot, in: max(Int64(keepAlive.idleSeconds) * 1_000_000_000 - silence, 1_000_000_000))
    }

    private mutating func keepAliveExpired(_ stack: inout Connections) {
        guard let keepAlive = stack.settings[settings].keepAlive else { return }
        let idle = Int64(keepAlive.idleSeconds) * 1_000_000_000
        let silence = stack.nanoseconds(since: heardAt)
        // What is in flight or waits asks by itself (MUST-26: only when nothing has been sent and received).
        let isIdle = recordHead == SentRecords.none && snd.nxt >= snd.end
        guard isIdle, silence >= idle - Connections.tickLength else {
            return stack.arm(.slow, of: slot, in: isIdle ? idle - silence : idle)
        }
        // One lost answer is no reason to end (MUST-29).
        let isTooLong = userTimeout > 0 && silence >= Int64(userTimeout) * 1_000_000_000
        if probes > 0, isTooLong || probes >= keepAlive.count { return end(.timedOut, &stack) }
        probes += 1
        stack.counters.keepAliveProbes &+= 1
        owe(.probe, &stack)
        stack.arm(.slow, of: slot, in: max(Int64(keepAlive.intervalSeconds), 1) * 1_000_000_000)
    }

    // MARK: Lingering

    /// The user has let go: bounds what is left.
    mutating func armLinger(_ stack: inout Connections) {
        // How long the peer took nothing before is not held against it now.
        if backoff > 0 || timerUse == .persist { stall(since: stack.now) }
        switch state {
        case .closed, .timeWait: break
        case .finWait2: stack.arm(.slow, of: slot, in: stack.limits.finWait2Nanoseconds)
        default:
            guard let seconds = stack.settings[settings].lingerSeconds else { return stack.cancel(.slow, of: slot) }
            stack.arm(.slow, of: slot, in: Int64(seconds) * 1_000_000_000)
        }
    }
}
