// SEGMENT ARRIVES, for a connection (RFC 9293 §3.10.7.3 and .4). The parent reads like the RFC, and calls its steps. Most
// segments never come here: see HeaderPrediction.
//
// Nothing is sent from here: what the connection owes is marked, and `Transmit` pays in the same round.

extension TCB {
    /// A segment for this connection. `packet` starts at its TCP header.
    mutating func segmentArrives(_ segment: Segment, _ packet: RawSpan, _ stack: inout Connections) {
        statistics.segmentsIn &+= 1
        stack.counters.slowPath &+= 1
        if state == .synSent { return arrivesInSynSent(segment, &stack) }

        // First, check the sequence number. RFC 7323 §5.3: R1, PAWS, before it.
        guard passesTimestampCheck(segment, &stack) else { return }
        guard rcv.accepts(segment) else {
            stack.counters.outOfWindow &+= 1
            if segment.flags.contains(.rst) { return }
            // The peer's SYN again: our SYN,ACK says what the RFC's ACK says, and is lost if the SYN comes again.
            if state == .synReceived, segment.sequence == initialReceive, segment.flags.contains(.syn),
                !segment.flags.contains(.ack)
            {
                return owe(.control, &stack)
            }
            noteDuplicate(segment, &stack)
            // A FIN or SYN again, a keep-alive or a zero-window probe: all are answered by what is expected here.
            if state == .timeWait, segment.flags.contains(.fin) {
                stack.arm(.slow, of: slot, in: stack.limits.timeWaitNanoseconds)
            }
            return answerStray(segment, &stack)
        }
        heard(stack)
        // Second, check the RST bit (RFC 5961 §3.2: only exactly the next number resets).
        if segment.flags.contains(.rst) {
            guard segment.sequence == rcv.nxt else { return challenge(&stack) }
            // TIME-WAIT is not ended by a reset that was late (RFC 1337 §3, F1).
            if state == .timeWait { return }
            return resetArrives(&stack)
        }
        // Fourth, check the SYN bit (RFC 5961 §4.2).
        if segment.flags.contains(.syn) {
            return challenge(&stack)
        }
        // Fifth, check the ACK field.
        guard segment.flags.contains(.ack) else { return }
        noteTimestamp(segment, stack.now)
        if state == .synReceived {
            guard snd.una < segment.acknowledgment, segment.acknowledgment <= snd.nxt else {
                // A reset for the segment, and the connection stays (RFC 9293 §3.10.7.4).
                stack.counters.outOfWindow &+= 1
                return stack.answers.appendReset(to: segment, tuple)
            }
            let hasLostSYN = backoff > 0
            becomeEstablished(segment, &stack)
            guard acknowledge(segment, &stack) else { return }
            rtt.established(afterLostSYN: hasLostSYN)
            takeBackSYNData(&stack)
        } else {
            guard acknowledge(segment, &stack) else { return }
        }
        progressAfterAcknowledgment(&stack)
        if state == .closed { return }
        if segment.options.userTimeout != 0 { userTimeoutArrives(segment.options, stack) }
        // Sixth, check the URG bit.
        if segment.flags.contains(.urg) { urgentArrives(segment, &stack) }
        // Seventh, process the segment text.
        if segment.payloadLength > 0 {
            noteMark(segment, &stack)
            textArrives(segment, packet, &stack)
        }
        // Eighth, check the FIN bit.
        if segment.flags.contains(.fin) { finArrives(segment, &stack) }
        if owed.contains(.data) || snd.nxt < snd.end || (flags.contains(.finWanted) && !flags.contains(.finSent)) {
            owe(.data, &stack)
        }
    }

    /// The peer is there: what was asked to find that out is answered.
    @inline(__always)
    mutating func heard(_ stack: borrowing Connections) {
        heardAt = stack.tick
        if probes > 0, recordHead == SentRecords.none { probes = 0 }
    }

    // MARK: Steps

    /// PAWS (RFC 7323 §5.3). A timestamp that is 24 days old says nothing any more (§5.5).
    private mutating func passesTimestampCheck(_ segment: Segment, _ stack: inout Connections) -> Bool {
        guard flags.contains(.timestamps), segment.options.hasTimestamps, !segment.flags.contains(.rst),
            Int32(bitPattern: segment.options.timestampValue &- recentTimestamp) < 0,
            !stack.isAged(recentTimestampAt)
        else { return true }
        stack.counters.oldTimestamps &+= 1
        noteDuplicate(segment, &stack)
        answerStray(segment, &stack)
        return false
    }

