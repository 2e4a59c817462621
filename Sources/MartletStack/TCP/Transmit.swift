// A connection pays what it owes: SYNs and resets, ACKs, data. What is lost goes again before what is new goes once.
//
// Hold RFC 9293 §3.8.6 (windows, silly windows), RFC 896 (Nagle) and RFC 6675 §5 beside it. Called once a round, after all
// segments of the round have arrived, so one ACK answers them all (MUST-58, MUST-59).

extension TCB {
    /// Pays a SYN, a reset or a probe. Returns false if there is no room: it is still owed then.
    mutating func payControl(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        if owed.contains(.reset) {
            guard writeReset(&burst, &stack) else { return false }
            owed = []
            if state != .closed { end(.aborted, &stack) }
            return true
        }
        if owed.contains(.control) {
            guard writeSYN(&burst, &stack) else { return false }
            owed.remove(.control)
        }
        if owed.contains(.probe) {
            guard writeProbe(&burst, &stack) else { return false }
            owed.remove(.probe)
        }
        return true
    }

    /// Pays an ACK, unless data that went has carried it.
    mutating func payAck(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        guard owed.contains(.ack), state != .closed else { return true }
        guard write([.ack], at: snd.nxt, count: 0, &burst, &stack) else { return false }
        return true
    }

    /// Pays data as far as the windows allow. Returns false if the burst is full and more could go.
    @inline(__always)
    mutating func payData(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        payWhole(&burst, &stack) || payInParts(&burst, &stack)
    }

    /// Pays what most connections owe: bytes that fit into one segment and both windows, with nothing in flight and nothing to be
    /// repaired. Returns false, and has done nothing, if it is anything else: ``payInParts(_:_:)`` does the same then, and all the rest.
    @inline(__always)
    private mutating func payWhole(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        let waiting = snd.end - snd.nxt
        guard recordHead == SentRecords.none, repair == Repairs.none, state == .established, phase == .open,
            snd.una == snd.nxt, flags.isDisjoint(with: [.finWanted, .corked]), waiting > 0,
            waiting <= min(Int(mss), Int(snd.wnd), Int(congestion.cwnd)), pacing.mayDepart(at: stack.now),
            !burst.isFull, stack.records.freeCount > 0
        else { return false }
        owed.remove(.data)
        restartAfterIdle(stack.now)
        let sequence = snd.nxt
        _ = noteFirst(sequence, waiting, &stack)
        // The application is the limit: see `nextNewCount`.
        flags.remove(.cwndLimited)
        if waiting < congestion.cwnd { rate.becameAppLimited(pipe: UInt32(truncatingIfNeeded: waiting)) }
        // Without a frame the record stands for a segment that is lost, and the timer sends it.
        _ = write([.ack, .psh], at: sequence, count: waiting, isNew: true, &burst, &stack)
        return true
    }

    @inline(never)
    private mutating func payInParts(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        owed.remove(.data)
        guard maySendData, state != .timeWait, state != .closed else { return true }
        restartAfterIdle(stack.now)
        // What is left is all: nothing waits for more room than there is.
        if lostBytes > 0, frto(stack) != .newData, !resend(&burst, &stack) {
            owed.insert(.data)
            return false
        }
        while let count = nextNewCount(burst.frameRoom, &stack) {
            guard mayDepart(&stack) else { return true }
            guard !burst.isFull else {
                owed.insert(.data)
                return false
            }
            let isLast = snd.nxt + count == snd.end
            let fin: TCPFlags = isLast && flags.contains(.finWanted) && !flags.contains(.finSent) ? [.fin] : []
            let sequence = snd.nxt
            guard note(sequence, count + (fin.isEmpty ? 0 : 1), &stack) else {
                // Others have all the records. With nothing in flight no ACK comes that would try again: time does.
                armPatience(&stack)
                return true
            }
            if !fin.isEmpty { finGoes() }
            guard
                write(
                    [.ack, isLast && count > 0 ? .psh : [], fin], at: sequence, count: count, isNew: true, &burst,
                    &stack)
            else {
                // No frame: the record stands for a segment that is lost, and the timer sends it.
                return true
            }
        }
        // Nothing is in flight, and the window is closed or too small to be used, or there is a cork: only a timer goes on
        // from here.
        if snd.nxt == snd.una, snd.nxt < snd.end {
            let isCorked = flags.contains(.corked) && !flags.contains(.pushOnce) && snd.wnd > 0
            if isCorked {
                armPatience(&stack)
            } else if timerUse != .persist || !stack.isArmed(.retransmit, of: slot) {
                armPersist(&stack)
            }
        }
        if frto(stack) == .newData, snd.nxt <= recoveryPoint {
            // RFC 5682 §2.1, step 2b: without new data there is no more to find out.
            stack.repairs[repair].spurious.frto = .off
            return payInParts(&burst, &stack)
        }
        return true
    }

