// The scoreboard: what ACKs and SACK blocks say of the records in flight, and which of them are lost.
//
// Hold RFC 2018, RFC 6675 §4 and RFC 8985 §6.2 beside it. What an ACK costs depends on what it says that is new, not on how much is
// in flight: what is acknowledged is at the head, and a block is sought near the one before it, from where a run that has
// been SACKed is one record. Whether something is lost is decided in Recovery.

extension TCB {
    // MARK: What has arrived

    /// Takes out what `ack` acknowledges, and moves SND.UNA.
    mutating func release(upTo ack: SequenceNumber, _ tally: inout AckTally, _ stack: inout Connections) {
        releaseRun(upTo: ack, &tally, &stack)
        while recordHead != SentRecords.none, stack.records[recordHead].start < ack {
            let index = recordHead
            var record = stack.records[index]
            let isWhole = record.end <= ack
            let end = isWhole ? record.end : ack
            let count = UInt32(truncatingIfNeeded: end - record.start)
            if record.flags.contains(.sacked) {
                sackedBytes &-= min(count, sackedBytes)
            } else {
                if record.flags.contains(.retransmitted) {
                    tally.retransmissionAcknowledged = true
                } else if record.end <= recoveryPoint {
                    tally.originalAcknowledged = true
                }
                deliver(record, count, isInOrder: true, &tally, stack.now)
                if record.flags.contains(.lost) { lostBytes &-= min(count, lostBytes) }
            }
            guard isWhole else {
                record.start = ack
                stack.records[index] = record
                break
            }
            if !record.flags.contains(.sacked) { leaveRing(index, &stack) }
            if sackFinger == index { sackFinger = SentRecords.none }
            recordHead = record.next
            if recordHead == SentRecords.none {
                recordTail = SentRecords.none
            } else {
                stack.records[recordHead].previous = SentRecords.none
            }
            stack.records.release(index)
        }
        // Without SACK the imitated ones were of what is now acknowledged, and have been counted.
        if !flags.contains(.sack) {
            tally.delivered -= min(sackedBytes, tally.delivered)
            sackedBytes = 0
        }
        snd.una = ack
    }

    /// Takes out what was sent once and in order, of which nothing was reported: most is. The last such record tells all that the others
    /// would.
    @inline(__always)
    private mutating func releaseRun(upTo ack: SequenceNumber, _ tally: inout AckTally, _ stack: inout Connections) {
        // While the path's size is in doubt it matters how long each was.
        guard recordHead != SentRecords.none, sackFinger == SentRecords.none, !flags.contains(.pathDoubted) else {
            return
        }
        let (start, end) = (stack.records[recordHead].start, stack.records[recordHead].end)
        // What was sent before the one that was delivered last came late, and says so.
        guard isAfterDelivered(stack.records[recordHead].sentAt, end),
            let run = stack.records.plainRun(from: recordHead, upTo: ack, ring: sendOrder),
            let snapshot = stack.records[run.last].snapshot
        else { return }
        if end <= recoveryPoint { tally.originalAcknowledged = true }
        let count = UInt32(truncatingIfNeeded: stack.records[run.last].end - start)
        tally.delivered &+= count
        rate.delivered(snapshot, bytes: count, at: stack.now, newest: &tally.newest)
        let sentAt = stack.records[run.last].sentAt
        let age = UInt32(clamping: (stack.now.nanoseconds - sentAt.nanoseconds) / 1000)
        tally.sampleRTT = max(age, 1)
        (rack.sentAt, rack.end, rack.rtt) = (sentAt, stack.records[run.last].end, age)
        stack.records.releaseRun(run, head: &recordHead, ring: &sendOrder)
        if recordHead == SentRecords.none { recordTail = SentRecords.none }
    }

    /// Whether what was sent then is later than all that is known to be delivered (RFC 8985 §6.2, RACK_sent_after).
    @inline(__always)
    private func isAfterDelivered(_ sentAt: Instant, _ end: SequenceNumber) -> Bool {
        sentAt > rack.sentAt || (sentAt == rack.sentAt && end > rack.end)
    }

