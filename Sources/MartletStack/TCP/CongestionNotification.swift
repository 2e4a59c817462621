// Explicit congestion notification: routers mark packets instead of dropping them, the receiver echoes the mark, and the
// sender slows down and says so.
//
//     sender ── data, ECT(0) ──▶ router ── CE ──▶ receiver
//        ◀───────────── ACKs with ECE, until ────────────
//        ── the next new data, with CWR ───────────────▶
//
// Hold RFC 3168 §6.1 beside it, and RFC 8311 §4 for what has changed since. Classic ECN: one echo a round trip, and
// a peer that offers the accurate kind (RFC 9768) is answered so.

/// Whether connections take part in congestion notification (RFC 3168).
public enum ECNUse: UInt8, BitwiseCopyable, Sendable {
    /// They neither ask nor agree.
    case never
    /// Where the peer's SYN asks for it.
    case whenAsked
    /// Our SYNs ask for it too.
    case always
}

extension Connections {
    /// BBR does not slow down for marks, and who does not must not ask for them (RFC 3168 §5).
    @inline(__always)
    var ecn: ECNUse { limits.congestion == .bbr ? .never : limits.ecn }
}

extension TCB {
    /// The flags of our SYN or SYN-ACK (RFC 3168 §6.1.1).
    @inline(__always)
    mutating func ecnFlagsOfSYN(_ stack: borrowing Connections) -> TCPFlags {
        guard state == .synSent else {
            guard flags.contains(.ecn) else { return [] }
            // What drops a SYN,ACK may do so for its flags: one that goes again has none. The peer may see either, so no data of
            // ours says that it may be marked (§6.1.1), but marks of the peer's are echoed.
            if backoff > 0 { flags.insert(.unmarked) }
            return backoff == 0 ? .ece : []
        }
        // A SYN that asks may be dropped by what has never heard of it: the next does not ask (§6.1.1.1). The answer to the
        // first may still come, and holds.
        guard stack.ecn == .always, backoff == 0 else { return [] }
        flags.insert(.ecn)
        return [.ece, .cwr]
    }

    /// The peer's SYN or SYN-ACK has come: do both take part?
    @inline(__always)
    mutating func agreeOnECN(_ segment: Segment, _ stack: borrowing Connections) {
        let asks = segment.flags.isSuperset(of: [.ece, .cwr])
        let isAgreed: Bool
        if segment.flags.contains(.ack) {
            // With both flags it is an echo of what we sent, from somebody who does not know what they mean.
            isAgreed = flags.contains(.ecn) && segment.flags.contains(.ece) && !segment.flags.contains(.cwr)
        } else if flags.contains(.active) {
            // Simultaneous open: the peer may have seen any of our SYNs.
            isAgreed = asks && flags.contains(.ecn) && backoff == 0
        } else {
            isAgreed = asks && stack.ecn != .never
        }
        if isAgreed { flags.insert(.ecn) } else { flags.remove(.ecn) }
    }

    /// A segment with data, in the window: its mark is echoed until the peer says that it has slowed down (§6.1.3).
    @inline(__always)
    mutating func noteMark(_ segment: Segment, _ stack: inout Connections) {
        guard flags.contains(.ecn) else { return }
        if segment.flags.contains(.cwr) {
            flags.remove(.echoesMark)
            // Its window may be so small now that it waits for this ACK.
            owe(.ack, &stack)
        }
        guard segment.isCongestionExperienced else { return }
        stack.counters.marksIn &+= 1
        if !flags.contains(.echoesMark) {
            flags.insert(.echoesMark)
            owe(.ack, &stack)
        }
    }

    /// An ACK has been read: if it echoes a mark, the window is reduced, once a window of data (§6.1.2).
    @inline(__always)
    mutating func checkEcho(_ segment: Segment, _ tally: AckTally, _ stack: inout Connections) {
        guard flags.contains(.ecn) else { return }
        if flags.contains(.reductionTold), snd.una > reductionPoint { flags.remove(.reductionTold) }
        // Until the peer has seen CWR it echoes what has been answered.
        guard segment.flags.contains(.ece), !segment.flags.contains(.syn), !phase.isReduced,
            flags.isDisjoint(with: [.reductionOwed, .reductionTold])
        else { return }
        stack.counters.echoesIn &+= 1
        reduce(.ecn, tally, &stack)
    }

    /// BBR does not slow down for marks, and who does not must not ask for them.
    mutating func heedMarks() {
        if congestion.algorithm == .bbr { flags.insert(.unmarked) }
    }

    /// The window has been reduced, for whatever reason: the next new data says so.
    @inline(__always)
    mutating func oweReduction() {
        guard flags.contains(.ecn) else { return }
        flags.insert(.reductionOwed)
        flags.remove(.reductionTold)
    }

    /// The flags that a segment carries besides its own, and how its packet is to be marked. New data alone is marked as capable:
    /// not what goes again, no probe, no ACK (§6.1.4 to §6.1.6).
    @inline(__always)
    mutating func ecn(of sequence: SequenceNumber, isNewData: Bool) -> (TCPFlags, ECN) {
        guard flags.contains(.ecn) else { return ([], .notCapable) }
        var extra: TCPFlags = flags.contains(.echoesMark) ? .ece : []
        guard isNewData, !flags.contains(.unmarked) else { return (extra, .notCapable) }
        if flags.contains(.reductionOwed) {
            extra.insert(.cwr)
            flags.remove(.reductionOwed)
            flags.insert(.reductionTold)
            reductionPoint = sequence
        }
        return (extra, .capable0)
    }
}