    /// RFC 5681 §4.1: after a pause longer than the timeout the window says nothing any more, and begins again.
    @inline(__always)
    private mutating func restartAfterIdle(_ now: Instant) {
        guard recordHead == SentRecords.none, snd.nxt < snd.end,
            now.nanoseconds - rack.sentAt.nanoseconds > Int64(rtt.rto) * 1000
        else { return }
        congestion.idleRestarted(at: now)
    }

    private mutating func finGoes() {
        flags.insert(.finSent)
        if state == .established { state = .finWait1 } else if state == .closeWait { state = .lastAck }
    }

    /// Bytes of the next new segment; 0 is a FIN alone, and nil means that nothing may go.
    private mutating func nextNewCount(_ frameRoom: Int, _ stack: inout Connections) -> Int? {
        let waiting = snd.end - snd.nxt
        let wantsFIN = flags.contains(.finWanted) && !flags.contains(.finSent)
        guard waiting > 0 || (wantsFIN && waiting == 0) else {
            // The application is the limit: neither the window (RFC 7661 §4.1) nor the rate is to grow by that.
            if phase == .open { flags.remove(.cwndLimited) }
            let pipe = pipe
            if lostBytes == 0, pipe < congestion.cwnd { rate.becameAppLimited(pipe: pipe) }
            return nil
        }
        if waiting == 0 { return 0 }
        let usable = snd.una + Int(snd.wnd) - snd.nxt
        let allowed = Int(congestionAllows(stack))
        let count = min(waiting, Int(mss), usable, allowed)
        let wanted = min(waiting, Int(mss))
        if allowed < wanted, allowed <= usable {
            flags.insert(.cwndLimited)
        } else if usable < wanted {
            flags.remove(.cwndLimited)
        }
        // A partial segment goes only if it is all there is, or the window is so small (silly windows, §3.8.6.2.1).
        guard count > 0 else { return nil }
        if count == Int(mss) { return inOneFrame(min(waiting, usable, allowed), frameRoom, &stack) }
        let isAll = count == waiting
        if isAll, flags.contains(.corked), !wantsFIN {
            guard flags.contains(.pushOnce) else { return nil }
            flags.remove(.pushOnce)
            return count
        }
        if isAll, wantsFIN || flags.contains(.noDelay) || snd.nxt == snd.una { return count }
        if isAll, recordHead == SentRecords.none { return count }
        if !isAll, allowed < Int(mss), allowed < usable { return nil }
        return count * 2 >= Int(greatestWindow) << Int(sendShift) && !isAll ? count : nil
    }

    /// Of the bytes that may go, so many full segments as the link cuts one frame into, and no more than leave at once.
    @inline(__always)
    private mutating func inOneFrame(_ available: Int, _ frameRoom: Int, _ stack: inout Connections) -> Int {
        // CWR is for one segment (RFC 3168 §6.1.2), and a link would put it on each.
        guard stack.limits.checksumPartial, available >= 2 * Int(mss), !flags.contains(.reductionOwed) else {
            return Int(mss)
        }
        return inSegments(available, frameRoom, &stack)
    }

    private mutating func inSegments(_ available: Int, _ frameRoom: Int, _ stack: inout Connections) -> Int {
        let size = Int(mss)
        var most = min(available / size, Int(min(stack.limits.segmentsPerFrame, 16)), min(frameRoom, 65_000) / size)
        if let atOnce = bytesAtOnce(stack) { most = min(most, atOnce / size) }
        return max(most, 1) * size
    }

