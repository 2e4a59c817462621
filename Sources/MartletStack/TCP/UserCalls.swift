// The user's calls on a connection (RFC 9293 §3.10.2 to §3.10.6). None sends: each marks what is owed.

extension TCB {
    /// SEND: takes as many bytes as there is room for, and returns how many. 0 means none now: `.writable` tells when.
    mutating func send(_ bytes: RawSpan, _ stack: inout Connections) -> Int {
        guard state.maySend, !flags.contains(.finWanted), bytes.byteCount > 0 else { return 0 }
        let queued = snd.end - firstUnacknowledged
        let count = min(bytes.byteCount, sendLimit(stack) - queued)
        guard count > 0, hasSendRoom(queued + count, &stack) else {
            flags.insert(.wantsRoom)
            // With nothing in flight no ACK will tell of room: time does.
            armPatience(&stack)
            return 0
        }
        stack.rings.write(bytes.extracting(first: count), to: sendRing, at: snd.end.bits)
        snd.end += count
        if count < bytes.byteCount { flags.insert(.wantsRoom) }
        owe(.data, &stack)
        return count
    }

    /// SEND in two steps: where `count` bytes may be written, in one run, behind those that wait. Empty if there is no such run: the
    /// windows leave less room, or the ring ends before.
    mutating func roomToSend(_ count: Int, _ stack: inout Connections) -> UnsafeMutableRawBufferPointer {
        let none = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
        guard state.maySend, !flags.contains(.finWanted), count > 0 else { return unsafe none }
        let queued = snd.end - firstUnacknowledged
        guard count <= sendLimit(stack) - queued, hasSendRoom(queued + count, &stack) else { return unsafe none }
        if let room = unsafe stack.rings.room(in: sendRing, at: snd.end.bits, count: count) { return unsafe room }
        commitSend(0, &stack)
        return unsafe none
    }

    /// … and how many were: they are queued, and whoever had room for more and wrote none gives it back.
    mutating func commitSend(_ count: Int, _ stack: inout Connections) {
        if count > 0 {
            snd.end += count
            owe(.data, &stack)
        } else if snd.end == firstUnacknowledged, !sendRing.isNone {
            stack.rings.release(sendRing)
            sendRing = .none
        }
    }

    /// The first byte that is not acknowledged: SND.UNA, once that is not the SYN's number any more.
    @inline(__always)
    private var firstUnacknowledged: SequenceNumber { state.isSynchronized ? snd.una : initialSend + 1 }

    /// Sees to it that the send ring holds `count` bytes from SND.UNA on.
    @inline(__always)
    private mutating func hasSendRoom(_ count: Int, _ stack: inout Connections) -> Bool {
        if count <= sendRing.capacity { return true }
        guard let larger = stack.ring(atLeast: count, inPlaceOf: sendRing) else {
            stack.counters.noBuffer &+= 1
            return false
        }
        if !sendRing.isNone {
            let first = firstUnacknowledged
            stack.rings.copy(from: sendRing, to: larger, at: first.bits, count: snd.end - first)
            stack.rings.release(sendRing)
        }
        sendRing = larger
        return true
    }

    /// RECEIVE: shows `body` received bytes, in one run, and takes off as many as it returns. Returns that number; `body` is
    /// not called if there are none.
    mutating func receive(_ stack: inout Connections, _ body: (RawSpan) -> Int) -> Int {
        let waiting = unreadCount
        guard waiting > 0 else { return 0 }
        let count = stack.rings.withRun(of: receiveRing, at: rcv.read.bits, count: waiting) { run in
            let count = body(run)
            precondition(count >= 0 && count <= run.byteCount, "consumed more than there was")
            return count
        }
        consume(count, of: waiting, &stack)
        return count
    }

    /// RECEIVE: copies received bytes, as many as there are or fit, to the front of `destination`. Returns how many that is.
    mutating func receive(into destination: inout MutableRawSpan, _ stack: inout Connections) -> Int {
        let waiting = unreadCount
        let count = min(waiting, destination.byteCount)
        guard count > 0 else { return 0 }
        var front = destination._mutatingExtracting(first: count)
        stack.rings.read(receiveRing, at: rcv.read.bits, into: &front)
        consume(count, of: waiting, &stack)
        return count
    }

