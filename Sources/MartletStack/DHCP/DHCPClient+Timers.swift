// What a client does by itself: it sends, sends again, renews, and gives up.
//
// Hold RFC 2131 §4.1 (times), §4.4.5 (renewal) and table 5 (which message says what) beside it.

extension DHCPClient {
    /// Messages in REQUESTING and REBOOTING before all begins anew: about a minute (§3.1, step 5).
    private static var maximumRequests: UInt8 { 4 }
    /// Between two messages in RENEWING and REBINDING at least (§4.4.5).
    private static var minimumWait: Int64 { 60_000_000_000 }

    /// What is to be done at `now`; `nil` if nothing. To be called until it is.
    mutating func nextAction(at now: Instant, using random: inout some RandomNumberGenerator) -> DHCPAction? {
        // A lease that is over is over, whatever else there would be to say of it.
        if state.hasLease, let candidate, now >= candidate.expiry {
            restart(at: now, wait: 0)
        }
        if owesDeconfigure {
            (owesDeconfigure, isConfigured) = (false, false)
            return .deconfigure
        }
        if let message = declined {
            declined = nil
            return .broadcast(message)
        }
        if owesConfigure, let candidate {
            (owesConfigure, isConfigured) = (false, true)
            return .configure(candidate)
        }
        guard now >= deadline else { return nil }
        return timerExpired(at: now, using: &random)
    }

    private mutating func timerExpired(at now: Instant, using random: inout some RandomNumberGenerator) -> DHCPAction? {
        switch state {
        case .initial:
            startedAt = now
            enter(remembered == nil ? .selecting : .rebooting, at: now)
        case .rebooting, .requesting:
            if sentCount >= Self.maximumRequests {
                restart(at: now, wait: 0)
                startedAt = now
                enter(.selecting, at: now)
            }
        case .bound:
            startedAt = now
            enter(now >= (candidate?.rebinding ?? .distantFuture) ? .rebinding : .renewing, at: now)
        case .renewing:
            if now >= (candidate?.rebinding ?? .distantFuture) { enter(.rebinding, at: now) }
        case .checking:
            // Its deadline is that of the lease, which has been looked at.
            return nil
        case .selecting, .rebinding:
            break
        }
        return sendNext(at: now, using: &random)
    }

    /// Sends the message of the state, and sets the time of the next one.
    private mutating func sendNext(at now: Instant, using random: inout some RandomNumberGenerator) -> DHCPAction {
        let isRenewal = state.hasLease
        if isRenewal || sentCount == 0 {
            // A renewal's messages are hours apart: each is a transaction, so that its lease counts from its own sending. An
            // offer and its request are one (§4.4.1).
            if state != .requesting { xid = .random(in: 0...UInt32.max, using: &random) }
            sentAt = now
        }
        // A request has the value of the discover before it, for relays that look at it (§3.1, step 3).
        if state != .requesting {
            secs = UInt16(clamping: (now - startedAt).saturatedNanoseconds / 1_000_000_000)
        }
        let wait = isRenewal ? renewalWait(at: now) : Self.backoff(sentCount, using: &random)
        deadline = now.advanced(byNanoseconds: wait)
        if sentCount < 255 { sentCount += 1 }
        var message = transmission(state == .selecting ? .discover : .request, xid: xid)
        message.message.secs = secs
        switch state {
        case .requesting:
            message.requested = candidate?.address
            message.server = candidate?.server
        case .rebooting:
            message.requested = remembered
        case .renewing, .rebinding:
            message.message.ciaddr = candidate?.address ?? .any
        default: break
        }
        if state == .renewing, let candidate { return .send(message, to: candidate.server) }
        return .broadcast(message)
    }

    /// Half of what is left until the state ends, but a minute at least, and no longer than that end (§4.4.5).
    private func renewalWait(at now: Instant) -> Int64 {
        guard let candidate else { return Self.minimumWait }
        let end = state == .renewing ? candidate.rebinding : candidate.expiry
        let left = (end - now).saturatedNanoseconds
        return min(left, max(left / 2, Self.minimumWait))
    }

    func transmission(_ type: DHCPMessageType, xid: UInt32) -> DHCPTransmission {
        var message = DHCPMessage(xid: xid, chaddr: configuration.address)
        // Who has an address receives unicast, and of a decline no answer comes.
        message.isBroadcast = configuration.wantsBroadcast && !state.hasLease
        return DHCPTransmission(
            type: type, message: message, identifier: configuration.identifier,
            maximumMessageSize: configuration.maximumMessageSize)
    }
}