    /// Sends what is lost, the oldest first. Returns false if the burst is full.
    private mutating func resend(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        while lostOrder != SentRecords.none {
            let index = lostOrder
            let allowed = Int(congestionAllows(stack))
            // The first one always goes: else a small window could stop the repair.
            guard allowed >= min(Int(mss), stack.records[index].count) || index == recordHead && pipe == 0 else {
                flags.insert(.cwndLimited)
                return true
            }
            guard mayDepart(&stack) else { return true }
            guard !burst.isFull else { return false }
            if stack.records[index].count > Int(mss) {
                guard split(index, at: stack.records[index].start + Int(mss), &stack) else { return true }
            }
            guard writeAgain(index, &burst, &stack) else { return true }
        }
        return true
    }

    /// Sends the run of a record again.
    private mutating func writeAgain(_ index: UInt32, _ burst: inout Burst, _ stack: inout Connections) -> Bool {
        let record = stack.records[index]
        let hasFIN = flags.contains(.finSent) && record.end == snd.end + 1
        let count = record.count - (hasFIN ? 1 : 0)
        let fin: TCPFlags = hasFIN ? [.fin] : []
        guard write([.ack, count > 0 ? .psh : [], fin], at: record.start, count: count, &burst, &stack) else {
            return false
        }
        let total = UInt32(truncatingIfNeeded: record.count)
        sentAgain(index, &stack)
        stack.records[index].snapshot = rate.sent(pipe: pipe &- min(total, pipe), at: stack.now)
        noteResent(total, &stack)
        depart(total, stack)
        noteSentInRepair(total, &stack)
        statistics.retransmits &+= 1
        stack.counters.retransmits &+= 1
        if !stack.isArmed(.retransmit, of: slot) { armRetransmit(&stack) }
        return true
    }

    /// A new run goes: it joins the record before it, if that left at this same instant.
    private mutating func note(_ sequence: SequenceNumber, _ count: Int, _ stack: inout Connections) -> Bool {
        if recordHead == SentRecords.none { return noteFirst(sequence, count, &stack) }
        let before = pipe
        if stack.records[recordTail].sentAt == stack.now, stack.records[recordTail].end == sequence,
            stack.records[recordTail].flags.isEmpty
        {
            stack.records[recordTail].end += count
        } else {
            guard let index = takeRecord(sequence, count, pipe: before, &stack) else { return false }
            stack.records[recordTail].next = index
            stack.records[index].previous = recordTail
            recordTail = index
            stack.records.append(index, to: &sendOrder)
        }
        noteSent(sequence, count, pipe: before, &stack)
        if timerUse == .tailProbe || timerUse == .persist { armRetransmit(&stack) }
        return true
    }

    /// The same for the only run in flight.
    @inline(__always)
    private mutating func noteFirst(
        _ sequence: SequenceNumber, _ count: Int, _ stack: inout Connections
    ) -> Bool {
        let before = pipe
        guard let index = takeRecord(sequence, count, pipe: before, &stack) else { return false }
        (recordHead, recordTail) = (index, index)
        stack.records.append(index, to: &sendOrder)
        noteSent(sequence, count, pipe: before, &stack)
        armRetransmit(&stack)
        return true
    }

    /// A record of a run that goes now, in no list yet. Nil if others have all of them.
    @inline(__always)
    private mutating func takeRecord(
        _ sequence: SequenceNumber, _ count: Int, pipe: UInt32, _ stack: inout Connections
    ) -> UInt32? {
        guard let index = stack.records.take() else {
            stack.counters.noRecord &+= 1
            return nil
        }
        stack.records[index].start = sequence
        stack.records[index].end = sequence + count
        stack.records[index].sentAt = stack.now
        stack.records[index].snapshot = rate.sent(pipe: pipe, at: stack.now)
        return index
    }

