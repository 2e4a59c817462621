// A DHCPv4 client: RFC 2131. Messages and instants go in, messages and what they mean for the interface come out.
//
//           ┌──────────────────────▶ INIT ◀───────────────────────────────────────────────┐
//           │                         │ DISCOVER                                          │
//           │ no answer           SELECTING                                        NAK, expiry,
//           │                         │ OFFER / REQUEST                             conflict / DECLINE
//           └──── REBOOTING ───┐  REQUESTING                                              │
//     INIT-REBOOT / REQUEST    │ACK   │ ACK                                               │
//                              └──▶ CHECKING ──▶ BOUND ── T1 / REQUEST ──▶ RENEWING ── T2 / REQUEST ──▶ REBINDING
//                                   assigned()     ▲                          │ ACK                       │ ACK
//                                                  └──────────────────────────┴───────────────────────────┘
//
// CHECKING is not one of the RFC's states: the address is ours, and whoever owns the client asks the link whether somebody
// uses it already (§2.2, RFC 5227). One client an interface. It neither knows the interface nor sends by itself.

/// What a client is to be told about its interface.
struct DHCPConfiguration: BitwiseCopyable, Sendable {
    var address: MACAddress
    var identifier: DHCPClientIdentifier
    /// Whether answers have to be broadcast, since the interface receives no unicast before it has an address (§4.1).
    var wantsBroadcast = false
    /// Bytes of the largest message that can be received, 576 or more (RFC 2132 §9.10).
    var maximumMessageSize: UInt16 = 1472

    /// A client that is known by its link address.
    init(_ address: MACAddress) {
        (self.address, identifier) = (address, DHCPClientIdentifier(address))
    }
}

/// What is to be done for a client.
enum DHCPAction: BitwiseCopyable, Sendable {
    /// To 255.255.255.255, from 0.0.0.0.
    case broadcast(DHCPTransmission)
    /// To the server of the lease, from its address.
    case send(DHCPTransmission, to: IPv4Address)
    /// The interface has this lease: a new one, whose address is to be checked and then ``DHCPClient/assigned()`` or
    /// ``DHCPClient/conflict(at:using:)`` to be called; or one with the address it has, and perhaps another content.
    case configure(DHCPLease)
    /// The interface has no lease any more: nothing may be sent from its address, and what was configured is void.
    case deconfigure
}

/// A client's state: those of RFC 2131 §4.4, and `checking`.
enum DHCPState: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    case initial, rebooting, selecting, requesting, checking, bound, renewing, rebinding

    /// Whether there is a lease.
    var hasLease: Bool {
        switch self {
        case .checking, .bound, .renewing, .rebinding: true
        default: false
        }
    }
}

/// Why a message was dropped.
enum DHCPDrop: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    case malformed
    /// It is for another client, or not of a server.
    case otherClient
    /// It is of another transaction, or of none.
    case otherTransaction
    /// It is of a type that is not expected now.
    case unexpected
    /// It is not of the server that was asked, or does not say of which.
    case otherServer
    /// It grants what cannot be used, or another address than was asked for.
    case unusable
}

/// A client on one interface.
///
/// Whoever owns it calls ``nextAction(at:using:)`` until that is `nil`: after every other call, and at ``deadline``.
struct DHCPClient: BitwiseCopyable, Sendable {
    let configuration: DHCPConfiguration
    var state = DHCPState.initial
    /// When ``nextAction(at:using:)`` has something to say by itself.
    var deadline: Instant
    /// What is offered, asked for, or ours: see ``lease``.
    var candidate: DHCPLease?
    /// The address that INIT-REBOOT asks for.
    var remembered: IPv4Address?
    var xid: UInt32 = 0
    /// When the transaction's first message went: from then on a lease counts (§4.4.1).
    var sentAt = Instant.zero
    /// When this acquisition or renewal began, for `secs`.
    var startedAt = Instant.zero
    var secs: UInt16 = 0
    /// Messages sent in this state.
    var sentCount: UInt8 = 0
    /// Failures since there was a lease, which make the next try wait.
    var failureCount: UInt8 = 0
    /// What the owner was told last.
    var isConfigured = false
    /// What is owed before anything else.
    var owesDeconfigure = false
    var owesConfigure = false
    var declined: DHCPTransmission?
    private var drops = InlineArray<6, UInt64>(repeating: 0)

    /// A client that starts now. One that `remembers` an address of this link asks for it first (§3.2).
    ///
    /// RFC 2131 §4.4.1 has clients wait 1 to 10 s at the start; that is left to who starts many at once.
    ///
    /// - Precondition: the configuration's maximum message size is 576 or more.
    init(_ configuration: DHCPConfiguration, remembers address: IPv4Address? = nil, now: Instant) {
        precondition(configuration.maximumMessageSize >= 576, "every client takes 576 bytes (RFC 2132 §9.10)")
        self.configuration = configuration
        deadline = now
        remembered = address
    }

    /// The lease, if there is one.
    var lease: DHCPLease? { state.hasLease ? candidate : nil }