    /// RFC 7323 §4.3: TS.Recent follows the segment that covers the last ACK sent.
    private mutating func noteTimestamp(_ segment: Segment, _ now: Instant) {
        guard segment.options.hasTimestamps, segment.sequence <= lastAckSent,
            Int32(bitPattern: segment.options.timestampValue &- recentTimestamp) >= 0
        else { return }
        recentTimestamp = segment.options.timestampValue
        recentTimestampAt = Connections.epoch(of: now)
    }

    private mutating func resetArrives(_ stack: inout Connections) {
        end(state == .synReceived && flags.contains(.active) ? .refused : .reset, &stack)
    }

    /// RFC 9293 §3.10.7.3.
    private mutating func arrivesInSynSent(_ segment: Segment, _ stack: inout Connections) {
        let isAcknowledged = segment.flags.contains(.ack)
        if isAcknowledged, segment.acknowledgment <= initialSend || segment.acknowledgment > snd.nxt {
            if segment.flags.contains(.rst) { return }
            stack.counters.outOfWindow &+= 1
            return stack.answers.appendReset(to: segment, tuple)
        }
        if segment.flags.contains(.rst) {
            if isAcknowledged { end(.refused, &stack) }
            return
        }
        guard segment.flags.contains(.syn) else { return }
        synArrives(segment, &stack)
        if isAcknowledged {
            let hasLostSYN = backoff > 0
            becomeEstablished(segment, &stack)
            _ = acknowledge(segment, &stack)
            rtt.established(afterLostSYN: hasLostSYN)
            fastOpenIsAnswered(segment, afterLostSYN: hasLostSYN, &stack)
            owe(.ack, &stack)
            if snd.nxt < snd.end || flags.contains(.finWanted) { owe(.data, &stack) }
        } else {
            // Simultaneous open: our SYN again, and this time with an ACK.
            state = .synReceived
            owe(.control, &stack)
        }
    }

    /// The peer's SYN: its number, and what it offers.
    mutating func synArrives(_ segment: Segment, _ stack: inout Connections) {
        rcv.nxt = segment.sequence + 1
        rcv.read = rcv.nxt
        rcv.edge = rcv.nxt + min(Int(receiveLimit), 65_535)
        lastAckSent = rcv.nxt
        agreeOnECN(segment, stack)
        let options = segment.options
        if !options.hasTimestamps { flags.remove(.timestamps) }
        if !options.isSACKPermitted { flags.remove(.sack) }
        if options.windowScale == 255 {
            flags.remove(.scaled)
            receiveShift = 0
            receiveLimit = min(receiveLimit, 65_535)
        } else if flags.contains(.scaled) {
            sendShift = min(options.windowScale, 14)
        }
        if options.userTimeout != 0 { userTimeoutArrives(options, stack) }
        if options.hasTimestamps {
            recentTimestamp = options.timestampValue
            recentTimestampAt = Connections.epoch(of: stack.now)
        }
        let overhead: UInt16 = flags.contains(.timestamps) ? 12 : 0
        // MUST-15: who offers none takes what every host can take.
        peerMSS =
            options.maximumSegmentSize == 0 ? (headerLength == 40 ? 536 : 1220) : max(options.maximumSegmentSize, 64)
        // MUST-16: options of TCP and IP take of it.
        mss = min(peerMSS, stack.limits.mtu - headerLength) - overhead - routeLength(stack)
        // Not scaled in a SYN (RFC 7323 §2.2).
        snd.wnd = UInt32(segment.window)
        snd.wl1 = segment.sequence
        snd.wl2 = segment.acknowledgment
    }

    /// Bytes of the IP and TCP headers without options.
    @inline(__always)
    var headerLength: UInt16 { tuple.isIPv4 ? 40 : 60 }

    private mutating func becomeEstablished(_ segment: Segment, _ stack: inout Connections) {
        state = flags.contains(.finSent) ? .finWait1 : .established
        if !segment.flags.contains(.syn) { snd.wnd = UInt32(segment.window) << UInt32(sendShift) }
        snd.wl1 = segment.sequence
        snd.wl2 = segment.acknowledgment
        quickAcks = 16
        rack.end = initialSend + 1
        // The handshake is the first round trip (RFC 6298 §2), unless its SYN went twice.
        if rack.sentAt == .distantFuture {
            // Nobody knows when the SYN-ACK went: the peer had it in a cookie.
            rack.sentAt = stack.now
        } else if backoff == 0, !flags.contains(.timestamps) {
            let age = UInt32(clamping: (stack.now.nanoseconds - rack.sentAt.nanoseconds) / 1000)
            rtt.sample(age)
            minimumRTT.sample(age, at: stack.now)
        }
        if flags.contains(.active) || !opening.contains(.fastOpen) { startSending(&stack) }
        backoff = 0
        heardAt = stack.tick
        armKeepAlive(&stack)
        startReadMeasure(stack)
        tell(.established, &stack)
        if flags.contains(.finWanted), !flags.contains(.finSent) { state = .finWait1 }
    }