    @inline(__always)
    private mutating func noteSent(
        _ sequence: SequenceNumber, _ count: Int, pipe: UInt32, _ stack: inout Connections
    ) {
        snd.nxt = sequence + count
        if congestion.marksAppLimited { rate.becameAppLimited(pipe: pipe) }
        congestion.sent(UInt32(truncatingIfNeeded: count), pipe: pipe, at: stack.now)
        depart(UInt32(truncatingIfNeeded: count), stack)
        noteSentInRepair(UInt32(truncatingIfNeeded: count), &stack)
    }

    // MARK: Segments

    /// A zero-window or tail-loss probe (RFC 9293 §3.8.6.1, RFC 8985 §7.3): new data if there is any, else the last again.
    private mutating func writeProbe(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        guard !burst.isFull else { return false }
        if recordHead == SentRecords.none, snd.nxt >= snd.end {
            // Keep-alive: a number that has been acknowledged, and no byte (SHLD-12). Unless the peer has spoken meanwhile.
            return probes == 0 || write([.ack], at: snd.nxt - 1, count: 0, &burst, &stack)
        }
        if timerUse == .persist, snd.wnd > 0 { return writeSmall(&burst, &stack) }
        if timerUse == .persist || snd.wnd == 0 {
            // One byte beyond the window, which the peer refuses and answers: not in flight, it goes as if never sent.
            guard snd.nxt < snd.end else { return true }
            let isWritten = write([.ack], at: snd.nxt, count: 1, &burst, &stack)
            armPersist(&stack)
            return isWritten
        }
        guard recordTail != SentRecords.none, !stack.records[recordTail].flags.contains(.sacked) else { return true }
        // New data, even beyond cwnd, says more than a repetition.
        let count = min(snd.end - snd.nxt, Int(mss), snd.una + Int(snd.wnd) - snd.nxt)
        if count > 0 {
            let sequence = snd.nxt
            guard note(sequence, count, &stack) else { return true }
            (rack.tailProbe, recoveryPoint) = (.newData, snd.nxt)
            _ = write([.ack, .psh], at: sequence, count: count, isNew: true, &burst, &stack)
            // A FIN may follow.
            if snd.nxt == snd.end { owe(.data, &stack) }
            return true
        }
        let record = stack.records[recordTail]
        if record.count > Int(mss) {
            guard split(recordTail, at: record.end - Int(mss), &stack) else { return true }
        }
        guard writeAgain(recordTail, &burst, &stack) else { return false }
        (rack.tailProbe, recoveryPoint) = (.again, snd.nxt)
        return true
    }

    /// A window that is too small to be worth a segment has not grown for an RTO: it is used as it is (MUST-38, the override
    /// of §3.8.6.2.1).
    private mutating func writeSmall(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        let sequence = snd.nxt
        let count = min(Int(snd.wnd), snd.end - sequence, Int(mss))
        guard count > 0, note(sequence, count, &stack) else {
            armPersist(&stack)
            return true
        }
        return write([.ack, .psh], at: sequence, count: count, &burst, &stack)
    }

    /// Announces as much as fits, and never takes back what was announced (RFC 9293 §3.8.6.2.2).
    @inline(__always)
    private mutating func announceWindow(_ stack: inout Connections) -> UInt16 {
        let limit = windowLimit(stack)
        let free = limit - (rcv.nxt - rcv.read)
        let wanted = rcv.nxt + max(0, free)
        // A window that grows by less than a segment, or half of what there is, is not worth telling.
        if wanted - rcv.edge >= min(limit / 2, Int(peerSegment)) { rcv.edge = wanted }
        return windowField()
    }