    private mutating func deliver(
        _ record: SentRecord, _ count: UInt32, isInOrder: Bool, _ tally: inout AckTally, _ now: Instant
    ) {
        tally.delivered &+= count
        tally.longestRun = max(tally.longestRun, count)
        if let snapshot = record.snapshot { rate.delivered(snapshot, bytes: count, at: now, newest: &tally.newest) }
        let age = UInt32(clamping: (now.nanoseconds - record.sentAt.nanoseconds) / 1000)
        if record.flags.contains(.retransmitted) {
            tally.resentAt = max(tally.resentAt ?? record.sentAt, record.sentAt)
            // The answer is faster than the path has ever been, or the echo older: it is for the one sent before (RFC 8985 §6.2
            // step 2). What is SACKed is answered with the echo of what came in order before it (RFC 7323 §4.3), which
            // says nothing.
            if age < minimumRTT.value { return }
            if isInOrder, let echo = tally.echo, Int32(bitPattern: echo &- timestamp(at: record.sentAt)) < 0 { return }
        } else {
            tally.sampleRTT = max(age, 1)
        }
        if isAfterDelivered(record.sentAt, record.end) {
            rack.sentAt = record.sentAt
            rack.end = record.end
            rack.rtt = age
        } else if !record.flags.contains(.retransmitted), record.end < tally.priorEnd {
            rack.reordering = true
        }
    }

    /// Marks what the blocks report (RFC 2018, RFC 6675 §4).
    mutating func readSACK(_ segment: Segment, _ tally: inout AckTally, _ stack: inout Connections) {
        let options = segment.options
        if isDuplicateReport(segment) {
            stack.counters.duplicateReportsIn &+= 1
            tally.duplicateEnd = options.sackBlocks[0].end
            duplicateReported(options.sackBlocks[0], &stack)
            widenReorderingWindow(segment.acknowledgment)
        }
        guard recordHead != SentRecords.none else { return }
        for number in 0..<Int(min(options.sackCount, 4)) {
            let block = options.sackBlocks[number]
            guard block.start < block.end, block.start >= snd.una, block.end <= snd.nxt else { continue }
            mark(block, &tally, &stack)
        }
    }

    /// RFC 2883 §4: the first block reports a duplicate if it lies below the ACK, or within the second block.
    private func isDuplicateReport(_ segment: Segment) -> Bool {
        let first = segment.options.sackBlocks[0]
        let second = segment.options.sackBlocks[1]
        guard first.start < first.end, first.end <= snd.nxt, first.start >= snd.una - 0x3fff_ffff else { return false }
        if first.end <= segment.acknowledgment { return true }
        return segment.options.sackCount > 1 && second.start <= first.start && first.end <= second.end
    }

    private mutating func mark(_ block: SACKBlock, _ tally: inout AckTally, _ stack: inout Connections) {
        var index = stack.records.first(behind: block.start, near: sackFinger, head: recordHead, tail: recordTail)
        while index != SentRecords.none, stack.records[index].start < block.end {
            let record = stack.records[index]
            if !record.flags.contains(.sacked) {
                if record.start < block.start {
                    // The part before the block stays; the rest is looked at next.
                    guard split(index, at: block.start, &stack) else { return }
                    index = stack.records[index].next
                    continue
                }
                if record.end > block.end {
                    guard split(index, at: block.end, &stack) else { return }
                }
                index = sack(index, &tally, &stack)
            }
            sackFinger = index
            index = stack.records[index].next
        }
    }

