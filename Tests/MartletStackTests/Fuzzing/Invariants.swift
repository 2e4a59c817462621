// What must be so in the tables of TCP whenever nobody is changing them.

@testable import MartletStack

extension TCP {
    /// The connections that are there, in a few words.
    var summary: String {
        var words: [String] = []
        for slot in 0..<UInt32(table.touched) where table[slot].state != .closed || !table[slot].receiveRing.isNone {
            let tcb = table[slot]
            words.append("\(tcb.state), flags \(tcb.flags.rawValue), owes \(tcb.owed.rawValue), \(tcb.events)")
        }
        return words.joined(separator: "; ")
    }

    /// Looks over all connections. `isSettled`: all that is owed has been paid.
    func check(isSettled: Bool) throws(Violation) {
        var ringBytes = 0
        var records = 0
        var ranges = 0
        var live = 0
        var repairs = 0
        for slot in 0..<UInt32(table.touched) {
            let tcb = table[slot]
            ringBytes += tcb.receiveRing.capacity + tcb.sendRing.capacity
            if tcb.repair != Repairs.none { repairs += 1 }
            guard tcb.state != .closed else { continue }
            live += 1
            try tcb.checkNumbers()
            records += try tcb.checkRecords(connections)
            ranges += try tcb.checkRanges(connections)
            try Violation.unless(demultiplexer.find(tcb.tuple, in: table) == slot, "a connection that is not found")
            if isSettled {
                try Violation.unless(
                    tcb.owed.isEmpty, "owes \(tcb.owed.rawValue) although all is paid, in \(tcb.state)")
                try tcb.checkTimers(connections)
            }
        }
        try Violation.unless(live <= table.count, "more connections than are counted")
        try Violation.unless(
            repairs == connections.repairs.count, "\(connections.repairs.count) repairs taken, \(repairs) owned")
        try Violation.unless(ringBytes == ringBytesTaken, "\(ringBytesTaken) bytes taken, \(ringBytes) owned")
        try Violation.unless(
            records + sentRecordsFree == connections.limits.sentRecords, "\(records) records, \(sentRecordsFree) free")
        try Violation.unless(
            ranges + rangesFree == connections.limits.ranges, "\(ranges) ranges, \(rangesFree) free")
    }
}

extension TCB {
    fileprivate func checkNumbers() throws(Violation) {
        try Violation.unless(snd.una <= snd.nxt, "SND.UNA is ahead of SND.NXT, in \(state)")
        try Violation.unless(
            snd.nxt <= snd.end + (flags.contains(.finSent) ? 1 : 0), "SND.NXT is ahead of what there is, in \(state)")
        try Violation.unless(
            sackedBytes &+ lostBytes <= UInt32(truncatingIfNeeded: snd.nxt - snd.una),
            "\(sackedBytes) sacked and \(lostBytes) lost of \(snd.nxt - snd.una) in flight")
        guard state != .synSent else { return }
        try Violation.unless(rcv.read <= rcv.nxt, "more is read than has come")
        try Violation.unless(rcv.nxt <= rcv.edge, "RCV.NXT is \(rcv.nxt - rcv.edge) ahead of the window, in \(state)")
        let first = state.isSynchronized ? snd.una : initialSend + 1
        if state != .timeWait, snd.end > first {
            try Violation.unless(sendRing.capacity >= snd.end - first, "unacknowledged bytes without memory")
        }
        let end = flags.contains(.finReceived) ? rcv.nxt - 1 : rcv.nxt
        if !receiveRing.isNone || end > rcv.read {
            try Violation.unless(receiveRing.capacity >= end - rcv.read, "unread bytes without memory")
        }
    }

    fileprivate func checkRecords(_ stack: borrowing Connections) throws(Violation) -> Int {
        var count = 0
        var (sacked, lost): (UInt32, UInt32) = (0, 0)
        var next = snd.una
        var last = SentRecords.none
        var index = recordHead
        while index != SentRecords.none {
            let record = stack.records[index]
            try Violation.unless(record.start == next, "a gap of \(record.start - next) between records, in \(state)")
            try Violation.unless(record.end > record.start, "an empty record")
            if record.flags.contains(.sacked) { sacked &+= UInt32(record.count) }
            if record.flags.contains(.lost) { lost &+= UInt32(record.count) }
            try Violation.unless(!record.flags.isSuperset(of: [.sacked, .lost]), "sacked and lost")
            next = record.end
            last = index
            index = record.next
            count += 1
            try Violation.unless(count <= stack.limits.sentRecords, "a ring of records")
        }
        try Violation.unless(recordTail == last, "the last record is not the last")
        if count > 0 || state.isSynchronized {
            try Violation.unless(next == snd.nxt, "records end \(snd.nxt - next) before SND.NXT, in \(state)")
        }
        if flags.contains(.sack) {
            try Violation.unless(sacked == sackedBytes, "\(sackedBytes) sacked bytes, \(sacked) in records")
        }
        try Violation.unless(lost == lostBytes, "\(lostBytes) lost bytes, \(lost) in records")
        return count
    }

    fileprivate func checkRanges(_ stack: borrowing Connections) throws(Violation) -> Int {
        var count = 0
        var end = rcv.nxt
        var index = outOfOrder.head
        while index != Ranges.none {
            let range = stack.ranges[index]
            try Violation.unless(range.start > end && range.end > range.start, "ranges that touch or are empty")
            end = range.end
            index = range.next
            count += 1
            try Violation.unless(count <= Int(outOfOrder.count), "more ranges than are counted")
        }
        try Violation.unless(count == Int(outOfOrder.count), "\(outOfOrder.count) ranges counted, \(count) linked")
        if count > 0 {
            try Violation.unless(end <= rcv.edge, "bytes are held beyond the window")
            try Violation.unless(receiveRing.capacity >= end - rcv.read, "bytes out of order without memory")
        }
        return count
    }

    /// Whoever waits for the peer has a timer, for the peer may never answer.
    fileprivate func checkTimers(_ stack: borrowing Connections) throws(Violation) {
        let hasTimer = stack.isArmed(.retransmit, of: slot) || stack.isArmed(.pacing, of: slot)
        if snd.una < snd.nxt {
            try Violation.unless(
                hasTimer || state == .timeWait, "\(snd.nxt - snd.una) in flight and no timer, in \(state), \(phase)")
        } else if state.isSynchronized, snd.nxt < snd.end {
            try Violation.unless(
                hasTimer,
                "\(snd.end - snd.nxt) bytes to send, nothing in flight and no timer, in \(state), \(phase), for \(timerUse), window \(snd.wnd), \(stack.counters.noRecord) times no record"
            )
        } else if flags.contains(.finWanted), !flags.contains(.finSent), state.isSynchronized, state != .timeWait {
            try Violation.unless(
                hasTimer,
                "a FIN to send, nothing in flight and no timer, in \(state), \(phase), for \(timerUse), window \(snd.wnd), \(stack.counters.noRecord) times no record"
            )
        }
        if state == .timeWait || state == .finWait2 && flags.contains(.released) {
            try Violation.unless(stack.isArmed(.slow, of: slot), "no end of \(state)")
        }
    }
}