    /// Reports what came twice and what came out of order, as far as there is room beside `count` bytes (RFC 6691 §2). Returns
    /// whether there was any.
    ///
    /// What came twice first, and once (RFC 2883 §4). Then the range that came last (RFC 2018 §4) and those next to it: before it,
    /// because they are likely to have been reported last, and the ACK that did may be lost.
    @inline(__always)
    private mutating func sackOptions(
        _ options: inout TCPOptions, besides count: Int, _ stack: inout Connections
    ) -> Bool {
        let duplicate = unreportedDuplicate(stack)
        guard flags.contains(.sack), !outOfOrder.isEmpty || duplicate != nil else { return true }
        let room = count == 0 ? 4 : (Int(mss) - count - 4) / 8
        let most = min(options.hasTimestamps ? 3 : 4, room)
        guard most > 0 else { return false }
        if let duplicate {
            stack.counters.duplicateReportsOut &+= 1
            options.sackBlocks[0] = duplicate
            options.sackCount = 1
            stack.repairs[repair].duplicate.end = duplicate.start
        }
        guard !outOfOrder.isEmpty else { return true }
        var latest = stack.ranges.range(with: stack.repairs[repair].lastRange, in: outOfOrder)
        if latest == Ranges.none { latest = outOfOrder.tail }
        var index = latest
        while index != Ranges.none, Int(options.sackCount) < most {
            index = stack.ranges.report(index, in: &options).previous
        }
        index = stack.ranges[latest].next
        while index != Ranges.none, Int(options.sackCount) < most {
            index = stack.ranges.report(index, in: &options).next
        }
        return true
    }

    /// Writes a segment of an established connection into the burst. Returns false if there is no frame.
    private mutating func write(
        _ segmentFlags: TCPFlags, at sequence: SequenceNumber, count: Int, isNew: Bool = false, _ burst: inout Burst,
        _ stack: inout Connections
    ) -> Bool {
        guard !burst.isFull, var frame = burst.takeFrame() else { return false }
        frame.setLength(count)
        if stack.limits.checksumPartial { frame.offload.insert(.checksumPartial) }
        let payloadSum = count > 0 ? fill(&frame, from: sequence, stack) : 0
        let window = announceWindow(&stack)
        var (extra, ecn) = ecn(of: sequence, isNewData: isNew && count > 0)
        let urgentPointer = urgentPointer(at: sequence, stack)
        if urgentPointer > 0 { extra.insert(.urg) }
        let header = TCPHeader(
            sourcePort: tuple.localPort, destinationPort: tuple.remotePort, sequence: sequence,
            acknowledgment: rcv.nxt, flags: segmentFlags.union(extra), window: window, urgentPointer: urgentPointer)
        if count > Int(mss) { frame.segmentSize = Int(mss) }
        note(frame, &stack)
        if sendsTimestampsOnly(stack) {
            let timestamps = UInt64(timestamp(at: stack.now)) &<< 32 | UInt64(recentTimestamp)
            SegmentOut.prependPlain(
                header, timestamps: timestamps, tuple, ecn: ecn, payloadSum: payloadSum, &frame)
            owed.remove(.ack)
        } else {
            prepend(header, besides: count, ecn, payloadSum, &frame, &stack)
        }
        rewriteHeader(&frame, stack)
        lastAckSent = rcv.nxt
        unacknowledgedSegments = 0
        stack.cancel(.delayedAck, of: slot)
        burst.append(frame)
        return true
    }

    /// Copies bytes of the stream into a frame of their length. Returns their sum, or 0 if the link is to sum them.
    @inline(__always)
    private func fill(_ frame: inout Frame, from sequence: SequenceNumber, _ stack: borrowing Connections) -> UInt16 {
        var payload = frame.mutableBytes
        if !stack.limits.checksumPartial { return stack.rings.readAndSum(sendRing, at: sequence.bits, into: &payload) }
        stack.rings.read(sendRing, at: sequence.bits, into: &payload)
        return 0
    }

    /// Whether a segment has no options but the timestamps, as nearly all have.
    @inline(__always)
    private func sendsTimestampsOnly(_ stack: borrowing Connections) -> Bool {
        flags.contains(.timestamps) && !flags.contains(.userTimeoutOwed) && outOfOrder.isEmpty
            && unreportedDuplicate(stack) == nil
    }

    /// Puts the headers before `count` bytes of payload, with whatever options there are reasons for.
    private mutating func prepend(
        _ header: TCPHeader, besides count: Int, _ ecn: ECN, _ payloadSum: UInt16, _ frame: inout Frame,
        _ stack: inout Connections
    ) {
        var options = TCPOptions()
        if flags.contains(.timestamps) {
            options.hasTimestamps = true
            options.timestampValue = timestamp(at: stack.now)
            options.timestampEcho = recentTimestamp
        }
        // A full segment has no room for blocks: then an ACK of its own goes with them.
        if sackOptions(&options, besides: count, &stack) { owed.remove(.ack) }
        if flags.contains(.userTimeoutOwed), options.sackCount == 0, count + 4 <= Int(mss) {
            flags.remove(.userTimeoutOwed)
            options.userTimeout = userTimeoutToTell(stack)
        }
        SegmentOut.prepend(header, options, tuple, ecn: ecn, payloadSum: payloadSum, &frame)
    }