    /// The peer has this record. Returns the one that stands for it now: with what is SACKed beside it, it becomes one.
    private mutating func sack(_ index: UInt32, _ tally: inout AckTally, _ stack: inout Connections) -> UInt32 {
        leaveRing(index, &stack)
        let record = stack.records[index]
        let count = UInt32(truncatingIfNeeded: record.count)
        if record.flags.contains(.lost) {
            lostBytes &-= min(count, lostBytes)
            stack.records[index].flags.remove(.lost)
        }
        stack.records[index].flags.insert(.sacked)
        sackedBytes &+= count
        if !record.flags.contains(.retransmitted), record.end <= recoveryPoint { tally.originalSACKed = true }
        deliver(record, count, isInOrder: false, &tally, stack.now)
        if record.next != SentRecords.none, stack.records[record.next].flags.contains(.sacked) {
            if sackFinger == record.next { sackFinger = index }
            stack.records.join(index, tail: &recordTail)
        }
        guard record.previous != SentRecords.none, stack.records[record.previous].flags.contains(.sacked) else {
            return index
        }
        if sackFinger == index { sackFinger = record.previous }
        stack.records.join(record.previous, tail: &recordTail)
        return record.previous
    }

    /// Cuts a record in two. Returns whether there was another.
    mutating func split(_ index: UInt32, at number: SequenceNumber, _ stack: inout Connections) -> Bool {
        if stack.records.split(index, at: number, tail: &recordTail) { return true }
        stack.counters.noRecord &+= 1
        return false
    }

    // MARK: What is lost

    private mutating func leaveRing(_ index: UInt32, _ stack: inout Connections) {
        if stack.records[index].flags.contains(.lost) {
            stack.records.remove(index, from: &lostOrder)
        } else {
            stack.records.remove(index, from: &sendOrder)
        }
    }

    /// A record under way is deemed lost.
    mutating func lose(_ index: UInt32, _ stack: inout Connections) {
        stack.records.remove(index, from: &sendOrder)
        stack.records.insertByNumber(index, into: &lostOrder)
        stack.records[index].flags.insert(.lost)
        lostBytes &+= UInt32(truncatingIfNeeded: stack.records[index].count)
    }

    /// A timeout: all is lost that the peer has not reported. If it has reported the very first and does not acknowledge it, it has
    /// thrown away what it had, and nothing that it has reported counts (RFC 2018 §8).
    mutating func loseAll(_ stack: inout Connections) {
        let isReneging = recordHead != SentRecords.none && stack.records[recordHead].flags.contains(.sacked)
        if isReneging { stack.counters.reneges &+= 1 }
        if isReneging || !flags.contains(.sack) { sackedBytes = 0 }
        (lostBytes, sendOrder, lostOrder) = (0, SentRecords.none, SentRecords.none)
        var index = recordHead
        while index != SentRecords.none {
            if isReneging { stack.records[index].flags.remove(.sacked) }
            if !stack.records[index].flags.contains(.sacked) {
                stack.records[index].flags.insert(.lost)
                stack.records.append(index, to: &lostOrder)
                lostBytes &+= UInt32(truncatingIfNeeded: stack.records[index].count)
            }
            index = stack.records[index].next
        }
    }

    /// Nothing is lost after all.
    mutating func findAll(_ stack: inout Connections) {
        var place = SentRecords.none
        while lostOrder != SentRecords.none {
            let index = lostOrder
            stack.records.remove(index, from: &lostOrder)
            stack.records.insertByTime(index, into: &sendOrder, near: &place)
            stack.records[index].flags.remove(.lost)
        }
        lostBytes = 0
    }

    /// A record has been sent again, at this instant.
    mutating func sentAgain(_ index: UInt32, _ stack: inout Connections) {
        leaveRing(index, &stack)
        if stack.records[index].flags.contains(.lost) {
            lostBytes &-= min(UInt32(truncatingIfNeeded: stack.records[index].count), lostBytes)
            stack.records[index].flags.remove(.lost)
        }
        stack.records[index].flags.insert(.retransmitted)
        stack.records[index].sentAt = stack.now
        stack.records.append(index, to: &sendOrder)
    }

    /// The connection is over, and nothing is in flight any more.
    mutating func forgetRecords(_ stack: inout Connections) {
        stack.records.releaseAll(from: &recordHead, tail: &recordTail)
        (sendOrder, lostOrder, sackFinger) = (SentRecords.none, SentRecords.none, SentRecords.none)
    }
}
