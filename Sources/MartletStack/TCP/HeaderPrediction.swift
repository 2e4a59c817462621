// Header prediction: most segments are the next data in order, or an ACK of new data, of a connection on which nothing else is
// going on. What they do is done here, in a fraction of the instructions, and to the same effect as in SegmentArrives.
//
// Van Jacobson's idea ("4BSD TCP Header Prediction", 1990): predict all that a header may say, compare, and go the long way if
// anything differs. A segment that is not predicted has changed nothing, so the long way takes it as it is.
//
//     frame ── LinkPrediction ──▶ PlainPacket ── a connection's ──▶ predicted ──▶ acknowledged, text, event
//                    │                 │               │                │
//                    │                 │               │                ╰──▶ SegmentArrives
//                    ╰── otherwise ────┴───────────────┴──▶ EthernetIn, IPIn, TCP
//
// The fields are read from the frame where they are needed, because handing them on costs more than reading them.

/// What became of a segment.
enum PredictedSegment: BitwiseCopyable {
    case taken
    /// It is not what is predicted, and nothing has been done.
    case unpredicted
    /// Its checksum is wrong.
    case damaged
}

extension Stack {
    /// Takes in a frame that holds a segment for a connection, if it is what most are. Returns false, and has done nothing, if it
    /// is not.
    @inline(__always)
    mutating func plainArrives(
        _ frame: borrowing Frame, _ link: LinkPrediction, on interface: UInt8, at now: Instant
    ) -> Bool {
        let bytes = frame.bytes
        guard let packet = link.read(bytes), network.addresses.isOurs(packet.destination) else { return false }
        let segment = bytes.extracting(packet.start..<packet.end)
        switch tcp.plainArrives(packet, segment, frame.offload, segmentSize: frame.segmentSize, at: now) {
        case .taken: if !link.isLoopback { predict(packet, bytes) }
        case .unusual: return false
        case .stranger: guard plainStrangerArrives(frame, link, on: interface, at: now) else { return false }
        }
        network.counters.packetsIn &+= 1
        return true
    }

    /// The same for a frame of the connection that was heard last.
    @inline(__always)
    mutating func latestArrives(_ frame: borrowing Frame, _ link: LinkPrediction, at now: Instant) -> Bool {
        guard let packet = link.ipv4Packet(of: frame.bytes),
            let (length, sum) = tcp.demultiplexer.flow.read(packet, addressChanges: network.addresses.changes),
            tcp.plainArrives(
                packet.extracting(20..<length), sum, frame.offload, segmentSize: frame.segmentSize,
                of: tcp.demultiplexer.flow.slot, at: now) == .taken
        else { return false }
        network.counters.packetsIn &+= 1
        return true
    }

    /// The next packet is likely to be of the same connection as this one.
    @inline(__always)
    private mutating func predict(_ packet: PlainPacket, _ bytes: RawSpan) {
        let slot = tcp.demultiplexer.latest
        // The segment may have been the connection's last.
        guard slot != .max, packet.source.isIPv4Mapped else { return }
        tcp.demultiplexer.flow = FlowPrediction(
            of: packet, in: bytes, slot: slot, addressChanges: network.addresses.changes)
    }

    /// The same for one that is of no connection. It is read again: to hand on what has been read would cost those that are.
    @inline(never)
    private mutating func plainStrangerArrives(
        _ frame: borrowing Frame, _ link: LinkPrediction, on interface: UInt8, at now: Instant
    ) -> Bool {
        let bytes = frame.bytes
        guard let packet = link.read(bytes), network.isOneHost(packet.source, on: interface) else { return false }
        return tcp.plainStrangerArrives(
            packet, bytes.extracting(packet.start..<packet.end), frame.offload, segmentSize: frame.segmentSize, at: now)
    }
}

extension Network {
    /// Whether the source of a plain packet, IPv4 mapped, can be that of one host (RFC 1122 §3.2.1.3).
    fileprivate func isOneHost(_ source: IPv6Address, on interface: UInt8) -> Bool {
        guard let address = source.mappedIPv4 else { return !source.isMulticast }
        return !address.isMulticast && address != .any && !addresses.isBroadcast(address, on: interface)
    }
}

