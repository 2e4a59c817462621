// The urgent mark of a stream (RFC 9293 §3.8.5, RFC 6093): a place behind bytes that the peer wants read soon.
//
// Bytes are never taken out of their order, as RFC 6093 §6 advises: the user hears that the mark is there or has moved, and how
// far ahead it is. The pointer in a segment is where the urgent bytes end: the first that is not urgent (MUST-62).

/// The marks of both directions; each counts only if a flag of the TCB says so.
struct UrgentMarks: BitwiseCopyable {
    /// SND.UP and RCV.UP: the number behind the last urgent byte.
    var snd = SequenceNumber(0)
    var rcv = SequenceNumber(0)
}

extension TCB {
    // MARK: Receiving

    /// RFC 9293 §3.10.7.4, sixth: the URG bit. The user hears each time that the mark goes ahead (MUST-32).
    mutating func urgentArrives(_ segment: Segment, _ stack: inout Connections) {
        guard state.mayReceive else { return }
        let mark = segment.sequence + Int(segment.urgentPointer)
        guard mark > rcv.read, mark > urgentArrived(stack) ?? rcv.read else { return }
        stack.repairs[takeRepair(&stack)].urgent.rcv = mark
        flags.insert(.urgentArrived)
        tell(.urgent, &stack)
    }

    /// Bytes that the user has to read until the mark, those that have not come yet included (MUST-33); nil if there is none.
    func urgentCount(_ stack: borrowing Connections) -> Int? { urgentArrived(stack).map { $0 - rcv.read } }

    @inline(__always)
    private func urgentArrived(_ stack: borrowing Connections) -> SequenceNumber? {
        flags.contains(.urgentArrived) && repair != Repairs.none ? stack.repairs[repair].urgent.rcv : nil
    }

    /// The user has read: perhaps beyond the mark.
    @inline(__always)
    mutating func passUrgentMark(_ stack: borrowing Connections) {
        if let mark = urgentArrived(stack), rcv.read >= mark { flags.remove(.urgentArrived) }
    }

    // MARK: Sending

    /// SEND with the urgent flag (RFC 9293 §3.9.1.2): the mark is behind these bytes, of which there may be any number (MUST-31).
    mutating func sendUrgent(_ bytes: RawSpan, _ stack: inout Connections) -> Int {
        let count = send(bytes, &stack)
        guard count > 0 else { return 0 }
        stack.repairs[takeRepair(&stack)].urgent.snd = snd.end
        flags.insert(.urgentSent)
        // The peer hears of the mark even if its window keeps the bytes away.
        if snd.wnd == 0, state.isSynchronized { owe(.ack, &stack) }
        return count
    }

    /// The urgent pointer of a segment that starts at `sequence`; 0 if it has none. One that is too far ahead for 16 bits
    /// points as far as it can, and later segments further.
    @inline(__always)
    mutating func urgentPointer(at sequence: SequenceNumber, _ stack: borrowing Connections) -> UInt16 {
        guard flags.contains(.urgentSent), repair != Repairs.none else { return 0 }
        let mark = stack.repairs[repair].urgent.snd
        if snd.una >= mark {
            flags.remove(.urgentSent)
            return 0
        }
        return UInt16(clamping: max(0, mark - sequence))
    }
}
