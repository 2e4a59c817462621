// Whether an address is ours alone: RFC 5227 for IPv4, Duplicate Address Detection of RFC 4862 §5.4 for IPv6.
//
//     IPv4   wait 0–1 s ─▶ probe ─ 1–2 s ─▶ probe ─ 1–2 s ─▶ probe ─ 2 s ─▶ assign, announce ─ 2 s ─▶ announce
//     IPv6   wait 0–1 s ─▶ solicit ─ RetransTimer ─▶ assign
//
// A sign of another owner before the address is assigned ends it. Afterwards IPv4 defends once in 10 s, and then gives way,
// unless it is told never to; IPv6 does nothing (RFC 4862 §5.4.5 is about tentative addresses). One value an address; it
// sends nothing itself and says what is to be sent.

/// The claim of one address.
struct AddressConflict: BitwiseCopyable {
    enum Phase: UInt8, BitwiseCopyable {
        /// Asking. The address must not be used.
        case probing
        /// Assigned, and IPv4 still says so to the link.
        case announcing
        case settled
        /// Somebody else has it.
        case lost
    }

    enum Action: BitwiseCopyable, Equatable {
        /// An ARP probe (RFC 5227 §2.1.1), or a Neighbor Solicitation from the unspecified address.
        case probe
        /// The address may be used from now on.
        case assign
        /// An ARP announcement (RFC 5227 §2.3).
        case announce
    }

    /// What was seen of another host that has the address, or wants it.
    enum Evidence: BitwiseCopyable {
        /// An ARP packet whose sender has the address, or a Neighbor Advertisement for it.
        case use
        /// Another's ARP probe, or Neighbor Solicitation from the unspecified address, for it.
        case probe
    }

    enum Outcome: BitwiseCopyable, Equatable {
        /// Nothing: it is ours, and the usual answer tells the other.
        case ignored
        /// Send one announcement.
        case defend
        /// The address is the other's: stop using it, and close what uses it. DHCP declines the lease.
        case lost
    }

    static var probeWait: Duration { .seconds(1) }
    static var probeCount: UInt8 { 3 }
    static var probeMinimum: Duration { .seconds(1) }
    static var probeMaximum: Duration { .seconds(2) }
    static var announceWait: Duration { .seconds(2) }
    static var announceCount: UInt8 { 2 }
    static var announceInterval: Duration { .seconds(2) }
    static var defendInterval: Duration { .seconds(10) }
    /// After so many conflicts on a link, a new try waits ``rateLimitInterval``.
    static var maxConflicts: Int { 10 }
    static var rateLimitInterval: Duration { .seconds(60) }

    private(set) var phase = Phase.probing
    /// When ``nextAction(at:using:)`` has something to say; `distantFuture` if only the link has.
    private(set) var deadline: Instant
    private let isIPv4: Bool
    private let neverYields: Bool
    private let interval: Duration
    private var left: UInt8
    private var defendedAt: Instant?

    /// The claim of an IPv4 address, after `conflicts` claims on this link were lost.
    ///
    /// One that `neverYields` is kept whatever others do (RFC 5227 §2.4 (c)): that of a router, or a server.
    init(
        ipv4ClaimAfter conflicts: Int, neverYields: Bool = false, now: Instant,
        using random: inout some RandomNumberGenerator
    ) {
        (isIPv4, self.neverYields, interval, left) = (true, neverYields, .zero, Self.probeCount)
        let pause = conflicts >= Self.maxConflicts ? Self.rateLimitInterval : .zero
        deadline = now + pause + Self.draw(.zero, Self.probeWait, using: &random)
    }

    /// The claim of an IPv6 address: `transmits` is DupAddrDetectTransmits, and 0 claims it without asking.
    init(
        ipv6Transmits transmits: UInt8 = 1, retransTimer: Duration = .seconds(1), now: Instant,
        using random: inout some RandomNumberGenerator
    ) {
        (isIPv4, neverYields, interval, left) = (false, false, retransTimer, transmits)
        // MAX_RTR_SOLICITATION_DELAY: hosts that were switched on together do not ask together (§5.4.2).
        deadline = transmits == 0 ? now : now + Self.draw(.zero, .seconds(1), using: &random)
    }

    /// Whether packets may be sent from the address.
    var isAssigned: Bool { phase == .announcing || phase == .settled }

    /// What is to be done at `now`; `nil` if nothing. To be called until it is.
    mutating func nextAction(at now: Instant, using random: inout some RandomNumberGenerator) -> Action? {
        guard now >= deadline else { return nil }
        switch phase {
        case .probing where left > 0:
            left -= 1
            if isIPv4 {
                let next = Self.draw(Self.probeMinimum, Self.probeMaximum, using: &random)
                deadline = now + (left > 0 ? next : Self.announceWait)
            } else {
                deadline = now + interval
            }
            return .probe
        case .probing:
            phase = isIPv4 ? .announcing : .settled
            left = isIPv4 ? Self.announceCount : 0
            deadline = isIPv4 ? now : .distantFuture
            return .assign
        case .announcing:
            left -= 1
            deadline = now + Self.announceInterval
            if left == 0 { (phase, deadline) = (.settled, .distantFuture) }
            return .announce
        case .settled, .lost:
            return nil
        }
    }

    /// Somebody else was seen. That the packet was not our own, looped back, the caller has made sure (RFC 7527).
    mutating func receive(_ evidence: Evidence, at now: Instant) -> Outcome {
        switch phase {
        case .probing:
            return lose()
        case .lost:
            return .ignored
        case .announcing, .settled:
            guard isIPv4, evidence == .use else { return .ignored }
            if let defendedAt, now < defendedAt + Self.defendInterval { return neverYields ? .ignored : lose() }
            defendedAt = now
            return .defend
        }
    }

    private mutating func lose() -> Outcome {
        (phase, deadline) = (.lost, .distantFuture)
        return .lost
    }

    private static func draw(
        _ low: Duration, _ high: Duration, using random: inout some RandomNumberGenerator
    ) -> Duration {
        .nanoseconds(Int64.random(in: low.saturatedNanoseconds...high.saturatedNanoseconds, using: &random))
    }
}