    /// Messages dropped for a reason.
    subscript(drops reason: DHCPDrop) -> UInt64 { drops[Int(reason.rawValue)] }

    // MARK: What the owner says

    /// Nobody else uses the lease's address: it is assigned now.
    mutating func assigned() {
        guard state == .checking, let candidate else { return }
        state = .bound
        deadline = candidate.renewal
        failureCount = 0
    }

    /// Somebody else uses the lease's address (RFC 5227): the server is told, and 10 s later all begins anew (§3.1, step 5).
    mutating func conflict(at now: Instant, using random: inout some RandomNumberGenerator) {
        guard state.hasLease, let candidate else { return }
        declined = transmission(.decline, xid: .random(in: 0...UInt32.max, using: &random))
        declined?.requested = candidate.address
        declined?.server = candidate.server
        restart(at: now, wait: max(10_000_000_000, failureWait(using: &random)))
    }

    // MARK: Messages

    /// Takes in a message for port 68. Returns why it was dropped; `nil` if it was not.
    mutating func receive(
        _ bytes: RawSpan, at now: Instant, using random: inout some RandomNumberGenerator
    ) -> DHCPDrop? {
        let reason = arrive(bytes, at: now, using: &random)
        if let reason { drops[Int(reason.rawValue)] &+= 1 }
        return reason
    }

    private mutating func arrive(
        _ bytes: RawSpan, at now: Instant, using random: inout some RandomNumberGenerator
    ) -> DHCPDrop? {
        guard let message = DHCPMessage(parsing: bytes), let options = DHCPOptions(in: bytes) else { return .malformed }
        guard message.isReply, message.chaddr == configuration.address else { return .otherClient }
        // RFC 6842: who does not send it back is an older server.
        let identifier = options.value(of: .clientIdentifier, in: bytes)
        if identifier.count > 0, !configuration.identifier.matches(identifier) { return .otherClient }
        guard sentCount > 0, message.xid == xid else { return .otherTransaction }
        guard let code = options.value(of: .messageType, in: bytes).uint8 else { return .malformed }
        switch (DHCPMessageType(rawValue: code), state) {
        case (.offer, .selecting):
            let offer = DHCPLease(message, options, in: bytes, from: sentAt, using: &random)
            guard let offer else { return .unusable }
            offered(offer, at: now)
        case (.ack, .rebooting), (.ack, .requesting), (.ack, .renewing), (.ack, .rebinding):
            let grant = DHCPLease(message, options, in: bytes, from: sentAt, using: &random)
            guard let grant, grant.address == askedFor, grant.expiry > now else { return .unusable }
            guard isAsked(grant.server) else { return .otherServer }
            granted(grant)
        case (.nak, .rebooting), (.nak, .requesting), (.nak, .renewing), (.nak, .rebinding):
            guard let server = options.value(of: .serverIdentifier, in: bytes).address, isAsked(server) else {
                return .otherServer
            }
            restart(at: now, wait: failureWait(using: &random))
        default:
            return .unexpected
        }
        return nil
    }

    /// Whether a server is one of those that the last message was for.
    private func isAsked(_ server: IPv4Address) -> Bool {
        switch state {
        case .requesting, .renewing: server == candidate?.server
        default: server.isHost
        }
    }

    private var askedFor: IPv4Address? { state == .rebooting ? remembered : candidate?.address }

    private mutating func offered(_ offer: DHCPLease, at now: Instant) {
        candidate = offer
        enter(.requesting, at: now)
    }

    private mutating func granted(_ grant: DHCPLease) {
        candidate = grant
        owesConfigure = true
        sentCount = 0
        if state == .renewing || state == .rebinding {
            state = .bound
            deadline = grant.renewal
        } else {
            state = .checking
            deadline = grant.expiry
        }
    }

    /// Enters a state whose first message goes now.
    mutating func enter(_ state: DHCPState, at now: Instant) {
        self.state = state
        sentCount = 0
        deadline = now
    }

    /// Begins anew, with nothing.
    mutating func restart(at now: Instant, wait: Int64) {
        owesDeconfigure = isConfigured
        owesConfigure = false
        candidate = nil
        remembered = nil
        enter(.initial, at: now.advanced(byNanoseconds: wait))
    }

    /// How long the next try waits, in nanoseconds: not after the first failure, and then up to a minute, so that servers that
    /// refuse what they offer are not asked for ever at the speed of the link.
    mutating func failureWait(using random: inout some RandomNumberGenerator) -> Int64 {
        let count = failureCount
        if failureCount < 6 { failureCount += 1 }
        guard count > 0 else { return 0 }
        return Self.backoff(count - 1, using: &random)
    }

    /// 4, 8, 16, 32, 64, 64 … s, and up to a second more or less (§4.1).
    static func backoff(_ count: UInt8, using random: inout some RandomNumberGenerator) -> Int64 {
        let second: Int64 = 1_000_000_000
        return (4 * second) << Int64(min(count, 4)) + Int64.random(in: -second...second, using: &random)
    }
}
