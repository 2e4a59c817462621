// What one path carries, when nobody says: the search of RFC 8899 §5, driven by what TCP sees acknowledged and lost.
//
//                  full-size segments are lost thrice
//     ASSUMED ─────────────────────────────────────────▶ BASE ──▶ SEARCHING ◀──── 10 min ────┐
//                                                         │ lost     │    │                   │
//                                                         ▼          │    └──▶ COMPLETE ──────┘
//                                                       ERROR ───────┘
//
// ASSUMED is the link's MTU or what an ICMP message has said; most paths stay there. It sends no probe itself: it says
// how long one is to be, and is told what became of it. All sizes are bytes of whole IP packets.

/// The state of one path. Plain values, no table.
struct PathSearch: BitwiseCopyable {
    enum Phase: UInt8, BitwiseCopyable {
        case assumed, base, searching, complete, error
    }

    /// MAX_PROBES: so many losses in a row are no accident (RFC 8899 §5.1.2).
    static var maxProbes: UInt8 { 3 }
    /// PROBE_TIMER: a probe of which nothing was heard for so long is forgotten; its connection may have ended.
    static var probeTimer: Duration { .seconds(15) }
    /// PMTU_RAISE_TIMER, and the age at which RFC 1191 §6.3 forgets what ICMP has said.
    static var raiseTimer: Duration { .seconds(600) }
    /// Sizes nearer to each other are not worth a probe.
    static var resolution: Int { 8 }

    private(set) var phase = Phase.assumed
    /// Packets of this size pass, or are believed to.
    private(set) var mtu: Int
    /// The largest size that may still turn out to pass.
    private(set) var ceiling: Int
    /// The size of the probe that is under way; 0 if none is.
    private(set) var probe = 0
    private(set) var changedAt: Instant
    private var probeSentAt = Instant.zero
    private var probeLosses: UInt8 = 0
    private var losses: UInt8 = 0
    private let isIPv4: Bool

    init(mtu: Int, isIPv4: Bool, at now: Instant) {
        self.mtu = mtu
        self.isIPv4 = isIPv4
        ceiling = mtu
        changedAt = now
    }

    /// BASE_PLPMTU: passes almost everywhere; on IPv6 everywhere.
    var base: Int { isIPv4 ? 1200 : 1280 }

    /// MIN_PLPMTU: below, paths are not believed (552 as Linux has it: 512 bytes of data and 40 of header).
    var minimum: Int { isIPv4 ? 552 : 1280 }

    /// Whether what ICMP has said is too old (RFC 1191 §6.3, RFC 8201 §4). What a search has found is tried again instead.
    func isAged(at now: Instant) -> Bool { phase == .assumed && now >= changedAt + Self.raiseTimer }

    /// ICMP says that a path carries `size` at most. It can only lower.
    mutating func lower(to size: Int, at now: Instant) {
        let size = max(size, minimum)
        ceiling = min(ceiling, size)
        if probe > ceiling { (probe, probeLosses) = (0, 0) }
        if size < mtu {
            mtu = size
            changedAt = now
            losses = 0
        }
        if phase == .searching { settle(at: now) }
    }

    /// A segment that filled a packet of the present MTU was lost, and shorter ones were not, or nothing was heard at all.
    ///
    /// - Returns: whether the path turned out to be a black hole: the MTU is lower now.
    mutating func fullSizeLost(at now: Instant) -> Bool {
        losses += 1
        guard losses >= Self.maxProbes else { return false }
        (losses, probe, probeLosses) = (0, 0, 0)
        guard mtu > minimum else { return false }
        ceiling = mtu - 1
        changedAt = now
        if mtu > base {
            (phase, mtu) = (.base, base)
        } else {
            (phase, mtu) = (.error, minimum)
        }
        return true
    }

    /// A segment that filled a packet of the present MTU has arrived.
    mutating func fullSizeAcknowledged(at now: Instant) {
        losses = 0
        guard phase == .base || phase == .error else { return }
        phase = .searching
        settle(at: now)
    }

    /// How long a probe is to be that may be sent now; `nil` if none is due. It counts as sent.
    mutating func nextProbe(linkMTU: Int, at now: Instant) -> Int? {
        if phase == .complete && now >= changedAt + Self.raiseTimer {
            // The path may have become better.
            (phase, ceiling, changedAt) = (.searching, linkMTU, now)
            settle(at: now)
        }
        ceiling = min(ceiling, linkMTU)
        guard phase == .searching, ceiling > mtu else { return nil }
        if probe > 0 && now < probeSentAt + Self.probeTimer { return nil }
        // The whole of the link first, if nothing is known against it; then the middle.
        probe = ceiling == linkMTU ? ceiling : mtu + (ceiling - mtu + 1) / 2
        probeSentAt = now
        return probe
    }

    mutating func probeAcknowledged(size: Int, at now: Instant) {
        guard phase == .searching, size > mtu, size <= ceiling else { return }
        mtu = size
        (probe, probeLosses, losses, changedAt) = (0, 0, 0, now)
        settle(at: now)
    }

    /// A probe was lost. That says nothing about congestion (RFC 8899 §3, item 7).
    mutating func probeLost(size: Int, at now: Instant) {
        guard phase == .searching, size == probe else { return }
        probe = 0
        probeLosses += 1
        guard probeLosses >= Self.maxProbes else { return }
        probeLosses = 0
        ceiling = size - 1
        settle(at: now)
    }

    private mutating func settle(at now: Instant) {
        guard ceiling - mtu < Self.resolution else { return }
        phase = .complete
        (probe, probeLosses, changedAt) = (0, 0, now)
    }
}