extension TCB {
    /// Takes in a segment that is the next data in order or an ACK of new data, while nothing unusual is under way.
    mutating func predictedArrives(
        _ segment: RawSpan, _ pseudoSum: CarrySum, _ offload: FrameOffload, segmentSize: Int,
        _ stack: inout Connections
    ) -> PredictedSegment {
        guard segment.byteCount >= 20, state == .established, phase == .open, outOfOrder.isEmpty,
            !flags.contains(.closed)
        else { return .unpredicted }
        let ports: UInt64 = segment.number(at: 0)
        let control: UInt64 = segment.number(at: 8)
        // Of the flags ACK alone, and PSH as it likes.
        let hasTimestamps = flags.contains(.timestamps)
        let headerLength = hasTimestamps ? 32 : 20
        let count = segment.byteCount &- headerLength
        guard control & 0xFFF7_0000 == (hasTimestamps ? 0x8010_0000 : 0x5010_0000),
            UInt32(truncatingIfNeeded: ports) == rcv.nxt.bits, count >= 0, count <= rcv.wnd
        else { return .unpredicted }
        var sum = pseudoSum
        sum.add(ports)
        sum.add(control)
        var timestamps: UInt64 = 0
        if hasTimestamps {
            // The checksum, the urgent pointer, and what the options begin with.
            let middle: UInt64 = segment.number(at: 16)
            timestamps = segment.number(at: 24)
            guard UInt32(truncatingIfNeeded: middle) == TCPOptions.timestampsPrefix,
                Int32(truncatingIfNeeded: timestamps &>> 32) &- Int32(bitPattern: recentTimestamp) >= 0
            else { return .unpredicted }
            sum.add(middle)
            sum.add(timestamps)
        } else {
            sum.add(UInt64(segment.uint32(at: 16)))
        }
        // Below 2³¹ each: what lies before SND.UNA, or behind SND.NXT, is more.
        let acknowledged = UInt32(truncatingIfNeeded: control &>> 32) &- snd.una.bits
        let isNews = acknowledged > 0 || isAnotherWindow(control)
        if isNews {
            guard acknowledged <= snd.nxt.bits &- snd.una.bits, predictsNews(control, acknowledged) else {
                return .unpredicted
            }
        } else if count == 0 {
            return .unpredicted
        }
        if count > 0 {
            guard hasRoom(upTo: rcv.nxt + count, &stack) else { return .unpredicted }
            // Nothing is known of the bytes behind RCV.NXT before it moves, so what is damaged may lie there.
            sum.add(stack.rings.writeAndSum(last: count, of: segment, to: receiveRing, at: rcv.nxt.bits))
        }
        guard offload.contains(.checksumVerified) || sum.folded == 0xFFFF else {
            giveUnusedRing(&stack)
            return .damaged
        }
        statistics.segmentsIn &+= 1
        stack.counters.segmentsIn &+= 1
        stack.counters.fastPath &+= 1
        heard(stack)
        if hasTimestamps, rcv.nxt <= lastAckSent {
            recentTimestamp = UInt32(truncatingIfNeeded: timestamps &>> 32)
            recentTimestampAt = Connections.epoch(of: stack.now)
        }
        if isNews {
            newsArrives(control, hasTimestamps ? UInt32(truncatingIfNeeded: timestamps) : nil, &stack)
        }
        if count > 0 { predictedTextArrives(count, segmentSize, &stack) }
        return .taken
    }

    /// Whether the window, scaled, is not the one that is known. `control` is the third and the fourth word of the header.
    @inline(__always)
    private func isAnotherWindow(_ control: UInt64) -> Bool { window(of: control) != snd.wnd }

    @inline(__always)
    private func window(of control: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: control & 0xFFFF) &<< UInt32(sendShift)
    }

    /// Whether what a segment with the next number says of our direction is predicted. Another window has to be newer than the one there is
    /// (RFC 9293 §3.10.7.4), and neither end nor begin to be closed.
    @inline(__always)
    private func predictsNews(_ control: UInt64, _ acknowledged: UInt32) -> Bool {
        let window = window(of: control)
        if window != snd.wnd {
            guard window > 0, snd.wnd > 0, timerUse != .persist, snd.wl1 <= rcv.nxt else { return false }
        }
        return acknowledged == 0 || predictsAcknowledgment
    }

    /// Another window, or an ACK of new data, or both; the text comes after.
    @inline(never)
    private mutating func newsArrives(_ control: UInt64, _ echo: UInt32?, _ stack: inout Connections) {
        let acknowledgment = SequenceNumber(UInt32(truncatingIfNeeded: control &>> 32))
        let window = window(of: control)
        if window != snd.wnd {
            if window > snd.wnd, snd.nxt < snd.end { owe(.data, &stack) }
            snd.wnd = window
            (snd.wl1, snd.wl2) = (rcv.nxt, acknowledgment)
            greatestWindow = max(greatestWindow, UInt16(truncatingIfNeeded: control))
        }
        if acknowledgment != snd.una {
            snd.wl1 = rcv.nxt
            predictedAcknowledges(acknowledgment, echo: echo, &stack)
        }
    }

    /// Whether an ACK of new data says nothing but that.
    @inline(__always)
    var predictsAcknowledgment: Bool {
        rack.tailProbe == .none && sackedBytes == 0 && lostBytes == 0
            && flags.isDisjoint(with: [.reductionTold, .pathDoubted])
    }

    /// The bytes are in the ring: the next in order.
    @inline(__always)
    private mutating func predictedTextArrives(_ count: Int, _ segmentSize: Int, _ stack: inout Connections) {
        rcv.nxt += count
        statistics.bytesReceived &+= UInt64(count)
        tell(.readable, &stack)
        acknowledgeLater(count, segmentSize, isUrgent: false, &stack)
    }

    /// RFC 9293 §3.10.7.4, fifth, for an ACK of new data while nothing is being repaired: what `acknowledge` does then.
    mutating func predictedAcknowledges(
        _ acknowledgment: SequenceNumber, echo: UInt32?, _ stack: inout Connections
    ) {
        var tally = AckTally()
        let pipeBefore = pipe
        tally.flightSize = UInt32(truncatingIfNeeded: snd.nxt - snd.una)
        tally.priorEnd = rack.end
        tally.echo = echo
        statistics.bytesAcked &+= UInt64(acknowledgment - snd.una)
        release(upTo: acknowledgment, &tally, &stack)
        giveUnusedRepair(&stack)
        endSilence()
        snd.wl2 = acknowledgment
        measure(tally, isProgress: true, stack.now)
        tellCongestionControl(tally, newlyLost: 0, pipeBefore: pipeBefore, stack.now)
        makeRoom(isProgress: true, &stack)
        if snd.nxt < snd.end { owe(.data, &stack) }
    }
}