    /// RECEIVE in two steps: where received bytes lie, in one run …
    ///
    /// It changes nothing; `inout` keeps the compiler from copying both.
    mutating func unread(_ stack: inout Connections) -> UnsafeRawBufferPointer {
        let waiting = unreadCount
        guard waiting > 0 else { return unsafe UnsafeRawBufferPointer(start: nil, count: 0) }
        return unsafe stack.rings.withRun(of: receiveRing, at: rcv.read.bits, count: waiting) { run in
            unsafe run.withUnsafeBytes { unsafe $0 }
        }
    }

    /// … and how many of them were read. At most as many as there are.
    mutating func consume(_ count: Int, _ stack: inout Connections) {
        let waiting = unreadCount
        precondition(count >= 0 && count <= waiting, "consumed more than there was")
        if count > 0 { consume(count, of: waiting, &stack) }
    }

    /// Bytes that have come, in their order, and were not read.
    @inline(__always)
    private var unreadCount: Int {
        if receiveRing.isNone { return 0 }
        return (flags.contains(.finReceived) ? rcv.nxt - 1 : rcv.nxt) - rcv.read
    }

    /// Takes `count` of the `waiting` bytes off: the window opens.
    @inline(__always)
    private mutating func consume(_ count: Int, of waiting: Int, _ stack: inout Connections) {
        rcv.read += count
        passUrgentMark(stack)
        tuneWindow(&stack)
        if count == waiting { receiveOrder = RingMemory.order(ofBytes: count) }
        giveUnusedRing(&stack)
        // A window that has doubled is worth an ACK of its own, and one that opens from nothing (RFC 9293 §3.8.6.2.2).
        let limit = windowLimit(stack)
        let free = limit - (rcv.nxt - rcv.read)
        if state.mayReceive, free >= max(2 * rcv.wnd, min(limit / 2, Int(peerSegment))) {
            owe(.ack, &stack)
        }
    }

    /// Gives the receive ring back if no byte is in it.
    @inline(__always)
    mutating func giveUnusedRing(_ stack: inout Connections) {
        let end = flags.contains(.finReceived) ? rcv.nxt - 1 : rcv.nxt
        guard rcv.read == end, outOfOrder.isEmpty else { return }
        stack.rings.release(receiveRing)
        receiveRing = .none
        giveUnusedRepair(&stack)
    }

    /// CLOSE, of the sending side: a FIN goes behind what is queued.
    mutating func finish(_ stack: inout Connections) {
        guard state.maySend, !flags.contains(.finWanted) else { return }
        flags.insert(.finWanted)
        owe(.data, &stack)
    }

    /// CLOSE of both sides: bytes that are unread, or still come, reset the connection (RFC 1122 §4.2.2.13).
    mutating func close(_ stack: inout Connections) {
        flags.insert(.closed)
        let end = flags.contains(.finReceived) ? rcv.nxt - 1 : rcv.nxt
        if state.isSynchronized, end > rcv.read { return abort(&stack) }
        if state == .synSent { return self.end(.aborted, &stack) }
        finish(&stack)
    }

    /// The user lets go: CLOSE, and a bound on what is left to do. With a time of 0 to linger, ABORT.
    mutating func release(_ stack: inout Connections) {
        flags.insert(.released)
        if stack.settings[settings].lingerSeconds == 0 { abort(&stack) } else { close(&stack) }
        armLinger(&stack)
    }

    /// ABORT: a reset goes, and everything is dropped.
    mutating func abort(_ stack: inout Connections) {
        switch state {
        case .closed: return
        // §3.10.5: the peer has said all and knows that we have, so no reset goes once both sides have closed.
        case .synSent, .closing, .lastAck, .timeWait: end(.aborted, &stack)
        default:
            owe(.reset, &stack)
            end(.aborted, &stack)
            stack.control.append(slot)
        }
    }
}
