// What the network says of a connection's path: how large its packets may be, and that some did not arrive.
//
// Hold RFC 1191 §6.4, RFC 8899 §4.6 and RFC 5927 §4 and §5 beside it. The path itself is kept in IP/PathMTU: who drives both asks here
// whether a message is to be believed, says how large packets may be now, and reads what full-size segments have met.

/// What an ICMP error means to a connection.
enum ICMPError: BitwiseCopyable, Equatable, Sendable {
    /// It may pass: a network or a host is not reached, hops have run out.
    case soft(TCPSoftError)
    /// Nobody is there: protocol or port unreachable.
    case hard
    /// A packet was too big for its path.
    case tooBig
}

/// What became of a segment that filled a packet.
enum FullSizeReport: UInt8, BitwiseCopyable {
    /// There was none yet: what the path is known to take is to be told.
    case begins
    case lost
    /// It has arrived, the first after one was lost or after the size has changed.
    case arrived
}

extension TCB {
    /// Bytes that the options of each segment take.
    @inline(__always)
    private var optionsLength: UInt16 { flags.contains(.timestamps) ? 12 : 0 }

    /// The path takes packets of `bytes` from now on. What is in flight in larger ones is lost, which says nothing of congestion, and goes
    /// again at once.
    mutating func pathMTUChanged(to bytes: Int, _ stack: inout Connections) {
        // No path is so narrow that there is no room for some payload.
        let packet = UInt16(clamping: max(bytes, Int(headerLength) + 64))
        let size = min(peerMSS, packet - headerLength) - optionsLength - routeLength(stack)
        guard state.isSynchronized, size != mss else { return }
        let isSmaller = size < mss
        mss = size
        congestion.mssChanged(to: UInt32(size))
        flags.insert(.pathDoubted)
        if isSmaller { loseLarger(&stack) }
    }

    private mutating func loseLarger(_ stack: inout Connections) {
        var index = recordHead
        while index != SentRecords.none {
            let record = stack.records[index]
            if record.count > Int(mss), record.flags.isDisjoint(with: [.sacked, .lost]) { lose(index, &stack) }
            index = record.next
        }
        let flight = UInt32(truncatingIfNeeded: snd.nxt - snd.una)
        if !flags.contains(.sack), sackedBytes &+ lostBytes > flight { sackedBytes = flight - lostBytes }
        if lostBytes > 0 { owe(.data, &stack) }
    }

    // MARK: What full-size segments meet

    /// Whether a full segment fills a packet of the path, rather than what the peer takes.
    @inline(__always)
    private func fillsPath(_ stack: borrowing Connections) -> Bool {
        mss + optionsLength + routeLength(stack) < peerMSS || peerMSS >= stack.limits.mtu - headerLength
    }

    /// The timer of the first segment in flight expired.
    mutating func reportLoss(_ stack: inout Connections) {
        guard recordHead != SentRecords.none, stack.records[recordHead].count >= Int(mss), fillsPath(stack) else {
            return
        }
        flags.insert([.pathDoubted, .fullSizeLost])
        stack.fullSize.append(slot)
    }

    /// `largest` bytes that were sent together have arrived.
    @inline(__always)
    mutating func reportArrival(_ largest: UInt32, _ stack: inout Connections) {
        guard flags.contains(.pathDoubted), largest >= UInt32(mss), fillsPath(stack) else { return }
        flags.remove([.pathDoubted, .fullSizeLost])
        flags.insert(.fullSizeArrived)
        stack.fullSize.append(slot)
    }

    /// Others have found paths that are narrower than their links: this one may be such a path.
    mutating func askForPath(_ stack: inout Connections) {
        flags.insert(.pathUnknown)
        stack.fullSize.append(slot)
    }

    /// What is to be reported, once.
    mutating func takeFullSizeReport() -> FullSizeReport? {
        if flags.contains(.pathUnknown) {
            flags.remove(.pathUnknown)
            return .begins
        }
        let isLost = flags.contains(.fullSizeLost)
        guard isLost || flags.contains(.fullSizeArrived) else { return nil }
        flags.remove([.fullSizeLost, .fullSizeArrived])
        return isLost ? .lost : .arrived
    }

    // MARK: ICMP

    /// An ICMP error quotes a segment that begins at `quoted`. Returns whether that is in flight: else nobody on the path has seen it,
    /// and nothing is believed (RFC 5927 §4.1).
    mutating func icmpError(_ error: ICMPError, quoted: SequenceNumber, _ stack: inout Connections) -> Bool {
        guard state != .closed, state != .timeWait, snd.una <= quoted, quoted < snd.nxt else {
            stack.counters.strangeICMP &+= 1
            return false
        }
        switch error {
        case .tooBig: break
        case .hard where state == .synSent: end(.refused, &stack)
        // RFC 1122 §4.2.3.9, RFC 5927 §5.2: an established connection outlives it. If it dies of silence later, this was why.
        case .hard:
            flags.insert(.unreachable)
            report(.refused, &stack)
        // RFC 5461: an error that may pass ends nothing in any state (MUST-56).
        case .soft(let error):
            flags.insert(.unreachable)
            report(error, &stack)
        }
        return true
    }
}