    /// The congestion control begins, and so does the measuring of the rate.
    mutating func startSending(_ stack: inout Connections) {
        let initial = CongestionLimits.initialWindow(mss: UInt32(mss), lostSYNs: Int(backoff))
        congestion = CongestionControl(stack.settings[settings].congestion ?? stack.limits.congestion)
        congestion.established(
            mss: UInt32(mss), initialWindow: initial, smoothedRTT: rtt.srtt, at: stack.now,
            random: UInt64(initialSend.bits))
        heedMarks()
        if stack.knowsNarrowPaths { askForPath(&stack) }
        rate = DeliveryRate(now: stack.now)
    }

    /// What an ACK of our FIN means in each state.
    private mutating func progressAfterAcknowledgment(_ stack: inout Connections) {
        guard flags.contains(.finSent), snd.una == snd.end + 1 else { return }
        switch state {
        case .finWait1:
            state = .finWait2
            tell(.acknowledged, &stack)
            if flags.contains(.released) { armLinger(&stack) }
        case .closing:
            tell(.acknowledged, &stack)
            enterTimeWait(&stack)
        case .lastAck:
            tell(.acknowledged, &stack)
            end(nil, &stack)
        default: break
        }
    }

    mutating func enterTimeWait(_ stack: inout Connections) {
        state = .timeWait
        stack.cancelAll(of: slot)
        // Who is released goes on without a TCB, if that may be: see `TCP.retire`.
        if !flags.contains(.released) || stack.limits.timeWaits == 0 {
            stack.arm(.slow, of: slot, in: stack.limits.timeWaitNanoseconds)
        }
        tell(.ended, &stack)
    }

    // MARK: Text and FIN

    private mutating func textArrives(_ segment: Segment, _ packet: RawSpan, _ stack: inout Connections) {
        guard state.mayReceive else { return }
        // Bytes that came while the user has closed are refused (RFC 1122 §4.2.2.13).
        if flags.contains(.closed) { return owe(.reset, &stack) }
        var start = segment.sequence
        var bytes = packet.extracting(Int(segment.payloadOffset)..<Int(segment.payloadOffset + segment.payloadLength))
        let isDuplicate = start < rcv.nxt
        if isDuplicate {
            noteDuplicate(segment, &stack)
            let old = min(rcv.nxt - start, bytes.byteCount)
            bytes = bytes.extracting(droppingFirst: old)
            start += old
        }
        if bytes.byteCount > rcv.edge - start { bytes = bytes.extracting(first: max(0, rcv.edge - start)) }
        guard bytes.byteCount > 0 else { return owe(.ack, &stack) }
        guard hasRoom(upTo: start + bytes.byteCount, &stack) else {
            stack.counters.noBuffer &+= 1
            return owe(.ack, &stack)
        }
        notePeerSegment(segment.segmentSize > 0 ? Int(segment.segmentSize) : Int(segment.payloadLength))
        let end = start + bytes.byteCount
        if start == rcv.nxt {
            stack.rings.write(bytes, to: receiveRing, at: start.bits)
            rcv.nxt = end
            let hadRanges = !outOfOrder.isEmpty
            while let further = stack.ranges.take(reaching: rcv.nxt, from: &outOfOrder) {
                rcv.nxt = further
            }
            statistics.bytesReceived &+= UInt64(rcv.nxt - start)
            tell(.readable, &stack)
            let count = Int(segment.payloadLength)
            acknowledgeLater(count, Int(segment.segmentSize), isUrgent: hadRanges || isDuplicate, &stack)
        } else {
            switch stack.ranges.insert(start, end, in: &outOfOrder, limit: stack.limits.rangesPerConnection) {
            case .noted(let twice):
                if flags.contains(.sack) {
                    let place = takeRepair(&stack)
                    stack.repairs[place].lastRange = start
                    if let twice { stack.repairs[place].duplicate = twice }
                }
                stack.rings.write(bytes, to: receiveRing, at: start.bits)
            case .full: stack.counters.tooManyRanges &+= 1
            }
            owe(.ack, &stack)  // RFC 5681 §4.2: at once
        }
    }