    private mutating func writeSYN(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        guard !burst.isFull, var frame = burst.takeFrame() else { return false }
        var options = TCPOptions()
        options.maximumSegmentSize = stack.limits.mtu - headerLength
        options.isSACKPermitted = flags.contains(.sack)
        if flags.contains(.scaled) { options.windowScale = receiveShift }
        if flags.contains(.timestamps) {
            options.hasTimestamps = true
            options.timestampValue = timestamp(at: stack.now)
            options.timestampEcho = state == .synReceived ? recentTimestamp : 0
        }
        // The SYN tells, and so does the first segment behind it, as a SYN may be answered by one who keeps nothing of it.
        if flags.contains(.userTimeoutOwed) { options.userTimeout = userTimeoutToTell(stack) }
        let isAnswer = state == .synReceived
        if isAnswer, opening.contains(.givesCookie) {
            options.setFastOpenCookie(stack.fastOpen.cookie(for: tuple, at: stack.now))
        }
        let count = state == .synSent && backoff == 0 ? offerFastOpen(&options, &stack) : 0
        frame.setLength(count)
        let payloadSum = count > 0 ? fill(&frame, from: initialSend + 1, stack) : 0
        let extra = ecnFlagsOfSYN(stack)
        let header = TCPHeader(
            sourcePort: tuple.localPort, destinationPort: tuple.remotePort, sequence: initialSend,
            acknowledgment: isAnswer ? rcv.nxt : SequenceNumber(0),
            flags: extra.union(isAnswer ? [.syn, .ack] : [.syn]),
            window: UInt16(clamping: min(Int(receiveLimit), 65_535)))
        finish(header, options, payloadSum, &frame, &stack)
        burst.append(frame)
        if snd.nxt == initialSend {
            snd.nxt = initialSend + 1 + count
            rack.sentAt = stack.now
            stall(since: stack.now)
        }
        owed.remove(.ack)
        return true
    }

    private mutating func writeReset(_ burst: inout Burst, _ stack: inout Connections) -> Bool {
        guard !burst.isFull, var frame = burst.takeFrame() else { return false }
        let header = TCPHeader(
            sourcePort: tuple.localPort, destinationPort: tuple.remotePort, sequence: snd.nxt,
            acknowledgment: rcv.nxt, flags: [.rst, .ack], window: 0)
        finish(header, TCPOptions(), 0, &frame, &stack)
        burst.append(frame)
        stack.counters.resetsOut &+= 1
        return true
    }

    /// Makes a segment of a frame that holds its payload, if there is any.
    private mutating func finish(
        _ header: TCPHeader, _ options: TCPOptions, _ payloadSum: UInt16, _ frame: inout Frame,
        _ stack: inout Connections
    ) {
        if stack.limits.checksumPartial { frame.offload.insert(.checksumPartial) }
        SegmentOut.prepend(header, options, tuple, payloadSum: payloadSum, &frame)
        rewriteHeader(&frame, stack)
        note(frame, &stack)
    }

    /// Some connections want fields of the IP header to be otherwise, or options in it.
    @inline(__always)
    private func rewriteHeader(_ frame: inout Frame, _ stack: borrowing Connections) {
        if flags.contains(.ownHeader) { stack.settings[settings].rewrite(&frame) }
    }

    /// Counts what a frame holds, whose headers are still to come or whose payload is none.
    @inline(__always)
    private mutating func note(_ frame: borrowing Frame, _ stack: inout Connections) {
        let segments = frame.segmentSize == 0 ? 1 : frame.length / frame.segmentSize
        statistics.segmentsOut &+= UInt32(truncatingIfNeeded: segments)
        stack.counters.segmentsOut &+= UInt64(segments)
    }
}
