// How much to send on each ACK of a fast recovery, so that it ends with as much in flight as ssthresh says.
//
// Hold RFC 9937 §6 beside it (and RFC 6937, which it replaces). Must not know why a segment counts as lost.
//
//     pipe > ssthresh    proportional: for every 10 bytes delivered send 7, if ssthresh is 0.7 of what was in flight
//     pipe ≤ ssthresh    what was lost took more than the reduction wanted: conserve packets (CRB), and
//                        grow back as slow start would (SSRB) if nothing says that the loss goes on

/// Proportional Rate Reduction, for one recovery.
struct PRR: BitwiseCopyable, Sendable {
    /// Bytes that have reached the peer in this recovery, as its ACKs and SACKs told.
    private(set) var prrDelivered: UInt32 = 0
    /// Bytes sent in this recovery, retransmissions included.
    private(set) var prrOut: UInt32 = 0
    /// Bytes that this recovery can deliver: FlightSize at its start, less what had been SACKed before the ACK that
    /// started it, plus what that ACK acknowledged cumulatively.
    let recoverFS: UInt32

    /// A recovery that starts. Feed it the ACK that started it, too.
    init(recoverFS: UInt32) {
        // Divided by below; and nothing in flight cannot be recovered.
        self.recoverFS = max(recoverFS, 1)
    }

    /// Bytes that may be sent now, on an ACK that delivered `delivered`: never more than the reduction to `ssthresh`
    /// allows.
    ///
    /// `pipe` is what is in flight after this ACK, by RFC 6675 or RACK. `isSafe` says that this ACK advanced snd.una and
    /// revealed no further loss: only then is the slow-start reduction bound used, else the conservative one.
    mutating func sendable(pipe: UInt32, delivered: UInt32, ssthresh: UInt32, mss: UInt32, isSafe: Bool) -> UInt32 {
        prrDelivered = prrDelivered.addingSaturated(delivered)
        var sndcnt: UInt32
        if pipe > ssthresh {
            // Rounded up, lest a recovery of few segments send nothing.
            let share = (UInt64(prrDelivered) * UInt64(ssthresh) + UInt64(recoverFS) - 1) / UInt64(recoverFS)
            sndcnt = UInt32(clamping: Int64(min(share, UInt64(UInt32.max))) - Int64(prrOut))
        } else {
            let unpaid = prrDelivered > prrOut ? prrDelivered - prrOut : 0
            var limit = max(unpaid, delivered)
            if isSafe { limit = limit.addingSaturated(mss) }
            sndcnt = min(ssthresh - pipe, limit)
        }
        // The fast retransmit that a recovery starts with goes out in any case.
        if prrOut == 0 && sndcnt == 0 { sndcnt = mss }
        return sndcnt
    }

    /// Bytes went out, new or again.
    mutating func sent(_ bytes: UInt32) {
        prrOut = prrOut.addingSaturated(bytes)
    }
}

extension UInt32 {
    /// The sum, or the largest number if it is more.
    func addingSaturated(_ other: UInt32) -> UInt32 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