    /// A segment has come with so many bytes, or was merged from such.
    mutating func notePeerSegment(_ count: Int) { peerSegment = max(UInt16(clamping: min(count, 9000)), peerSegment) }

    /// What has come before is reported by the next ACK (RFC 2883 §4).
    private mutating func noteDuplicate(_ segment: Segment, _ stack: inout Connections) {
        guard flags.contains(.sack), segment.payloadLength > 0, segment.sequence < rcv.nxt else { return }
        stack.repairs[takeRepair(&stack)].duplicate = SACKBlock(
            start: segment.sequence, end: .min(segment.sequence + Int(segment.payloadLength), rcv.nxt))
    }

    /// So many bytes have come in order, merged from segments of `segmentSize` if that is above 0. A second full segment is acknowledged at
    /// once, and so is whatever fills or leaves a hole (RFC 5681 §4.2, MUST-58, MUST-59).
    @inline(__always)
    mutating func acknowledgeLater(_ count: Int, _ segmentSize: Int, isUrgent: Bool, _ stack: inout Connections) {
        if count >= Int(peerSegment) { countFull(count, segmentSize) }
        if isUrgent || quickAcks > 0 || unacknowledgedSegments >= 2 || flags.contains(.quickAck) {
            if quickAcks > 0 { quickAcks -= 1 }
            owe(.ack, &stack)
        } else if !stack.isArmed(.delayedAck, of: slot) {
            stack.arm(.delayedAck, of: slot, in: stack.limits.delayedAckNanoseconds)
        }
    }

    /// Of a frame that a link has merged, each segment counts.
    private mutating func countFull(_ count: Int, _ segmentSize: Int) {
        notePeerSegment(segmentSize > 0 ? segmentSize : count)
        let size = Int(peerSegment)
        if count >= size { unacknowledgedSegments &+= count < 2 * size ? 1 : 2 }
    }

    /// Sees to it that the receive ring holds bytes up to `end`.
    @inline(__always)
    mutating func hasRoom(upTo end: SequenceNumber, _ stack: inout Connections) -> Bool {
        let needed = end - rcv.read
        return needed <= receiveRing.capacity || takesLargerRing(atLeast: needed, &stack)
    }

    @inline(never)
    private mutating func takesLargerRing(atLeast needed: Int, _ stack: inout Connections) -> Bool {
        if receiveRing.isNone {
            guard let first = stack.firstRing(atLeast: needed, order: receiveOrder) else { return false }
            receiveRing = first
            return true
        }
        guard let larger = stack.ring(atLeast: needed, inPlaceOf: receiveRing) else { return false }
        stack.rings.copy(from: receiveRing, to: larger, at: rcv.read.bits, count: receiveRing.capacity)
        stack.rings.release(receiveRing)
        receiveRing = larger
        return true
    }

    private mutating func finArrives(_ segment: Segment, _ stack: inout Connections) {
        // In order only: one beyond a hole is answered like data there, and comes again.
        guard segment.sequence + Int(segment.payloadLength) == rcv.nxt, !flags.contains(.finReceived) else {
            return owe(.ack, &stack)
        }
        rcv.nxt += 1
        // Behind bytes that fill the window to its edge it still counts, and so does what comes behind it.
        if rcv.edge < rcv.nxt { rcv.edge = rcv.nxt }
        flags.insert(.finReceived)
        owe(.ack, &stack)
        tell(.finished, &stack)
        switch state {
        case .established: state = .closeWait
        case .finWait1:
            // Were our FIN acknowledged, this would be FIN-WAIT-2 by now.
            state = .closing
        case .finWait2: enterTimeWait(&stack)
        default: break
        }
    }

    // MARK: The end

    /// The connection is over: everything it held goes back, except for bytes that the user has not read.
    mutating func end(_ error: TCPError?, _ stack: inout Connections) {
        state = .closed
        self.error = self.error ?? (error == .timedOut && flags.contains(.unreachable) ? .unreachable : error)
        stack.cancelAll(of: slot)
        stack.rings.release(sendRing)
        sendRing = .none
        forgetRecords(&stack)
        stack.ranges.releaseAll(from: &outOfOrder)
        // A mark that is ahead of what has been read stays until it is.
        if !flags.contains(.urgentArrived) { releaseRepair(&stack) }
        owed.formIntersection([.reset])
        tell(.ended, &stack)
    }
}
