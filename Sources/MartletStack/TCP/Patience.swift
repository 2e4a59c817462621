// How long a connection waits for its peer before it is given up, and what it says before that (RFC 9293 §3.8.3).
//
// R1 is three retransmissions: the way to the peer is suspect then, and both the user and the IP layer hear of it. R2 is a count
// and a time. A user timeout takes the place of R2, and may come from the peer (RFC 5482).

/// Limits of the user timeout, in seconds.
enum UserTimeout {
    /// What a peer's wish is raised to: R2 is 100 s at least (SHLD-11), RFC 5482 §3.1's L_LIMIT.
    static var least: UInt16 { 100 }
    /// And lowered to: U_LIMIT.
    static var most: UInt16 { 3600 }
    /// What is told to the peer if the user has set none (RFC 9293 §3.9.1.1: five minutes).
    static var advertised: UInt16 { 300 }
}

extension TCB {
    /// R1: from so many retransmissions on, the way is suspect (SHLD-10).
    static var suspectAfter: UInt8 { 3 }

    /// Nothing is acknowledged any more, from `start` on.
    @inline(__always)
    mutating func stall(since start: Instant) { stalledAt = Connections.tick(of: start) }

    /// The user timeout in nanoseconds, if there is one. Once the user has let go, there always is.
    @inline(__always)
    private func timeout(_ stack: borrowing Connections) -> Int64? {
        let user = userTimeout > 0 ? Int64(userTimeout) * 1_000_000_000 : nil
        return flags.contains(.released) ? min(user ?? .max, stack.limits.orphanTimeoutNanoseconds) : user
    }

    /// Whether to give up, `count` times after asking and `waited` after something that told of the peer.
    private func isHopeless(_ count: UInt8, _ waited: Int64, _ stack: borrowing Connections) -> Bool {
        if let timeout = timeout(stack) { return stack.nanoseconds(since: stalledAt) >= timeout }
        return count >= stack.limits.retries && waited >= stack.limits.leastR2Nanoseconds
    }

    /// Whether to give up after the timer of a retransmission has expired once more.
    func isUnreachable(_ stack: borrowing Connections) -> Bool {
        guard snd.wnd == 0 else { return isHopeless(backoff, stack.nanoseconds(since: stalledAt), stack) }
        // Bytes beyond a window that has shrunk to nothing are no reason, as long as there are answers (SHLD-17): the last
        // could have come one timeout ago.
        return isHopeless(backoff, stack.nanoseconds(since: heardAt) - Int64(rtt.rto) * 1000, stack)
    }

    /// Whether to give up after one more probe of a closed window. Answers keep the connection, however long the window is
    /// closed (MUST-37), unless the user said how long.
    func isClosedForGood(_ stack: borrowing Connections) -> Bool {
        isHopeless(probes, stack.nanoseconds(since: heardAt), stack)
    }

    /// Whether to give up opening: three minutes after the first SYN, at least (MUST-23); or when the user says.
    func isUnanswered(_ stack: borrowing Connections) -> Bool {
        let waited = stack.nanoseconds(since: stalledAt)
        let isUsed = backoff >= stack.limits.synRetries
        guard let timeout = timeout(stack) else {
            return isUsed && (!flags.contains(.active) || waited >= stack.limits.synR2Nanoseconds)
        }
        // Who calls us does not say for how long a place is kept that may be nobody's (RFC 5482 §6).
        return waited >= timeout || isUsed && !flags.contains(.active)
    }

    /// Tells the user and the IP layer once that retransmissions have reached R1 (MUST-20, SHLD-9).
    mutating func suspect(_ stack: inout Connections) {
        guard backoff == Self.suspectAfter else { return }
        stack.advice.append(tuple.remoteAddress)
        stack.counters.suspectPaths &+= 1
        report(softError ?? .unacknowledged, &stack)
    }

    /// A wait in nanoseconds, or what is left of the timeout if that is less.
    @inline(__always)
    func limited(_ wait: Int64, _ stack: borrowing Connections) -> Int64 {
        guard let timeout = timeout(stack) else { return wait }
        let stalled = backoff > 0 || timerUse == .persist ? stack.nanoseconds(since: stalledAt) : 0
        // A tick more, as `stalledAt` may be that much too early or late.
        return min(wait, max(timeout - stalled, 0) + 2 * Connections.tickLength)
    }
}

// MARK: - The user timeout option

extension TCB {
    /// RFC 5482 §3.1: adapts to what the peer says, unless the user has said something.
    @inline(__always)
    mutating func userTimeoutArrives(_ options: TCPOptions, _ stack: borrowing Connections) {
        let settings = stack.settings[settings]
        guard settings.exchangesUserTimeout, settings.userTimeoutSeconds == 0, options.userTimeoutSeconds > 0 else {
            return
        }
        let wanted = max(UInt16(clamping: options.userTimeoutSeconds), UserTimeout.advertised, UserTimeout.least)
        userTimeout = min(wanted, UserTimeout.most)
    }

    @inline(__always)
    func userTimeoutToTell(_ stack: borrowing Connections) -> UInt16 {
        stack.settings[settings].userTimeoutOption
    }
}

extension TCPSettings {
    /// The option's field for what is told to the peer (RFC 5482 §3): seconds, or minutes if they are too many.
    var userTimeoutOption: UInt16 {
        let seconds = userTimeoutSeconds > 0 ? userTimeoutSeconds : UserTimeout.advertised
        return seconds < 0x8000 ? seconds : 0x8000 | (seconds / 60)
    }
}

// MARK: - Advice to the IP layer

/// Peers that the way to is suspect, for the IP layer to look for another (RFC 9293 §3.8.3, MUST-20). At most eight wait; more
/// are dropped, and their connections come to R1 again or end.
struct NegativeAdvice: BitwiseCopyable {
    private var addresses = InlineArray<8, IPAddress>(repeating: .v4(.any))
    private var count = 0

    mutating func append(_ address: IPAddress) {
        guard count < 8 else { return }
        for index in 0..<count where addresses[index] == address { return }
        addresses[count] = address
        count += 1
    }

    mutating func popLast() -> IPAddress? {
        guard count > 0 else { return nil }
        count -= 1
        return addresses[count]
    }
}
